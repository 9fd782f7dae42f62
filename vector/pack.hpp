/// @file
/// The best context within so many tokens.
#pragma once

#include "vector/search.hpp"
#include "vector/view.hpp"

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace hive::vector {

/// Tokens of a text. Must be a pure function.
using token_counter = std::function<std::uint32_t(std::string_view)>;
/// An estimate for English and code without any model's tables: a token for each four letters of a word or less, one for each
/// punctuation mark; other scripts one a character.
std::uint32_t estimate_tokens(std::string_view text) noexcept;

struct pack_request {
  search_request search;            ///< `k` is how many candidates to choose from (at least 50 are looked at).
  std::uint32_t tokens = 2000;      ///< Budget, 1..limits.pack_tokens.
  std::uint32_t tokens_per_item = 0; ///< What a caller adds around each passage; counted in the budget.
  double diversity = 0.3;           ///< 0..1, as in `search_request`.
  double near_duplicate = 0.97;     ///< A passage this similar (cosine) to a chosen one is left out.
  token_counter count = estimate_tokens;
};

struct packed_passage {
  hit passage;
  std::uint32_t tokens = 0;
};

struct pack_answer {
  std::vector<packed_passage> passages; ///< In the order they were chosen: best first.
  std::uint32_t tokens = 0;             ///< Of all; never above the budget.
  std::uint32_t left_out_for_room = 0;  ///< Candidates that no longer fitted.
  std::uint32_t left_out_as_repeats = 0;
  completeness quality = completeness::exact;
  std::string reason;
  std::uint64_t version = 0;
};

/// Greedy by maximal marginal relevance; whole passages only; equal input gives equal output.
result<pack_answer> pack(const view& from, const pack_request& request, const search_limits& limits);

} // namespace hive::vector
