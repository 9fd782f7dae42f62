// Durable timers of entities: never early, exactly once, across crashes.
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

using std::chrono::milliseconds;

/// Sets and cancels timers; keeps when each came.
class alarm_clock final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    const json body = m.parse();
    if (m.type == "set") {
      payload note = json_payload({{"name", body.at("name")}});
      const auto token = self.after(milliseconds{body.at("ms").get<int>()}, "ring", std::move(note));
      self.put_row("token/" + body.at("name").get<std::string>(), token);
      self.append("set", json{{"name", body.at("name")}, {"at", self.now().time_since_epoch().count() + body.at("ms").get<int>()}}.dump());
      self.reply(json_payload(token));
    } else if (m.type == "ring") {
      self.append("rang", json{{"name", body.at("name")}, {"at", self.now().time_since_epoch().count()}}.dump());
      if (body.value("name", "") == "crash") throw std::runtime_error("told to");
    } else if (m.type == "cancel") {
      const auto token = co_await self.row("token/" + body.at("name").get<std::string>());
      self.cancel_timer(*token);
    } else if (m.type == "rang") {
      const auto entries = co_await self.read_log("rang", 0, 10'000);
      json all = json::array();
      for (const auto& e : entries) all.push_back(json::parse(e));
      payload answer = json_payload(all);
      self.reply(std::move(answer));
    } else throw bad_message("type", "unknown");
  }
};

class TimerTest : public KitTest {
protected:
  std::unique_ptr<testkit> make_clock(config::settings settings = {}) {
    dirs_.push_back(std::make_unique<test::scratch_dir>());
    auto kit = std::make_unique<testkit>(contexts_, dirs_.back()->path(),
                                         [](behaviour_registry& b, executor_registry&) { b.add("alarm", std::make_unique<alarm_clock>()); },
                                         std::move(settings), seed_);
    kit->add_agent("a", "alarm");
    return kit;
  }
  static std::size_t rang(testkit& kit) { return kit.ask("a", "rang", nullptr)->size(); }
};

