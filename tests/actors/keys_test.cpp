// Idempotency keys: a client's own, and those that the gateway made. (R4)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class KeysTest : public KitTest {
protected:
  static config::settings few_keys() {
    config::settings s;
    s.entity.keys_kept = 3;
    s.keep.keys = std::chrono::seconds{60};
    return s;
  }
};

TEST_F(KeysTest, KeyOfTheGatewayIsFoundBehindManyNewerOnes) {
  auto kit = make(few_keys());
  kit->add_agent("l", "ledger");
  const auto key = kit->make_key();
  EXPECT_EQ(kit->ask("l", "append", {{"op", "once"}}, key)->at("count"), 1);
  for (int i = 0; i < 2'500; ++i) ASSERT_TRUE(kit->ask("l", "append", {{"op", "x"}})); // more than one read of the chain
  EXPECT_EQ(kit->ask("l", "append", {{"op", "once"}}, key)->at("count"), 1);
  EXPECT_EQ(kit->ask("l", "append", {{"op", "other"}}, key).error().reason, "key_reused");
  kit->crash();
  EXPECT_EQ(kit->ask("l", "append", {{"op", "once"}}, key)->at("count"), 1);
}

TEST_F(KeysTest, RepeatsOfAKeyOfTheGatewayThatOverlapAreOneTurn) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  ASSERT_TRUE(kit->ask("l", "append", {{"op", "first"}}));
  const auto key = kit->make_key();
  std::vector<result<json>> answers;
  for (int i = 0; i < 4; ++i) kit->ask_later("l", "append", {{"op", "once"}}, answers, key);
  kit->settle();
  for (int i = 0; i < 4; ++i) kit->ask_later("l", "append", {{"op", "once"}}, answers, key);
  kit->settle();
  ASSERT_EQ(answers.size(), 8U);
  for (const auto& a : answers) EXPECT_EQ(a->at("count"), 2);
  EXPECT_EQ(ops_of(*kit, "l"), json({"first", "once"}));
}

TEST_F(KeysTest, KeyOfTheGatewayFromAnotherTimeIsRefused) {
  auto kit = make(few_keys());
  kit->add_agent("l", "ledger");
  EXPECT_EQ(kit->ask("l", "append", {{"op", "a"}}, "hive-fffffffffff-0123456789abcdef").error().field, "idempotency_key");
  EXPECT_EQ(kit->ask("l", "append", {{"op", "a"}}, "hive-00000000000-0123456789abcdef").error().reason, "key_expired");
  EXPECT_EQ(ops_of(*kit, "l"), json::array());
}

TEST_F(KeysTest, QuotaOfKeysIsGivenBackWithTime) {
  auto kit = make(few_keys());
  kit->add_agent("l", "ledger");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(kit->ask("l", "append", {{"op", "a"}}, "k" + std::to_string(i)));
  EXPECT_EQ(kit->ask("l", "append", {{"op", "a"}}, "k3").error().reason, "key_quota");
  for (int s = 0; s < 70; ++s) { // an agent that is never idle for long
    kit->advance(std::chrono::seconds{1});
    ASSERT_TRUE(kit->ask("l", "append", {{"op", "b"}}));
  }
  EXPECT_TRUE(kit->ask("l", "append", {{"op", "c"}}, "k4"));
}

TEST_F(KeysTest, KeyedAsksAreAnsweredWhenTheDiskComesBack) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  ASSERT_TRUE(kit->ask("l", "append", {{"op", "a"}}, "old"));
  kit->crash(); // the keys are on disk only
  bool full = true;
  kit->refuse_commits([&]() -> std::optional<error> {
    if (full) return error{errc::unavailable, "no_space", "the disk is full"};
    return std::nullopt;
  });
  std::vector<result<json>> answers;
  for (int i = 0; i < 3; ++i) {
    kit->ask_later("l", "append", {{"op", "unkeyed"}}, answers);
    kit->ask_later("l", "append", {{"op", "keyed" + std::to_string(i)}}, answers, "k" + std::to_string(i));
  }
  for (int i = 0; i < 20; ++i) kit->advance(std::chrono::milliseconds{50});
  full = false;
  for (int i = 0; i < 40; ++i) kit->advance(std::chrono::milliseconds{50});
  EXPECT_EQ(answers.size(), 6U) << "none hangs";
  EXPECT_EQ(kit->ask("l", "append", {{"op", "a"}}, "old")->at("count"), 1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(kit->ask("l", "append", {{"op", "keyed" + std::to_string(i)}}, "k" + std::to_string(i)));
  auto ops = ops_of(*kit, "l");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(std::count(ops.begin(), ops.end(), json("keyed" + std::to_string(i))), 1);
}

TEST_F(KeysTest, KeyedAsksKeepTheirOrderWhileTheKeysAreRead) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  ASSERT_TRUE(kit->ask("l", "append", {{"op", "0"}}, "k0"));
  kit->crash();
  std::vector<result<json>> answers;
  for (int i = 1; i <= 5; ++i) kit->ask_later("l", "append", {{"op", std::to_string(i)}}, answers, "k" + std::to_string(i));
  kit->settle();
  EXPECT_EQ(ops_of(*kit, "l"), json({"0", "1", "2", "3", "4", "5"}));
}

} // namespace
} // namespace hive::actors
