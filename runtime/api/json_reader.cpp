#include "runtime/api/json_reader.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace hive::api {
namespace {

bool digit(char c) noexcept { return c >= '0' && c <= '9'; }

int hex_value(char c) noexcept {
  if (digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(std::string& out, std::uint32_t c) {
  const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80U) return put(c);
  if (c < 0x800U) {
    put(0xC0U | (c >> 6U));
  } else {
    if (c < 0x10000U) {
      put(0xE0U | (c >> 12U));
    } else {
      put(0xF0U | (c >> 18U));
      put(0x80U | ((c >> 12U) & 0x3FU));
    }
    put(0x80U | ((c >> 6U) & 0x3FU));
  }
  put(0x80U | (c & 0x3FU));
}

/// Length of the UTF-8 sequence at `p`, or 0 when it is none.
std::size_t sequence_at(const unsigned char* p, std::size_t left) noexcept {
  const auto tail = [&](std::size_t i) { return i < left && (p[i] & 0xC0U) == 0x80U; };
  if (p[0] < 0x80U) return 1;
  if (p[0] >= 0xC2U && p[0] <= 0xDFU) return tail(1) ? 2 : 0;
  if (p[0] >= 0xE0U && p[0] <= 0xEFU) {
    if (!tail(1) || !tail(2)) return 0;
    if (p[0] == 0xE0U && p[1] < 0xA0U) return 0;  // overlong
    if (p[0] == 0xEDU && p[1] > 0x9FU) return 0;  // surrogate
    return 3;
  }
  if (p[0] >= 0xF0U && p[0] <= 0xF4U) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (p[0] == 0xF0U && p[1] < 0x90U) return 0;
    if (p[0] == 0xF4U && p[1] > 0x8FU) return 0;
    return 4;
  }
  return 0;
}

} // namespace

std::size_t find_invalid_utf8(std::string_view text) noexcept {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t i = 0;
  while (i < text.size()) {
    std::uint64_t eight = 0;
    if (i + 8 <= text.size() && (std::memcpy(&eight, p + i, 8), (eight & 0x8080808080808080ULL) == 0)) {
      i += 8;
      continue;
    }
    const std::size_t n = sequence_at(p + i, text.size() - i);
    if (n == 0) return i;
    i += n;
  }
  return std::string_view::npos;
}

void json_reader::fail(const std::string& what) const {
  throw json_failure{"not valid JSON: " + what + " at byte " + std::to_string(at_)};
}

void json_reader::white_space() noexcept {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) ++at_;
}

char json_reader::need() {
  white_space();
  if (at_ >= text_.size()) fail("the text ends too early");
  return text_[at_];
}

void json_reader::expect(char c, const char* what) {
  if (need() != c) fail(std::string("expected ") + what);
  ++at_;
}

void json_reader::word(std::string_view w) {
  if (text_.substr(at_, w.size()) != w) fail("expected a value");
  at_ += w.size();
}

void json_reader::descend() {
  if (depth_left_ == 0) throw json_failure{"nested too deeply (api.json_depth)"};
  --depth_left_;
}

json_reader::kind json_reader::peek() {
  switch (const char c = need()) {
  case '{': return kind::object;
  case '[': return kind::array;
  case '"': return kind::string;
  case 't':
  case 'f': return kind::boolean;
  case 'n': return kind::null;
  default:
    if (c == '-' || digit(c)) return kind::number;
    fail("expected a value");
  }
}

void json_reader::enter_object() {
  expect('{', "an object");
  descend();
  first_ = true;
}

bool json_reader::next_member(std::string& name) {
  if (need() == '}') {
    ++at_;
    ++depth_left_;
    first_ = false;
    return false;
  }
  if (!first_) expect(',', "',' or '}'");
  first_ = false;
  if (need() != '"') fail("expected a member's name in quotes");
  name = string();
  expect(':', "':'");
  return true;
}

void json_reader::enter_array() {
  expect('[', "an array");
  descend();
  first_ = true;
}

bool json_reader::next_element() {
  if (need() == ']') {
    ++at_;
    ++depth_left_;
    first_ = false;
    return false;
  }
  if (!first_) {
    expect(',', "',' or ']'");
    if (need() == ']') fail("expected a value");
  }
  first_ = false;
  return true;
}

std::string_view json_reader::raw_string(bool& escaped) {
  expect('"', "a string");
  const std::size_t start = at_;
  escaped = false;
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"') return text_.substr(start, at_++ - start);
    if (static_cast<unsigned char>(c) < 0x20U) fail("a control character in a string");
    if (c == '\\') {
      escaped = true;
      ++at_;
    }
  }
  at_ = text_.size();
  fail("the text ends within a string");
}

