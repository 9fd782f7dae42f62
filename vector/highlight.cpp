#include "vector/highlight.hpp"

#include "vector/lexical/tokenizer.hpp"

#include <algorithm>

namespace hive::vector {

std::vector<span_of_text> highlight(std::string_view text, std::string_view query, std::size_t spans_max) {
  std::vector<span_of_text> out;
  const auto wanted = query_terms(query);
  if (wanted.empty()) return out;
  tokenizer words(text);
  for (token t; out.size() < spans_max && words.next(t);) {
    const auto at = std::lower_bound(wanted.begin(), wanted.end(), t.term, [](const query_term& q, std::uint64_t term) { return q.term < term; });
    if (at != wanted.end() && at->term == t.term) out.push_back({t.begin, t.end});
  }
  return out;
}

} // namespace hive::vector
