#include "tests/cluster_links/link_fixture.hpp"

namespace hive::cluster::links {
namespace {

using kind = link_event::kind;
using cause = link_event::cause;

TEST_F(LinkTest, TellsArriveInOrderAndInBatches) {
  auto& a = node("a");
  auto& b = node("b");
  connect({&a, &b});
  constexpr int each = 20'000;
  std::vector<frame> frames;
  int refused = 0;
  for (int i = 0; i < each;) {
    frames.clear();
    for (int j = i; j < std::min(each, i + 100); ++j) frames.push_back({tenant_id{1U + static_cast<unsigned>(j) % 3}, std::to_string(j)});
    const auto told = a.links->tell("b", lane::data, frames);
    i += static_cast<int>(told.taken);
    if (told.why) {
      refused += 1;
      ASSERT_EQ(told.why->code, errc::resource_exhausted) << told.why->message;
      std::this_thread::sleep_for(milliseconds{1});
    }
  }
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == each; })) << b.frames.size();
  std::map<std::uint32_t, int> last;
  for (const auto& f : b.frames) {
    EXPECT_EQ(f.from, "a");
    const int n = std::stoi(f.body);
    const auto before = last.find(f.tenant);
    ASSERT_TRUE(before == last.end() || before->second < n) << "out of order";
    last[f.tenant] = n;
  }
  const auto c = a.links->counters();
  EXPECT_EQ(c.frames_sent, each);
  EXPECT_LT(c.batches_sent * 4, c.frames_sent);
  EXPECT_EQ(b.links->counters().frames_received, each);
}

TEST_F(LinkTest, RequestsEndWithTheAnswerOrTheErrorOfTheOtherSide) {
  auto& a = node("a");
  auto& b = node("b", 1);
  connect({&a, &b});
  for (const auto by : {lane::control, lane::data}) {
    asked q;
    a.links->request("b", by, {tenant_id{7}, "hello"}, in(seconds{5}), q.handler());
    const auto end = q.wait();
    ASSERT_TRUE(end && *end);
    EXPECT_EQ(**end, "re: hello");
  }
  {
    std::lock_guard lock(b.guard);
    b.answering = false;
    EXPECT_EQ(b.frames.back().tenant, 7U);
    EXPECT_GT(b.frames.back().time_left, milliseconds{4000});
    EXPECT_LE(b.frames.back().time_left, milliseconds{5000});
  }
  asked q;
  a.links->request("b", lane::data, {tenant_id{7}, "no"}, in(seconds{5}), q.handler());
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 3; }));
  const error full{errc::resource_exhausted, "mailbox_full", "agent x has too much to do", "agent/x", milliseconds{250}};
  b.links->answer(b.frames.back().reply, full);
  b.links->answer(b.frames.back().reply, std::string("twice"));
  const auto end = q.wait();
  ASSERT_TRUE(end && !*end);
  EXPECT_EQ(end->error().reason, "mailbox_full");
  EXPECT_EQ(end->error().retry_after, milliseconds{250});
  std::this_thread::sleep_for(milliseconds{50});
  EXPECT_EQ(q.calls(), 1);
}

TEST_F(LinkTest, LargeFramesAndAnswersPassAndTooLargeOnesAreNamed) {
  auto& a = node("a");
  auto& b = node("b");
  connect({&a, &b});
  const auto most = config::link_settings{}.frame_bytes;
  const std::string large(most - 4, 'x');
  asked q;
  a.links->request("b", lane::data, {tenant_id{1}, large}, in(seconds{10}), q.handler());
  const auto end = q.wait();
  ASSERT_TRUE(end && *end) << to_string(end->error());
  EXPECT_EQ((*end)->size(), large.size() + 4);
  const auto over = a.links->tell("b", lane::data, {tenant_id{1}, std::string(most + 1, 'x')});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().reason, "frame_too_large");
  asked more; // the answer adds four bytes
  a.links->request("b", lane::data, {tenant_id{1}, std::string(most - 3, 'x')}, in(seconds{10}), more.handler());
  const auto refused = more.wait();
  ASSERT_TRUE(refused && !*refused);
  EXPECT_EQ(refused->error().reason, "answer_too_large");
  EXPECT_TRUE(a.links->is_up("b"));
}

