#include "runtime/security/wrong_keys.hpp"

#include <algorithm>

namespace hive::security {

std::size_t wrong_keys::hash::operator()(const address& a) const noexcept {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(a.data()), a.size()});
}

wrong_keys::address wrong_keys::network_of(address a) noexcept {
  constexpr address mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (!std::equal(a.begin(), a.begin() + 12, mapped.begin())) std::fill(a.begin() + 8, a.end(), static_cast<unsigned char>(0));
  return a;
}

wrong_keys::verdict wrong_keys::begin(const address& from, std::string_view id, steady_time now) {
  constexpr std::chrono::milliseconds a_moment{100};
  const auto who = network_of(from);
  const auto wait = of_address_.add(who, now);
  if (!wait) return {};
  verdict v{false, *wait, std::string(id)};
  if (id.empty()) return v;
  if (looking_.contains(who)) {
    v.wait = a_moment;
    return v;
  }
  if (const auto of_id = of_id_.add(v.id, now)) {
    v.wait = *of_id;
    return v;
  }
  looking_.insert(who);
  v.look_up = true;
  return v;
}

void wrong_keys::ended(const address& from, const verdict& of, bool right) {
  const auto who = network_of(from);
  if (of.wait.count() > 0) looking_.erase(who);
  if (!right) return;
  if (of.wait.count() > 0) of_id_.take_back(of.id);
  else of_address_.take_back(who);
}

} // namespace hive::security
