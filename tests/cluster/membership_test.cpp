// tests/cluster/membership_test.cpp mirrors cluster/membership.hpp: each rule by hand. tests/sim/cluster_sim_test.cpp has
// them all together, under trouble.
#include "cluster/membership.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace hive::cluster {
namespace {

using std::chrono::seconds;

constexpr node_generation me{10};

/// One node; the test is its store, its peers and its clock.
struct MembershipTest : testing::Test {
  shard_map map{6};
  lease_guard lease;
  config::cluster_settings settings;
  boot_time now{seconds{1'000}};
  tables t;
  std::unique_ptr<membership> m;
  commands out; // since the last `clear`
  std::map<std::uint64_t, store_call> open;

  MembershipTest() {
    for (std::uint16_t i = 0; i < 6; ++i) t.shards.push_back({shard_id{i}, {}, epoch{0}, {}});
    t.version = 1;
  }
  void make() {
    node_facts facts;
    facts.name = "me";
    m = std::make_unique<membership>(facts, node_generation{}, settings, map, lease, 7);
    take(m->start(now));
  }
  void take(commands&& c) {
    for (auto& x : c) {
      if (const auto* call = std::get_if<call_store>(&x)) open.emplace(call->number, call->what);
      out.push_back(std::move(x));
    }
  }
  void advance(milliseconds by) {
    for (auto left = by; left.count() > 0;) {
      const auto step = std::min(left, milliseconds{50});
      left -= step;
      now += step;
      for (auto& n : t.nodes) n.lease_left -= step;
      t.grace_left -= step;
      take(m->tick(now));
    }
  }
  template <class Call> std::vector<std::pair<std::uint64_t, Call>> asked() const {
    std::vector<std::pair<std::uint64_t, Call>> all;
    for (const auto& [number, what] : open)
      if (const auto* c = std::get_if<Call>(&what)) all.emplace_back(number, *c);
    return all;
  }
  template <class Call> void answer(store_answer with) {
    const auto all = asked<Call>();
    ASSERT_FALSE(all.empty()) << "no such call is open";
    open.erase(all.front().first);
    take(m->answered(all.front().first, with, now));
  }
  void fail_all() {
    auto all = std::move(open);
    open.clear();
    for (const auto& [number, what] : all) take(m->answered(number, store_failed{}, now));
  }
  template <class Order> std::vector<Order> orders() const {
    std::vector<Order> all;
    for (const auto& x : out)
      if (const auto* o = std::get_if<Order>(&x)) all.push_back(*o);
    return all;
  }
  template <class Message> std::vector<std::pair<node_generation, Message>> said() const {
    std::vector<std::pair<node_generation, Message>> all;
    for (const auto& s : orders<send_peer>())
      if (const auto* what = std::get_if<Message>(&s.what)) all.emplace_back(s.to, *what);
    return all;
  }
  void clear() { out.clear(); }

  node_row& row(node_generation g) {
    for (auto& n : t.nodes)
      if (n.generation == g) return n;
    node_row n;
    n.generation = g;
    n.facts.name = g == me ? "me" : "node-" + std::to_string(g.value());
    n.state = node_state::active;
    n.renewal = 1;
    n.lease_left = milliseconds{3'000};
    t.nodes.push_back(n);
    std::sort(t.nodes.begin(), t.nodes.end(), [](const auto& a, const auto& b) { return a.generation < b.generation; });
    return row(g);
  }
  void own(std::uint16_t shard, node_generation who, std::uint64_t e) {
    t.shards[shard].owner = who;
    t.shards[shard].fence = epoch{e};
  }
  void read() {
    if (asked<read_call>().empty()) take(m->hinted(now));
    answer<read_call>(tables_read{std::make_shared<tables>(t)});
  }
  void renew() {
    for (int i = 0; i < 40 && asked<renew_call>().empty(); ++i) advance(milliseconds{50});
    row(me).lease_left = milliseconds{3'000};
    answer<renew_call>(renewed{++row(me).renewal, t.version});
  }
  /// An active member; `others` are active and linked.
  void member(std::vector<std::uint64_t> others = {}) {
    make();
    answer<join_call>(joined{me});
    row(me);
    for (const auto o : others) row(node_generation{o});
    read();
    for (const auto o : others) take(m->linked(node_generation{o}, link_state::up, now));
    while (!asked<change_owners_call>().empty()) answer<change_owners_call>(owners_changed{}); // of shards that nobody has
    clear();
  }
  void dead(std::uint64_t who) {
    take(m->linked(node_generation{who}, link_state::closed, now));
    take(m->linked(node_generation{who}, link_state::refused, now));
  }
};

// -- clock

TEST(CompareClocks, CountsOnlyWhatNoSlownessOfTheAnswerExplains) {
  const wall_time t{seconds{1'000}};
  EXPECT_EQ(compare_clocks(t, t + seconds{1}, t + seconds{9}).ahead, milliseconds{0});
  EXPECT_EQ(compare_clocks(t, t - seconds{7}, t + seconds{9}).ahead, seconds{7});
  EXPECT_EQ(compare_clocks(t, t + seconds{12}, t + seconds{9}).ahead, -seconds{3});
}

TEST_F(MembershipTest, DoesNotJoinWhileItsClockDiffersAndSaysBothTimes) {
  make();
  EXPECT_EQ(asked<join_call>().front().second.clock_difference, settings.clock_difference);
  const clock_reading yesterday{wall_time{seconds{1'700'000'000}}, -std::chrono::hours{25}};
  answer<join_call>(clock_differs{yesterday});
  ASSERT_EQ(orders<hold>().size(), 1U);
  const auto why = orders<hold>().front().why;
  ASSERT_TRUE(why);
  EXPECT_EQ(why->reason, "clock_differs");
  for (const auto* part : {"2023-11-14T22:13:20Z", "2023-11-13T21:13:20Z", "90000000ms behind", "cluster.clock_difference"})
    EXPECT_NE(why->message.find(part), std::string::npos) << why->message;
  ASSERT_EQ(orders<report>().size(), 1U);
  EXPECT_TRUE(orders<report>().front().trouble);
  EXPECT_TRUE(asked<join_call>().empty()) << "not at once";
  advance(settings.renew_every);
  answer<join_call>(clock_differs{yesterday});
  EXPECT_EQ(orders<report>().size(), 1U) << "it is said once";
  advance(settings.renew_every);
  answer<join_call>(joined{me}); // somebody set it right
  row(me);
  read();
  EXPECT_TRUE(lease.held(now));
}

TEST_F(MembershipTest, AClockThatGoesWrongEndsTheGeneration) {
  member({1});
  while (asked<renew_call>().empty()) advance(milliseconds{50});
  answer<renew_call>(renewed{2, t.version, {wall_time{}, settings.clock_difference}});
  EXPECT_TRUE(lease.held(now)) << "as much is allowed";
  advance(settings.renew_every);
  answer<renew_call>(renewed{3, t.version, {wall_time{}, settings.clock_difference + milliseconds{1}}});
  EXPECT_FALSE(lease.held(now));
  ASSERT_EQ(orders<drop_everything>().size(), 1U);
  EXPECT_NE(orders<drop_everything>().front().why.find("ahead"), std::string::npos);
  EXPECT_EQ(m->self(), node_generation{});
  EXPECT_EQ(asked<join_call>().front().second.former, me);
}

TEST_F(MembershipTest, AClockThatWasSetIsComparedAtOnce) {
  member({1});
  renew();
  advance(milliseconds{50});
  ASSERT_TRUE(asked<renew_call>().empty());
  m->clock_moved(now);
  take(m->tick(now));
  EXPECT_EQ(asked<renew_call>().size(), 1U);
}

// -- its name

TEST_F(MembershipTest, SaysOnceThatAnotherProcessWantsItsName) {
  member({1});
  row(me).reason = "another process asks for this node's name";
  read();
  ASSERT_EQ(orders<report>().size(), 1U);
  EXPECT_EQ(orders<report>().front().event, "node_name_wanted");
  EXPECT_TRUE(orders<report>().front().trouble);
  EXPECT_TRUE(lease.held(now)) << "it lives, and has its name";
  clear();
  read();
  EXPECT_TRUE(orders<report>().empty());
}

TEST_F(MembershipTest, SaysWhyItsGenerationEnded) {
  member({1});
  row(me).state = node_state::dead;
  row(me).reason = "its connection is closed and refused for all its peers";
  read();
  ASSERT_EQ(orders<drop_everything>().size(), 1U);
  EXPECT_NE(orders<drop_everything>().front().why.find("refused for all its peers"), std::string::npos);
}

// -- timeline

TEST_F(MembershipTest, AnotherTimelineEndsTheGenerationOfANodeThatLostNothing) {
  t.timeline = 3;
  make();
  answer<join_call>(joined{me, 3});
  row(me);
  read();
  while (asked<renew_call>().empty()) advance(milliseconds{50});
  answer<renew_call>(renewed{2, t.version, {}, 3});
  EXPECT_TRUE(lease.held(now)) << "a server that only started again";
  while (asked<renew_call>().empty()) advance(milliseconds{50});
  clear();
  answer<renew_call>(renewed{3, t.version, {}, 4});
  EXPECT_FALSE(lease.held(now));
  EXPECT_EQ(orders<drop_everything>().size(), 1U);
  ASSERT_EQ(orders<report>().size(), 1U);
  EXPECT_EQ(orders<report>().front().event, "store_timeline_changed");
  EXPECT_EQ(m->self(), node_generation{});
}

TEST_F(MembershipTest, AReadFromAnotherTimelineEndsTheGenerationToo) {
  member({1});
  clear();
  t.timeline = 1;
  read();
  EXPECT_EQ(orders<drop_everything>().size(), 1U);
  EXPECT_TRUE(orders<set_peers>().empty()) << "nothing of it is believed";
}

TEST_F(MembershipTest, AGenerationOfAnOlderTimelineIsNoPeer) {
  constexpr node_generation anew{(std::uint64_t{2} << 40U) + 12};
  const node_generation other{(std::uint64_t{2} << 40U) + 13};
  const node_generation late{(std::uint64_t{1} << 40U) + 11};
  t.timeline = 2;
  make();
  answer<join_call>(joined{anew, 2});
  row(anew).facts.name = "me";
  row(other);
  row(late);
  read();
  ASSERT_EQ(orders<set_peers>().size(), 1U);
  ASSERT_EQ(orders<set_peers>().front().peers.size(), 1U);
  EXPECT_EQ(orders<set_peers>().front().peers.front().generation, other);
}

// -- lease

TEST_F(MembershipTest, AnswersOnlyAfterItHasReadTheTables) {
  make();
  answer<join_call>(joined{me});
  EXPECT_FALSE(lease.held(now));
  row(me);
  read();
  EXPECT_TRUE(lease.held(now));
  EXPECT_EQ(orders<go_on>().size(), 1U);
}

TEST_F(MembershipTest, CountsItsLeaseFromBeforeItAsked) {
  member();
  advance(milliseconds{1'000});
  ASSERT_FALSE(asked<renew_call>().empty());
  const auto sent = now;
  advance(milliseconds{600}); // the answer was long on its way
  answer<renew_call>(renewed{2, t.version});
  EXPECT_EQ(lease.until(), sent + settings.lease_ttl - settings.lease_margin);
}

TEST_F(MembershipTest, StopsBeforeItsLeaseCanHaveRunOut) {
  member();
  const auto until = lease.until();
  while (now < until - milliseconds{50}) advance(milliseconds{50});
  EXPECT_TRUE(orders<hold>().empty());
  advance(milliseconds{50});
  EXPECT_EQ(orders<hold>().size(), 1U);
  EXPECT_FALSE(lease.held(now));
}

TEST_F(MembershipTest, APausedNodeHoldsBeforeItDoesAnythingElse) {
  member({5});
  own(0, me, 1);
  read();
  clear();
  now += seconds{10}; // frozen; then the first thing that comes is a peer's question
  take(m->heard(node_generation{5}, look_again{}, now));
  ASSERT_FALSE(out.empty());
  EXPECT_TRUE(std::holds_alternative<hold>(out.front()));
}

TEST_F(MembershipTest, AfterAGapItReadsBeforeItGoesOn) {
  member({5});
  for (std::uint16_t i = 0; i < 6; ++i) own(i, me, 1);
  read();
  fail_all();
  advance(milliseconds{3'500});
  fail_all();
  advance(milliseconds{500});
  ASSERT_FALSE(m->serving());
  clear();
  own(0, node_generation{5}, 2); // somebody took one
  renew();
  EXPECT_FALSE(lease.held(now));
  if (asked<read_call>().empty()) advance(milliseconds{50});
  const bool early = !asked<read_call>().empty();
  ASSERT_TRUE(early);
  read();
  if (!m->serving()) read(); // the first one may have been sent before the renewal
  EXPECT_TRUE(lease.held(now));
  ASSERT_EQ(orders<stop_serving>().size(), 1U) << "only what was lost stops";
  EXPECT_EQ(orders<stop_serving>()[0].shard, shard_id{0});
  EXPECT_TRUE(orders<drop_everything>().empty());
}

TEST_F(MembershipTest, AnEndedGenerationDropsEverythingAndJoinsAnew) {
  member();
  own(0, me, 1);
  read();
  advance(milliseconds{1'000});
  answer<renew_call>(generation_ended{});
  EXPECT_EQ(orders<drop_everything>().size(), 1U);
  EXPECT_FALSE(lease.held(now));
  EXPECT_FALSE(map.find(shard_id{0}).here);
  ASSERT_EQ(asked<join_call>().size(), 1U);
  EXPECT_EQ(asked<join_call>()[0].second.former, me);
}

TEST_F(MembershipTest, AnswersOfAnOldGenerationAreVoid) {
  member();
  take(m->hinted(now));
  const auto old = asked<read_call>().at(0).first;
  take(m->store_forgot("batch 7", now));
  clear();
  take(m->answered(old, tables_read{std::make_shared<tables>(t)}, now));
  EXPECT_TRUE(out.empty());
}

TEST_F(MembershipTest, AStoreThatForgotIsReportedAndBeginsANewGeneration) {
  member();
  take(m->store_forgot("batch 7", now));
  EXPECT_EQ(orders<report>().at(0).event, "store_lost_commits");
  EXPECT_EQ(orders<drop_everything>().size(), 1U);
  EXPECT_EQ(asked<join_call>().size(), 1U);
}

TEST_F(MembershipTest, ATakenNameIsTriedForTwoLeasesThenTheProcessEnds) {
  make();
  for (int i = 0; i < 200 && orders<leave_process>().empty(); ++i) {
    if (!asked<join_call>().empty()) answer<join_call>(name_taken{milliseconds{2'500}});
    advance(milliseconds{50});
  }
  ASSERT_EQ(orders<leave_process>().size(), 1U);
  EXPECT_TRUE(orders<leave_process>()[0].failed);
  EXPECT_GE(now - boot_time{seconds{1'000}}, settings.lease_ttl * 2);
}

TEST_F(MembershipTest, AnotherShardCountEndsTheProcess) {
  make();
  answer<join_call>(joined{me});
  row(me);
  t.shards.pop_back();
  read();
  ASSERT_EQ(orders<leave_process>().size(), 1U);
  EXPECT_TRUE(orders<leave_process>()[0].failed);
}

// -- joining

TEST_F(MembershipTest, AJoinerBecomesActiveWhenMostReachIt) {
  make();
  answer<join_call>(joined{me});
  row(me).state = node_state::joining;
  for (const auto o : {3U, 4U, 5U}) row(node_generation{o});
  read();
  take(m->linked(node_generation{3}, link_state::up, now));
  read();
  EXPECT_TRUE(asked<change_state_call>().empty()) << "one of three";
  take(m->linked(node_generation{4}, link_state::up, now));
  read();
  ASSERT_EQ(asked<change_state_call>().size(), 1U);
  EXPECT_EQ(asked<change_state_call>()[0].second.to, node_state::active);
}

TEST_F(MembershipTest, TheFirstNodeNeedsNobody) {
  make();
  answer<join_call>(joined{me});
  row(me).state = node_state::joining;
  read();
  EXPECT_EQ(asked<change_state_call>().size(), 1U);
}

// -- shards

TEST_F(MembershipTest, ClaimsWhatNobodyHasAndServesWhatItGot) {
  member();
  read();
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  EXPECT_EQ(asked<change_owners_call>()[0].second.shards.size(), 6U);
  answer<change_owners_call>(owners_changed{{{shard_id{0}, me, epoch{1}, {}}, {shard_id{4}, me, epoch{1}, {}}}});
  EXPECT_EQ(orders<start_serving>().size(), 2U) << "the others were refused";
  EXPECT_TRUE(map.find(shard_id{4}).here);
  EXPECT_EQ(map.find(shard_id{4}).fence, epoch{1});
  EXPECT_FALSE(map.find(shard_id{1}).here);
}

TEST_F(MembershipTest, AnOlderReadDoesNotTakeAwayWhatWasClaimed) {
  member();
  read();
  take(m->hinted(now)); // reads before the claim is done, answers after it
  const auto old = std::make_shared<tables>(t);
  answer<change_owners_call>(owners_changed{{{shard_id{0}, me, epoch{1}, {}}}});
  clear();
  answer<read_call>(tables_read{old});
  EXPECT_TRUE(orders<stop_serving>().empty());
  EXPECT_TRUE(map.find(shard_id{0}).here);
}

TEST_F(MembershipTest, AShardThatWasAwayInBetweenBeginsAnew) {
  member({5});
  own(0, me, 1);
  read();
  clear();
  own(0, me, 3); // another node had it under epoch 2
  read();
  ASSERT_EQ(orders<stop_serving>().size(), 1U);
  ASSERT_EQ(orders<start_serving>().size(), 1U);
  EXPECT_EQ(orders<start_serving>()[0].fence, epoch{3});
}

TEST_F(MembershipTest, ANewOwnerBeginsAtItsPeersWord) {
  member({5});
  own(0, node_generation{5}, 1);
  read();
  clear();
  take(m->heard(node_generation{5}, shards_moved{{{shard_id{0}, me, epoch{2}, journal_position{77}}}}, now));
  ASSERT_EQ(orders<start_serving>().size(), 1U);
  EXPECT_EQ(orders<start_serving>()[0].first, journal_position{77});
}

TEST_F(MembershipTest, AStrangersWordIsNotTaken) {
  member({5});
  take(m->heard(node_generation{99}, shards_moved{{{shard_id{0}, me, epoch{2}, {}}}}, now));
  EXPECT_TRUE(orders<start_serving>().empty());
}

TEST_F(MembershipTest, AnOrphanThatItsChosenNodeDoesNotTakeGoesToTheNext) {
  member({5});
  for (std::uint16_t i = 0; i < 6; ++i) own(i, i < 3 ? me : node_generation{5}, 1);
  own(5, node_generation{4}, 1);
  row(node_generation{4}).state = node_state::dead;
  own(2, node_generation{5}, 1); // 5 has three, this node two: room is here or there
  read();
  const bool mine = !asked<change_owners_call>().empty();
  if (!mine) {
    for (int i = 0; i < 120 && asked<change_owners_call>().empty(); ++i) {
      advance(milliseconds{50});
      row(node_generation{5}).lease_left = row(me).lease_left = milliseconds{3'000};
      if (!asked<renew_call>().empty()) renew();
      if (!asked<read_call>().empty()) read();
    }
  }
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  EXPECT_EQ(asked<change_owners_call>()[0].second.shards.at(0).shard, shard_id{5});
}

// -- death

TEST_F(MembershipTest, EarlyDeathNeedsEveryPeer) {
  member({5, 6, 7});
  dead(5);
  const auto questions = said<agreement_question>();
  ASSERT_EQ(questions.size(), 2U);
  read(); // the renewal number
  take(m->heard(node_generation{6}, agreement_answer{questions[0].second.number, true}, now));
  EXPECT_TRUE(asked<declare_dead_call>().empty());
  take(m->heard(node_generation{7}, agreement_answer{questions[0].second.number, true}, now));
  ASSERT_EQ(asked<declare_dead_call>().size(), 1U);
  EXPECT_TRUE(asked<declare_dead_call>()[0].second.agreed);
  EXPECT_EQ(asked<declare_dead_call>()[0].second.renewal, 1U);
}

TEST_F(MembershipTest, OnePeerThatReachesItIsEnoughToLive) {
  member({5, 6, 7});
  dead(5);
  const auto number = said<agreement_question>().at(0).second.number;
  read();
  take(m->heard(node_generation{6}, agreement_answer{number, false}, now));
  take(m->heard(node_generation{7}, agreement_answer{number, true}, now));
  EXPECT_TRUE(asked<declare_dead_call>().empty());
}

TEST_F(MembershipTest, AgreementHasATimeLimit) {
  member({5, 6});
  dead(5);
  const auto number = said<agreement_question>().at(0).second.number;
  read();
  advance(settings.agreement_window + milliseconds{50});
  take(m->heard(node_generation{6}, agreement_answer{number, true}, now));
  EXPECT_TRUE(asked<declare_dead_call>().empty());
}

TEST_F(MembershipTest, TheRenewalNumberIsYoungerThanTheEvidence) {
  member({5});
  take(m->hinted(now)); // a read that is under way already
  advance(milliseconds{50});
  dead(5);
  answer<read_call>(tables_read{std::make_shared<tables>(t)});
  EXPECT_TRUE(asked<declare_dead_call>().empty());
  row(node_generation{5}).renewal = 9;
  read();
  ASSERT_EQ(asked<declare_dead_call>().size(), 1U);
  EXPECT_EQ(asked<declare_dead_call>()[0].second.renewal, 9U);
}

TEST_F(MembershipTest, SilenceAloneIsNoDeath) {
  member({5});
  take(m->linked(node_generation{5}, link_state::silent, now));
  read();
  take(m->linked(node_generation{5}, link_state::closed, now));
  read();
  EXPECT_TRUE(asked<declare_dead_call>().empty());
}

TEST_F(MembershipTest, QuestionsAreAnsweredByWhatIsSeen) {
  member({5, 6});
  take(m->heard(node_generation{6}, agreement_question{1, node_generation{5}}, now));
  EXPECT_TRUE(said<agreement_answer>().empty()) << "it may show in a moment";
  dead(5);
  ASSERT_EQ(said<agreement_answer>().size(), 1U);
  EXPECT_TRUE(said<agreement_answer>()[0].second.agreed);
  clear();
  take(m->linked(node_generation{5}, link_state::up, now));
  take(m->heard(node_generation{6}, agreement_question{2, node_generation{5}}, now));
  advance(settings.agreement_window);
  ASSERT_EQ(said<agreement_answer>().size(), 1U);
  EXPECT_FALSE(said<agreement_answer>()[0].second.agreed);
}

TEST_F(MembershipTest, ALapsedLeaseIsDeclared) {
  member({5, 11});
  row(node_generation{5}).lease_left = milliseconds{0};
  read();
  ASSERT_EQ(asked<declare_dead_call>().size(), 1U);
  EXPECT_FALSE(asked<declare_dead_call>()[0].second.agreed);
}

TEST_F(MembershipTest, WhoWasVotedOutDeclaresOthersWhenNoActiveOneIsLeft) {
  member({5, 6});
  row(me).state = node_state::draining;
  row(node_generation{5}).lease_left = milliseconds{0};
  read();
  EXPECT_TRUE(asked<declare_dead_call>().empty()) << "6 is there to do it";
  row(node_generation{6}).lease_left = milliseconds{0};
  read();
  advance(settings.reconcile_every);
  read();
  EXPECT_EQ(asked<declare_dead_call>().size(), 2U);
}

TEST_F(MembershipTest, OneNodeDeclaresTheOthersOnlyWhenItDoesNot) {
  member({5, 11});
  row(node_generation{11}).lease_left = milliseconds{0};
  read();
  EXPECT_TRUE(asked<declare_dead_call>().empty()) << "5 is older";
  advance(settings.reconcile_every);
  row(node_generation{5}).lease_left = row(me).lease_left = milliseconds{3'000};
  read();
  EXPECT_EQ(asked<declare_dead_call>().size(), 1U);
}

TEST_F(MembershipTest, TheTablesAreReadWhenALeaseMustHaveRunOut) {
  settings.reconcile_every = milliseconds{10'000};
  member({5});
  row(node_generation{5}).lease_left = milliseconds{700};
  read();
  open.clear();
  advance(milliseconds{650});
  EXPECT_TRUE(asked<read_call>().empty());
  advance(milliseconds{100});
  EXPECT_FALSE(asked<read_call>().empty());
}

TEST_F(MembershipTest, InTheGraceNothingIsTakenFromAnyone) {
  member({5});
  for (std::uint16_t i = 1; i < 6; ++i) own(i, node_generation{5}, 1); // and 0 is nobody's
  row(node_generation{5}).lease_left = milliseconds{0};
  t.grace_left = milliseconds{3'000};
  read();
  EXPECT_TRUE(asked<declare_dead_call>().empty());
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  EXPECT_EQ(asked<change_owners_call>()[0].second.shards.size(), 1U) << "only what nobody ever had";
  answer<change_owners_call>(owners_changed{});
  row(node_generation{5}).state = node_state::dead;
  read();
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  EXPECT_EQ(asked<change_owners_call>()[0].second.shards.size(), 1U);
  answer<change_owners_call>(owners_changed{});
  t.grace_left = milliseconds{0};
  read();
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  EXPECT_EQ(asked<change_owners_call>()[0].second.shards.size(), 6U);
}

TEST_F(MembershipTest, AfterAnOutageTheOthersGetOneLeaseToComeBack) {
  member({5});
  fail_all();
  while (m->serving()) {
    advance(milliseconds{50});
    fail_all();
  }
  renew();
  row(node_generation{5}).lease_left = milliseconds{0};
  read();
  if (!m->serving()) read();
  EXPECT_TRUE(asked<declare_dead_call>().empty());
  for (int i = 0; i < 80 && asked<declare_dead_call>().empty(); ++i) {
    advance(milliseconds{50});
    if (!asked<renew_call>().empty()) renew();
    if (!asked<read_call>().empty()) read();
  }
  EXPECT_EQ(asked<declare_dead_call>().size(), 1U);
}

// -- votes

TEST_F(MembershipTest, ANodeThatMostCannotReachIsDrained) {
  member({5, 6, 7});
  take(m->linked(node_generation{7}, link_state::silent, now));
  take(m->heard(node_generation{6}, votes{{node_generation{7}}}, now));
  read();
  EXPECT_TRUE(asked<change_state_call>().empty()) << "not for long enough";
  for (int i = 0; i < 110; ++i) {
    advance(milliseconds{50});
    for (auto& n : t.nodes) n.lease_left = milliseconds{3'000};
    if (!asked<renew_call>().empty()) renew();
    if (!asked<read_call>().empty()) read();
  }
  ASSERT_EQ(asked<change_state_call>().size(), 1U);
  EXPECT_EQ(asked<change_state_call>()[0].second.target, node_generation{7});
  EXPECT_EQ(asked<change_state_call>()[0].second.to, node_state::draining);
}

TEST_F(MembershipTest, VotesAreToldAndCountedAtOnce) {
  settings.reconcile_every = seconds{60};
  settings.lease_ttl = seconds{60};
  settings.renew_every = seconds{20};
  member({5, 6, 7});
  take(m->linked(node_generation{7}, link_state::silent, now));
  advance(settings.unreachable_after);
  EXPECT_EQ(said<votes>().size(), 2U) << "to each that is reached";
  for (auto& n : t.nodes) n.lease_left = seconds{60};
  read();
  EXPECT_TRUE(asked<change_state_call>().empty()) << "one vote of three";
  take(m->heard(node_generation{6}, votes{{node_generation{7}}}, now));
  read();
  EXPECT_EQ(asked<change_state_call>().size(), 1U);
}

struct PartitionTest : MembershipTest, testing::WithParamInterface<std::tuple<std::vector<std::uint64_t>, std::vector<std::uint64_t>, bool>> {
  bool votes_after_a_while() {
    const auto& [near, far, expected] = GetParam();
    std::vector<std::uint64_t> all = near;
    all.insert(all.end(), far.begin(), far.end());
    member(all);
    votes same;
    for (const auto f : far) same.unreachable.push_back(node_generation{f});
    for (const auto f : far) take(m->linked(node_generation{f}, link_state::silent, now));
    for (int i = 0; i < 130; ++i) {
      advance(milliseconds{50});
      for (auto& n : t.nodes) n.lease_left = milliseconds{3'000};
      for (const auto n : near) take(m->heard(node_generation{n}, same, now));
      if (!asked<renew_call>().empty()) renew();
      if (!asked<read_call>().empty()) read();
    }
    return !asked<change_state_call>().empty();
  }
};

TEST_P(PartitionTest, OnlyOneSideVotes) { EXPECT_EQ(votes_after_a_while(), std::get<2>(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Sides, PartitionTest,
                         testing::Values(std::make_tuple(std::vector<std::uint64_t>{}, std::vector<std::uint64_t>{11}, true), // two: the older one
                                         std::make_tuple(std::vector<std::uint64_t>{}, std::vector<std::uint64_t>{5}, false),
                                         std::make_tuple(std::vector<std::uint64_t>{}, std::vector<std::uint64_t>{5, 6}, false),
                                         std::make_tuple(std::vector<std::uint64_t>{5}, std::vector<std::uint64_t>{6, 7}, true), // has the oldest
                                         std::make_tuple(std::vector<std::uint64_t>{7}, std::vector<std::uint64_t>{5, 6}, false),
                                         std::make_tuple(std::vector<std::uint64_t>{5, 6}, std::vector<std::uint64_t>{7, 8}, true)));

TEST_F(MembershipTest, AVotedOutNodeComesBackWhenItIsReachedForAWhile) {
  member({5, 6});
  row(me).state = node_state::draining;
  for (std::uint16_t i = 0; i < 6; ++i) own(i, node_generation{5}, 1);
  read();
  EXPECT_TRUE(asked<change_state_call>().empty());
  take(m->linked(node_generation{5}, link_state::silent, now));
  take(m->linked(node_generation{5}, link_state::up, now)); // from here on
  bool early = false;
  for (int i = 0; i < 120 && asked<change_state_call>().empty(); ++i) {
    advance(milliseconds{50});
    for (auto& n : t.nodes) n.lease_left = milliseconds{3'000};
    if (!asked<renew_call>().empty()) renew();
    if (!asked<read_call>().empty()) read();
    early = early || (i < 90 && !asked<change_state_call>().empty());
  }
  EXPECT_FALSE(early);
  ASSERT_EQ(asked<change_state_call>().size(), 1U);
  EXPECT_EQ(asked<change_state_call>()[0].second.to, node_state::active);
}

// -- hand-off

struct HandOffTest : MembershipTest {
  HandOffTest() {
    member({5});
    for (std::uint16_t i = 0; i < 6; ++i) own(i, me, 1);
    read(); // 5 is empty: three of six go there
  }
};

TEST_F(HandOffTest, ReleasesThenHandsOverThenForwards) {
  const auto released = orders<release_shard>();
  ASSERT_EQ(released.size(), 3U);
  EXPECT_TRUE(map.find(released[0].shard).closing);
  EXPECT_TRUE(asked<change_owners_call>().empty()) << "turns still run";
  clear();
  take(m->quiet(released[0].shard, now));
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  answer<change_owners_call>(owners_changed{{{released[0].shard, node_generation{5}, epoch{2}, {}}}});
  ASSERT_EQ(orders<forward_shard>().size(), 1U);
  EXPECT_EQ(orders<forward_shard>()[0].fence, epoch{2});
  EXPECT_TRUE(orders<stop_serving>().empty());
  EXPECT_FALSE(map.find(released[0].shard).here);
  EXPECT_EQ(map.find(released[0].shard).owner, node_generation{5});
  EXPECT_EQ(said<shards_moved>().size(), 1U);
}

TEST_F(HandOffTest, ATurnThatDoesNotEndIsLeftBehind) {
  advance(settings.hand_off_grace + milliseconds{100});
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  EXPECT_EQ(asked<change_owners_call>()[0].second.shards.size(), 3U);
}

TEST_F(HandOffTest, ARefusedOneIsResumed) {
  const auto shard = orders<release_shard>()[0].shard;
  take(m->quiet(shard, now));
  answer<change_owners_call>(owners_changed{});
  ASSERT_EQ(orders<resume_shard>().size(), 1U);
  EXPECT_FALSE(map.find(shard).closing);
  EXPECT_TRUE(map.find(shard).here);
}

TEST_F(HandOffTest, AMissingAnswerRollsForwardByTheTables) {
  const auto shard = orders<release_shard>()[0].shard;
  take(m->quiet(shard, now));
  const auto call = asked<change_owners_call>().at(0);
  open.erase(call.first);
  take(m->answered(call.first, store_failed{}, now));
  clear();
  own(shard.value(), node_generation{5}, 2); // it had happened
  read();
  EXPECT_EQ(orders<forward_shard>().size(), 1U);
}

TEST_F(HandOffTest, AMissingAnswerIsTriedAgainWhenNothingHappened) {
  const auto shard = orders<release_shard>()[0].shard;
  take(m->quiet(shard, now));
  const auto call = asked<change_owners_call>().at(0);
  open.erase(call.first);
  take(m->answered(call.first, store_failed{}, now));
  read();
  advance(milliseconds{50});
  ASSERT_EQ(asked<change_owners_call>().size(), 1U);
  EXPECT_EQ(asked<change_owners_call>()[0].second.shards.at(0).shard, shard);
}

TEST_F(MembershipTest, MovesAreBounded) {
  settings.hand_offs = 2;
  member({5});
  for (std::uint16_t i = 0; i < 6; ++i) own(i, me, 1);
  read();
  EXPECT_EQ(orders<release_shard>().size(), 2U);
}

TEST_F(MembershipTest, WhatIsVotedOutHandsEverythingOffAtOnce) {
  settings.hand_offs = 2;
  member({5, 6});
  for (std::uint16_t i = 0; i < 6; ++i) own(i, me, 1);
  row(me).state = node_state::draining;
  for (const auto peer : {node_generation{5}, node_generation{6}}) take(m->linked(peer, link_state::silent, now));
  read();
  EXPECT_EQ(orders<release_shard>().size(), 6U) << "nobody reaches them here";
}

TEST_F(MembershipTest, WhileVersionsDifferNothingMovesForBalance) {
  member({5});
  row(node_generation{5}).facts.version = "2";
  for (std::uint16_t i = 0; i < 6; ++i) own(i, me, 1);
  read();
  EXPECT_TRUE(orders<release_shard>().empty());
}

TEST_F(MembershipTest, LeavingHandsEverythingOffThenEnds) {
  member({5});
  for (std::uint16_t i = 0; i < 6; ++i) own(i, i < 3 ? me : node_generation{5}, 1);
  read();
  take(m->leave(now));
  answer<change_state_call>(row_changed{true});
  row(me).state = node_state::draining;
  read();
  ASSERT_EQ(orders<release_shard>().size(), 3U);
  for (const auto& r : orders<release_shard>()) take(m->quiet(r.shard, now));
  for (auto calls = asked<change_owners_call>(); !calls.empty(); calls = asked<change_owners_call>()) {
    owners_changed done;
    for (const auto& i : calls[0].second.shards) {
      own(i.shard.value(), i.to, 2);
      done.rows.push_back(t.shards[i.shard.value()]);
    }
    answer<change_owners_call>(done);
  }
  read();
  ASSERT_EQ(asked<change_state_call>().size(), 1U);
  EXPECT_EQ(asked<change_state_call>()[0].second.to, node_state::left);
  answer<change_state_call>(row_changed{true});
  ASSERT_EQ(orders<leave_process>().size(), 1U);
  EXPECT_FALSE(orders<leave_process>()[0].failed);
}

TEST_F(MembershipTest, ASecondLeaveEndsAtOnce) {
  member({5});
  for (std::uint16_t i = 0; i < 6; ++i) own(i, me, 1);
  read();
  take(m->leave(now));
  EXPECT_TRUE(orders<leave_process>().empty());
  take(m->leave(now));
  EXPECT_EQ(orders<leave_process>().size(), 1U);
}

TEST_F(MembershipTest, ALastNodeLeavesWithItsShards) {
  member();
  for (std::uint16_t i = 0; i < 6; ++i) own(i, me, 1);
  read();
  take(m->leave(now));
  EXPECT_EQ(orders<leave_process>().size(), 1U);
}

} // namespace
} // namespace hive::cluster
