/// @file
/// What a search asks and what it answers.
#pragma once

#include "config/base/clock.hpp"
#include "vector/filter.hpp"
#include "vector/highlight.hpp"
#include "vector/item.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hive::vector {

class view;
struct search_limits;

enum class search_mode : std::uint8_t {
  dense,   ///< Nearest vectors. Every item that passes the filter is a hit, best first.
  lexical, ///< BM25: items with at least one word of the text.
  hybrid,  ///< Both, joined by reciprocal rank fusion (fusion.hpp).
};
std::string_view to_string(search_mode m) noexcept;
result<search_mode> search_mode_from(std::string_view word);

struct search_request {
  search_mode mode = search_mode::hybrid;
  std::string text;          ///< For lexical and hybrid; with dense only for highlights.
  std::vector<float> vector; ///< For dense and hybrid; not yet scaled. `view::embed_query` makes one for the built-in embedder.
  std::uint32_t k = 10;      ///< 1..limits.k
  hive::vector::filter where;
  wall_time now{};           ///< Items expired at this time are not there.
  std::optional<wall_time> as_of; ///< What was true at that time, superseded items included; otherwise at `now`.
  std::optional<double> min_score; ///< On `hit::score`, whose meaning depends on the mode.
  /// 0..1: MMR; 0 only relevance, 1 only difference. Reorders a pool of 4k, at least 50, but not more than limits.diversity_work
  /// allows; a k that it does not allow at all is an error.
  std::optional<double> diversity;
  std::optional<double> dense_weight; ///< Of the fusion, >= 0, not both 0. Absent: `dense_weight_default` (fusion.hpp).
  double lexical_weight = 1;
  std::uint32_t hops = 0;    ///< Follow links from the hits this far, into `search_answer::related`.
  bool highlights = true;    ///< Mark the words of `text` in hits.
};

/// Everything about a request that can be wrong without looking at a collection: errors name the field.
result<void> check(const search_request& request, const search_limits& limits);

/// What became of an item in one of the ways it was looked for. Rank counts from 1; 0: not found that way.
struct score_part {
  double score = 0;
  std::uint32_t rank = 0;
};

struct hit {
  item_ptr content; ///< Valid beyond the view.
  double score = 0; ///< Dense: by the metric. Lexical: BM25. Hybrid: fusion.
  score_part dense, lexical;
  std::vector<span_of_text> highlights;
};

/// An item reached through links. Passes the filter and is alive like any hit; never also a hit.
struct related_item {
  item_ptr content;
  std::uint32_t hops = 0; ///< 1: linked from a hit.
  std::string from;       ///< Id of the item that held the link.
  std::string relation;
};

/// Whether an exact search over all items would have answered otherwise.
enum class completeness : std::uint8_t {
  exact,       ///< No: proven by error bounds, not estimated. Of hybrid: both rankings are exact, and so is what fusion.hpp makes of them.
  approximate, ///< Perhaps: a graph was searched.
  partial,     ///< Perhaps: not all items are loaded; `reason` says how many.
};
std::string_view to_string(completeness c) noexcept;

struct search_answer {
  std::vector<hit> hits; ///< Best first; equal scores by id. Never fewer than k while more items match.
  std::vector<related_item> related; ///< By hops, then in the order of their hits and links.
  completeness quality = completeness::exact;
  std::string reason;       ///< Why not exact; otherwise empty.
  std::uint64_t version = 0; ///< `view::version()` of what was searched.
  std::uint32_t candidates = 0; ///< Live items that passed the filter.
};

} // namespace hive::vector
