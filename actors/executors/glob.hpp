/// @file
/// Names with wildcards. `*` and `?` stay within one piece of a path, `**` crosses pieces, `[a-z]` and `[!a-z]` choose
/// one character. A pattern without a slash is held against the last piece ("*.cpp", ".git"), one with a slash against
/// the whole path below the root ("docs/**/*.md").
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hive::actors {

bool glob_matches(std::string_view pattern, std::string_view relative_path) noexcept;
bool any_glob_matches(const std::vector<std::string>& patterns, std::string_view relative_path) noexcept;

/// A pattern that matches just this path.
std::string glob_of(std::string_view path);

} // namespace hive::actors
