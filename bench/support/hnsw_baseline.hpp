/// @file
/// hnswlib as packaged, to measure beside. Only where it was found when the build was configured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace hive::bench {

/// Inner product over unit vectors. Searches from any thread, once everything is added.
class hnsw_baseline {
public:
  /// @param links of each item (M). @param effort candidates while it is built (ef_construction).
  hnsw_baseline(std::size_t dimension, std::size_t items, std::size_t links, std::size_t effort);
  ~hnsw_baseline();
  void add(const float* vector, std::size_t number);
  /// Candidates of a search (ef): more find more, later.
  void set_effort(std::size_t effort);
  /// Numbers of the nearest, best first. @returns how many
  std::size_t search(const float* query, std::size_t k, std::size_t* numbers) const;

private:
  struct graph;
  std::unique_ptr<graph> graph_;
};

} // namespace hive::bench
