/// @file
/// How many wrong keys an address may show in a minute, so that guessing, or a client with a stale key in a loop, does not
/// keep the store busy, nor keep out others behind the same address. Pure: time is an argument.
#pragma once

#include "config/base/clock.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace hive::security {

/// Counts by key, each for a minute from its first. Bounded: it knows so many keys at a time; one more, and the one that began
/// first is forgotten.
template <class Key, class Hash = std::hash<Key>> class minute_counts {
public:
  minute_counts(std::uint32_t most, std::size_t keys) : most_(most), keys_(keys) {}

  /// One more. @returns how long until there may be one more; then it does not count.
  std::optional<std::chrono::milliseconds> add(const Key& k, steady_time now) {
    while (!by_age_.empty() && now - known_.at(by_age_.front()).began >= window) forget_oldest();
    auto found = known_.find(k);
    if (found == known_.end()) {
      if (known_.size() >= keys_) forget_oldest();
      found = known_.emplace(k, entry{now, 0}).first;
      by_age_.push_back(k);
    }
    auto& e = found->second;
    if (e.count >= most_) return std::chrono::ceil<std::chrono::milliseconds>(e.began + window - now);
    e.count += 1;
    return std::nullopt;
  }
  /// One was none.
  void take_back(const Key& k) {
    const auto found = known_.find(k);
    if (found != known_.end() && found->second.count > 0) found->second.count -= 1;
  }
  std::size_t size() const noexcept { return known_.size(); }

private:
  static constexpr std::chrono::minutes window{1};
  struct entry {
    steady_time began{};
    std::uint32_t count = 0;
  };
  void forget_oldest() {
    known_.erase(by_age_.front());
    by_age_.pop_front();
  }

  std::uint32_t most_;
  std::size_t keys_;
  std::unordered_map<Key, entry, Hash> known_;
  std::deque<Key> by_age_; ///< Of `known_`, oldest first.
};

/// Confined to one thread, and bounded.
class wrong_keys {
public:
  /// IPv6, or IPv4 mapped into it. Of a native IPv6 address only the network (its first 64 bits) counts: whoever has one
  /// has 2^64 of them.
  using address = std::array<unsigned char, 16>;

  /// What is to be done with a key that is not known to be right.
  struct verdict {
    bool look_up = true;
    std::chrono::milliseconds wait{0}; ///< Above 0: its address has shown all the wrong ones that it may. Of a key that is looked up nevertheless: if it is wrong.
    std::string id;                    ///< Of such a key.
  };

  explicit wrong_keys(std::uint32_t per_minute, std::size_t known = 10'000) : of_address_(per_minute, known), of_id_(tries_of_an_id, known) {}

  /// It counts as wrong until `ended` says otherwise. Beyond what its address may show it is looked up a few times a minute,
  /// and one such key of an address at a time: it may be the right key of another one behind that address.
  /// @param id of the key; empty: it is none.
  verdict begin(const address& from, std::string_view id, steady_time now);
  /// The look-up is over. @param right or nobody could tell.
  void ended(const address& from, const verdict& of, bool right);

  std::size_t addresses() const noexcept { return of_address_.size(); }

private:
  static constexpr std::uint32_t tries_of_an_id = 10;
  struct hash {
    std::size_t operator()(const address& a) const noexcept;
  };
  static address network_of(address a) noexcept;

  minute_counts<address, hash> of_address_;
  minute_counts<std::string> of_id_;
  std::unordered_set<address, hash> looking_; ///< Addresses with a look-up beyond their count.
};

} // namespace hive::security