TEST_F(LinkTest, BulkFramesArriveWholeWhileHeartbeatsGoOn) {
  auto& a = node("a");
  auto& b = node("b");
  connect({&a, &b});
  std::string body(40 * 1024 * 1024, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 31 >> 3);
  ASSERT_TRUE(a.links->tell("b", lane::bulk, {tenant_id{1}, body}));
  ASSERT_TRUE(a.links->tell("b", lane::bulk, {tenant_id{2}, "small"}));
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 2; }));
  EXPECT_EQ(b.frames[0].by, lane::bulk);
  EXPECT_TRUE(b.frames[0].body == body);
  EXPECT_EQ(b.frames[1].body, "small");
  EXPECT_EQ(a.count(kind::down), 0U);
  asked q;
  a.links->request("b", lane::bulk, {tenant_id{1}, "x"}, in(seconds{1}), q.handler());
  EXPECT_EQ(q.wait()->error().code, errc::invalid_argument);
}

TEST_F(LinkTest, SlowReceiverHoldsItsSenderBackAndOneTenantNotTheOther) {
  const auto small = [](config::link_settings& s, identity&) {
    s.window_messages = 256;
    s.tenant_window_messages = 64;
    s.tenant_queue_messages = 100;
  };
  auto& a = node("a", 1, small);
  auto& b = node("b", 1, small);
  b.holding = true;
  connect({&a, &b});
  std::optional<error> full;
  int sent = 0;
  for (; sent < 10'000 && !full; ++sent)
    if (auto told = a.links->tell("b", lane::data, {tenant_id{1}, std::to_string(sent)}); !told) full = told.error();
  sent -= 1;
  ASSERT_TRUE(full);
  EXPECT_EQ(full->code, errc::resource_exhausted);
  EXPECT_EQ(full->reason, "tenant_full");
  EXPECT_NE(full->message.find("tenant 1"), std::string::npos) << full->message;
  ASSERT_TRUE(b.wait([&] { return b.frames.size() >= 64; }));
  std::this_thread::sleep_for(milliseconds{100});
  EXPECT_EQ(b.frames.size(), 64U) << "no more than its window";
  ASSERT_TRUE(a.links->tell("b", lane::data, {tenant_id{2}, "other"}));
  EXPECT_TRUE(b.wait([&] { return b.frames.back().body == "other"; }));
  b.release();
  EXPECT_TRUE(b.wait([&] { return b.frames.size() == static_cast<std::size_t>(sent) + 1; })) << b.frames.size() << " of " << sent;
  EXPECT_EQ(a.count(kind::down), 0U);
}

TEST_F(LinkTest, SlowReceiverDoesNotDelayHeartbeats) {
  auto& a = node("a");
  nodes.push_back(std::make_unique<test_node>(dir, authority, "b", 1));
  auto& b = *nodes.back();
  std::atomic<bool> blocked{true};
  b.by_hand = [&](const received_batch& batch) { // against the rules: the data thread of b stands still
    while (batch.by == lane::data && blocked) std::this_thread::sleep_for(milliseconds{5});
  };
  ASSERT_TRUE(b.start());
  connect({&a, &b});
  {
    std::lock_guard lock(a.guard);
    a.events.clear();
  }
  const auto until = std::chrono::steady_clock::now() + milliseconds{2'000};
  const std::string body(1000, 'x');
  while (std::chrono::steady_clock::now() < until) // as much as goes in
    if (!a.links->tell("b", lane::data, {tenant_id{1}, body})) std::this_thread::sleep_for(milliseconds{1});
  blocked = false;
  EXPECT_EQ(a.count(kind::down), 0U);
  EXPECT_GT(a.count(kind::round_trip), 20U) << "of 40";
  std::chrono::microseconds worst{};
  std::lock_guard lock(a.guard);
  for (const auto& e : a.events)
    if (e.what == kind::round_trip) worst = std::max(worst, e.rtt);
  EXPECT_LT(worst.count(), 200'000);
}

TEST_F(LinkTest, NewGenerationFailsWhatWaitsForTheOldOneAtOnce) {
  auto& a = node("a");
  auto& b = node("b");
  b.answering = false;
  connect({&a, &b});
  asked q;
  a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{60}), q.handler());
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 1; }));
  auto newer = b.as_peer();
  newer.generation = node_generation{2};
  const auto began = std::chrono::steady_clock::now();
  a.links->set_peers({newer});
  const auto end = q.wait();
  ASSERT_TRUE(end && !*end);
  EXPECT_EQ(end->error().code, errc::unknown);
  EXPECT_EQ(end->error().reason, "peer_replaced");
  EXPECT_LT(q.at() - began, milliseconds{500});
  const auto no = a.wait_event(kind::refused, "b");
  ASSERT_TRUE(no);
  EXPECT_EQ(no->reason, "wrong_generation");
  EXPECT_EQ(a.wait_event(kind::down, "b")->why, cause::replaced);
}

