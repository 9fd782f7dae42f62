#include "actors/ask_ticket.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

struct heard {
  int answers = 0;
  std::vector<error> failures;
};

class recording_sink final : public reply_sink {
public:
  explicit recording_sink(heard& into) : heard_(into) {}
  void answered(ask_answer&&) override { ++heard_.answers; }
  void failed(error&& why, const std::string&) override { heard_.failures.push_back(std::move(why)); }

private:
  heard& heard_;
};

class AskTicketTest : public ::testing::Test {
protected:
  ticket_ref make(std::chrono::milliseconds left) {
    ticket_ref t(new ask_ticket(std::make_unique<recording_sink>(heard_), "k", clock_.steady_now() + left));
    wheel_.watch(t.get());
    return t;
  }
  manual_clock clock_;
  heard heard_;
  deadline_wheel wheel_{clock_};
};

TEST_F(AskTicketTest, IsAnsweredOnceAndTheLateEndIsIgnored) {
  auto t = make(std::chrono::milliseconds{100});
  t->answer({});
  t->fail({errc::internal, "late", ""});
  clock_.advance(std::chrono::seconds{1});
  wheel_.expire(clock_.steady_now());
  EXPECT_EQ(heard_.answers, 1);
  EXPECT_TRUE(heard_.failures.empty());
}

struct counting_gate final : ask_gate {
  int gone = 0;
  void left(tenant_id) noexcept override { ++gone; }
};

TEST_F(AskTicketTest, LeavesItsGateOnceHoweverItEnds) {
  counting_gate gate;
  auto waits = make(std::chrono::seconds{60});
  ASSERT_TRUE(waits->enter(gate, tenant_id{1}));
  waits->leave(); // its agent waits for a model
  EXPECT_EQ(gate.gone, 1);
  EXPECT_FALSE(waits->settled());
  waits->answer({});
  EXPECT_EQ(gate.gone, 1);

  auto answered = make(std::chrono::seconds{60});
  ASSERT_TRUE(answered->enter(gate, tenant_id{1}));
  answered->answer({});
  answered->leave();
  EXPECT_EQ(gate.gone, 2);

  auto late = make(std::chrono::milliseconds{10}); // its deadline passes while it waits at the door
  clock_.advance(std::chrono::seconds{1});
  wheel_.expire(clock_.steady_now());
  EXPECT_FALSE(late->enter(gate, tenant_id{1}));
  EXPECT_EQ(gate.gone, 2);
}

TEST_F(AskTicketTest, DeadlineOfWhatHasBegunSaysUnknownAndNeverEarly) {
  auto t = make(std::chrono::milliseconds{100});
  ASSERT_TRUE(t->begin());
  clock_.advance(std::chrono::milliseconds{99});
  wheel_.expire(clock_.steady_now());
  EXPECT_TRUE(heard_.failures.empty());
  clock_.advance(std::chrono::milliseconds{30});
  wheel_.expire(clock_.steady_now());
  ASSERT_EQ(heard_.failures.size(), 1U);
  EXPECT_EQ(heard_.failures[0].code, errc::unknown);
}

TEST_F(AskTicketTest, DeadlineOfWhatWaitsSaysRejectedAndThenItNeverBegins) {
  auto t = make(std::chrono::milliseconds{100});
  clock_.advance(std::chrono::milliseconds{130});
  wheel_.expire(clock_.steady_now());
  ASSERT_EQ(heard_.failures.size(), 1U);
  EXPECT_EQ(heard_.failures[0].code, errc::rejected);
  EXPECT_EQ(heard_.failures[0].reason, "expired");
  EXPECT_FALSE(t->begin());
  auto again = make(std::chrono::milliseconds{100}); // back in its lane after a commit that failed
  EXPECT_TRUE(again->begin());
  EXPECT_TRUE(again->begin());
}

TEST_F(AskTicketTest, DroppedMessageIsNeverSilent) {
  { auto t = make(std::chrono::seconds{10}); }
  ASSERT_EQ(heard_.failures.size(), 1U);
  EXPECT_EQ(heard_.failures[0].code, errc::unavailable);
}

TEST_F(AskTicketTest, LongDeadlinesOutliveTurnsOfTheWheel) {
  auto t = make(std::chrono::minutes{5});
  for (int i = 0; i < 299; ++i) {
    clock_.advance(std::chrono::seconds{1});
    wheel_.expire(clock_.steady_now());
  }
  EXPECT_TRUE(heard_.failures.empty());
  clock_.advance(std::chrono::seconds{2});
  wheel_.expire(clock_.steady_now());
  EXPECT_EQ(heard_.failures.size(), 1U);
}

} // namespace
} // namespace hive::actors
