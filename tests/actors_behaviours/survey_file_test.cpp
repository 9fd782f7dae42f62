#include "actors/executors/file_survey.hpp"
#include "tests/actors_behaviours/tree.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace hive::actors {
namespace {

using namespace hive::test;
using nlohmann::json;

class SurveyFileTest : public ::testing::Test {
protected:
  tree files;
  file_survey survey{roots({files.path().string()}, "files.read_roots")};

  json of(const std::string& path, json more = json::object()) {
    more["root"] = files.path().string();
    more["path"] = path;
    return answer(survey, more);
  }
  std::uint64_t says(const std::string& command, const std::string& path) {
    return std::stoull(shell("LC_ALL=C " + command + " < '" + (files.path() / path).string() + "'"));
  }
};

TEST_F(SurveyFileTest, CountsAsWcAndGrepDo) {
  random_source chance(7);
  const std::vector<std::string> pieces{"TODO",  "FIXME",  "XXX",      "XXXX",         "HACK", "todo", "TODO_x",
                                        "_TODO", "TODO:",  " ",        "\n",           "\n\n", "word", "\t",
                                        "\r\n",  "(TODO)", "HACKTODO", "\xc3\xa9TODO", "9XXX", "-XXX-"};
  for (int i = 0; i < 40; ++i) {
    std::string content;
    for (std::uint64_t n = chance.below(400); n > 0; --n) content += pieces[chance.below(pieces.size())];
    files.file("f", content);
    const auto got = of("f");
    EXPECT_EQ(got["lines"], says("wc -l", "f"));
    EXPECT_EQ(got["bytes"], says("wc -c", "f"));
    for (const char* word : {"TODO", "FIXME", "XXX", "HACK"})
      EXPECT_EQ(got["markers"].value(word, 0U), says(std::string("grep -acw ") + word, "f")) << word << " in:\n"
                                                                                             << content;
  }
}

TEST_F(SurveyFileTest, SaysWhatAFileIs) {
  files.file("a.cpp", "// TODO: more\nint main() {\n  return 0;\n}\n");
  const auto got = of("a.cpp");
  EXPECT_EQ(got["status"], "ok");
  EXPECT_EQ(got["language"], "C++");
  EXPECT_EQ(got["definitions"], (json{{"function", 1}}));
  EXPECT_EQ(got["outline"], (json{"function main"}));
  EXPECT_EQ(got["markers"], (json{{"TODO", 1}}));
  files.file("empty", "");
  EXPECT_EQ(of("empty")["status"], "ok");
  EXPECT_EQ(of("empty")["lines"], 0);
}

TEST_F(SurveyFileTest, BinaryFilesAreNamedByKind) {
  files.file("p.png", std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16));
  EXPECT_EQ(of("p.png")["status"], "binary");
  EXPECT_EQ(of("p.png")["language"], "PNG image");
  EXPECT_EQ(of("p.png")["lines"], 2);
  files.file("late-nul", std::string(8000, 'a') + std::string(1, '\0'));
  EXPECT_EQ(of("late-nul")["status"], "ok") << "a NUL after the first 8,000 bytes does not count";
}

TEST_F(SurveyFileTest, HugeFilesAreCountedAndNotExamined) {
  std::string content;
  for (int i = 0; i < 100'000; ++i) content += "def f(): pass # TODO\n";
  files.file("huge.py", content);
  const auto got = of("huge.py", {{"bytes_max", 1'000'000}});
  EXPECT_EQ(got["status"], "huge");
  EXPECT_EQ(got["language"], "Python");
  EXPECT_EQ(got["bytes"], content.size());
  EXPECT_EQ(got["lines"], 100'000);
  EXPECT_FALSE(got.contains("markers"));
}

TEST_F(SurveyFileTest, WhatCannotBeReadIsAnAnswer) {
  EXPECT_EQ(of("missing")["status"], "vanished");
  EXPECT_EQ(of("missing/below")["status"], "vanished");
  files.file("link-target", "x");
  fs::create_symlink("link-target", files.path() / "link");
  EXPECT_EQ(of("link")["status"], "vanished");
  fs::create_directory(files.path() / "folder");
  EXPECT_EQ(of("folder")["status"], "vanished");
  ASSERT_EQ(::mkfifo((files.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(of("pipe")["status"], "special") << "and it must not wait for a writer";
  files.file("secret", "x");
  fs::permissions(files.path() / "secret", fs::perms::none);
  as_nobody([&] {
    EXPECT_EQ(of("secret")["status"], "unreadable");
    EXPECT_EQ(of("secret")["why"], "Permission denied");
  });
}

TEST_F(SurveyFileTest, PathTricksAreRefused) {
  fs::create_directory(files.outside());
  std::ofstream(files.outside() / "secret") << "x";
  fs::create_symlink(files.outside(), files.path() / "way-out");
  const auto refusal = [&](const json& arguments) { return call(survey, arguments).error().code; };
  const std::string root = files.path().string();
  EXPECT_EQ(refusal({{"root", root}, {"path", "../outside/secret"}}), errc::invalid_argument);
  EXPECT_EQ(refusal({{"root", root}, {"path", "/etc/passwd"}}), errc::invalid_argument);
  EXPECT_EQ(refusal({{"root", root}, {"path", "a/./b"}}), errc::invalid_argument);
  EXPECT_EQ(refusal({{"root", root}, {"path", std::string("a\0b", 3)}}), errc::invalid_argument);
  EXPECT_EQ(refusal({{"root", files.outside().string()}, {"path", "secret"}}), errc::permission_denied);
  EXPECT_EQ(refusal({{"root", root}, {"path", 7}}), errc::invalid_argument);
  EXPECT_EQ(of("way-out/secret")["status"], "vanished") << "a link on the way is not followed";
}

TEST_F(SurveyFileTest, NamesAndContentThatAreNotUtf8AreTaken) {
  files.file("caf\xe9.txt", "na\xefve words words\n");
  const auto got = of("x", {}).is_null()
                       ? json{}
                       : answer(survey, {{"root", files.path().string()}, {"path", {{"hex", "636166e92e747874"}}}});
  EXPECT_EQ(got["status"], "ok");
  EXPECT_EQ(got["terms"], (json::array({{"words", 2}})));
}

} // namespace
} // namespace hive::actors
