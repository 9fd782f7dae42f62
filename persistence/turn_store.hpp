/// @file
/// The durable truth behind narrow interfaces: what survives a crash, and how it comes back.
///
/// `turn_store` is written by one thread (the commit thread); `store_reader` reads committed rows, one reader a thread.
/// tests/persistence/store_contract.hpp is the suite that every backend passes unchanged.
#pragma once

#include "config/base/result.hpp"
#include "persistence/turn_record.hpp"

#include <functional>
#include <map>
#include <memory>
#include <span>

namespace hive::persistence {

/// What became of one record of a batch.
enum class turn_outcome : std::uint8_t {
  committed,
  fenced,   ///< The shard's owner or epoch is another one now. The activation is over.
  stale,    ///< `base` is not the entity's version: a turn it built on is not there, or there is a second history.
};

/// What became of a batch.
struct batch_result {
  enum class kind : std::uint8_t {
    done,        ///< On disk. `outcomes` says which records are in it; the others left nothing.
    refused,     ///< Nothing was written: some row is not acceptable. Halve the batch until the guilty turn is alone.
    unavailable, ///< Nothing was written: disk full or store away. Not the fault of any turn.
    unknown,     ///< It may or may not be there. Find out before answering anyone (PostgreSQL only).
  };
  kind what = kind::done;
  std::vector<turn_outcome> outcomes;  ///< One a record, in order, when `done`.
  error why{};                         ///< Otherwise. `reason`: "no_space", "store_away", "constraint" ...
};

struct entity_row {
  std::uint64_t version = 0;           ///< 0: never wrote anything.
  desired_state desired = desired_state::running;
  incarnation life{};
  std::string state;
  std::uint64_t sent = 0;
  journal_position last_keyed{};       ///< The last row with a key that was not generated.
  journal_position log_tail{};
  std::vector<inbox_mark> marks;       ///< Of all its senders.
};

/// What an entity needs to come into memory.
struct stored_entity {
  entity_row row;
  std::optional<directory_row> directory; ///< What its tenant's directory says of it, if it does.
};

/// What a stored key says, without its answer.
struct key_entry {
  std::uint64_t key_hash = 0;          ///< XXH3-64 of the key, mixed with the caller.
  journal_position position;
  wall_time at;
  bool generated = false;
};
/// The mixing used by `key_entry::key_hash`.
std::uint64_t key_hash_of(std::string_view key, std::uint64_t caller) noexcept;

struct stored_event {
  std::string cursor;                  ///< Opaque. Resume after it.
  wall_time at;
  event_row event;
};
struct event_page {
  std::vector<stored_event> events;
  bool gap = false;                    ///< Events between the given cursor and the first one here are gone.
  std::string end;                     ///< Resume from here even when `events` is empty.
};

struct stored_dead_letter {
  std::uint64_t number = 0;
  wall_time at;
  entity_id receiver;
  std::string principal;               ///< Of the message.
  dead_letter_row letter;
};

struct waiting_entity {                ///< A waiting turn found at start.
  entity_id entity;
  std::string principal;
  waiting_turn turn;
  std::vector<step_row> steps;
};

struct store_totals {
  std::uint64_t entities = 0;
  std::uint64_t outbox = 0;
  std::uint64_t waiting = 0;
};

/// Committed rows only. Confined to one thread; make one for each. Every call names the tenant it acts for and sees
/// nothing of another.
class store_reader {
public:
  virtual ~store_reader() = default;

  /// `version` is 0 when the entity never wrote anything.
  virtual result<entity_row> load_entity(tenant_context who, entity_id id) = 0;
  /// Both at once. Stores that are a round trip away ask once.
  virtual result<stored_entity> load(tenant_context who, entity_id id);
  /// `not_found` when no such name is in the directory.
  virtual result<directory_row> find(tenant_context who, entity_kind kind, std::string_view name) = 0;
  virtual result<directory_row> find(tenant_context who, entity_id id) = 0;
  /// Ordered by name, after `after`. @param supervisor only its children, when given.
  virtual result<std::vector<directory_row>> list(tenant_context who, entity_kind kind, std::string_view after,
                                                  std::size_t limit, const std::string* supervisor = nullptr) = 0;

  /// Walks the chain of keyed rows back from `from`: newest first, until `limit`, or rows older than `oldest`.
  virtual result<std::vector<key_entry>> keys(tenant_context who, entity_id id, journal_position from, std::size_t limit,
                                              wall_time oldest) = 0;
  /// The key, digest and answer of a journal row. `not_found` when it has been trimmed.
  virtual result<keyed_answer> answer(tenant_context who, entity_id id, journal_position position) = 0;

  /// Entries `from` .. `from+limit-1` of a log, in order. `tail` is the entity's `log_tail`.
  virtual result<std::vector<std::string>> read_log(tenant_context who, entity_id id, std::string_view log,
                                                    journal_position tail, std::uint64_t from, std::size_t limit) = 0;
  virtual result<std::optional<std::string>> item(tenant_context who, entity_id id, std::string_view key) = 0;
  /// Items whose key starts with `prefix`, in order of the key's bytes, after `after`.
  virtual result<std::vector<std::pair<std::string, std::string>>> items(tenant_context who, entity_id id, std::string_view prefix,
                                                                         std::string_view after, std::size_t limit) = 0;

