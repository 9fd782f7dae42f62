/// @file
/// Reads what a person wrote (YAML or JSON, on the command line, in a file, on standard input) as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace hive::cli {

/// The documents of a YAML text, of which JSON is a subset. Plain scalars become null, booleans and numbers by YAML 1.2's
/// core rules; quoted ones stay strings. Aliases are expanded within bounds; a repeated key, a merge key or a tag is an
/// error. Throws `failure` (usage) with `name`, line and column.
std::vector<nlohmann::json> parse_yaml(const std::string& text, const std::string& name);

/// The file's whole text; "-" is standard input. Throws `failure` (usage, not_found).
std::string read_text(const std::string& path);

/// A payload argument: JSON as it stands, "@FILE" a file with JSON, "-" standard input; empty: null. A word that is not
/// JSON is refused with the advice to quote it. Throws `failure` (usage).
nlohmann::json read_payload(const std::string& argument);

} // namespace hive::cli
