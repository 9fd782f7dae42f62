// A whole node with real threads: what needs a shard that is busy while others are not.
#include "tests/actors/node_fixture.hpp"

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

class NodeHostTest : public NodeFixture {
protected:
  void start(std::uint32_t inbox_messages = 100'000) {
    go_on = false;
    lives_of_busy = 0;
    settings.node.workers = 3;
    settings.node.inbox_messages = inbox_messages;
    open_store();
    behaviours.add("holder", std::make_unique<holder>());
    host = std::make_unique<node_host>(node_host_parts{settings, clock, *store, contexts, behaviours, executors, 1, (dir.path() / "running").string(), {}});
    ASSERT_TRUE(host->start());
    ASSERT_NO_FATAL_FAILURE(make_tenant());
  }

  std::future<result<json>> ask(const char* name, const char* type) { return begin(*who, {entity_kind::agent, name}, type, nullptr); }

  /// Agents a, b and c under one supervisor that restarts all of them with each.
  void apply_group() {
    const auto agent = [](const char* name) {
      return json{{"name", name}, {"spec", {{"behaviour", "holder"}, {"supervisor", "s"}, {"shutdown_ms", 100}}}};
    };
    const auto applied = begin(*who, {entity_kind::tenant, ""}, "directory.apply",
                               {{"supervisors", json::array({{{"name", "s"}, {"spec", {{"strategy", "one_for_all"}}}}})},
                                {"agents", json::array({agent("a"), agent("b"), agent("c")})}}).get();
    ASSERT_TRUE(applied) << to_string(applied.error());
    for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(ask(name, "state").get());
  }
};

// A child whose turn does not end when its supervisor wants it to. (R2)
TEST_F(NodeHostTest, GroupDoesNotWaitForABusyChildAndWhatTheRevokedTurnDidIsDropped) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(apply_group());
  auto busy = ask("c", "busy");
  while (lives_of_busy == 0) std::this_thread::sleep_for(1ms);
  ASSERT_FALSE(ask("b", "crash").get());
  for (const char* name : {"a", "b"}) EXPECT_TRUE(ask(name, "state").get()) << name << " is back while c still holds its thread";
  EXPECT_EQ(busy.wait_for(0s), std::future_status::timeout);
  go_on = true;
  const auto answer = busy.get();
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->at("state"), "x") << "of the next life; the first one's change is gone";
  EXPECT_EQ(lives_of_busy, 2);
}

// Overload of one shard is told at once, to asks and to tells; the others go on, and so does it when it has caught up. (R8)
TEST_F(NodeHostTest, AFullInboxRefusesAtOnceAndOnlyForItsShard) {
  constexpr std::uint32_t bound = 100;
  ASSERT_NO_FATAL_FAILURE(start(bound));
  ASSERT_NO_FATAL_FAILURE(apply_group());
  auto busy = ask("c", "busy");
  while (lives_of_busy == 0) std::this_thread::sleep_for(1ms);
  std::size_t taken = 0;
  std::optional<error> refusal;
  for (; taken <= 2 * bound && !refusal; ++taken) {
    auto told = std::make_shared<std::promise<result<void>>>();
    auto heard = told->get_future();
    host->tell(*who, {entity_kind::agent, "c"}, "state", json_payload(nullptr), {}, [told](result<void> r) { told->set_value(std::move(r)); });
    if (heard.wait_for(0s) != std::future_status::ready) continue; // waits in the inbox
    if (auto r = heard.get(); !r) refusal = r.error();
  }
  ASSERT_TRUE(refusal) << taken << " were taken";
  EXPECT_EQ(refusal->code, errc::resource_exhausted);
  EXPECT_EQ(refusal->reason, "node_overloaded");
  EXPECT_NE(refusal->message.find("node.inbox_messages"), std::string::npos);
  EXPECT_GT(refusal->retry_after.count(), 0);
  EXPECT_GE(taken, bound);
  const auto asked = ask("c", "state").get();
  ASSERT_FALSE(asked);
  EXPECT_EQ(asked.error().reason, "node_overloaded");
  EXPECT_TRUE(ask("a", "state").get()) << "another shard";
  go_on = true;
  ASSERT_TRUE(busy.get());
  const auto until = std::chrono::steady_clock::now() + 10s;
  auto again = ask("c", "state").get();
  while (!again && std::chrono::steady_clock::now() < until) again = ask("c", "state").get();
  EXPECT_TRUE(again) << to_string(again.error());
}

} // namespace
} // namespace hive::actors
