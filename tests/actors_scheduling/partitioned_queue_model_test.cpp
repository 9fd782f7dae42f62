// One to four partitions of a queue against a small model, by chance: tasks and groups submitted anywhere, agents that
// succeed, fail and are paused, cancellations, time, and partitions that are added, while messages between partitions take
// as long as they like (each pair's in order). No agent has more than it may, nothing is done twice or after its end was
// told, and at the end everything has ended.
#include "actors/scheduling/task_queue.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>

namespace hive::actors::scheduling {
namespace {

using std::chrono::milliseconds;
constexpr tenant_id crowd_tenant{1};
constexpr int crowd_n = 9;
constexpr std::uint32_t parts_max = 4;

class partitioned_world {
public:
  explicit partitioned_world(std::uint64_t seed) : chance_(seed) {
    limits_.breaker = {3, milliseconds{1'000}, milliseconds{4'000}};
    limits_.concurrency = static_cast<std::uint32_t>(1 + chance_.below(2));
    parts_n_ = static_cast<std::uint32_t>(1 + chance_.below(3));
    for (auto& a : agents_) {
      if (chance_.one_in(2)) a.can.push_back({"read", static_cast<std::uint8_t>(chance_.below(10))});
      if (chance_.one_in(3)) a.can.push_back({"write", 9});
    }
    partition(0);
  }

  void run() {
    for (int i = 0; i < 250; ++i) {
      step();
      drain();
    }
    finish();
  }

private:
  struct agent_model {
    std::vector<capability> can;
    bool paused = false;
  };
  struct origin {
    std::uint32_t from;
    task_id task;
    std::uint32_t attempt;
    friend auto operator<=>(const origin&, const origin&) = default;
  };
  struct part {
    std::unique_ptr<task_queue> core;
    std::set<std::uint32_t> awaited, told;
    std::map<task_id, origin> lent;             ///< Done here for others.
    std::map<origin, task_id> lent_as;
  };
  struct attempt_model {
    entity_id agent;
    std::uint32_t number;
    task_id root;                               ///< The task that people know of.
    bool recalled = false;
  };

  static entity_id agent_id(int i) { return {crowd_tenant, static_cast<std::uint64_t>(100 + i)}; }
  static std::string name_of(int i) { return "a" + std::to_string(i); }
  static int index_of(entity_id id) { return static_cast<int>(id.serial()) - 100; }

  /// As the queue entity does when it has its first turn.
  part& partition(std::uint32_t p) {
    auto& at = parts_[p];
    if (at.core) return at;
    at.core = std::make_unique<task_queue>(limits_, now_);
    at.core->divide(p, std::max(parts_n_, p + 1), now_, chance_);
    for (std::uint32_t other = 0; other < p; ++other) at.awaited.insert(other);
    if (!at.awaited.empty()) at.core->arriving(true, now_, chance_);
    for (int i = 0; i < crowd_n; ++i) at.core->describe_agent(agent_id(i), name_of(i), agents_[static_cast<std::size_t>(i)].can, 1, now_, chance_);
    if (p == 0)
      for (int i = 0; i < crowd_n; ++i) at.core->pause_agent(agent_id(i), agents_[static_cast<std::size_t>(i)].paused, now_, chance_);
    for (const auto other : at.awaited) send(p, other, [this, p, other, n = parts_n_] { give_up(other, p, n); });
    return at;
  }
  void send(std::uint32_t from, std::uint32_t to, std::function<void()> what) { channels_[{from, to}].push_back(std::move(what)); }

  void give_up(std::uint32_t p, std::uint32_t to, std::uint32_t n) {
    auto& at = partition(p);
    at.core->divide(p, n, now_, chance_);
    at.told.insert(to);
    std::map<entity_id, std::uint32_t> busy;
    for (const auto& [id, a] : at.core->agents())
      if (a.partition == to && a.in_flight != a.elsewhere) busy[id] = a.in_flight - a.elsewhere;
    send(p, to, [this, p, to, busy, parts = at.core->parts()] {
      auto& mine = partition(to);
      mine.core->divide(to, parts, now_, chance_);
      for (const auto& [id, attempts] : busy) mine.core->began_elsewhere(id, attempts);
      mine.awaited.erase(p);
      if (!mine.awaited.empty()) return;
      for (int i = 0; i < crowd_n; ++i)
        if (partition_for(name_of(i), mine.core->parts()) == to) mine.core->pause_agent(agent_id(i), agents_[static_cast<std::size_t>(i)].paused, now_, chance_);
      mine.core->arriving(false, now_, chance_);
    });
  }