TEST_F(LinkTest, DeathOfThePeerFailsWhatWaitsAtOnceAndItIsFoundAgain) {
  auto& a = node("a");
  auto& b = node("b");
  b.answering = false;
  connect({&a, &b});
  asked q;
  a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{60}), q.handler());
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 1; }));
  const auto address = b.as_peer().address;
  const auto began = std::chrono::steady_clock::now();
  b.stop();
  const auto end = q.wait();
  ASSERT_TRUE(end && !*end);
  EXPECT_EQ(end->error().code, errc::unknown);
  EXPECT_EQ(end->error().reason, "link_lost");
  EXPECT_LT(q.at() - began, milliseconds{1000});
  EXPECT_EQ(a.wait_event(kind::down, "b")->why, cause::closed);
  const auto gone = a.wait_event(kind::unreachable, "b");
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->why, cause::connection_refused) << gone->message;
  asked down;
  a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{60}), down.handler());
  EXPECT_EQ(down.wait()->error().code, errc::unavailable);
  EXPECT_EQ(a.links->tell("b", lane::data, {tenant_id{1}, "?"}).error().reason, "link_down");
  EXPECT_EQ(a.links->tell("nobody", lane::data, {tenant_id{1}, "?"}).error().reason, "link_down");

  b.settings.listen = address; // the same port, the next life
  b.self.generation = node_generation{2};
  b.answering = true;
  ASSERT_TRUE(b.start());
  connect({&a, &b});
  asked again;
  a.links->request("b", lane::data, {tenant_id{1}, "back"}, in(seconds{5}), again.handler());
  EXPECT_EQ(**again.wait(), "re: back");
}

TEST_F(LinkTest, DeadlinesEndRequests) {
  auto& a = node("a");
  auto& b = node("b");
  b.answering = false;
  connect({&a, &b});
  asked q;
  const auto began = std::chrono::steady_clock::now();
  a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(milliseconds{200}), q.handler());
  const auto end = q.wait();
  ASSERT_TRUE(end && !*end);
  EXPECT_EQ(end->error().code, errc::unknown);
  EXPECT_EQ(end->error().reason, "deadline");
  EXPECT_GE(q.at() - began, milliseconds{200});
  EXPECT_LT(q.at() - began, milliseconds{600});
  asked late;
  a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(-milliseconds{1}), late.handler());
  EXPECT_EQ(late.wait()->error().code, errc::rejected);
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 1; }));
  b.links->answer(b.frames[0].reply, std::string("too late"));
  std::this_thread::sleep_for(milliseconds{50});
  EXPECT_EQ(q.calls(), 1);
}

