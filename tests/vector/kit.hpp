/// @file
/// What the tests of vector/ share: seeded vectors and items.
#pragma once

#include "config/base/random.hpp"
#include "vector/collection.hpp"

#include <cmath>
#include <string>
#include <vector>

namespace hive::vector::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

inline double uniform(random_source& chance) { return static_cast<double>(chance.next() >> 11U) / 9007199254740992.0; }

/// Roughly normal.
inline float normal(random_source& chance) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += uniform(chance);
  return static_cast<float>(sum);
}

inline std::vector<float> random_vector(random_source& chance, std::size_t dimension) {
  std::vector<float> v(dimension);
  for (float& x : v) x = normal(chance);
  return v;
}

inline wall_time at(std::int64_t ms) { return wall_time{std::chrono::milliseconds{ms}}; }

inline space in_space(metric m, std::uint32_t dimension, std::string embedder = {}) { return {m, dimension, std::move(embedder)}; }

inline item text_item(std::string id, std::string text) {
  item i;
  i.id = std::move(id);
  i.text = std::move(text);
  return i;
}

inline std::vector<std::string> ids(const search_answer& answer) {
  std::vector<std::string> out;
  for (const auto& h : answer.hits) out.push_back(h.content->id);
  return out;
}

} // namespace hive::vector::test
