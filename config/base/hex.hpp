/// @file
/// Bytes as lower-case hexadecimal digits, and back.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hive {

inline void append_hex(std::string& out, unsigned char byte) {
  constexpr char digits[] = "0123456789abcdef";
  out += digits[byte >> 4U];
  out += digits[byte & 15U];
}

inline std::string to_hex(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) append_hex(out, static_cast<unsigned char>(c));
  return out;
}

/// Nothing unless it is pairs of lower-case digits.
inline std::optional<std::string> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  const auto value = [](char c) -> unsigned {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    return 16;
  };
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const unsigned high = value(text[i]);
    const unsigned low = value(text[i + 1]);
    if (high > 15 || low > 15) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
  }
  return out;
}

} // namespace hive
