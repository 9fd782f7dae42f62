// tests/cluster/membership_thread_test.cpp mirrors cluster/membership_thread.hpp: one node with real links to a peer, and a
// store in memory.
#include "cluster/membership_thread.hpp"
#include "tests/cluster_links/link_fixture.hpp"
#include "tests/support/eventually.hpp"

#include <future>

namespace hive::cluster {
namespace {

using namespace std::chrono_literals;
namespace p = persistence;

/// The rows; every connection sees the same ones. What a test does not need of the contract is not in it.
struct rows {
  std::mutex guard;
  p::ownership_view view;
  std::uint64_t told_version = 0;    // when not 0: what renewals say, whatever happened since
  std::chrono::milliseconds change_state_takes{};

  p::node_row& row(node_generation g) {
    return *std::find_if(view.nodes.begin(), view.nodes.end(), [g](const auto& n) { return n.generation == g; });
  }
};

class memory_ownership final : public p::ownership_store {
public:
  explicit memory_ownership(rows& in) : rows_(in) {}
  result<wall_time> clock() override { return system_clock_source{}.wall_now(); }
  result<p::node_row> join(const p::node_description& what, std::chrono::milliseconds ttl, node_generation) override {
    std::lock_guard lock(rows_.guard);
    p::node_row row;
    row.generation = node_generation{rows_.view.nodes.size() + 1};
    row.what = what;
    row.renewal = 1;
    row.timeline = rows_.view.timeline = timeline;
    row.lease_left = ttl;
    rows_.view.nodes.push_back(row);
    ++rows_.view.version;
    return row;
  }
  result<p::node_lease> renew(node_generation generation, std::chrono::milliseconds) override {
    std::lock_guard lock(rows_.guard);
    return p::node_lease{++rows_.row(generation).renewal, rows_.told_version != 0 ? rows_.told_version : rows_.view.version, 0ms, timeline, system_clock_source{}.wall_now()};
  }
  result<void> change_state(node_generation generation, p::node_state from, p::node_state to) override {
    std::this_thread::sleep_for(rows_.change_state_takes);
    std::lock_guard lock(rows_.guard);
    auto& row = rows_.row(generation);
    if (row.state != from) return error{errc::conflict, "other_state", "it is in another state"};
    row.state = to;
    ++rows_.view.version;
    return {};
  }
  result<void> declare_dead(node_generation, std::uint64_t, bool, std::string_view) override { return error{errc::conflict, "renewed", "it renewed"}; }
  result<std::vector<p::changed_shard>> change_owners(node_generation, std::span<const p::owner_change> changes) override {
    std::lock_guard lock(rows_.guard);
    std::vector<p::changed_shard> done;
    for (const auto& c : changes) {
      auto& s = rows_.view.shards.at(c.shard.value());
      if (s.owner != c.from || s.fence != c.fence) continue;
      s.owner = c.to;
      s.fence = epoch{s.fence.value() + 1};
      done.push_back({s, journal_position{1}});
      ++rows_.view.version;
    }
    return done;
  }
  result<p::ownership_view> read() override {
    std::lock_guard lock(rows_.guard);
    return rows_.view;
  }
  result<journal_position> fresh_positions() override { return journal_position{1}; }
  result<std::size_t> forget(std::chrono::milliseconds) override { return std::size_t{0}; }

private:
  static constexpr std::uint64_t timeline = 1;
  rows& rows_;
};

/// Obeys, and remembers what it was told of links.
class noting_body final : public node_body {
public:
  result<void> generation_begins(node_generation) override { return {}; }
  void start_serving(shard_id, epoch, journal_position) override {}
  void stop_serving(shard_id) override {}
  void release(shard_id, std::function<void()> quiet) override { quiet(); }
  void resume(shard_id) override {}
  void hold(std::optional<error>) override {}
  void go_on() override {}
  void peers(const std::vector<node_row>&, node_generation) override {}
  void owners_changed(const std::vector<shard_id>&) override {}
  void linked(const std::string& node, bool up) override { note((up ? "linked " : "unlinked ") + node); }
  void heard(const std::string& node, bool up) override { note((up ? "heard " : "unheard ") + node); }
  void received(std::shared_ptr<const links::received_batch>) override {}
  void over(const std::string&, bool, bool) override {}
  void each_tick(const std::string&) override {}

