#include "config/base/trace.hpp"

#include <gtest/gtest.h>

namespace hive {
namespace {

TEST(TraceTest, ParsesWhatTheStandardAllowsAndNothingElse) {
  const std::string good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto t = trace_context::parse(good);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->traceparent(), good);
  EXPECT_EQ(t->trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
  for (const char* bad : {"", "00", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                          "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g"})
    EXPECT_FALSE(trace_context::parse(bad)) << bad;
}

TEST(TraceTest, ChildKeepsTheTrace) {
  random_source random{1};
  const auto t = trace_context::start(random);
  const auto c = t.child(random);
  EXPECT_EQ(c.trace_id(), t.trace_id());
  EXPECT_NE(c.span, t.span);
}

} // namespace
} // namespace hive
