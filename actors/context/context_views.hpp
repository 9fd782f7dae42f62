/// @file
/// What the searches of one node read: for each collection in memory its view as of the last turn on disk.
#pragma once

#include "config/base/ids.hpp"
#include "vector/view.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace hive::actors {

/// A view with its place in the collection's history.
struct published_view {
  vector::view_ptr view;
  std::uint64_t position = 0; ///< Version of the context entity whose commit made it so: durable, rises with each.
  wall_time now{};            ///< By the node's clock, when it was handed to a search.
};

/// Any thread. The owner of a collection opens and closes its entry; the commit thread advances it.
class context_views {
public:
  /// @param bytes_max of all views together: beyond it the least used collections are unloaded.
  /// @param unload called without locks held, on the thread that opens or advances; the collection may stay if it is
  /// busy.
  context_views(std::uint64_t bytes_max, std::function<void(entity_id)> unload)
      : bytes_max_(bytes_max), unload_(std::move(unload)) {}

  /// Empty: not in memory.
  std::optional<published_view> find(entity_id id) const;

  void open(entity_id id, published_view first);
  /// Ignored when the entry is not open, or newer.
  void advance(entity_id id, vector::view_ptr view, std::uint64_t position);
  void close(entity_id id);
  /// After a search: it may have built indexes, which count from now on.
  void measure(entity_id id);

  /// Whether it was found since this was last asked.
  bool take_used(entity_id id);

  std::uint64_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

private:
  struct entry {
    published_view now;
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<bool> used{false};
    std::atomic<std::uint64_t> last{0}; ///< In order of `clock_`.
  };
  void resize(entry& e, std::uint64_t bytes);
  std::vector<entity_id> surplus(entity_id but) const;

  mutable std::shared_mutex guard_;
  std::unordered_map<entity_id, std::unique_ptr<entry>> entries_;
  mutable std::atomic<std::uint64_t> clock_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> count_{0};
  std::uint64_t bytes_max_;
  std::function<void(entity_id)> unload_;
};

} // namespace hive::actors
