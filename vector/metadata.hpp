/// @file
/// Typed values that an item carries and filters read.
#pragma once

#include "config/base/result.hpp"
#include "vector/limits.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hive::vector {

/// Integers and doubles compare as numbers; a list of strings is equal to each of its words (tags).
using value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

/// Sorted by key, keys unique. Small: a few to a few dozen entries.
using metadata = std::vector<std::pair<std::string, value>>;

/// Null when the key is not there.
const value* find(const metadata& in, std::string_view key) noexcept;
/// Replaces or inserts, keeps the order.
void set(metadata& in, std::string key, value v);

/// From a JSON object. Objects inside become dotted keys ("file.line"); null means absent; lists must be of strings.
/// Reads no further than the limits allow; takes time linear in the text. Errors name the field below `field`: "metadata.file.size".
result<metadata> metadata_from_json(std::string_view json, const collection_limits& limits, std::string_view field);
/// One JSON object, keys as stored (dotted keys stay dotted).
std::string to_json(const metadata& m);

/// Keys sorted and unique, not empty, not starting with '$' or '@'; doubles finite; within the limits.
result<void> validate(const metadata& m, const collection_limits& limits, std::string_view field);

/// Bytes on the heap; short texts are inside the object.
inline std::size_t heap_bytes(const std::string& s) noexcept { return s.capacity() > 15 ? s.capacity() + 1 : 0; }
std::size_t heap_bytes(const metadata& m) noexcept;

} // namespace hive::vector
