/// @file
/// How many wrong keys an address may show in a minute, so that guessing, or a client with a stale key in a loop, does not
/// keep the store busy. Pure: time is an argument.
#pragma once

#include "config/base/clock.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <optional>
#include <unordered_map>

namespace hive::security {

/// Confined to one thread. Bounded: it knows so many addresses at a time; one more, and the one that began first is
/// forgotten.
class wrong_keys {
public:
  /// IPv6, or IPv4 mapped into it. Of a native IPv6 address only the network (its first 64 bits) counts: whoever has one
  /// has 2^64 of them.
  using address = std::array<unsigned char, 16>;

  explicit wrong_keys(std::uint32_t per_minute, std::size_t addresses = 10'000) : per_minute_(per_minute), addresses_(addresses) {}

  /// A key that is not known to be right is about to be looked up. It counts as wrong until `right` is called.
  /// @returns how long to wait first; then it is not to be looked up, and does not count.
  std::optional<std::chrono::milliseconds> begin(const address& from, steady_time now);
  /// It was right, or nobody could tell.
  void right(const address& from);

  std::size_t addresses() const noexcept { return known_.size(); }

private:
  struct hash {
    std::size_t operator()(const address& a) const noexcept;
  };
  struct entry {
    steady_time began{};
    std::uint32_t wrong = 0;
  };
  static address network_of(address a) noexcept;
  void forget_oldest();

  std::uint32_t per_minute_;
  std::size_t addresses_;
  std::unordered_map<address, entry, hash> known_;
  std::deque<address> by_age_;                 ///< Of `known_`, oldest first.
};

} // namespace hive::security
