#include "tests/vector/kit.hpp"
#include "vector/embedding/hashing_embedder.hpp"
#include "vector/fusion.hpp"
#include "vector/mmr.hpp"
#include "vector/pack.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace hive::vector {
namespace {

using test::at;
using test::text_item;

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0;
  for (std::size_t i = 0; i < a.size(); ++i) dot += double{a[i]} * b[i];
  return dot;
}

TEST(HashingEmbedderTest, LikeTextsAreNear) {
  const hashing_embedder e(384);
  const auto query = *e.query("how is a node configured", {});
  const auto near = *e.document("Configuration of nodes: how each node is configured");
  const auto far = *e.document("Bread is made of flour, water, salt and yeast");
  EXPECT_GT(cosine(query, near), cosine(query, far) + 0.2);
  double squares = 0;
  for (const float x : near) squares += double{x} * x;
  EXPECT_NEAR(squares, 1, 1e-5);
  EXPECT_EQ(*e.document("same text"), *e.document("same text"));
  EXPECT_FALSE(e.document(""));
  EXPECT_TRUE(e.document("?!"));
  EXPECT_EQ(hashing_embedder(8).document("x")->size(), 8);
}

/// Stored vectors depend on it: if this fails, the embedder needs a new name.
TEST(HashingEmbedderTest, TheFunctionIsPinned) {
  const auto v = *hashing_embedder(8).document("The quick brown fox");
  const std::vector<float> expected{0.13387644F, -0.68848884F, -0.44197538F, -0.13283433F, 0.2397595F, -0.36527306F, -0.23290321F, -0.22342795F};
  ASSERT_EQ(v.size(), expected.size());
  for (std::size_t i = 0; i < v.size(); ++i) EXPECT_NEAR(v[i], expected[i], 1e-6) << i;
}

TEST(HashingEmbedderTest, RareWordsWeighMore) {
  const hashing_embedder e(1024);
  const auto rare = *e.document("zebra"), common = *e.document("system");
  term_statistics s;
  s.items = 1000;
  bool first = true;
  s.frequency = [&](std::uint64_t) { return std::exchange(first, false) ? 900U : 2U; }; // "system" comes first
  const auto weighted = *e.query("system zebra", s);
  EXPECT_GT(cosine(weighted, rare), cosine(weighted, common) + 0.3);
  const auto plain = *e.query("system zebra", {});
  EXPECT_NEAR(cosine(plain, rare), cosine(plain, common), 0.15);
}

TEST(FusionTest, RanksAddUpAndIdsDecide) {
  collection c(test::in_space(metric::l2, 8), {});
  for (const char* id : {"d", "c", "b", "a"}) ASSERT_TRUE(c.put(text_item(id, id), std::vector<float>(8, 1.0F), {}, at(0)));
  const auto v = c.publish();
  const auto row = [&](std::uint32_t r) { return found_row{0, r, 1}; }; // rows: 0 d, 1 c, 2 b, 3 a
  const auto fused = fuse(std::vector<found_row>{row(0), row(1)}, 1, std::vector<found_row>{row(2), row(1), row(3)}, 1, v->entries());
  ASSERT_EQ(fused.size(), 4);
  const auto id = [&](std::size_t i) { return v->entries()[0].rows->items()[fused[i].where.row]->id; };
  EXPECT_EQ(id(0), "c");
  EXPECT_DOUBLE_EQ(fused[0].where.score, 1 / (rrf_k + 2) + 1 / (rrf_k + 2));
  EXPECT_EQ(fused[0].dense_rank, 2);
  EXPECT_EQ(fused[0].lexical_rank, 2);
  EXPECT_EQ(id(1), "b"); // equal to d
  EXPECT_EQ(id(2), "d");
  EXPECT_EQ(fused[2].lexical_rank, 0);
  EXPECT_EQ(id(3), "a");
  const auto lexical_only = fuse(std::vector<found_row>{row(0), row(1)}, 0, std::vector<found_row>{row(3)}, 1, v->entries());
  EXPECT_EQ(v->entries()[0].rows->items()[lexical_only[0].where.row]->id, "a");
  EXPECT_EQ(lexical_only.size(), 3) << "the others follow by their dense rank";
  EXPECT_GT(lexical_only[0].where.score, lexical_only[1].where.score);
  EXPECT_EQ(v->entries()[0].rows->items()[lexical_only[1].where.row]->id, "d");
}