TEST_F(TimerTest, FiresOnceAndNotBeforeItsTime) {
  auto kit = make_clock();
  (void)kit->ask("a", "set", {{"name", "x"}, {"ms", 500}});
  kit->advance(milliseconds{499});
  EXPECT_EQ(rang(*kit), 0U);
  kit->advance(milliseconds{60});
  EXPECT_EQ(rang(*kit), 1U);
  kit->advance(milliseconds{60'000});
  EXPECT_EQ(rang(*kit), 1U);
}

TEST_F(TimerTest, SurvivesTheNodeAndFiresWhatCameDueMeanwhile) {
  auto kit = make_clock();
  for (int i = 0; i < 20; ++i) (void)kit->ask("a", "set", {{"name", std::to_string(i)}, {"ms", 100 * (i + 1)}});
  kit->advance(milliseconds{550});
  const auto before = rang(*kit);
  EXPECT_GE(before, 4U);
  kit->crash();
  kit->advance(milliseconds{10});
  EXPECT_EQ(rang(*kit), before);
  kit->advance(milliseconds{3'000});
  EXPECT_EQ(rang(*kit), 20U);
}

TEST_F(TimerTest, CancelledOneDoesNotFire) {
  auto kit = make_clock();
  (void)kit->ask("a", "set", {{"name", "x"}, {"ms", 500}});
  (void)kit->ask("a", "set", {{"name", "y"}, {"ms", 500}});
  (void)kit->ask("a", "cancel", {{"name", "x"}});
  kit->advance(milliseconds{1'000});
  const auto all = *kit->ask("a", "rang", nullptr);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0]["name"], "y");
  (void)kit->ask("a", "cancel", {{"name", "y"}}); // it has fired: no error
  kit->crash();
  kit->advance(milliseconds{1'000});
  EXPECT_EQ(rang(*kit), 1U);
}

TEST_F(TimerTest, ManyMoreThanTheWindowFireInOrder) {
  config::settings s;
  s.node.timers_in_flight = 4;
  auto kit = make_clock(s);
  constexpr int n = 3'000; // of one shard, whose window is 256
  for (int i = 0; i < n; ++i) (void)kit->ask("a", "set", {{"name", std::to_string(i)}, {"ms", 1'000'000 + (i * 7919) % n}});
  kit->crash();
  kit->advance(milliseconds{2'000'000});
  const auto all = *kit->ask("a", "rang", nullptr);
  ASSERT_EQ(all.size(), static_cast<std::size_t>(n));
  std::set<std::string> names;
  for (const auto& e : all) names.insert(e["name"]);
  EXPECT_EQ(names.size(), static_cast<std::size_t>(n));
}

TEST_F(TimerTest, TimerWhoseTurnCrashesIsTriedAndThenADeadLetter) {
  auto kit = make_clock();
  (void)kit->ask("a", "set", {{"name", "crash"}, {"ms", 100}});
  kit->advance(milliseconds{1'000});
  kit->settle();
  EXPECT_EQ(rang(*kit), 0U);
  const auto dead = kit->reader().dead_letters(kit->context(), 0, 10);
  ASSERT_TRUE(dead);
  ASSERT_EQ(dead->size(), 1U);
  EXPECT_EQ(dead->front().letter.reason, "attempts_exhausted");
}

TEST_F(TimerTest, FiresOnceWhateverCommitThePowerGoesAfter) {
  crash_at_every_commit([&] { return make_clock(); },
                        [](testkit& kit) {
                          (void)kit.ask_until_answered("a", "set", {{"name", "x"}, {"ms", 50}}, "k1");
                          (void)kit.ask_until_answered("a", "set", {{"name", "y"}, {"ms", 80}}, "k2");
                          kit.advance(milliseconds{200});
                          (void)kit.ask_until_answered("a", "set", {{"name", "z"}, {"ms", 10}}, "k3");
                          kit.advance(milliseconds{200});
                        },
                        [](testkit& kit) {
                          kit.advance(milliseconds{2'000});
                          const auto all = kit.ask_until_answered("a", "rang", nullptr, "k4");
                          ASSERT_TRUE(all);
                          EXPECT_EQ(all->size(), 3U);
                        });
}

TEST_F(TimerTest, GaugeCountsThoseThatAreSet) {
  config::settings s;
  s.node.timers_in_flight = 4;
  auto kit = make_clock(s);
  constexpr int n = 700; // more than the window
  const auto set = [&] {
    kit->run(); // the shard hears of commits a moment after the asker
    return kit->timers_set();
  };
  for (int i = 0; i < n; ++i) (void)kit->ask("a", "set", {{"name", std::to_string(i)}, {"ms", 1'000'000 + i}});
  EXPECT_EQ(set(), n);
  for (const char* name : {"0", "600"}) (void)kit->ask("a", "cancel", {{"name", name}}); // in the window, and beyond it
  EXPECT_EQ(set(), n - 2);
  kit->crash();
  EXPECT_EQ(set(), n - 2) << "counted at the start";
  (void)kit->ask("a", "set", {{"name", "soon"}, {"ms", 100}});
  EXPECT_EQ(set(), n - 1);
  kit->advance(milliseconds{500});
  EXPECT_EQ(set(), n - 2) << "it fired";
  (void)kit->ask("a", "cancel", {{"name", "soon"}});
  EXPECT_EQ(set(), n - 2) << "it was gone before";
  int refused = 0;
  kit->refuse_commits([&]() -> std::optional<error> {
    if (++refused % 3 != 0) return std::nullopt;
    return error{errc::unavailable, "store_away", "for the test"};
  });
  kit->advance(milliseconds{1'100'000});
  kit->refuse_commits({});
  kit->advance(milliseconds{10'000});
  EXPECT_EQ(rang(*kit), static_cast<std::size_t>(n - 1));
  EXPECT_EQ(set(), 0) << "each of them once";
}

TEST_F(TimerTest, RefusedCommitsDelayButNeverDoubleATimer) {
  auto kit = make_clock();
  for (int i = 0; i < 10; ++i) (void)kit->ask("a", "set", {{"name", std::to_string(i)}, {"ms", 100 + i}});
  int refused = 0;
  kit->refuse_commits([&]() -> std::optional<error> {
    if (++refused % 3 != 0) return std::nullopt;
    return error{errc::unavailable, "store_away", "for the test"};
  });
  kit->advance(milliseconds{5'000});
  kit->refuse_commits({});
  kit->advance(milliseconds{5'000});
  EXPECT_EQ(rang(*kit), 10U);
}

} // namespace
} // namespace hive::actors
