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

/// The constant of reciprocal rank fusion: how much the first ranks stand out. With the 60 of the literature a dense rank outweighs a dozen
/// lexical ones, and hybrid was no better than lexical alone at 384 dimensions. Chosen as the weight below.
inline constexpr double rrf_k = 2;

/// Of the dense ranking beside 1 for the lexical one. Chosen for the built-in embedder at the default dimension, on the `tune` half of
/// bench/search_quality_bench.
inline constexpr double dense_weight_default = 0.4;

/// Ranks beyond this add nothing: the order of the first hits must not depend on how many are asked for.
inline constexpr std::uint32_t fusion_depth = 100;

/// Reciprocal rank fusion: the sum of weight / (rrf_k + rank) over the ranks down to `fusion_depth`. Sorted by it; equal ones by id. Ranks
/// need no calibration between scores of different kinds. What is in neither ranking that deep follows by its dense rank, with the score of
/// a rank beyond the depth; so a longer `dense` makes the answer longer and changes nothing of its beginning.
/// @param dense as deep as the answer is to be long; @param lexical what is beyond the depth is not read.
std::vector<fused_row> fuse(std::span<const found_row> dense, double dense_weight, std::span<const found_row> lexical, double lexical_weight,
                            std::span<const view_entry> entries);

} // namespace hive::vector
