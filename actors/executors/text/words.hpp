/// @file
/// Counting in text: lines, markers, terms. Each count is defined so that a plain tool gives the same number.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hive::actors::text {

inline constexpr std::array<std::string_view, 4> markers{"TODO", "FIXME", "XXX", "HACK"};

/// Line ends, as `wc -l` counts them.
std::uint64_t line_ends(std::string_view content) noexcept;

/// Lines that hold the word on its own, as `LC_ALL=C grep -cw` counts them: no letter, digit or `_` beside it.
std::uint64_t lines_with_word(std::string_view content, std::string_view word) noexcept;

struct term {
  std::string word;
  std::uint64_t count = 0;
};

/// The most used words of 4 to 40 letters, digits and `_` (UTF-8 counts as letters) that start with a letter, in lower
/// case, without the commonest words of English and of programming; more often first, then by name.
std::vector<term> top_terms(std::string_view content, std::size_t limit);

} // namespace hive::actors::text
