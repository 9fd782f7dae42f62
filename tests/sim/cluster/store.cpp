#include "tests/sim/cluster/store.hpp"

#include <gtest/gtest.h>

namespace hive::sim {

using namespace hive::cluster;
using persistence::batch_result;
using persistence::turn_outcome;

void apply(const effects& e, entity_data& to) {
  to.ledger.insert(to.ledger.end(), e.append.begin(), e.append.end());
  to.keys.insert(e.keys.begin(), e.keys.end());
  for (const auto& s : e.send) {
    to.outbox[s.sequence] = s;
    to.sent = std::max(to.sent, s.sequence);
  }
  for (const auto d : e.delivered) to.outbox.erase(d);
  for (const auto& [who, sequence] : e.marks) to.marks[who] = std::max(to.marks[who], sequence);
  for (const auto& t : e.timers) to.timers[t.op] = t;
  for (const auto t : e.timers_gone) to.timers.erase(t);
  for (const auto& w : e.accepted) to.waiting[w.op] = w;
  for (const auto w : e.ended) to.waiting.erase(w);
  if (e.deleted) {
    to.deleted = true;
    to.timers.clear();
    to.waiting.clear();
  }
}

store::store(world& w, std::uint16_t shards, milliseconds lease_ttl, store_times times, mutation defect)
  : world_(w), ttl_(lease_ttl), times_(times), defect_(defect) {
  tables_.version = 1;
  for (std::uint16_t i = 0; i < shards; ++i) tables_.shards.push_back({shard_id{i}, {}, {}, {}});
}

// -- row locks

void store::begin(std::vector<std::pair<shard_id, bool>> wanted, std::function<void()> locked, std::function<void()> aborted,
                  std::uint64_t& id) {
  id = next_transaction_++;
  transactions_[id] = {std::move(wanted), 0, std::move(locked), std::move(aborted)};
  lock_next(id);
}

bool store::compatible(const row_lock& row, std::uint64_t id, bool exclusive) const {
  for (const auto& [holder, theirs] : row.holders)
    if (holder != id && (exclusive || theirs)) return false;
  return true;
}

void store::lock_next(std::uint64_t id) {
  const auto found = transactions_.find(id);
  if (found == transactions_.end()) return;
  auto& t = found->second;
  if (t.got == t.wanted.size()) {
    const auto locked = t.locked;
    return locked();
  }
  const auto [shard, exclusive] = t.wanted[t.got];
  auto& row = locks_[shard];
  const bool first = row.waiters.empty() || row.waiters.front() == id;
  if (!first || !compatible(row, id, exclusive)) {
    if (std::find(row.waiters.begin(), row.waiters.end(), id) == row.waiters.end()) row.waiters.push_back(id);
    if (!would_wait_for_itself(id)) return;
    fail("a deadlock of a takeover and a batch");
    const auto aborted = t.aborted;
    end(id);
    return aborted();
  }
  if (!row.waiters.empty()) row.waiters.pop_front();
  row.holders[id] = exclusive;
  ++t.got;
  wake(shard); // those behind may share it
  if (times_.lock_step_high.count() == 0) return lock_next(id);
  world_.after(world_.between(microseconds{0}, times_.lock_step_high), [this, id, got = t.got, boot = boot_] {
    if (const auto still = transactions_.find(id); boot == boot_ && still != transactions_.end() && still->second.got == got) lock_next(id);
  });
}

/// Follows who waits for whom: the row that a transaction waits for, its holders and those before it in the queue.
bool store::would_wait_for_itself(std::uint64_t id) const {
  std::set<std::uint64_t> seen;
  std::vector<std::uint64_t> open{id};
  while (!open.empty()) {
    const auto at = open.back();
    open.pop_back();
    const auto& t = transactions_.at(at);
    if (t.got == t.wanted.size()) continue;
    const auto [shard, exclusive] = t.wanted[t.got];
    const auto row = locks_.find(shard);
    if (row == locks_.end() || std::find(row->second.waiters.begin(), row->second.waiters.end(), at) == row->second.waiters.end()) continue;
    const auto visit = [&](std::uint64_t other) {
      if (other == at) return false;
      if (other == id) return true;
      if (seen.insert(other).second) open.push_back(other);
      return false;
    };
    for (const auto& [holder, theirs] : row->second.holders)
      if ((exclusive || theirs) && visit(holder)) return true;
    for (const auto waiter : row->second.waiters) {
      if (waiter == at) break;
      if (visit(waiter)) return true;
    }
  }
  return false;
}

void store::end(std::uint64_t id) {
  const auto found = transactions_.find(id);
  if (found == transactions_.end()) return;
  const auto wanted = found->second.wanted;
  transactions_.erase(found);
  for (const auto& [shard, exclusive] : wanted) {
    auto& row = locks_[shard];
    row.holders.erase(id);
    std::erase(row.waiters, id);
  }
  for (const auto& [shard, exclusive] : wanted) wake(shard);
}

void store::wake(shard_id shard) {
  const auto& row = locks_[shard];
  if (row.waiters.empty()) return;
  world_.after(microseconds{1}, [this, shard, boot = boot_] {
    if (boot != boot_) return;
    const auto& again = locks_[shard];
    if (!again.waiters.empty()) lock_next(again.waiters.front());
  });
}

// -- nodes and owners

node_row* store::find(node_generation g) {
  for (auto& n : tables_.nodes)
    if (n.generation == g) return &n;
  return nullptr;
}

void store::call(const store_call& what, ownership_done done) {
  if (away_) return;
  world_.after(world_.between(microseconds{100}, microseconds{600}) + when_it_runs(), [this, what, done = std::move(done), boot = boot_] {
    if (boot != boot_ || away_) return;
    if (const auto* c = std::get_if<change_owners_call>(&what)) return change_owners(*c, done);
    auto said = std::visit(
      [&](const auto& c) -> store_answer {
        if constexpr (std::is_same_v<std::decay_t<decltype(c)>, change_owners_call>) return store_refused{};
        else return answer(c);
      },
      what);
    world_.after(world_.between(microseconds{100}, microseconds{600}), [this, said = std::move(said), done, boot] {
      if (boot == boot_) done(said);
    });
  });
}

store_answer store::answer(const join_call& c) {
  for (auto& n : tables_.nodes) {
    if (n.facts.name != c.facts.name || n.ended()) continue;
    if (leased(n) && n.generation != c.former)
      return name_taken{std::chrono::duration_cast<milliseconds>(leases_.at(n.generation) - world_.now()) + milliseconds{1}};
    n.state = node_state::dead;
  }
  const node_generation g{(told_timeline() << 40U) + next_generation_++};
  tables_.nodes.push_back({g, c.facts, node_state::joining, 1, {}});
  leases_[g] = world_.now() + c.lease_ttl;
  ++tables_.version;
  world_.trace(word::state, g.value(), 0);
  return joined{g, told_timeline()};
}

store_answer store::answer(const renew_call& c) {
  auto* n = find(c.self);
  if (n == nullptr || n->ended()) return generation_ended{};
  const bool outage = std::none_of(tables_.nodes.begin(), tables_.nodes.end(), [&](const auto& o) { return !o.ended() && leased(o); });
  if (outage && defect_ != mutation::no_grace) grace_until_ = world_.now() + ttl_;
  leases_[c.self] = world_.now() + c.lease_ttl;
  ++n->renewal;
  world_.trace(word::renewed, c.self.value(), n->renewal);
  return renewed{n->renewal, tables_.version, {}, told_timeline()};
}

store_answer store::answer(const read_call&) {
  auto copy = std::make_shared<tables>(tables_);
  for (auto& n : copy->nodes) n.lease_left = std::chrono::ceil<milliseconds>(leases_.at(n.generation) - world_.now());
  copy->timeline = told_timeline();
  copy->grace_left = std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(grace_until_ - world_.now()));
  return tables_read{std::move(copy)};
}