std::string json_reader::decode(std::string_view raw) const {
  std::string out;
  out.reserve(raw.size());
  const auto four = [&](std::size_t i) -> std::uint32_t {
    std::uint32_t v = 0;
    for (std::size_t k = i; k < i + 4; ++k) {
      const int h = k < raw.size() ? hex_value(raw[k]) : -1;
      if (h < 0) fail("a broken \\u escape before here");
      v = v * 16 + static_cast<std::uint32_t>(h);
    }
    return v;
  };
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      out.push_back(raw[i]);
      continue;
    }
    switch (raw[++i]) { // `raw_string` never ends behind a backslash
    case '"': out.push_back('"'); break;
    case '\\': out.push_back('\\'); break;
    case '/': out.push_back('/'); break;
    case 'b': out.push_back('\b'); break;
    case 'f': out.push_back('\f'); break;
    case 'n': out.push_back('\n'); break;
    case 'r': out.push_back('\r'); break;
    case 't': out.push_back('\t'); break;
    case 'u': {
      std::uint32_t c = four(i + 1);
      i += 4;
      if (c >= 0xDC00U && c <= 0xDFFFU) fail("a lone surrogate before here");
      if (c >= 0xD800U && c <= 0xDBFFU) {
        if (raw.substr(i + 1, 2) != "\\u") fail("a lone surrogate before here");
        const std::uint32_t low = four(i + 3);
        if (low < 0xDC00U || low > 0xDFFFU) fail("a lone surrogate before here");
        c = 0x10000U + ((c - 0xD800U) << 10U) + (low - 0xDC00U);
        i += 6;
      }
      append_utf8(out, c);
      break;
    }
    default: fail("an unknown escape before here");
    }
  }
  return out;
}

std::string json_reader::string() {
  bool escaped = false;
  const auto raw = raw_string(escaped);
  return escaped ? decode(raw) : std::string(raw);
}

std::string_view json_reader::number() {
  need();
  const std::size_t start = at_;
  const auto digits = [&] {
    const std::size_t from = at_;
    while (at_ < text_.size() && digit(text_[at_])) ++at_;
    if (at_ == from) fail("a broken number");
    return at_ - from;
  };
  if (text_[at_] == '-') ++at_;
  const bool zero = at_ < text_.size() && text_[at_] == '0';
  if (digits() > 1 && zero) fail("a number with leading zeros");
  bool check_range = at_ - start > 300;
  if (at_ < text_.size() && text_[at_] == '.') {
    ++at_;
    digits();
  }
  if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    ++at_;
    if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
    check_range = digits() >= 3 || check_range;
  }
  const auto whole = text_.substr(start, at_ - start);
  if (check_range) {
    double v = 0;
    const auto [end, ec] = std::from_chars(whole.data(), whole.data() + whole.size(), v);
    if (ec != std::errc{}) fail("a number that is out of range before here");
  }
  return whole;
}

bool json_reader::boolean() {
  const bool value = need() == 't';
  word(value ? "true" : "false");
  return value;
}

void json_reader::null() {
  need();
  word("null");
}

void json_reader::check_duplicates(std::size_t from) {
  const auto begin = names_.begin() + static_cast<std::ptrdiff_t>(from);
  if (names_.end() - begin > 8) {
    std::sort(begin, names_.end());
    if (const auto twice = std::adjacent_find(begin, names_.end()); twice != names_.end())
      throw json_failure{"the member \"" + std::string(*twice) + "\" is there twice"};
  } else {
    for (auto i = begin; i != names_.end(); ++i)
      if (std::find(begin, i, *i) != i) throw json_failure{"the member \"" + std::string(*i) + "\" is there twice"};
  }
  names_.resize(from);
}

void json_reader::skip_value() {
  switch (peek()) {
  case kind::object: {
    const std::size_t mine = names_.size();
    enter_object();
    for (bool first = true;; first = false) {
      if (need() == '}') break;
      if (!first) expect(',', "',' or '}'");
      bool escaped = false;
      auto name = raw_string(escaped);
      if (escaped) { // compare what is meant, not how it is written
        decoded_.push_back(decode(name));
        name = decoded_.back();
      }
      names_.push_back(name);
      expect(':', "':'");
      skip_value();
    }
    check_duplicates(mine);
    ++at_;
    ++depth_left_;
    first_ = false;
    return;
  }
  case kind::array:
    enter_array();
    while (next_element()) {
      skip_value();
      first_ = false;
    }
    return;
  case kind::string: {
    bool escaped = false;
    const auto raw = raw_string(escaped);
    if (escaped) decode(raw);
    return;
  }
  case kind::number: number(); return;
  case kind::boolean: boolean(); return;
  case kind::null: null(); return;
  }
}

std::string_view json_reader::skip() {
  need();
  const std::size_t start = at_;
  const bool first = first_;
  skip_value();
  first_ = first;
  decoded_.clear();
  return text_.substr(start, at_ - start);
}

void json_reader::finish() {
  white_space();
  if (at_ != text_.size()) fail("something follows the value");
}

bool is_json(std::string_view text, std::uint32_t depth_max) noexcept {
  if (find_invalid_utf8(text) != std::string_view::npos) return false;
  try {
    json_reader reader(text, depth_max);
    reader.skip();
    reader.finish();
    return true;
  } catch (const json_failure&) {
    return false;
  }
}

void append_json_string(std::string& out, std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  out.push_back('"');
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  for (std::size_t i = 0; i < text.size();) {
    const unsigned char c = p[i];
    if (c >= 0x20U && c < 0x80U && c != '"' && c != '\\') {
      out.push_back(static_cast<char>(c));
      ++i;
    } else if (c >= 0x80U) {
      const std::size_t n = sequence_at(p + i, text.size() - i);
      if (n == 0) out.append("\xEF\xBF\xBD");
      else out.append(text, i, n);
      i += std::max<std::size_t>(n, 1);
    } else {
      ++i;
      switch (c) {
      case '"': out.append("\\\""); break;
      case '\\': out.append("\\\\"); break;
      case '\n': out.append("\\n"); break;
      case '\r': out.append("\\r"); break;
      case '\t': out.append("\\t"); break;
      default:
        out.append("\\u00");
        out.push_back(digits[c >> 4U]);
        out.push_back(digits[c & 15U]);
      }
    }
  }
  out.push_back('"');
}

} // namespace hive::api
