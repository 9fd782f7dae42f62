// Passages: whole lines in order, nothing lost, bounded; cut at headings and definitions.
#include "actors/executors/text/chunks.hpp"

#include "config/base/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace hive::actors::text {
namespace {

std::vector<chunk> cut(std::string_view path, std::string_view content) {
  return chunks_of(language_of(path, content), content);
}

TEST(ChunksTest, MarkdownIsCutAtItsHeadingsAndNotInFences) {
  const auto all = cut("a.md", "intro\n\n# One\ntext\n```\n# no heading\n```\n## Two\nmore\n");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].heading, "");
  EXPECT_EQ(all[1].heading, "One");
  EXPECT_EQ(all[1].line, 3U);
  EXPECT_EQ(all[1].last_line, 7U);
  EXPECT_EQ(all[2].heading, "Two");
  EXPECT_EQ(all[2].content, "## Two\nmore\n");
}

TEST(ChunksTest, UnderlinedTitlesStartChunks) {
  const auto all = cut("a.rst", "First\n=====\ntext\n\nSecond\n------\nmore\n");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].heading, "First");
  EXPECT_EQ(all[1].heading, "Second");
  EXPECT_EQ(all[1].line, 5U);
}

TEST(ChunksTest, CodeIsCutBeforeADefinitionOnceAChunkIsLongEnough) {
  std::string code;
  for (int f = 0; f < 3; ++f) {
    code += "int f" + std::to_string(f) + "() {\n";
    for (int i = 0; i < 15; ++i) code += "  work(" + std::to_string(i) + ");\n";
    code += "}\n\n";
  }
  const auto all = cut("a.cpp", code);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_TRUE(all[1].content.starts_with("int f1()"));
  EXPECT_EQ(all[1].line, 19U);
}

TEST(ChunksTest, WhateverTheTextChunksAreWholeLinesInOrderAndBounded) {
  random_source chance(11);
  const std::vector<std::string> pieces{"\n",   "\n\n",  "# T\n",        "====\n", "int f() {\n",
                                        "}\n",  "word ", "  indented\n", "```\n",  std::string(5000, 'x'),
                                        "\r\n", "é",     "\xff"};
  const char* const names[] = {"a.md", "a.rst", "a.cpp", "a.py", "a.txt", "a.html", "a"};
  for (int round = 0; round < 3000; ++round) {
    std::string content;
    for (auto n = chance.below(80); n > 0; --n) content += pieces[chance.below(pieces.size())];
    std::uint64_t line = 0;
    const char* at = content.data();
    for (const auto& c : cut(names[chance.below(7)], content)) {
      ASSERT_GE(c.content.data(), at) << "in order";
      ASSERT_GT(c.line, line);
      ASSERT_GE(c.last_line, c.line);
      ASSERT_LE(c.last_line - c.line + 1, chunk_lines_max);
      ASSERT_LE(c.content.size(), chunk_bytes_max);
      const auto before =
          std::string_view(content).substr(0, static_cast<std::size_t>(c.content.data() - content.data()));
      ASSERT_TRUE(before.empty() || before.back() == '\n') << "from the start of a line";
      ASSERT_EQ(static_cast<std::uint64_t>(std::count(before.begin(), before.end(), '\n')) + 1, c.line);
      line = c.last_line;
      at = c.content.data() + c.content.size();
    }
  }
}

TEST(ChunksTest, WhatHasNoWordsIsNoPassage) {
  EXPECT_TRUE(cut("a.txt", "").empty());
  EXPECT_TRUE(cut("a.txt", "\n\n----\n  \n").empty());
}

} // namespace
} // namespace hive::actors::text
