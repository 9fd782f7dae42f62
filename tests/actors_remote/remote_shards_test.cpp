// Two nodes over real links: what one tells the other's shards, and what becomes of it when links or shards do not take it.
// (C1, C5)
#include "actors/remote/remote_shards.hpp"
#include "tests/cluster_links/link_fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/kit.hpp"

#include <future>

namespace hive::actors::remote {
namespace {

using namespace std::chrono_literals;
namespace links = cluster::links;

/// What one node has besides its links. Its shards take nothing by themselves: what is posted to them is kept.
struct half {
  explicit half(links::test_node& of) : node(of) {
    node.answering = false;
    node.by_hand = [this](const links::received_batch& batch) {
      if (batch.by == links::lane::data) remote.received(batch);
    };
  }
  std::size_t in_shards() {
    std::lock_guard lock(guard);
    return posted.size();
  }

  links::test_node& node;
  test::test_contexts contexts;
  cluster::shard_map map{64};
  deadline_wheel wheel{node.clock};
  remote_shards remote{remote_parts{node.clock, contexts, map,
                                    [this](shard_id, std::unique_ptr<shard_op> op) {
                                      std::lock_guard lock(guard);
                                      posted.push_back(std::move(op));
                                    },
                                    [](shard_id) { return std::optional<error>(); }, [this](ask_ticket& t) { wheel.watch(&t); }, 1000}};
  std::mutex guard;
  std::vector<std::unique_ptr<shard_op>> posted; // their tickets answer by `remote`
};

class RemoteShardsTest : public links::LinkTest {
protected:
  ~RemoteShardsTest() override {
    for (auto& n : nodes) n->stop(); // no callback into the halves any more
  }
  static void narrow(config::link_settings& s, links::identity&) {
    s.queue_messages = s.tenant_queue_messages = 16;
    s.window_messages = s.tenant_window_messages = 16;
  }
  /// "a" and "b", connected; every shard is b's.
  void begin(const change& with = {}) {
    for (const std::string name : {"a", "b"}) nodes.push_back(std::make_unique<links::test_node>(dir, authority, name, name == "a" ? 1 : 2, with));
    a_ = std::make_unique<half>(*nodes[0]);
    b_ = std::make_unique<half>(*nodes[1]);
    for (auto* h : {a_.get(), b_.get()}) {
      const auto counts = [](std::atomic<int>& n) {
        return [&n](tenant_context, const std::string&, std::chrono::milliseconds, const remote_shards::answer_to&) { ++n; };
      };
      h->remote.handle("noise", counts(noise));
      h->remote.handle("change", counts(told));
      h->remote.handle(missed_something, counts(missed));
      ASSERT_TRUE(h->node.start());
    }
    connect({nodes[0].get(), nodes[1].get()});
    for (auto* h : {a_.get(), b_.get()}) {
      h->remote.connect(h->node.links.get());
      h->remote.set_peers({{node_generation{1}, "a"}, {node_generation{2}, "b"}}, node_generation{h == a_.get() ? 1U : 2U});
      for (std::uint16_t i = 0; i < h->map.size(); ++i) h->map.learn(shard_id{i}, node_generation{2}, epoch{1});
    }
    for (std::uint16_t i = 0; i < b_->map.size(); ++i) b_->map.serve(shard_id{i}, true, false);
  }
  template <class Condition> static bool eventually(Condition&& holds, std::chrono::milliseconds most = 10s) { return test::eventually(holds, most); }
  /// From a to an agent of b.
  std::future<result<ask_answer>> ask(std::chrono::milliseconds left, ask_gate* gate = nullptr) {
    auto heard = std::make_shared<std::promise<result<ask_answer>>>();
    auto end = heard->get_future();
    const entity_id to{tenant_id{3}, 77};
    auto e = std::make_unique<envelope>(a_->contexts.restore(tenant_id{3}, "key:x"), to, envelope::origin::ask);
    e->type = "do";
    e->ticket = ticket_ref(new ask_ticket(on_reply([heard](result<ask_answer> r) { heard->set_value(std::move(r)); }), "k", a_->node.clock.steady_now() + left));
    e->deadline = e->ticket->deadline();
    a_->wheel.watch(e->ticket.get());
    if (gate) (void)e->ticket->enter(*gate, to.tenant());
    a_->remote.forward(shard_of(to, a_->map.size()), std::move(e));
    return end;
  }
  tenant_context hive_itself() { return a_->contexts.restore(system_tenant, "system"); }

