#include "runtime/security/wrong_keys.hpp"

#include <algorithm>
#include <string_view>

namespace hive::security {

namespace {
constexpr std::chrono::milliseconds window{60'000};
}

std::size_t wrong_keys::hash::operator()(const address& a) const noexcept {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(a.data()), a.size()});
}

wrong_keys::address wrong_keys::network_of(address a) noexcept {
  constexpr address mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (!std::equal(a.begin(), a.begin() + 12, mapped.begin())) std::fill(a.begin() + 8, a.end(), static_cast<unsigned char>(0));
  return a;
}

void wrong_keys::forget_oldest() {
  known_.erase(by_age_.front());
  by_age_.pop_front();
}

std::optional<std::chrono::milliseconds> wrong_keys::begin(const address& from, steady_time now) {
  while (!by_age_.empty() && now - known_.at(by_age_.front()).began >= window) forget_oldest();
  const auto who = network_of(from);
  auto found = known_.find(who);
  if (found == known_.end()) {
    if (known_.size() >= addresses_) forget_oldest();
    found = known_.emplace(who, entry{now, 0}).first;
    by_age_.push_back(who);
  }
  auto& e = found->second;
  if (e.wrong >= per_minute_) return std::chrono::ceil<std::chrono::milliseconds>(e.began + window - now);
  e.wrong += 1;
  return std::nullopt;
}

void wrong_keys::right(const address& from) {
  const auto found = known_.find(network_of(from));
  if (found != known_.end() && found->second.wrong > 0) found->second.wrong -= 1;
}

} // namespace hive::security
