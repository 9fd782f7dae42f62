#include "vector/embedding/hashing_embedder.hpp"

#include "config/base/payload.hpp"
#include "config/base/random.hpp"
#include "vector/lexical/tokenizer.hpp"

#include <absl/container/flat_hash_map.h>

#include <cmath>
#include <string>

namespace hive::vector {
namespace {

/// How much a feature of each kind counts beside a whole word.
constexpr double word_weight = 1.0;
constexpr double pair_weight = 0.5;
constexpr double gram_weight = 0.35;
/// Character n-grams of these lengths, of "<word>": they bring "configure" near "configuration".
constexpr std::size_t gram_min = 3, gram_max = 4;
/// Components that each feature adds to: with several of random sign, collisions of two features cancel out rather than add up.
constexpr int components = 4;

struct feature {
  double count = 0;
  double weight = 0; ///< Of its kind, and of how rare its word is.
};

class features {
public:
  explicit features(const term_statistics* statistics) : statistics_(statistics) {}

  void read(std::string_view text) {
    tokenizer words(text);
    std::uint64_t before = 0;
    double before_rarity = 0;
    std::string framed;
    for (token t; words.next(t);) {
      const double rarity = rarity_of(t.term);
      add(t.term, word_weight * rarity);
      if (before != 0) add(before * 0x9E3779B97F4A7C15ULL ^ t.term, pair_weight * std::sqrt(rarity * before_rarity));
      before = t.term;
      before_rarity = rarity;
      framed.assign(1, '<').append(t.folded).append(1, '>');
      for (std::size_t n = gram_min; n <= gram_max; ++n)
        for (std::size_t i = 0; i + n <= framed.size(); ++i)
          add(hash_of(std::string_view{framed}.substr(i, n)) + n, gram_weight * rarity / std::sqrt(static_cast<double>(framed.size())));
    }
    // Nothing but punctuation is still a text: its bytes stand for it.
    if (seen_.empty() && !text.empty()) add(hash_of(text), 1);
  }

  result<std::vector<float>> vector(std::uint32_t dimension) const {
    std::vector<double> sums(dimension);
    for (const std::uint64_t key : order_) {
      const feature& f = seen_.find(key)->second;
      const double weight = f.weight * (1 + std::log(f.count));
      random_source chance(key);
      for (int i = 0; i < components; ++i) {
        const std::uint64_t draw = chance.next();
        sums[(draw >> 1U) % dimension] += draw & 1U ? weight : -weight;
      }
    }
    double squares = 0;
    for (const double x : sums) squares += x * x;
    if (squares == 0) return invalid("text", "text has nothing that could be embedded");
    std::vector<float> out(dimension);
    const double inverse = 1 / std::sqrt(squares);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(sums[i] * inverse);
    return out;
  }

private:
  double rarity_of(std::uint64_t term) const {
    if (!statistics_ || !statistics_->frequency || statistics_->items == 0) return 1;
    const double frequency = statistics_->frequency(term);
    return std::log(1 + (static_cast<double>(statistics_->items) + 1) / (frequency + 1));
  }

  void add(std::uint64_t key, double weight) {
    const auto [at, fresh] = seen_.try_emplace(key);
    if (fresh) order_.push_back(key);
    at->second.count += 1;
    at->second.weight = std::max(at->second.weight, weight);
  }

  const term_statistics* statistics_;
  absl::flat_hash_map<std::uint64_t, feature> seen_;
  std::vector<std::uint64_t> order_; ///< As they came: sums of doubles depend on their order.
};

} // namespace

result<std::vector<float>> hashing_embedder::document(std::string_view text) const {
  features all(nullptr);
  all.read(text);
  return all.vector(dimension_);
}

result<std::vector<float>> hashing_embedder::query(std::string_view text, const term_statistics& statistics) const {
  features all(&statistics);
  all.read(text);
  return all.vector(dimension_);
}

} // namespace hive::vector
