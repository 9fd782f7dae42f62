#include "actors/context/items.hpp"

#include "config/base/bytes.hpp"

#include <algorithm>
#include <charconv>

namespace hive::actors {
namespace {

using json = nlohmann::json;
using vector::trust;

constexpr std::uint64_t format = 1;
/// Times beyond the year 9999 are taken for a mistake in the unit.
constexpr std::int64_t latest_time = 253'402'300'800'000;

/// Reads the members of one JSON object and remembers the first thing that is wrong.
class member_reader {
public:
  member_reader(const json& value, std::string path) : value_(value), path_(std::move(path)) {
    if (!value.is_object()) fail("", "must be an object");
  }
  const json* find(const char* name) {
    if (problem_ || !value_.is_object()) return nullptr;
    const auto found = value_.find(name);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
  }
  void text(const char* name, std::string& into) {
    if (const auto* v = find(name)) {
      if (v->is_string())
        into = v->get<std::string>();
      else
        fail(name, "must be a string");
    }
  }
  void flag(const char* name, bool& into) {
    if (const auto* v = find(name)) {
      if (v->is_boolean())
        into = v->get<bool>();
      else
        fail(name, "must be true or false");
    }
  }
  void time(const char* name, wall_time& into) {
    if (const auto* v = find(name)) {
      if (v->is_number_integer() && v->get<std::int64_t>() >= 0 && v->get<std::int64_t>() <= latest_time &&
          !(v->is_number_unsigned() && v->get<std::uint64_t>() > latest_time))
        into = wall_time{std::chrono::milliseconds{v->get<std::int64_t>()}};
      else
        fail(name, "must be milliseconds since 1970");
    }
  }
  template <class T> void number(const char* name, T& into, double low, double high) {
    if (const auto* v = find(name)) {
      if (v->is_number() && v->get<double>() >= low && v->get<double>() <= high)
        into = v->get<T>();
      else
        fail(name, "is out of its bounds");
    }
  }
  std::string at(const std::string& name) const { return name.empty() ? path_ : path_ + "." + name; }
  void fail(const std::string& name, const std::string& why) {
    if (!problem_) problem_ = invalid(at(name), at(name) + " " + why);
  }
  void take(error e) {
    if (!problem_) problem_ = std::move(e);
  }
  /// Members that nobody asked for are errors.
  std::optional<error> finish(std::initializer_list<const char*> known) {
    if (!problem_ && value_.is_object())
      for (const auto& [name, v] : value_.items())
        if (std::find_if(known.begin(), known.end(), [n = std::string_view(name)](const char* k) { return n == k; }) ==
            known.end())
          fail(name, "is not a member of an item");
    return problem_;
  }

private:
  const json& value_;
  std::string path_;
  std::optional<error> problem_;
};

result<new_item> item_from(const json& value, const item_author& by, const vector::collection_limits& limits,
                           const std::string& path) {
  new_item out;
  auto& i = out.content;
  member_reader in(value, path);
  in.text("id", i.id);
  in.text("text", i.text);
  in.text("kind", i.kind);
  i.source = by.source;
  in.text("source", i.source);
  std::string word;
  in.text("trust", word);
  if (auto t = trust_of(word, by, in.at("trust")))
    i.trusted = *t;
  else
    in.take(t.error());
  in.number("importance", i.importance, 0, 1);
  in.time("valid_from", i.valid_from);
  in.time("valid_to", i.valid_to);
  in.time("expires_at", i.expires_at);
  std::int64_t ttl = 0;
  in.number("ttl_ms", ttl, 1, static_cast<double>(latest_time));
  out.ttl = std::chrono::milliseconds{ttl};
  if (const auto* v = in.find("vector")) {
    if (!v->is_array())
      in.fail("vector", "must be a list of numbers");
    else
      for (const auto& x : *v) {
        if (x.is_number())
          out.vector.push_back(x.get<float>());
        else
          in.fail("vector", "must be a list of numbers");
      }
  }
  if (const auto* m = in.find("metadata")) {
    auto read = vector::metadata_from_json(m->dump(-1, ' ', false, json::error_handler_t::replace), limits,
                                           in.at("metadata"));
    if (read)
      i.meta = std::move(*read);
    else
      in.take(read.error());
  }
  if (const auto* links = in.find("links")) {
    if (!links->is_array())
      in.fail("links", "must be a list");
    else
      for (std::size_t n = 0; n < links->size(); ++n) {
        vector::link l;
        member_reader one((*links)[n], in.at("links[" + std::to_string(n) + "]"));
        one.text("relation", l.relation);
        one.text("to", l.to);
        if (auto problem = one.finish({"relation", "to"})) in.take(std::move(*problem));
        i.links.push_back(std::move(l));
      }
  }
  in.text("supersedes", out.how.supersedes);
  in.flag("allow_duplicate", out.how.allow_duplicate);
  if (in.find("expected_version")) {
    std::uint64_t version = 0;
    in.number("expected_version", version, 0, 9e15);
    out.how.expected_version = version;
  }
  if (auto problem =
          in.finish({"id", "text", "kind", "source", "trust", "importance", "valid_from", "valid_to", "expires_at",
                     "ttl_ms", "vector", "metadata", "links", "supersedes", "allow_duplicate", "expected_version"}))
    return *problem;
  return out;
}

} // namespace

result<trust> trust_of(std::string_view word, const item_author& by, const std::string& field) {
  if (word.empty()) return by.highest;
  auto t = vector::trust_from(word);
  if (!t) {
    auto e = t.error();
    e.field = field;
    return e;
  }
  if (*t > by.highest)
    return invalid(field, field + " is \"" + std::string(word) + "\"; this caller may say at most \"" +
                              std::string(vector::to_string(by.highest)) + "\"");
  return *t;
}

result<std::vector<new_item>> items_from_json(const json& list, const item_author& by,
                                              const vector::collection_limits& limits, std::string_view field) {
  const std::string path(field);
  if (!list.is_array()) return invalid(path, path + " must be a list of items");
  std::vector<new_item> out;
  out.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto one = item_from(list[i], by, limits, path + "[" + std::to_string(i) + "]");
    if (!one) return one.error();
    out.push_back(std::move(*one));
  }
  return out;
}

