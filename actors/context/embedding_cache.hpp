/// @file
/// Vectors by what they were made of: model, dimension and the hash of the text.
#pragma once

#include "actors/context/text_embedder.hpp"

#include <array>
#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>

namespace hive::actors {

/// Any thread. The least recently used vectors go first.
class embedding_cache {
public:
  explicit embedding_cache(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  std::optional<std::vector<float>> find(const embedding_model& by, std::string_view text);
  void put(const embedding_model& by, std::string_view text, std::vector<float> vector);
  std::uint64_t bytes() const;

private:
  struct key {
    std::uint64_t low = 0, high = 0; ///< 128 bits over model, dimension and text.
    friend bool operator==(const key&, const key&) = default;
  };
  struct key_hash {
    std::size_t operator()(const key& k) const noexcept { return k.low; }
  };
  struct entry {
    key of;
    std::vector<float> vector;
  };
  static key key_of(const embedding_model& by, std::string_view text);
  static std::uint64_t bytes_of(const entry& e) { return sizeof(entry) + 64 + e.vector.capacity() * sizeof(float); }

  mutable std::mutex guard_;
  std::list<entry> by_use_; ///< Newest first.
  std::unordered_map<key, std::list<entry>::iterator, key_hash> places_;
  std::uint64_t bytes_ = 0;
  std::uint64_t bytes_max_;
};

} // namespace hive::actors