store_answer store::answer(const declare_dead_call& c) {
  auto* n = find(c.target);
  if (n == nullptr || (!n->ended() && (n->renewal != c.renewal || (!c.agreed && leased(*n))))) return row_changed{false};
  if (!n->ended()) {
    n->state = node_state::dead;
    ++tables_.version;
    world_.trace(word::declared, c.target.value(), c.agreed ? 1 : 0);
  }
  return row_changed{true};
}

store_answer store::answer(const change_state_call& c) {
  auto* n = find(c.target);
  if (n == nullptr || n->state != c.from) return row_changed{false};
  if (c.to == node_state::left)
    for (const auto& s : tables_.shards)
      if (s.owner == c.target) return row_changed{false};
  n->state = c.to;
  ++tables_.version;
  world_.trace(word::state, c.target.value(), static_cast<std::uint64_t>(c.to));
  return row_changed{true};
}

void store::change_owners(const change_owners_call& c, ownership_done done) {
  const auto* by = find(c.by);
  const auto refuse = [&](milliseconds retry) {
    world_.after(microseconds{200}, [this, done, retry, boot = boot_] {
      if (boot == boot_) done(store_refused{retry});
    });
  };
  if (by == nullptr || by->ended() || !leased(*by)) return refuse({});
  if (world_.now() < grace_until_)
    for (const auto& i : c.shards)
      if (i.from.value() != 0 && i.from != c.by) return refuse(std::chrono::ceil<milliseconds>(grace_until_ - world_.now()));

  std::vector<std::pair<shard_id, bool>> wanted;
  for (const auto& i : c.shards) wanted.emplace_back(i.shard, true);
  std::sort(wanted.begin(), wanted.end());
  if (defect_ == mutation::unordered_takeover) std::reverse(wanted.begin(), wanted.end());
  auto id = std::make_shared<std::uint64_t>(0);
  begin(
    std::move(wanted),
    [this, c, done, id, boot = boot_] {
      world_.after(commit_time(), [this, c, done, id, boot] {
        if (boot != boot_) return;
        owners_changed changed;
        for (const auto& i : c.shards) {
          auto& row = tables_.shards[i.shard.value()];
          const auto* to = find(i.to);
          const auto* from = find(i.from);
          if (row.owner != i.from || row.fence != i.fence || to == nullptr || to->ended() || !leased(*to)) continue;
          if (from != nullptr && !from->ended() && i.from != c.by) continue;
          row.owner = i.to;
          row.fence = epoch{row.fence.value() + 1};
          ++owner_changes_;
          note_owner(i.shard, i.to);
          world_.trace(i.from == c.by ? word::handed_over : word::claimed, i.shard.value(), i.to.value(), row.fence.value());
          changed.rows.push_back(row);
        }
        if (!changed.rows.empty()) ++tables_.version;
        remember_now();
        end(*id);
        world_.after(world_.between(microseconds{100}, microseconds{600}), [this, changed, done, boot] {
          if (boot == boot_) done(changed);
        });
      });
    },
    [done] { done(store_refused{}); }, *id);
}

