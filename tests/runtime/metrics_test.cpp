#include "persistence/memory_tier.hpp"
#include "runtime/ops/metrics.hpp"
#include "tests/runtime/fake_hive.hpp"

#include <gtest/gtest.h>

namespace hive::ops {
namespace {

class MetricsTest : public testing::Test {
protected:
  static bool has(const std::string& text, const std::string& line) { return text.find(line + "\n") != std::string::npos; }
  security::authenticator auth;
  test::fake_hive hive{auth};
};

TEST_F(MetricsTest, TenantsBeyondTheLimitAreOneSeries) {
  for (const auto* name : {"a", "b", "c", "d"}) hive.add_tenant(name);
  const auto text = metrics(hive, nullptr, 2).scrape();
  EXPECT_TRUE(has(text, R"(hive_turns_total{tenant="a"} 7)"));
  EXPECT_TRUE(has(text, R"(hive_turns_total{tenant="b"} 7)"));
  EXPECT_TRUE(has(text, R"x(hive_turns_total{tenant="(other)"} 14)x"));
  EXPECT_EQ(text.find(R"(tenant="c")"), std::string::npos);
  EXPECT_TRUE(has(text, R"x(hive_turn_seconds_bucket{tenant="(other)",le="1.6e-05"} 14)x")) << "their histograms are summed too";
}

TEST_F(MetricsTest, CountersWithoutANameGetOne) {
  hive.add_tenant("");
  hive.add_tenant("");
  const auto text = metrics(hive, nullptr, 9).scrape({}, [](tenant_id id) { return id == tenant_id{1} ? "acme" : ""; });
  EXPECT_TRUE(has(text, R"(hive_turns_total{tenant="acme"} 7)"));
  EXPECT_TRUE(has(text, R"x(hive_turns_total{tenant="(2)"} 7)x"));
}

TEST_F(MetricsTest, CommitsShowBatchesAndLatency) {
  persistence::commit_statistics s;
  s.batches = 3;
  s.turns = 30;
  s.nanoseconds = 6'000'000;
  s.batch_sizes[3] = 3; // 8..15 turns
  s.latencies[10] = 3;  // 1,024..2,047 us
  const auto text = metrics(hive, &s, 2).scrape();
  EXPECT_TRUE(has(text, "hive_commits_total 3"));
  EXPECT_TRUE(has(text, "hive_committed_turns_total 30"));
  EXPECT_TRUE(has(text, R"(hive_commit_batch_turns_bucket{le="8"} 0)"));
  EXPECT_TRUE(has(text, R"(hive_commit_batch_turns_bucket{le="16"} 3)"));
  EXPECT_TRUE(has(text, "hive_commit_batch_turns_sum 30"));
  EXPECT_TRUE(has(text, "hive_commit_seconds_count 3"));
  EXPECT_TRUE(has(text, "hive_commit_seconds_sum 0.006"));
}

TEST_F(MetricsTest, TheCacheShowsItsTiersAndTheWakeUpsTheirCarriers) {
  manual_clock time;
  std::vector<std::unique_ptr<persistence::cache_tier>> tiers;
  tiers.push_back(std::make_unique<persistence::memory_tier>(persistence::memory_tier::limits{}, time));
  persistence::read_cache cache("hive/h", std::move(tiers));
  cache.put(tenant_id{1}, "task", "t", "x");
  (void)cache.get(tenant_id{1}, "task", "t");
  (void)cache.get(tenant_id{1}, "task", "u");
  (void)cache.get(tenant_id{1}, "task", "v");
  persistence::wake_counters wakes;
  wakes.by_links = 5;
  metrics m(hive, nullptr, 2);
  EXPECT_EQ(m.scrape().find("hive_cache"), std::string::npos);
  m.add(cache, &wakes);
  const auto text = m.scrape();
  EXPECT_TRUE(has(text, R"(hive_cache_hits_total{tier="memory"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_cache_misses_total{tier="memory"} 2)"));
  EXPECT_TRUE(has(text, R"(hive_cached_reads_total{result="hit"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_cached_reads_total{result="miss"} 2)"));
  EXPECT_TRUE(has(text, "hive_cache_entries 1"));
  EXPECT_TRUE(has(text, R"(hive_wake_ups_total{by="links"} 5)"));
  EXPECT_TRUE(has(text, R"(hive_wake_ups_total{by="redis"} 0)"));
}

TEST_F(MetricsTest, ANodeAmongOthersShowsItsLinksAndItsPlace) {
  metrics m(hive, nullptr, 2);
  EXPECT_EQ(m.scrape().find("hive_link"), std::string::npos) << "a node that is alone has none";
  cluster::cluster_gauges g;
  g.serving = true;
  g.state = cluster::node_state::draining;
  g.shards = 7;
  cluster::links::link_status up, down;
  up.node = "node-2";
  up.now = cluster::links::link_status::state::up;
  up.rtt = std::chrono::microseconds{1500};
  up.requests = 3;
  down.node = "node-3";
  down.incoming = true;
  g.peers = {up, down};
  g.links.frames_sent = 12;
  g.links.refused_full = 4;
  m.add([&] { return g; });
  const auto text = m.scrape();
  EXPECT_TRUE(has(text, "hive_lease_held 1"));
  EXPECT_TRUE(has(text, "hive_shards_owned 7"));
  EXPECT_TRUE(has(text, R"(hive_node_state{state="draining"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_node_state{state="active"} 0)"));
  EXPECT_TRUE(has(text, R"(hive_link_up{peer="node-2"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_link_up{peer="node-3"} 0)"));
  EXPECT_TRUE(has(text, R"(hive_link_incoming_up{peer="node-3"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_link_round_trip_seconds{peer="node-2"} 0.0015)"));
  EXPECT_TRUE(has(text, R"(hive_link_requests{peer="node-2"} 3)"));
  EXPECT_TRUE(has(text, "hive_link_frames_sent_total 12"));
  EXPECT_TRUE(has(text, "hive_link_refused_full_total 4"));
}

TEST_F(MetricsTest, HttpIsCountedByRouteAndStatus) {
  metrics m(hive, nullptr, 2);
  auto counters = std::make_shared<http_counters>(std::vector<std::string>{"Ask", "none"});
  m.add(counters);
  counters->count(0, 200, std::chrono::microseconds(100));
  counters->count(0, 429, std::chrono::microseconds(0));
  counters->count(99, 404, std::chrono::microseconds(5)); // no such route: the last one
  counters->streams = 4;
  const auto text = m.scrape();
  EXPECT_TRUE(has(text, R"(hive_http_requests_total{route="Ask",status="2xx"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_http_requests_total{route="Ask",status="4xx"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_http_requests_total{route="none",status="4xx"} 1)"));
  EXPECT_TRUE(has(text, R"(hive_http_request_seconds_count{route="Ask"} 2)"));
  EXPECT_TRUE(has(text, "hive_http_streams 4"));
}

TEST_F(MetricsTest, ProcessIsMeasured) {
  const auto text = metrics(hive, nullptr, 2).scrape();
  EXPECT_NE(text.find("process_open_fds "), std::string::npos);
  EXPECT_EQ(text.find("process_open_fds -"), std::string::npos);
  EXPECT_NE(text.find("process_resident_memory_bytes "), std::string::npos);
  EXPECT_FALSE(has(text, "process_resident_memory_bytes 0"));
}

} // namespace
} // namespace hive::ops
