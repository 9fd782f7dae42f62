#include "tests/vector/kit.hpp"
#include "vector/faiss/int8_storage.hpp"

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/impl/IDSelector.h>

#include <gtest/gtest.h>

#include <set>

namespace hive::vector {
namespace {

constexpr int dimension = 96;
constexpr int count = 3000;
constexpr std::size_t queries = 50;
constexpr std::size_t k = 10;

class Int8StorageTest : public testing::TestWithParam<faiss::MetricType> {
protected:
  /// Clusters, as texts have them.
  void SetUp() override {
    random_source chance(21);
    std::vector<std::vector<float>> centers;
    for (int i = 0; i < 100; ++i) centers.push_back(test::random_vector(chance, dimension));
    const auto draw = [&](std::vector<float>& to, int n) {
      for (int i = 0; i < n; ++i) {
        const auto& center = centers[chance.below(centers.size())];
        std::vector<float> v(dimension);
        double squares = 0;
        for (std::size_t j = 0; j < v.size(); ++j) v[j] = center[j] + 0.5F * test::normal(chance), squares += double{v[j]} * v[j];
        for (const float x : v) to.push_back(static_cast<float>(x / std::sqrt(squares)));
      }
    };
    draw(base_, count);
    draw(asked_, static_cast<int>(queries));
    faiss::IndexFlat flat(dimension, GetParam());
    flat.add(count, base_.data());
    truth_.resize(queries * k);
    std::vector<float> distances(truth_.size());
    flat.search(static_cast<faiss::Index::idx_t>(queries), asked_.data(), static_cast<faiss::Index::idx_t>(k), distances.data(), truth_.data());
    best_ = distances[0];
  }

  double recall(const faiss::Index& index) const {
    std::vector<faiss::Index::idx_t> found(queries * k);
    std::vector<float> distances(found.size());
    index.search(static_cast<faiss::Index::idx_t>(queries), asked_.data(), static_cast<faiss::Index::idx_t>(k), distances.data(), found.data());
    std::size_t same = 0;
    for (std::size_t q = 0; q < queries; ++q) {
      const std::set<faiss::Index::idx_t> right(truth_.begin() + static_cast<std::ptrdiff_t>(q * k), truth_.begin() + static_cast<std::ptrdiff_t>((q + 1) * k));
      for (std::size_t i = 0; i < k; ++i) same += right.count(found[q * k + i]);
    }
    return static_cast<double>(same) / static_cast<double>(truth_.size());
  }

  std::vector<float> base_, asked_;
  std::vector<faiss::Index::idx_t> truth_;
  float best_ = 0;
};

TEST_P(Int8StorageTest, ScanAndGraphFindWhatFaissFindsExactly) {
  int8_storage storage(dimension, GetParam());
  storage.add(count, base_.data());
  EXPECT_EQ(storage.ntotal, count);
  EXPECT_GT(recall(storage), 0.97);

  int8_storage below(dimension, GetParam());
  faiss::IndexHNSW graph(&below, 16);
  graph.hnsw.efConstruction = 80;
  graph.hnsw.efSearch = 128;
  graph.add(count, base_.data());
  EXPECT_GT(recall(graph), 0.95);
}

TEST_P(Int8StorageTest, CodesKeepDistancesAndComeBack) {
  int8_storage storage(dimension, GetParam());
  storage.add(count, base_.data());
  std::vector<float> back(dimension);
  storage.reconstruct(7, back.data());
  for (int j = 0; j < dimension; ++j) EXPECT_NEAR(back[static_cast<std::size_t>(j)], base_[static_cast<std::size_t>(7 * dimension + j)], 0.005);
  std::vector<float> distance(1);
  std::vector<faiss::Index::idx_t> label(1);
  storage.search(1, asked_.data(), 1, distance.data(), label.data());
  EXPECT_NEAR(distance[0], best_, 0.02);
  const std::unique_ptr<faiss::DistanceComputer> computer{storage.get_distance_computer()};
  computer->set_query(base_.data() + 5 * dimension);
  for (faiss::Index::idx_t i = 0; i < 50; ++i) EXPECT_NEAR((*computer)(i), computer->symmetric_dis(5, i), 0.02);
}

TEST_P(Int8StorageTest, SelectorsHold) {
  int8_storage storage(dimension, GetParam());
  storage.add(count, base_.data());
  faiss::IDSelectorRange few(100, 105);
  faiss::SearchParameters parameters;
  parameters.sel = &few;
  std::vector<float> distances(k);
  std::vector<faiss::Index::idx_t> labels(k);
  storage.search(1, asked_.data(), static_cast<faiss::Index::idx_t>(k), distances.data(), labels.data(), &parameters);
  for (std::size_t i = 0; i < k; ++i) EXPECT_EQ(labels[i] == -1, i >= 5);
}

INSTANTIATE_TEST_SUITE_P(Metrics, Int8StorageTest, testing::Values(faiss::METRIC_INNER_PRODUCT, faiss::METRIC_L2),
                         [](const auto& one) { return one.param == faiss::METRIC_L2 ? "l2" : "inner_product"; });

} // namespace
} // namespace hive::vector
