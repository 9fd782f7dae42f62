/// @file
/// Which items a search may return: a typed expression over metadata and attributes.
#pragma once

#include "config/base/result.hpp"
#include "vector/item.hpp"
#include "vector/limits.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hive::vector {

/// A tree; default-constructed it lets everything pass.
///
/// A field is a metadata key, or an attribute of the item: "@id", "@kind", "@source", "@trust" (a word, or in ranges a number
/// 0..4), "@importance", "@created", "@valid_from", "@valid_to", "@expires_at" (milliseconds since 1970), "@superseded_by" (an id). A
/// condition on a field that an item does not have, or has with another type, is false (so `not_` of it is true); a word that is no trust
/// is an error, not a condition that nothing fulfils.
struct filter {
  enum class op : std::uint8_t {
    all,    ///< All `children` hold; without children: true.
    any,    ///< One of `children` holds; without children: false.
    not_,   ///< The one child does not hold.
    in,     ///< The field equals one of `values` (equality is a set of one). A list of strings equals each of its words.
    range,  ///< A number or a string between `low` and `high`.
    prefix, ///< A string (or a word of a list) starts with `values[0]`.
    exists, ///< The field is there.
  };
  op what = op::all;
  std::string field;
  std::vector<value> values;
  std::optional<value> low, high; ///< Both numbers or both strings; one may be missing.
  bool low_inclusive = true, high_inclusive = true;
  std::vector<filter> children;

  static filter equal(std::string field, value v);
  static filter in_set(std::string field, std::vector<value> values);
  static filter between(std::string field, std::optional<value> low, std::optional<value> high, bool low_inclusive = true,
                        bool high_inclusive = true);
  static filter starts_with(std::string field, std::string prefix);
  static filter has(std::string field);
  static filter all_of(std::vector<filter> children);
  static filter any_of(std::vector<filter> children);
  static filter none(filter child);

  /// Lets everything pass without looking.
  bool trivial() const noexcept { return what == op::all && children.empty(); }
};

/// From JSON: `{"lang": "en", "year": {"$gte": 2020, "$lt": 2024}, "tag": {"$in": ["a", "b"]}, "path": {"$prefix": "src/"},
/// "draft": {"$exists": false}, "lines": {"$ne": 0}, "$or": [..], "$and": [..], "$not": {..}}`; the entries of one object all hold.
/// @returns `invalid_argument` naming the place ("filter.$or[1].year.$gte"): unknown operator, wrong type, too deep, too large.
result<filter> filter_from_json(std::string_view json, const search_limits& limits, std::string_view field = "filter");

/// Depth, nodes, values and types of a filter that was built in code; `filter_from_json` has done it already.
result<void> validate(const filter& f, const search_limits& limits, std::string_view field = "filter");

/// One item, without any index: the meaning of filters, which compiled ones are tested against.
bool matches(const filter& f, const item& i);

} // namespace hive::vector
