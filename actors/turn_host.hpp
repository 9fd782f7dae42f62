/// @file
/// The side of a turn that the shard sees: the message, the state it began with, what it has done so far, and where its
/// coroutine is parked. `turn` (behaviour.hpp) is a thin face over this.
#pragma once

#include "actors/envelope.hpp"

#include <map>

namespace hive::vector {
class view;
}

namespace hive::actors {

struct activation;
class shard_core;

/// A turn's record: what is committed, and what leaves afterwards.
struct actor_record final : persistence::turn_record {
  using turn_record::turn_record;

  std::uint32_t generation = 0;                ///< Of the activation that made it; an older one's is void.
  std::unique_ptr<envelope> message;           ///< Handled by this turn; goes back to its lane when the commit fails.
  std::unique_ptr<envelope> reply;             ///< A reply whose mark is in this record; the same.
  std::optional<ask_answer> answer;            ///< To `message->ticket`, once committed.
  std::optional<error> failure;                ///< The same, when the answer is an error.
  std::vector<std::unique_ptr<envelope>> tells;
  std::vector<std::uint32_t> start_steps;      ///< Steps of the waiting turn to start once their intents are on disk.
  std::int32_t timers_ended = 0;               ///< Of `timers_gone`: those that were there.
  std::uint64_t answered_key = 0;              ///< Key hash that `keyed` settles; repeats wait for it.
  std::shared_ptr<const vector::view> view;    ///< Of a context: what is searched once this is on disk, before the asker hears.
  bool accepts = false;                        ///< Only the acceptance of a turn that waits; the message stays with it.
};

/// What a turn waits for.
enum class wait_kind : std::uint8_t { none, step, read };

/// One step of a turn, finished or not.
struct step_state {
  enum class kind : std::uint8_t { ask = 0, sleep = 1, run = 2, task = 3 }; ///< Stored; never renumber.
  kind what = kind::ask;
  std::string target;                          ///< Agent, executor, or whom a task is for.
  std::uint32_t queue = 0;                     ///< Of a task: the partition that takes it.
  request_digest digest;                       ///< Of type and arguments: a replay must come to the same.
  payload arguments;
  std::chrono::milliseconds deadline{};
  wall_time due{};                             ///< When a sleep ends, or the deadline of the others.
  bool finished = false;
  bool stored_result = false;                  ///< The result's row is on its way to the disk.
  bool failed = false;
  payload answer;                              ///< The result, or an encoded failure.
};

std::string encode_intent(const step_state& s);
bool decode_intent(std::string_view bytes, step_state& s);
std::string encode_result(const step_state& s);
bool decode_result(std::string_view bytes, step_state& s);

struct turn_host {
  explicit turn_host(shard_core& owner) : shard(owner), face(*this) {}

  shard_core& shard;
  activation* of = nullptr;
  turn face;
  task<> code;
  std::coroutine_handle<> parked;

  std::unique_ptr<envelope> in;
  std::uint64_t number = 0;                    ///< Of the turn within its entity.
  wall_time started{};
  random_source chance{0};
  std::uint64_t seed = 0;

  // What it has done so far.
  std::unique_ptr<actor_record> record;        ///< Made at the first effect.
  std::optional<std::string> new_state;
  std::optional<payload> answer;
  std::optional<error> failure;
  struct outgoing {
    bool durable;
    std::string agent;                         ///< Name, when `to` is not known yet.
    entity_id to;
    std::unique_ptr<envelope> message;
  };
  std::vector<outgoing> out;
  bool deferred = false;
  std::optional<std::string> on_cancel;        ///< It was put off, and the shard keeps it as open: with this message for its recall.
  std::vector<reply_address> given_later;      ///< Answers that were put off and are in `out`.
  bool stops = false;                          ///< The agent's life ends with this turn.

  // Waiting.
  wait_kind waits = wait_kind::none;
  std::vector<step_state> steps;
  std::size_t next_step = 0;                   ///< Steps before this one were reached in this run of the turn.
  std::size_t waiting_step = 0;                ///< The one it waits for, while `waits` is `step`.
  bool accepted = false;                       ///< Its message is on disk, or on its way.
  std::function<void(persistence::store_reader&)> read;
  std::function<void(std::function<void()>)> outside; ///< Instead of `read`: begun, it calls what it is given when it is done.
  std::unique_ptr<envelope> recall;            ///< What it was asked was taken back: it ends instead of going on.
  std::unique_ptr<envelope> reply;             ///< The reply that ended the last ask step; its mark rides in the next commit.

  actor_record& effects();                     ///< Makes the record when there is none.
  void reset();
};

} // namespace hive::actors
