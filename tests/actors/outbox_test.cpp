// Durable messages between entities: once, in order, across crashes of either side. (R1, R6)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class OutboxTest : public KitTest {};

TEST_F(OutboxTest, SendsArriveOnceAndInOrder) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  kit->add_agent("l", "ledger");
  json ops = json::array();
  for (int i = 0; i < 200; ++i) ops.push_back(std::to_string(i));
  ASSERT_TRUE(kit->ask("p", "send", {{"to", "l"}, {"ops", ops}}));
  kit->settle();
  EXPECT_EQ(ops_of(*kit, "l"), ops);
  EXPECT_EQ(kit->explain("p").value("outbox", 0), 0) << "handled rows are let go";
}

TEST_F(OutboxTest, SendsSurviveACrashAtEveryCommit) {
  for (seed_ = 1; seed_ <= 3; ++seed_)
    crash_at_every_commit(
      [&] {
        auto kit = make();
        kit->add_agent("p", "puppet");
        kit->add_agent("l", "ledger");
        return kit;
      },
      [](testkit& kit) {
        EXPECT_TRUE(kit.ask_until_answered("p", "send", {{"to", "l"}, {"ops", {"a", "b", "c"}}}, "k1"));
        EXPECT_TRUE(kit.ask_until_answered("p", "send", {{"to", "l"}, {"ops", {"d", "e"}}}, "k2"));
      },
      [](testkit& kit) { EXPECT_EQ(ops_of(kit, "l"), json({"a", "b", "c", "d", "e"})); });
}

TEST_F(OutboxTest, AgentThatDoesNotExistFailsTheTurnAndNothingIsKept) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  const auto r = kit->ask("p", "send", {{"to", "nobody"}, {"ops", {"a"}}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "no_such_agent");
  EXPECT_NE(r.error().message.find("nobody"), std::string::npos);
}

TEST_F(OutboxTest, MessageThatCrashesItsReceiverBecomesADeadLetterAndTheNextOnesGoOn) {
  auto kit = make();
  kit->add_agent("r", "relay");
  kit->add_agent("l", "ledger");
  kit->add_agent("p", "puppet");
  // The ledger refuses an op that is too long, and takes the one behind it.
  ASSERT_TRUE(kit->ask("p", "send", {{"to", "l"}, {"ops", {std::string(5000, 'x'), "good"}}}));
  kit->settle();
  EXPECT_EQ(ops_of(*kit, "l"), json({"good"}));
  const auto letters = kit->reader().dead_letters(kit->context(), 0, 10);
  ASSERT_TRUE(letters);
  EXPECT_EQ(letters->size(), 1U);
}

TEST_F(OutboxTest, DeadLetterIsSentAgainOnceOrDropped) {
  auto kit = make();
  kit->add_agent("q", "puppet");
  kit->add_agent("p", "puppet");
  ASSERT_TRUE(kit->ask("p", "send", {{"to", "q"}, {"ops", {"a", "b"}}})); // a puppet takes no "append"
  kit->settle();
  auto letters = kit->reader().dead_letters(kit->context(), 0, 10);
  ASSERT_EQ(letters->size(), 2U);
  const auto newest = letters->front().number;
  EXPECT_TRUE(kit->admin("dead_letter.drop", {{"number", newest}}));
  EXPECT_EQ(kit->admin("dead_letter.drop", {{"number", newest}}).error().code, errc::not_found);
  const auto oldest = letters->back().number;
  EXPECT_TRUE(kit->admin("dead_letter.redrive", {{"number", oldest}}));
  EXPECT_EQ(kit->admin("dead_letter.redrive", {{"number", oldest}}).error().code, errc::not_found) << "once";
  kit->settle();
  letters = kit->reader().dead_letters(kit->context(), 0, 10);
  ASSERT_EQ(letters->size(), 1U) << "refused again, so a dead letter again";
  EXPECT_NE(letters->front().number, oldest);
  EXPECT_EQ(kit->admin("dead_letter.redrive", {{"number", 999'999}}).error().code, errc::not_found);
  EXPECT_EQ(kit->admin("dead_letter.redrive", json::object()).error().field, "number");
}

TEST_F(OutboxTest, FullOutboxRejectsTheTurnThatWouldOverfillIt) {
  config::settings s;
  s.entity.outbox_messages = 5;
  auto kit = make(s);
  kit->add_agent("p", "puppet");
  kit->add_agent("l", "ledger");
  const auto r = kit->ask("p", "send", {{"to", "l"}, {"ops", {"1", "2", "3", "4", "5", "6"}}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "outbox_full");
  EXPECT_EQ(ops_of(*kit, "l"), json::array()) << "not half of it";
}

} // namespace
} // namespace hive::actors
