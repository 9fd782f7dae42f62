#include "vector/embedding/hashing_embedder.hpp"

#include "config/base/payload.hpp"
#include "config/base/random.hpp"
#include "vector/lexical/tokenizer.hpp"

#include <absl/container/flat_hash_map.h>

#include <cmath>
#include <optional>
#include <string>

namespace hive::vector {
namespace {

/// How much a feature of each kind counts beside a whole word. Chosen on the `tune` half of bench/search_quality_bench: n-grams see
/// what BM25 does not, which is worth more in hybrid search than being good alone.
constexpr double word_weight = 1.0;
constexpr double pair_weight = 0.1;
constexpr double gram_weight = 1.5; // shared by the n-grams of a word
/// Character n-grams of these lengths, of "<word>": they bring "configure" near "configuration".
constexpr std::size_t gram_min = 3, gram_max = 4;
/// Components that each feature adds to: with several of random sign, collisions of two features cancel out rather than add up.
constexpr int components = 8;

struct feature {
  std::uint64_t key = 0;
  double count = 0;
  double weight = 0; ///< Of its kind, and of how rare its word is.
};

/// Features in the order in which they first came: sums of doubles depend on it.
class feature_list {
public:
  feature_list() { clear(); }
  void add(std::uint64_t key, double count, double weight) {
    std::size_t at = slot_of(key);
    for (; slots_[at] != 0; at = (at + 1) & (slots_.size() - 1)) {
      feature& f = all_[slots_[at] - 1];
      if (f.key != key) continue;
      f.count += count;
      f.weight = std::max(f.weight, weight);
      return;
    }
    all_.push_back({key, count, weight});
    slots_[at] = static_cast<std::uint32_t>(all_.size());
    if (all_.size() * 2 > slots_.size()) grow();
  }
  const std::vector<feature>& all() const noexcept { return all_; }
  /// Small again: most texts are.
  void clear() {
    slots_.assign(slots_min, 0);
    all_.clear();
  }

private:
  static constexpr std::size_t slots_min = 1024;
  std::size_t slot_of(std::uint64_t key) const noexcept { return ((key * 0x9E3779B97F4A7C15ULL) >> 32U) & (slots_.size() - 1); }
  void grow() {
    slots_.assign(slots_.size() * 4, 0);
    for (std::uint32_t i = 0; i < all_.size(); ++i) {
      std::size_t at = slot_of(all_[i].key);
      while (slots_[at] != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = i + 1;
    }
  }
  std::vector<std::uint32_t> slots_; ///< Place in `all_` plus 1; 0: free. A power of two, at most half full. Keys are hashes already.
  std::vector<feature> all_;
};

class features {
public:
  explicit features(const term_statistics* statistics) : statistics_(statistics) {
    list_.clear();
    words_.clear();
    places_.clear();
  }

  void read(std::string_view text) {
    // Words first, so that the n-grams of a word that comes ten times are cut once.
    tokenizer reader(text);
    std::optional<std::uint32_t> previous;
    for (token t; reader.next(t);) {
      const auto [at, fresh] = places_.try_emplace(t.word, static_cast<std::uint32_t>(words_.size()));
      if (fresh) words_.push_back({t.term, rarity_of(t.term), 0, '<' + std::string{t.folded} + '>'});
      word& now = words_[at->second];
      if (previous) {
        const word& last = words_[*previous];
        list_.add((last.term * 0x9E3779B97F4A7C15ULL) ^ now.term, 1, pair_weight * std::sqrt(last.rarity * now.rarity));
      }
      now.count += 1;
      previous = at->second;
    }
    for (const word& w : words_) {
      list_.add(w.term, w.count, word_weight * w.rarity);
      const std::string_view framed = w.framed;
      const double weight = gram_weight * w.rarity / std::sqrt(static_cast<double>(framed.size()));
      for (std::size_t n = gram_min; n <= gram_max; ++n)
        for (std::size_t i = 0; i + n <= framed.size(); ++i) list_.add(hash_of(framed.substr(i, n)) + n, w.count, weight);
    }
    // Nothing but punctuation is still a text: its bytes stand for it.
    if (words_.empty() && !text.empty()) list_.add(hash_of(text), 1, 1);
  }

  result<std::vector<float>> vector(std::uint32_t dimension) const {
    std::vector<double> sums(dimension);
    for (const feature& f : list_.all()) {
      const double weight = f.count > 1 ? f.weight * (1 + std::log(f.count)) : f.weight;
      random_source chance(f.key);
      for (int i = 0; i < components; ++i) {
        const std::uint64_t draw = chance.next();
        const auto component = static_cast<std::size_t>(((draw >> 32U) * dimension) >> 32U);
        sums[component] += draw & 1U ? weight : -weight;
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
  struct word {
    std::uint64_t term;
    double rarity;
    double count;
    std::string framed;
  };

  double rarity_of(std::uint64_t term) const {
    if (!statistics_ || !statistics_->frequency || statistics_->items == 0) return 1;
    const double frequency = statistics_->frequency(term);
    return std::log(1 + (static_cast<double>(statistics_->items) + 1) / (frequency + 1));
  }

  const term_statistics* statistics_;
  // Memory that each thread keeps for its next text; only one of these lives at a time.
  static thread_local feature_list list_;
  static thread_local std::vector<word> words_;
  static thread_local absl::flat_hash_map<std::uint64_t, std::uint32_t> places_;
};

thread_local feature_list features::list_;
thread_local std::vector<features::word> features::words_;
thread_local absl::flat_hash_map<std::uint64_t, std::uint32_t> features::places_;

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
