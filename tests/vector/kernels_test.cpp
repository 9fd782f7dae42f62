#include "tests/vector/kit.hpp"
#include "vector/kernels/int8_code.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

namespace hive::vector {
namespace {

using test::random_vector;

constexpr std::size_t dimensions[] = {64, 128, 192, 384, 448, 768, 1536, 4096};

std::uint32_t bits(float x) {
  std::uint32_t out;
  std::memcpy(&out, &x, sizeof out);
  return out;
}

TEST(KernelsTest, EveryVariantGivesTheSameFloatBits) {
  random_source chance(1);
  const auto& reference = *kernels::available().back();
  ASSERT_STREQ(reference.name, "portable");
  for (const std::size_t n : dimensions)
    for (int round = 0; round < 50; ++round) {
      const auto a = random_vector(chance, n), b = random_vector(chance, n);
      for (const auto* k : kernels::available()) {
        ASSERT_EQ(bits(k->dot(a.data(), b.data(), n)), bits(reference.dot(a.data(), b.data(), n))) << k->name << " " << n;
        ASSERT_EQ(bits(k->l2(a.data(), b.data(), n)), bits(reference.l2(a.data(), b.data(), n))) << k->name << " " << n;
      }
    }
}

/// The others compare what this machine can run; what it cannot is said, not passed over.
class KernelVariantTest : public testing::TestWithParam<const char*> {};
TEST_P(KernelVariantTest, IsComparedHere) {
  const auto all = kernels::available();
  if (std::none_of(all.begin(), all.end(), [](const auto* k) { return std::string_view{k->name} == GetParam(); }))
    GTEST_SKIP() << GetParam() << " needs another CPU: its code is compiled, and not run by these tests";
}
INSTANTIATE_TEST_SUITE_P(All, KernelVariantTest, testing::Values("portable", "avx2", "avx512-vnni"), [](const auto& i) {
  std::string name = i.param;
  std::erase(name, '-');
  return name;
});

TEST(KernelsTest, FloatsAreWithinTheErrorThatBoundsRelyOn) {
  random_source chance(2);
  for (const std::size_t n : dimensions)
    for (int round = 0; round < 50; ++round) {
      const auto a = random_vector(chance, n), b = random_vector(chance, n);
      double dot = 0, l2 = 0, aa = 0, bb = 0;
      for (std::size_t i = 0; i < n; ++i) {
        dot += double{a[i]} * b[i];
        l2 += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
        aa += double{a[i]} * a[i];
        bb += double{b[i]} * b[i];
      }
      const auto& k = kernels::best();
      EXPECT_NEAR(k.dot(a.data(), b.data(), n), dot, 2e-5 * std::sqrt(aa * bb));
      EXPECT_NEAR(k.l2(a.data(), b.data(), n), l2, 2e-5 * (aa + bb));
    }
}

/// Extreme codes too: pairs of -127 and 127 are where 16-bit sums would overflow first.
TEST(KernelsTest, EveryVariantGivesTheSameIntegers) {
  random_source chance(3);
  for (const std::size_t n : dimensions)
    for (int extreme = 0; extreme < 2; ++extreme) {
      constexpr std::size_t rows = 23;
      std::vector<std::int8_t> query(n), codes(n * rows);
      const auto draw = [&] {
        if (extreme) return static_cast<std::int8_t>(chance.one_in(2) ? 127 : -127);
        return static_cast<std::int8_t>(static_cast<int>(chance.below(255)) - 127);
      };
      for (auto& c : query) c = draw();
      for (auto& c : codes) c = draw();
      if (extreme) std::copy(query.begin(), query.end(), codes.begin()); // the largest sum there is
      std::vector<std::uint8_t> shifted(n);
      for (std::size_t i = 0; i < n; ++i) shifted[i] = static_cast<std::uint8_t>(query[i] + 128);
      std::vector<std::int32_t> sums(rows), naive(rows);
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t i = 0; i < n; ++i) {
          sums[r] += codes[r * n + i];
          naive[r] += query[i] * codes[r * n + i];
        }
      const std::vector<std::uint32_t> which{22, 0, 7, 7, 3, 19, 1};
      for (const auto* k : kernels::available())
        for (std::size_t count = 0; count <= rows; ++count) {
          std::vector<std::int32_t> out(rows, 4242);
          k->dot_rows({query.data(), shifted.data(), n}, codes.data(), sums.data(), count, out.data());
          for (std::size_t r = 0; r < rows; ++r) ASSERT_EQ(out[r], r < count ? naive[r] : 4242) << k->name << " " << n << " row " << r << " of " << count;
          if (count > which.size()) continue;
          std::fill(out.begin(), out.end(), 4242);
          k->dot_some({query.data(), shifted.data(), n}, codes.data(), sums.data(), which.data(), count, out.data());
          for (std::size_t r = 0; r < rows; ++r) ASSERT_EQ(out[r], r < count ? naive[which[r]] : 4242) << k->name << " some " << r;
        }
    }
}

TEST(Int8CodeTest, EveryVariantGivesTheSameCodesAndBits) {
  random_source chance(5);
  const auto& reference = *kernels::available().back();
  for (const std::size_t dimension : {8U, 9U, 15U, 33U, 384U, 1000U, 4096U})
    for (int round = 0; round < 40; ++round) {
      auto v = random_vector(chance, dimension);
      if (round % 4 == 1) v[chance.below(dimension)] = -1000;
      if (round % 4 == 2)
        for (float& x : v) x *= 1e-30F;
      if (round % 4 == 3) // many halves between two codes
        for (float& x : v) x = static_cast<float>(static_cast<int>(chance.below(509)) - 254) / 2;
      if (round == 3) std::fill(v.begin(), v.end(), 0.0F);
      std::vector<std::int8_t> wanted(padded(dimension, kernels::code_block), 7);
      const auto code = encode_int8(v, wanted, reference);
      for (const auto* k : kernels::available()) {
        std::vector<std::int8_t> codes(wanted.size(), 99);
        const auto same = encode_int8(v, codes, *k);
        ASSERT_EQ(codes, wanted) << k->name << " " << dimension << " round " << round;
        ASSERT_EQ(bits(same.scale), bits(code.scale));
        ASSERT_EQ(bits(same.error), bits(code.error)) << k->name << " " << dimension;
        ASSERT_EQ(bits(same.length), bits(code.length)) << k->name << " " << dimension;
        ASSERT_EQ(same.sum, code.sum);
      }
    }
}

TEST(Int8CodeTest, OnlyFiniteVectorsAreFinite) {
  for (const std::size_t dimension : {1U, 8U, 33U, 384U}) {
    std::vector<float> v(dimension, -std::numeric_limits<float>::max());
    EXPECT_TRUE(all_finite(v));
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), std::nanf("")}) {
      auto one = v;
      one.back() = bad;
      EXPECT_FALSE(all_finite(one)) << dimension;
      one = v;
      one.front() = bad;
      EXPECT_FALSE(all_finite(one)) << dimension;
    }
  }
}