void store::note_owner(shard_id shard, node_generation owner) { owners_[shard].emplace_back(world_.now(), owner); }

// -- turns

void store::write(node_generation by, std::uint64_t session, std::uint64_t number, std::vector<statement_turn> batch, std::function<void(batch_result)> done,
                  std::function<void()> broken) {
  if (away_) {
    world_.after(world_.between(milliseconds{1}, milliseconds{20}), std::move(broken));
    return;
  }
  const auto statement = next_statement_++;
  open_[statement] = broken;
  const bool breaks = times_.break_one_in != 0 && world_.chance.one_in(times_.break_one_in);
  auto delay = world_.between(microseconds{50}, microseconds{400}) + when_it_runs();
  if (breaks) {
    world_.trace(word::broke, by.value(), number);
    delay += world_.between(microseconds{0}, times_.orphan_high);
    world_.after(world_.between(microseconds{0}, milliseconds{2}), [this, statement] { lose(statement); });
  }
  world_.after(delay, [this, by, session, number, statement, batch = std::move(batch), done = std::move(done), boot = boot_]() mutable {
    if (boot != boot_ || away_) return;
    execute(by, session, number, std::move(batch), [this, statement, done = std::move(done)](batch_result r) {
      world_.after(world_.between(microseconds{50}, microseconds{400}), [this, statement, done, r = std::move(r)]() mutable {
        if (open_.erase(statement) != 0) done(std::move(r));
      });
    });
  });
}

void store::lose(std::uint64_t statement) {
  const auto found = open_.find(statement);
  if (found == open_.end()) return;
  auto broken = std::move(found->second);
  open_.erase(found);
  broken();
}

void store::break_connections() {
  std::vector<std::uint64_t> all;
  for (const auto& [statement, broken] : open_) all.push_back(statement);
  for (const auto statement : all) world_.after(world_.between(microseconds{0}, milliseconds{5}), [this, statement] { lose(statement); });
}

void store::crash() {
  ++boot_;
  transactions_.clear();
  locks_.clear();
  break_connections();
}

bool store::fence_holds(node_generation by, const statement_turn& t) const {
  const auto& row = tables_.shards[t.shard.value()];
  return row.owner == by && row.fence == t.fence;
}

void store::execute(node_generation by, std::uint64_t session, std::uint64_t number, std::vector<statement_turn> batch, std::function<void(batch_result)> done) {
  auto turns = std::make_shared<const std::vector<statement_turn>>(std::move(batch));
  auto fenced = std::make_shared<std::vector<bool>>();
  auto shut_out = std::make_shared<bool>(false);
  auto id = std::make_shared<std::uint64_t>(0);
  const auto look = [this, by, session, turns, fenced, shut_out] {
    *shut_out = sessions_[by] != session;
    for (const auto& t : *turns) fenced->push_back(!fence_holds(by, t) && defect_ != mutation::no_fence);
  };
  const auto commit = [this, by, number, turns, fenced, shut_out, id, done, boot = boot_] {
    world_.after(commit_time(), [=, this] {
      if (boot != boot_) return;
      if (*shut_out) {
        end(*id);
        return done({batch_result::kind::unavailable, {}, {errc::unavailable, "session_taken", "", {}, {}}});
      }
      batch_result r;
      const bool poison = std::any_of(turns->begin(), turns->end(), [](const auto& t) { return t.poison; });
      if (!poison || defect_ == mutation::half_of_refused) write_rows(by, *turns, *fenced, r.outcomes);
      if (poison) r = {batch_result::kind::refused, {}, {errc::internal, "constraint", "", {}, {}}};
      else last_batch_[by] = number;
      ++batches_;
      remember_now();
      end(*id);
      done(std::move(r));
    });
  };
  if (defect_ == mutation::weak_lock) {
    look();
    return commit();
  }
  std::set<shard_id> shards;
  for (const auto& t : *turns) shards.insert(t.shard);
  std::vector<std::pair<shard_id, bool>> wanted;
  for (const auto s : shards) wanted.emplace_back(s, false);
  begin(
    std::move(wanted),
    [look, commit] {
      look();
      commit();
    },
    [done] { done({batch_result::kind::unavailable, {}, {errc::unavailable, "deadlock", "", {}, {}}}); }, *id);
}

