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

span_of_text best_window(std::string_view text, const std::vector<span_of_text>& spans, std::uint32_t bytes_max) {
  const auto size = static_cast<std::uint32_t>(text.size());
  if (size <= bytes_max) return {0, size};
  // The window that begins with some span and holds the most of them; the first such.
  std::uint32_t begin = 0;
  std::size_t most = 0;
  for (std::size_t first = 0, last = 0; first < spans.size(); ++first) {
    while (last < spans.size() && spans[last].end <= spans[first].begin + bytes_max) ++last;
    if (last - first > most) most = last - first, begin = spans[first].begin;
  }
  // A quarter of it before the first span, for the sake of the reader; then to borders of words (or at least of characters).
  const std::uint32_t wanted = begin;
  std::uint32_t needed = begin;
  for (const auto& s : spans)
    if (s.begin >= begin && s.end <= begin + bytes_max) needed = s.end;
  begin -= std::min({begin, bytes_max / 4, bytes_max - (needed - begin)});
  begin = std::min(begin, size - bytes_max);
  std::uint32_t end = begin + bytes_max;
  const auto inside = [&](std::uint32_t at) { return at > 0 && at < size && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U; };
  const auto space = [&](std::uint32_t at) { return text[at] == ' ' || text[at] == '\n' || text[at] == '\t'; };
  if (begin > 0) {
    std::uint32_t at = begin;
    while (at < wanted && at < begin + 32 && !space(at)) ++at;
    if (at < wanted && space(at)) begin = at + 1;
    while (begin < end && inside(begin)) ++begin;
  }
  if (end < size) {
    std::uint32_t at = end;
    while (at > needed && at > begin && end - at < 32 && !space(at)) --at;
    if (at > begin && at >= needed && space(at)) end = at;
    while (end > begin && inside(end)) --end;
  }
  return {begin, end};
}

} // namespace hive::vector
