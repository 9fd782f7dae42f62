#include "actors/executors/file_walk.hpp"
#include "actors/executors/glob.hpp"
#include "tests/actors_behaviours/tree.hpp"

#include <gtest/gtest.h>
#include <set>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace hive::actors {
namespace {

using namespace hive::test;
using nlohmann::json;

class WalkTest : public ::testing::Test {
protected:
  tree files;
  file_walk walk{roots({files.path().string()}, "files.read_roots"), 1024 * 1024};

  /// All pages of a walk; counts the calls.
  std::vector<json> all(json arguments) {
    std::vector<json> entries;
    folders = 0;
    for (pages = 1;; ++pages) {
      const auto page = answer(walk, arguments);
      for (const auto& e : page["entries"]) entries.push_back(e);
      folders += page["folders"].get<int>();
      if (page["cursor"].is_null()) return entries;
      arguments["cursor"] = page["cursor"];
    }
  }
  std::vector<std::string> paths(const json& arguments) {
    std::vector<std::string> out;
    for (const auto& e : all(arguments))
      if (e["kind"] == "file") out.push_back(e["path"]);
    return out;
  }
  json here(json more = json::object()) {
    more["root"] = files.path().string();
    return more;
  }
  json entry(const std::string& path) {
    for (const auto& e : all(here()))
      if (e["path"] == path) return e;
    return nullptr;
  }
  int pages = 0;
  int folders = 0;
};

TEST_F(WalkTest, FilesOfAFolderComeBeforeItsFoldersByName) {
  for (const char* p : {"b.txt", "a/z.txt", "a.txt", "a/b/c.txt", "c/x.txt", "a/a.txt"}) files.file(p, "x");
  EXPECT_EQ(paths(here()), (std::vector<std::string>{"a.txt", "b.txt", "a/a.txt", "a/z.txt", "a/b/c.txt", "c/x.txt"}));
  EXPECT_EQ(folders, 4);
}

TEST_F(WalkTest, EveryPageSizeGivesTheSameList) {
  for (int i = 0; i < 7; ++i)
    for (int j = 0; j < 5; ++j)
      files.file("d" + std::to_string(i) + "/e" + std::to_string(j % 2) + "/f" + std::to_string(j), "x");
  files.file("top", "x");
  fs::create_directories(files.path() / "empty/below");
  const auto whole = paths(here());
  const int all_folders = folders;
  EXPECT_EQ(whole.size(), 36U);
  for (const int limit : {1, 2, 3, 5, 35, 36, 37}) {
    EXPECT_EQ(paths(here({{"limit", limit}})), whole) << "limit " << limit;
    EXPECT_EQ(folders, all_folders) << "limit " << limit;
  }
  EXPECT_EQ(std::to_string(whole.size()) + "\n", shell("find " + files.path().string() + " -type f | wc -l"));
  EXPECT_EQ(std::to_string(all_folders) + "\n", shell("find " + files.path().string() + " -type d | wc -l"));
}

TEST_F(WalkTest, GoesOnWhereItWasWhenTheFolderOfTheCursorIsGone) {
  for (const char* p : {"a/1", "b/1", "b/2", "c/1"}) files.file(p, "x");
  auto page = answer(walk, here({{"limit", 2}}));
  ASSERT_EQ(page["entries"][1]["path"], "b/1");
  fs::remove_all(files.path() / "b");
  page = answer(walk, here({{"cursor", page["cursor"]}}));
  ASSERT_EQ(page["entries"].size(), 1U);
  EXPECT_EQ(page["entries"][0]["path"], "c/1");
}

TEST_F(WalkTest, LinksAreNamedAndNotFollowed) {
  files.file("real/file.txt", "x");
  fs::create_directory(files.outside());
  fs::create_symlink("real/file.txt", files.path() / "to-file");
  fs::create_symlink("real", files.path() / "to-folder");
  fs::create_symlink("..", files.path() / "real/up");
  fs::create_symlink("self", files.path() / "self");
  fs::create_symlink("nothing", files.path() / "dangling");
  fs::create_symlink(files.outside(), files.path() / "out");
  EXPECT_EQ(paths(here()), std::vector<std::string>{"real/file.txt"});
  EXPECT_EQ(entry("to-file")["state"], "file");
  EXPECT_EQ(entry("to-folder")["state"], "folder");
  EXPECT_EQ(entry("real/up")["state"], "loop");
  EXPECT_EQ(entry("self")["state"], "loop");
  EXPECT_EQ(entry("dangling")["state"], "dangling");
  EXPECT_EQ(entry("out")["state"], "outside");
  EXPECT_EQ(entry("out")["to"], files.outside().string());
}

TEST_F(WalkTest, SpecialFilesAreNamed) {
  ASSERT_EQ(::mkfifo((files.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(entry("pipe")["kind"], "special");
}

TEST_F(WalkTest, UnreadableFoldersAreNamed) {
  files.file("closed/inside.txt", "x");
  files.file("open.txt", "x");
  fs::permissions(files.path() / "closed", fs::perms::none);
  as_nobody([&] {
    const auto e = entry("closed");
    EXPECT_EQ(e["kind"], "unreadable");
    EXPECT_EQ(e["why"], "Permission denied");
    EXPECT_EQ(paths(here()), std::vector<std::string>{"open.txt"});
  });
  fs::permissions(files.path() / "closed", fs::perms::owner_all);
}

TEST_F(WalkTest, NamesThatAreNotUtf8SurviveThePages) {
  files.file("bad-\xff/a", "x");
  files.file("bad-\xff/b", "x");
  const auto entries = all(here({{"limit", 1}}));
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0]["path"]["hex"], "6261642dff2f61");
  EXPECT_EQ(entries[1]["path"]["hex"], "6261642dff2f62");
}

TEST_F(WalkTest, IncludeChoosesFilesAndExcludePrunes) {
  for (const char* p : {"a.cpp", "b.md", "x/c.cpp", "x/build/d.cpp", ".git/e.cpp"}) files.file(p, "x");
  EXPECT_EQ(paths(here({{"include", {"*.cpp"}}, {"exclude", {".git", "build"}}})),
            (std::vector<std::string>{"a.cpp", "x/c.cpp"}));
  EXPECT_EQ(paths(here({{"exclude", {"x/**", ".*"}}})), (std::vector<std::string>{"a.cpp", "b.md"}));
}

TEST_F(WalkTest, PathsOutsideTheRootsAreRefused) {
  fs::create_directory(files.outside());
  fs::create_symlink(files.outside(), files.path() / "way-out");
  const auto refusal = [&](const json& arguments) { return call(walk, arguments).error(); };
  EXPECT_EQ(refusal({{"root", files.outside().string()}}).reason, "outside_roots");
  EXPECT_EQ(refusal({{"root", files.path().string() + "/way-out"}}).reason, "outside_roots");
  EXPECT_EQ(refusal({{"root", files.path().string() + "-beside"}}).reason, "outside_roots");
  EXPECT_EQ(refusal({{"root", files.path().string() + "/../outside"}}).code, errc::invalid_argument);
  EXPECT_EQ(refusal({{"root", std::string(files.path()) + std::string("/a\0b", 4)}}).code, errc::invalid_argument);
  EXPECT_EQ(refusal({{"root", "tree"}}).code, errc::invalid_argument);
  EXPECT_EQ(refusal({{"root", "/nonexistent-and-not-mine"}}).reason, "outside_roots")
      << "must not tell whether it exists";
  EXPECT_EQ(refusal({{"root", files.path().string() + "/missing"}}).code, errc::not_found);
  EXPECT_EQ(refusal(here({{"limit", 0}})).field, "limit");
  EXPECT_EQ(refusal(here({{"cursor", "{}"}})).field, "cursor");
  EXPECT_EQ(refusal(here({{"colour", 1}})).field, "colour");
  EXPECT_EQ(refusal(json::array()).code, errc::invalid_argument);
}

TEST(GlobTest, Matches) {
  EXPECT_TRUE(glob_matches("*.cpp", "a/b.cpp"));
  EXPECT_FALSE(glob_matches("*.cpp", "a/b.cppx"));
  EXPECT_TRUE(glob_matches("a/*.cpp", "a/b.cpp"));
  EXPECT_FALSE(glob_matches("a/*.cpp", "a/b/c.cpp"));
  EXPECT_TRUE(glob_matches("a/**/*.cpp", "a/b/c/d.cpp"));
  EXPECT_TRUE(glob_matches("a/**/d", "a/d"));
  EXPECT_FALSE(glob_matches("a/**/d", "a/bd"));
  EXPECT_TRUE(glob_matches("a/**", "a/b/c"));
  EXPECT_TRUE(glob_matches("[a-c]?.md", "b1.md"));
  EXPECT_FALSE(glob_matches("[!a-c]?.md", "b1.md"));
  EXPECT_TRUE(glob_matches("[", "["));
  EXPECT_TRUE(glob_matches("/x.md", "x.md"));
  EXPECT_FALSE(glob_matches("/x.md", "a/x.md"));
  EXPECT_TRUE(glob_matches(glob_of("a[b]*?"), "a[b]*?"));
  EXPECT_FALSE(glob_matches("*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

} // namespace
} // namespace hive::actors