TEST(MmrTest, OrdersByRelevanceThenByDifference) {
  const std::vector<float> x{1, 0, 0, 0}, near_x{0.9F, 0.1F, 0, 0}, y{0, 1, 0, 0};
  const std::vector<mmr_candidate> candidates{{1.0, x}, {0.9, near_x}, {0.5, y}, {0.0, y}};
  const auto order = [&](double diversity) {
    mmr m(candidates, diversity);
    std::vector<std::size_t> out;
    while (const auto i = m.next()) out.push_back(*i), m.take();
    return out;
  };
  EXPECT_EQ(order(0), (std::vector<std::size_t>{0, 1, 2, 3}));
  EXPECT_EQ(order(0.5), (std::vector<std::size_t>{0, 2, 1, 3}));
  EXPECT_EQ(order(1).size(), 4);
  mmr m(candidates, 0);
  EXPECT_LT(m.similarity(), 0);
  m.next();
  m.take();
  m.next();
  EXPECT_GT(m.similarity(), 0.9);
}

class PackTest : public testing::Test {
protected:
  PackTest() {
    for (int i = 0; i < 30; ++i) {
      std::string text = "Passage " + std::to_string(i) + " about the commit pipeline: it groups turns";
      for (int w = 0; w <= i % 5; ++w) text += " detail" + std::to_string(i * 7 + w);
      put("p" + std::to_string(i), text);
    }
    // The same but for one character: no exact duplicate, and nothing new for a reader.
    put("twin1", "The fence of the commit pipeline refuses any writer whose epoch is older than the newest owner of the shard.");
    put("twin2", "The fence of the commit pipeline refuses any writer whose epoch is older than the newest owner of the shard!");
  }
  void put(const std::string& id, const std::string& text) { EXPECT_TRUE(c.put(text_item(id, text), {}, {}, at(0))); }
  static pack_request request(std::uint32_t tokens) {
    pack_request r;
    r.search.text = "commit pipeline fence epoch";
    r.tokens = tokens;
    return r;
  }
  collection c{test::in_space(metric::cosine, 256, std::string{hashing_embedder::name}), {}};
};

TEST_F(PackTest, NeverAboveTheBudgetAndUsesIt) {
  const auto v = c.publish();
  for (const std::uint32_t budget : {1U, 15U, 40U, 100U, 250U, 5000U}) {
    auto r = request(budget);
    r.tokens_per_item = 3;
    const auto packed = pack(*v, r, {});
    ASSERT_TRUE(packed) << to_string(packed.error());
    std::uint32_t sum = 0;
    for (const auto& p : packed->passages) {
      EXPECT_EQ(p.tokens, estimate_tokens(p.passage.content->text) + 3);
      sum += p.tokens;
    }
    EXPECT_EQ(packed->tokens, sum);
    EXPECT_LE(sum, budget);
    if (packed->left_out_for_room > 0 && budget > 100) {
      EXPECT_GT(sum, budget - 40) << "nothing that fits is left out";
    }
    if (budget == 5000) {
      EXPECT_EQ(packed->left_out_for_room, 0);
    }
  }
}

TEST_F(PackTest, RepeatsAreLeftOutAndTheSameIsPackedAgain) {
  const auto v = c.publish();
  const auto once = pack(*v, request(400), {});
  ASSERT_TRUE(once);
  int twins = 0;
  for (const auto& p : once->passages) twins += p.passage.content->id.starts_with("twin");
  EXPECT_EQ(twins, 1);
  EXPECT_GE(once->left_out_as_repeats, 1);
  EXPECT_TRUE(once->passages[0].passage.content->id.starts_with("twin"));
  const auto twice = pack(*v, request(400), {});
  ASSERT_EQ(once->passages.size(), twice->passages.size());
  for (std::size_t i = 0; i < once->passages.size(); ++i) EXPECT_EQ(once->passages[i].passage.content, twice->passages[i].passage.content);
}

TEST_F(PackTest, MistakesNameTheField) {
  const auto v = c.publish();
  EXPECT_EQ(pack(*v, request(0), {}).error().field, "tokens");
  EXPECT_EQ(pack(*v, request(2'000'000), {}).error().field, "tokens");
  auto r = request(10);
  r.diversity = 2;
  EXPECT_EQ(pack(*v, r, {}).error().field, "diversity");
  r = request(10);
  r.search.k = 5000;
  EXPECT_EQ(pack(*v, r, {}).error().field, "k");
}

TEST(TokenEstimateTest, CountsWordsMarksAndOtherScripts) {
  EXPECT_EQ(estimate_tokens(""), 0);
  EXPECT_EQ(estimate_tokens("a cat"), 2);
  EXPECT_EQ(estimate_tokens("configuration, ok."), 4 + 1 + 1 + 1);
  EXPECT_EQ(estimate_tokens("東京"), 2);
}

} // namespace
} // namespace hive::vector
