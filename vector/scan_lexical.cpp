#include "vector/lexical/terms.hpp"
#include "vector/parallel.hpp"
#include "vector/scan.hpp"

#include <algorithm>
#include <cmath>

namespace hive::vector {
namespace {

constexpr double k1 = 1.2;
constexpr double b = 0.75;

/// What the words of one entry look like to a search.
struct entry_words {
  const term_index* sealed = nullptr;
  const tail_terms* growing = nullptr;
  std::uint32_t length(std::uint32_t row) const { return sealed ? sealed->length(row) : growing->length(row); }
};

struct scratch {
  std::vector<double> scores;      ///< By place: `starts[entry] + row`.
  std::vector<std::uint32_t> hits; ///< Places with a score, each once.
  std::vector<posting> postings;   ///< Of one term in growing entries.
};

scratch& mine() {
  static thread_local scratch s;
  return s;
}

} // namespace

void build_terms(std::span<const view_entry> entries, std::span<const selection> selected) {
  std::vector<const view_entry*> missing;
  for (std::size_t e = 0; e < entries.size(); ++e)
    if (selected[e].alive_count != 0 && !entries[e].words && !entries[e].rows->has_terms()) missing.push_back(&entries[e]);
  if (missing.size() > 1) in_parallel(missing.size(), [&](std::size_t i) { missing[i]->rows->terms(missing[i]->count); });
}

std::vector<found_row> scan_lexical(std::span<const view_entry> entries, std::span<const selection> selected, std::span<const query_term> terms,
                                    std::size_t k) {
  build_terms(entries, selected);
  scratch& s = mine();
  std::vector<entry_words> words(entries.size());
  std::vector<std::size_t> starts(entries.size() + 1);
  std::uint64_t items = 0, length = 0;
  for (std::size_t e = 0; e < entries.size(); ++e) {
    const view_entry& entry = entries[e];
    starts[e + 1] = starts[e] + entry.count;
    if (selected[e].alive_count == 0) continue;
    if (entry.words) {
      entry.words->fill(entry.rows->items(), entry.count);
      words[e].growing = entry.words.get();
    } else
      words[e].sealed = &entry.rows->terms(entry.count);
    items += selected[e].alive_count;
    if (words[e].sealed && selected[e].alive_count == entry.count)
      length += words[e].sealed->total_length();
    else
      selected[e].alive.for_each([&](std::uint32_t row) { length += words[e].length(row); });
  }
  if (items == 0 || length == 0) return {};
  const double average = static_cast<double>(length) / static_cast<double>(items);

  s.scores.assign(starts.back(), 0);
  s.hits.clear();
  std::vector<std::pair<std::size_t, std::span<const posting>>> found; // of one term, by entry
  for (const query_term& term : terms) {
    found.clear();
    s.postings.clear();
    std::uint32_t frequency = 0;
    for (std::size_t e = 0; e < entries.size(); ++e) {
      std::span<const posting> postings;
      if (words[e].sealed) {
        postings = words[e].sealed->find(term.term);
      } else if (words[e].growing) {
        // At most one entry of a view grows, or a few after a rewind: reserve, so that spans into it stay valid.
        if (s.postings.capacity() < starts.back()) s.postings.reserve(starts.back());
        const std::size_t before = s.postings.size();
        words[e].growing->find(term.term, entries[e].count, s.postings);
        postings = std::span<const posting>{s.postings}.subspan(before);
      }
      if (postings.empty()) continue;
      found.emplace_back(e, postings);
      if (selected[e].alive_count == entries[e].count) {
        frequency += static_cast<std::uint32_t>(postings.size());
      } else {
        for (const posting& p : postings) frequency += selected[e].alive.test(p.row);
      }
    }
    if (frequency == 0) continue;
    const double rarity = std::log(1 + (static_cast<double>(items) - frequency + 0.5) / (frequency + 0.5)) * term.count;
    for (const auto& [e, postings] : found) {
      const selection& may = selected[e];
      const bool every = may.allowed_count == entries[e].count;
      for (const posting& p : postings) {
        if (!every && !may.allowed.test(p.row)) continue;
        const double tf = p.count;
        const double score = rarity * tf * (k1 + 1) / (tf + k1 * (1 - b + b * words[e].length(p.row) / average));
        double& sum = s.scores[starts[e] + p.row];
        if (sum == 0) s.hits.push_back(static_cast<std::uint32_t>(starts[e] + p.row));
        sum += score;
      }
    }
  }

  // More than k may share the k-th score: the ids decide among them.
  double least = 0;
  if (s.hits.size() > k && k > 0) {
    std::vector<double> scores(s.hits.size());
    std::transform(s.hits.begin(), s.hits.end(), scores.begin(), [&](std::uint32_t place) { return s.scores[place]; });
    std::nth_element(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(k - 1), scores.end(), std::greater<>{});
    least = scores[k - 1];
  }
  std::vector<found_row> out;
  for (const std::uint32_t place : s.hits) {
    if (s.scores[place] < least) continue;
    const auto e = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), place) - starts.begin()) - 1;
    out.push_back({static_cast<std::uint32_t>(e), static_cast<std::uint32_t>(place - starts[e]), s.scores[place]});
  }
  sort_by_score(out, entries);
  if (out.size() > k) out.resize(k);
  return out;
}

} // namespace hive::vector
