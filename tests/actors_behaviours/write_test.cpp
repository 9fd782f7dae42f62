#include "actors/executors/file_write.hpp"
#include "tests/actors_behaviours/tree.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

using namespace hive::test;
using nlohmann::json;

class WriteTest : public ::testing::Test {
protected:
  tree files;
  file_write write{roots({files.path().string()}, "files.write_roots")};

  std::string at(const std::string& name) { return (files.path() / name).string(); }
  std::string content(const std::string& name) {
    std::ifstream in(files.path() / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t count() { return static_cast<std::size_t>(std::distance(fs::directory_iterator(files.path()), {})); }
  result<payload> raw(const payload& arguments) {
    return write.run({context_of(1), "step", arguments, std::chrono::seconds{5}, nullptr});
  }
};

TEST_F(WriteTest, PutsAFileInPlaceWhole) {
  EXPECT_EQ(answer(write, {{"path", at("a.txt")}, {"content", "hello\n"}})["bytes"], 6);
  EXPECT_EQ(content("a.txt"), "hello\n");
  answer(write, {{"path", at("a.txt")}, {"content", "x"}});
  EXPECT_EQ(content("a.txt"), "x");
  EXPECT_EQ(count(), 1U) << "nothing is left beside it";
}

TEST_F(WriteTest, MakesFoldersWhenAsked) {
  EXPECT_EQ(call(write, {{"path", at("x/y/a.txt")}, {"content", "1"}}).error().code, errc::not_found);
  answer(write, {{"path", at("x/y/a.txt")}, {"content", "1"}, {"make_folders", true}});
  EXPECT_EQ(content("x/y/a.txt"), "1");
}

TEST_F(WriteTest, PartsGrowBesideTheTargetAndReplaceItAtTheEnd) {
  files.file("r", "old");
  const auto part = [&](std::uint64_t offset, std::string_view text) {
    return raw(with_content({{"path", at("r")}, {"part", "p"}, {"at", offset}}, text));
  };
  ASSERT_TRUE(part(0, "hello "));
  ASSERT_TRUE(part(6, "wor"));
  EXPECT_EQ(content("r"), "old");
  ASSERT_TRUE(part(6, "world")) << "a part that is tried again takes the place of the first try";
  EXPECT_EQ(call(write, {{"path", at("r")}, {"part", "p"}, {"commit", 12}}).error().reason, "part_missing");
  ASSERT_TRUE(call(write, {{"path", at("r")}, {"part", "p"}, {"commit", 11}}));
  EXPECT_EQ(content("r"), "hello world");
  EXPECT_TRUE(call(write, {{"path", at("r")}, {"part", "p"}, {"commit", 11}})) << "tried again after a crash";
  EXPECT_EQ(part(20, "x").error().reason, "part_missing");
}

TEST_F(WriteTest, BinaryContentFollowsTheArguments) {
  const std::string bytes("\0\n\xff\n", 4);
  ASSERT_TRUE(raw(with_content({{"path", at("b")}}, bytes)));
  EXPECT_EQ(content("b"), bytes);
  EXPECT_EQ(raw({"{}", content_type::binary}).error().code, errc::invalid_argument);
}

TEST_F(WriteTest, NothingIsWrittenOutsideTheRoots) {
  fs::create_directory(files.outside());
  fs::create_symlink(files.outside(), files.path() / "way-out");
  std::ofstream(files.outside() / "precious") << "keep";
  fs::create_symlink(files.outside() / "precious", files.path() / "link");
  const auto refusal = [&](const std::string& path) {
    return call(write, {{"path", path}, {"content", "x"}, {"make_folders", true}}).error();
  };
  EXPECT_EQ(refusal((files.outside() / "a").string()).reason, "outside_roots");
  EXPECT_EQ(refusal(at("../outside/a")).code, errc::invalid_argument);
  EXPECT_EQ(refusal(at("way-out/a")).reason, "not_a_directory");
  EXPECT_EQ(refusal(files.path().string()).reason, "outside_roots") << "the root itself is no file";
  EXPECT_EQ(refusal(at(std::string("a\0b", 3))).code, errc::invalid_argument);
  answer(write, {{"path", at("link")}, {"content", "new"}});
  EXPECT_EQ(shell("cat " + (files.outside() / "precious").string()), "keep") << "the link is replaced, not followed";
  EXPECT_FALSE(fs::is_symlink(files.path() / "link"));
  EXPECT_EQ(std::distance(fs::directory_iterator(files.outside()), {}), 1);
}

TEST_F(WriteTest, BadArgumentsNameTheField) {
  const auto field = [&](const json& arguments) { return call(write, arguments).error().field; };
  EXPECT_EQ(field({{"content", "x"}}), "path");
  EXPECT_EQ(field({{"path", at("a")}}), "content");
  EXPECT_EQ(field({{"path", at("a")}, {"content", "x"}, {"part", "../x"}}), "part");
  EXPECT_EQ(field({{"path", at("a")}, {"content", "x"}, {"at", 5}}), "part");
  EXPECT_EQ(field({{"path", at("a")}, {"content", "x"}, {"mode", 5}}), "mode");
}

} // namespace
} // namespace hive::actors
