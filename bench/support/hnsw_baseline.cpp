#include "bench/support/hnsw_baseline.hpp"

#include <hnswlib/hnswlib.h>

namespace hive::bench {

struct hnsw_baseline::graph {
  graph(std::size_t dimension, std::size_t items, std::size_t links, std::size_t effort) : space(dimension), index(&space, items, links, effort, 1) {}
  hnswlib::InnerProductSpace space;
  hnswlib::HierarchicalNSW<float> index;
};

hnsw_baseline::hnsw_baseline(std::size_t dimension, std::size_t items, std::size_t links, std::size_t effort)
  : graph_(std::make_unique<graph>(dimension, items, links, effort)) {}
hnsw_baseline::~hnsw_baseline() = default;

void hnsw_baseline::add(const float* vector, std::size_t number) { graph_->index.addPoint(vector, number); }
void hnsw_baseline::set_effort(std::size_t effort) { graph_->index.setEf(effort); }

std::size_t hnsw_baseline::search(const float* query, std::size_t k, std::size_t* numbers) const {
  auto found = graph_->index.searchKnn(query, k); // the farthest is on top
  const std::size_t count = found.size();
  for (std::size_t i = count; i-- > 0; found.pop()) numbers[i] = found.top().second;
  return count;
}

} // namespace hive::bench
