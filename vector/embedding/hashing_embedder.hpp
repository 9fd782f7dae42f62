/// @file
/// Text to vectors without a model and without the network: hashed words, word pairs and character n-grams.
#pragma once

#include "config/base/result.hpp"
#include "vector/limits.hpp"

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace hive::vector {

/// How many of how many items have a word: weights a query's words by how rare they are in the collection.
struct term_statistics {
  std::uint32_t items = 0;
  std::function<std::uint32_t(std::uint64_t term)> frequency; ///< Null: all words weigh the same.
};

/// A pure function of text and dimension; any thread. Texts are weighted by sub-linear term frequency (1 + ln tf) and scaled
/// to length 1; a collection's rarity of words (idf) enters on the query's side only, so stored vectors never grow stale.
class hashing_embedder {
public:
  /// What `space::embedder` says. A change of the function below gets a new name.
  static constexpr std::string_view name = "hashing-1";

  /// @pre dimension within `dimension_min`..`dimension_max`
  explicit hashing_embedder(std::uint32_t dimension) noexcept : dimension_(dimension) {}
  std::uint32_t dimension() const noexcept { return dimension_; }

  /// @returns `invalid_argument` when the text has no word at all.
  result<std::vector<float>> document(std::string_view text) const;
  result<std::vector<float>> query(std::string_view text, const term_statistics& statistics) const;

private:
  std::uint32_t dimension_;
};

} // namespace hive::vector
