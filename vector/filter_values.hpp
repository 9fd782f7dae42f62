/// @file
/// How filters read and compare values: shared by the plain and the compiled form.
#pragma once

#include "vector/filter.hpp"

#include <compare>
#include <optional>
#include <string_view>

namespace hive::vector {

/// A value without owning it. Lists are visited word by word with `each_value`.
struct value_ref {
  enum class type : std::uint8_t { boolean, integer, real, text } what = type::boolean;
  bool boolean = false;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;

  bool number() const noexcept { return what == type::integer || what == type::real; }
};

inline value_ref ref(bool v) noexcept { return {value_ref::type::boolean, v, 0, 0, {}}; }
inline value_ref ref(std::int64_t v) noexcept { return {value_ref::type::integer, false, v, 0, {}}; }
inline value_ref ref(double v) noexcept { return {value_ref::type::real, false, 0, v, {}}; }
inline value_ref ref(std::string_view v) noexcept { return {value_ref::type::text, false, 0, 0, v}; }

/// Calls `f` with the value, or with each word of a list.
template <class F> void each_value(const value& v, F&& f) {
  switch (v.index()) {
  case 0: f(ref(std::get<bool>(v))); break;
  case 1: f(ref(std::get<std::int64_t>(v))); break;
  case 2: f(ref(std::get<double>(v))); break;
  case 3: f(ref(std::string_view{std::get<std::string>(v)})); break;
  default:
    for (const auto& w : std::get<std::vector<std::string>>(v)) f(ref(std::string_view{w}));
  }
}

/// Exact, also between integers and doubles (an x87 long double holds every one of both).
std::partial_ordering compare(const value_ref& a, const value_ref& b) noexcept;

/// The field of an item, metadata or attribute. @returns whether the item has it (a list may be there and empty).
template <class F> bool visit_field(const item& i, std::string_view field, F&& f);

/// All attributes, "@kind" ...; the order is of no meaning.
std::span<const std::string_view> attributes() noexcept;
/// `nullopt`: the item does not have it (an empty kind, no expiry).
std::optional<value_ref> attribute(const item& i, std::string_view name) noexcept;

template <class F> bool visit_field(const item& i, std::string_view field, F&& f) {
  if (!field.empty() && field[0] == '@') {
    const auto v = attribute(i, field);
    if (!v) return false;
    f(*v);
    // Its rank as well, for ranges.
    if (field == "@trust") f(ref(static_cast<std::int64_t>(i.trusted)));
    return true;
  }
  const value* v = find(i.meta, field);
  if (!v) return false;
  each_value(*v, f);
  return true;
}

bool in_range(const filter& f, const value_ref& v) noexcept;

} // namespace hive::vector