  /// Events of the tenant after `cursor` (empty: from now on).
  virtual result<event_page> events(tenant_context who, std::string_view cursor, std::size_t limit) = 0;
  virtual result<std::vector<std::pair<wall_time, audit_row>>> audit(tenant_context who, std::size_t limit) = 0;
  /// Newest first, those with a number below `before` (0: from the newest on).
  virtual result<std::vector<stored_dead_letter>> dead_letters(tenant_context who, std::uint64_t before, std::size_t limit) = 0;

  // -- what the authenticator needs before there is a context, and what a node needs when it takes a shard. These see
  //    all tenants; nothing above `runtime::security` and shard recovery calls them.
  virtual result<api_key_row> find_api_key(std::string_view id) = 0;
  virtual result<tenant_row> find_tenant(std::string_view name) = 0;
  virtual result<tenant_row> find_tenant(tenant_id id) = 0;
  virtual result<std::vector<tenant_row>> tenants(std::string_view after, std::size_t limit) = 0;
  /// Outbox rows of all entities of the shard in order of (sender, sequence). The callback returns false to stop.
  virtual result<void> outbox_of(shard_id shard, const std::function<bool(outbox_row&&)>& each) = 0;
  virtual result<void> waiting_of(shard_id shard, const std::function<bool(waiting_entity&&)>& each) = 0;
  /// Timers of the shard's entities in order of (due, entity, number), after that of `after` (whose type and body do not
  /// matter). The callback returns false to stop.
  virtual result<void> timers_of(shard_id shard, const timer_row& after, const std::function<bool(timer_row&&)>& each) = 0;
  virtual result<std::vector<shard_id>> shards_with_timers() = 0;
  /// How many there are. Backends that can count without reading the rows do.
  virtual result<std::uint64_t> count_timers(shard_id shard) {
    std::uint64_t n = 0;
    const auto read = timers_of(shard, {}, [&n](timer_row&&) { return ++n, true; });
    if (!read) return read.error();
    return n;
  }
  /// The shards that have outbox rows or waiting turns: all that needs a look after a start.
  virtual result<std::vector<shard_id>> shards_with_work() = 0;
  virtual result<store_totals> totals() = 0;
};

/// One shard as the store knows it.
struct shard_row {
  shard_id shard;
  node_generation owner;
  epoch fence;
};

/// What was written before these times may go.
struct trim_horizon {
  wall_time journal;                   ///< With the keys and answers in it.
  wall_time events;
  wall_time dead_letters{};
  wall_time audit{};
  wall_time now{};                     ///< By the clock that these times were reckoned with. A store that others use, too, takes
                                       ///< them back by as much as that clock is ahead of its own: rows go for everybody.
};

class turn_store {
public:
  virtual ~turn_store() = default;

  /// Writes a batch in one transaction and syncs it. Commit thread only. Never returns after a failed sync: the
  /// process ends, because what the page cache holds is then unknown.
  virtual batch_result write(std::span<turn_record* const> batch) = 0;
  /// What became of a batch whose `write` said `unknown`. Asked again until it knows. Stores that never say `unknown`
  /// leave it as it is.
  virtual batch_result find_out(std::span<turn_record* const>) { return {batch_result::kind::unknown, {}, {}}; }
  /// Work that can wait until a batch has been answered, e.g. a checkpoint. Commit thread, after each batch.
  virtual void maintain() {}
  /// Whether the store takes writes now: tried with a small one. Commit thread, while it is `unavailable`.
  virtual result<void> probe() { return {}; }

  /// A position for a record of `shard`, higher than every one allotted before for the same entity. Any thread.
  virtual journal_position allot(shard_id shard) noexcept = 0;

  /// Commits in the name of `generation` from here on, which an `ownership_store` of the same database gave to this node;
  /// instead of `claim_all`. Commit thread, or before it runs. `unimplemented` by stores of a single node.
  virtual result<void> adopt(node_generation) {
    return error{errc::unimplemented, "single_node", "this store knows no other nodes: call claim_all", {}, {}};
  }
  /// Positions are allotted at or above `first` from here on. Any thread. @see changed_shard::first
  virtual void begin_at(journal_position) noexcept {}

  /// Takes every shard for a new generation of this node: owner set, epoch raised. Commit thread, or before it runs.
  virtual result<std::vector<shard_row>> claim_all() = 0;
  /// Takes one shard away from its owner, as another node would. For tests of the fence.
  virtual result<shard_row> claim(shard_id shard) = 0;

  /// Deletes rows that are older than retention: at most `limit` of them. Commit thread, between batches.
  /// @returns how many went.
  virtual result<std::size_t> trim(const trim_horizon& before, std::size_t limit) = 0;

  virtual result<std::unique_ptr<store_reader>> reader() = 0;
  virtual std::uint16_t shard_count() const noexcept = 0;
  /// Names this store in all its histories: another database has another one. Empty: only one process uses it.
  virtual std::string identity() const { return {}; }
  /// Names this history of this store: another one when it is made anew, or when a replica that may lack something takes
  /// over. Empty: only one process uses it.
  virtual std::string lineage() const { return {}; }
};

} // namespace hive::persistence
