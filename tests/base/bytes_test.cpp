#include "config/base/bytes.hpp"

#include <gtest/gtest.h>

namespace hive {
namespace {

TEST(BytesTest, WhatIsWrittenIsRead) {
  byte_writer w;
  for (const std::uint64_t v : {0ULL, 127ULL, 128ULL, 300ULL, 0xFFFFFFFFFFFFFFFFULL}) w.varint(v);
  w.text("hello").fixed64(42).text("");
  byte_reader r(w.view());
  for (const std::uint64_t v : {0ULL, 127ULL, 128ULL, 300ULL, 0xFFFFFFFFFFFFFFFFULL}) EXPECT_EQ(r.varint(), v);
  EXPECT_EQ(r.text(), "hello");
  EXPECT_EQ(r.fixed64(), 42U);
  EXPECT_EQ(r.text(), "");
  EXPECT_TRUE(r.ok() && r.at_end());
}

TEST(BytesTest, MalformedInputFailsAndStaysFailed) {
  for (const std::string& bad : {std::string("\xFF"), std::string("\x05" "abc"), std::string(11, '\xFF')}) {
    byte_reader r(bad);
    (void)r.text();
    EXPECT_FALSE(r.ok());
    EXPECT_EQ(r.varint(), 0U);
    EXPECT_EQ(r.fixed64(), 0U);
  }
}

} // namespace
} // namespace hive
