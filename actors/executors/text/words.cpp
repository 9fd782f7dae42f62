#include "actors/executors/text/words.hpp"

#include "actors/executors/json_fields.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

namespace hive::actors::text {
namespace {

bool is_word_byte(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

const std::unordered_set<std::string_view>& common_words() {
  static const std::unordered_set<std::string_view> words{
      // English
      "about", "above", "after", "again", "against", "also", "although", "always", "among", "another", "because",
      "been", "before", "being", "below", "between", "both", "cannot", "could", "does", "doing", "done", "down", "each",
      "either", "else", "even", "ever", "every", "from", "further", "have", "having", "here", "however", "into",
      "itself", "just", "like", "made", "make", "many", "more", "most", "much", "must", "need", "never", "none", "only",
      "other", "others", "over", "same", "shall", "should", "since", "some", "such", "than", "that", "their", "them",
      "then", "there", "therefore", "these", "they", "this", "those", "through", "under", "unless", "until", "upon",
      "used", "uses", "using", "very", "want", "well", "were", "what", "when", "where", "whether", "which", "while",
      "whose", "will", "with", "within", "without", "would", "your", "yours", "http", "https", "html",
      // programming
      "auto", "bool", "boolean", "break", "case", "catch", "char", "class", "const", "constexpr", "continue", "default",
      "define", "double", "elif", "endif", "enum", "explicit", "export", "extends", "extern", "false", "final",
      "finally", "float", "function", "goto", "ifdef", "ifndef", "implements", "import", "include", "inline",
      "instanceof", "int8_t", "interface", "long", "namespace", "noexcept", "null", "nullptr", "operator", "override",
      "package", "pass", "private", "protected", "public", "raise", "return", "returns", "self", "short", "signed",
      "size_t", "sizeof", "static", "static_cast", "string", "struct", "super", "switch", "template", "throw", "throws",
      "true", "type", "typedef", "typename", "uint16_t", "uint32_t", "uint64_t", "uint8_t", "undefined", "union",
      "unsigned", "virtual", "void", "volatile", "yield", "href", "span", "print", "elsif", "endfor", "begin"};
  return words;
}

} // namespace

std::uint64_t line_ends(std::string_view content) noexcept {
  return static_cast<std::uint64_t>(std::count(content.begin(), content.end(), '\n'));
}

std::uint64_t lines_with_word(std::string_view content, std::string_view word) noexcept {
  std::uint64_t lines = 0;
  for (std::size_t at = content.find(word); at != std::string_view::npos; at = content.find(word, at)) {
    const std::size_t end = at + word.size();
    const bool alone =
        (at == 0 || !is_word_byte(content[at - 1])) && (end == content.size() || !is_word_byte(content[end]));
    if (!alone) {
      at += 1;
      continue;
    }
    lines += 1;
    at = content.find('\n', end);
    if (at == std::string_view::npos) break;
  }
  return lines;
}

std::vector<term> top_terms(std::string_view content, std::size_t limit) {
  std::unordered_map<std::string, std::uint64_t> counts;
  std::string word;
  const auto end_word = [&] {
    const bool counted = word.size() >= 4 && word.size() <= 40 && !(word[0] >= '0' && word[0] <= '9') &&
                         word[0] != '_' && !common_words().contains(word);
    if (counted) counts[word] += 1;
    word.clear();
  };
  for (const char c : content) {
    if (is_word_byte(c) || static_cast<unsigned char>(c) >= 0x80) {
      if (word.size() <= 40) word.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
    } else if (!word.empty()) {
      end_word();
    }
  }
  end_word();

  std::vector<term> out;
  for (const auto& [name, count] : counts)
    if (is_utf8(name)) out.push_back({name, count});
  const auto better = [](const term& a, const term& b) {
    return a.count != b.count ? a.count > b.count : a.word < b.word;
  };
  const auto kept = std::min(limit, out.size());
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(kept), out.end(), better);
  out.resize(kept);
  return out;
}

} // namespace hive::actors::text
