#include "cluster/links/chunks.hpp"

#include <gtest/gtest.h>

namespace hive::cluster::links {
namespace {

using outcome = chunk_assembler::outcome;

std::vector<chunk> cut(chunk_cutter& cutter, std::size_t size, std::size_t piece) {
  std::string body;
  for (std::size_t i = 0; i < size; ++i) body.push_back(static_cast<char>(i * 7));
  cutter.begin({tenant_id{3}, std::move(body)});
  std::vector<chunk> pieces;
  while (cutter.busy()) pieces.push_back(cutter.next(piece));
  return pieces;
}

TEST(ChunksTest, EverySizeComesBackWhole) {
  chunk_assembler assembler(1000);
  for (const std::size_t size : {0, 1, 9, 10, 11, 100, 1000}) {
    chunk_cutter cutter;
    const auto pieces = cut(cutter, size, 10);
    EXPECT_EQ(pieces.size(), std::max<std::size_t>(1, (size + 9) / 10));
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) EXPECT_EQ(assembler.add(pieces[i]), outcome::more);
    ASSERT_EQ(assembler.add(pieces.back()), outcome::complete) << size;
    const auto whole = assembler.take();
    EXPECT_EQ(whole.tenant, tenant_id{3});
    EXPECT_EQ(whole.body.size(), size);
    EXPECT_TRUE(size == 0 || whole.body.back() == static_cast<char>((size - 1) * 7));
  }
}

TEST(ChunksTest, WhatIsNotTheNextPieceBreaksTheConnection) {
  const auto broken = [](auto change) {
    chunk_cutter cutter;
    auto pieces = cut(cutter, 30, 10);
    chunk_assembler assembler(1000);
    EXPECT_EQ(assembler.add(pieces[0]), outcome::more);
    change(pieces);
    const auto second = assembler.add(pieces[1]);
    return second == outcome::broken || assembler.add(pieces[2]) == outcome::broken;
  };
  EXPECT_FALSE(broken([](auto&) {}));
  EXPECT_TRUE(broken([](auto& p) { std::swap(p[1], p[2]); }));
  EXPECT_TRUE(broken([](auto& p) { p[1].tenant = tenant_id{4}; }));
  EXPECT_TRUE(broken([](auto& p) { p[1].total = 31; }));
  EXPECT_TRUE(broken([](auto& p) { p[1].bytes = ""; }));
  EXPECT_TRUE(broken([](auto& p) { p[2].digest ^= 1; }));
  EXPECT_TRUE(broken([](auto& p) { p[2].bytes = "0123456789a"; }));
  EXPECT_TRUE(broken([](auto& p) { p[1].bytes = "0123456789"; })) << "a flipped byte";
}

TEST(ChunksTest, TooLargeIsRefusedAtItsFirstPiece) {
  chunk_assembler assembler(29);
  chunk_cutter cutter;
  EXPECT_EQ(assembler.add(cut(cutter, 30, 10)[0]), outcome::broken);
}

} // namespace
} // namespace hive::cluster::links