TEST_F(LinkTest, SilentPeerIsDown) {
  auto& a = node("a");
  auto& b = node("b", 1, [](config::link_settings& s, identity&) { s.heartbeat_timeout = milliseconds{60'000}; });
  std::atomic<bool> blocked{true};
  nodes.push_back(std::make_unique<test_node>(dir, authority, "c", 1));
  auto& c = *nodes.back();
  c.by_hand = [&](const received_batch& batch) { // the thread that answers heartbeats stands still
    while (batch.by == lane::control && blocked) std::this_thread::sleep_for(milliseconds{5});
  };
  ASSERT_TRUE(c.start());
  connect({&a, &b, &c});
  ASSERT_TRUE(a.links->tell("c", lane::control, {tenant_id{0}, "stop"}));
  const auto down = a.wait_event(kind::down, "c", milliseconds{3000});
  blocked = false;
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why, cause::silent);
  EXPECT_TRUE(a.links->is_up("b"));
  EXPECT_TRUE(a.wait_up("c")) << "and back when it speaks again";
}

TEST_F(LinkTest, ManyRequestsAreBoundedAndNoneIsLost) {
  auto& a = node("a", 1, [](config::link_settings& s, identity&) { s.requests = 50; });
  auto& b = node("b", 1, [](config::link_settings& s, identity&) { s.requests = 50; });
  b.answering = false;
  connect({&a, &b});
  std::vector<asked> all(60);
  for (auto& q : all) a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{20}), q.handler());
  for (std::size_t i = 50; i < 60; ++i) EXPECT_EQ(all[i].wait()->error().reason, "requests_full");
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 50; }));
  for (const auto& f : b.frames) b.links->answer(f.reply, std::string("ok"));
  for (std::size_t i = 0; i < 50; ++i) ASSERT_TRUE(*all[i].wait());
  EXPECT_EQ(a.links->counters().answers_received, 50U);
  EXPECT_EQ(a.links->status().at(0).requests, 0U);
}

// Other bounds than the peer's are no breach of anything: the link is all tenants'.
TEST_F(LinkTest, RequestsBeyondWhatThePeerTakesAreRefusedAndTheLinkStays) {
  auto& a = node("a", 1, [](config::link_settings& s, identity&) { s.requests = 50; });
  auto& b = node("b", 1, [](config::link_settings& s, identity&) { s.requests = 5; });
  b.answering = false;
  connect({&a, &b});
  std::vector<asked> all(8);
  for (auto& q : all) a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{20}), q.handler());
  for (std::size_t i = 5; i < 8; ++i) {
    const auto end = all[i].wait();
    ASSERT_TRUE(end && !*end);
    EXPECT_EQ(end->error().code, errc::resource_exhausted) << to_string(end->error());
    EXPECT_EQ(end->error().reason, "requests_full");
  }
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 5; }));
  for (const auto& f : b.frames) b.links->answer(f.reply, std::string("ok"));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_TRUE(*all[i].wait());
  EXPECT_EQ(a.count(kind::down), 0U);
  EXPECT_EQ(b.links->counters().protocol_errors, 0U);
  asked again;
  a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{20}), again.handler());
  EXPECT_TRUE(b.wait([&] { return b.frames.size() == 6; })) << "credits of the refused ones came back too";
}

// One tenant's asks to agents that are busy: the asker gives up, and asks the next ones.
TEST_F(LinkTest, RequestsThatTheirAskersGaveUpDoNotCountAtThePeer) {
  const auto bounded = [](config::link_settings& s, identity&) { s.requests = 50; };
  auto& a = node("a", 1, bounded);
  auto& b = node("b", 1, bounded);
  b.answering = false;
  connect({&a, &b});
  for (int round = 0; round < 4; ++round) {
    std::vector<asked> all(50);
    for (auto& q : all) a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(milliseconds{100}), q.handler());
    for (auto& q : all) ASSERT_EQ(q.wait()->error().reason, "deadline") << "round " << round;
    std::this_thread::sleep_for(milliseconds{150}); // it came a little later than it was sent
  }
  EXPECT_TRUE(b.wait([&] { return b.frames.size() == 200; }));
  EXPECT_EQ(a.count(kind::down), 0U);
  EXPECT_EQ(b.links->counters().protocol_errors, 0U);
}

