/// @file
/// Our int8 codes as a storage that FAISS indexes can stand on: `faiss::IndexHNSW(&storage, 16)` then builds and searches its graph
/// with our kernels. The only folder that knows FAISS. Its errors are exceptions.
#pragma once

#include <faiss/IndexFlatCodes.h>

#include <cstddef>
#include <cstdint>

namespace hive::vector {

/// Inner product (for cosine: of vectors of length 1) or L2. A code is a header (scale, sum, square) and the padded components.
class int8_storage final : public faiss::IndexFlatCodes {
public:
  int8_storage(faiss::Index::idx_t dimension, faiss::MetricType metric);

  /// A scan of the codes, without rescoring: estimates, good for finding candidates.
  void search(faiss::Index::idx_t n, const float* x, faiss::Index::idx_t k, float* distances, faiss::Index::idx_t* labels,
              const faiss::SearchParameters* params = nullptr) const override;
  faiss::FlatCodesDistanceComputer* get_FlatCodesDistanceComputer() const override;
  void sa_encode(faiss::Index::idx_t n, const float* x, std::uint8_t* bytes) const override;
  void sa_decode(faiss::Index::idx_t n, const std::uint8_t* bytes, float* x) const override;
};

} // namespace hive::vector
