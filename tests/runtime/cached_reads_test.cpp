// What the API answers from the cache is what the store would have said, or may have said a moment ago to nobody who knew better.
#include "persistence/event_cursor.hpp"
#include "persistence/memory_tier.hpp"
#include "persistence/sqlite/sqlite_store.hpp"
#include "runtime/api/services/cached_reads.hpp"
#include "runtime/security/authenticator.hpp"
#include "tests/persistence/temp_dir.hpp"

#include "config/base/random.hpp"

#include <gtest/gtest.h>

namespace hive::test {
namespace {

using namespace persistence;

class CachedReadsTest : public testing::Test {
protected:
  void SetUp() override {
    auto opened = open_sqlite({.directory = dir.path() / "data", .shard_count = 64, .codec = nullptr, .vfs = {}});
    ASSERT_TRUE(opened) << to_string(opened.error());
    store = std::move(*opened);
    shards = *store->claim_all();
    reader = *store->reader();
    std::vector<std::unique_ptr<cache_tier>> tiers;
    tiers.push_back(std::make_unique<memory_tier>(memory_tier::limits{}, time));
    cache = std::make_unique<read_cache>("hive/h/1", std::move(tiers));
  }
  tenant_context who(std::uint32_t tenant) { return auth.restore(tenant_id{tenant}, "key:test"); }

  /// One commit with so many events. @returns the number of the last one.
  std::uint64_t commit(std::uint32_t tenant, int events = 1) {
    const entity_id entity{tenant_id{tenant}, 16};
    const auto shard = shard_of(entity, store->shard_count());
    turn_record r(who(tenant), entity, shard, shards[shard.value()].fence);
    r.base = versions[tenant]++;
    r.writes = true;
    r.position = store->allot(shard);
    for (int i = 0; i < events; ++i) r.events.push_back({"e" + std::to_string(++made), "agent/a", "{}"});
    turn_record* one = &r;
    const auto done = store->write({&one, 1});
    EXPECT_EQ(done.what, batch_result::kind::done);
    return *number_of(reader->events(who(tenant), "", 1)->end);
  }
  std::vector<std::string> types(const result<event_page>& page) {
    std::vector<std::string> all;
    for (const auto& e : page->events) all.push_back(e.event.type);
    return all;
  }
  using strings = std::vector<std::string>;

  temp_dir dir;
  manual_clock time;
  security::authenticator auth;
  std::unique_ptr<turn_store> store;
  std::vector<shard_row> shards;
  std::unique_ptr<store_reader> reader;
  std::unique_ptr<read_cache> cache;
  std::map<std::uint32_t, std::uint64_t> versions;
  int made = 0;
};

TEST_F(CachedReadsTest, WatchersAtOnePlaceShareARead) {
  const auto start = reader->events(who(1), "", 1)->end;
  const auto known = commit(1, 3);
  for (int i = 0; i < 5; ++i) {
    const auto page = api::events_after(cache.get(), *reader, who(1), start, 256, known);
    ASSERT_TRUE(page);
    EXPECT_EQ(types(page), (strings{"e1", "e2", "e3"}));
    EXPECT_EQ(page->events[2].cursor, page->end);
    EXPECT_EQ(page->events[0].event.source, "agent/a");
    EXPECT_EQ(page->events[0].event.data, "{}");
    EXPECT_FALSE(page->gap);
  }
  EXPECT_EQ(cache->misses(), 1U);
  EXPECT_EQ(cache->hits(), 4U);
}

TEST_F(CachedReadsTest, WhoKnowsOfALaterEventDoesNotGetAnEarlierPage) {
  const auto start = reader->events(who(1), "", 1)->end;
  const auto first = commit(1);
  (void)api::events_after(cache.get(), *reader, who(1), start, 256, first);
  const auto second = commit(1);
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(1), start, 256, first)), strings{"e1"}) << "enough for who knows no more; it is woken again";
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(1), start, 256, second)), (strings{"e1", "e2"}));
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(1), start, 256, first)), (strings{"e1", "e2"}));
  commit(1);
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(1), start, 256, 0)), (strings{"e1", "e2", "e3"})) << "who has just come sees all that is there";
}