result<std::vector<float>> floats_from_json(std::string_view text, const std::string& field) {
  const auto wrong = [&](const std::string& why) { return invalid(field, field + " " + why); };
  std::vector<float> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto skip = [&] {
    while (at != end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
  };
  skip();
  if (text.substr(static_cast<std::size_t>(at - text.data())).starts_with("null")) return out;
  if (at == end || *at != '[') return wrong("must be a list of numbers");
  ++at;
  skip();
  if (at != end && *at == ']') return out;
  for (;;) {
    skip();
    float value = 0;
    const auto [stop, bad] = std::from_chars(at, end, value);
    const std::string place = "[" + std::to_string(out.size()) + "]";
    if (bad == std::errc::result_out_of_range) {
      // Smaller than the smallest float is nothing; larger than the largest is an error.
      double wide = 0;
      const auto again = std::from_chars(at, end, wide);
      if (again.ec == std::errc::result_out_of_range || wide > 1 || wide < -1)
        return invalid(field + place, field + place + " is too large for a 32-bit number");
      value = 0;
    } else if (bad != std::errc{} || (*at != '-' && (*at < '0' || *at > '9')))
      return invalid(field + place, field + place + " is not a number");
    out.push_back(value);
    if (out.size() > vector::dimension_max)
      return wrong("has more than " + std::to_string(vector::dimension_max) + " numbers");
    at = stop;
    skip();
    if (at == end) return wrong("is cut off");
    if (*at == ']') return out;
    if (*at != ',') return invalid(field + place, field + place + " is not a number");
    ++at;
  }
}

void append_floats(std::string& out, std::span<const float> vector) {
  out.push_back('[');
  char digits[32];
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (i != 0) out.push_back(',');
    const auto [end, bad] = std::to_chars(digits, digits + sizeof digits, vector[i]);
    out.append(digits, end);
  }
  out.push_back(']');
}

std::string encode_items(const std::vector<new_item>& items) {
  byte_writer out;
  out.varint(format).varint(items.size());
  for (const auto& i : items) {
    out.text(vector::encode(i.content, i.vector));
    out.varint(static_cast<std::uint64_t>(i.ttl.count()));
    out.varint((i.how.expected_version ? 1U : 0U) | (i.how.allow_duplicate ? 2U : 0U));
    if (i.how.expected_version) out.varint(*i.how.expected_version);
    out.text(i.how.supersedes);
  }
  return out.take();
}

result<std::vector<new_item>> decode_items(std::string_view bytes, std::uint32_t items_max) {
  byte_reader in(bytes);
  if (in.varint() != format) return invalid("items", "the items cannot be read");
  const auto n = in.varint();
  if (n == 0) return invalid("items", "items is empty");
  if (n > items_max)
    return invalid("items", "items has " + std::to_string(n) + " members; context.batch_items allows " +
                                std::to_string(items_max));
  std::vector<new_item> out;
  for (std::uint64_t i = 0; i < n && in.ok(); ++i) {
    auto decoded = vector::decode(in.text());
    if (!in.ok() || !decoded) return invalid("items", "the items cannot be read");
    new_item one;
    one.content = std::move(decoded->content);
    one.vector = std::move(decoded->vector);
    one.ttl = std::chrono::milliseconds{static_cast<std::int64_t>(in.varint())};
    const auto flags = in.varint();
    one.how.allow_duplicate = (flags & 2U) != 0;
    if ((flags & 1U) != 0) one.how.expected_version = in.varint();
    one.how.supersedes = std::string(in.text());
    out.push_back(std::move(one));
  }
  if (!in.ok()) return invalid("items", "the items cannot be read");
  return out;
}

vector::collection_limits limits_of(const config::context_limits& settings) {
  vector::collection_limits l;
  l.items = settings.items;
  l.text_bytes = settings.text_bytes;
  l.metadata_bytes = settings.metadata_bytes;
  return l;
}

vector::search_limits search_limits_of(const config::context_limits& settings) {
  vector::search_limits l;
  l.k = settings.k;
  l.pack_tokens = settings.pack_tokens;
  l.answer_bytes = settings.answer_bytes;
  return l;
}

} // namespace hive::actors
