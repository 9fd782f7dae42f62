#include "cluster/links/handshake.hpp"

#include <gtest/gtest.h>

namespace hive::cluster::links {
namespace {

class GatekeeperTest : public ::testing::Test {
protected:
  GatekeeperTest() {
    gate.set_peers(std::vector<peer>{{"b", node_generation{5}, "h:1"}, {"c", node_generation{6}, "h:2"}});
    good.from = {"hive", "cell-1", "b", node_generation{5}, "store"};
    good.to_node = "a";
    good.to_generation = node_generation{3};
    good.session = 1;
  }
  /// "" when let in.
  std::string verdict(const hello& h) const {
    const auto v = gate.check(h, uris);
    if (const auto* no = std::get_if<refusal>(&v)) return no->reason;
    return "";
  }

  gatekeeper gate{{"hive", "cell-1", "a", node_generation{3}, "store"}};
  hello good;
  std::vector<std::string> uris{"hive://hive/node/b"};
};

TEST_F(GatekeeperTest, LetsInAPeerOfTheList) {
  const auto v = gate.check(good, uris);
  ASSERT_TRUE(std::holds_alternative<std::uint32_t>(v)) << std::get<refusal>(v).message;
  EXPECT_EQ(std::get<std::uint32_t>(v), protocol_highest);
}

TEST_F(GatekeeperTest, EachMismatchIsRefusedByItsReason) {
  const auto with = [&](auto change) {
    auto h = good;
    change(h);
    return verdict(h);
  };
  EXPECT_EQ(with([](hello& h) { h.from.hive = "other"; }), "foreign_hive");
  EXPECT_EQ(with([](hello& h) { h.from.cell = "cell-2"; }), "foreign_cell");
  EXPECT_EQ(with([](hello& h) { h.from.store = "another"; }), "foreign_store");
  EXPECT_EQ(with([](hello& h) { h.to_node = "c"; }), "wrong_node");
  EXPECT_EQ(with([](hello& h) { h.to_generation = node_generation{2}; }), "wrong_generation");
  EXPECT_EQ(with([](hello& h) { h.lowest_version = protocol_highest + 1, h.highest_version = protocol_highest + 2; }), "version");
  EXPECT_EQ(with([](hello& h) { h.lowest_version = 2, h.highest_version = 1; }), "version");
  EXPECT_EQ(with([](hello& h) { h.highest_version = 0, h.lowest_version = 0; }), "version");
  EXPECT_EQ(with([](hello& h) { h.from.node = "c"; }), "identity"); // c's place with b's certificate
}

TEST_F(GatekeeperTest, LaterVersionsSpeakTheHighestThatBothKnow) {
  good.highest_version = protocol_highest + 7;
  EXPECT_EQ(verdict(good), "");
}

TEST_F(GatekeeperTest, OlderGenerationIsOverAndANewerOneWaitsForTheList) {
  good.from.generation = node_generation{4};
  EXPECT_EQ(verdict(good), "superseded");
  good.from.generation = node_generation{6};
  EXPECT_EQ(verdict(good), "not_a_member");
  gate.set_peers(std::vector<peer>{{"b", node_generation{6}, "h:1"}});
  EXPECT_EQ(verdict(good), "");
}

TEST_F(GatekeeperTest, NodeThatTheListDoesNotNameIsNoMember) {
  gate.set_peers(std::vector<peer>{{"c", node_generation{6}, "h:2"}});
  EXPECT_EQ(verdict(good), "not_a_member");
}

TEST_F(GatekeeperTest, NodeWithThisNodesNameIsRefused) {
  good.from.node = "a";
  uris = {"hive://hive/node/a"};
  gate.set_peers(std::vector<peer>{{"a", node_generation{3}, "h:1"}});
  EXPECT_EQ(verdict(good), "identity");
}

TEST_F(GatekeeperTest, CertificateMustNameExactlyOneNodeOfTheHive) {
  for (const std::vector<std::string>& others : std::vector<std::vector<std::string>>{{},
                                                                                      {"hive://other/node/b"},
                                                                                      {"hive://hive/node/"},
                                                                                      {"hive://hive/node/b/c"},
                                                                                      {"hive://hive/node/b", "hive://hive/node/c"},
                                                                                      {"https://hive/node/b"},
                                                                                      {"hive://hive/node/b%20"}}) {
    uris = others;
    EXPECT_EQ(verdict(good), "identity") << (others.empty() ? "" : others.front());
  }
  uris = {"spiffe://x/y", "hive://hive/node/b"};
  EXPECT_EQ(verdict(good), "");
}

TEST(WelcomeTest, MustComeFromWhoWasDialled) {
  const peer b{"b", node_generation{5}, "h:1"};
  EXPECT_FALSE(check_welcome(b, 1, "b", node_generation{5}));
  EXPECT_EQ(check_welcome(b, 1, "c", node_generation{5})->reason, "wrong_node");
  EXPECT_EQ(check_welcome(b, 1, "b", node_generation{6})->reason, "wrong_generation");
  EXPECT_EQ(check_welcome(b, 99, "b", node_generation{5})->reason, "version");
}

TEST(LinkNameTest, OnlyWhatNeedsNoEscaping) {
  EXPECT_TRUE(is_link_name("node-1.a_B"));
  for (const auto* bad : {"", "a/b", "a b", "\xc3\xa4", "a:1"}) EXPECT_FALSE(is_link_name(bad)) << bad;
  EXPECT_FALSE(is_link_name(std::string(64, 'a')));
}

} // namespace
} // namespace hive::cluster::links
