#include "vector/lexical/terms.hpp"

#include "vector/lexical/tokenizer.hpp"

#include <algorithm>

namespace hive::vector {
namespace {

std::uint16_t capped(std::uint32_t n) noexcept { return static_cast<std::uint16_t>(std::min<std::uint32_t>(n, 65'535)); }

} // namespace

std::size_t tail_terms::put(std::uint32_t row, std::string_view text) {
  static thread_local std::vector<std::uint64_t> all;
  all.clear();
  tokenizer words(text);
  for (token t; words.next(t);) all.push_back(t.term);
  std::sort(all.begin(), all.end());
  std::vector<word> different;
  for (const std::uint64_t term : all) {
    if (!different.empty() && different.back().term == term)
      ++different.back().count;
    else
      different.push_back({term, 1});
  }
  different.shrink_to_fit();
  lengths_[row] = static_cast<std::uint32_t>(all.size());
  words_[row] = std::move(different);
  return words_[row].capacity() * sizeof(word);
}

void tail_terms::find(std::uint64_t term, std::uint32_t count, std::vector<posting>& out) const {
  for (std::uint32_t row = 0; row < count; ++row) {
    const auto& words = words_[row];
    const auto at = std::lower_bound(words.begin(), words.end(), term, [](const word& w, std::uint64_t t) { return w.term < t; });
    if (at != words.end() && at->term == term) out.push_back({static_cast<std::uint16_t>(row), capped(at->count)});
  }
}

term_index::term_index(std::span<const item_ptr> items, std::uint32_t count) : lengths_(count) {
  static_assert(segment::rows_max <= 65'536, "a row number fits a posting");
  struct occurrence {
    std::uint32_t term;
    std::uint16_t row;
    std::uint32_t count;
  };
  // Words get numbers as they appear; a word's last occurrence tells whether this row has had it already.
  std::vector<occurrence> seen;
  std::vector<std::uint32_t> last;
  for (std::uint32_t row = 0; row < count; ++row) {
    tokenizer words(items[row]->text);
    for (token t; words.next(t);) {
      ++lengths_[row];
      const auto [at, fresh] = terms_.try_emplace(t.term, range{static_cast<std::uint32_t>(last.size()), 0});
      const std::uint32_t number = at->second.first;
      if (fresh) last.push_back(0);
      if (!fresh && seen[last[number]].row == row) {
        ++seen[last[number]].count;
        continue;
      }
      last[number] = static_cast<std::uint32_t>(seen.size());
      seen.push_back({number, static_cast<std::uint16_t>(row), 1});
      ++at->second.count;
    }
    total_ += lengths_[row];
  }
  // From word numbers to places: each word's postings together, in order of rows.
  std::vector<std::uint32_t> next(last.size());
  std::uint32_t place = 0;
  for (auto& [term, r] : terms_) {
    next[r.first] = place;
    r.first = place;
    place += r.count;
  }
  postings_.resize(seen.size());
  for (const auto& o : seen) postings_[next[o.term]++] = {o.row, capped(o.count)};
}

std::span<const posting> term_index::find(std::uint64_t term) const noexcept {
  const auto at = terms_.find(term);
  if (at == terms_.end()) return {};
  return {postings_.data() + at->second.first, at->second.count};
}

std::size_t term_index::bytes() const noexcept {
  return terms_.capacity() * (sizeof(std::uint64_t) + sizeof(range) + 1) + postings_.capacity() * sizeof(posting) +
         lengths_.capacity() * sizeof(std::uint32_t);
}

} // namespace hive::vector
