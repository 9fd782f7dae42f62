#include "vector/filter.hpp"

#include "vector/filter_values.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace hive::vector {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 10> attribute_names{"@id",      "@kind",       "@source",   "@trust",      "@importance",
                                                           "@created", "@valid_from", "@valid_to", "@expires_at", "@superseded_by"};

std::optional<value_ref> text_or_none(const std::string& s) {
  if (s.empty()) return std::nullopt;
  return ref(std::string_view{s});
}

std::optional<value_ref> time_or_none(wall_time t) {
  if (t == never || t == always) return std::nullopt;
  return ref(static_cast<std::int64_t>(t.time_since_epoch().count()));
}

bool equals_one_of(const std::vector<value>& values, const value_ref& v) {
  bool found = false;
  for (const auto& candidate : values) each_value(candidate, [&](const value_ref& c) { found = found || compare(c, v) == 0; });
  return found;
}

/// Counts while it walks, so that the limits hold for the whole tree and hold before anything is built.
class parser {
public:
  explicit parser(const search_limits& limits) : limits_(limits) {}

  result<filter> object(const json& j, const std::string& at, std::uint32_t depth) {
    if (!j.is_object()) return invalid(at, at + " must be an object of conditions");
    if (auto room = enter(at, depth); !room) return room.error();
    filter all;
    for (const auto& [key, v] : j.items()) {
      auto part = condition(key, v, at + "." + key, depth + 1);
      if (!part) return part;
      all.children.push_back(std::move(*part));
    }
    if (all.children.size() == 1) return std::move(all.children.front());
    return all;
  }

private:
  result<void> enter(const std::string& at, std::uint32_t depth) {
    if (depth > limits_.filter_depth) return invalid(at, at + ": the filter is nested deeper than " + std::to_string(limits_.filter_depth));
    if (++nodes_ > limits_.filter_nodes) return invalid(at, at + ": the filter has more than " + std::to_string(limits_.filter_nodes) + " conditions");
    return {};
  }

  result<filter> condition(const std::string& key, const json& v, const std::string& at, std::uint32_t depth) {
    if (key == "$and" || key == "$or") {
      if (auto room = enter(at, depth); !room) return room.error();
      if (!v.is_array()) return invalid(at, at + " must be a list of conditions");
      filter f;
      f.what = key == "$and" ? filter::op::all : filter::op::any;
      for (std::size_t i = 0; i < v.size(); ++i) {
        auto child = object(v[i], at + "[" + std::to_string(i) + "]", depth + 1);
        if (!child) return child;
        f.children.push_back(std::move(*child));
      }
      return f;
    }
    if (key == "$not") {
      if (auto room = enter(at, depth); !room) return room.error();
      auto child = object(v, at, depth + 1);
      if (!child) return child;
      return filter::none(std::move(*child));
    }
    if (key.empty() || key[0] == '$') return invalid(at, at + ": there is no operator \"" + key + "\"; there are $and, $or, $not");
    if (!v.is_object()) {
      if (auto room = enter(at, depth); !room) return room.error();
      auto one = scalar(v, at);
      if (!one) return one.error();
      return filter::equal(key, std::move(*one));
    }
    return operators(key, v, at, depth);
  }

  /// {"$gte": 1, "$lt": 3}: all must hold.
  result<filter> operators(const std::string& field, const json& v, const std::string& at, std::uint32_t depth) {
    if (auto room = enter(at, depth); !room) return room.error();
    filter all;
    filter range;
    range.what = filter::op::range;
    range.field = field;
    for (const auto& [op, operand] : v.items()) {
      const std::string here = at + "." + op;
      if (auto room = enter(here, depth + 1); !room) return room.error();
      if (op == "$in" || op == "$nin") {
        if (!operand.is_array()) return invalid(here, here + " must be a list of values");
        std::vector<value> values;
        for (std::size_t i = 0; i < operand.size(); ++i) {
          auto one = scalar(operand[i], here + "[" + std::to_string(i) + "]");
          if (!one) return one.error();
          values.push_back(std::move(*one));
        }
        auto set = filter::in_set(field, std::move(values));
        all.children.push_back(op == "$in" ? std::move(set) : filter::none(std::move(set)));
      } else if (op == "$eq" || op == "$ne") {
        auto one = scalar(operand, here);
        if (!one) return one.error();
        auto same = filter::equal(field, std::move(*one));
        all.children.push_back(op == "$eq" ? std::move(same) : filter::none(std::move(same)));
      } else if (op == "$gt" || op == "$gte" || op == "$lt" || op == "$lte") {
        if (!operand.is_number() && !operand.is_string()) return invalid(here, here + " must be a number or a string");
        auto one = scalar(operand, here);
        if (!one) return one.error();
        const bool low = op[1] == 'g';
        if (low ? range.low : range.high) { // $gt beside $gte: both must hold
          all.children.push_back(low ? filter::between(field, std::move(*one), std::nullopt, op.size() == 4)
                                     : filter::between(field, std::nullopt, std::move(*one), true, op.size() == 4));
          continue;
        }
        (low ? range.low : range.high) = std::move(*one);
        (low ? range.low_inclusive : range.high_inclusive) = op.size() == 4;
      } else if (op == "$prefix") {
        if (!operand.is_string()) return invalid(here, here + " must be a string");
        all.children.push_back(filter::starts_with(field, operand.get<std::string>()));
      } else if (op == "$exists") {
        if (!operand.is_boolean()) return invalid(here, here + " must be true or false");
        all.children.push_back(operand.get<bool>() ? filter::has(field) : filter::none(filter::has(field)));
      } else {
        return invalid(here, here + ": there is no operator \"" + op +
                               "\"; there are $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $prefix, $exists");
      }
    }
    if (range.low || range.high) all.children.push_back(std::move(range));
    if (all.children.empty()) return invalid(at, at + " has no operator");
    if (all.children.size() == 1) return std::move(all.children.front());
    return all;
  }

