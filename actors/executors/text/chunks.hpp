/// @file
/// A text cut into passages that stand on their own: at headings and definitions, or after some 60 lines.
#pragma once

#include "actors/executors/text/language.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hive::actors::text {

struct chunk {
  std::uint64_t line = 1;      ///< Of its first line, from 1,
  std::uint64_t last_line = 1; ///< and of its last.
  std::string heading;         ///< The heading above it, of texts that have some; may be empty.
  std::string_view content;    ///< Part of the text that was cut.
};

inline constexpr std::uint64_t chunk_lines_max = 60;
inline constexpr std::size_t chunk_bytes_max = 8 * 1024;

/// Whole lines, in order, together all of the content but passages without a letter or digit. A line longer than
/// `chunk_bytes_max` is a chunk of its first so many bytes.
std::vector<chunk> chunks_of(const language& what, std::string_view content);

} // namespace hive::actors::text
