/// @file
/// Where in a text the words of a query stand.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hive::vector {

/// Bytes [begin, end) of an item's text; always on character borders of valid UTF-8.
struct span_of_text {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  friend bool operator==(span_of_text, span_of_text) = default;
};

/// Every word of `text` that search would find by a word of `query` ("Nodes" for "node"), in order, not overlapping.
/// @param spans_max the first so many.
std::vector<span_of_text> highlight(std::string_view text, std::string_view query, std::size_t spans_max = 64);

} // namespace hive::vector
