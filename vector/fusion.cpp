#include "vector/fusion.hpp"

#include <absl/container/flat_hash_map.h>

#include <algorithm>

namespace hive::vector {

std::vector<fused_row> fuse(std::span<const found_row> dense, double dense_weight, std::span<const found_row> lexical, double lexical_weight,
                            std::span<const view_entry> entries) {
  std::vector<fused_row> out;
  out.reserve(dense.size() + fusion_depth);
  absl::flat_hash_map<std::uint64_t, std::size_t> places;
  const auto key = [](const found_row& r) { return std::uint64_t{r.entry} << 32U | r.row; };
  const std::size_t dense_depth = dense_weight > 0 ? std::min<std::size_t>(dense.size(), fusion_depth) : 0;
  const std::size_t lexical_depth = lexical_weight > 0 ? std::min<std::size_t>(lexical.size(), fusion_depth) : 0;
  for (std::size_t i = 0; i < dense_depth; ++i) {
    const auto rank = static_cast<std::uint32_t>(i + 1);
    places.emplace(key(dense[i]), out.size());
    out.push_back({{dense[i].entry, dense[i].row, dense_weight / (rrf_k + rank)}, dense[i].score, 0, rank, 0});
  }
  for (std::size_t i = 0; i < lexical_depth; ++i) {
    const auto rank = static_cast<std::uint32_t>(i + 1);
    const auto [at, fresh] = places.emplace(key(lexical[i]), out.size());
    if (fresh) out.push_back({{lexical[i].entry, lexical[i].row, 0}, 0, 0, 0, 0});
    fused_row& row = out[at->second];
    row.lexical_score = lexical[i].score;
    row.lexical_rank = rank;
    row.where.score += lexical_weight / (rrf_k + rank);
  }
  std::sort(out.begin(), out.end(), [&](const fused_row& x, const fused_row& y) {
    if (x.where.score != y.where.score) return x.where.score > y.where.score;
    return entries[x.where.entry].rows->items()[x.where.row]->id < entries[y.where.entry].rows->items()[y.where.row]->id;
  });
  // Below all those, and falling: the least score above is at least `least / (rrf_k + fusion_depth)`.
  const double least = dense_weight > 0 && lexical_weight > 0 ? std::min(dense_weight, lexical_weight) : std::max(dense_weight, lexical_weight);
  for (std::size_t i = dense_depth; i < dense.size(); ++i) {
    const auto rank = static_cast<std::uint32_t>(i + 1);
    if (const auto at = places.find(key(dense[i])); at != places.end()) continue;
    out.push_back({{dense[i].entry, dense[i].row, least / (rrf_k + fusion_depth + rank)}, dense[i].score, 0, rank, 0});
  }
  return out;
}

} // namespace hive::vector
