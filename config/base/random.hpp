/// @file
/// Chance, injected: core logic draws from one of these, made from a seed that a failing test prints.
#pragma once

#include <cstdint>

namespace hive {

/// SplitMix64. Confined to one thread.
class random_source {
public:
  explicit random_source(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
  }
  /// Uniform in [0, bound). @pre bound > 0
  std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
  /// True once in `n` draws.
  bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }

private:
  std::uint64_t state_;
};

} // namespace hive
