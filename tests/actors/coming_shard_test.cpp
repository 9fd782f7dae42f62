// A node among others whose shard is on its way here: the map says that it is this node's, and what was under way in it cannot be
// read yet. (C1, C5)
#include "persistence/event_cursor.hpp"
#include "tests/actors/node_fixture.hpp"

#include <sys/resource.h>

namespace hive::actors {
namespace {

using namespace std::chrono_literals;

class ComingShardTest : public NodeFixture {
protected:
  ~ComingShardTest() override { host.reset(); } // it looks at the map
  void start_among_others() {
    open_store();
    const auto rows = store->claim_all();
    ASSERT_TRUE(rows);
    lease.hold_until(cluster::boot_clock::now() + 1h);
    host = std::make_unique<node_host>(node_host_parts{settings, clock, *store, contexts, behaviours, executors, 1, (dir.path() / "running").string(), {}, {}, {}, &map, &lease});
    ASSERT_TRUE(host->start());
    for (const auto& row : *rows) {
      map.learn(row.shard, row.owner, row.fence);
      map.serve(row.shard, true, false);
      fence = row.fence;
      host->serve(row.shard, row.fence, journal_position{0});
    }
    ASSERT_NO_FATAL_FAILURE(make_tenant());
  }  std::vector<std::string> notes() {
    auto found = std::make_shared<std::promise<std::vector<std::string>>>();
    host->read(who->tenant(), [found, of = *who](persistence::store_reader& reader) {
      std::vector<std::string> types;
      const auto page = reader.events(of, persistence::cursor_of(0), 500);
      if (page)
        for (const auto& e : page->events)
          if (e.event.type.starts_with("note.")) types.push_back(e.event.type);
      found->set_value(std::move(types));
    });
    return found->get_future().get();
  }
  static std::chrono::microseconds worked() {
    rusage u{};
    ::getrusage(RUSAGE_SELF, &u);
    return std::chrono::seconds{u.ru_utime.tv_sec + u.ru_stime.tv_sec} + std::chrono::microseconds{u.ru_utime.tv_usec + u.ru_stime.tv_usec};
  }

  cluster::shard_map map{settings.node.shards};
  cluster::lease_guard lease;
  epoch fence;
};

TEST_F(ComingShardTest, KeepsWhatItIsToldAndTakesItInOrderOnceItIsThere) {
  ASSERT_NO_FATAL_FAILURE(start_among_others());
  const entity_id root{who->tenant(), root_supervisor_serial};
  const auto shard = shard_of(root, settings.node.shards);
  host->stop_serving(shard);
  std::vector<std::string> told;
  for (int i = 0; i < 20; ++i) {
    told.push_back("note." + std::to_string(i));
    host->remote()->forward(shard, std::make_unique<note_op>(root, persistence::event_row{told.back(), "s", "{}"}));
  }
  const auto before = worked();
  for (int i = 0; i < 50; ++i) {
    host->each_tick();
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_LT(worked() - before, 100ms) << "a worker does nothing else but to send them round";
  host->serve(shard, fence, journal_position{0});
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (notes().size() < told.size() && std::chrono::steady_clock::now() < until) {
    host->each_tick();
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(notes(), told);
}

TEST_F(ComingShardTest, WhatItKeptGoesOnWhenItGoesElsewhereInstead) {
  ASSERT_NO_FATAL_FAILURE(start_among_others());
  const entity_id root{who->tenant(), root_supervisor_serial};
  const auto shard = shard_of(root, settings.node.shards);
  host->stop_serving(shard);
  host->remote()->forward(shard, std::make_unique<note_op>(root, persistence::event_row{"note.0", "s", "{}"}));
  for (int i = 0; i < 10; ++i) {
    host->each_tick();
    std::this_thread::sleep_for(10ms);
  }
  map.serve(shard, false, false);
  host->stop_serving(shard);
  std::this_thread::sleep_for(50ms);
  map.serve(shard, true, false); // and comes back
  host->serve(shard, fence, journal_position{0});
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (notes().empty() && std::chrono::steady_clock::now() < until) {
    host->each_tick();
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(notes().size(), 1U);
}

} // namespace
} // namespace hive::actors
