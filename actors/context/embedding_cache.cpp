#include "actors/context/embedding_cache.hpp"

#include "config/base/payload.hpp"

namespace hive::actors {

embedding_cache::key embedding_cache::key_of(const embedding_model& by, std::string_view text) {
  const auto digest =
      digest_of(by.name + "\n" + std::to_string(by.dimension), payload{std::string(text), content_type::text});
  return {digest.low, digest.high};
}

std::optional<std::vector<float>> embedding_cache::find(const embedding_model& by, std::string_view text) {
  const auto wanted = key_of(by, text);
  std::lock_guard lock(guard_);
  const auto found = places_.find(wanted);
  if (found == places_.end()) return std::nullopt;
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  return found->second->vector;
}

void embedding_cache::put(const embedding_model& by, std::string_view text, std::vector<float> vector) {
  entry fresh{key_of(by, text), std::move(vector)};
  const auto bytes = bytes_of(fresh);
  std::lock_guard lock(guard_);
  if (bytes > bytes_max_ || places_.contains(fresh.of)) return;
  while (bytes_ + bytes > bytes_max_) {
    bytes_ -= bytes_of(by_use_.back());
    places_.erase(by_use_.back().of);
    by_use_.pop_back();
  }
  by_use_.push_front(std::move(fresh));
  places_.emplace(by_use_.front().of, by_use_.begin());
  bytes_ += bytes;
}

std::uint64_t embedding_cache::bytes() const {
  std::lock_guard lock(guard_);
  return bytes_;
}

} // namespace hive::actors
