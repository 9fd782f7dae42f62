/// @file
/// Reads the members of one JSON object strictly: wrong types, values out of bounds and members nobody asked for are
/// errors that name the field. The first one is kept, so that a reader is a plain list of reads with one check at its
/// end.
#pragma once

#include "config/base/payload.hpp"
#include "config/base/result.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hive::actors {

/// A path as JSON: paths are bytes, JSON is UTF-8. A string where it can be one, else `{"hex":"..."}`.
nlohmann::json path_to_json(std::string_view path);
/// For people: what is not UTF-8 or would break a line or a terminal becomes `\xNN`.
std::string path_for_people(std::string_view path);
bool is_utf8(std::string_view bytes) noexcept;

class json_fields {
public:
  explicit json_fields(nlohmann::json object);
  /// Parses; not JSON, or not an object, is the first problem.
  explicit json_fields(const payload& body);

  /// Required.
  std::string text(std::string_view name, std::size_t bytes_max = 4096);
  /// Required, as `path_to_json` wrote it; NUL is refused.
  std::string path(std::string_view name);
  std::optional<std::string> text_if(std::string_view name, std::size_t bytes_max = 4096);
  std::optional<std::string> path_if(std::string_view name);
  std::uint64_t number(std::string_view name, std::uint64_t low, std::uint64_t high);
  std::uint64_t number_or(std::string_view name, std::uint64_t otherwise, std::uint64_t low, std::uint64_t high);
  bool flag_or(std::string_view name, bool otherwise);
  /// An absent list is empty.
  std::vector<std::string> texts(std::string_view name, std::size_t items_max, std::size_t bytes_max = 4096);
  /// Any JSON value; null when absent.
  nlohmann::json value(std::string_view name);
  bool has(std::string_view name) const;

  /// The first thing that was wrong, members that no read asked for included. Call after the last read.
  std::optional<error> problem();

private:
  const nlohmann::json* take(std::string_view name, bool required);
  void wrong(std::string_view name, const std::string& why);

  nlohmann::json object_;
  std::vector<std::string> asked_;
  std::optional<error> first_;
};

} // namespace hive::actors
