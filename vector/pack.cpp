#include "vector/pack.hpp"

#include "vector/mmr.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hive::vector {

std::uint32_t estimate_tokens(std::string_view text) noexcept {
  std::uint32_t tokens = 0, word = 0;
  const auto end_word = [&] {
    tokens += (word + 3) / 4;
    word = 0;
  };
  for (const char c : text) {
    const auto b = static_cast<unsigned char>(c);
    if ((b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z')) {
      ++word;
      continue;
    }
    end_word();
    // One a character beyond ASCII (its first byte), one a punctuation mark, none for spaces.
    if (b > ' ' && (b & 0xC0U) != 0x80U) ++tokens;
  }
  end_word();
  return tokens;
}

result<pack_answer> pack(const view& from, const pack_request& request, const search_limits& limits) {
  if (request.tokens < 1 || request.tokens > limits.pack_tokens)
    return invalid("tokens", "tokens is " + std::to_string(request.tokens) + "; allowed: 1.." + std::to_string(limits.pack_tokens));
  if (!(request.diversity >= 0 && request.diversity <= 1)) return invalid("diversity", "diversity must be within 0..1");
  if (!(request.near_duplicate > 0 && request.near_duplicate <= 2)) return invalid("near_duplicate", "near_duplicate must be above 0, at most 2 (off)");
  if (request.search.k < 1 || request.search.k > limits.k)
    return invalid("k", "k is " + std::to_string(request.search.k) + "; allowed: 1.." + std::to_string(limits.k));
  if (const auto most = limits.diversity_work / request.search.k / from.space().dimension; most < request.search.k)
    return invalid("k", "k is " + std::to_string(request.search.k) + "; a pack from a collection of dimension " + std::to_string(from.space().dimension) +
                          " allows " + std::to_string(static_cast<std::uint64_t>(std::sqrt(static_cast<double>(limits.diversity_work) / from.space().dimension))));
  search_request search = request.search;
  search.diversity.reset();
  search.highlights = false; // below, of what is packed
  search_limits pool = limits;
  pool.answer_bytes = std::numeric_limits<std::uint64_t>::max(); // candidates are only pointed at
  search.k = std::clamp<std::uint32_t>(std::max<std::uint32_t>(search.k, 50), 1, limits.k);
  auto found = from.search(search, pool);
  if (!found) return found.error();

  pack_answer out;
  out.quality = found->quality;
  out.reason = found->reason;
  out.version = found->version;
  // The vectors belong to the view, which the caller holds.
  std::vector<mmr_candidate> candidates;
  for (const auto& h : found->hits) {
    const auto stored = from.get(h.content->id, search.now);
    candidates.push_back({h.score, stored ? stored->vector : std::span<const float>{}});
  }
  mmr order(candidates, request.diversity);
  std::uint64_t bytes = 0;
  while (const auto i = order.next()) {
    if (order.similarity() >= request.near_duplicate) {
      ++out.left_out_as_repeats;
      continue;
    }
    hit& h = found->hits[*i];
    const std::uint64_t cost = std::uint64_t{request.count(h.content->text)} + request.tokens_per_item;
    const std::uint64_t size = heap_bytes(*h.content);
    if (out.tokens + cost > request.tokens || bytes + size > limits.answer_bytes) {
      ++out.left_out_for_room;
      continue;
    }
    order.take();
    out.tokens += static_cast<std::uint32_t>(cost);
    bytes += size;
    if (request.search.highlights && !search.text.empty()) h.highlights = highlight(h.content->text, search.text);
    out.passages.push_back({std::move(h), static_cast<std::uint32_t>(cost)});
  }
  return out;
}

} // namespace hive::vector
