#include "tests/runtime/gateway_fixture.hpp"

namespace hive::test {
namespace {

using nlohmann::json;

// -- talking to agents

TEST_F(GatewayTest, AskIsAnsweredWithThePayloadAndAKey) {
  const auto a = ask(R"({"type":"say","payload":{"n":1.10,"big":123456789012345678901234567890}})");
  ASSERT_EQ(a.status, 200) << a.body;
  EXPECT_EQ(a.headers.at("content-type"), "application/json");
  EXPECT_NE(a.body.find(R"("payload":{"said":{"n":1.10,"big":123456789012345678901234567890}})"), std::string::npos) << "a payload stays as it was written: " << a.body;
  EXPECT_EQ(a.json()["idempotency_key"], "made-1");
  EXPECT_EQ(a.json()["repeated"], false);
  EXPECT_EQ(hive.last().deadline, limits.ask_deadline);
}

TEST_F(GatewayTest, AskWithoutPayloadCarriesNull) {
  EXPECT_EQ(ask(R"({"type":"echo"})").json()["payload"], nullptr);
  EXPECT_EQ(hive.last().bytes, "null");
}

TEST_F(GatewayTest, TextAndBinaryPayloadsAreBytesUnderneath) {
  auto a = ask(R"({"payload":"gr\u00fc\u00df dich","payload_type":"text","type":"echo"})");
  EXPECT_EQ(hive.last().bytes, "gr\xC3\xBC\xC3\x9F dich");
  EXPECT_EQ(hive.last().content, content_type::text);
  EXPECT_EQ(a.json()["payload"], "gr\xC3\xBC\xC3\x9F dich");
  EXPECT_EQ(a.json()["payload_type"], "text");
  a = ask(R"({"type":"echo","payload":"AP8Q","payload_type":"binary"})");
  EXPECT_EQ(hive.last().bytes, std::string("\x00\xFF\x10", 3));
  EXPECT_EQ(a.json()["payload"], "AP8Q");
  EXPECT_EQ(ask(R"({"type":"echo","payload":"A","payload_type":"binary"})").field(), "payload");
  EXPECT_EQ(ask(R"({"type":"echo","payload":7,"payload_type":"text"})").field(), "payload");
}

TEST_F(GatewayTest, RepeatWithTheSameKeyGetsTheSameAnswerAndSaysSo) {
  ask(R"({"type":"say","payload":1,"idempotency_key":"k1"})");
  const auto again = ask(R"({"type":"say","payload":1})", "Idempotency-Key: k1\r\n");
  EXPECT_EQ(again.json()["repeated"], true);
  EXPECT_EQ(again.headers.at("idempotency-replayed"), "true");
  const auto other = ask(R"({"type":"say","payload":2,"idempotency_key":"k1"})");
  EXPECT_EQ(other.status, 409);
  EXPECT_EQ(other.code(), "already_exists");
}

TEST_F(GatewayTest, KeyInBodyAndHeaderThatDifferAreAnError) {
  const auto a = ask(R"({"type":"say","idempotency_key":"k1"})", "Idempotency-Key: k2\r\n");
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.field(), "idempotency_key");
  EXPECT_EQ(hive.last().count, 0U);
}

TEST_F(GatewayTest, EachEndOfAnAskHasItsStatus) {
  auto a = ask(R"({"type":"refuse"})");
  EXPECT_EQ(a.status, 422);
  EXPECT_EQ(a.code(), "application");
  EXPECT_EQ(a.reason(), "refused");
  a = ask(R"({"type":"hang"})");
  EXPECT_EQ(a.status, 504);
  EXPECT_EQ(a.code(), "unknown");
  EXPECT_EQ(a.json()["error"]["details"]["idempotency_key"], "made-2") << "an unknown end names the key to ask again with";
  a = ask(R"({"type":"full"})");
  EXPECT_EQ(a.status, 429);
  EXPECT_EQ(a.headers.at("retry-after"), "2");
  EXPECT_EQ(a.json()["error"]["retry_after_ms"], 1500);
  EXPECT_EQ(send("POST", "/v1/tenants/acme/agents/nobody:ask", acme, R"({"type":"x"})").status, 404);
}

TEST_F(GatewayTest, DeadlineAndPriorityReachTheHive) {
  ask(R"({"type":"echo","deadline_ms":1234,"priority":"urgent"})");
  EXPECT_EQ(hive.last().deadline, std::chrono::milliseconds(1234));
  EXPECT_TRUE(hive.last().urgent);
  EXPECT_EQ(ask(R"({"type":"echo","deadline_ms":600001})").field(), "deadline_ms");
}

TEST_F(GatewayTest, TellIsAcceptedOrSaysWhyNot) {
  const auto path = "/v1/tenants/acme/agents/bob:tell";
  EXPECT_EQ(send("POST", path, acme, R"({"type":"note","payload":[1]})").status, 200);
  EXPECT_EQ(hive.last().bytes, "[1]");
  EXPECT_EQ(send("POST", path, acme, R"({"type":"full"})").status, 429);
}

TEST_F(GatewayTest, TraceIsTakenPassedOnAndReturned) {
  const auto a = ask(R"({"type":"echo"})", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n");
  EXPECT_EQ(hive.last().trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_TRUE(a.headers.at("traceparent").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
  const auto fresh = ask(R"({"type":"refuse"})", "traceparent: nonsense\r\n");
  EXPECT_EQ(fresh.headers.at("traceparent").substr(3, 32), fresh.json()["error"]["details"]["trace_id"]);
}

// -- what exists

TEST_F(GatewayTest, AgentIsPutReadListedAndDeleted) {
  const std::string path = "/v1/tenants/acme/agents/ann";
  auto a = send("PUT", path, acme, R"({"behaviour":"echo","config":{"depth":2},"weight":5,"restart":"transient","capabilities":["read"]})");
  ASSERT_EQ(a.status, 200) << a.body;
  EXPECT_EQ(a.json()["change"], "created");
  EXPECT_EQ(a.json()["revision"], 1);
  a = send("GET", path, acme);
  EXPECT_EQ(a.json()["spec"], json::parse(R"({"behaviour":"echo","config":{"depth":2},"capabilities":["read"],"weight":5,"supervisor":"","restart":"transient","significant":false})"));
  EXPECT_EQ(a.json()["status"]["status"], "idle");
  a = send("GET", "/v1/tenants/acme/agents?page_size=1", acme);
  EXPECT_EQ(a.json()["agents"].size(), 1U);
  EXPECT_EQ(a.json()["next_page_token"], "ann");
  a = send("GET", "/v1/tenants/acme/agents?page_size=1&page_token=ann", acme);
  EXPECT_EQ(a.json()["agents"][0]["name"], "bob");
  EXPECT_EQ(a.json()["next_page_token"], "");
  EXPECT_EQ(send("DELETE", path, acme).json()["deleted"], true);
  EXPECT_EQ(send("GET", path, acme).status, 404);
}

TEST_F(GatewayTest, ErrorOfAPutNamesTheFieldAsItWasSent) {
  auto a = send("PUT", "/v1/tenants/acme/agents/ann", acme, R"({"behaviour":"echo","weight":1001})");
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.field(), "weight");
  EXPECT_EQ(a.message(), "weight is 1001; allowed: 1..1000");
  EXPECT_EQ(send("PUT", "/v1/tenants/acme/agents/ann", acme, R"({"behaviour":"nonsense"})").field(), "behaviour");
  EXPECT_EQ(send("PUT", "/v1/tenants/acme/agents/ann", acme, "{}").field(), "behaviour");
  EXPECT_EQ(send("PUT", "/v1/tenants/acme/agents/ann", acme).field(), "behaviour");
}

TEST_F(GatewayTest, ApplyNamesTheEntryAtFault) {
  const auto a = send("POST", "/v1/apply", acme,
                      R"({"tenant":"acme","agents":[{"name":"a","spec":{"behaviour":"echo"}},{"name":"b","spec":{"behaviour":"echo","weight":0}}]})");
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.field(), "agents[1].spec.weight");
  EXPECT_EQ(send("POST", "/v1/apply", acme, R"({"tenant":"acme","agents":[{"name":"a","spec":{"behaviour":"nonsense"}}]})").field(), "agents[0].spec.behaviour");
  EXPECT_EQ(send("POST", "/v1/apply", acme, R"({"tenant":"acme","agents":[{"name":"a","spec":{"behavior":"echo"}}]})").field(), "agents[0].spec.behavior");
}

TEST_F(GatewayTest, ApplyByAnAdministratorCreatesTheTenant) {
  const std::string manifest = R"({"tenant":"fresh","supervisors":[{"name":"s","spec":{"strategy":"rest_for_one"}}],"agents":[{"name":"a","spec":{"behaviour":"echo","supervisor":"s"}}]})";
  EXPECT_EQ(send("POST", "/v1/apply", acme, manifest).status, 404) << "a tenant's key creates no tenant";
  const auto a = send("POST", "/v1/apply", admin, manifest);
  ASSERT_EQ(a.status, 200) << a.body;
  EXPECT_EQ(a.json()["created"], 2);
  const auto tree = send("GET", "/v1/tenants/fresh/tree", admin);
  ASSERT_EQ(tree.status, 200);
  const auto root = tree.json()["root"];
  EXPECT_EQ(root["children"][0]["name"], "s");
  EXPECT_EQ(root["children"][0]["strategy"], "rest_for_one");
  EXPECT_EQ(root["children"][0]["children"][0]["name"], "a");
}

TEST_F(GatewayTest, TreeSaysWhenItIsCutShort) {
  for (int i = 0; i < 5; ++i) hive.add_agent("acme", "w" + std::to_string(i));
  EXPECT_EQ(send("GET", "/v1/tenants/acme/tree", acme).json()["truncated"], false);
  const auto cut = send("GET", "/v1/tenants/acme/tree?limit=2", acme).json();
  EXPECT_EQ(cut["truncated"], true);
  EXPECT_EQ(cut["entities"], 2);
}

TEST_F(GatewayTest, TenantsAreMadeAndDeletedByAdministrators) {
  EXPECT_EQ(send("PUT", "/v1/tenants/new", acme, "{}").status, 403);
  auto a = send("PUT", "/v1/tenants/new", admin, R"({"description":"for tests"})");
  ASSERT_EQ(a.status, 200) << a.body;
  EXPECT_EQ(a.json()["created"], true);
  EXPECT_EQ(send("GET", "/v1/tenants/new", admin).json()["spec"]["description"], "for tests");
  EXPECT_EQ(send("GET", "/v1/tenants", admin).json()["tenants"].size(), 3U);
  EXPECT_EQ(send("DELETE", "/v1/tenants/new", admin).status, 200);
  EXPECT_EQ(send("GET", "/v1/tenants/new", admin).status, 404);
  EXPECT_EQ(send("DELETE", "/v1/tenants/new", admin).status, 404);
}

TEST_F(GatewayTest, KeyIsShownOnceAndDiesAtOnce) {
  const auto made = send("POST", "/v1/tenants/acme/keys", acme, R"({"role":"viewer","label":"dashboard"})").json();
  const std::string key = made["key"];
  EXPECT_EQ(send("GET", "/v1/tenants/acme/agents/bob", key).status, 200);
  EXPECT_EQ(send("PUT", "/v1/tenants/acme/agents/bob", key, R"({"behaviour":"echo"})").status, 403) << "a viewer reads";
  const auto listed = send("GET", "/v1/tenants/acme/keys", acme);
  EXPECT_EQ(listed.json()["keys"][0]["label"], "dashboard");
  EXPECT_EQ(listed.body.find(key.substr(22)), std::string::npos) << "the secret is in no list";
  raw_http open(port); // a connection that knows the key already
  open.send(request("GET", "/v1/tenants/acme/agents/bob", key));
  ASSERT_EQ(open.answer().status, 200);
  EXPECT_EQ(send("DELETE", "/v1/tenants/acme/keys/" + std::string(made["id"]), acme).status, 200);
  open.send(request("GET", "/v1/tenants/acme/agents/bob", key));
  EXPECT_EQ(open.answer().status, 401);
}

TEST_F(GatewayTest, ExplainAnswersWithTheFactsThemselves) {
  EXPECT_EQ(send("GET", "/v1/explain/acme/agent/bob", acme).json(), json::parse(R"({"name":"bob","why":"idle"})"));
  EXPECT_EQ(send("GET", "/v1/explain/acme/agent/nobody", acme).status, 404);
  EXPECT_EQ(send("GET", "/v1/explain/acme/thing/bob", acme).field(), "kind");
  EXPECT_EQ(send("GET", "/v1/explain/acme/task/t0000000000000009", acme).status, 404);
  const auto task = send("POST", "/v1/tenants/acme/tasks", acme, R"({"agent":"bob","type":"work"})").json()["id"].get<std::string>();
  EXPECT_EQ(send("GET", "/v1/explain/acme/task/" + task, acme).json()["address"], "task/" + task);
}

// -- tasks

TEST_F(GatewayTest, TaskIsSubmittedWaitedForAndRead) {
  auto a = send("POST", "/v1/tenants/acme/tasks", acme, R"({"agent":"bob","type":"work","payload":{"x":1},"labels":{"who":"me"}})");
  ASSERT_EQ(a.status, 200) << a.body;
  EXPECT_EQ(a.json()["state"], "queued");
  const std::string path = "/v1/tenants/acme/tasks/" + std::string(a.json()["id"]);
  EXPECT_EQ(send("GET", path + "?wait_ms=30", acme).json()["state"], "queued") << "the wait is over, the task is not";

  raw_http waiting(port);
  waiting.send(request("GET", path + "?wait_ms=10000", acme));
  while (hive.subscriptions() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  hive.set_task("acme", "t0000000000000001", "running");
  hive.set_task("acme", "t0000000000000001", "succeeded");
  a = waiting.answer();
  EXPECT_EQ(a.json()["state"], "succeeded");
  EXPECT_EQ(a.json()["result"]["answer"], 42);
  EXPECT_EQ(a.json()["payload"], json::parse(R"({"x":1})"));
  EXPECT_EQ(a.json()["labels"]["who"], "me");
  EXPECT_EQ(send("GET", path + "?wait_ms=10000", acme).json()["state"], "succeeded") << "what has ended is not waited for";
}

TEST_F(GatewayTest, TasksAreListedByStateAndCancelled) {
  for (int i = 0; i < 3; ++i) send("POST", "/v1/tenants/acme/tasks", acme, R"({"agent":"bob","type":"work"})");
  hive.set_task("acme", "t0000000000000002", "succeeded");
  EXPECT_EQ(send("GET", "/v1/tenants/acme/tasks?page_size=2", acme).json()["next_page_token"], "t0000000000000002");
  const auto done = send("GET", "/v1/tenants/acme/tasks?state=succeeded", acme).json();
  ASSERT_EQ(done["tasks"].size(), 1U);
  EXPECT_EQ(done["tasks"][0]["id"], "t0000000000000002");
  EXPECT_FALSE(done["tasks"][0].contains("payload_type")) << "a type without its value";
  EXPECT_EQ(send("GET", "/v1/tenants/acme/tasks?state=finished", acme).field(), "state");
  EXPECT_EQ(send("POST", "/v1/tenants/acme/tasks/t0000000000000001:cancel", acme).json()["state"], "cancelled");
  EXPECT_EQ(send("POST", "/v1/tenants/acme/tasks/t0000000000000009:cancel", acme).status, 404);
}

// -- health and metrics

TEST_F(GatewayTest, OnlyHealthIsOpen) {
  for (const auto* path : {"/healthz", "/readyz", "/startupz"}) EXPECT_EQ(send("GET", path, "").status, 200) << path;
  for (const auto* path : {"/metrics", "/v1/tenants", "/v1/tenants/acme", "/v1/tenants/acme/events", "/v1/explain/acme/agent/bob"}) {
    const auto a = send("GET", path, "");
    EXPECT_EQ(a.status, 401) << path;
    EXPECT_EQ(a.headers.at("www-authenticate"), "Bearer");
  }
}

TEST_F(GatewayTest, ReadinessSaysWhyNotAndStartupStaysGood) {
  EXPECT_EQ(send("GET", "/readyz", "").status, 200);
  hive.set_not_ready(error{errc::unavailable, "no_space", "the disk is full", {}, std::chrono::milliseconds(500)});
  const auto a = send("GET", "/readyz", "");
  EXPECT_EQ(a.status, 503);
  EXPECT_EQ(a.reason(), "no_space");
  EXPECT_EQ(send("GET", "/startupz", "").status, 200);
  EXPECT_EQ(send("GET", "/healthz", "").status, 200);
}

TEST_F(GatewayTest, MetricsShowATenantItsOwnSeriesOnly) {
  ask(R"({"type":"echo"})");
  const auto all = send("GET", "/metrics", admin);
  EXPECT_TRUE(all.headers.at("content-type").starts_with("text/plain"));
  EXPECT_NE(all.body.find(R"(hive_turns_total{tenant="rival"} 7)"), std::string::npos);
  EXPECT_NE(all.body.find(R"(hive_http_requests_total{route="MessagingService.Ask",status="2xx"} 1)"), std::string::npos);
  EXPECT_NE(all.body.find("process_resident_memory_bytes"), std::string::npos);
  const auto own = send("GET", "/metrics", acme);
  EXPECT_NE(own.body.find(R"(tenant="acme")"), std::string::npos);
  EXPECT_EQ(own.body.find("rival"), std::string::npos);
  EXPECT_EQ(own.body.find("process_"), std::string::npos);
}

// -- the gateway itself

TEST_F(GatewayTest, StopAnswersWhatIsUnderWayAndRefusesTheRest) {
  raw_http idle(port);
  ask(R"({"type":"echo"})");
  gateway->stop();
  EXPECT_TRUE(idle.at_end());
  EXPECT_THROW(raw_http{port}, std::runtime_error);
  gateway->stop(); // again: nothing happens
}

TEST_F(GatewayTest, AddressThatCannotBeBoundIsASettingAtFault) {
  auto taken = limits;
  taken.http = "127.0.0.1:" + std::to_string(port);
  const auto busy = api::gateway(taken, hive, auth, metrics).start();
  EXPECT_EQ(busy.error().field, "api.http");
  EXPECT_EQ(busy.error().code, errc::unavailable) << "the setting is good, another program is there";
  taken.http = "nowhere";
  EXPECT_EQ(api::gateway(taken, hive, auth, metrics).start().error().field, "api.http");
}

TEST_F(GatewayTest, ManyConnectionsAtOnceAreAllAnswered) {
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int c = 0; c < 8; ++c)
    clients.emplace_back([&] {
      raw_http http(port);
      for (int i = 0; i < 100; ++i) {
        http.send(request("POST", "/v1/tenants/acme/agents/bob:ask", acme, R"({"type":"echo","payload":)" + std::to_string(i) + "}"));
        if (const auto a = http.answer(); a.status == 200 && a.json()["payload"] == i) ++good;
      }
    });
  for (auto& c : clients) c.join();
  EXPECT_EQ(good, 800);
}

TEST_F(GatewayTest, PageTokensThatNoPageGaveAreRefused) {
  for (const auto* list : {"agents", "supervisors", "keys", "schedules", "collections", "dead-letters", "tasks"})
    for (const auto* token : {"no%20such", "..%2fup", "%00"}) {
      const auto a = send("GET", std::string("/v1/tenants/acme/") + list + "?page_token=" + token, acme);
      EXPECT_EQ(a.status, 400) << list << " " << token << " " << a.body;
      EXPECT_EQ(a.field(), "page_token") << list;
    }
  EXPECT_EQ(send("GET", "/v1/tenants?page_token=%20", admin).field(), "page_token");
  EXPECT_EQ(send("GET", "/v1/tenants/acme/agents?page_token=bob", acme).status, 200);
}

TEST_F(GatewayTest, ExplainKnowsTheNamesThatItsCallersKnow) {
  EXPECT_EQ(send("GET", "/v1/explain/acme/tenant/acme", acme).status, 200);
  EXPECT_EQ(send("GET", "/v1/explain/acme/tenant/rival", acme).status, 404);
  EXPECT_EQ(send("GET", "/v1/explain/acme/queue/default", acme).status, 200);
  EXPECT_EQ(send("GET", "/v1/explain/acme/context/x", acme).field(), "kind");
  EXPECT_NE(send("GET", "/v1/explain/acme/collection/x", acme).field(), "kind");
}

TEST_F(GatewayTest, ABadManifestMakesNoTenant) {
  const std::string bad = R"({"tenant":"brandnew","agents":[{"name":"a","spec":{"behaviour":"nonsense"}}]})";
  const auto a = send("POST", "/v1/apply", admin, bad);
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.field(), "agents[0].spec.behaviour");
  EXPECT_EQ(send("GET", "/v1/tenants/brandnew", admin).status, 404);
  const std::string heavier = R"({"tenant":"acme","tenant_spec":{"weight":9},"agents":[{"name":"a","spec":{"behaviour":"nonsense"}}]})";
  EXPECT_EQ(send("POST", "/v1/apply", admin, heavier).status, 400);
  EXPECT_EQ(send("GET", "/v1/tenants/acme", admin).body.find("\"weight\":9"), std::string::npos) << "the tenant is as it was";
}

// They only read: who asks during a failover waits a moment, and does not hear what nodes say to each other.
TEST_F(GatewayTest, ReadsOfACollectionWhoseOwnerDiedAreMadeAgainUntilThereIsAnother) {
  hive.lose_owner_of_collections(5);
  const auto got = send("POST", "/v1/tenants/acme/collections/notes:search", acme, R"({"text":"note","k":1})");
  EXPECT_EQ(got.status, 200) << got.body;
  hive.lose_owner_of_collections(2);
  EXPECT_EQ(send("POST", "/v1/tenants/acme/collections/absent:search", acme, R"({"text":"note","k":1})").status, 404) << "what is no matter of nodes is told at once";
}

class RememberedKeyTest : public GatewayTest {
protected:
  RememberedKeyTest() : GatewayTest(std::chrono::seconds{30}) {}
};

// The word of a key's removal at another node was lost; the connection that used it is still open.
TEST_F(RememberedKeyTest, AnOpenConnectionDoesNotOutliveTheTimeThatItsKeyIsRemembered) {
  raw_http http(port);
  const auto ask_for_agents = [&] {
    http.send(request("GET", "/v1/tenants/acme/agents", viewer));
    return http.answer().status;
  };
  EXPECT_EQ(ask_for_agents(), 200);
  hive.remove_key_elsewhere(viewer);
  EXPECT_EQ(ask_for_agents(), 200);
  clock.advance(std::chrono::seconds{31});
  EXPECT_EQ(ask_for_agents(), 401);
}

} // namespace
} // namespace hive::test
