/// @file
/// Reads of JSON that somebody else wrote: what is of another type, or out of range, is absent. nlohmann's own throw, and what a
/// peer says is read on the links' threads, where nobody catches.
#pragma once

#include <nlohmann/json.hpp>

#include <concepts>
#include <limits>
#include <optional>
#include <string>

namespace hive {

template <std::unsigned_integral T> std::optional<T> unsigned_in(const nlohmann::json& j) {
  if (!j.is_number_unsigned()) return std::nullopt;
  const auto n = j.get<std::uint64_t>();
  return n <= std::numeric_limits<T>::max() ? std::optional(static_cast<T>(n)) : std::nullopt;
}

inline std::optional<std::string> text_in(const nlohmann::json& j) {
  return j.is_string() ? std::optional(j.get<std::string>()) : std::nullopt;
}

/// The member of an object; null when it is none, or has no such member.
inline const nlohmann::json& member_of(const nlohmann::json& j, const char* name) {
  static const nlohmann::json absent;
  if (!j.is_object()) return absent;
  const auto found = j.find(name);
  return found == j.end() ? absent : *found;
}

/// The element of an array; null likewise.
inline const nlohmann::json& element_of(const nlohmann::json& j, std::size_t at) {
  static const nlohmann::json absent;
  return j.is_array() && at < j.size() ? j[at] : absent;
}

/// The elements of an array; of anything else none. (nlohmann goes over an object's members, and over a scalar once.)
inline const nlohmann::json& elements_of(const nlohmann::json& j) {
  static const nlohmann::json none = nlohmann::json::array();
  return j.is_array() ? j : none;
}

} // namespace hive
