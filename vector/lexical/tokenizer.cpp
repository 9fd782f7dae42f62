#include "vector/lexical/tokenizer.hpp"

#include "config/base/payload.hpp"

#include <absl/container/flat_hash_map.h>
#include <libstemmer.h>

#include <algorithm>
#include <array>

namespace hive::vector {
namespace {

/// One character of valid UTF-8 at `at`; length 0 when it is none.
struct character {
  std::uint32_t code = 0;
  std::uint32_t length = 0;
};

character decode_at(std::string_view s, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(s[at + i]); };
  const auto tail = [&](std::size_t i) { return at + i < s.size() && (byte(i) & 0xC0U) == 0x80U; };
  const std::uint32_t b = byte(0);
  if (b < 0x80U) return {b, 1};
  if (b >= 0xC2U && b < 0xE0U && tail(1)) return {(b & 0x1FU) << 6U | (byte(1) & 0x3FU), 2};
  if (b >= 0xE0U && b < 0xF0U && tail(1) && tail(2)) {
    const std::uint32_t code = (b & 0x0FU) << 12U | (byte(1) & 0x3FU) << 6U | (byte(2) & 0x3FU);
    if (code >= 0x800U && (code < 0xD800U || code > 0xDFFFU)) return {code, 3};
  }
  if (b >= 0xF0U && b < 0xF5U && tail(1) && tail(2) && tail(3)) {
    const std::uint32_t code = (b & 0x07U) << 18U | (byte(1) & 0x3FU) << 12U | (byte(2) & 0x3FU) << 6U | (byte(3) & 0x3FU);
    if (code >= 0x10000U && code <= 0x10FFFFU) return {code, 4};
  }
  return {};
}

std::size_t append_utf8(char* to, std::uint32_t code) noexcept {
  if (code < 0x80U) return to[0] = static_cast<char>(code), 1;
  if (code < 0x800U) {
    to[0] = static_cast<char>(0xC0U | code >> 6U);
    to[1] = static_cast<char>(0x80U | (code & 0x3FU));
    return 2;
  }
  if (code < 0x10000U) {
    to[0] = static_cast<char>(0xE0U | code >> 12U);
    to[1] = static_cast<char>(0x80U | (code >> 6U & 0x3FU));
    to[2] = static_cast<char>(0x80U | (code & 0x3FU));
    return 3;
  }
  to[0] = static_cast<char>(0xF0U | code >> 18U);
  to[1] = static_cast<char>(0x80U | (code >> 12U & 0x3FU));
  to[2] = static_cast<char>(0x80U | (code >> 6U & 0x3FU));
  to[3] = static_cast<char>(0x80U | (code & 0x3FU));
  return 4;
}

/// Lower-case letters and digits as they are, capitals as lower case, everything else 0.
constexpr std::array<char, 256> ascii_fold = [] {
  std::array<char, 256> fold{};
  for (char c = '0'; c <= '9'; ++c) fold[static_cast<std::size_t>(c)] = c;
  for (char c = 'a'; c <= 'z'; ++c) fold[static_cast<std::size_t>(c)] = c;
  for (char c = 'A'; c <= 'Z'; ++c) fold[static_cast<std::size_t>(c)] = static_cast<char>(c - 'A' + 'a');
  return fold;
}();

/// U+00C0..U+017F as the ASCII letter below the accent; '*': not a letter.
constexpr std::string_view latin_fold = "aaaaaaaceeeeiiiidnooooo*ouuuuytsaaaaaaaceeeeiiiidnooooo*ouuuuyty"
                                        "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllll"
                                        "lllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
static_assert(latin_fold.size() == 0x180 - 0xC0);

bool stands_alone(std::uint32_t c) noexcept {
  return (c >= 0x3041 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x323AF);
}

/// What a character from U+0080 on counts as; 0 separates words.
std::uint32_t fold(std::uint32_t c) noexcept {
  if (c < 0xC0) return c == 0xAA || c == 0xB5 || c == 0xBA ? c : 0;
  if (c < 0x180) {
    const char letter = latin_fold[c - 0xC0];
    return letter == '*' ? 0 : static_cast<std::uint32_t>(letter);
  }
  if (c >= 0x300 && c <= 0x36F) return 0x300; // an accent that follows its letter: swallowed below
  if (c >= 0x391 && c <= 0x3A9) return c + 0x20;
  if (c >= 0x410 && c <= 0x42F) return c + 0x20;
  if (c >= 0x400 && c <= 0x40F) return c + 0x50;
  // Punctuation, symbols, spaces, private use, and the forms of other punctuation.
  if ((c >= 0x2000 && c <= 0x2BFF && !(c >= 0x2C60 && c <= 0x2C7F)) || (c >= 0x3000 && c <= 0x3040) || (c >= 0xE000 && c <= 0xF8FF) ||
      (c >= 0xFE00 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF0F) || (c >= 0xFF1A && c <= 0xFF20) || (c >= 0xFFE0 && c <= 0xFFFF) ||
      (c >= 0x1F000 && c <= 0x1FAFF))
    return 0;
  return c;
}

/// Porter's stemmer, from the Snowball library. It takes some 200 ns a word, so each thread remembers words that it has seen.
class stemmer {
public:
  stemmer() : porter_(sb_stemmer_new("porter", "UTF_8")) {}
  stemmer(const stemmer&) = delete;
  stemmer& operator=(const stemmer&) = delete;
  ~stemmer() { sb_stemmer_delete(porter_); }