TEST_F(LinkTest, OneTenantsRequestsLeaveRoomForOthers) {
  auto& a = node("a", 1, [](config::link_settings& s, identity&) { s.requests = 50, s.tenant_requests = 20; });
  auto& b = node("b");
  b.answering = false;
  connect({&a, &b});
  std::vector<asked> first(25), second(20);
  for (auto& q : first) a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{20}), q.handler());
  for (auto& q : second) a.links->request("b", lane::data, {tenant_id{2}, "?"}, in(seconds{20}), q.handler());
  for (std::size_t i = 20; i < 25; ++i) EXPECT_EQ(first[i].wait()->error().reason, "tenant_requests_full");
  ASSERT_TRUE(b.wait([&] { return b.frames.size() == 40; }));
  for (const auto& f : b.frames) b.links->answer(f.reply, std::string("ok"));
  for (auto& q : second) EXPECT_TRUE(*q.wait());
}

TEST_F(LinkTest, StopEndsEverythingThatWaits) {
  auto& a = node("a");
  auto& b = node("b");
  b.answering = false;
  connect({&a, &b});
  std::vector<asked> all(10);
  for (auto& q : all) a.links->request("b", lane::data, {tenant_id{1}, "?"}, in(seconds{60}), q.handler());
  a.links->stop();
  a.links->stop();
  for (auto& q : all) {
    EXPECT_EQ(q.calls(), 1);
    EXPECT_FALSE(*q.wait());
  }
  EXPECT_FALSE(a.links->tell("b", lane::data, {tenant_id{1}, "x"}));
  EXPECT_TRUE(b.wait_event(kind::incoming_down, "a"));
}

TEST_F(LinkTest, ListenerMaySendAndChangePeersFromInside) {
  auto& a = node("a");
  nodes.push_back(std::make_unique<test_node>(dir, authority, "b", 1));
  auto& b = *nodes.back();
  b.by_hand = [&](const received_batch& batch) {
    for (const auto& f : batch.frames) (void)b.links->tell("a", lane::data, {f.tenant, "back: " + std::string(f.body)});
    b.links->set_peers({a.as_peer()});
    (void)b.links->status();
  };
  ASSERT_TRUE(b.start());
  connect({&a, &b});
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(a.links->tell("b", lane::data, {tenant_id{1}, std::to_string(i)}));
  EXPECT_TRUE(a.wait([&] { return a.frames.size() == 100; }));
  b.links->stop(); // while it may be in there
}

TEST_F(LinkTest, BatchHeldBeyondTheLifeOfTheLinksIsHarmless) {
  auto& a = node("a");
  auto& b = node("b");
  b.holding = true;
  connect({&a, &b});
  ASSERT_TRUE(a.links->tell("b", lane::data, {tenant_id{1}, "kept"}));
  ASSERT_TRUE(b.wait([&] { return b.held.size() == 1; }));
  const auto kept = b.held[0];
  b.links.reset();
  b.release();
  EXPECT_EQ(kept->frames[0].body, "kept");
}

// -- who is let in

TEST_F(LinkTest, NodeThatTheListDoesNotNameComesInWhenItDoes) {
  auto& a = node("a");
  auto& b = node("b");
  b.links->set_peers({a.as_peer()});
  const auto no = b.wait_event(kind::refused, "a");
  ASSERT_TRUE(no);
  EXPECT_EQ(no->reason, "not_a_member");
  const auto knock = a.wait_event(kind::incoming_refused, "b");
  ASSERT_TRUE(knock);
  EXPECT_EQ(knock->reason, "not_a_member");
  a.links->set_peers({b.as_peer()});
  EXPECT_TRUE(b.wait_up("a"));
  EXPECT_TRUE(a.wait_event(kind::incoming_up, "b"));
  a.links->set_peers({});
  EXPECT_TRUE(b.wait_event(kind::down, "a")) << "and goes when it does not any more";
}

