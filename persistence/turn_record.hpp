/// @file
/// What one turn leaves behind: everything that is committed together, or not at all.
///
/// A turn writes one shard only: its own. Rows below belong to `entity` unless they say otherwise.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/error.hpp"
#include "config/base/ids.hpp"
#include "config/base/mpsc_queue.hpp"
#include "config/base/payload.hpp"
#include "config/base/tenant_context.hpp"
#include "config/base/trace.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hive::persistence {

/// The stored numbers of desired states; never renumber. Only `running` entities activate.
enum class desired_state : std::uint8_t { running = 0, stopped = 1, quarantined = 2, deleted = 3 };

/// The key of a durable ask, kept with its answer in the journal row of the turn that answered it.
struct keyed_answer {
  std::string key;                 ///< As the caller gave it, or made by the gateway.
  std::uint64_t caller = 0;        ///< `tenant_context::principal_hash()` of the asker.
  request_digest digest;
  bool generated = false;          ///< Made by the gateway: in a chain of its own.
  bool failed = false;             ///< The answer is an application error, encoded in `answer`.
  payload answer;
};

struct log_append {
  std::string log;                 ///< Name of the log within the entity.
  std::uint64_t index = 0;         ///< 0-based, gap-free; assigned by the activation.
  journal_position previous{};     ///< The entity's `log_tail` before this turn, whichever log that row belongs to; the
                                   ///< store reads logs along it.
  std::string data;
};

/// A keyed row. No value: delete.
struct item_write {
  std::string key;
  std::optional<std::string> value;
};

/// A durable message to another entity, kept until its receiver's shard has committed the turn that handled it.
struct outbox_row {
  entity_id sender;
  entity_id receiver;
  std::uint64_t sequence = 0;      ///< Rises with each message of the sender, over all its receivers.
  std::uint8_t lane = 2;           ///< 0 system, 1 urgent, 2 user.
  std::string principal;           ///< Of the turn that sent it.
  std::string type;
  payload body;
  std::string envelope;            ///< The rest of the message (reply address, chain, trace), encoded by `actors`.
};

/// "Everything from `sender` up to `sequence` on `lane` has been handled": the receiver's side of the outbox.
struct inbox_mark {
  entity_id sender;
  std::uint8_t lane = 2;
  std::uint64_t sequence = 0;
};

/// A message that an entity sends to itself when the time has come.
struct timer_row {
  wall_time due{};
  std::uint64_t number = 0;        ///< With `due` and the entity its key; drawn by the turn that sets it.
  entity_id entity;                ///< The store fills it in when it reads; writes are of the record's entity.
  std::string principal;
  std::string type;
  payload body;
};
/// Which of its entity's timers.
struct timer_key {
  wall_time due{};
  std::uint64_t number = 0;
};

/// A message that was accepted by a turn which waits: the hive owes it an end.
struct waiting_turn {
  std::uint64_t turn = 0;          ///< Number of the turn within the entity.
  wall_time started;               ///< The turn's fixed time.
  std::uint64_t seed = 0;          ///< The turn's fixed chance.
  std::string message;             ///< The whole message, encoded by `actors`.
};

/// One step of a waiting turn. Written when it starts (no result) and again when it ended.
struct step_row {
  std::uint64_t turn = 0;
  std::uint32_t number = 0;        ///< 0-based within the turn.
  std::string intent;              ///< Kind, target, arguments and digest, encoded by `actors`.
  wall_time due{};                 ///< For timers; otherwise zero.
  std::optional<std::string> result; ///< Encoded by `actors`.
};

/// A name in a tenant's directory. Written by the tenant's entity only; read by everyone.
struct directory_row {
  entity_kind kind = entity_kind::agent;
  std::string name;
  entity_id id;                    ///< Of the named entity, which lives in a shard of its own.
  std::string behaviour;           ///< Registered name; empty for supervisors.
  std::string supervisor;          ///< Name of its supervisor; empty: the tenant's root.
  std::uint64_t revision = 0;      ///< Rises with each change of the spec.
  std::string spec;                ///< Encoded `hive.v1` message.
};

struct directory_write {
  directory_row row;
  bool removed = false;
};

/// A tenant. Written by the system tenant's entity only.
struct tenant_row {
  tenant_id id;
  std::string name;
  std::string spec;                ///< Encoded `hive.v1.Tenant`.
  bool removed = false;            ///< The name becomes free; the id is never used again.
};

