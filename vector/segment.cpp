#include "vector/segment.hpp"

#include "config/base/payload.hpp"
#include "vector/columns.hpp"
#include "vector/lexical/terms.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace hive::vector {

row_set::row_set(std::uint32_t rows, bool full) : rows_(rows), words_((rows + 63) / 64, full ? ~std::uint64_t{0} : 0) {
  if (full && rows % 64 != 0) words_.back() = (std::uint64_t{1} << (rows % 64)) - 1;
}

std::uint32_t row_set::count() const noexcept {
  int n = 0;
  for (const std::uint64_t w : words_) n += std::popcount(w);
  return static_cast<std::uint32_t>(n);
}

void row_set::intersect(const row_set& other) noexcept {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
}

void row_set::unite(const row_set& other) noexcept {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
}

void row_set::subtract(const row_set& other) noexcept {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
}

void row_set::invert() noexcept {
  for (std::uint64_t& w : words_) w = ~w;
  if (rows_ % 64 != 0) words_.back() &= (std::uint64_t{1} << (rows_ % 64)) - 1;
}

segment::segment(const class space& space, std::uint32_t capacity, bool words)
  : dimension_(space.dimension), capacity_(capacity), float_stride_(padded(space.dimension, kernels::float_block)), items_(capacity),
    floats_(new (std::align_val_t{64}) float[capacity * float_stride_]), codes_(space.dimension, capacity), id_hashes_(capacity),
    content_hashes_(capacity), valid_from_(capacity), valid_to_(capacity), expires_(capacity),
    table_mask_(std::bit_ceil(std::size_t{capacity} * 2) - 1), by_id_(table_mask_ + 1), by_content_(table_mask_ + 1),
    words_(words ? std::make_shared<tail_terms>(capacity) : nullptr) {
  assert(capacity <= rows_max);
  bytes_ = sizeof(segment) + capacity * (sizeof(item_ptr) + float_stride_ * sizeof(float) + 2 * sizeof(std::uint64_t) + 3 * sizeof(wall_time)) +
           codes_.bytes() + 2 * (table_mask_ + 1) * sizeof(std::uint32_t);
}

segment::~segment() = default;

void segment::append(item_ptr content, std::span<const float> vector) {
  assert(rows_ < capacity_ && vector.size() == dimension_);
  std::memcpy(next_vector().data(), vector.data(), vector.size_bytes());
  append_written(std::move(content));
}

void segment::append_written(item_ptr content) {
  assert(rows_ < capacity_);
  const std::uint32_t row = rows_;
  const std::span<float> vector = next_vector();
  std::fill(vector.data() + dimension_, vector.data() + float_stride_, 0.0F);
  codes_.put(row, vector);
  id_hashes_[row] = hash_of(content->id);
  content_hashes_[row] = content_hash(*content, vector);
  valid_from_[row] = content->valid_from;
  valid_to_[row] = content->valid_to;
  expires_[row] = content->expires_at;
  const std::size_t grown = heap_bytes(*content);
  items_[row] = std::move(content);
  const auto enter = [&](std::vector<std::atomic<std::uint32_t>>& table, std::uint64_t hash) {
    std::size_t at = hash & table_mask_;
    while (table[at].load(std::memory_order_relaxed) != 0) at = (at + 1) & table_mask_;
    table[at].store(row + 1, std::memory_order_relaxed);
  };
  enter(by_id_, id_hashes_[row]);
  enter(by_content_, content_hashes_[row]);
  bytes_.fetch_add(grown, std::memory_order_relaxed);
  ++rows_;
}

void segment::seal() noexcept { words_.reset(); }

std::optional<std::uint32_t> segment::find_id(std::string_view id, std::uint64_t hash, std::uint32_t count, const row_set* dead) const noexcept {
  for (std::size_t at = hash & table_mask_;; at = (at + 1) & table_mask_) {
    const std::uint32_t slot = by_id_[at].load(std::memory_order_relaxed);
    if (slot == 0) return std::nullopt;
    const std::uint32_t row = slot - 1;
    if (row < count && id_hashes_[row] == hash && !(dead && dead->test(row)) && items_[row]->id == id) return row;
  }
}

void segment::keep_current(row_set& rows, wall_time now, wall_time as_of) const noexcept {
  const auto words = rows.words();
  for (std::size_t w = 0; w < words.size(); ++w) {
    std::uint64_t keep = 0;
    const std::size_t first = w * 64;
    const std::size_t end = std::min<std::size_t>(first + 64, rows.rows());
    for (std::size_t row = first; row < end; ++row) {
      const bool current = expires_[row] > now && valid_from_[row] <= as_of && as_of < valid_to_[row];
      keep |= std::uint64_t{current} << (row - first);
    }
    words[w] &= keep;
  }
}

const term_index& segment::terms(std::uint32_t count) const {
  std::call_once(terms_once_, [&] {
    terms_ = std::make_unique<term_index>(items_, count);
    bytes_.fetch_add(terms_->bytes(), std::memory_order_relaxed);
    has_terms_.store(true, std::memory_order_release);
  });
  return *terms_;
}

const column_index& segment::columns(std::uint32_t count) const {
  std::call_once(columns_once_, [&] {
    columns_ = std::make_unique<column_index>(items_, count);
    bytes_.fetch_add(columns_->bytes(), std::memory_order_relaxed);
  });
  return *columns_;
}

} // namespace hive::vector
