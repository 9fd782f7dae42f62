/// @file
/// What a file is: by its first bytes when it is binary, else by name, "#!" line and first lines.
#pragma once

#include <cstdint>
#include <string_view>

namespace hive::actors::text {

/// How the structure of a language is found.
enum class grammar : std::uint8_t {
  none,
  braces_c,
  braces_java,
  braces_js, // statements and scopes between braces
  keywords,  // a definition starts with a word at the start of a line
  python,
  shell,
  markdown,
  restructured,
  html,
  man,
  plain
};

/// What starts a definition in a line, after modifiers: {"def", "function"}.
struct keyword {
  std::string_view word;
  std::string_view kind;
};

struct language {
  std::string_view name; ///< "C++", "Markdown"; shown in reports.
  grammar structure = grammar::none;
  std::string_view line_comment{};   ///< "//", "#": what follows is no structure.
  bool block_comments = false;       ///< "/* */"
  const keyword* keywords = nullptr; ///< Ends with an empty word.
};

/// Bytes that decide whether a file is text: one NUL among them makes it binary, as git has it.
inline constexpr std::size_t sniffed_bytes = 8000;
bool is_binary(std::string_view head) noexcept;

/// "PNG image", "ELF program", "gzip archive" ...; "binary" when it is none that is known.
std::string_view binary_type(std::string_view head) noexcept;

/// Never null. Plain text when nothing says more.
const language& language_of(std::string_view path, std::string_view head) noexcept;

} // namespace hive::actors::text
