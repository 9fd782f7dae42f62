/// @file
/// Maximal marginal relevance: an order in which what comes next adds something to what came before.
#pragma once

#include "vector/kernels/int8_code.hpp"

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace hive::vector {

/// A candidate: relevance by any measure, and its vector.
struct mmr_candidate {
  double relevance = 0;
  std::span<const float> vector;
};

/// Chooses one after the other; feed back whether each was taken. Relevances are scaled to 0..1 over all candidates; similarity is
/// the cosine, whatever the metric of the collection. Equal values: the earlier candidate.
class mmr {
public:
  /// @param diversity 0: by relevance alone; 1: by difference alone.
  mmr(std::span<const mmr_candidate> candidates, double diversity);

  /// The best of those not yet named. `nullopt`: all were.
  std::optional<std::size_t> next();
  /// Cosine of the last one named to the most similar one taken; below 0 (-1) when none was taken.
  double similarity() const noexcept { return similarity_; }
  /// The last one named counts for those that follow.
  void take();

private:
  std::vector<aligned_vector<float>> unit_; ///< Vectors of length 1, padded.
  std::vector<double> relevance_;
  std::vector<double> nearest_; ///< To what was taken.
  std::vector<bool> named_;
  double diversity_;
  std::size_t last_ = 0;
  double similarity_ = -1;
};

} // namespace hive::vector
