/// @file
/// One ranking out of two that measure different things.
#pragma once

#include "vector/scan.hpp"

#include <span>
#include <vector>

namespace hive::vector {

/// An item in a joined ranking, with what it came from. Ranks count from 1; 0: not in that ranking.
struct fused_row {
  found_row where; ///< `score` is the joined one.
  double dense_score = 0, lexical_score = 0;
  std::uint32_t dense_rank = 0, lexical_rank = 0;
};

/// The constant of reciprocal rank fusion: how much the first ranks stand out.
inline constexpr double rrf_k = 60;

/// Reciprocal rank fusion: the sum of weight / (rrf_k + rank). Sorted by it; equal ones by id. Ranks need no calibration
/// between scores of different kinds.
std::vector<fused_row> fuse(std::span<const found_row> dense, double dense_weight, std::span<const found_row> lexical, double lexical_weight,
                            std::span<const view_entry> entries);

} // namespace hive::vector
