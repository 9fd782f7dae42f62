#include "config/base/base64.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace hive {

namespace {
constexpr char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string to_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t v = 0;
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) v = v << 8U | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) out.push_back(k <= n ? base64_digits[v >> (18 - 6 * k) & 63U] : '=');
  }
  return out;
}

bool from_base64(std::string_view text, std::string& out) {
  static const auto values = [] {
    std::array<std::int8_t, 256> t{};
    t.fill(-1);
    for (std::int8_t i = 0; i < 64; ++i) t[static_cast<unsigned char>(base64_digits[i])] = i;
    return t;
  }();
  if (text.size() % 4 != 0) return false;
  out.clear();
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t pad = !last ? 0 : text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t v = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const int d = k >= 4 - pad ? 0 : values[static_cast<unsigned char>(text[i + k])];
      if (d < 0) return false;
      v = v << 6U | static_cast<std::uint32_t>(d);
    }
    if ((pad == 1 && (v & 0xFFU)) || (pad == 2 && (v & 0xFFFFU))) return false;
    for (std::size_t k = 0; k < 3 - pad; ++k) out.push_back(static_cast<char>(v >> (16 - 8 * k) & 0xFFU));
  }
  return true;
}

} // namespace hive