TEST_F(LinkTest, OlderOfTwoNodesWithOneIdentityIsRefusedAndTheOtherUnharmed) {
  auto& a = node("a");
  auto& b = node("b", 5);
  connect({&a, &b});
  auto& old = node("b", 4);
  old.links->set_peers({a.as_peer()});
  const auto no = old.wait_event(kind::refused, "a");
  ASSERT_TRUE(no);
  EXPECT_EQ(no->reason, "superseded");
  EXPECT_NE(no->message.find("generation 5"), std::string::npos) << no->message;
  asked q;
  a.links->request("b", lane::data, {tenant_id{1}, "you?"}, in(seconds{5}), q.handler());
  EXPECT_EQ(**q.wait(), "re: you?");
  EXPECT_EQ(a.count(kind::down), 0U);
  EXPECT_EQ(a.count(kind::incoming_down), 0U);
  EXPECT_GT(a.links->counters().handshakes_refused, 0U);
}

TEST_F(LinkTest, AnotherHivesDataCellOrVersionIsRefusedByName) {
  auto& a = node("a");
  auto& b = node("b", 1, [](config::link_settings&, identity& me) { me.store = "another"; });
  auto& c = node("c", 1, [](config::link_settings&, identity& me) { me.cell = "cell-2"; });
  a.links->set_peers({b.as_peer(), c.as_peer()});
  b.links->set_peers({a.as_peer()});
  c.links->set_peers({a.as_peer()});
  EXPECT_EQ(b.wait_event(kind::refused, "a")->reason, "foreign_store");
  EXPECT_EQ(a.wait_event(kind::refused, "b")->reason, "foreign_store");
  EXPECT_EQ(c.wait_event(kind::refused, "a")->reason, "foreign_cell");
  EXPECT_FALSE(a.links->is_up("b"));
}

TEST_F(LinkTest, WrongNodeAtAnAddressIsNotSpokenTo) {
  auto& a = node("a");
  auto& b = node("b");
  auto& c = node("c");
  auto mistaken = c.as_peer();
  mistaken.address = b.as_peer().address;
  a.links->set_peers({mistaken});
  b.links->set_peers({a.as_peer()});
  const auto no = a.wait_event(kind::unreachable, "c");
  ASSERT_TRUE(no) << "the certificate names another node";
  EXPECT_FALSE(a.links->is_up("c"));
}

// -- bad settings

TEST_F(LinkTest, BadCertificateFilesStopTheStartWithTheSetting) {
  const auto start = [&](const std::function<void(test_node&)>& spoil) {
    test_node n(dir, authority, "a", 1);
    spoil(n);
    const auto started = n.start();
    EXPECT_FALSE(started);
    return started ? error{} : started.error();
  };
  const test_authority foreign("other");
  EXPECT_EQ(start([](auto& n) { n.settings.ca_file = ""; }).field, "cluster.link.ca_file");
  EXPECT_EQ(start([](auto& n) { n.settings.key_file = "/no/such"; }).field, "cluster.link.key_file");
  EXPECT_EQ(start([](auto& n) { write_file(n.settings.certificate_file, "nonsense"); }).field, "cluster.link.certificate_file");
  EXPECT_EQ(start([&](auto& n) { write_file(n.settings.key_file, authority.node("a").key); }).field, "cluster.link.key_file");
  const auto expired = start([&](auto& n) { n.use(authority, authority.node("a", "hive-1", -hours{5}, -hours{1})); });
  EXPECT_NE(expired.message.find("expired"), std::string::npos) << expired.message;
  const auto early = start([&](auto& n) { n.use(authority, authority.node("a", "hive-1", hours{1}, hours{2})); });
  EXPECT_NE(early.message.find("not valid before"), std::string::npos) << early.message;
  const auto strange = start([&](auto& n) { n.use(authority, foreign.node("a")); });
  EXPECT_NE(strange.message.find("not signed"), std::string::npos) << strange.message;
  const auto other = start([&](auto& n) { n.use(authority, authority.node("z")); });
  EXPECT_NE(other.message.find("hive://hive-1/node/a"), std::string::npos) << other.message;
}

TEST_F(LinkTest, PortThatIsTakenStopsTheStart) {
  auto& a = node("a");
  test_node b(dir, authority, "b", 1);
  b.settings.listen = a.as_peer().address;
  const auto started = b.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().field, "cluster.listen");
}

} // namespace
} // namespace hive::cluster::links
