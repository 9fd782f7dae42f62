/// @file
/// Items on their way into a collection: from JSON, and as the message `items.put` carries them.
#pragma once

#include "config/settings.hpp"
#include "vector/collection.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace hive::actors {

/// One item of a batch.
struct new_item {
  vector::item content;
  std::vector<float> vector;        ///< Empty: made from the text by the collection's embedder.
  std::chrono::milliseconds ttl{0}; ///< Expires so long after the turn that stores it; 0: as `content.expires_at` says.
  vector::put_options how;
};

/// Who speaks: what an item is believed at most, and where it came from unless it says so.
struct item_author {
  vector::trust highest = vector::trust::user;
  std::string source;
};

/// An item as somebody wrote it, in whatever form; nothing of it is checked yet.
struct written_item {
  std::string id, text, kind, source, trust; ///< Empty: not given.
  std::string vector, metadata;              ///< JSON; empty: not given.
  std::optional<double> importance;
  std::optional<std::int64_t> valid_from, valid_to, expires_at, ttl_ms;
  std::vector<vector::link> links;
  vector::put_options how;
};

/// The one place where items are read. @param path of the item, for errors: "items[3]".
result<new_item> item_from(written_item in, const item_author& by, const vector::collection_limits& limits, const std::string& path);

/// {"id","text","vector","metadata","kind","source","trust","importance","valid_from","valid_to","expires_at","ttl_ms",
/// "links":[{"relation","to"}],"supersedes","expected_version","allow_duplicate"}; times in milliseconds since 1970.
/// null means absent, for every member. @returns errors naming the field below `field`: "items[3].vector".
result<std::vector<new_item>> items_from_json(const nlohmann::json& list, const item_author& by,
                                              const vector::collection_limits& limits, std::string_view field);

/// Milliseconds since 1970, up to the year 9999: beyond, a mistake in the unit is taken for one.
result<wall_time> time_from(std::int64_t milliseconds, const std::string& field);

/// Raw JSON that is absent is empty, or says so.
inline bool given(const std::string& raw) { return !raw.empty() && raw != "null"; }

/// A list of numbers, read without building it as JSON first. Sizes and values are checked by the collection.
result<std::vector<float>> floats_from_json(std::string_view text, const std::string& field);
/// The shortest text that reads back the same.
void append_floats(std::string& out, std::span<const float> vector);

/// Body of `items.put`: the version of the format, then the items.
std::string encode_items(const std::vector<new_item>& items);
/// Any bytes are safe to give. @param items_max beyond it `invalid_argument` for "items".
result<std::vector<new_item>> decode_items(std::string_view bytes, std::uint32_t items_max);

vector::collection_limits limits_of(const config::context_limits& settings);
vector::search_limits search_limits_of(const config::context_limits& settings);

} // namespace hive::actors
