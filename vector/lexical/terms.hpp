/// @file
/// Which rows of a segment hold which words, and how often.
#pragma once

#include "vector/item.hpp"
#include "vector/segment.hpp"

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

namespace hive::vector {

/// A word in a row. Counts stop at 65,535.
struct posting {
  std::uint16_t row;
  std::uint16_t count;
};

/// The words of a segment that is still growing, row by row. The first search that needs them reads them, not the owner who adds
/// rows: a turn that puts large texts would keep its whole shard waiting.
class tail_terms {
public:
  explicit tail_terms(std::uint32_t capacity) : words_(capacity), lengths_(capacity) {}

  // -- any thread, for rows below the count of its view

  /// Reads the words of rows below `count` that nobody has read. Call it before the next two.
  void fill(std::span<const item_ptr> items, std::uint32_t count) const;
  std::uint32_t length(std::uint32_t row) const noexcept { return lengths_[row]; }
  /// Appends the rows below `count` that hold the word, in order.
  void find(std::uint64_t term, std::uint32_t count, std::vector<posting>& out) const;
  /// On the heap, of what was read so far.
  std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

private:
  struct word {
    std::uint64_t term;
    std::uint32_t count;
  };
  void read(std::uint32_t row, std::string_view text) const;

  mutable std::mutex guard_;                          ///< Of whoever fills.
  mutable std::atomic<std::uint32_t> filled_{0};      ///< Rows below are as they will be.
  mutable std::atomic<std::size_t> bytes_{0};
  mutable std::vector<std::vector<word>> words_;
  mutable std::vector<std::uint32_t> lengths_; ///< Words of a row, repeats counted.
};

/// An inverted index over a sealed segment. Immutable.
class term_index {
public:
  term_index(std::span<const item_ptr> items, std::uint32_t count);
  /// In order of rows; empty when no row has the word.
  std::span<const posting> find(std::uint64_t term) const noexcept;
  std::uint32_t length(std::uint32_t row) const noexcept { return lengths_[row]; }
  std::uint64_t total_length() const noexcept { return total_; }
  std::size_t bytes() const noexcept;

private:
  struct range {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  absl::flat_hash_map<std::uint64_t, range> terms_;
  std::vector<posting> postings_;
  std::vector<std::uint32_t> lengths_;
  std::uint64_t total_ = 0;
};

} // namespace hive::vector
