/// @file
/// What the API answers, as text for people. Pure functions: JSON in, text out. Absent members read as empty.
#pragma once

#include "runtime/cli/table.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace hive::cli {

/// A member as text: strings as they are, numbers and booleans spelled, absent and null empty, others as JSON.
std::string text_of(const nlohmann::json& object, const std::string& member);
std::uint64_t number_of(const nlohmann::json& object, const std::string& member);
const nlohmann::json& object_of(const nlohmann::json& object, const std::string& member);

/// What somebody stored, safe to show: what a terminal would obey (escapes and other controls, but for new lines and tabs) becomes a space.
std::string harmless(std::string text);

/// "2026-11-21 03:04:05" UTC; empty for 0.
std::string human_time(std::int64_t unix_ms);

colour colour_of_status(const std::string& status);

/// Lists of `kind` ("agents", "supervisors", "tasks", "tenants", "keys") as tables. @param now_ms for ages.
std::string render_list(const std::string& kind, const nlohmann::json& items, std::int64_t now_ms, bool colours);

/// Any JSON object as indented "name: value" lines; harmless.
std::string render_object(const nlohmann::json& value, std::size_t indent = 0);

/// The supervision tree, with box characters. @param tree the message Tree.
std::string render_tree(const nlohmann::json& tree, bool colours);

/// What an apply changed, and a closing line with the sums. Unchanged entities only in the sums unless `all`.
std::string render_changes(const nlohmann::json& applied, bool all, bool colours);

/// One line: time, type, source, data.
std::string render_event(const nlohmann::json& event, std::size_t width, bool colours);

/// A task with its result, as its end is reported.
std::string render_task(const nlohmann::json& task, bool colours);

} // namespace hive::cli