TEST_F(CachedReadsTest, AFullPageIsEnoughForEveryone) {
  const auto start = reader->events(who(1), "", 1)->end;
  commit(1, 3);
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(1), start, 2, 0)), (strings{"e1", "e2"}));
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(1), start, 2, 0)), (strings{"e1", "e2"}));
  EXPECT_EQ(cache->hits(), 1U);
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(1), start, 3, 0)), (strings{"e1", "e2", "e3"})) << "pages of another size are others";
}

TEST_F(CachedReadsTest, GapsCursorsThatAreNoneAndOtherTenantsAreReadAnew) {
  const auto start = reader->events(who(1), "", 1)->end;
  commit(1);
  (void)api::events_after(cache.get(), *reader, who(1), start, 256, 1);
  EXPECT_EQ(types(api::events_after(cache.get(), *reader, who(2), start, 256, 1)), strings{});
  EXPECT_EQ(api::events_after(cache.get(), *reader, who(1), "../../x", 256, 0).error().field, "Last-Event-ID");
  EXPECT_TRUE(api::events_after(cache.get(), *reader, who(1), cursor_of(999), 256, 0)->gap);
  EXPECT_TRUE(api::events_after(cache.get(), *reader, who(1), cursor_of(999), 256, 0)->gap);
  EXPECT_EQ(cache->hits(), 0U);
}

/// Watchers of one node that read, fall behind and hear late of what is new: each sees every event once, in order.
TEST_F(CachedReadsTest, EveryWatcherSeesEveryEventOnceInOrder) {
  constexpr std::uint64_t seed = 11;
  random_source chance(seed);
  struct watcher {
    std::string cursor;
    std::uint64_t known = 0;
    strings seen;
  };
  auto start = reader->events(who(1), "", 1)->end;
  std::vector<watcher> all(12, watcher{start, 0, {}});
  strings committed;
  std::uint64_t newest = 0;
  const auto read = [&](watcher& w, std::uint64_t known) {
    auto page = api::events_after(cache.get(), *reader, who(1), w.cursor, 4, known);
    ASSERT_TRUE(page && !page->gap);
    for (const auto& e : page->events) w.seen.push_back(e.event.type);
    w.cursor = page->end;
  };
  for (int step = 0; step < 2'500; ++step) {
    if (chance.one_in(4)) {
      const int before = made;
      newest = commit(1, 1 + static_cast<int>(chance.below(3)));
      for (int i = before + 1; i <= made; ++i) committed.push_back("e" + std::to_string(i));
    }
    auto& w = all[chance.below(all.size())];
    if (chance.one_in(3)) w.known = newest; // it hears of it late, or with others
    read(w, w.known);
    ASSERT_TRUE(std::equal(w.seen.begin(), w.seen.end(), committed.begin(), committed.begin() + static_cast<std::ptrdiff_t>(std::min(w.seen.size(), committed.size()))))
      << "seed " << seed << ", step " << step;
    if (w.known != 0 && *number_of(w.cursor) < w.known) {
      ASSERT_FALSE(w.seen.empty()); // a full page: it reads on
    }
    if (chance.one_in(50)) time.advance(std::chrono::seconds{30});
  }
  for (auto& w : all) {
    for (int i = 0; i < 10'000 && w.seen.size() < committed.size(); ++i) read(w, newest);
    EXPECT_EQ(w.seen, committed);
  }
  EXPECT_GT(cache->hits(), 500U);
}

TEST_F(CachedReadsTest, AnEndedTaskIsTheSameTask) {
  v1::Task task;
  task.set_id("t0000000000000001");
  task.set_state(v1::TASK_STATE_SUCCEEDED);
  task.set_result(std::string("\0binary\xff", 8));
  EXPECT_FALSE(api::ended_task(cache.get(), who(1), task.id()));
  api::keep_ended_task(cache.get(), who(1), task);
  EXPECT_EQ(api::ended_task(cache.get(), who(1), task.id())->SerializeAsString(), task.SerializeAsString());
  EXPECT_FALSE(api::ended_task(cache.get(), who(2), task.id()));
  EXPECT_FALSE(api::ended_task(nullptr, who(1), task.id()));
}

} // namespace
} // namespace hive::test