/// A key that opens the API. Written by the entity of the tenant it belongs to; only its hash is kept.
struct api_key_row {
  std::string id;                  ///< Public part.
  tenant_id tenant;
  std::string secret_hash;         ///< SHA-256 of the secret part.
  std::string role;                ///< "admin" (of the hive), "tenant" or "viewer".
  std::string label;
  wall_time created;
  bool removed = false;
};

/// Why an administrative change happened; in the same commit as the change.
struct audit_row {
  std::string action;              ///< "agent.put", "tenant.delete" ...
  std::string target;              ///< Address.
  std::string detail;              ///< JSON.
};

/// What watchers see: started, crashed, restarted, task changes, and what behaviours emit.
struct event_row {
  std::string type;                ///< "agent.crashed", "task.progress" ...
  std::string source;              ///< "agent/reader-3"
  std::string data;                ///< JSON.
};

struct dead_letter_row {
  std::string reason;              ///< "attempts_exhausted", "receiver_deleted" ...
  std::string message;             ///< The whole message, encoded by `actors`.
  std::string detail;              ///< JSON: attempts and errors.
};

/// Everything one turn writes, and what it was built on. One heap object carries it from the shard through the
/// pipeline and back; `actors` derives from it to carry the effects that leave after the commit.
struct turn_record : mpsc_node {
  turn_record(tenant_context by, entity_id of, shard_id in, epoch under) noexcept
    : who(by), entity(of), shard(in), fence(under) {}

  tenant_context who;              ///< The principal on whose behalf the turn ran.
  entity_id entity;
  shard_id shard;
  epoch fence;                     ///< Of the shard's ownership when the turn ran.
  std::uint64_t base = 0;          ///< The entity's version this turn builds on; 0: the entity has no row yet.
  bool writes = false;             ///< False: only the fence is checked; `base` is not, and no row is written (but
                                   ///< rows named in `delivered` go).
  journal_position position{};     ///< From `turn_store::allot`. Required when `writes`.
  wall_time at{};
  trace_context trace{};

  journal_position previous_keyed{}; ///< Position of the row with a key that `store_reader::keys` visits after this one.
                                     ///< Generated keys may form a chain of their own; the store keeps the end of the
                                     ///< other one (`entity_row::last_keyed`).
  std::optional<keyed_answer> keyed;

  std::optional<std::string> state;  ///< The new small state, when it changed.
  std::optional<desired_state> desired; ///< When it changed.
  std::optional<incarnation> life;   ///< When it changed.
  std::uint64_t sent = 0;            ///< The entity's last outbox sequence after this turn.
  journal_position log_tail{};       ///< Position of the entity's last row with log entries, this one included.

  std::vector<log_append> logs;
  std::vector<item_write> items;
  std::vector<outbox_row> outbox;
  std::vector<std::uint64_t> delivered; ///< Sequences of own outbox rows that their receivers have handled: deleted.
  std::vector<inbox_mark> marks;       ///< Of the message, and of replies that its turn waited for.
  std::optional<waiting_turn> accepted; ///< The turn begins to wait.
  std::optional<std::uint64_t> ended;   ///< The waiting turn that ends here: its row and steps go.
  std::vector<step_row> steps;
  std::vector<timer_row> timers;
  std::vector<timer_key> timers_gone;  ///< Fired or cancelled.
  std::vector<directory_write> directory;
  std::vector<tenant_row> tenants;
  std::vector<api_key_row> api_keys;
  std::vector<audit_row> audit;
  std::vector<event_row> events;
  std::vector<dead_letter_row> dead_letters;
  std::vector<std::uint64_t> letters_gone; ///< Numbers of the tenant's dead letters that were sent again or dropped.

  /// Up to so many rows of this entity's items, and then of its logs, go; nothing goes of one that is not deleted. 0: none.
  std::uint32_t purge = 0;
  /// Filled in by the store when it commits: how many went. Empty: it had to find out what became of the batch.
  std::optional<std::uint32_t> purged;

  std::uint64_t bytes = 256;       ///< Rough size, for the bounds of run-ahead and batches; set before `submit`.
  std::uint32_t weight = 1;        ///< Of its tenant, when more has queued than fits in a batch; set before `submit`.

  std::uint64_t last_event = 0;    ///< Filled in by a store that nodes share when it commits: number of the last of `events`. 0:
                                   ///< there are none, or it had to find out what became of the batch.
};

} // namespace hive::persistence
