#include "tests/runtime/gateway_fixture.hpp"

namespace hive::test {
namespace {

class EventsTest : public GatewayTest {
protected:
  struct event {
    std::string id, type, data;
  };
  std::unique_ptr<raw_http> watch(const std::string& query = {}, const std::string& headers = {}, const std::string& key = {}) {
    auto http = std::make_unique<raw_http>(port);
    http->send(request("GET", "/v1/tenants/acme/events" + query, key.empty() ? acme : key, {}, headers));
    const auto head = http->take_until("\r\n\r\n");
    EXPECT_NE(head.find("200 OK"), std::string::npos) << head;
    EXPECT_NE(head.find("Content-Type: text/event-stream"), std::string::npos);
    return http;
  }
  /// The next event with data.
  static event next(raw_http& http) {
    for (;;) {
      const auto block = http.take_until("\n\n");
      if (block.empty()) return {};
      event e;
      for (std::size_t at = 0; at < block.size();) {
        const auto end = std::min(block.find('\n', at), block.size());
        const auto line = block.substr(at, end - at);
        if (line.starts_with("id: ")) e.id = line.substr(4);
        if (line.starts_with("event: ")) e.type = line.substr(7);
        if (line.starts_with("data: ")) e.data = line.substr(6);
        at = end + 1;
      }
      if (!e.data.empty()) return e;
    }
  }
  /// The place where a stream that saw nothing yet stands.
  static std::string first_id(raw_http& http) {
    for (;;) {
      const auto block = http.take_until("\n\n");
      if (block.starts_with("id: ")) return block.substr(4, block.find('\n') - 4);
      if (block.empty()) return {};
    }
  }
};

TEST_F(EventsTest, NewEventsArriveAsTheyArePublished) {
  hive.publish("acme", "old", "{}");
  const auto http = watch();
  EXPECT_EQ(first_id(*http), "c1") << "a stream says where it stands before anything happens";
  hive.publish("rival", "secret", "{}");
  hive.publish("acme", "agent.started", R"({"agent":"bob"})");
  const auto e = next(*http);
  EXPECT_EQ(e.type, "agent.started");
  EXPECT_EQ(e.id, "c2");
  const auto data = nlohmann::json::parse(e.data);
  EXPECT_EQ(data["data"]["agent"], "bob");
  EXPECT_EQ(data["source"], "agent/x");
  EXPECT_EQ(data["at"], 5);
}

TEST_F(EventsTest, ResumeLosesAndRepeatsNothing) {
  for (int i = 1; i <= 600; ++i) hive.publish("acme", "n", std::to_string(i)); // more than one page
  std::atomic<bool> stop{false};
  std::thread publisher([&] {
    for (int i = 601; i <= 900; ++i) hive.publish("acme", "n", std::to_string(i));
    stop = true;
  });
  int expected = 1;
  std::string last = "c0";
  while (expected <= 900) { // reconnects after every 70 events
    const auto http = watch({}, "Last-Event-ID: " + last + "\r\n");
    for (int i = 0; i < 70 && expected <= 900; ++i) {
      const auto e = next(*http);
      ASSERT_EQ(nlohmann::json::parse(e.data)["data"], expected) << "after " << last;
      ++expected;
      last = e.id;
    }
  }
  publisher.join();
}

TEST_F(EventsTest, ForgottenEventsAreAnExplicitGap) {
  for (int i = 1; i <= 5; ++i) hive.publish("acme", "n", std::to_string(i));
  hive.forget_events("acme");
  hive.publish("acme", "n", "6");
  const auto http = watch("?after=c2");
  EXPECT_EQ(next(*http).type, "gap");
  EXPECT_EQ(nlohmann::json::parse(next(*http).data)["data"], 6);
}

TEST_F(EventsTest, FilterShowsOnlyWhatWasAskedForAndStillMovesOn) {
  const auto http = watch("?types=task.*,agent.crashed");
  first_id(*http);
  hive.publish("acme", "agent.started", "{}");
  EXPECT_EQ(first_id(*http), "c1") << "the place moves past what is filtered out";
  hive.publish("acme", "task.progress", "{}");
  EXPECT_EQ(next(*http).type, "task.progress");
  hive.publish("acme", "agent.crashed", "{}");
  EXPECT_EQ(next(*http).type, "agent.crashed");
}

TEST_F(EventsTest, HostileTypeAndDataForgeNoLine) {
  const auto http = watch();
  first_id(*http);
  hive.publish("acme", "x\ndata: forged\n\nevent: y", "{\n\"a\":\n1}");
  const auto e = next(*http);
  EXPECT_EQ(e.type, "xdata: forgedevent: y");
  EXPECT_EQ(nlohmann::json::parse(e.data)["data"]["a"], 1);
}

TEST_F(EventsTest, BrokenCursorIsATypedError) {
  const auto a = send("GET", "/v1/tenants/acme/events?after=nonsense", acme);
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.field(), "after");
}

TEST_F(EventsTest, SilentReaderCostsNoMemoryAndIsLetGo) {
  const auto http = watch();
  first_id(*http);
  for (int i = 0; i < 2000; ++i) hive.publish("acme", "n", "\"" + std::string(1000, 'x') + "\"");
  // It reads late, and still gets all: the store held them, not the gateway.
  for (int i = 1; i <= 2000; ++i) ASSERT_EQ(next(*http).id, "c" + std::to_string(i));
}

TEST_F(EventsTest, ClosedStreamsGiveTheirPlaceBack) {
  for (int i = 0; i < 20; ++i) watch();
  while (hive.subscriptions() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_NE(send("GET", "/metrics", admin).body.find("hive_http_streams 0"), std::string::npos);
}

class FewStreamsTest : public EventsTest {
protected:
  FewStreamsTest() { limits.subscribers = 2; }
};

TEST_F(FewStreamsTest, OneStreamTooManyIsRefused) {
  const auto a = watch();
  const auto b = watch();
  const auto c = send("GET", "/v1/tenants/acme/events", acme);
  EXPECT_EQ(c.status, 429);
  EXPECT_EQ(c.reason(), "too_many_subscribers");
}

class FewStreamsOfATenantTest : public EventsTest {
protected:
  FewStreamsOfATenantTest() {
    limits.subscribers = 32;
    limits.subscribers_per_tenant = 2;
  }
};

TEST_F(FewStreamsOfATenantTest, ATenantHasItsShareAndLeavesTheOthersTheirs) {
  auto a = watch();
  const auto b = watch();
  const auto refused = send("GET", "/v1/tenants/acme/events", acme);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.reason(), "too_many_subscribers");
  raw_http other(port);
  other.send(request("GET", "/v1/tenants/rival/events", rival));
  EXPECT_NE(other.take_until("\r\n\r\n").find("200 OK"), std::string::npos);
  for (int i = 0; i < 3; ++i) watch({}, {}, admin); // administrators are not counted
  a.reset();
  while (hive.subscriptions() > 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  watch();
}

class FullOfStreamsTest : public EventsTest {
protected:
  FullOfStreamsTest() { limits.subscribers = 16; }
};

TEST_F(FullOfStreamsTest, ASixteenthIsKeptForAdministrators) {
  std::vector<std::unique_ptr<raw_http>> all;
  for (int i = 0; i < 15; ++i) all.push_back(watch());
  EXPECT_EQ(send("GET", "/v1/tenants/acme/events", acme).status, 429);
  all.push_back(watch({}, {}, admin));
  EXPECT_EQ(send("GET", "/v1/tenants/acme/events", admin).status, 429);
}

} // namespace
} // namespace hive::test
