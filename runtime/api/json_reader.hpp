/// @file
/// A strict JSON reader (RFC 8259) that builds no tree: it walks the text once and hands out pieces of it. Depth is
/// limited before anything is built; a payload stays the bytes that the caller wrote.
///
/// Refused: anything after the value, duplicate members, invalid UTF-8, lone surrogates, control characters, numbers that no
/// double can hold, NaN, comments.
#pragma once

#include "config/base/base64.hpp"
#include "config/base/error.hpp"

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace hive::api {

/// Thrown inside the JSON mapping and caught at its edge (json_mapping.cpp), where it becomes a `result`.
struct json_failure {
  std::string message;
  std::string field{}; ///< Path, when the mapping knows it.
};

/// The offset of the first byte that is not UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text) noexcept;

class json_reader {
public:
  enum class kind : std::uint8_t { object, array, string, number, boolean, null };

  /// @param text valid UTF-8 that outlives the reader.
  json_reader(std::string_view text, std::uint32_t depth_max) noexcept : text_(text), depth_left_(depth_max) {}

  /// What the next value is.
  kind peek();

  void enter_object();
  /// The next member's decoded name, or false at the end of the object, which it leaves. The caller reads its value.
  bool next_member(std::string& name);
  void enter_array();
  bool next_element();

  std::string string();
  std::string_view number(); ///< As it is written.
  bool boolean();
  void null();
  /// Any value, checked whole: as it is written.
  std::string_view skip();
  /// Nothing but white space is left.
  void finish();

private:
  [[noreturn]] void fail(const std::string& what) const;
  void white_space() noexcept;
  char need();
  void expect(char c, const char* what);
  void word(std::string_view w);
  void descend();
  std::string_view raw_string(bool& escaped); ///< Without its quotes.
  std::string decode(std::string_view raw) const;
  void skip_value();
  void check_duplicates(std::size_t from);

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t depth_left_;
  bool first_ = false; ///< The object or array was just entered.
  std::vector<std::string_view> names_;  // of the objects that `skip` is in
  std::deque<std::string> decoded_;      // those of them that were written with escapes
};

/// True when `text` is one JSON value.
bool is_json(std::string_view text, std::uint32_t depth_max) noexcept;
/// Appends `text` as a JSON string. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

} // namespace hive::api
