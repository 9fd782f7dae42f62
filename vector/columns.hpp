/// @file
/// The metadata and attributes of a sealed segment by column, so that a filter reads a few kilobytes instead of every item.
#pragma once

#include "vector/filter.hpp"
#include "vector/segment.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hive::vector {

/// Values of one field, apart by type. A row has one type, but for @trust, which is a word and a rank.
struct column {
  row_set present;
  row_set is_true; ///< Rows with `true`; `is_bool` says which have a boolean.
  row_set is_bool;
  row_set is_int;
  std::vector<std::int64_t> ints; ///< By row, when any row has one; otherwise empty. The next ones likewise.
  row_set is_double;
  std::vector<double> doubles;
  std::vector<std::string_view> dictionary; ///< Different strings, sorted; they live in the items.
  std::vector<std::uint32_t> words;         ///< Places in the dictionary: row r has those from starts[r] to starts[r + 1].
  std::vector<std::uint32_t> starts;
};

/// Immutable. @pre the items outlive it.
class column_index {
public:
  column_index(std::span<const item_ptr> items, std::uint32_t count);
  ~column_index();
  /// Null when no row has the field.
  const column* find(std::string_view field) const noexcept;
  std::size_t bytes() const noexcept { return bytes_; }

private:
  std::map<std::string, column, std::less<>> columns_;
  std::size_t bytes_ = 0;
};

/// A filter made ready for many rows: sets sorted, types apart. Keeps a pointer to the filter.
class compiled_filter {
public:
  /// @pre the filter is valid and outlives this.
  explicit compiled_filter(const filter& f);
  ~compiled_filter();
  /// The rows below `count` that pass.
  row_set rows(const segment& of, std::uint32_t count, bool sealed) const;

private:
  struct node;
  static std::unique_ptr<node> compile(const filter& f);
  static row_set run(const node& n, const segment& of, std::uint32_t count);

  const filter& source_;
  std::unique_ptr<node> root_;
};

} // namespace hive::vector
