/// @file
/// Compact binary encoding of small durable values: varints, strings, fixed 64-bit. Little-endian.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace hive {

class byte_writer {
public:
  byte_writer& varint(std::uint64_t v) {
    while (v >= 0x80U) {
      out_.push_back(static_cast<char>((v & 0x7FU) | 0x80U));
      v >>= 7U;
    }
    out_.push_back(static_cast<char>(v));
    return *this;
  }
  byte_writer& fixed64(std::uint64_t v) {
    char raw[8];
    std::memcpy(raw, &v, 8);
    out_.append(raw, 8);
    return *this;
  }
  byte_writer& text(std::string_view s) {
    varint(s.size());
    out_.append(s);
    return *this;
  }
  std::string take() { return std::move(out_); }
  const std::string& view() const noexcept { return out_; }

private:
  std::string out_;
};

/// Reads what `byte_writer` wrote. After any malformed read `ok()` is false and every further read gives zero.
class byte_reader {
public:
  explicit byte_reader(std::string_view in) noexcept : in_(in) {}
  std::uint64_t varint() noexcept {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (in_.empty()) return fail();
      const auto byte = static_cast<unsigned char>(in_.front());
      in_.remove_prefix(1);
      v |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80U) return v;
    }
    return fail();
  }
  std::uint64_t fixed64() noexcept {
    if (in_.size() < 8) return fail();
    std::uint64_t v = 0;
    std::memcpy(&v, in_.data(), 8);
    in_.remove_prefix(8);
    return v;
  }
  std::string_view text() noexcept {
    const std::uint64_t n = varint();
    if (n > in_.size()) {
      fail();
      return {};
    }
    auto s = in_.substr(0, n);
    in_.remove_prefix(n);
    return s;
  }
  /// Everything not read yet.
  std::string_view rest() const noexcept { return in_; }
  bool ok() const noexcept { return ok_; }
  bool at_end() const noexcept { return in_.empty(); }

private:
  std::uint64_t fail() noexcept {
    ok_ = false;
    in_ = {};
    return 0;
  }
  std::string_view in_;
  bool ok_ = true;
};

} // namespace hive
