/// @file
/// The two ways of looking through the rows of a view: by vector and by words.
#pragma once

#include "vector/kernels/kernels.hpp"
#include "vector/lexical/tokenizer.hpp"
#include "vector/segment.hpp"
#include "vector/space.hpp"
#include "vector/view.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace hive::vector {

/// The rows of one view entry that a search may see.
struct selection {
  row_set alive;           ///< Not dead, not expired, valid: what word statistics are made of.
  row_set allowed;         ///< Those of them that pass the filter.
  std::uint32_t alive_count = 0;
  std::uint32_t allowed_count = 0;
};

struct found_row {
  std::uint32_t entry = 0;
  std::uint32_t row = 0;
  double score = 0;
};

/// Higher scores first; equal ones by id.
void sort_by_score(std::vector<found_row>& rows, std::span<const view_entry> entries);

/// Exactly the `k` best allowed rows by fp32 score (all, when there are fewer), sorted.
///
/// Scans int8 codes, then computes in fp32 every row that could be among the k best: coding errors are known for each vector, so
/// what is left out is proven to be worse, not guessed. @pre `query` went through `prepare`.
std::vector<found_row> scan_dense(std::span<const view_entry> entries, std::span<const selection> selected, const space& measured_in,
                                  std::span<const float> query, std::size_t k, const kernels::table& with = kernels::best());

/// Reads for words what no search has read before, with several threads: whoever looks up words then finds them.
void build_terms(std::span<const view_entry> entries, std::span<const selection> selected);

/// The `k` best allowed rows by BM25 (k1 1.2, b 0.75), sorted; only rows with one of the terms. Statistics are those of the rows that
/// are alive, so that scores do not depend on what was deleted or on how the collection came to be.
std::vector<found_row> scan_lexical(std::span<const view_entry> entries, std::span<const selection> selected, std::span<const query_term> terms,
                                    std::size_t k);

/// Reference: the same answer as `scan_dense`, by computing every row in fp32.
std::vector<found_row> scan_exact(std::span<const view_entry> entries, std::span<const selection> selected, const space& measured_in,
                                  std::span<const float> query, std::size_t k, const kernels::table& with = kernels::best());

/// The fp32 score of one row. `query` padded to `kernels::float_block`.
float score_of(metric m, const float* query, const float* row, std::size_t length, const kernels::table& with) noexcept;

} // namespace hive::vector