  result<value> scalar(const json& v, const std::string& at) {
    if (++values_ > limits_.filter_values) return invalid(at, at + ": the filter has more than " + std::to_string(limits_.filter_values) + " values");
    switch (v.type()) {
    case json::value_t::boolean: return value{v.get<bool>()};
    case json::value_t::string: return value{v.get<std::string>()};
    case json::value_t::number_float: return value{v.get<double>()};
    case json::value_t::number_integer: return value{v.get<std::int64_t>()};
    case json::value_t::number_unsigned:
      if (v.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return value{v.get<double>()};
      return value{v.get<std::int64_t>()};
    default: return invalid(at, at + " must be true, false, a number or a string");
    }
  }

  const search_limits& limits_;
  std::uint32_t nodes_ = 0;
  std::uint32_t values_ = 0;
};

struct counted {
  std::uint32_t nodes = 0;
  std::size_t values = 0;
};

bool is_number(const value& v) { return std::holds_alternative<std::int64_t>(v) || std::holds_alternative<double>(v); }
bool is_text(const value& v) { return std::holds_alternative<std::string>(v); }

result<void> check_values(const filter& f, const search_limits& limits, counted& sofar, const std::string& at) {
  sofar.values += f.values.size();
  if (sofar.values > limits.filter_values)
    return invalid(at, at + ": the filter has more than " + std::to_string(limits.filter_values) + " values");
  for (const auto& v : f.values) {
    if (std::holds_alternative<std::vector<std::string>>(v)) return invalid(at, at + ": a list is not a value; name its words one by one");
    if (const auto* number = std::get_if<double>(&v); number && !std::isfinite(*number)) return invalid(at, at + " is not a finite number");
  }
  for (const auto* bound : {&f.low, &f.high}) {
    if (!*bound) continue;
    if (!is_number(**bound) && !is_text(**bound)) return invalid(at, at + ": the ends of a range are numbers or strings");
    if (const auto* number = std::get_if<double>(&**bound); number && !std::isfinite(*number)) return invalid(at, at + " is not a finite number");
  }
  if (f.field == "@trust" && f.what == filter::op::in)
    for (const auto& v : f.values)
      if (!is_text(v) ? !is_number(v) : !trust_from(std::get<std::string>(v)))
        return invalid(at, at + ": there is no such trust; there are untrusted, tool, agent, user, system");
  if (f.low && f.high && is_number(*f.low) != is_number(*f.high)) return invalid(at, at + ": both ends of a range must be of one type");
  if (f.what == filter::op::range && !f.low && !f.high) return invalid(at, at + ": a range needs an end");
  if (f.what == filter::op::prefix && (f.values.size() != 1 || !is_text(f.values[0]))) return invalid(at, at + ": a prefix is one string");
  return {};
}

result<void> check(const filter& f, const search_limits& limits, counted& sofar, std::uint32_t depth, const std::string& at) {
  if (depth > limits.filter_depth) return invalid(at, at + ": the filter is nested deeper than " + std::to_string(limits.filter_depth));
  if (++sofar.nodes > limits.filter_nodes) return invalid(at, at + ": the filter has more than " + std::to_string(limits.filter_nodes) + " conditions");
  const bool group = f.what == filter::op::all || f.what == filter::op::any || f.what == filter::op::not_;
  if (!group) {
    if (f.field.empty()) return invalid(at, at + ": a condition needs a field");
    if (f.field[0] == '@' && std::find(attribute_names.begin(), attribute_names.end(), f.field) == attribute_names.end())
      return invalid(at, at + ": items have no attribute \"" + f.field + "\"");
    return check_values(f, limits, sofar, at + "." + f.field);
  }
  if (f.what == filter::op::not_ && f.children.size() != 1) return invalid(at, at + ": not has one condition");
  for (std::size_t i = 0; i < f.children.size(); ++i)
    if (auto good = check(f.children[i], limits, sofar, depth + 1, at + "[" + std::to_string(i) + "]"); !good) return good;
  return {};
}

} // namespace

