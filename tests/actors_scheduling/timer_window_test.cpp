// A window of the rows against the rows themselves, by chance: every timer fires once, in its time, never after it was
// cancelled, whatever the order of pages, commits and failures.
#include "actors/scheduling/timer_window.hpp"

#include "config/base/random.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace hive::actors::scheduling {
namespace {

using key = timer_window::key;
using std::chrono::milliseconds;

wall_time at(std::uint64_t ms) { return wall_time{milliseconds{static_cast<std::int64_t>(ms)}}; }
timer_window::row row_of(const key& k) { return {k.due, k.number, k.entity, {}, "x", {}}; }

class TimerWindowModel : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(TimerWindowModel, EveryTimerFiresOnceAndInTime) {
  random_source chance(GetParam());
  constexpr std::size_t limit = 3;
  timer_window window(4 + chance.below(8));
  std::set<key> store;                         // committed rows
  std::map<key, int> handled;
  std::set<key> cancelled;
  std::vector<key> mailbox;
  std::optional<std::set<key>> page;           // the store as the reader saw it
  key page_after{};
  struct commit {
    std::vector<key> set;
    std::vector<key> gone;
    bool fires = false;
  };
  std::deque<commit> under_way;
  std::uint64_t now = 1000;
  std::uint64_t serial = 0;
  std::set<key> all;

  const auto last_of = [&] { return key{window.last().due, window.last().entity, window.last().number}; };
  const auto apply = [&](const commit& c) {
    for (const auto& k : c.gone) store.erase(k);
    for (const auto& k : c.set) store.insert(k);
    for (const auto& k : c.gone) window.deleted(k);
    for (const auto& k : c.set) window.set(row_of(k));
    if (c.fires) handled[c.gone.front()] += 1;
  };
  const auto one_step = [&](bool quiet) {
    switch (chance.below(quiet ? 5 : 8)) {
    case 0:
      if (window.wants_page()) {
        window.reading();
        page = store;
        page_after = last_of();
      }
      break;
    case 1:
      if (page) {
        std::vector<timer_window::row> rows;
        bool complete = true;
        for (auto k = page->upper_bound(page_after); k != page->end(); ++k) {
          if (rows.size() == window.page_size()) {
            complete = false;
            break;
          }
          rows.push_back(row_of(*k));
        }
        page.reset();
        if (!quiet && chance.one_in(10)) window.not_read();
        else window.page(std::move(rows), complete);
      }
      break;
    case 2:
      while (auto fired = window.fire(at(now), limit)) {
        EXPECT_LE(fired->due, at(now)) << "early";
        EXPECT_LE(window.fired(), limit);
        mailbox.push_back(timer_window::key_of(*fired));
      }
      break;
    case 3:
      if (!mailbox.empty()) {
        const auto k = mailbox.front();
        mailbox.erase(mailbox.begin());
        if (!window.counts(k)) break;
        EXPECT_FALSE(cancelled.contains(k)) << "fired after its cancellation was committed or under way";
        window.cancel(k);
        under_way.push_back({{}, {k}, true});
      }
      break;
    case 4:
      if (!under_way.empty()) {
        const auto c = under_way.front();
        under_way.pop_front();
        if (!quiet && chance.one_in(8)) { // the commit fails
          for (const auto& k : c.gone) {
            window.not_deleted(k);
            if (!c.fires) cancelled.erase(k);
          }
          for (const auto& k : c.set) all.erase(k);
        } else apply(c);
      }
      break;
    case 5: now += chance.below(20); break;
    case 6: {
      commit c;
      for (std::uint64_t n = 1 + chance.below(4); n > 0; --n) {
        const key k{at(now + chance.below(200)), entity_id{tenant_id{1}, 16 + chance.below(3)}, ++serial};
        c.set.push_back(k);
        all.insert(k);
      }
      under_way.push_back(std::move(c));
      break;
    }
    case 7: // a turn cancels one that it knows to be set
      if (!store.empty()) {
        auto k = *std::next(store.begin(), static_cast<std::ptrdiff_t>(chance.below(store.size())));
        const bool ending = std::any_of(under_way.begin(), under_way.end(), [&](const commit& c) { return std::find(c.gone.begin(), c.gone.end(), k) != c.gone.end(); });
        if (ending) break;
        window.cancel(k);
        cancelled.insert(k);
        under_way.push_back({{}, {k}, false});
      }
      break;
    }
  };
  for (int i = 0; i < 600; ++i) one_step(false);
  now += 1'000'000;
  for (int i = 0; i < 20'000 && !(store.empty() && under_way.empty()); ++i) one_step(true);
  EXPECT_TRUE(store.empty()) << store.size() << " timers never fired";
  for (const auto& k : all) {
    const int times = handled.contains(k) ? handled[k] : 0;
    EXPECT_EQ(times, cancelled.contains(k) ? 0 : 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TimerWindowModel, ::testing::Range<std::uint64_t>(1, 400));

TEST(TimerWindowTest, HoldsAWindowOfManyOnly) {
  timer_window window(100);
  for (std::uint64_t i = 0; i < 100'000; ++i) window.set(row_of({at(1'000'000 - i), entity_id{tenant_id{1}, 16}, i}));
  EXPECT_LE(window.size(), 201U);
  EXPECT_EQ(window.next(1), at(1'000'000 - 99'999)) << "the next one is among them";
}

} // namespace
} // namespace hive::actors::scheduling
