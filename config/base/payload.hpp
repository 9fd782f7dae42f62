/// @file
/// What a message, an answer or a result carries: bytes, and what they are.
#pragma once

#include <cstdint>
#include <string>

namespace hive {

/// The numbers are stored; never renumber.
enum class content_type : std::uint8_t { json = 0, text = 1, binary = 2 };

struct payload {
  std::string bytes;
  content_type type = content_type::json;
  friend bool operator==(const payload&, const payload&) = default;
};

/// 128 bits of XXH3 over (message type, content type, bytes): a repeat of a key with another digest is an error.
struct request_digest {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(request_digest, request_digest) = default;
};

request_digest digest_of(std::string_view message_type, const payload& body) noexcept;
/// XXH3-64 of any text: hashes of keys and principals. Stored data depends on it.
std::uint64_t hash_of(std::string_view text) noexcept;

} // namespace hive
