/// @file
/// What is defined in a text, and under which headings: found by careful scanners of lines and braces, not by parsers.
/// They know comments, strings, `#if`, heredocs and fences; macros that define functions pass as functions.
#pragma once

#include "actors/executors/text/language.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hive::actors::text {

struct structure {
  std::map<std::string_view, std::uint64_t> definitions; ///< By kind: "function", "class", "macro" ...
  std::uint64_t headings = 0;
  std::vector<std::string> outline; ///< The first few, "class ring", "# Install".
};

inline constexpr std::size_t outline_max = 8;

structure structure_of(const language& what, std::string_view content);

/// The content with comments and the insides of strings turned into blanks; lines stay where they are.
std::string code_only(const language& what, std::string_view content);

} // namespace hive::actors::text
