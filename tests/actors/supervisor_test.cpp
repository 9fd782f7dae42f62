// The supervision contract, rule by rule; then random sequences against a small model that knows no plans and no
// messages. (R2; rules: OTP's supervisor)
#include "actors/supervisor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace hive::actors {
namespace {

using kind = supervisor_command::kind;
using std::chrono::milliseconds;
using phase = supervisor_core::phase;

entity_id child(std::uint64_t n) { return entity_id{tenant_id{1}, 100 + n}; }
std::uint64_t number(entity_id id) { return id.serial() - 100; }
steady_time at(std::int64_t ms) { return steady_time{milliseconds{1'000'000 + ms}}; }

/// A supervisor with its children, which obey at once unless a test holds their answers back.
class Family {
public:
  explicit Family(supervisor_spec spec, bool root = false, std::uint64_t seed = 1) : core(std::move(spec), root, seed) {}

  void add(std::uint64_t n, restart_type restart = restart_type::permanent, bool significant = false, std::optional<milliseconds> shutdown = milliseconds{5'000}) {
    supervised_child c{child(n), restart, significant, shutdown, true};
    children[n] = {c, 0, true, false};
  }
  void crash(std::uint64_t n, bool normal = false) {
    auto& c = children.at(n);
    if (!c.running) return;
    c.running = false;
    core.exited(c.spec, incarnation{c.life}, normal, at(now));
    obey();
  }
  void pass(std::int64_t ms) {
    const auto until = now + ms;
    for (auto due = core.next_due(); due && *due <= at(until); due = core.next_due()) {
      now = std::max(now, std::chrono::duration_cast<milliseconds>(*due - at(0)).count());
      core.tick(at(now));
      obey();
    }
    now = until;
    core.tick(at(now));
    obey();
  }
  void begin() {
    core.begin(at(now));
    obey();
  }
  void end() {
    core.end(at(now));
    obey();
  }
  /// Carries out what the supervisor commands until it commands nothing more.
  void obey() {
    for (auto commands = core.take(); !commands.empty(); commands = core.take())
      for (const auto& c : commands) carry_out(c);
  }
  void carry_out(const supervisor_command& c) {
    const auto n = c.child ? number(c.child) : 0;
    const auto note = [&](const char* what) { log.push_back(what + std::to_string(n)); };
    switch (c.what) {
    case kind::list: {
      std::vector<supervised_child> all;
      for (auto& [name, one] : children) all.push_back(one.spec);
      std::reverse(all.begin(), all.end()); // in any order
      core.listed(std::move(all), at(now));
      return;
    }
    case kind::stop:
      note("stop ");
      if (deaf == n) return;
      children.at(n).running = false;
      core.stopped(c.ticket, incarnation{children.at(n).life}, at(now));
      return;
    case kind::kill:
      note("kill ");
      children.at(n).running = false;
      return;
    case kind::start: {
      auto& its = children.at(n);
      if (c.life) {
        EXPECT_EQ(c.life->value(), its.life) << "a command names the life that it is about";
      }
      if (its.left) return core.started(c.ticket, incarnation{its.life}, at(now)); // not wanted to run: stays as it is
      if (fails_to_start > 0 && fails_to_start_as == n) {
        --fails_to_start;
        note("fail ");
        core.start_failed(its.spec, incarnation{its.life}, c.ticket, at(now));
        return;
      }
      note("start ");
      EXPECT_FALSE(its.running);
      its.running = true;
      ++its.life;
      if (c.ticket != 0) core.started(c.ticket, incarnation{its.life}, at(now));
      return;
    }
    case kind::leave:
      note("leave ");
      children.at(n).left = true;
      children.at(n).spec.alive = false;
      return;
    case kind::remove:
      note("remove ");
      children.erase(n);
      return;
    case kind::quarantine:
      note("quarantine ");
      children.at(n).left = true;
      return;
    case kind::ended:
      log.push_back(std::string("ended") + (c.wanted ? " wanted" : "") + (c.failed ? " failed" : ""));
      return;
    }
  }
  std::vector<std::string> said() { return std::exchange(log, {}); }

  struct member {
    supervised_child spec;
    std::uint32_t life = 0;
    bool running = true;
    bool left = false;
  };
  std::map<std::uint64_t, member> children;
  std::vector<std::string> log;
  std::int64_t now = 0;
  std::uint64_t deaf = ~0ULL;             ///< Does not answer a stop.
  std::uint64_t fails_to_start_as = ~0ULL;
  int fails_to_start = 0;
  supervisor_core core;
};

supervisor_spec spec_of(restart_strategy strategy, std::uint32_t intensity = 3, milliseconds period = milliseconds{5'000}) {
  supervisor_spec s;
  s.strategy = strategy;
  s.intensity = intensity;
  s.period = period;
  return s;
}
Family four(supervisor_spec spec) {
  Family f(std::move(spec));
  for (std::uint64_t n = 1; n <= 4; ++n) f.add(n);
  return f;
}
using said = std::vector<std::string>;

// -- strategies

TEST(SupervisorTest, EachStrategyRestartsWhomItSays) {
  const std::vector<std::tuple<restart_strategy, std::uint64_t, said>> table{
    {restart_strategy::one_for_one, 2, {"start 2"}},
    {restart_strategy::simple_one_for_one, 2, {"start 2"}},
    {restart_strategy::one_for_all, 2, {"stop 4", "stop 3", "stop 1", "start 1", "start 2", "start 3", "start 4"}},
    {restart_strategy::one_for_all, 4, {"stop 3", "stop 2", "stop 1", "start 1", "start 2", "start 3", "start 4"}},
    {restart_strategy::rest_for_one, 2, {"stop 4", "stop 3", "start 2", "start 3", "start 4"}},
    {restart_strategy::rest_for_one, 1, {"stop 4", "stop 3", "stop 2", "start 1", "start 2", "start 3", "start 4"}},
    {restart_strategy::rest_for_one, 4, {"start 4"}},
  };
  for (const auto& [strategy, crashed, expected] : table) {
    auto f = four(spec_of(strategy));
    f.crash(crashed);
    EXPECT_EQ(f.said(), expected) << static_cast<int>(strategy) << " crash of " << crashed;
    EXPECT_EQ(f.core.restarts(), 1U) << "a group counts once";
  }
}

TEST(SupervisorTest, GroupLeavesATemporaryChildEnded) {
  auto f = four(spec_of(restart_strategy::one_for_all));
  f.add(3, restart_type::temporary);
  f.crash(1);
  EXPECT_EQ(f.said(), (said{"stop 4", "stop 3", "remove 3", "stop 2", "start 1", "start 2", "start 4"}));
}

TEST(SupervisorTest, ChildThatCrashesWhileItsGroupIsStoppedCountsOnce) {
  auto f = four(spec_of(restart_strategy::one_for_all, 1));
  f.core.exited(f.children.at(1).spec, incarnation{0}, false, at(0));
  f.children.at(1).running = false;
  f.deaf = 3;
  f.obey(); // 4 is stopped, 3 does not answer
  EXPECT_EQ(f.said(), (said{"stop 4", "stop 3"}));
  f.crash(2);
  f.deaf = ~0ULL;
  f.core.stopped(2, incarnation{0}, at(1));
  f.children.at(3).running = false;
  f.obey();
  EXPECT_EQ(f.said(), (said{"stop 2", "start 1", "start 2", "start 3", "start 4"}));
}

TEST(SupervisorTest, CrashDuringARestartOfOthersIsDecidedAfterwards) {
  auto f = four(spec_of(restart_strategy::rest_for_one));
  f.deaf = 4;
  f.crash(3);
  EXPECT_EQ(f.said(), (said{"stop 4"}));
  f.crash(1); // not part of it
  EXPECT_EQ(f.said(), said{});
  f.deaf = ~0ULL;
  f.children.at(4).running = false;
  f.core.stopped(1, incarnation{0}, at(1));
  f.obey();
  EXPECT_EQ(f.said(), (said{"start 3", "start 4", "stop 4", "stop 3", "stop 2", "start 1", "start 2", "start 3", "start 4"}));
}

// -- intensity and period

TEST(SupervisorTest, IntensityRestartsAreAllowedAndOneMoreEndsTheSupervisor) {
  auto f = four(spec_of(restart_strategy::one_for_one, 3));
  for (int i = 0; i < 3; ++i) f.crash(2);
  EXPECT_EQ(f.said(), (said{"start 2", "start 2", "start 2"}));
  f.crash(2);
  EXPECT_EQ(f.said(), (said{"stop 4", "stop 3", "stop 2", "stop 1", "ended"}));
  EXPECT_EQ(f.core.doing(), phase::ended);
}

TEST(SupervisorTest, TheWindowSlides) {
  auto f = four(spec_of(restart_strategy::one_for_one, 2, milliseconds{1000}));
  f.crash(1);
  f.pass(900);
  f.crash(1);
  f.pass(101);
  f.crash(1); // the first is out of the window
  EXPECT_EQ(f.core.doing(), phase::running);
  f.crash(1);
  EXPECT_EQ(f.core.doing(), phase::ended);
}

TEST(SupervisorTest, IntensityZeroAllowsNone) {
  auto f = four(spec_of(restart_strategy::one_for_one, 0));
  f.crash(1);
  EXPECT_EQ(f.core.doing(), phase::ended);
}

TEST(SupervisorTest, TheRootDoesNotEndButQuarantinesTheChild) {
  Family f(spec_of(restart_strategy::one_for_one, 1), true);
  f.add(1);
  f.add(2);
  f.crash(1);
  f.crash(1);
  EXPECT_EQ(f.said(), (said{"start 1", "quarantine 1"}));
  f.crash(2);
  EXPECT_EQ(f.said(), said{"start 2"}) << "others go on";
}

TEST(SupervisorTest, BackoffDoesNotBypassTheIntensity) {
  auto s = spec_of(restart_strategy::one_for_one, 2, milliseconds{60'000});
  s.backoff = milliseconds{1000};
  auto f = four(s);
  f.crash(1);
  EXPECT_EQ(f.said(), said{}) << "it waits";
  f.pass(1000);
  EXPECT_EQ(f.said(), said{"start 1"});
  f.crash(1);
  f.pass(2000);
  f.said();
  f.crash(1);
  EXPECT_EQ(f.core.doing(), phase::ended);
}

TEST(SupervisorTest, BackoffDoublesUpToItsMaximumAndStartsOverAfterAWhile) {
  auto s = spec_of(restart_strategy::one_for_one, 1000, milliseconds{1});
  s.backoff = milliseconds{100};
  s.backoff_max = milliseconds{1000};
  s.backoff_reset = milliseconds{10'000};
  auto f = four(s);
  for (const std::int64_t full : {100, 200, 400, 800, 1000, 1000}) {
    f.crash(1);
    const auto due = f.core.next_due();
    ASSERT_TRUE(due);
    EXPECT_GE(*due - at(f.now), milliseconds{full / 2});
    EXPECT_LE(*due - at(f.now), milliseconds{full});
    f.pass(full);
    ASSERT_TRUE(f.children.at(1).running);
  }
  f.pass(10'001);
  f.crash(1);
  EXPECT_LE(*f.core.next_due() - at(f.now), milliseconds{100});
}

TEST(SupervisorTest, GroupWaitsForItsBackoffBetweenStopsAndStarts) {
  auto s = spec_of(restart_strategy::one_for_all);
  s.backoff = milliseconds{1000};
  auto f = four(s);
  f.crash(1);
  EXPECT_EQ(f.said(), (said{"stop 4", "stop 3", "stop 2"}));
  f.pass(1000);
  EXPECT_EQ(f.said(), (said{"start 1", "start 2", "start 3", "start 4"}));
}

// -- restart types

TEST(SupervisorTest, RestartTypesDecideWhichExitsAreAnswered) {
  const std::vector<std::tuple<restart_type, bool, said>> table{
    {restart_type::permanent, false, {"start 1"}}, {restart_type::permanent, true, {"start 1"}},
    {restart_type::transient, false, {"start 1"}}, {restart_type::transient, true, {"leave 1"}},
    {restart_type::temporary, false, {"remove 1"}}, {restart_type::temporary, true, {"remove 1"}},
  };
  for (const auto& [type, normal, expected] : table) {
    Family f(spec_of(restart_strategy::one_for_one));
    f.add(1, type);
    f.crash(1, normal);
    EXPECT_EQ(f.said(), expected) << static_cast<int>(type) << (normal ? " normal" : " crash");
    EXPECT_EQ(f.core.restarts(), expected[0] == "start 1" ? 1U : 0U);
  }
}

TEST(SupervisorTest, StaleExitsAreIgnored) {
  auto f = four(spec_of(restart_strategy::one_for_one, 1));
  f.crash(1);
  f.core.exited(f.children.at(1).spec, incarnation{0}, false, at(1)); // the same life once more
  f.obey();
  EXPECT_EQ(f.said(), said{"start 1"});
  EXPECT_EQ(f.core.doing(), phase::running);
}

// -- stopping

TEST(SupervisorTest, ItsEndStopsAllInReverseOneAfterTheOther) {
  auto f = four(spec_of(restart_strategy::one_for_one));
  f.deaf = 3;
  f.end();
  EXPECT_EQ(f.said(), (said{"stop 4", "stop 3"})) << "2 waits for 3";
  EXPECT_EQ(f.core.doing(), phase::ending);
  f.core.stopped(2, incarnation{0}, at(1));
  f.obey();
  EXPECT_EQ(f.said(), (said{"stop 2", "stop 1", "ended wanted"}));
}

TEST(SupervisorTest, SimpleOneForOneStopsAllAtOnce) {
  auto f = four(spec_of(restart_strategy::simple_one_for_one));
  f.deaf = 3;
  f.end();
  EXPECT_EQ(f.said(), (said{"stop 4", "stop 3", "stop 2", "stop 1"}));
  f.core.stopped(2, incarnation{0}, at(1));
  f.obey();
  EXPECT_EQ(f.said(), said{"ended wanted"});
}

TEST(SupervisorTest, ChildThatDoesNotStopInItsTimeIsKilled) {
  auto f = four(spec_of(restart_strategy::one_for_all));
  f.add(3, restart_type::permanent, false, milliseconds{200});
  f.deaf = 3;
  f.crash(1);
  f.pass(199);
  EXPECT_EQ(f.said(), (said{"stop 4", "stop 3"}));
  f.pass(1);
  EXPECT_EQ(f.said(), (said{"kill 3", "stop 2", "start 1", "start 2", "start 3", "start 4"}));
  f.core.stopped(2, incarnation{0}, at(300)); // too late: nobody waits for it any more
  f.obey();
  EXPECT_EQ(f.said(), said{});
}

TEST(SupervisorTest, ShutdownTimeZeroKillsAtOnceAndNoneWaitsForEver) {
  auto f = four(spec_of(restart_strategy::one_for_one));
  f.add(4, restart_type::permanent, false, milliseconds{0});
  f.add(3, restart_type::permanent, false, std::nullopt);
  f.deaf = 3;
  f.end();
  f.pass(86'400'000);
  EXPECT_EQ(f.said(), (said{"kill 4", "stop 3"}));
}

TEST(SupervisorTest, AnotherLifeStartsAllInOrder) {
  auto f = four(spec_of(restart_strategy::one_for_one, 0));
  f.crash(2);
  f.said();
  f.begin();
  EXPECT_EQ(f.said(), (said{"start 1", "start 2", "start 3", "start 4"}));
  EXPECT_EQ(f.core.doing(), phase::running);
}

TEST(SupervisorTest, FirstStartThatFailsStopsThoseStartedAndFailsTheSupervisor) {
  auto f = four(spec_of(restart_strategy::one_for_one));
  for (auto& [n, c] : f.children) c.running = false;
  f.fails_to_start_as = 3;
  f.fails_to_start = 1;
  f.begin();
  EXPECT_EQ(f.said(), (said{"start 1", "start 2", "fail 3", "stop 4", "stop 3", "stop 2", "stop 1", "ended failed"}));
}

TEST(SupervisorTest, RestartThatFailsCountsAgain) {
  auto f = four(spec_of(restart_strategy::one_for_one, 3));
  f.fails_to_start_as = 2;
  f.fails_to_start = 2;
  f.crash(2);
  EXPECT_EQ(f.said(), (said{"fail 2", "fail 2", "start 2"}));
  EXPECT_EQ(f.core.restarts(), 3U);
  f.crash(2);
  EXPECT_EQ(f.core.doing(), phase::ended);
}

// -- significant children

TEST(SupervisorTest, SignificantChildrenEndTheirSupervisor) {
  using ends = auto_shutdown;
  struct row {
    ends how;
    std::vector<std::uint64_t> exits;
    bool over;
  };
  for (const auto& [how, exits, over] : std::vector<row>{{ends::never, {1, 2}, false}, {ends::any_significant, {1}, true}, {ends::any_significant, {3}, false},
                                                         {ends::all_significant, {1}, false}, {ends::all_significant, {1, 3}, false}, {ends::all_significant, {1, 2}, true}}) {
    auto s = spec_of(restart_strategy::one_for_one);
    s.ends_with = how;
    Family f(s);
    f.add(1, restart_type::transient, true);
    f.add(2, restart_type::transient, true);
    f.add(3, restart_type::transient, false);
    for (const auto n : exits) f.crash(n, true);
    EXPECT_EQ(f.core.doing() == phase::ended, over) << static_cast<int>(how) << " after " << exits.size();
  }
}

TEST(SupervisorTest, CrashOfASignificantChildThatIsRestartedEndsNothing) {
  auto s = spec_of(restart_strategy::one_for_one);
  s.ends_with = auto_shutdown::any_significant;
  Family f(s);
  f.add(1, restart_type::transient, true);
  f.crash(1, false);
  EXPECT_EQ(f.said(), said{"start 1"});
}

TEST(SupervisorTest, SignificantChildStartedByHandCountsAsAliveAgain) {
  auto s = spec_of(restart_strategy::one_for_one);
  s.ends_with = auto_shutdown::all_significant;
  Family f(s);
  f.add(1, restart_type::transient, true);
  f.add(2, restart_type::transient, true);
  f.crash(1, true);
  f.core.began(child(1));
  f.children.at(1) = {f.children.at(1).spec, 1, true, false};
  f.children.at(1).spec.alive = true;
  f.crash(2, true);
  EXPECT_EQ(f.core.doing(), phase::running);
}

TEST(SupervisorTest, RemembersNothingOfChildrenThatRunQuietly) {
  Family f(spec_of(restart_strategy::one_for_one, 10));
  f.add(1);
  f.crash(1);
  EXPECT_FALSE(f.core.forgettable(at(f.now)));
  f.pass(5'001);
  EXPECT_TRUE(f.core.forgettable(at(f.now)));
}

// -- against a model: the contract in its plainest form, one event after the other, nothing ever under way

class Model {
public:
  struct one {
    restart_type type;
    bool significant;
    bool running = true;
    bool gone = false;                    // its spec went with it
    std::uint32_t life = 0;
  };
  std::map<std::uint64_t, one> children;
  supervisor_spec spec;
  bool ended = false;
  std::vector<std::int64_t> restarts;

  void crash(std::uint64_t n, bool normal, std::int64_t now) {
    auto& c = children.at(n);
    if (!c.running || ended) return;
    c.running = false;
    if (c.type == restart_type::temporary || (c.type == restart_type::transient && normal)) {
      c.gone = c.type == restart_type::temporary;
      bool others = false;
      for (const auto& [m, o] : children) others = others || (o.significant && o.running);
      if (c.significant && (spec.ends_with == auto_shutdown::any_significant || (spec.ends_with == auto_shutdown::all_significant && !others))) stop_all();
      return;
    }
    std::size_t recent = 0;
    for (const auto t : restarts) recent += now - t <= spec.period.count() ? 1 : 0;
    if (recent + 1 > spec.intensity) return stop_all();
    restarts.push_back(now);
    for (auto& [m, o] : children) {
      const bool with_it = m == n || spec.strategy == restart_strategy::one_for_all || (spec.strategy == restart_strategy::rest_for_one && m > n);
      if (!with_it || o.gone) continue;
      if (o.type == restart_type::temporary) {
        o.running = false;
        o.gone = true;
      } else if (!left.contains(m) || m == n) { // one that ended for good does not come back with its group
        o.running = true;
        ++o.life;
      }
    }
  }
  void note_left(std::uint64_t n) { left.insert(n); }
  void stop_all() {
    ended = true;
    for (auto& [m, o] : children) {
      o.running = false;
      o.gone = o.gone || o.type == restart_type::temporary;
    }
  }
  std::set<std::uint64_t> left;
};

constexpr std::uint64_t sequences = 3000;

supervisor_spec random_spec(random_source& chance) {
  const restart_strategy strategies[] = {restart_strategy::one_for_one, restart_strategy::one_for_all, restart_strategy::rest_for_one, restart_strategy::simple_one_for_one};
  const enum auto_shutdown ends[] = {auto_shutdown::never, auto_shutdown::any_significant, auto_shutdown::all_significant};
  auto s = spec_of(strategies[chance.below(4)], static_cast<std::uint32_t>(chance.below(6)), milliseconds{static_cast<std::int64_t>(1 + chance.below(400))});
  s.ends_with = ends[chance.below(3)];
  return s;
}

TEST(SupervisorPropertyTest, ObedientChildrenEndUpAsTheModelSays) {
  for (std::uint64_t seed = 1; seed <= sequences; ++seed) {
    random_source chance{seed};
    const auto spec = random_spec(chance);
    Family f(spec);
    Model m;
    m.spec = spec;
    const auto count = 1 + chance.below(6);
    for (std::uint64_t n = 1; n <= count; ++n) {
      const auto type = static_cast<restart_type>(chance.below(3));
      const bool significant = type != restart_type::permanent && chance.one_in(2);
      f.add(n, type, significant);
      m.children[n] = {type, significant};
    }
    for (int i = 0; i < 30; ++i) {
      f.pass(static_cast<std::int64_t>(chance.below(150)));
      const auto n = 1 + chance.below(count);
      const bool normal = chance.one_in(3);
      if (!f.children.contains(n)) continue;
      const bool was_running = m.children[n].running;
      f.crash(n, normal);
      if (was_running && normal && m.children[n].type == restart_type::transient) m.note_left(n);
      m.crash(n, normal, f.now);
      ASSERT_EQ(f.core.doing() == phase::ended, m.ended) << "seed " << seed << " event " << i;
      for (const auto& [k, expected] : m.children) {
        ASSERT_EQ(f.children.contains(k), !expected.gone) << "seed " << seed << " event " << i << " child " << k;
        if (expected.gone || m.ended) continue;
        ASSERT_EQ(f.children.at(k).running, expected.running) << "seed " << seed << " event " << i << " child " << k;
        ASSERT_EQ(f.children.at(k).life, expected.life) << "seed " << seed << " event " << i << " child " << k;
      }
      if (m.ended) break;
    }
  }
}

/// Children that answer late, in any order, crash in between, or never stop.
TEST(SupervisorPropertyTest, WhateverTheOrderOfAnswersThePromisesHold) {
  for (std::uint64_t seed = 1; seed <= sequences; ++seed) {
    random_source chance{seed};
    auto spec = random_spec(chance);
    if (chance.one_in(2)) spec.backoff = milliseconds{static_cast<std::int64_t>(1 + chance.below(50))};
    const bool root = chance.one_in(4);
    supervisor_core core(spec, root, seed);
    struct state {
      supervised_child spec;
      std::uint32_t life = 0;
      bool running = true;
      bool left = false;
    };
    std::map<std::uint64_t, state> children;
    const auto count = 1 + chance.below(6);
    for (std::uint64_t n = 1; n <= count; ++n) {
      const auto type = static_cast<restart_type>(chance.below(3));
      supervised_child c{child(n), type, type != restart_type::permanent && chance.one_in(2), milliseconds{static_cast<std::int64_t>(chance.below(80))}, true};
      if (chance.one_in(8)) c.shutdown.reset();
      children[n] = {c};
    }
    std::vector<supervisor_command> open;
    std::int64_t now = 0;
    bool ended = false;
    std::uint64_t last_stop = ~0ULL;      // of the row under way
    std::uint64_t last_start = 0;
    std::size_t unanswered = 0;
    const auto obey = [&] {
      for (auto commands = core.take(); !commands.empty(); commands = core.take())
        for (auto& c : commands) {
          ASSERT_FALSE(ended && c.what != kind::ended && c.what != kind::remove) << "seed " << seed << ": it has ended";
          const auto n = c.child ? number(c.child) : 0;
          if (c.what == kind::list) {
            last_stop = ~0ULL;
            last_start = 0;
            unanswered = 0;
          }
          if (c.what == kind::stop && spec.strategy != restart_strategy::simple_one_for_one) {
            ASSERT_LT(n, last_stop) << "seed " << seed << ": stops go backwards";
            ASSERT_EQ(unanswered, 0U) << "seed " << seed << ": one after the other";
            last_stop = n;
          }
          if (c.what == kind::start && c.ticket != 0) {
            ASSERT_GT(n, last_start) << "seed " << seed << ": starts go forwards";
            ASSERT_EQ(unanswered, 0U) << "seed " << seed << ": starts wait for stops and for each other";
            last_start = n;
          }
          if (c.what == kind::kill) {
            if (unanswered > 0) --unanswered;
            std::erase_if(open, [&](const auto& o) { return o.child == c.child; });
            children[n].running = false;
            if (chance.one_in(2)) core.stopped(999'999, incarnation{children[n].life}, at(now)); // nobody's ticket
          } else if (c.what == kind::remove || c.what == kind::leave || c.what == kind::quarantine) {
            children[n].left = true;
            children[n].running = false;
            children[n].spec.alive = false;
          } else if (c.what == kind::ended) {
            ended = true;
          } else if (c.what == kind::start && c.ticket == 0) {
            if (!children[n].left) children[n].running = true, ++children[n].life;
          } else {
            if (c.what != kind::list) ++unanswered;
            open.push_back(c);
          }
        }
    };
    const auto answer_one = [&] {
      const auto i = chance.below(open.size());
      const auto c = open[i];
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
      if (c.what == kind::list) {
        std::vector<supervised_child> all;
        for (auto& [n, s] : children)
          if (!s.left || s.spec.restart != restart_type::temporary) all.push_back(s.spec);
        core.listed(std::move(all), at(now));
        return;
      }
      if (unanswered > 0) --unanswered;
      auto& s = children[number(c.child)];
      if (c.what == kind::stop) {
        s.running = false;
        core.stopped(c.ticket, incarnation{s.life}, at(now));
      } else if (chance.one_in(10)) {
        core.start_failed(s.spec, incarnation{s.life}, c.ticket, at(now));
      } else {
        if (!s.left) s.running = true, ++s.life;
        core.started(c.ticket, incarnation{s.life}, at(now));
      }
    };
    std::vector<std::int64_t> counted;
    for (int i = 0; i < 120 && !ended; ++i) {
      const auto before = core.restarts();
      if (!open.empty() && chance.one_in(2)) answer_one();
      else if (chance.one_in(2)) {
        auto& s = children[1 + chance.below(count)];
        const bool normal = chance.one_in(4);
        if (s.running) {
          s.running = false;
          core.exited(s.spec, incarnation{s.life}, normal, at(now));
        }
      } else {
        now += static_cast<std::int64_t>(chance.below(40));
        core.tick(at(now));
      }
      obey();
      if (HasFatalFailure()) return;
      for (auto k = before; k < core.restarts(); ++k) counted.push_back(now);
    }
    for (std::size_t i = spec.intensity; !root && i < counted.size(); ++i) // the one `intensity` before it is out of the window
      ASSERT_GT(counted[i] - counted[i - spec.intensity], spec.period.count()) << "seed " << seed;
    // Everything is answered and time passes: nobody is forgotten.
    for (int i = 0; i < 2000 && !ended; ++i) {
      if (!open.empty()) answer_one();
      else if (const auto due = core.next_due()) {
        now = std::max(now, std::chrono::duration_cast<milliseconds>(*due - at(0)).count());
        core.tick(at(now));
      } else break;
      obey();
      if (HasFatalFailure()) return;
    }
    if (ended) continue;
    ASSERT_EQ(core.doing(), phase::running) << "seed " << seed;
    for (const auto& [n, s] : children) ASSERT_TRUE(s.running || s.left) << "seed " << seed << " child " << n << " was forgotten";
  }
}

} // namespace
} // namespace hive::actors
