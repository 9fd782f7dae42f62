#include "vector/item.hpp"

#include "config/base/bytes.hpp"
#include "config/base/payload.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace hive::vector {
namespace {

constexpr std::uint8_t row_version = 1;

std::uint64_t bits_of(wall_time t) noexcept { return static_cast<std::uint64_t>(t.time_since_epoch().count()); }
wall_time time_of(std::uint64_t bits) noexcept { return wall_time{std::chrono::milliseconds{static_cast<std::int64_t>(bits)}}; }

void write(byte_writer& out, const value& v) {
  out.varint(v.index());
  switch (v.index()) {
  case 0: out.varint(std::get<bool>(v) ? 1 : 0); break;
  case 1: out.fixed64(static_cast<std::uint64_t>(std::get<std::int64_t>(v))); break;
  case 2: out.fixed64(std::bit_cast<std::uint64_t>(std::get<double>(v))); break;
  case 3: out.text(std::get<std::string>(v)); break;
  default: {
    const auto& words = std::get<std::vector<std::string>>(v);
    out.varint(words.size());
    for (const auto& w : words) out.text(w);
  }
  }
}

/// `false`: no such type.
bool read(byte_reader& in, value& v) {
  switch (in.varint()) {
  case 0: v = in.varint() != 0; return true;
  case 1: v = static_cast<std::int64_t>(in.fixed64()); return true;
  case 2: v = std::bit_cast<double>(in.fixed64()); return true;
  case 3: v = std::string{in.text()}; return true;
  case 4: {
    std::vector<std::string> words;
    const std::uint64_t n = in.varint();
    if (n > in.rest().size()) return false;
    for (std::uint64_t i = 0; i < n && in.ok(); ++i) words.emplace_back(in.text());
    v = std::move(words);
    return true;
  }
  default: return false;
  }
}

error damaged(const char* what) {
  return {errc::internal, "damaged_item", std::string{"the row of an item is damaged: "} + what, {}, {}};
}

bool has_control_character(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

result<void> no_longer_than(const std::string& text, std::size_t bytes, const char* field) {
  if (text.size() <= bytes) return {};
  return invalid(field, std::string{field} + " has " + std::to_string(text.size()) + " bytes; allowed: " + std::to_string(bytes));
}

} // namespace

std::string_view to_string(trust t) noexcept {
  switch (t) {
  case trust::untrusted: return "untrusted";
  case trust::tool: return "tool";
  case trust::agent: return "agent";
  case trust::user: return "user";
  case trust::system: return "system";
  }
  return "?";
}

result<trust> trust_from(std::string_view word) {
  for (const trust t : {trust::untrusted, trust::tool, trust::agent, trust::user, trust::system})
    if (word == to_string(t)) return t;
  return invalid("trust", "trust is \"" + std::string{word} + "\"; allowed: untrusted, tool, agent, user, system");
}

result<void> validate(const item& i, const collection_limits& limits) {
  if (has_control_character(i.id)) return invalid("id", "id has control characters");
  for (const auto& [text, bytes, field] :
       {std::tuple{&i.id, limits.id_bytes, "id"}, std::tuple{&i.text, limits.text_bytes, "text"}, std::tuple{&i.kind, limits.id_bytes, "kind"},
        std::tuple{&i.source, limits.id_bytes, "source"}})
    if (auto good = no_longer_than(*text, bytes, field); !good) return good;
  if (!std::isfinite(i.importance) || i.importance < 0 || i.importance > 1) return invalid("importance", "importance must be within 0..1");
  if (i.valid_from >= i.valid_to) return invalid("valid_to", "valid_to must be later than valid_from");
  if (i.links.size() > limits.links)
    return invalid("links", "links has " + std::to_string(i.links.size()) + " entries; allowed: " + std::to_string(limits.links));
  for (std::size_t n = 0; n < i.links.size(); ++n) {
    const std::string at = "links[" + std::to_string(n) + "]";
    if (i.links[n].to.empty()) return invalid(at + ".to", at + ".to is empty; it must name an item");
    if (auto good = no_longer_than(i.links[n].to, limits.id_bytes, "links.to"); !good) return good;
    if (auto good = no_longer_than(i.links[n].relation, limits.id_bytes, "links.relation"); !good) return good;
  }
  return validate(i.meta, limits, "metadata");
}

std::uint64_t content_hash(const item& i, std::span<const float> vector) noexcept {
  if (i.text.empty()) return hash_of({reinterpret_cast<const char*>(vector.data()), vector.size_bytes()}) ^ hash_of(i.kind);
  return hash_of(i.text) ^ (hash_of(i.kind) * 0x9E3779B97F4A7C15ULL);
}

std::string encode(const item& i, std::span<const float> vector) {
  byte_writer out;
  out.varint(row_version).text(i.id).text(i.text).text(i.kind).text(i.source);
  out.varint(static_cast<std::uint64_t>(i.trusted)).varint(std::bit_cast<std::uint32_t>(i.importance));
  out.fixed64(bits_of(i.created)).fixed64(bits_of(i.valid_from)).fixed64(bits_of(i.valid_to)).fixed64(bits_of(i.expires_at));
  out.text(i.superseded_by).varint(i.version);
  out.varint(i.links.size());
  for (const auto& l : i.links) out.text(l.relation).text(l.to);
  out.varint(i.meta.size());
  for (const auto& [key, v] : i.meta) {
    out.text(key);
    write(out, v);
  }
  static_assert(std::endian::native == std::endian::little);
  out.text({reinterpret_cast<const char*>(vector.data()), vector.size_bytes()});
  return out.take();
}

result<std::string_view> decode_item(std::string_view row, item& i) {
  byte_reader in(row);
  if (in.varint() != row_version) return damaged("its format is not known");
  i.id = in.text();
  i.text = in.text();
  i.kind = in.text();
  i.source = in.text();
  const std::uint64_t trusted = in.varint();
  if (trusted > static_cast<std::uint64_t>(trust::system)) return damaged("its trust is not known");
  i.trusted = static_cast<trust>(trusted);
  i.importance = std::bit_cast<float>(static_cast<std::uint32_t>(in.varint()));
  i.created = time_of(in.fixed64());
  i.valid_from = time_of(in.fixed64());
  i.valid_to = time_of(in.fixed64());
  i.expires_at = time_of(in.fixed64());
  i.superseded_by = in.text();
  i.version = in.varint();
  const std::uint64_t links = in.varint();
  if (links > in.rest().size()) return damaged("it has too few bytes for its links");
  for (std::uint64_t n = 0; n < links && in.ok(); ++n) {
    link l{std::string{in.text()}, {}};
    l.to = in.text();
    i.links.push_back(std::move(l));
  }
  const std::uint64_t keys = in.varint();
  if (keys > in.rest().size()) return damaged("it has too few bytes for its metadata");
  i.meta.reserve(keys);
  for (std::uint64_t n = 0; n < keys && in.ok(); ++n) {
    std::string key{in.text()};
    value v;
    if (!read(in, v)) return damaged("its metadata has a type that is not known");
    i.meta.emplace_back(std::move(key), std::move(v));
  }
  const std::string_view raw = in.text();
  if (!in.ok() || !in.at_end() || raw.size() % sizeof(float) != 0) return damaged("it is cut off or has bytes too many");
  return raw;
}

result<decoded_item> decode(std::string_view row) {
  decoded_item out;
  const auto raw = decode_item(row, out.content);
  if (!raw) return raw.error();
  out.vector.resize(raw->size() / sizeof(float));
  if (!raw->empty()) std::memcpy(out.vector.data(), raw->data(), raw->size()); // an item without a vector: both are null
  return out;
}

std::size_t heap_bytes(const item& i) noexcept {
  // 16: the counters that `item_ptr` keeps beside it.
  std::size_t bytes = sizeof(item) + 16 + heap_bytes(i.id) + heap_bytes(i.text) + heap_bytes(i.kind) + heap_bytes(i.source) +
                      heap_bytes(i.superseded_by) + heap_bytes(i.meta) + i.links.capacity() * sizeof(link);
  for (const auto& l : i.links) bytes += heap_bytes(l.relation) + heap_bytes(l.to);
  return bytes;
}

} // namespace hive::vector
