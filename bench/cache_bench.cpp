// Question: what does a cached read cost by tier, against the read without a cache; and how many reads of watchers does the
// cache answer?
// Data: one PostgreSQL and one Redis of the bench's own on unix sockets and loopback. Reads: pages of 20 events, 200 B each, of
// 100 places in the stream, by one thread; then watchers of two nodes (a cache each, one Redis) that each read every event of a
// stream. Seed: HIVE_SEED.
// Target: 99.9 % of watchers' reads are answered by the cache (R9); a read in process is ten times as fast as from the store.
// Options: --seconds S --watchers N (of one node) --events N
#include "bench/support/bench.hpp"

#include "config/base/log.hpp"
#include "config/base/random.hpp"
#include "persistence/event_cursor.hpp"
#include "persistence/memory_tier.hpp"
#include "runtime/api/services/cached_reads.hpp"
#include "runtime/security/authenticator.hpp"
#include "tests/persistence/postgres_server.hpp"
#include "tests/persistence/redis_server.hpp"

#include <thread>

using namespace hive;
using namespace hive::persistence;

namespace {

constexpr std::size_t page_events = 20;
constexpr std::size_t places = 100;

class stream {
public:
  stream(turn_store& store, tenant_context who) : store_(store), who_(who), shards_(*store.claim_all()) {}
  /// One commit with so many events. @returns the number of the last one.
  std::uint64_t commit(std::size_t events) {
    const entity_id entity{who_.tenant(), 16};
    const auto shard = shard_of(entity, store_.shard_count());
    turn_record r(who_, entity, shard, shards_[shard.value()].fence);
    r.base = version_++;
    r.writes = true;
    r.position = store_.allot(shard);
    for (std::size_t i = 0; i < events; ++i) r.events.push_back({"task.progress", "agent/bench", std::string(200, 'x')});
    turn_record* one = &r;
    if (store_.write({&one, 1}).what != batch_result::kind::done) std::abort();
    return r.last_event;
  }

private:
  turn_store& store_;
  tenant_context who_;
  std::vector<shard_row> shards_;
  std::uint64_t version_ = 0;
};

std::unique_ptr<read_cache> cache_of(const clock_source& clock, const test::redis_server* redis, bool memory) {
  std::vector<std::unique_ptr<cache_tier>> tiers;
  if (memory) tiers.push_back(std::make_unique<memory_tier>(memory_tier::limits{}, clock));
  if (redis) {
    auto options = redis->options();
    tiers.push_back(redis::make_redis_tier(options, {}, bench::options::seed()));
    while (!tiers.back()->counters().up) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  return std::make_unique<read_cache>("hive/bench/1", std::move(tiers));
}

double per_tier(const std::string& name, read_cache* cache, store_reader& reader, tenant_context who, const std::vector<std::string>& cursors, double seconds, double store_p50) {
  random_source chance(bench::options::seed());
  for (const auto& c : cursors) (void)api::events_after(cache, reader, who, c, page_events, 0);
  std::vector<double> micros;
  const auto hits = cache ? cache->hits() : 0;
  const auto misses = cache ? cache->misses() : 0;
  const auto begin = bench::clock::now();
  for (auto now = begin; now - begin < std::chrono::duration<double>(seconds);) {
    const auto page = api::events_after(cache, reader, who, cursors[chance.below(cursors.size())], page_events, 0);
    if (!page || page->events.size() != page_events) std::abort();
    const auto then = bench::clock::now();
    micros.push_back(std::chrono::duration<double, std::micro>(then - now).count());
    now = then;
  }
  const double took = std::chrono::duration<double>(bench::clock::now() - begin).count();
  const double count = static_cast<double>(micros.size());
  const auto p = bench::percentiles_of(micros);
  nlohmann::json extra{{"ratio_to_store", store_p50 == 0 ? 1.0 : store_p50 / p.p50}};
  if (cache) extra["hit_rate"] = static_cast<double>(cache->hits() - hits) / static_cast<double>(cache->hits() - hits + cache->misses() - misses);
  bench::report(name, count / took, p, extra);
  return p.p50;
}

/// All watchers of both nodes read each event when they hear of it.
void watchers(const std::string& name, std::array<read_cache*, 2> nodes, store_reader& reader, tenant_context who, stream& events, std::size_t count, std::size_t of_each) {
  std::string start = reader.events(who, "", 1)->end;
  std::array<std::vector<std::string>, 2> cursors{std::vector(of_each, start), std::vector(of_each, start)};
  std::vector<double> micros;
  double reading = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto known = events.commit(1);
    for (std::size_t w = 0; w < of_each; ++w) {
      for (std::size_t n = 0; n < 2; ++n) {
        const auto begin = bench::clock::now();
        const auto page = api::events_after(nodes[n], reader, who, cursors[n][w], 256, known);
        if (!page || page->events.size() != 1) std::abort();
        cursors[n][w] = page->end;
        micros.push_back(std::chrono::duration<double, std::micro>(bench::clock::now() - begin).count());
        reading += micros.back() / 1e6;
      }
    }
  }
  const double reads = static_cast<double>(micros.size());
  nlohmann::json extra{{"watchers", 2 * of_each}};
  if (nodes[0]) {
    std::uint64_t from_redis = 0;
    for (auto* n : nodes) from_redis += n->tiers().back()->counters().hits;
    const auto misses = static_cast<double>(nodes[0]->misses() + nodes[1]->misses());
    extra["hit_rate"] = 1 - misses / reads;
    extra["reads_of_the_store_per_event"] = misses / static_cast<double>(count);
    extra["from_redis_per_event"] = static_cast<double>(from_redis) / static_cast<double>(count);
  }
  bench::report(name, reads / reading, bench::percentiles_of(micros), extra);
}

} // namespace

int main(int argc, char** argv) {
  const bench::options given(argc, argv);
  const double seconds = static_cast<double>(given.number("seconds", 3));
  const auto of_each = given.number("watchers", 1000);
  const auto count = given.number("events", 200);
  log::open({"/dev/null", false, log::level::error});
  test::postgres_server postgres;
  test::redis_server redis;
  const auto database = postgres.new_database();
  auto opened = open_postgres(postgres.options(database));
  if (!opened) {
    std::fprintf(stderr, "%s\n", to_string(opened.error()).c_str());
    return 1;
  }
  auto& store = **opened;
  security::authenticator auth;
  const auto who = auth.restore(tenant_id{1}, "key:bench");
  stream events(store, who);
  auto reader = *store.reader();
  const system_clock_source clock;

  std::vector<std::string> cursors{reader->events(who, "", 1)->end};
  while (cursors.size() < places) cursors.push_back(cursor_of(events.commit(page_events)));
  events.commit(page_events);

  const double store_p50 = per_tier("page of 20 events: store", nullptr, *reader, who, cursors, seconds, 0);
  const auto only_redis = cache_of(clock, &redis, false);
  per_tier("page of 20 events: redis", only_redis.get(), *reader, who, cursors, seconds, store_p50);
  const auto only_memory = cache_of(clock, nullptr, true);
  per_tier("page of 20 events: memory", only_memory.get(), *reader, who, cursors, seconds, store_p50);

  const auto one = cache_of(clock, &redis, true);
  const auto other = cache_of(clock, &redis, true);
  watchers("watchers of two nodes: memory and redis", {one.get(), other.get()}, *reader, who, events, count, of_each);
  watchers("watchers of two nodes: no cache", {nullptr, nullptr}, *reader, who, events, std::min<std::uint64_t>(count, 10), of_each);
  return 0;
}
