#include "vector/mmr.hpp"

#include "vector/kernels/kernels.hpp"

#include <algorithm>
#include <cmath>

namespace hive::vector {

mmr::mmr(std::span<const mmr_candidate> candidates, double diversity)
  : relevance_(candidates.size()), nearest_(candidates.size(), -1), named_(candidates.size()), diversity_(diversity) {
  double low = 0, high = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const double r = candidates[i].relevance;
    low = i == 0 ? r : std::min(low, r);
    high = i == 0 ? r : std::max(high, r);
  }
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    relevance_[i] = high > low ? (candidates[i].relevance - low) / (high - low) : 1;
    aligned_vector<float> unit(padded(candidates[i].vector.size(), kernels::float_block));
    double squares = 0;
    for (const float x : candidates[i].vector) squares += double{x} * x;
    const double inverse = squares > 0 ? 1 / std::sqrt(squares) : 0;
    std::transform(candidates[i].vector.begin(), candidates[i].vector.end(), unit.begin(),
                   [&](float x) { return static_cast<float>(double{x} * inverse); });
    unit_.push_back(std::move(unit));
  }
}

std::optional<std::size_t> mmr::next() {
  std::optional<std::size_t> best;
  double best_worth = 0;
  for (std::size_t i = 0; i < relevance_.size(); ++i) {
    if (named_[i]) continue;
    const double worth = (1 - diversity_) * relevance_[i] - diversity_ * std::max(nearest_[i], 0.0);
    if (!best || worth > best_worth) best = i, best_worth = worth;
  }
  if (!best) return std::nullopt;
  named_[*best] = true;
  last_ = *best;
  similarity_ = nearest_[*best];
  return best;
}

void mmr::take() {
  const auto& taken = unit_[last_];
  for (std::size_t i = 0; i < unit_.size(); ++i)
    if (!named_[i]) nearest_[i] = std::max(nearest_[i], double{kernels::best().dot(unit_[i].data(), taken.data(), taken.size())});
}

} // namespace hive::vector
