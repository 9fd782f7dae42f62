/// @file
/// Turns for tests of stores, with the numbers that an activation would keep: version, positions, chains.
#pragma once

#include "persistence/turn_store.hpp"
#include "tests/support/test_context.hpp"

#include <map>

namespace hive::test {

using namespace hive::persistence;

inline wall_time at_ms(std::int64_t ms) { return wall_time{std::chrono::milliseconds{ms}}; }

/// One entity as its activation sees it.
struct actor {
  entity_id id;
  std::uint64_t version = 0;
  std::uint64_t sent = 0;
  journal_position last_keyed{};
  journal_position log_tail{};
  std::map<std::string, std::uint64_t> log_next{};
};

/// Makes records for the entities of one store. Owns nothing but its notes of the shards.
class turn_maker {
public:
  explicit turn_maker(turn_store& store) : store_(store) {}

  /// Takes all shards; records made from here on carry the new epochs.
  void claim_all() {
    auto rows = store_.claim_all();
    if (!rows) throw std::runtime_error(to_string(rows.error()));
    for (const auto& row : *rows) epochs_[row.shard] = row.fence;
  }
  shard_id shard(entity_id id) const { return shard_of(id, store_.shard_count()); }
  epoch fence(entity_id id) const {
    const auto it = epochs_.find(shard(id));
    return it == epochs_.end() ? epoch{} : it->second;
  }

  /// A turn of `a` that writes nothing yet but its journal row; `a` moves to the version after it.
  std::unique_ptr<turn_record> turn(actor& a, std::string principal = "key:test", wall_time at = at_ms(1'000)) {
    auto r = std::make_unique<turn_record>(context_of(a.id.tenant().value(), std::move(principal)), a.id, shard(a.id), fence(a.id));
    r->base = a.version++;
    r->writes = true;
    r->position = store_.allot(r->shard);
    r->at = at;
    r->sent = a.sent;
    r->log_tail = a.log_tail;
    return r;
  }
  /// A turn that changed nothing.
  std::unique_ptr<turn_record> look(const actor& a) {
    auto r = std::make_unique<turn_record>(context_of(a.id.tenant().value()), a.id, shard(a.id), fence(a.id));
    r->base = a.version;
    return r;
  }

  static void set_state(turn_record& r, std::string state) { r.state = std::move(state); }
  static void answer(actor& a, turn_record& r, std::string key, std::string text, std::uint64_t caller = 7) {
    r.previous_keyed = a.last_keyed;
    r.keyed = keyed_answer{std::move(key), caller, {1, 2}, false, false, {std::move(text), content_type::text}};
    a.last_keyed = r.position;
  }
  static void append(actor& a, turn_record& r, const std::string& log, std::string data) {
    r.logs.push_back({log, a.log_next[log]++, a.log_tail, std::move(data)});
    r.log_tail = r.position;
  }
  /// After the last `append` of a turn.
  static void end_appends(actor& a, const turn_record& r) { a.log_tail = r.position; }
  static void send(actor& a, turn_record& r, entity_id to, std::string body) {
    r.outbox.push_back({a.id, to, ++a.sent, 2, std::string(r.who.principal()), "note", {std::move(body), content_type::text}, "env"});
    r.sent = a.sent;
  }

private:
  turn_store& store_;
  std::map<shard_id, epoch> epochs_;
};

/// Writes records that the caller owns as one batch.
template <class... Records> batch_result write(turn_store& store, const Records&... records) {
  std::vector<turn_record*> batch{records.get()...};
  return store.write(batch);
}
inline batch_result write(turn_store& store, const std::vector<std::unique_ptr<turn_record>>& records) {
  std::vector<turn_record*> batch;
  for (const auto& r : records) batch.push_back(r.get());
  return store.write(batch);
}

} // namespace hive::test