void store::write_rows(node_generation by, const std::vector<statement_turn>& batch, const std::vector<bool>& fenced,
                       std::vector<turn_outcome>& outcomes) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto& t = batch[i];
    if (t.poison) break; // only with the mutation
    if (fenced[i]) {
      outcomes.push_back(turn_outcome::fenced);
      continue;
    }
    outcomes.push_back(turn_outcome::committed);
    if (!t.writes) continue;
    auto& e = entities_[t.entity];
    if (e.version != t.base && defect_ != mutation::no_base_version) {
      outcomes.back() = turn_outcome::stale;
      continue;
    }
    if (e.version != t.base) fail("entity " + to_string(t.entity) + " has a gap or a second history");
    if (!fence_holds(by, t)) fail("a commit of entity " + to_string(t.entity) + " under an old epoch");
    e.version = t.base + 1;
    apply(*t.what, e);
    for (const auto& [slot, named_id] : t.what->names) names_[slot] = named_id;
    serials_.insert(t.serial);
    world_.trace(word::applied, t.serial, t.entity.bits(), e.version);
  }
}

void store::find_out(node_generation by, std::uint64_t last_answered, std::vector<statement_turn> batch, std::function<void(found_out)> done) {
  if (away_) return;
  world_.after(world_.between(microseconds{200}, milliseconds{2}) + when_it_runs(),
               [this, by, last_answered, batch = std::move(batch), done = std::move(done), boot = boot_] {
    if (boot != boot_ || away_) return;
    std::set<shard_id> shards;
    for (const auto& t : batch) shards.insert(t.shard);
    std::vector<std::pair<shard_id, bool>> wanted;
    if (defect_ != mutation::orphan_not_shut_out)
      for (const auto s : shards) wanted.emplace_back(s, true);
    auto id = std::make_shared<std::uint64_t>(0);
    begin(
      std::move(wanted),
      [=, this] {
        world_.after(commit_time(), [=, this] {
          if (boot != boot_) return;
          found_out r;
          r.timeline = timeline_;
          r.boot = boot_;
          const auto last = last_batch_.find(by);
          r.lost = last_answered != 0 && (last == last_batch_.end() || last->second < last_answered);
          if (defect_ != mutation::orphan_not_shut_out) ++sessions_[by];
          r.session = sessions_[by];
          for (const auto& t : batch) r.there.push_back(serials_.contains(t.serial));
          end(*id);
          world_.after(world_.between(microseconds{100}, microseconds{600}), [this, boot, done, r] {
            if (boot == boot_) done(r);
          });
        });
      },
      [] {}, *id);
  });
}

const entity_data* store::load(entity_id id) { return away_ ? nullptr : &entities_[id]; }

std::vector<entity_id> store::with_work(shard_id shard) const {
  std::vector<entity_id> all;
  for (const auto& [id, e] : entities_)
    if (shard_of(id, static_cast<std::uint16_t>(tables_.shards.size())) == shard && (!e.outbox.empty() || !e.timers.empty() || !e.waiting.empty()))
      all.push_back(id);
  return all;
}

// -- forgetting

void store::remember_now() {
  if (!remembering_ || (!memory_.empty() && world_.now() - memory_.back().at < milliseconds{20})) return;
  memory_.push_back({world_.now(), tables_, leases_, entities_, names_, serials_, last_batch_});
  while (memory_.size() > 40) memory_.pop_front();
}

void store::forget(microseconds behind) {
  const remembered* back_to = nullptr;
  for (const auto& m : memory_)
    if (m.at + behind <= world_.now()) back_to = &m;
  if (back_to == nullptr) return;
  tables_ = back_to->tables;
  leases_ = back_to->leases;
  entities_ = back_to->entities;
  names_ = back_to->names;
  serials_ = back_to->serials;
  last_batch_ = back_to->last_batch;
  memory_.clear();
  ++timeline_;
  ++era_;
  world_.trace(word::forgot, era_);
  crash();
}

} // namespace hive::sim
