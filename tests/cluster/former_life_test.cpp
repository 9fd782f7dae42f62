// tests/cluster/former_life_test.cpp mirrors cluster/former_life.hpp
#include "cluster/former_life.hpp"

#include "tests/persistence/temp_dir.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace hive::cluster {
namespace {

struct FormerLifeTest : testing::Test {
  test::temp_dir home;
  std::filesystem::path data = home.path() / "data";
  constexpr static node_generation five{(std::uint64_t{1} << 40U) + 5};

  void SetUp() override {
    std::filesystem::create_directory(data);
    std::ofstream(data / "hive.lock") << "1234\n";
  }
};

TEST_F(FormerLifeTest, AnEmptyDirectoryKnowsNone) {
  EXPECT_EQ(read_former_life(data).generation, node_generation{});
  EXPECT_FALSE(read_former_life(data).over);
}

TEST_F(FormerLifeTest, WhoeverHoldsTheLockKnowsThatTheDirectorysLastLifeIsOver) {
  ASSERT_TRUE(write_life(data, five));
  EXPECT_EQ(read_former_life(data).generation, five);
  EXPECT_TRUE(read_former_life(data).over);
  std::filesystem::rename(data, home.path() / "moved");
  EXPECT_TRUE(read_former_life(home.path() / "moved").over) << "nobody else can hold its lock";
}

TEST_F(FormerLifeTest, ACopyProvesNothing) {
  ASSERT_TRUE(write_life(data, five));
  std::filesystem::copy(data, home.path() / "copy", std::filesystem::copy_options::recursive);
  EXPECT_EQ(read_former_life(home.path() / "copy").generation, five);
  EXPECT_FALSE(read_former_life(home.path() / "copy").over) << "the original's process may live";
}

TEST_F(FormerLifeTest, AnotherMachineOrAnotherStartOfItProvesNothing) {
  ASSERT_TRUE(write_life(data, five));
  std::string text;
  std::getline(std::ifstream(data / "generation"), text);
  const auto mark = text.find(' ') + 1;
  std::ofstream(data / "generation") << text.replace(mark, 8, "00000000") << "\n";
  EXPECT_EQ(read_former_life(data).generation, five);
  EXPECT_FALSE(read_former_life(data).over);
}

TEST_F(FormerLifeTest, AFileOfAnEarlierVersionProvesNothing) {
  std::ofstream(data / "generation") << five.value() << "\n";
  EXPECT_EQ(read_former_life(data).generation, five);
  EXPECT_FALSE(read_former_life(data).over);
}

} // namespace
} // namespace hive::cluster
