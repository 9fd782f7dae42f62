#include "vector/faiss/int8_storage.hpp"

#include "vector/kernels/int8_code.hpp"

#include <faiss/impl/FaissAssert.h>
#include <faiss/impl/IDSelector.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace hive::vector {
namespace {

struct header {
  float scale;
  std::int32_t sum;
  float square; ///< Of the coded vector, not of the original: distances between codes are then consistent.
  float unused;
};
static_assert(sizeof(header) == 16);

header header_of(const std::uint8_t* code) {
  header h;
  std::memcpy(&h, code, sizeof h);
  return h;
}
const std::int8_t* components_of(const std::uint8_t* code) { return reinterpret_cast<const std::int8_t*>(code + sizeof(header)); }

class computer final : public faiss::FlatCodesDistanceComputer {
public:
  explicit computer(const int8_storage& over)
    : FlatCodesDistanceComputer(over.codes.data(), over.code_size), dimension_(static_cast<std::size_t>(over.d)), l2_(over.metric_type == faiss::METRIC_L2),
      shifted_(over.code_size - sizeof(header)) {}

  void set_query(const float* x) override { query_.emplace(std::span<const float>{x, dimension_}); }

  float distance_to_code(const std::uint8_t* code) override {
    const header h = header_of(code);
    const float dot = query_->scale() * h.scale * static_cast<float>(dot_codes(query_->view(), code, h));
    return l2_ ? query_->square() + h.square - 2 * dot : dot;
  }

  float symmetric_dis(faiss::Index::idx_t i, faiss::Index::idx_t j) override {
    const std::uint8_t* a = codes + static_cast<std::size_t>(i) * code_size;
    const std::uint8_t* b = codes + static_cast<std::size_t>(j) * code_size;
    if (i != shifted_of_) {
      // A graph's construction compares one row with many.
      for (std::size_t n = 0; n < shifted_.size(); ++n) shifted_[n] = static_cast<std::uint8_t>(components_of(a)[n] + 128);
      shifted_of_ = i;
    }
    const header ha = header_of(a), hb = header_of(b);
    const float dot = ha.scale * hb.scale * static_cast<float>(dot_codes({components_of(a), shifted_.data(), shifted_.size()}, b, hb));
    return l2_ ? ha.square + hb.square - 2 * dot : dot;
  }

private:
  static std::int32_t dot_codes(const kernels::int8_query& q, const std::uint8_t* code, const header& h) {
    std::int32_t out = 0;
    kernels::best().dot_rows(q, components_of(code), &h.sum, 1, &out);
    return out;
  }

  std::size_t dimension_;
  bool l2_;
  std::optional<int8_query_code> query_;
  aligned_vector<std::uint8_t> shifted_;
  faiss::Index::idx_t shifted_of_ = -1;
};

} // namespace

int8_storage::int8_storage(faiss::Index::idx_t dimension, faiss::MetricType metric)
  : IndexFlatCodes(sizeof(header) + padded(static_cast<std::size_t>(dimension), kernels::code_block), dimension, metric) {
  FAISS_THROW_IF_NOT(metric == faiss::METRIC_L2 || metric == faiss::METRIC_INNER_PRODUCT);
  is_trained = true;
}

void int8_storage::sa_encode(faiss::Index::idx_t n, const float* x, std::uint8_t* bytes) const {
  const auto dimension = static_cast<std::size_t>(d);
  for (faiss::Index::idx_t i = 0; i < n; ++i) {
    std::uint8_t* to = bytes + static_cast<std::size_t>(i) * code_size;
    const auto code = encode_int8({x + static_cast<std::size_t>(i) * dimension, dimension},
                                  {reinterpret_cast<std::int8_t*>(to + sizeof(header)), code_size - sizeof(header)});
    const header h{code.scale, code.sum, code.length * code.length, 0};
    std::memcpy(to, &h, sizeof h);
  }
}

void int8_storage::sa_decode(faiss::Index::idx_t n, const std::uint8_t* bytes, float* x) const {
  for (faiss::Index::idx_t i = 0; i < n; ++i) {
    const std::uint8_t* from = bytes + static_cast<std::size_t>(i) * code_size;
    const float scale = header_of(from).scale;
    for (faiss::Index::idx_t j = 0; j < d; ++j) x[i * d + j] = scale * static_cast<float>(components_of(from)[j]);
  }
}

faiss::FlatCodesDistanceComputer* int8_storage::get_FlatCodesDistanceComputer() const { return new computer(*this); }

void int8_storage::search(faiss::Index::idx_t n, const float* x, faiss::Index::idx_t k, float* distances, faiss::Index::idx_t* labels,
                          const faiss::SearchParameters* params) const {
  const faiss::IDSelector* keep = params ? params->sel : nullptr;
  const bool l2 = metric_type == faiss::METRIC_L2;
  const std::unique_ptr<faiss::FlatCodesDistanceComputer> to{get_FlatCodesDistanceComputer()};
  std::vector<std::pair<float, faiss::Index::idx_t>> found; // smaller is nearer
  for (faiss::Index::idx_t q = 0; q < n; ++q) {
    to->set_query(x + q * d);
    found.clear();
    for (faiss::Index::idx_t i = 0; i < ntotal; ++i) {
      if (keep && !keep->is_member(i)) continue;
      const float distance = (*to)(i);
      found.emplace_back(l2 ? distance : -distance, i);
    }
    const auto count = std::min<std::size_t>(found.size(), static_cast<std::size_t>(k));
    std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end());
    for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
      const std::size_t at = static_cast<std::size_t>(q * k) + i;
      distances[at] = i < count ? (l2 ? found[i].first : -found[i].first) : (l2 ? std::numeric_limits<float>::max() : std::numeric_limits<float>::lowest());
      labels[at] = i < count ? found[i].second : -1;
    }
  }
}

} // namespace hive::vector