  task_spec fresh(std::uint32_t p) {
    task_spec s;
    s.id = partition(p).core->next_id(now_);
    s.submitted = now_;
    s.priority = static_cast<std::uint8_t>(1 + chance_.below(5));
    if (chance_.one_in(2)) s.agent = agent_id(static_cast<int>(chance_.below(crowd_n)));
    else {
      s.capability = chance_.one_in(2) ? "read" : "write";
      s.complexity = static_cast<std::uint8_t>(chance_.below(10));
    }
    if (chance_.one_in(2)) s.retry = {static_cast<std::uint32_t>(1 + chance_.below(4)), milliseconds{100}, milliseconds{1'000}};
    if (chance_.one_in(8)) s.deadline = now_ + milliseconds{chance_.below(5'000)};
    return s;
  }
  void submit(std::uint32_t p, task_spec s) {
    EXPECT_EQ(partition_of(s.id), p);
    EXPECT_TRUE(specs_.emplace(s.id, s).second) << "an id twice";
    partition(p).core->submit(std::move(s), now_, chance_);
  }

  void step() {
    const auto p = static_cast<std::uint32_t>(chance_.below(parts_n_));
    switch (chance_.below(16)) {
    case 0:
    case 1:
    case 2: {
      auto s = fresh(p);
      if (chance_.one_in(3) && !specs_.empty()) {
        const auto on = std::next(specs_.begin(), static_cast<std::ptrdiff_t>(chance_.below(specs_.size())))->first;
        if (!over_.contains(on)) depend(p, s, on);
      }
      submit(p, std::move(s));
      break;
    }
    case 3: {
      task_spec g;
      g.id = partition(p).core->next_id(now_);
      g.submitted = now_;
      const auto n = 1 + chance_.below(4);
      g.group = static_cast<fan_in>(1 + chance_.below(4));
      g.quorum = static_cast<std::uint32_t>(1 + chance_.below(n));
      const auto group = g.id;
      submit(p, std::move(g));
      for (std::uint64_t i = 0; i < n; ++i) {
        auto s = fresh(p);
        s.parent = group;
        if (chance_.one_in(2)) s.undo_agent = agent_id(static_cast<int>(chance_.below(crowd_n)));
        submit(p, std::move(s));
      }
      break;
    }
    case 4:
      if (!specs_.empty()) {
        const auto id = std::next(specs_.begin(), static_cast<std::ptrdiff_t>(chance_.below(specs_.size())))->first;
        partition(partition_of(id)).core->cancel(id, now_, chance_);
      }
      break;
    case 5: {
      const auto i = static_cast<int>(chance_.below(crowd_n));
      auto& a = agents_[static_cast<std::size_t>(i)];
      auto& owner = partition(partition_for(name_of(i), parts_n_));
      if (!owner.awaited.empty()) break; // refused: the agent is on its way
      a.paused = !a.paused && chance_.one_in(2);
      owner.core->pause_agent(agent_id(i), a.paused, now_, chance_);
      break;
    }
    case 6:
      if (parts_n_ < parts_max && chance_.one_in(6)) {
        const auto had = parts_n_;
        parts_n_ += static_cast<std::uint32_t>(1 + chance_.below(parts_max - parts_n_));
        for (std::uint32_t old = 0; old < had; ++old) send(parts_max, old, [this, old, n = parts_n_] { partition(old).core->divide(old, n, now_, chance_); });
      }
      break;
    case 7: now_ += milliseconds{chance_.below(700)}; break;
    case 8:
    case 9:
    case 10: deliver(); break;
    default: answer_one(false); break;
    }
  }

  void depend(std::uint32_t p, task_spec& s, task_id on) {
    const auto home = partition_of(on);
    s.needs.push_back({on, false});
    if (home == p) return;
    partition(p).core->foreign(on);
    send(p, home, [this, p, home, on] {
      if (over_.contains(on)) send(home, p, [this, p, on] { partition(p).core->foreign_ended(on, over_[on] == task_state::succeeded, now_, chance_); });
      else watched_[on].insert(p);
    });
  }

  bool deliver() {
    std::erase_if(channels_, [](const auto& c) { return c.second.empty(); });
    if (channels_.empty()) return false;
    auto& line = std::next(channels_.begin(), static_cast<std::ptrdiff_t>(chance_.below(channels_.size())))->second;
    const auto what = std::move(line.front());
    line.pop_front();
    what();
    return true;
  }

  void answer_one(bool well) {
    if (at_work_.empty()) return;
    const auto at = std::next(at_work_.begin(), static_cast<std::ptrdiff_t>(chance_.below(at_work_.size())));
    const auto id = at->first;
    const auto attempt = at->second;
    at_work_.erase(at);
    verdict v;
    if (attempt.recalled && !chance_.one_in(3)) v.what = verdict::kind::cancelled;
    else if (!well && chance_.one_in(3)) v = {verdict::kind::failed, chance_.one_in(6), {"no", "", {}}};
    if (v.what == verdict::kind::succeeded) {
      EXPECT_FALSE(over_.contains(attempt.root)) << "an effect after the end was told";
      EXPECT_EQ(++effects_[attempt.root], 1) << "two effects of one task";
    }
    last_ = {id, v};
    EXPECT_TRUE(partition(partition_of(id)).core->answer(id, attempt.number, v, now_, chance_));
    drain();
    last_ = {};
  }

  void drain() {
    for (auto& [p, at] : parts_) drain_one(p, at);
  }

  void drain_one(std::uint32_t p, part& at) {
    auto& core = *at.core;
    while (core.next_wake() <= now_) core.wake(now_, chance_);
    const auto out = core.take();
    for (const auto& s : out.created) EXPECT_TRUE(specs_.emplace(s.id, s).second);
    for (const auto& [id, status] : out.ended) {
      EXPECT_FALSE(at_work_.contains(id)) << "ended while its agent was at it";
      for (const auto by : watched_[id]) send(p, by, [this, by, id = id, good = status.state == task_state::succeeded] { partition(by).core->foreign_ended(id, good, now_, chance_); });
      if (const auto lent = at.lent.find(id); lent != at.lent.end()) {
        verdict v;
        if (status.state == task_state::cancelled) v.what = verdict::kind::cancelled;
        else if (status.state != task_state::succeeded) v = {verdict::kind::failed, last_.first == id && last_.second.final, status.error};
        const auto to = lent->second;
        at.lent_as.erase(to);
        at.lent.erase(lent);
        send(p, to.from, [this, to, v] { EXPECT_TRUE(partition(to.from).core->answer(to.task, to.attempt, v, now_, chance_)); });
        continue;
      }
      EXPECT_TRUE(over_.emplace(id, status.state).second) << "ended twice";
      EXPECT_EQ(status.state == task_state::succeeded && specs_.at(id).group == fan_in::none, effects_[id] == 1) << "what it says is not what it did";
    }
    for (const auto& m : out.messages) {
      const origin as{p, m.task, m.attempt};
      const auto borrower = m.lent - 1U;
      if (m.lent != 0 && m.recall) send(p, borrower, [this, as, borrower] {
          auto& theirs = partition(borrower);
          if (const auto sub = theirs.lent_as.find(as); sub != theirs.lent_as.end()) theirs.core->cancel(sub->second, now_, chance_);
        });
      else if (m.lent != 0) send(p, borrower, [this, as, borrower, spec = *static_cast<const task_spec*>(core.find(m.task)), root = root_of(at, m.task)] { borrow(borrower, as, spec, root); });
      else if (m.recall) {
        ASSERT_TRUE(at_work_.contains(m.task));
        at_work_[m.task].recalled = true;
      } else begin(at, m);
    }
    for (const auto id : out.freed) {
      const auto owner = core.find_agent(id)->partition;
      if (at.told.contains(owner)) send(p, owner, [this, owner, id] { partition(owner).core->ended_elsewhere(id, 1, now_, chance_); });
    }
    for (const auto& o : out.offers)
      send(p, o.partition, [this, p, o] {
        const auto places = partition(o.partition).core->spare(o.capability, o.waiting);
        if (places != by_complexity{}) send(o.partition, p, [this, p, o, places] { partition(p).core->lend(o.capability, places, o.partition, now_); });
      });
  }

  task_id root_of(const part& at, task_id id) {
    const auto lent = at.lent.find(id);
    return lent == at.lent.end() ? id : roots_.at(id);
  }

  void borrow(std::uint32_t p, const origin& as, const task_spec& of, task_id root) {
    auto& at = partition(p);
    task_spec s;
    s.id = at.core->next_id(now_);
    s.agent = of.agent;
    s.capability = of.capability;
    s.complexity = of.complexity;
    s.priority = of.priority;
    s.submitted = of.submitted;
    at.lent.emplace(s.id, as);
    at.lent_as.emplace(as, s.id);
    roots_[s.id] = root;
    at.core->submit(std::move(s), now_, chance_);
  }

  void begin(part& at, const queue_effects::assignment& m) {
    const auto root = root_of(at, m.task);
    const auto& spec = specs_.at(root);
    EXPECT_FALSE(over_.contains(root)) << "begun after its end";
    for (const auto& [id, w] : at_work_) EXPECT_NE(w.root, root) << "two attempts at a time";
    const auto& a = agents_[static_cast<std::size_t>(index_of(m.agent))];
    EXPECT_FALSE(a.paused) << "the agent is paused";
    if (spec.agent) EXPECT_EQ(spec.agent, m.agent);
    else
      EXPECT_TRUE(std::any_of(a.can.begin(), a.can.end(), [&](const capability& c) { return c.name == spec.capability && c.up_to >= spec.complexity; }))
        << "an agent that is not able";
    for (const auto& n : spec.needs) EXPECT_TRUE(over_.contains(n.on) && (n.any_end || over_[n.on] == task_state::succeeded)) << "begun too early";
    at_work_[m.task] = {m.agent, m.attempt, root, false};
    std::size_t load = 0;
    for (const auto& [id, w] : at_work_) load += w.agent == m.agent ? 1 : 0;
    EXPECT_LE(load, limits_.concurrency) << "more than it may have";
  }

  /// Good weather: everything must come to its end.
  void finish() {
    for (auto& a : agents_) {
      a.paused = false;
      a.can = {{"read", 9}, {"write", 9}};
    }
    for (std::uint32_t p = 0; p < parts_n_; ++p) {
      auto& at = partition(p);
      for (int i = 0; i < crowd_n; ++i) {
        at.core->describe_agent(agent_id(i), name_of(i), agents_[static_cast<std::size_t>(i)].can, 1, now_, chance_);
        at.core->pause_agent(agent_id(i), false, now_, chance_);
      }
    }
    const auto open = [&] { return std::any_of(parts_.begin(), parts_.end(), [](const auto& p) { return p.second.core->size() != 0; }); };
    for (int i = 0; i < 20'000 && open(); ++i) {
      drain();
      const bool moved = deliver();
      drain();
      answer_one(true);
      if (!moved && at_work_.empty()) now_ += milliseconds{200};
    }
    while (deliver()) drain();
    EXPECT_FALSE(open()) << "a task starved";
    for (const auto& [id, spec] : specs_) EXPECT_TRUE(over_.contains(id)) << "a task was lost";
    for (const auto& [p, at] : parts_)
      for (const auto& [id, a] : at.core->agents())
        EXPECT_TRUE(a.partition != p || a.in_flight == 0) << "an agent is thought to be busy";
  }

  random_source chance_;
  wall_time now_{milliseconds{1'700'000'000'000}};
  queue_limits limits_;
  std::uint32_t parts_n_ = 1;
  std::map<std::uint32_t, part> parts_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::deque<std::function<void()>>> channels_;
  std::array<agent_model, crowd_n> agents_{};
  std::map<task_id, task_spec> specs_;
  std::map<task_id, task_id> roots_;
  std::map<task_id, attempt_model> at_work_;
  std::map<task_id, int> effects_;
  std::map<task_id, task_state> over_;
  std::map<task_id, std::set<std::uint32_t>> watched_;
  std::pair<task_id, verdict> last_;
};

TEST(PartitionedQueueModelTest, WhatMustHoldHoldsWhateverHappens) {
  const char* one = std::getenv("HIVE_SEED");
  const std::uint64_t from = one ? std::stoull(one) : 1;
  const std::uint64_t to = one ? from : 2000;
  for (std::uint64_t seed = from; seed <= to; ++seed) {
    SCOPED_TRACE("HIVE_SEED=" + std::to_string(seed));
    partitioned_world(seed).run();
    if (::testing::Test::HasFailure()) return;
  }
}

} // namespace
} // namespace hive::actors::scheduling
