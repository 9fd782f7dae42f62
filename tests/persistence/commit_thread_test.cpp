// The shell: it writes what it gets, in order, tells everyone, goes on after trouble, and leaves nothing behind.
#include "persistence/commit_thread.hpp"

#include "tests/persistence/turn_maker.hpp"

#include <condition_variable>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hive::test {
namespace {

using namespace std::chrono_literals;

/// Says what it is told to say. Safe to change while the thread runs.
class scripted_store final : public turn_store {
public:
  batch_result write(std::span<turn_record* const> batch) override {
    std::lock_guard lock(guard);
    ++writes;
    largest = std::max(largest, batch.size());
    if (unknown_answers > 0) return {batch_result::kind::unknown, {}, {}};
    if (full) return {batch_result::kind::unavailable, {}, {errc::unavailable, reason, "full", {}, {}}};
    for (const auto* r : batch)
      if (r->base == poison) return {batch_result::kind::refused, {}, {errc::internal, "constraint", "poison", {}, {}}};
    return {batch_result::kind::done, std::vector(batch.size(), turn_outcome::committed), {}};
  }
  batch_result find_out(std::span<turn_record* const> batch) override {
    std::lock_guard lock(guard);
    if (--unknown_answers > 0) return {batch_result::kind::unknown, {}, {}};
    return {batch_result::kind::done, std::vector(batch.size(), turn_outcome::committed), {}};
  }
  void maintain() override { ++maintained; }
  result<void> probe() override {
    std::lock_guard lock(guard);
    ++probes;
    if (full) return error{errc::unavailable, reason, "full", {}, {}};
    return {};
  }
  journal_position allot(shard_id) noexcept override { return journal_position{++next}; }
  result<std::vector<shard_row>> claim_all() override { return std::vector<shard_row>{}; }
  result<shard_row> claim(shard_id) override { return shard_row{}; }
  result<std::size_t> trim(const trim_horizon& before, std::size_t limit) override {
    std::lock_guard lock(guard);
    ++trims;
    horizon = before;
    const std::size_t n = std::min(limit, old_rows);
    old_rows -= n;
    return n;
  }
  result<std::unique_ptr<store_reader>> reader() override { return error{}; }
  std::uint16_t shard_count() const noexcept override { return 64; }

  std::mutex guard;
  bool full = false;
  std::string reason = "no_space";
  int unknown_answers = 0;
  std::uint64_t poison = ~std::uint64_t{0};
  std::size_t old_rows = 0;
  int writes = 0, trims = 0, probes = 0;
  std::size_t largest = 0;
  trim_horizon horizon{};
  std::atomic<int> maintained{0};
  std::atomic<std::uint64_t> next{0};
};

class recorder final : public commit_listener {
public:
  void settled(std::vector<settlement>&& batch) override {
    std::lock_guard lock(guard_);
    for (auto& s : batch) all_.push_back(std::move(s));
    changed_.notify_all();
  }
  void availability(const error* why) override {
    std::lock_guard lock(guard_);
    seen_.push_back(why ? why->reason : "well");
    changed_.notify_all();
  }
  std::vector<settlement> take(std::size_t n) {
    std::unique_lock lock(guard_);
    EXPECT_TRUE(changed_.wait_for(lock, 20s, [&] { return all_.size() >= n; })) << all_.size() << " of " << n;
    return std::exchange(all_, {});
  }
  std::vector<std::string> availabilities(std::size_t n) {
    std::unique_lock lock(guard_);
    EXPECT_TRUE(changed_.wait_for(lock, 20s, [&] { return seen_.size() >= n; }));
    return seen_;
  }
  std::size_t count() {
    std::lock_guard lock(guard_);
    return all_.size();
  }

private:
  std::mutex guard_;
  std::condition_variable changed_;
  std::vector<settlement> all_;
  std::vector<std::string> seen_;
};

class CommitThread : public testing::Test {
protected:
  void start(batch_limits limits = {}) { thread.emplace(store, listener, clock, limits, trim_policy{.keep_keys = 1h, .keep_events = 1h, .every = 5s, .rows_at_once = 100}); }
  std::unique_ptr<turn_record> record(std::uint64_t base, bool writes = true) {
    auto r = std::make_unique<turn_record>(context_of(1), entity_id{tenant_id{1}, 5}, shard_id{1}, epoch{1});
    r->base = base;
    r->writes = writes;
    return r;
  }
  scripted_store store;
  recorder listener;
  manual_clock clock;
  std::optional<commit_thread> thread;
};

TEST_F(CommitThread, SettlesEverythingInOrder) {
  start();
  for (std::uint64_t i = 0; i < 1000; ++i) thread->submit(record(i));
  const auto all = listener.take(1000);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].what, settlement::kind::committed);
    EXPECT_EQ(all[i].record->base, i);
  }
  EXPECT_EQ(thread->statistics().turns, 1000u);
  thread.reset();
  EXPECT_GE(store.maintained, 1);
}

TEST_F(CommitThread, WritesWhatWasSubmittedBeforeItEnds) {
  start({.turns = 7});
  for (std::uint64_t i = 0; i < 100; ++i) thread->submit(record(i));
  thread.reset();
  EXPECT_EQ(listener.count(), 100u);
  EXPECT_LE(store.largest, 7u);
}

