#include "runtime/api/http/router.hpp"

#include "hive/v1/agents.pb.h"
#include "hive/v1/collections.pb.h"
#include "hive/v1/messaging.pb.h"
#include "hive/v1/swarm.pb.h"
#include "hive/v1/tasks.pb.h"

#include <gtest/gtest.h>

namespace hive::api::http {
namespace {

class RouterTest : public testing::Test {
protected:
  RouterTest() {
    for (const auto* file : {v1::Agent::descriptor()->file(), v1::AskRequest::descriptor()->file(), v1::Task::descriptor()->file(), v1::Tree::descriptor()->file()})
      for (int i = 0; i < file->service_count(); ++i) table.add(*file->service(i));
  }
  std::string to(std::string_view verb, std::string_view path) {
    const auto r = router(table).find(verb, path);
    if (!r) return r.error().reason;
    std::string out = r->to->rpc->name();
    for (const auto& v : r->values) out += " " + v;
    return out;
  }
  method_table table;
};

TEST_F(RouterTest, EveryRpcIsFoundByItsOwnPath) {
  const router routes(table);
  for (const auto& m : table.methods()) {
    std::string path = m->path;
    for (const auto& f : m->path_fields) path.replace(path.find("{" + f + "}"), f.size() + 2, "n-" + f);
    const auto r = routes.find(m->verb, path);
    ASSERT_TRUE(r) << m->verb << " " << path;
    EXPECT_EQ(r->to, m.get());
    for (std::size_t i = 0; i < m->path_fields.size(); ++i) EXPECT_EQ(r->values[i], "n-" + m->path_fields[i]);
  }
}

TEST_F(RouterTest, VerbBehindTheNameIsNotPartOfIt) {
  EXPECT_EQ(to("POST", "/v1/tenants/t/agents/a:ask"), "Ask t a");
  EXPECT_EQ(to("POST", "/v1/tenants/t/agents/a:tell"), "Tell t a");
  EXPECT_EQ(to("POST", "/v1/tenants/t/agents/a"), "method_not_allowed");
  EXPECT_EQ(to("GET", "/v1/tenants/t/agents/a:ask"), "method_not_allowed");
  EXPECT_EQ(to("POST", "/v1/tenants/t:x/agents/a:ask"), "Ask t:x a") << "a name like this is refused as a name";
}

TEST_F(RouterTest, NameWhoseRouteHasNoVerbsMayHaveColons) {
  table.add(*v1::Collection::descriptor()->file()->service(0));
  EXPECT_EQ(to("GET", "/v1/tenants/t/collections/c/items/x:y"), "GetItem t c x:y");
  EXPECT_EQ(to("GET", "/v1/tenants/t/collections/c/items/x%3Ay"), "GetItem t c x:y");
  EXPECT_EQ(to("POST", "/v1/tenants/t/collections/c/items:put"), "PutItems t c");
  EXPECT_EQ(to("POST", "/v1/tenants/t/collections/c:search"), "Search t c");
  EXPECT_EQ(to("POST", "/v1/tenants/t/agents/a:nope"), "no_such_path");
}

TEST_F(RouterTest, EscapesStayWithinTheirName) {
  EXPECT_EQ(to("GET", "/v1/tenants/t/agents/a%2Fb"), "GetAgent t a/b");
  EXPECT_EQ(to("GET", "/v1/tenants/t/agents/%2e%2e"), "GetAgent t ..");
  EXPECT_EQ(to("GET", "/v1/tenants/t/agents/a%3Aask"), "GetAgent t a:ask");
  EXPECT_EQ(to("GET", "/v1/tenants/t/agents/a%2"), "invalid_argument");
  EXPECT_EQ(to("GET", "/%761/tenants/t/agents/a"), "no_such_path") << "fixed words are not decoded";
}

} // namespace
} // namespace hive::api::http
