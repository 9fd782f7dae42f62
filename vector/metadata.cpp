#include "vector/metadata.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace hive::vector {
namespace {

using nlohmann::json;

auto place_of(const metadata& in, std::string_view key) {
  return std::lower_bound(in.begin(), in.end(), key, [](const auto& entry, std::string_view k) { return entry.first < k; });
}

constexpr int depth_max = 16;

error too_many_keys(const std::string& field, const collection_limits& limits) {
  return invalid(field, field + " has more than " + std::to_string(limits.metadata_keys) + " keys");
}

error too_large(const std::string& field, const collection_limits& limits) {
  return invalid(field, field + " has more than " + std::to_string(limits.metadata_bytes) + " bytes");
}

/// Takes the values out of nested objects, in any order, and stops at the limits.
class flattener {
public:
  flattener(const collection_limits& limits, std::string field) : limits_(limits), field_(std::move(field)) {}

  result<void> object(const json& from, const std::string& prefix, int depth) {
    if (depth > depth_max) {
      const std::string here = field_ + "." + prefix.substr(0, prefix.size() - 1);
      return invalid(here, here + " is nested deeper than " + std::to_string(depth_max) + " objects");
    }
    for (const auto& [key, v] : from.items()) {
      if (v.is_null()) continue;
      std::string name = prefix + key;
      bytes_ += key.size();
      if (bytes_ > limits_.metadata_bytes) return too_large(field_, limits_);
      if (v.is_object()) {
        if (auto inner = object(v, name + ".", depth + 1); !inner) return inner;
        continue;
      }
      if (found_.size() == limits_.metadata_keys) return too_many_keys(field_, limits_);
      auto one = plain(v, field_ + "." + name);
      if (!one) return one.error();
      found_.emplace_back(std::move(name), std::move(*one));
    }
    return {};
  }

  /// Sorted.
  result<metadata> take() {
    std::sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    const auto twice = std::adjacent_find(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.first == b.first; });
    if (twice == found_.end()) return std::move(found_);
    const std::string here = field_ + "." + twice->first;
    return invalid(here, here + " comes twice: with a dot in its name, and within an object");
  }

private:
  result<value> plain(const json& v, const std::string& here) {
    switch (v.type()) {
    case json::value_t::boolean: return value{v.get<bool>()};
    case json::value_t::string: return value{v.get<std::string>()};
    case json::value_t::number_float: return value{v.get<double>()};
    case json::value_t::number_integer: return value{v.get<std::int64_t>()};
    case json::value_t::number_unsigned:
      if (v.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return invalid(here, here + " is above 2^63 - 1");
      return value{v.get<std::int64_t>()};
    case json::value_t::array: {
      std::vector<std::string> words;
      for (const auto& w : v) {
        if (!w.is_string()) return invalid(here, here + " is a list that does not hold strings only");
        bytes_ += w.get_ref<const std::string&>().size() + 1;
        if (bytes_ > limits_.metadata_bytes) return too_large(field_, limits_);
        words.push_back(w.get<std::string>());
      }
      return value{std::move(words)};
    }
    default: return invalid(here, here + " has a type that metadata cannot hold");
    }
  }

  const collection_limits& limits_;
  std::string field_;
  metadata found_;
  std::size_t bytes_ = 0;
};

} // namespace

const value* find(const metadata& in, std::string_view key) noexcept {
  const auto at = place_of(in, key);
  return at != in.end() && at->first == key ? &at->second : nullptr;
}

void set(metadata& in, std::string key, value v) {
  const auto at = in.begin() + (place_of(in, key) - in.begin());
  if (at != in.end() && at->first == key)
    at->second = std::move(v);
  else
    in.emplace(at, std::move(key), std::move(v));
}

result<metadata> metadata_from_json(std::string_view text, const collection_limits& limits, std::string_view field) {
  const json parsed = json::parse(text, nullptr, false);
  const std::string name{field};
  if (parsed.is_discarded()) return invalid(name, name + " is not JSON");
  if (!parsed.is_object()) return invalid(name, name + " is not a JSON object");
  flattener read(limits, name);
  if (auto done = read.object(parsed, "", 1); !done) return done.error();
  return read.take();
}

std::string to_json(const metadata& m) {
  json out = json::object();
  for (const auto& [key, v] : m) std::visit([&, &k = key](const auto& x) { out[k] = x; }, v);
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

result<void> validate(const metadata& m, const collection_limits& limits, std::string_view field) {
  const std::string name{field};
  if (m.size() > limits.metadata_keys)
    return invalid(name, name + " has " + std::to_string(m.size()) + " keys; allowed: " + std::to_string(limits.metadata_keys));
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < m.size(); ++i) {
    const auto& [key, v] = m[i];
    const std::string at = name + "." + key;
    if (key.empty() || key[0] == '$' || key[0] == '@') return invalid(at, at + ": a key may not be empty or start with $ or @");
    if (i > 0 && !(m[i - 1].first < key)) return invalid(at, at + ": keys must be sorted and unique");
    bytes += key.size();
    if (const auto* number = std::get_if<double>(&v)) {
      if (!std::isfinite(*number)) return invalid(at, at + " is not a finite number");
      bytes += sizeof(double);
    } else if (const auto* text = std::get_if<std::string>(&v)) {
      bytes += text->size();
    } else if (const auto* words = std::get_if<std::vector<std::string>>(&v)) {
      for (const auto& w : *words) bytes += w.size() + 1;
    } else {
      bytes += sizeof(std::int64_t);
    }
  }
  if (bytes > limits.metadata_bytes)
    return invalid(name, name + " has " + std::to_string(bytes) + " bytes; allowed: " + std::to_string(limits.metadata_bytes));
  return {};
}

std::size_t heap_bytes(const metadata& m) noexcept {
  std::size_t bytes = m.capacity() * sizeof(metadata::value_type);
  for (const auto& [key, v] : m) {
    bytes += heap_bytes(key);
    if (const auto* text = std::get_if<std::string>(&v)) bytes += heap_bytes(*text);
    if (const auto* words = std::get_if<std::vector<std::string>>(&v)) {
      bytes += words->capacity() * sizeof(std::string);
      for (const auto& w : *words) bytes += heap_bytes(w);
    }
  }
  return bytes;
}

} // namespace hive::vector