TEST_F(CommitThread, ManyThreadsSubmitAndNothingIsLost) {
  start();
  std::vector<std::thread> producers;
  for (std::uint64_t p = 0; p < 4; ++p)
    producers.emplace_back([this, p] {
      for (std::uint64_t i = 0; i < 2000; ++i) {
        auto r = record(i);
        r->entity = entity_id{tenant_id{static_cast<std::uint32_t>(p + 1)}, p + 1};
        thread->submit(std::move(r));
      }
    });
  for (auto& p : producers) p.join();
  thread.reset();
  std::map<entity_id, std::uint64_t> next;
  for (const auto& s : listener.take(8000)) EXPECT_EQ(s.record->base, next[s.record->entity]++);
}

TEST_F(CommitThread, TellsOnceThatTheStoreIsFullAndOnceThatItIsWell) {
  start();
  {
    std::lock_guard lock(store.guard);
    store.full = true;
  }
  thread->submit(record(0));
  thread->submit(record(1));
  for (const auto& s : listener.take(2)) {
    EXPECT_EQ(s.what, settlement::kind::unavailable);
    EXPECT_EQ(s.why.reason, "no_space");
  }
  thread->submit(record(2, false));
  listener.take(1);
  EXPECT_EQ(listener.availabilities(1), std::vector<std::string>{"no_space"});
  {
    std::lock_guard lock(store.guard);
    store.full = false;
  }
  thread->submit(record(3));
  EXPECT_EQ(listener.take(1)[0].what, settlement::kind::committed);
  EXPECT_EQ(listener.availabilities(2), (std::vector<std::string>{"no_space", "well"}));
  EXPECT_EQ(thread->statistics().unavailable, 3u);
}

TEST_F(CommitThread, ALookDoesNotMakeAFullStoreWell) {
  start();
  {
    std::lock_guard lock(store.guard);
    store.full = true;
  }
  thread->submit(record(0));
  listener.take(1);
  {
    std::lock_guard lock(store.guard);
    store.full = false;
  }
  thread->submit(record(1, false));
  listener.take(1);
  EXPECT_EQ(listener.availabilities(1).front(), "no_space");
}

TEST_F(CommitThread, FindsOutByItselfThatTheStoreIsWellAgain) {
  start();
  {
    std::lock_guard lock(store.guard);
    store.full = true;
  }
  thread->submit(record(0));
  listener.take(1);
  {
    std::lock_guard lock(store.guard);
    store.full = false;
  }
  EXPECT_EQ(listener.availabilities(2).back(), "well") << "though nobody sends anything";
}

TEST_F(CommitThread, TellsWhenAStoreThatIsAwayTurnsOutToBeWorse) {
  start();
  store.full = true;
  store.reason = "store_away";
  thread->submit(record(0));
  listener.take(1);
  EXPECT_THAT(listener.availabilities(1), testing::ElementsAre("store_away"));
  {
    std::lock_guard lock(store.guard);
    store.reason = "store_lost_commits"; // nobody submits anything: it is the probe that finds it
  }
  EXPECT_THAT(listener.availabilities(2), testing::ElementsAre("store_away", "store_lost_commits"));
}

TEST_F(CommitThread, OnlyTheGuiltyTurnIsRefused) {
  store.poison = 13;
  start();
  for (std::uint64_t i = 0; i < 100; ++i) thread->submit(record(i));
  for (const auto& s : listener.take(100)) EXPECT_EQ(s.what, s.record->base == 13 ? settlement::kind::refused : settlement::kind::committed);
  EXPECT_EQ(thread->statistics().refused, 1u);
}

TEST_F(CommitThread, AnUnknownCommitIsAnsweredOnlyWhenItIsKnown) {
  store.unknown_answers = 3;
  start();
  thread->submit(record(0));
  EXPECT_EQ(listener.take(1)[0].what, settlement::kind::committed);
  EXPECT_EQ(store.unknown_answers, 0);
  EXPECT_EQ(store.writes, 1) << "the batch is not written twice";
}

TEST_F(CommitThread, EndsThoughAnUnknownCommitStaysUnknown) {
  store.unknown_answers = std::numeric_limits<int>::max();
  start();
  thread->submit(record(0));
  thread->submit(record(1));
  std::atomic<bool> over{false};
  std::thread time([&] {
    while (!over) {
      clock.advance(1s);
      std::this_thread::sleep_for(5ms);
    }
  });
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(listener.count(), 0u) << "while nobody asked it to end, it goes on finding out";
  thread.reset();
  over = true;
  time.join();
  EXPECT_EQ(listener.count(), 0u) << "nobody hears what is not known";
}

TEST_F(CommitThread, TrimsInStepsUntilNothingIsOld) {
  store.old_rows = 250;
  start();
  thread->submit(record(0));
  listener.take(1);
  {
    std::lock_guard lock(store.guard);
    EXPECT_EQ(store.trims, 0) << "not before it is due";
  }
  clock.advance(6s);
  for (std::uint64_t i = 1; i < 6; ++i) {
    thread->submit(record(i));
    listener.take(1);
  }
  thread.reset();
  EXPECT_EQ(store.old_rows, 0u);
  EXPECT_EQ(store.trims, 3);
  EXPECT_EQ(store.horizon.now, clock.wall_now()) << "a shared store compares it with its own";
  EXPECT_EQ(store.horizon.journal, clock.wall_now() - 1h);
}

} // namespace
} // namespace hive::test
