/// @file
/// One tenant against another, on every RPC that the protos have: what is another's looks like what is not there.
#include "google/api/annotations.pb.h"
#include "hive/v1/options.pb.h"
#include "runtime/api/services/services.hpp"
#include "tests/runtime/gateway_fixture.hpp"

namespace hive::test {
namespace {

struct no_loop final : api::loop {
  using api::loop::post;
  void post(std::unique_ptr<api::job>) override {}
  void after(std::chrono::milliseconds, std::function<void()>) override {}
};

class TenantsTest : public GatewayTest {
protected:
  TenantsTest() { limits.wrong_keys_per_minute = 10'000; } // every RPC is tried with several
  /// Every RPC, as the table that the gateway serves has it.
  template <class Each> void each_method(const Each& each) {
    const api::service_registry registry({limits, hive, auth, metrics, std::make_shared<no_loop>()});
    for (const auto& m : registry.table().methods()) each(*m);
  }
  /// A plausible request of `m` for a tenant.
  http_answer call(const api::method& m, const std::string& tenant, const std::string& key) {
    std::string path = m.path;
    for (const auto& f : m.path_fields) {
      const auto value = f == "tenant" ? tenant : f == "kind" ? std::string("agent") : std::string(tenant == "rival" ? "eve" : "bob");
      path.replace(path.find("{" + f + "}"), f.size() + 2, value);
    }
    std::string body;
    if (m.body == "spec") body = m.request->GetDescriptor()->name() == "PutAgentRequest" ? R"({"behaviour":"echo"})" : "{}";
    else if (m.path.ends_with("items:put")) body = R"({"items":[{"text":"x"}]})";
    else if (m.path.ends_with("items:delete")) body = R"({"ids":["x"]})";
    else if (m.path == "/v1/apply") body = R"({"tenant":")" + tenant + R"(","agents":[]})";
    else if (m.path.ends_with(":ask") || m.path.ends_with(":tell")) body = R"({"type":"echo"})";
    else if (m.path.ends_with("/tasks") && m.verb == "POST") body = R"({"agent":"eve","type":"x"})";
    else if (m.body == "*") body = "{}";
    return send(m.verb, path, key, body);
  }
};

TEST_F(TenantsTest, AnothersTenantLooksLikeAnAbsentOneOnEveryRpc) {
  int tried = 0;
  each_method([&](const api::method& m) {
    if (m.reach != api::scope::tenant) return;
    ++tried;
    const auto before = hive.stored();
    auto foreign = call(m, "rival", acme);
    auto absent = call(m, "absent", acme);
    EXPECT_EQ(foreign.status, 404) << m.rpc->full_name();
    EXPECT_EQ(absent.status, 404) << m.rpc->full_name();
    auto blind = [](http_answer a) { // but for the name that was asked for and the trace
      auto j = a.json();
      j["error"]["details"].erase("trace_id");
      auto text = j.dump();
      for (const std::string name : {"rival", "absent"})
        for (auto at = text.find(name); at != std::string::npos; at = text.find(name)) text.replace(at, name.size(), "T");
      return text;
    };
    EXPECT_EQ(blind(foreign), blind(absent)) << m.rpc->full_name();
    EXPECT_EQ(hive.stored(), before) << m.rpc->full_name() << " changed something";
    EXPECT_EQ(hive.last().count, 0U) << m.rpc->full_name() << " reached an agent";
  });
  EXPECT_GE(tried, 20);
}

TEST_F(TenantsTest, WhatIsTheHivesIsDeniedToTenants) {
  each_method([&](const api::method& m) {
    if (m.reach != api::scope::hive) return;
    EXPECT_EQ(call(m, "rival", acme).status, 403) << m.rpc->full_name();
    EXPECT_EQ(call(m, "absent", acme).status, 403) << m.rpc->full_name();
    EXPECT_EQ(call(m, "acme", acme).status, 403) << m.rpc->full_name();
  });
}

TEST_F(TenantsTest, EveryRpcNeedsAKeyButHealth) {
  each_method([&](const api::method& m) {
    for (const std::string& key : {std::string(), std::string("nonsense"), "hive_0123456789abcdef_" + std::string(64, 'a'), acme.substr(0, acme.size() - 1) + (acme.back() == '0' ? "1" : "0")}) {
      const auto a = call(m, "acme", key);
      EXPECT_EQ(a.status, m.reach == api::scope::open ? 200 : 401) << m.rpc->full_name() << " with " << key;
    }
  });
}

TEST_F(TenantsTest, ViewerReadsAndChangesNothing) {
  const auto before = hive.stored();
  each_method([&](const api::method& m) {
    if (m.reach != api::scope::tenant || m.verb == "GET") return;
    if (m.permission.ends_with(".read")) return; // a search is a POST that reads
    EXPECT_EQ(call(m, "acme", viewer).status, 403) << m.rpc->full_name();
  });
  EXPECT_EQ(hive.stored(), before);
  EXPECT_EQ(send("GET", "/v1/tenants/acme/agents/bob", viewer).status, 200);
}

TEST_F(TenantsTest, TenantInTheBodyCannotReplaceTheOneInThePath) {
  auto a = ask(R"({"type":"echo","tenant":"rival"})");
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.field(), "tenant");
  EXPECT_EQ(send("GET", "/v1/tenants/acme/agents?tenant=rival", acme).field(), "tenant");
}

TEST_F(TenantsTest, KeysOfCallersDoNotMeet) {
  hive.add_agent("rival", "bob");
  ask(R"({"type":"say","payload":"mine","idempotency_key":"k"})");
  const auto theirs = send("POST", "/v1/tenants/rival/agents/bob:ask", rival, R"({"type":"say","payload":"other","idempotency_key":"k"})");
  EXPECT_EQ(theirs.status, 200);
  EXPECT_EQ(theirs.json()["repeated"], false);
}

TEST_F(TenantsTest, ListOfTenantsShowsATenantItself) {
  const auto a = send("GET", "/v1/tenants", acme).json();
  ASSERT_EQ(a["tenants"].size(), 1U);
  EXPECT_EQ(a["tenants"][0]["name"], "acme");
}

TEST_F(TenantsTest, AnothersKeyIsNotDeleted) {
  const auto id = std::string(security::authenticator::id_of(rival));
  EXPECT_EQ(send("DELETE", "/v1/tenants/acme/keys/" + id, acme).status, 404);
  EXPECT_EQ(send("GET", "/v1/tenants/rival/agents/eve", rival).status, 200);
}

TEST_F(TenantsTest, KeysOfADeletedTenantAreDeadAlsoWhenItsNameReturns) {
  raw_http open(port);
  open.send(request("GET", "/v1/tenants/acme/agents/bob", acme));
  ASSERT_EQ(open.answer().status, 200);
  ASSERT_EQ(send("GET", "/v1/tenants/acme", admin).status, 200);
  ASSERT_EQ(send("DELETE", "/v1/tenants/acme", admin).status, 200);
  open.send(request("GET", "/v1/tenants/acme/agents/bob", acme));
  EXPECT_EQ(open.answer().status, 401);
  ASSERT_EQ(send("PUT", "/v1/tenants/acme", admin, "{}").json()["created"], true);
  EXPECT_EQ(send("GET", "/v1/tenants/acme", acme).status, 401);
  EXPECT_EQ(send("GET", "/v1/tenants/acme/agents", admin).json()["agents"].size(), 0U) << "an administrator is in the new one";
}

TEST_F(TenantsTest, PrincipalIsTheKeyThatWasUsed) {
  ask(R"({"type":"echo"})");
  EXPECT_EQ(hive.last().principal, "key:" + std::string(security::authenticator::id_of(acme)));
  EXPECT_EQ(hive.last().tenant, hive.id_of("acme"));
  send("POST", "/v1/tenants/acme/agents/bob:ask", admin, R"({"type":"echo"})");
  EXPECT_EQ(hive.last().principal, "key:" + std::string(security::authenticator::id_of(admin)));
  EXPECT_EQ(hive.last().tenant, hive.id_of("acme"));
}

} // namespace
} // namespace hive::test
