/// @file
/// A message on its way to an entity, and everything else a shard can be told. All of it travels through the shard's
/// lock-free inbox; an ask is one heap object from the gateway's decode to its reply.
#pragma once

#include "actors/ask_ticket.hpp"
#include "actors/behaviour.hpp"
#include "config/base/mpsc_queue.hpp"
#include "persistence/commit_pipeline.hpp"
#include "persistence/turn_store.hpp"

namespace hive::actors {

enum class lane : std::uint8_t { system = 0, urgent = 1, user = 2 };

/// What a shard is told. The kind decides the type: see `shard_core::handle`.
struct shard_op : mpsc_node {
  enum class kind : std::uint8_t {
    deliver,   ///< envelope
    loaded,    ///< loaded_op
    settled,   ///< settled_op
    handled,   ///< handled_op
    step_done, ///< step_done_op
    call,      ///< call_op: run a function on the shard
    exited,    ///< exited_op
    order,     ///< order_op
    answer,    ///< answer_op
    suspect,   ///< suspect_op
    note,      ///< note_op
    install,   ///< install_op
    remove,    ///< remove_op
  };
  kind what;
  explicit shard_op(kind k) noexcept : what(k) {}
};

/// Who waits for the answer to a message that came from another entity.
struct reply_address {
  entity_id asker;                 ///< Zero: nobody.
  std::uint64_t turn = 0;          ///< The asker's waiting turn and its step; unused for tasks.
  std::uint32_t step = 0;
  std::string task;                ///< Id of the task in the queue `asker`; empty for an ask.
  explicit operator bool() const noexcept { return static_cast<bool>(asker); }
  bool operator==(const reply_address&) const = default;
};

struct envelope : shard_op {
  enum class origin : std::uint8_t {
    tell = 0,   ///< Best effort, from an entity or a client.
    ask = 1,    ///< Durable, from a client; `ticket` hears the end.
    send = 2,   ///< From another entity's outbox: `sender` and `sequence` say which.
    timer = 4,  ///< From a timer of its own: `fires_at` and `sequence` say which.
    reply = 3,  ///< From another entity's outbox: the end of a step of a waiting turn here.
  };

  envelope(tenant_context by, entity_id receiver, origin o) noexcept
    : shard_op(kind::deliver), who(by), to(receiver), from_where(o) {}

  // In order of use, because each 64 bytes may have to come from another core's cache: a tell needs the first three.
  tenant_context who;
  entity_id to;
  origin from_where;
  lane on = lane::user;
  bool generated_key = false;
  bool failed = false;             ///< A reply that is an application error.
  bool looked_up = false;          ///< A repeat of a generated key, back from the look at the disk.
  bool again = false;              ///< Its sender waited long for a word about it: an earlier copy may be in the lane.
  std::uint8_t attempts = 0;       ///< Turns that crashed on it so far.
  ticket_ref ticket;
  steady_time deadline = steady_time::max();

  std::string type;
  payload body;
  std::string from;                ///< "agent/reader-3"
  trace_context trace{};

  steady_time accepted_at{};
  wall_time due{};                 ///< The deadline as it is stored, of an agent's ask; zero: none.
  entity_id sender;
  std::uint64_t sequence = 0;
  std::uint64_t previous = 0;      ///< Sequence of the message that its sender sent here before it, by this lane, and that was
                                   ///< not handled when this one left; 0: none, or this node is alone.
  std::string key;
  request_digest digest;
  reply_address reply_to;
  std::vector<entity_id> chain;    ///< Entities that wait for this ask, outermost first: an ask into it is a cycle.
  std::unique_ptr<envelope> recall; ///< It was taken back by this message before it began.
  wall_time fires_at{};             ///< Of a timer.


  /// Stays until a turn has handled it: from an outbox, or a timer.
  bool lasting() const noexcept { return from_where == origin::send || from_where == origin::timer; }
  /// Somebody waits for the end of the turn.
  bool wants_reply() const noexcept { return from_where != origin::tell && (ticket || reply_to || from_where == origin::ask); }
  std::size_t bytes() const noexcept { return sizeof(envelope) + body.bytes.size() + type.size() + key.size(); }
  /// A hash of (key, caller) as the store uses it; 0 without a key.
  std::uint64_t key_hash() const noexcept {
    return key.empty() ? 0 : persistence::key_hash_of(key, who.principal_hash());
  }
};

/// The parts of an envelope that an outbox row keeps beside type and body.
std::string encode_extra(const envelope& e);
bool decode_extra(std::string_view bytes, envelope& into);
/// A whole message, for waiting turns and dead letters. The ticket is not part of it.
std::string encode_message(const envelope& e);
std::unique_ptr<envelope> decode_message(std::string_view bytes, tenant_context who, entity_id to);

std::string encode(const reply_address& address);
std::optional<reply_address> decode_reply_address(std::string_view bytes);
/// As `turn::defer_reply` gives it.
std::string token_of(const reply_address& address);

/// Makes the message that an outbox row stands for.
std::unique_ptr<envelope> envelope_of(const persistence::outbox_row& row, tenant_context who);

/// An application error as it is stored and sent.
std::string encode_failure(const error& e);
error decode_failure(std::string_view bytes);

} // namespace hive::actors
