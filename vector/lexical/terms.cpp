#include "vector/lexical/terms.hpp"

#include "vector/lexical/tokenizer.hpp"

#include <algorithm>
#include <utility>

namespace hive::vector {
namespace {

std::uint16_t capped(std::uint32_t n) noexcept { return static_cast<std::uint16_t>(std::min<std::uint32_t>(n, 65'535)); }

/// The numbers of words, by their hashes.
class word_numbers {
public:
  static constexpr std::uint32_t none = 0xFFFF'FFFFU;

  void prefetch(std::uint64_t word) const noexcept { __builtin_prefetch(&slots_[word & mask()]); }
  std::uint32_t find(std::uint64_t word) const noexcept {
    for (std::size_t at = word & mask();; at = (at + 1) & mask())
      if (slots_[at].word == word || slots_[at].number == none) return slots_[at].number;
  }
  /// @pre it is not there
  void add(std::uint64_t word, std::uint32_t number) {
    if (++used_ * 3 > slots_.size() * 2) grow();
    place(word, number);
  }

private:
  struct slot {
    std::uint64_t word = 0;
    std::uint32_t number = none;
  };
  std::size_t mask() const noexcept { return slots_.size() - 1; }
  void place(std::uint64_t word, std::uint32_t number) noexcept {
    std::size_t at = word & mask();
    while (slots_[at].number != none) at = (at + 1) & mask();
    slots_[at] = {word, number};
  }
  void grow() {
    const auto old = std::exchange(slots_, std::vector<slot>(slots_.size() * 2));
    for (const slot& s : old)
      if (s.number != none) place(s.word, s.number);
  }
  std::vector<slot> slots_ = std::vector<slot>(256); ///< A power of two.
  std::size_t used_ = 0;
};

} // namespace

void tail_terms::fill(std::span<const item_ptr> items, std::uint32_t count) const {
  if (filled_.load(std::memory_order_acquire) >= count) return;
  const std::lock_guard lock(guard_);
  for (std::uint32_t row = filled_.load(std::memory_order_relaxed); row < count; ++row) {
    read(row, items[row]->text);
    filled_.store(row + 1, std::memory_order_release);
  }
}

void tail_terms::read(std::uint32_t row, std::string_view text) const {
  std::vector<std::uint64_t> all;
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
  bytes_.fetch_add(words_[row].capacity() * sizeof(word), std::memory_order_relaxed);
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
  struct term_seen {
    std::uint32_t last = 0; ///< Its last occurrence,
    std::uint16_t row = 0;  ///< whose row this is,
    std::uint16_t rows = 0; ///< and how many rows have it.
  };
  static_assert(segment::rows_max < 65'536);
  struct word_at {
    std::uint64_t word;
    std::uint32_t begin, end;
  };
  // Terms get numbers as they appear.
  std::vector<occurrence> seen;
  seen.reserve(std::size_t{count} * 48); // of usual texts
  std::vector<term_seen> known;
  word_numbers numbers;
  std::vector<word_at> row_words;
  for (std::uint32_t row = 0; row < count; ++row) {
    const std::string_view text = items[row]->text;
    // All words of a row first, so that looking for one need not wait for the memory of the one before.
    row_words.clear();
    tokenizer words(text);
    for (token t; words.next_word(t);) {
      numbers.prefetch(t.word);
      row_words.push_back({t.word, t.begin, t.end});
    }
    lengths_[row] = static_cast<std::uint32_t>(row_words.size());
    total_ += lengths_[row];
    for (const word_at& w : row_words) {
      std::uint32_t number = numbers.find(w.word);
      if (number == word_numbers::none) {
        token t;
        tokenizer(text.substr(w.begin, w.end - w.begin)).next(t);
        const auto [at, fresh] = terms_.try_emplace(t.term, range{static_cast<std::uint32_t>(known.size()), 0});
        if (fresh) known.emplace_back();
        number = at->second.first;
        numbers.add(w.word, number);
      }
      term_seen& term = known[number];
      if (term.rows != 0 && term.row == row) {
        ++seen[term.last].count;
        continue;
      }
      term = {static_cast<std::uint32_t>(seen.size()), static_cast<std::uint16_t>(row), static_cast<std::uint16_t>(term.rows + 1)};
      seen.push_back({number, static_cast<std::uint16_t>(row), 1});
    }
  }
  // From word numbers to places: each word's postings together, in order of rows.
  std::uint32_t next = 0;
  for (term_seen& term : known) {
    term.last = next; // from here on where its next posting goes
    next += term.rows;
  }
  for (auto& [term, r] : terms_) r = {known[r.first].last, known[r.first].rows};
  postings_.resize(seen.size());
  for (const auto& o : seen) postings_[known[o.term].last++] = {o.row, capped(o.count)};
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
