// The dense scan is exact: it answers as the fp32 reference does, bit by bit, whatever the data.
#include "tests/vector/kit.hpp"
#include "vector/scan.hpp"

#include <gtest/gtest.h>

namespace hive::vector {
namespace {

using test::random_vector;

std::vector<selection> everything(const view& v) {
  std::vector<selection> out;
  for (const auto& e : v.entries()) {
    row_set all(e.count, true);
    if (e.dead) all.subtract(*e.dead);
    const auto n = all.count();
    out.push_back({all, all, n, n});
  }
  return out;
}

std::string id_of(int i) {
  char id[16];
  std::snprintf(id, sizeof id, "i%06d", i);
  return id;
}

view_ptr filled(metric m, std::uint32_t dimension, const std::vector<std::vector<float>>& vectors) {
  collection c(test::in_space(m, dimension), {});
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    auto put = c.put(test::text_item(id_of(static_cast<int>(i)), "text " + std::to_string(i)), vectors[i], {}, test::at(1));
    EXPECT_TRUE(put) << to_string(put.error());
  }
  return c.publish();
}

void expect_same(const std::vector<found_row>& a, const std::vector<found_row>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].score, b[i].score) << what << " at " << i;
    ASSERT_TRUE(a[i].entry == b[i].entry && a[i].row == b[i].row) << what << " at " << i;
  }
}

class ScanTest : public testing::TestWithParam<metric> {};

TEST_P(ScanTest, RecallIsOneAgainstFp32) {
  random_source chance(7);
  for (const std::uint32_t dimension : {8U, 31U, 96U, 384U}) {
    std::vector<std::vector<float>> vectors;
    const auto center = random_vector(chance, dimension);
    const std::size_t n = test::sanitized ? 400 : 2000;
    for (std::size_t i = 0; i < n; ++i) {
      auto v = random_vector(chance, dimension);
      // A third in one dense cluster, where int8 alone cannot tell neighbours apart; a third of very unlike lengths.
      if (i % 3 == 0)
        for (std::size_t j = 0; j < dimension; ++j) v[j] = center[j] + v[j] * 0.001F;
      if (i % 3 == 1)
        for (float& x : v) x *= static_cast<float>(std::pow(10.0, static_cast<double>(chance.below(7)) - 3));
      vectors.push_back(std::move(v));
    }
    const auto v = filled(GetParam(), dimension, vectors);
    const auto all = everything(*v);
    for (int q = 0; q < 20; ++q) {
      const auto raw = q % 2 ? random_vector(chance, dimension) : center;
      const auto query = *prepare(v->space(), raw, "vector");
      for (const std::size_t k : {std::size_t{1}, std::size_t{10}, std::size_t{100}, n, n + 5}) {
        const auto exact = scan_exact(v->entries(), all, v->space(), query, k);
        for (const auto* kernel : kernels::available())
          expect_same(scan_dense(v->entries(), all, v->space(), query, k, *kernel), exact,
                      std::string{kernel->name} + " d=" + std::to_string(dimension) + " k=" + std::to_string(k));
      }
    }
  }
}

TEST_P(ScanTest, EqualScoresComeInOrderOfIds) {
  const std::vector<std::vector<float>> same(100, std::vector<float>(16, 0.5F));
  const auto v = filled(GetParam(), 16, same);
  const auto query = *prepare(v->space(), std::vector<float>(16, 1.0F), "vector");
  const auto found = scan_dense(v->entries(), everything(*v), v->space(), query, 10);
  ASSERT_EQ(found.size(), 10);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(v->entries()[found[static_cast<std::size_t>(i)].entry].rows->items()[found[static_cast<std::size_t>(i)].row]->id, id_of(i));
}

INSTANTIATE_TEST_SUITE_P(Metrics, ScanTest, testing::Values(metric::cosine, metric::inner_product, metric::l2),
                         [](const auto& one) { return std::string{to_string(one.param)}; });

TEST(PrepareTest, MistakesNameTheComponent) {
  const space s = test::in_space(metric::cosine, 8);
  const auto field = [&](std::vector<float> v) { return prepare(s, std::move(v), "vector").error().field; };
  EXPECT_EQ(field(std::vector<float>(7, 1.0F)), "vector");
  std::vector<float> v(8, 1.0F);
  v[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(field(v), "vector[3]");
  v[3] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(field(v), "vector[3]");
  EXPECT_EQ(field(std::vector<float>(8, 0.0F)), "vector");
  EXPECT_EQ(field(std::vector<float>(8, 1e30F)), "vector");
  EXPECT_TRUE(prepare(test::in_space(metric::l2, 8), std::vector<float>(8, 0.0F), "vector"));
  EXPECT_TRUE(prepare(s, std::vector<float>(8, 1e-30F), "vector"));
  EXPECT_FALSE(validate(test::in_space(metric::l2, 7)));
  EXPECT_FALSE(validate(test::in_space(metric::l2, 4097)));
  EXPECT_TRUE(validate(test::in_space(metric::l2, 4096)));
}

} // namespace
} // namespace hive::vector