  void note(std::string what) {
    std::lock_guard lock(guard);
    notes.push_back(std::move(what));
  }
  std::vector<std::string> take() {
    std::lock_guard lock(guard);
    return std::exchange(notes, {});
  }

private:
  std::mutex guard;
  std::vector<std::string> notes;
};

class MembershipThreadTest : public links::LinkTest {
protected:
  static constexpr std::uint16_t shards = 8;

  MembershipThreadTest() {
    settings_.node = "a";
    settings_.renew_every = 50ms;
    settings_.reconcile_every = 50ms;
    settings_.rejoin_after = 100ms;
    settings_.orphan_patience = 100ms;
    settings_.moves_per_second = 10'000;
    settings_.balance_tolerance = 50;
    for (std::uint16_t i = 0; i < shards; ++i) store_.view.shards.push_back({shard_id{i}, {}, epoch{0}});
  }
  ~MembershipThreadTest() override {
    if (a_) a_->stop();
  }

  /// "b" is an active member that owns nothing and does nothing but to be linked; "a" takes all shards.
  void begin() {
    b_ = &node("b", 1);
    p::node_row row;
    row.generation = node_generation{1};
    row.what.name = "b";
    row.what.link = b_->as_peer().address;
    row.what.capacity = 1;
    row.state = p::node_state::active;
    row.renewal = 1;
    row.lease_left = 1h;
    store_.view.nodes.push_back(row);
    store_.view.version = 1;
    links_of_a_ = std::make_unique<links::test_node>(dir, authority, "a", 2); // for its files; it never starts
    a_ = std::make_unique<membership_thread>(membership_parts{
      settings_, links_of_a_->settings, clock_, {"a", "127.0.0.1:0", "", "default", "", "1", 1'000'000}, "hive-1", "cell-1", "store-1", {}, true, map_, lease_, body_,
      [this]() -> result<std::unique_ptr<p::ownership_store>> { return std::unique_ptr<p::ownership_store>(std::make_unique<memory_ownership>(store_)); },
      [](const std::string&, bool, bool, std::function<void(result<drain_report>)> done) { done(error{errc::unavailable, "link_down", "nobody answers"}); }, 1});
    a_->start();
    ASSERT_TRUE(eventually([&] { return a_->links() != nullptr; }));
    b_->links->set_peers({peer_a()});
    ASSERT_TRUE(eventually([&] { return owned() == shards; })) << owned();
  }
  links::peer peer_a() { return {"a", node_generation{2}, "127.0.0.1:" + std::to_string(a_->links()->port())}; }
  std::size_t owned() const {
    std::size_t n = 0;
    for (std::uint16_t i = 0; i < shards; ++i) n += map_.find(shard_id{i}).here ? 1 : 0;
    return n;
  }
  p::node_state state_in_store() {
    std::lock_guard lock(store_.guard);
    return store_.row(node_generation{2}).state;
  }
  result<drain_report> drain(bool plan_only) {
    std::promise<result<drain_report>> said;
    a_->drain("a", plan_only, [&](result<drain_report> r) { said.set_value(std::move(r)); });
    return said.get_future().get();
  }
  template <class Condition> static bool eventually(Condition&& holds, std::chrono::milliseconds most = 15s) { return test::eventually(holds, most); }

