// tests/cluster/link_book_test.cpp mirrors cluster/link_book.hpp
#include "cluster/link_book.hpp"

#include <gtest/gtest.h>

namespace hive::cluster {
namespace {

using links::link_event;

class LinkBookTest : public ::testing::Test {
protected:
  link_book::news hear(link_event::kind what, std::uint64_t life = 7, link_event::cause why = link_event::cause::none) {
    link_event e{};
    e.what = what;
    e.why = why;
    e.node = "b";
    e.generation = node_generation{life};
    return book_.hear(e);
  }
  link_book book_;
};

TEST_F(LinkBookTest, APeerIsUpWhenBothWaysAre) {
  EXPECT_FALSE(hear(link_event::kind::up).state);
  const auto n = hear(link_event::kind::incoming_up);
  ASSERT_TRUE(n.state);
  EXPECT_EQ(*n.state, link_state::up);
  EXPECT_EQ(n.peer, node_generation{7});
}

// Its words were lost meanwhile, and this node's own link tells nothing of that.
TEST_F(LinkBookTest, APeerThatWasNotHeardForAWhileIsToldAlsoWhenTheOwnLinkNeverBroke) {
  (void)hear(link_event::kind::up);
  EXPECT_EQ(hear(link_event::kind::incoming_up).heard, std::optional(true));
  const auto gone = hear(link_event::kind::incoming_down);
  EXPECT_EQ(gone.heard, std::optional(false));
  EXPECT_FALSE(gone.reached);
  EXPECT_EQ(gone.state, std::optional(link_state::silent));
  const auto back = hear(link_event::kind::incoming_up);
  EXPECT_EQ(back.heard, std::optional(true));
  EXPECT_FALSE(back.reached) << "nothing is to be sent again";
  EXPECT_EQ(back.state, std::optional(link_state::up));
}

TEST_F(LinkBookTest, ClosedThenRefusedMeansThatNobodyListensThere) {
  (void)hear(link_event::kind::up);
  (void)hear(link_event::kind::incoming_up);
  EXPECT_EQ(hear(link_event::kind::down, 7, link_event::cause::closed).state, std::optional(link_state::closed));
  EXPECT_EQ(hear(link_event::kind::unreachable, 7, link_event::cause::connection_refused).state, std::optional(link_state::refused));
  EXPECT_EQ(hear(link_event::kind::unreachable, 7, link_event::cause::timed_out).state, std::optional(link_state::silent));
}

TEST_F(LinkBookTest, TheEndOfAnEarlierLifeSaysNothingAboutTheNewOne) {
  (void)hear(link_event::kind::up, 8);
  (void)hear(link_event::kind::incoming_up, 8);
  EXPECT_FALSE(hear(link_event::kind::incoming_down, 7).state);
  EXPECT_FALSE(hear(link_event::kind::round_trip, 8).state);
  EXPECT_EQ(hear(link_event::kind::down, 8).state, std::optional(link_state::silent)) << "it was up until now";
}

} // namespace
} // namespace hive::cluster
