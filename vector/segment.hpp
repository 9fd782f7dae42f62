/// @file
/// A run of rows of one collection: items, their vectors as int8 codes and fp32, times, and the indexes built over them.
///
/// A segment is append-only. Its owner writes row n while readers read rows below the count that their view was given, so no lock
/// is needed: whoever hands a view to another thread synchronises the two. Deletions are not here but in the view
/// (`view_entry::dead`). Today all segments are flat; a graph over sealed rows would be another index of this class.
#pragma once

#include "vector/item.hpp"
#include "vector/kernels/int8_code.hpp"
#include "vector/space.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace hive::vector {

class column_index;
class term_index;
class tail_terms;

/// A set of row numbers.
class row_set {
public:
  explicit row_set(std::uint32_t rows = 0, bool full = false);
  std::uint32_t rows() const noexcept { return rows_; }
  bool test(std::uint32_t row) const noexcept { return (words_[row / 64] >> (row % 64)) & 1U; }
  void set(std::uint32_t row) noexcept { words_[row / 64] |= std::uint64_t{1} << (row % 64); }
  std::uint32_t count() const noexcept;
  /// Both of the same size.
  void intersect(const row_set& other) noexcept;
  void unite(const row_set& other) noexcept;
  void subtract(const row_set& other) noexcept;
  void invert() noexcept;
  template <class F> void for_each(F&& f) const {
    for (std::size_t w = 0; w < words_.size(); ++w)
      for (std::uint64_t left = words_[w]; left != 0; left &= left - 1) f(static_cast<std::uint32_t>(w * 64) + static_cast<std::uint32_t>(__builtin_ctzll(left)));
  }
  std::span<std::uint64_t> words() noexcept { return words_; }
  std::span<const std::uint64_t> words() const noexcept { return words_; }

private:
  std::uint32_t rows_;
  std::vector<std::uint64_t> words_; ///< Bits from `rows_` on are 0.
};

class segment {
public:
  static constexpr std::uint32_t rows_max = 1024;

  /// @param words whether words of each row can be had while rows are added, for lexical search over a growing segment.
  segment(const vector::space& space, std::uint32_t capacity, bool words);
  ~segment();
  segment(const segment&) = delete;
  segment& operator=(const segment&) = delete;

  // -- the owner's thread

  /// @pre `rows() < capacity()`; the vector went through `prepare`.
  void append(item_ptr content, std::span<const float> vector);
  /// The next row's vector, to be written before `append_written`.
  std::span<float> next_vector() noexcept { return {floats_.get() + std::size_t{rows_} * float_stride_, dimension_}; }
  void append_written(item_ptr content);
  std::uint32_t rows() const noexcept { return rows_; }
  std::uint32_t capacity() const noexcept { return capacity_; }
  /// Null when made without words.
  const std::shared_ptr<tail_terms>& words() const noexcept { return words_; }
  /// Nothing will be appended any more.
  void seal() noexcept;

  // -- any thread, for rows below the count of its view

  std::span<const item_ptr> items() const noexcept { return items_; }
  std::span<const float> vector(std::uint32_t row) const noexcept { return {floats_.get() + std::size_t{row} * float_stride_, dimension_}; }
  /// Padded with zeros to a multiple of `kernels::float_block`.
  const float* floats(std::uint32_t row) const noexcept { return floats_.get() + std::size_t{row} * float_stride_; }
  std::size_t float_stride() const noexcept { return float_stride_; }
  const int8_rows& codes() const noexcept { return codes_; }

  /// The newest row below `count`, not in `dead`, with this id.
  std::optional<std::uint32_t> find_id(std::string_view id, std::uint64_t hash, std::uint32_t count, const row_set* dead) const noexcept;
  /// Calls `f(row)` for rows below `count` with this content hash until it returns true.
  template <class F> void find_content(std::uint64_t hash, std::uint32_t count, F&& f) const {
    for (std::size_t at = hash & table_mask_;; at = (at + 1) & table_mask_) {
      const std::uint32_t slot = by_content_[at].load(std::memory_order_relaxed);
      if (slot == 0) return;
      if (slot <= count && content_hashes_[slot - 1] == hash && f(slot - 1)) return;
    }
  }

  /// Removes from `rows` (below count) what is expired at `now` or not valid at `as_of`.
  void keep_current(row_set& rows, wall_time now, wall_time as_of) const noexcept;
  wall_time expiry(std::uint32_t row) const noexcept { return expires_[row]; }

  /// Built by the first caller. Only for a sealed segment; `count` is what it was sealed with.
  const term_index& terms(std::uint32_t count) const;
  bool has_terms() const noexcept { return has_terms_.load(std::memory_order_acquire); }
  const column_index& columns(std::uint32_t count) const;

  /// Without `words`.
  std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

private:
  struct aligned_free {
    void operator()(void* p) const noexcept { ::operator delete[](p, std::align_val_t{64}); }
  };

  const std::uint32_t dimension_;
  const std::uint32_t capacity_;
  const std::size_t float_stride_;
  std::uint32_t rows_ = 0;
  std::vector<item_ptr> items_; ///< `capacity_` long from the start, as all that follow.
  std::unique_ptr<float[], aligned_free> floats_;
  int8_rows codes_;
  std::vector<std::uint64_t> id_hashes_, content_hashes_;
  std::vector<wall_time> valid_from_, valid_to_, expires_;
  std::size_t table_mask_;
  /// Open addressing, row + 1 or 0. Atomic because readers walk past rows that are being added; those are above their count.
  std::vector<std::atomic<std::uint32_t>> by_id_, by_content_;
  std::shared_ptr<tail_terms> words_;
  mutable std::atomic<std::size_t> bytes_;
  mutable std::once_flag terms_once_, columns_once_;
  mutable std::atomic<bool> has_terms_{false};
  mutable std::unique_ptr<term_index> terms_;
  mutable std::unique_ptr<column_index> columns_;
};

} // namespace hive::vector
