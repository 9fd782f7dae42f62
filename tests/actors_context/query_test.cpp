// Queries as agents write them.
#include "actors/context/query.hpp"

#include "actors/context/items.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

using nlohmann::json;

class QueryTest : public testing::Test {
protected:
  QueryTest() {
    vector::collection c({vector::metric::cosine, 64, "hashing-1"}, {});
    const auto items = items_from_json(
        json::parse(
            R"([{"id":"a","text":"epochs fence writers","metadata":{"lang":"en"},"links":[{"relation":"next","to":"b"}]},
      {"id":"b","text":"leases end unless renewed","metadata":{"lang":"en"}},{"id":"c","text":"Brot wird gebacken","metadata":{"lang":"de"}}])"),
        {vector::trust::user, {}}, {}, "items");
    for (const auto& i : *items) EXPECT_TRUE(c.put(i.content, i.vector, i.how, wall_time{}));
    on_ = {c.publish(), 3};
  }
  result<json> run(const std::string& query, std::string_view what = "search") {
    return run_query(on_, what, json::parse(query), settings_, wall_time{std::chrono::seconds{1}},
                     [](const embedding_model&, const std::string&) -> result<embeddings> { return error{}; });
  }
  published_view on_;
  config::context_limits settings_;
};

TEST_F(QueryTest, FiltersHopsAndPartsAreInTheAnswer) {
  const auto found = run(R"({"text":"fence epochs","k":1,"filter":{"lang":"en"},"hops":1})");
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(found->at("hits")[0].at("item").at("id"), "a");
  EXPECT_EQ(found->at("hits")[0].at("lexical").at("rank"), 1);
  EXPECT_EQ(found->at("related")[0].at("item").at("id"), "b");
  EXPECT_EQ(found->at("position"), 3);
  EXPECT_FALSE(found->at("hits")[0].at("highlights").empty());
}

TEST_F(QueryTest, HostileQueriesNameTheirPlace) {
  const std::vector<std::pair<const char*, const char*>> all{
      {R"([])", "query"},
      {R"({"txt":"x"})", "txt"},
      {R"({})", "text"},
      {R"({"text":"x","k":0})", "k"},
      {R"({"text":"x","k":1001})", "k"},
      {R"({"text":"x","k":1e300})", "k"},
      {R"({"text":"x","k":-1})", "k"},
      {R"({"text":"x","mode":"magic"})", "mode"},
      {R"({"vector":[1,2]})", "vector"},
      {R"({"text":"x","vector":[1,"a"]})", "vector"},
      {R"({"text":"x","filter":{"a":{"$bad":1}}})", "filter"},
      {R"({"text":"x","hops":99})", "hops"},
      {R"({"text":"x","diversity":2})", "diversity"},
      {R"({"text":"x","dense_weight":-1})", "dense_weight"},
      {R"({"text":7})", "text"},
  };
  for (const auto& [query, field] : all) {
    const auto r = run(query);
    ASSERT_FALSE(r) << query;
    EXPECT_EQ(r.error().code, errc::invalid_argument) << query;
    EXPECT_TRUE(r.error().field.starts_with(field)) << query << " -> " << r.error().field;
  }
}

TEST_F(QueryTest, NullIsAbsent) {
  const auto plain = run(R"({"text":"fence leases Brot"})");
  const auto nulls = run(R"({"text":"fence leases Brot","vector":null,"mode":null,"k":null,"filter":null,"as_of":null,"min_score":null,
    "diversity":null,"dense_weight":null,"lexical_weight":null,"hops":null,"highlights":null})");
  ASSERT_TRUE(plain);
  ASSERT_TRUE(nulls) << to_string(nulls.error());
  EXPECT_EQ(plain->at("hits").size(), 3U);
  EXPECT_EQ(*plain, *nulls);
  const auto dense = run(R"({"text":"fence","mode":"dense","min_score":null})");
  EXPECT_EQ(dense->at("hits").size(), 3U) << "scores below 0 too";
}

TEST_F(QueryTest, SearchSyntaxInATextIsOnlyText) {
  for (const char* text : {"\"epochs", "epochs AND", "NEAR(epochs", "epochs*", "text:epochs", "'; drop table item --",
                           "((((", "epochs OR \"\"", "-epochs ^fence"}) {
    const auto r = run(json{{"text", text}, {"mode", "lexical"}}.dump());
    ASSERT_TRUE(r) << text;
  }
}

TEST_F(QueryTest, APackStaysWithinItsTokens) {
  const auto packed = run(R"({"text":"leases epochs","tokens":8})", "pack");
  ASSERT_TRUE(packed) << to_string(packed.error());
  EXPECT_LE(packed->at("tokens"), 8);
  EXPECT_FALSE(packed->at("passages").empty());
}

} // namespace
} // namespace hive::actors