  std::atomic<int> noise{0}, told{0}, missed{0}; // heard, by name of the word
  std::unique_ptr<half> a_, b_;
};

// A key is deleted here while the queue to a peer is full: the peer must not go by it for ever.
TEST_F(RemoteShardsTest, APeerThatCouldNotBeToldOfAChangeHearsThatItMissedSomething) {
  ASSERT_NO_FATAL_FAILURE(begin(narrow));
  {
    std::lock_guard lock(b_->node.guard);
    b_->node.holding = true; // a peer that does not come to its turn
  }
  for (int i = 0; i < 100; ++i) a_->remote.tell_all("noise", hive_itself(), "x");
  ASSERT_TRUE(eventually([&] { return nodes[0]->links->status().at(0).queued_frames == 16; }));
  a_->remote.tell_all_surely("change", hive_itself(), "k");
  a_->remote.tick();
  EXPECT_EQ(missed, 0) << "there is no room for that word either";
  b_->node.release();
  EXPECT_TRUE(eventually([&] {
    a_->remote.tick();
    return missed != 0;
  }));
  EXPECT_EQ(told, 0);
  std::this_thread::sleep_for(20ms);
  a_->remote.tick();
  EXPECT_EQ(missed, 1) << "once";
  a_->remote.tell_all_surely("change", hive_itself(), "k");
  EXPECT_TRUE(eventually([&] { return told == 1; }));
}

// Posted at once, it would come back at once: a worker would do nothing else until the shard is in its place.
TEST_F(RemoteShardsTest, WhatAShardOfThisNodeDoesNotTakeYetIsToldAgainAfterAPause) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const entity_id somebody{tenant_id{3}, 77};
  const auto shard = shard_of(somebody, b_->map.size());
  for (int i = 0; i < 5; ++i) b_->remote.forward(shard, std::make_unique<note_op>(somebody, persistence::event_row{"t", "s", "{}"}));
  EXPECT_EQ(b_->in_shards(), 0U);
  b_->remote.tick();
  EXPECT_EQ(b_->in_shards(), 0U) << "not yet";
  EXPECT_TRUE(eventually([&] {
    b_->remote.tick();
    return b_->in_shards() == 5;
  }));
}

struct counting_gate final : ask_gate {
  std::atomic<int> gone{0};
  void left(tenant_id) noexcept override { ++gone; }
};

TEST_F(RemoteShardsTest, AnAskThatWentToAnotherNodeHoldsNoPlaceAtThisOne) {
  ASSERT_NO_FATAL_FAILURE(begin());
  counting_gate gate;
  auto end = ask(20s, &gate);
  EXPECT_EQ(gate.gone, 1) << "its agent, at the other node, may take its time";
  ASSERT_TRUE(eventually([&] { return b_->in_shards() == 1; }));
  EXPECT_EQ(end.wait_for(0s), std::future_status::timeout);
  static_cast<envelope&>(*b_->posted.front()).ticket->answer({});
  EXPECT_TRUE(end.get());
  EXPECT_EQ(gate.gone, 1);
}

// The agent is busy and comes to it later, or never: nobody waits any more, and it must not be done then.
TEST_F(RemoteShardsTest, AnAskThatWaitsInAMailboxOfAnotherNodeEndsThereWhenItsTimeIsUp) {
  ASSERT_NO_FATAL_FAILURE(begin());
  auto end = ask(200ms);
  ASSERT_TRUE(eventually([&] { return b_->in_shards() == 1; }));
  auto& waits = *static_cast<envelope&>(*b_->posted.front()).ticket.get();
  EXPECT_FALSE(waits.settled());
  EXPECT_FALSE(end.get());
  EXPECT_TRUE(eventually([&] { return waits.settled(); }, 2s));
  EXPECT_FALSE(waits.begin()) << "it must have no effect";
}

} // namespace
} // namespace hive::actors::remote