TEST(Int8CodeTest, ErrorsAndLengthsHold) {
  random_source chance(4);
  for (const std::size_t dimension : {8U, 9U, 33U, 384U, 4096U})
    for (int round = 0; round < 40; ++round) {
      auto v = random_vector(chance, dimension);
      if (round % 4 == 1) v[chance.below(dimension)] = 1000; // one component eats the range
      if (round % 4 == 2)
        for (float& x : v) x *= 1e-20F;
      if (round % 4 == 3)
        for (float& x : v) x *= 1e15F;
      std::vector<std::int8_t> codes(padded(dimension, kernels::code_block), 99);
      const int8_code code = encode_int8(v, codes);
      double lost = 0, kept = 0;
      std::int32_t sum = 0;
      for (std::size_t i = 0; i < codes.size(); ++i) {
        const double back = double{code.scale} * codes[i];
        if (i < dimension) lost += (v[i] - back) * (v[i] - back);
        if (i >= dimension) {
          ASSERT_EQ(codes[i], 0);
        }
        kept += back * back;
        sum += codes[i];
      }
      EXPECT_EQ(code.sum, sum);
      EXPECT_GE(code.error, std::sqrt(lost));
      EXPECT_LE(code.error, std::sqrt(lost) * 1.001 + 1e-30);
      EXPECT_GE(code.length, std::sqrt(kept));
    }
}

TEST(Int8CodeTest, ZeroAndSubnormalVectorsAreAllError) {
  std::vector<std::int8_t> codes(64);
  EXPECT_EQ(encode_int8(std::vector<float>(8, 0.0F), codes).length, 0);
  const auto tiny = encode_int8(std::vector<float>(8, 1e-44F), codes);
  EXPECT_GE(tiny.error + tiny.length, 1e-44F);
}

} // namespace
} // namespace hive::vector
