/// @file
/// A tenant's events for one watcher, from a cursor on, behind every transport that streams.
///
/// The store is the only source; what `messaging` publishes only says that there is something to read, and how far. So
/// nothing is lost or repeated between old and new events, and a slow watcher costs no memory: it asks for the next page
/// when it has sent the last one, and hears of a `gap` when retention has overtaken it. Watchers that stand at the same
/// place share one read (services/cached_reads.hpp).
#pragma once

#include "actors/messaging.hpp"
#include "hive/v1/events.pb.h"
#include "persistence/read_cache.hpp"
#include "runtime/api/loop.hpp"
#include "runtime/api/method.hpp"

#include <atomic>
#include <functional>
#include <memory>

namespace hive::api {

/// What a watcher sends next. `cursor` is where the feed stands behind it, also when all events were filtered out.
struct event_batch {
  std::vector<v1::Event> events;
  std::string cursor;
};

/// Used on the loop's thread only, except where events are published.
class event_feed : public std::enable_shared_from_this<event_feed> {
public:
  event_feed(actors::messaging& hive, std::shared_ptr<loop> home, const call& c, const v1::WatchRequest& request,
             persistence::read_cache* cache = nullptr);

  /// Calls `got` once, on the loop: at once for the first time, then when there are events.
  void next(std::function<void(result<event_batch>)> got);
  /// `got` will not be called any more.
  void stop();

private:
  void read();
  void arrived(result<persistence::event_page> page);
  bool wanted(std::string_view type) const;

  void rest();

  static constexpr std::size_t page_size = 256;
  /// Between reads that did not fill a page: a storm of events costs a reader a hundred reads a second, not thousands.
  static constexpr std::chrono::milliseconds pace{10};
  actors::messaging& hive_;
  std::shared_ptr<loop> home_;
  call call_;
  std::string cursor_;
  std::vector<std::string> types_;
  std::shared_ptr<void> subscription_;
  std::function<void(result<event_batch>)> got_;
  persistence::read_cache* cache_;
  std::atomic<std::uint64_t> published_{0}; ///< Number of the latest event that was; 0: none was, since the watch began.
  std::atomic<bool> news_{true}; ///< Something was published since the last read began.
  bool reading_ = false;
  bool resting_ = false;
  bool begun_ = false;
  bool stopped_ = false;
};

} // namespace hive::api
