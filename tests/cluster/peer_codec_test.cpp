// What memberships say to each other comes out of a frame as it went in; anything else is refused. (C1)
#include "cluster/peer_codec.hpp"
#include "config/base/random.hpp"

#include <gtest/gtest.h>

namespace hive::cluster {
namespace {

std::vector<peer_message> each() {
  const node_generation a{(std::uint64_t{7} << 40U) + 3};
  return {agreement_question{9, a}, agreement_answer{9, true}, agreement_answer{10, false}, look_again{},
          shards_moved{{{shard_id{3}, a, epoch{5}, journal_position{1}}, {shard_id{255}, node_generation{0}, epoch{~0ULL}, {}}}},
          votes{{a, node_generation{1}}}, votes{}};
}

TEST(PeerCodecTest, WhatIsSaidComesBack) {
  for (const auto& m : each()) {
    const auto back = decode_peer_message(encode(m));
    ASSERT_TRUE(back) << m.index();
    EXPECT_EQ(back->index(), m.index());
    EXPECT_EQ(encode(*back), encode(m));
  }
}

TEST(PeerCodecTest, TruncatedAndRandomBytesAreRefused) {
  for (const auto& m : each()) {
    const auto bytes = encode(m);
    for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_peer_message(std::string_view(bytes).substr(0, n))) << m.index() << " " << n;
  }
  random_source chance(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string noise(chance.below(40), '\0');
    for (auto& c : noise) c = static_cast<char>(chance.below(256));
    (void)decode_peer_message(noise); // must not crash, nor take memory for rows that are not there
  }
}

} // namespace
} // namespace hive::cluster
