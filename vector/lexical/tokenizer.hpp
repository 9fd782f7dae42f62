/// @file
/// Text to words, the same way for searching, highlighting and embedding.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hive::vector {

/// Where a word stands and what it counts as.
struct token {
  std::uint64_t term = 0;    ///< XXH3-64 of the stem of `folded`: equal for "Configured" and "configures".
  std::uint64_t word = 0;    ///< XXH3-64 of `folded`.
  std::uint32_t begin = 0;   ///< Bytes [begin, end) of the text.
  std::uint32_t end = 0;
  std::string_view folded;   ///< Lower case, without accents. Valid until the next token.
};

/// Reads the words of a text one by one. Words are runs of letters and digits; each Chinese, Japanese or Korean ideograph or
/// kana is a word of its own. Case and Latin accents are folded; words of ASCII letters are stemmed by Porter's rules for English. Any bytes are safe: what is not UTF-8 separates words. There is no
/// query language, so nothing in a text can be taken for one.
class tokenizer {
public:
  /// Of a longer word only these bytes count.
  static constexpr std::size_t word_bytes_max = 64;

  explicit tokenizer(std::string_view text) noexcept : text_(text) {}
  /// @returns false at the end.
  bool next(token& out) noexcept;
  /// The same, but for the term, which takes longest: for whoever knows the terms of most words.
  bool next_word(token& out) noexcept;

private:
  std::string_view text_;
  std::size_t at_ = 0;
  bool ascii_ = true; ///< The word that came last.
  char word_[word_bytes_max + 8];
};

/// The different words of a query, in order of their terms, with how often each occurs.
struct query_term {
  std::uint64_t term;
  std::uint32_t count;
};
std::vector<query_term> query_terms(std::string_view text);

} // namespace hive::vector
