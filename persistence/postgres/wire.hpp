/// @file
/// Values as PostgreSQL's binary protocol has them: arguments of a statement, arrays with one element a row, and rows
/// that come back. Big-endian.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pg_result;

namespace hive::persistence::postgres {

/// Object ids of the server's own types; they never change.
enum class type : unsigned {
  none = 0,
  int8 = 20,
  int4 = 23,
  text = 25,
  bytea = 17,
  int4_array = 1007,
  int8_array = 1016,
  text_array = 1009,
  bytea_array = 1001
};

/// One column of many rows, sent as an array. Keeps its memory from batch to batch.
class column {
public:
  /// @param of `int4`, `int8`, `text` or `bytea`.
  explicit column(type of);
  void clear(std::int32_t lower_bound = 1);
  column& number(std::int64_t value);
  column& number(std::uint64_t value) { return number(static_cast<std::int64_t>(value)); }
  column& bytes(std::string_view value);
  column& null();
  std::size_t size() const noexcept { return count_; }
  /// The array as it is sent. Valid until the next change.
  std::string_view wire();
  type array_type() const noexcept;

private:
  void put32(std::uint32_t value);
  type of_;
  std::string out_;
  std::size_t count_ = 0;
  bool nulls_ = false;
};

/// Arguments of one statement. Text, bytes and columns are not copied: they outlive the call that sends them.
class arguments {
public:
  arguments() = default;
  arguments(arguments&&) = default;
  arguments& operator=(arguments&&) = default;
  arguments& number(std::int64_t value);
  arguments& number(std::uint64_t value) { return number(static_cast<std::int64_t>(value)); }
  arguments& text(std::string_view value) { return add(type::text, value); }
  arguments& bytes(std::string_view value) { return add(type::bytea, value); }
  arguments& text(const char* literal) { return text(std::string_view(literal)); }
  arguments& text(std::string&&) = delete; // would be gone
  arguments& bytes(std::string&&) = delete;
  arguments& array(column& value) { return add(value.array_type(), value.wire()); }

  int count() const noexcept { return static_cast<int>(values_.size()); }
  const unsigned* types() const noexcept { return types_.data(); }
  const char* const* values() const noexcept { return values_.data(); }
  const int* lengths() const noexcept { return lengths_.data(); }
  const int* formats() const noexcept { return formats_.data(); }

private:
  arguments& add(type of, std::string_view value);
  std::deque<std::array<char, 8>> numbers_;
  std::vector<unsigned> types_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
};

/// What a statement gave back, in binary. Values live as long as this.
class rows {
public:
  rows() noexcept : result_(nullptr, nullptr) {}
  explicit rows(pg_result* result);

  std::size_t size() const noexcept;
  bool is_null(std::size_t row, int column) const noexcept;
  /// An int2, int4, int8 or bool; 0 when null.
  std::int64_t number(std::size_t row, int column) const noexcept;
  std::uint64_t bits(std::size_t row, int column) const noexcept {
    return static_cast<std::uint64_t>(number(row, column));
  }
  std::string_view bytes(std::size_t row, int column) const noexcept;
  std::string text(std::size_t row, int column) const { return std::string(bytes(row, column)); }
  /// How many rows an INSERT, UPDATE or DELETE touched.
  std::uint64_t touched() const noexcept;

private:
  std::unique_ptr<pg_result, void (*)(pg_result*)> result_;
};

} // namespace hive::persistence::postgres
