#include "config/base/payload.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace hive {

request_digest digest_of(std::string_view message_type, const payload& body) noexcept {
  // The type's own hash seeds the payload's: no concatenation, no allocation.
  const std::uint64_t seed = XXH3_64bits(message_type.data(), message_type.size()) + static_cast<std::uint64_t>(body.type);
  const XXH128_hash_t h = XXH3_128bits_withSeed(body.bytes.data(), body.bytes.size(), seed);
  return {h.low64, h.high64};
}

std::uint64_t hash_of(std::string_view text) noexcept { return XXH3_64bits(text.data(), text.size()); }

} // namespace hive
