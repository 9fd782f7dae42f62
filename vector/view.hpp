/// @file
/// A collection as it was at one moment: what searches read, from any number of threads.
#pragma once

#include "config/base/result.hpp"
#include "vector/limits.hpp"
#include "vector/search.hpp"
#include "vector/segment.hpp"
#include "vector/space.hpp"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hive::vector {

/// A segment as one view sees it: its first `count` rows without the dead ones.
struct view_entry {
  std::shared_ptr<const segment> rows;
  std::uint32_t count = 0;
  std::uint32_t live = 0;
  std::shared_ptr<const row_set> dead; ///< Null: none.
  std::shared_ptr<const tail_terms> words; ///< While the segment grows; null: it is sealed.
  wall_time latest_from = always;    ///< No row begins to be valid after this,
  wall_time earliest_end = never;    ///< none ends or expires before this,
  wall_time earliest_expiry = never; ///< and none expires before this. Dead rows may count.
};

/// An item and its vector as they are stored.
struct stored_item {
  item_ptr content;
  std::span<const float> vector; ///< Valid while the view is held.
};

/// Immutable; any thread. Made by `collection::publish`; holds what it needs, also when the collection is gone. Views share
/// their segments, so that keeping an old one costs what has changed since.
class view {
public:
  const vector::space& space() const noexcept { return space_; }
  /// Rises with each change of the collection.
  std::uint64_t version() const noexcept { return version_; }
  /// Items stored, expired ones not yet purged included.
  std::uint32_t size() const noexcept { return live_; }
  /// Heap bytes of segments, items and what searches have built so far. Shared parts are counted in each view.
  std::size_t bytes() const noexcept;

  /// @returns errors naming the field of the request; see `search_request`.
  result<search_answer> search(const search_request& request, const search_limits& limits) const;

  /// `nullopt` when it is not there or expired. Superseded and not yet valid items are found.
  std::optional<stored_item> get(std::string_view id, wall_time now) const;

  /// Pages through all items that are not expired, in order of their ids: the smallest ids above `after`, until `count_max` or, with all
  /// that is in memory of them, `bytes_max` is reached; at least one, if there is any.
  std::vector<item_ptr> list(std::string_view after, std::uint32_t count_max, std::uint64_t bytes_max, const filter& where, wall_time now) const;

  /// The query's vector by the built-in hashing embedder, weighted by how rare its words are in this view.
  /// @returns `failed_precondition` when the collection's embedder is another one.
  result<std::vector<float>> embed_query(std::string_view text, wall_time now) const;

  /// Builds what the first lexical or filtered search would otherwise build.
  void warm() const;

  const std::vector<view_entry>& entries() const noexcept { return entries_; }

private:
  friend class collection;
  struct place {
    std::size_t entry;
    std::uint32_t row;
  };
  std::optional<place> find_place(std::string_view id) const;
  const item_ptr& at(place p) const { return entries_[p.entry].rows->items()[p.row]; }
  std::span<const float> vector_at(place p) const { return entries_[p.entry].rows->vector(p.row); }

  vector::space space_;
  std::vector<view_entry> entries_;
  std::uint64_t version_ = 0;
  std::uint32_t live_ = 0;
  std::uint64_t expected_ = 0; ///< Items that a load under way will have; 0: loaded.
};

using view_ptr = std::shared_ptr<const view>;

} // namespace hive::vector
