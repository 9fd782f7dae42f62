// A child whose turn does not end when its supervisor wants it to: real threads, because its shard is busy meanwhile. (R2)
#include "actors/node_host.hpp"
#include "persistence/sqlite/sqlite_store.hpp"
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

#include <future>

namespace hive::actors {
namespace {

using namespace std::chrono_literals;

std::atomic<bool> go_on{false};
std::atomic<int> lives_of_busy{0};

/// "busy" holds its thread until it is let go; then it changes its state.
class holder final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    if (m.type == "crash") throw std::runtime_error("crash was asked for");
    if (m.type == "busy") {
      const int life = ++lives_of_busy;
      while (life == 1 && !go_on) std::this_thread::sleep_for(1ms);
      self.set_state_bytes(self.state_bytes() + "x");
    }
    self.reply(json_payload({{"state", self.state_bytes()}}));
    co_return;
  }
};

TEST(BusyChildTest, GroupDoesNotWaitForItAndWhatTheRevokedTurnDidIsDropped) {
  test::scratch_dir dir;
  test::test_contexts contexts;
  system_clock_source clock;
  config::settings settings;
  settings.node.workers = 3;
  persistence::sqlite_options where;
  where.directory = dir.path() / "data";
  where.shard_count = settings.node.shards;
  auto store = std::move(*persistence::open_sqlite(where));
  behaviour_registry behaviours;
  behaviours.add("holder", std::make_unique<holder>());
  executor_registry executors;
  node_host host({settings, clock, *store, contexts, behaviours, executors, 1, (dir.path() / "running").string(), {}});
  ASSERT_TRUE(host.start());

  const auto begin = [&](tenant_context who, destination to, const std::string& type, const json& body) {
    auto done = std::make_shared<std::promise<result<json>>>();
    host.ask(who, {std::move(to), type, json_payload(body), {}, 20s, false, {}}, on_reply([done](result<ask_answer> r) {
      if (r) done->set_value(json::parse(r->body.bytes));
      else done->set_value(r.error());
    }));
    return done->get_future();
  };
  const auto system = contexts.restore(system_tenant, "system");
  const auto made = begin(system, {entity_kind::tenant, ""}, "tenant.put", {{"name", "t"}}).get();
  ASSERT_TRUE(made) << to_string(made.error());
  const auto who = contexts.restore(tenant_id{made->at("id").get<std::uint32_t>()}, "key:test");
  const auto agent = [](const char* name) {
    return json{{"name", name}, {"spec", {{"behaviour", "holder"}, {"supervisor", "s"}, {"shutdown_ms", 100}}}};
  };
  const auto applied = begin(who, {entity_kind::tenant, ""}, "directory.apply",
                             {{"supervisors", json::array({{{"name", "s"}, {"spec", {{"strategy", "one_for_all"}}}}})},
                              {"agents", json::array({agent("a"), agent("b"), agent("c")})}}).get();
  ASSERT_TRUE(applied) << to_string(applied.error());
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(begin(who, {entity_kind::agent, name}, "state", nullptr).get());

  auto busy = begin(who, {entity_kind::agent, "c"}, "busy", nullptr);
  while (lives_of_busy == 0) std::this_thread::sleep_for(1ms);
  ASSERT_FALSE(begin(who, {entity_kind::agent, "b"}, "crash", nullptr).get());
  for (const char* name : {"a", "b"})
    EXPECT_TRUE(begin(who, {entity_kind::agent, name}, "state", nullptr).get()) << name << " is back while c still holds its thread";
  EXPECT_EQ(busy.wait_for(0s), std::future_status::timeout);
  go_on = true;
  const auto answer = busy.get();
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->at("state"), "x") << "of the next life; the first one's change is gone";
  EXPECT_EQ(lives_of_busy, 2);
}

} // namespace
} // namespace hive::actors
