#include "runtime/cli/table.hpp"

#include "runtime/cli/failure.hpp"

#include <gtest/gtest.h>

namespace hive::cli {
namespace {

using std::chrono::milliseconds;

TEST(TableTest, ColumnsArePaddedByDisplayWidth) {
  table t({"NAME", "X"});
  t.add({"bäcker", "1"});
  t.add({"└─ a", "22"});
  EXPECT_EQ(t.text(), "NAME    X\nbäcker  1\n└─ a    22\n");
}

TEST(TableTest, ColoursTakeNoRoom) {
  EXPECT_EQ(display_width(paint(colour::red, "crashed", true)), 7U);
  EXPECT_EQ(paint(colour::red, "crashed", false), "crashed");
}

TEST(TableTest, ShortenCutsAtWidthAndHidesControlCharacters) {
  EXPECT_EQ(shorten("hello", 5), "hello");
  EXPECT_EQ(shorten("hello!", 5), "hell…");
  EXPECT_EQ(shorten("日本語", 5), "日本…");
  EXPECT_EQ(shorten("a\x1b[31mb\n", 10), "a?[31mb?");
  EXPECT_EQ(shorten("abc", 0), "");
  EXPECT_EQ(shorten("\xff\xfe", 10), "??"); // not UTF-8
}

TEST(TableTest, DurationsForPeople) {
  EXPECT_EQ(human_duration(milliseconds(850)), "850 ms");
  EXPECT_EQ(human_duration(milliseconds(12'345)), "12 s");
  EXPECT_EQ(human_duration(milliseconds(185'000)), "3 min 5 s");
  EXPECT_EQ(human_duration(milliseconds(7'800'000)), "2 h 10 min");
}

TEST(TableTest, ParseDuration) {
  EXPECT_EQ(parse_duration("250ms", "--deadline"), milliseconds(250));
  EXPECT_EQ(parse_duration("5s", "--deadline"), milliseconds(5000));
  EXPECT_EQ(parse_duration("2m", "--deadline"), milliseconds(120'000));
  EXPECT_EQ(parse_duration("7", "--deadline"), milliseconds(7000));
  for (const char* bad : {"", "s", "-1s", "5d", "5 s", "99999999999999999999s"})
    EXPECT_THROW(parse_duration(bad, "--deadline"), failure) << bad;
}

TEST(TableTest, RareThingsAreNotShownAsNever) {
  EXPECT_EQ(human_rate(0), "0");
  EXPECT_EQ(human_rate(0.5), "0.5");
  EXPECT_EQ(human_rate(2), "2");
  EXPECT_EQ(human_rate(9.94), "9.9");
  EXPECT_EQ(human_rate(9.97), "10");
  EXPECT_EQ(human_rate(1234.6), "1235");
}

TEST(TableTest, ProgressLineFitsItsWidth) {
  for (std::size_t width = 5; width < 120; ++width)
    EXPECT_LE(display_width(progress_line("reading a long name of a file", 450, 1000, milliseconds(12'000), width)), width);
}

TEST(TableTest, ProgressLineShowsShareAndBar) {
  const auto line = progress_line("reading", 500, 1000, milliseconds(12'000), 80);
  EXPECT_NE(line.find("50 %  500/1000  12 s"), std::string::npos) << line;
  EXPECT_NE(line.find("━"), std::string::npos);
  EXPECT_EQ(progress_line("queued", 0, 0, milliseconds(1000), 80), "queued  1 s");
  EXPECT_NE(progress_line("odd", 7, 5, milliseconds(1), 80).find("100 %"), std::string::npos);
}

} // namespace
} // namespace hive::cli