  config::cluster_settings settings_;
  system_clock_source clock_;
  rows store_;
  shard_map map_{shards};
  lease_guard lease_;
  noting_body body_;
  links::test_node* b_ = nullptr;
  std::unique_ptr<links::test_node> links_of_a_;
  std::unique_ptr<membership_thread> a_;
};

// What b said meanwhile was lost; a's own link to b was up all the time and tells nothing of it.
TEST_F(MembershipThreadTest, TheNodeHearsThatOnlyAPeersLinkToItBroke) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const auto told = [&](const std::string& what) {
    static thread_local std::vector<std::string> all;
    for (auto& n : body_.take()) all.push_back(std::move(n));
    const bool found = std::find(all.begin(), all.end(), what) != all.end();
    if (found) {
      EXPECT_EQ(std::find(all.begin(), all.end(), "unlinked b"), all.end());
      all.clear();
    }
    return found;
  };
  ASSERT_TRUE(eventually([&] { return told("heard b"); }));
  b_->links->set_peers({{"a", node_generation{2}, "127.0.0.1:9"}}); // it goes on taking what a sends
  EXPECT_TRUE(eventually([&] { return told("unheard b"); }));
  b_->links->set_peers({peer_a()});
  EXPECT_TRUE(eventually([&] { return told("heard b"); }));
}

TEST_F(MembershipThreadTest, ADrainOfANodeThatWasVotedOutIsRemembered) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const auto vote_out = [&] {
    b_->links->set_peers({}); // it is not reached: else it would be back at once
    ASSERT_TRUE(eventually([&] { return !a_->links()->is_up("b"); }));
    {
      std::lock_guard lock(store_.guard);
      store_.row(node_generation{2}).state = p::node_state::draining;
      ++store_.view.version;
    }
    ASSERT_TRUE(eventually([&] { return owned() == 0 && a_->read_gauges().state == node_state::draining; }));
  };
  const auto reach_again = [&] {
    b_->links->set_peers({peer_a()});
    ASSERT_TRUE(eventually([&] { return a_->links()->is_up("b") && b_->links->is_up("a"); }));
  };
  ASSERT_NO_FATAL_FAILURE(vote_out());
  ASSERT_NO_FATAL_FAILURE(reach_again());
  EXPECT_TRUE(eventually([&] { return state_in_store() == p::node_state::active; })) << "by itself it comes back";
  ASSERT_NO_FATAL_FAILURE(vote_out());
  const auto said = drain(false);
  ASSERT_TRUE(said) << to_string(said.error());
  ASSERT_NO_FATAL_FAILURE(reach_again());
  std::this_thread::sleep_for(1s);
  EXPECT_EQ(state_in_store(), p::node_state::draining) << "somebody wants it to own nothing";
}

TEST_F(MembershipThreadTest, APlanIsOfTheShardsThatItStillHas) {
  settings_.reconcile_every = 500ms; // what is read is older than the map for a while
  ASSERT_NO_FATAL_FAILURE(begin());
  const auto before = drain(true);
  ASSERT_TRUE(before) << to_string(before.error());
  EXPECT_EQ(before->shards_left, shards);
  EXPECT_EQ(before->plan.size(), shards);
  {
    std::lock_guard lock(store_.guard); // and no renewal tells that there is more to read
    store_.told_version = store_.view.version;
  }
  ASSERT_TRUE(drain(false));
  ASSERT_TRUE(eventually([&] {
    const auto now = drain(true);
    if (now) { EXPECT_EQ(now->plan.size(), now->shards_left); }
    return now && now->shards_left == 0;
  }));
}

TEST_F(MembershipThreadTest, AnUndrainAnswersWhenTheNodeTakesShardsAgain) {
  ASSERT_NO_FATAL_FAILURE(begin());
  ASSERT_TRUE(drain(false));
  ASSERT_TRUE(eventually([&] { return owned() == 0; }));
  store_.change_state_takes = 200ms;
  std::promise<result<drain_report>> said;
  a_->undrain("a", [&](result<drain_report> r) { said.set_value(std::move(r)); });
  const auto r = said.get_future().get();
  ASSERT_TRUE(r);
  EXPECT_EQ(r->state, node_state::active);
  EXPECT_EQ(state_in_store(), p::node_state::active);
}

} // namespace
} // namespace hive::cluster