  /// @param whole the word's hash. @returns that of its stem.
  std::uint64_t term(std::string_view word, std::uint64_t whole) {
    if (!porter_) return whole;
    recent& last = recent_[whole % recent_max];
    if (last.whole != whole) last = {whole, looked_up(whole, word)};
    return last.stem;
  }

private:
  std::uint64_t looked_up(std::uint64_t whole, std::string_view word) {
    if (known_.size() >= known_max) known_.clear();
    const auto [at, fresh] = known_.try_emplace(whole, whole);
    if (fresh) {
      const auto* stem = sb_stemmer_stem(porter_, reinterpret_cast<const sb_symbol*>(word.data()), static_cast<int>(word.size()));
      if (stem) at->second = hash_of({reinterpret_cast<const char*>(stem), static_cast<std::size_t>(sb_stemmer_length(porter_))});
    }
    return at->second;
  }

  static constexpr std::size_t known_max = 32'768;
  /// The common words, where one look suffices; 0 is nobody's hash, or as good as.
  static constexpr std::size_t recent_max = 2'048;
  struct recent {
    std::uint64_t whole = 0;
    std::uint64_t stem = 0;
  };
  std::array<recent, recent_max> recent_{};
  sb_stemmer* porter_;
  absl::flat_hash_map<std::uint64_t, std::uint64_t> known_;
};

stemmer& my_stemmer() {
  static thread_local stemmer one;
  return one;
}

} // namespace

bool tokenizer::next(token& out) noexcept {
  if (!next_word(out)) return false;
  out.term = ascii_ ? my_stemmer().term(out.folded, out.word) : out.word;
  return true;
}

bool tokenizer::next_word(token& out) noexcept {
  // Kept here while the word is written: what is written could be any member.
  const char* const text = text_.data();
  const std::size_t size = text_.size();
  std::size_t at = at_;
  char* const word = word_;
  std::size_t length = 0;
  std::size_t begin = at;
  bool ascii = true;
  while (at < size) {
    const auto b = static_cast<unsigned char>(text[at]);
    if (b < 0x80U) {
      char c = ascii_fold[b];
      if (c == 0) {
        if (length > 0) break;
        ++at;
        continue;
      }
      if (length == 0) begin = at;
      do {
        if (length < word_bytes_max) word[length++] = c;
        ++at;
      } while (at < size && (c = ascii_fold[static_cast<unsigned char>(text[at])]) != 0);
      continue;
    }
    const character now = decode_at(text_, at);
    const std::uint32_t folded = now.length == 0 ? 0 : fold(now.code);
    if (folded == 0) {
      if (length > 0) break;
      at += now.length == 0 ? 1 : now.length;
      continue;
    }
    if (folded == 0x300) {
      at += now.length;
      continue;
    }
    if (stands_alone(now.code)) {
      if (length > 0) break;
      begin = at;
      at += now.length;
      length = append_utf8(word, folded);
      ascii = false;
      break;
    }
    if (length == 0) begin = at;
    if (length < word_bytes_max) length += append_utf8(word + length, folded);
    if (folded >= 0x80) ascii = false;
    at += now.length;
  }
  at_ = at;
  if (length == 0) return false;
  out.folded = {word, length};
  out.word = hash_of(out.folded);
  ascii_ = ascii;
  out.begin = static_cast<std::uint32_t>(begin);
  out.end = static_cast<std::uint32_t>(at);
  return true;
}

std::vector<query_term> query_terms(std::string_view text) {
  std::vector<std::uint64_t> all;
  tokenizer words(text);
  for (token t; words.next(t);) all.push_back(t.term);
  std::sort(all.begin(), all.end());
  std::vector<query_term> out;
  for (const std::uint64_t term : all) {
    if (!out.empty() && out.back().term == term)
      ++out.back().count;
    else
      out.push_back({term, 1});
  }
  return out;
}

} // namespace hive::vector
