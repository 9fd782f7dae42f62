#include "actors/context/items.hpp"

#include "config/base/bytes.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

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
  void whole(const char* name, std::optional<std::int64_t>& into) {
    const auto* v = find(name);
    if (!v) return;
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    if (!v->is_number_integer())
      fail(name, "must be a whole number");
    else if (v->is_number_unsigned() && v->get<std::uint64_t>() > static_cast<std::uint64_t>(most))
      into = most;
    else
      into = v->get<std::int64_t>();
  }
  /// As JSON once more, for whoever reads it.
  void raw(const char* name, std::string& into) {
    if (const auto* v = find(name)) into = v->dump(-1, ' ', false, json::error_handler_t::replace);
  }
  void number(const char* name, std::optional<double>& into) {
    const auto* v = find(name);
    if (v && !v->is_number())
      fail(name, "must be a number");
    else if (v)
      into = v->get<double>();
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

result<written_item> written_from(const json& value, const std::string& path) {
  written_item out;
  member_reader in(value, path);
  in.text("id", out.id);
  in.text("text", out.text);
  in.text("kind", out.kind);
  in.text("source", out.source);
  in.text("trust", out.trust);
  in.number("importance", out.importance);
  in.whole("valid_from", out.valid_from);
  in.whole("valid_to", out.valid_to);
  in.whole("expires_at", out.expires_at);
  in.whole("ttl_ms", out.ttl_ms);
  in.raw("vector", out.vector);
  in.raw("metadata", out.metadata);
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
        out.links.push_back(std::move(l));
      }
  }
  in.text("supersedes", out.how.supersedes);
  in.flag("allow_duplicate", out.how.allow_duplicate);
  std::optional<std::int64_t> version;
  in.whole("expected_version", version);
  if (version && *version < 0) in.fail("expected_version", "must not be below 0");
  if (version) out.how.expected_version = static_cast<std::uint64_t>(*version);
  if (auto problem =
          in.finish({"id", "text", "kind", "source", "trust", "importance", "valid_from", "valid_to", "expires_at",
                     "ttl_ms", "vector", "metadata", "links", "supersedes", "allow_duplicate", "expected_version"}))
    return *problem;
  return out;
}

/// Empty: the most that the author may be believed.
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

} // namespace

result<wall_time> time_from(std::int64_t ms, const std::string& field) {
  if (ms < 0 || ms > latest_time) return invalid(field, field + " must be milliseconds since 1970");
  return wall_time{std::chrono::milliseconds{ms}};
}

result<new_item> item_from(written_item in, const item_author& by, const vector::collection_limits& limits, const std::string& path) {
  new_item out;
  auto& i = out.content;
  i.id = std::move(in.id);
  i.text = std::move(in.text);
  i.kind = std::move(in.kind);
  i.source = in.source.empty() ? by.source : std::move(in.source);
  i.links = std::move(in.links);
  out.how = std::move(in.how);
  auto believed = trust_of(in.trust, by, path + ".trust");
  if (!believed) return believed.error();
  i.trusted = *believed;
  if (in.importance) {
    if (!(*in.importance >= 0 && *in.importance <= 1)) return invalid(path + ".importance", path + ".importance must be within 0..1");
    i.importance = static_cast<float>(*in.importance);
  }
  for (const auto& [ms, into, name] : {std::tuple{in.valid_from, &i.valid_from, ".valid_from"}, std::tuple{in.valid_to, &i.valid_to, ".valid_to"},
                                       std::tuple{in.expires_at, &i.expires_at, ".expires_at"}}) {
    if (!ms) continue;
    auto at = time_from(*ms, path + name);
    if (!at) return at.error();
    *into = *at;
  }
  if (in.ttl_ms && in.expires_at) return invalid(path + ".ttl_ms", path + ".ttl_ms and expires_at say the same: give one of them");
  if (in.ttl_ms) {
    if (*in.ttl_ms < 1 || *in.ttl_ms > latest_time) return invalid(path + ".ttl_ms", path + ".ttl_ms must be milliseconds, above 0");
    out.ttl = std::chrono::milliseconds{*in.ttl_ms};
  }
  if (given(in.vector)) {
    auto floats = floats_from_json(in.vector, path + ".vector");
    if (!floats) return floats.error();
    if (floats->empty()) return invalid(path + ".vector", path + ".vector is empty; leave it out to have it made from the text");
    out.vector = std::move(*floats);
  }
  if (given(in.metadata)) {
    auto meta = vector::metadata_from_json(in.metadata, limits, path + ".metadata");
    if (!meta) return meta.error();
    i.meta = std::move(*meta);
  }
  return out;
}

result<std::vector<new_item>> items_from_json(const json& list, const item_author& by,
                                              const vector::collection_limits& limits, std::string_view field) {
  const std::string path(field);
  if (!list.is_array()) return invalid(path, path + " must be a list of items");
  std::vector<new_item> out;
  out.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto here = path + "[" + std::to_string(i) + "]";
    auto written = written_from(list[i], here);
    if (!written) return written.error();
    auto one = item_from(std::move(*written), by, limits, here);
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
