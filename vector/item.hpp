/// @file
/// One memory, and its durable form.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/result.hpp"
#include "vector/limits.hpp"
#include "vector/metadata.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hive::vector {

/// How far the content may be believed; filterable. The numbers are stored; never renumber.
enum class trust : std::uint8_t { untrusted = 0, tool = 1, agent = 2, user = 3, system = 4 };
std::string_view to_string(trust t) noexcept;
result<trust> trust_from(std::string_view word);

/// From the item that holds it to the item named `to`, which may not exist (yet, or any more): then it leads nowhere.
struct link {
  std::string relation; ///< "cites", "next", "part_of" ...
  std::string to;       ///< An id in the same collection.
  friend bool operator==(const link&, const link&) = default;
};

/// Later than anything: no end.
inline constexpr wall_time never = wall_time::max();
/// Earlier than anything: no beginning.
inline constexpr wall_time always = wall_time::min();

/// Immutable once stored; a change stores a new one under the same id. The vector is kept apart from it.
struct item {
  std::string id;   ///< Unique in its collection. Empty in a put: made from the content.
  std::string text; ///< What is searched by words, shown and packed. UTF-8 is expected, not required.
  metadata meta;
  std::string kind;   ///< "fact", "episode", "chunk" ...; may be empty.
  std::string source; ///< Where it came from: a path, an agent's address, a URL; may be empty.
  trust trusted = trust::untrusted;
  float importance = 0;        ///< 0..1
  wall_time created{};         ///< Given by the put; kept when the item is changed.
  wall_time valid_from = always; ///< True in the world from here ...
  wall_time valid_to = never;  ///< ... until before here. A superseded item ends where its successor begins.
  wall_time expires_at = never; ///< From here on no path returns it.
  std::vector<link> links;
  std::string superseded_by;   ///< Set by the collection; an id, or empty.
  std::uint64_t version = 0;   ///< Set by the collection: one more with each change, and never twice for an id.

  bool expired(wall_time now) const noexcept { return expires_at <= now; }
  bool valid(wall_time at) const noexcept { return valid_from <= at && at < valid_to; }
  friend bool operator==(const item&, const item&) = default;
};

using item_ptr = std::shared_ptr<const item>;

/// Everything but the vector: sizes, importance finite and within 0..1, valid_from < valid_to, metadata.
result<void> validate(const item& i, const collection_limits& limits);

/// Kind and text (or, without a text, the vector): what makes two items the same memory. Stored data may depend on it.
std::uint64_t content_hash(const item& i, std::span<const float> vector) noexcept;

/// The row of an item: a version byte, the fields, then the vector as little-endian fp32. `vector` is the stored one.
std::string encode(const item& i, std::span<const float> vector);

struct decoded_item {
  item content;
  std::vector<float> vector;
};
/// Any bytes are safe to give. Damaged rows are `internal` with reason "damaged_item".
result<decoded_item> decode(std::string_view row);

/// The same without a copy of the vector. @returns its bytes within `row`, a multiple of 4; `into` is what a default item was.
result<std::string_view> decode_item(std::string_view row, item& into);

/// Bytes of the item with its strings on the heap.
std::size_t heap_bytes(const item& i) noexcept;

} // namespace hive::vector