filter filter::equal(std::string field, value v) {
  filter f;
  f.what = op::in;
  f.field = std::move(field);
  f.values.push_back(std::move(v));
  return f;
}

filter filter::in_set(std::string field, std::vector<value> values) {
  filter f;
  f.what = op::in;
  f.field = std::move(field);
  f.values = std::move(values);
  return f;
}

filter filter::between(std::string field, std::optional<value> low, std::optional<value> high, bool low_inclusive, bool high_inclusive) {
  filter f;
  f.what = op::range;
  f.field = std::move(field);
  f.low = std::move(low);
  f.high = std::move(high);
  f.low_inclusive = low_inclusive;
  f.high_inclusive = high_inclusive;
  return f;
}

filter filter::starts_with(std::string field, std::string prefix) {
  filter f;
  f.what = op::prefix;
  f.field = std::move(field);
  f.values.emplace_back(std::move(prefix));
  return f;
}

filter filter::has(std::string field) {
  filter f;
  f.what = op::exists;
  f.field = std::move(field);
  return f;
}

filter filter::all_of(std::vector<filter> children) {
  filter f;
  f.children = std::move(children);
  return f;
}

filter filter::any_of(std::vector<filter> children) {
  filter f;
  f.what = op::any;
  f.children = std::move(children);
  return f;
}

filter filter::none(filter child) {
  filter f;
  f.what = op::not_;
  f.children.push_back(std::move(child));
  return f;
}

std::span<const std::string_view> attributes() noexcept { return attribute_names; }

std::optional<value_ref> attribute(const item& i, std::string_view name) noexcept {
  if (name == "@id") return text_or_none(i.id);
  if (name == "@kind") return text_or_none(i.kind);
  if (name == "@source") return text_or_none(i.source);
  if (name == "@trust") return ref(to_string(i.trusted));
  if (name == "@importance") return ref(double{i.importance});
  if (name == "@created") return ref(static_cast<std::int64_t>(i.created.time_since_epoch().count()));
  if (name == "@valid_from") return time_or_none(i.valid_from);
  if (name == "@valid_to") return time_or_none(i.valid_to);
  if (name == "@expires_at") return time_or_none(i.expires_at);
  if (name == "@superseded_by") return text_or_none(i.superseded_by);
  return std::nullopt;
}

std::partial_ordering compare(const value_ref& a, const value_ref& b) noexcept {
  using type = value_ref::type;
  if (a.number() && b.number()) {
    if (a.what == type::integer && b.what == type::integer) return a.integer <=> b.integer;
    const long double x = a.what == type::integer ? static_cast<long double>(a.integer) : static_cast<long double>(a.real);
    const long double y = b.what == type::integer ? static_cast<long double>(b.integer) : static_cast<long double>(b.real);
    return x <=> y;
  }
  if (a.what != b.what) return std::partial_ordering::unordered;
  if (a.what == type::text) return a.text <=> b.text;
  return a.boolean <=> b.boolean;
}

bool in_range(const filter& f, const value_ref& v) noexcept {
  const auto within = [&](const std::optional<value>& bound, bool low, bool inclusive) {
    if (!bound) return true;
    bool good = false;
    each_value(*bound, [&](const value_ref& b) {
      const auto order = compare(v, b);
      good = (order == 0 && inclusive) || (low ? order > 0 : order < 0);
    });
    return good;
  };
  return within(f.low, true, f.low_inclusive) && within(f.high, false, f.high_inclusive);
}

bool matches(const filter& f, const item& i) {
  switch (f.what) {
  case filter::op::all: return std::all_of(f.children.begin(), f.children.end(), [&](const filter& c) { return matches(c, i); });
  case filter::op::any: return std::any_of(f.children.begin(), f.children.end(), [&](const filter& c) { return matches(c, i); });
  case filter::op::not_: return !matches(f.children.front(), i);
  case filter::op::exists: return visit_field(i, f.field, [](const value_ref&) {});
  default: break;
  }
  bool passes = false;
  visit_field(i, f.field, [&](const value_ref& v) {
    if (passes) return;
    switch (f.what) {
    case filter::op::in: passes = equals_one_of(f.values, v); break;
    case filter::op::range: passes = in_range(f, v); break;
    default: passes = v.what == value_ref::type::text && v.text.starts_with(std::get<std::string>(f.values[0])); break;
    }
  });
  return passes;
}

result<filter> filter_from_json(std::string_view text, const search_limits& limits, std::string_view field) {
  const std::string at{field};
  if (text.size() > limits.filter_bytes)
    return invalid(at, at + " has " + std::to_string(text.size()) + " bytes; allowed: " + std::to_string(limits.filter_bytes));
  const json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return invalid(at, at + " is not JSON");
  auto f = parser(limits).object(parsed, at, 1);
  if (!f) return f;
  if (auto good = validate(*f, limits, field); !good) return good.error();
  return f;
}

result<void> validate(const filter& f, const search_limits& limits, std::string_view field) {
  counted sofar;
  return check(f, limits, sofar, 1, std::string{field});
}

} // namespace hive::vector
