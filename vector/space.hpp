/// @file
/// What a collection measures with: fixed when it is created, because every stored vector depends on it.
#pragma once

#include "config/base/result.hpp"
#include "vector/limits.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hive::vector {

/// The numbers are stored; never renumber. A score is higher for a nearer item with all three.
enum class metric : std::uint8_t {
  cosine = 0,        ///< Vectors are scaled to length 1 when stored; score -1..1. Zero vectors are refused.
  inner_product = 1, ///< Score is the dot product.
  l2 = 2,            ///< Score is minus the squared Euclidean distance.
};

/// "cosine", "inner_product", "l2": as in the API.
std::string_view to_string(metric m) noexcept;
result<metric> metric_from(std::string_view word);

struct space {
  metric measure = metric::cosine;
  std::uint32_t dimension = 384; ///< 8..4096
  std::string embedder;          ///< Name of the embedder that made the vectors, e.g. "hashing-1"; empty: the callers did.
};

/// Dimension within bounds; the field is "dimension".
result<void> validate(const space& s);

/// A vector as the space stores it: right dimension, finite, scaled to length 1 with cosine.
/// @param field names the vector in errors ("vector"): wrong dimension, NaN or infinity (with the component's number), zero
/// or too short to be scaled with cosine, too long for 32-bit arithmetic.
result<std::vector<float>> prepare(const space& s, std::vector<float> raw, std::string_view field);

} // namespace hive::vector
