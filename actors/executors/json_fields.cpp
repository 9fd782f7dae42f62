#include "actors/executors/json_fields.hpp"

#include "config/base/hex.hpp"

namespace hive::actors {
namespace {

/// Length of the valid UTF-8 sequence at `at`; 0 when there is none.
std::size_t utf8_length(std::string_view s, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(at + 1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned second = byte(at + 1);
    const bool overlong = first == 0xE0 && second < 0xA0;
    const bool surrogate = first == 0xED && second > 0x9F;
    return follows(at + 1) && follows(at + 2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned second = byte(at + 1);
    const bool out_of_range = (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
    return follows(at + 1) && follows(at + 2) && follows(at + 3) && !out_of_range ? 4 : 0;
  }
  return 0;
}

} // namespace

bool is_utf8(std::string_view bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t n = utf8_length(bytes, i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

nlohmann::json path_to_json(std::string_view path) {
  if (is_utf8(path)) return std::string(path);
  return nlohmann::json{{"hex", to_hex(path)}};
}

std::string path_for_people(std::string_view path) {
  std::string out;
  for (std::size_t i = 0; i < path.size();) {
    const std::size_t n = utf8_length(path, i);
    const auto first = static_cast<unsigned char>(path[i]);
    if (n == 0 || (n == 1 && (first < 0x20 || first == 0x7F))) {
      out += "\\x";
      append_hex(out, first);
      i += 1;
    } else {
      out += path.substr(i, n);
      i += n;
    }
  }
  return out;
}

json_fields::json_fields(nlohmann::json object) : object_(std::move(object)) {
  if (object_.is_object()) return;
  first_ = invalid("", "a JSON object is needed");
  object_ = nlohmann::json::object();
}

json_fields::json_fields(const payload& body) : json_fields(nlohmann::json::parse(body.bytes, nullptr, false)) {}

void json_fields::wrong(std::string_view name, const std::string& why) {
  if (!first_) first_ = invalid(std::string(name), std::string(name) + " " + why);
}

const nlohmann::json* json_fields::take(std::string_view name, bool required) {
  asked_.emplace_back(name);
  const auto found = object_.find(name);
  if (found != object_.end()) return &*found;
  if (required) wrong(name, "is missing");
  return nullptr;
}

bool json_fields::has(std::string_view name) const { return object_.contains(name); }

std::optional<std::string> json_fields::text_if(std::string_view name, std::size_t bytes_max) {
  const auto* v = take(name, false);
  if (v == nullptr) return std::nullopt;
  if (!v->is_string())
    wrong(name, "must be a string");
  else if (v->get_ref<const std::string&>().size() > bytes_max)
    wrong(name, "is longer than " + std::to_string(bytes_max) + " bytes");
  else
    return v->get<std::string>();
  return std::string{};
}

std::string json_fields::text(std::string_view name, std::size_t bytes_max) {
  auto v = text_if(name, bytes_max);
  if (!v) wrong(name, "is missing");
  return std::move(v).value_or("");
}

std::optional<std::string> json_fields::path_if(std::string_view name) {
  const auto* v = take(name, false);
  if (v == nullptr) return std::nullopt;
  std::optional<std::string> bytes;
  if (v->is_string())
    bytes = v->get<std::string>();
  else if (v->is_object() && v->size() == 1 && v->contains("hex") && (*v)["hex"].is_string())
    bytes = from_hex((*v)["hex"].get_ref<const std::string&>());
  if (!bytes)
    wrong(name, "must be a path: a string, or {\"hex\": lower-case digits} for one that is not UTF-8");
  else if (bytes->find('\0') != std::string::npos)
    wrong(name, "must not contain NUL");
  else if (bytes->size() > 4096)
    wrong(name, "is longer than 4096 bytes");
  else
    return bytes;
  return std::string{};
}

std::string json_fields::path(std::string_view name) {
  auto v = path_if(name);
  if (!v) wrong(name, "is missing");
  return std::move(v).value_or("");
}

std::uint64_t json_fields::number_or(std::string_view name, std::uint64_t otherwise, std::uint64_t low,
                                     std::uint64_t high) {
  const auto* v = take(name, false);
  if (v == nullptr) return otherwise;
  if (v->is_number_unsigned() && v->get<std::uint64_t>() >= low && v->get<std::uint64_t>() <= high)
    return v->get<std::uint64_t>();
  wrong(name, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  return otherwise;
}

std::uint64_t json_fields::number(std::string_view name, std::uint64_t low, std::uint64_t high) {
  if (!has(name)) wrong(name, "is missing");
  return number_or(name, low, low, high);
}

bool json_fields::flag_or(std::string_view name, bool otherwise) {
  const auto* v = take(name, false);
  if (v == nullptr) return otherwise;
  if (!v->is_boolean())
    wrong(name, "must be true or false");
  else
    return v->get<bool>();
  return otherwise;
}

std::vector<std::string> json_fields::texts(std::string_view name, std::size_t items_max, std::size_t bytes_max) {
  const auto* v = take(name, false);
  std::vector<std::string> out;
  if (v == nullptr) return out;
  if (!v->is_array())
    wrong(name, "must be a list of strings");
  else if (v->size() > items_max)
    wrong(name, "has more than " + std::to_string(items_max) + " items");
  else
    for (std::size_t i = 0; i < v->size(); ++i) {
      const std::string at = std::string(name) + "[" + std::to_string(i) + "]";
      const auto& item = (*v)[i];
      if (!item.is_string())
        wrong(at, "must be a string");
      else if (item.get_ref<const std::string&>().size() > bytes_max)
        wrong(at, "is longer than " + std::to_string(bytes_max) + " bytes");
      else if (item.get_ref<const std::string&>().find('\0') != std::string::npos)
        wrong(at, "must not contain NUL");
      else
        out.push_back(item.get<std::string>());
    }
  return out;
}

nlohmann::json json_fields::value(std::string_view name) {
  const auto* v = take(name, false);
  return v == nullptr ? nlohmann::json{} : *v;
}

std::optional<error> json_fields::problem() {
  for (const auto& [name, ignored] : object_.items())
    if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) wrong(name, "is not known here");
  return first_;
}

} // namespace hive::actors
