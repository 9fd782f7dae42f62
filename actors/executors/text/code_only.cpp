#include "actors/executors/text/structure.hpp"

namespace hive::actors::text {
namespace {

bool is_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Walks through source text and copies what is code.
class blanker {
public:
  blanker(const language& what, std::string_view in) : what_(what), in_(in), out_(in) {}

  std::string run() {
    const bool script = what_.structure == grammar::braces_js;
    const bool rust = what_.name == "Rust";
    const bool strings = what_.structure == grammar::braces_c || what_.structure == grammar::braces_java || script ||
                         rust || what_.name == "Go" || what_.name == "Kotlin" || what_.name == "Swift" ||
                         what_.name == "Protocol Buffers";
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (!what_.line_comment.empty() && starts(what_.line_comment))
        blank_until(find_from("\n", at_));
      else if (what_.block_comments && starts("/*"))
        block_comment(rust);
      else if (!strings)
        ++at_;
      else if (c == '"' && what_.structure == grammar::braces_c && at_ > 0 && in_[at_ - 1] == 'R' && raw_string()) {
      } else if (c == '"' && rust && raw_rust_string()) {
      } else if (starts("\"\"\"") && !rust && what_.structure != grammar::braces_c)
        quoted("\"\"\"", true);
      else if (c == '"')
        quoted("\"", rust);
      else if (c == '`' && (script || what_.name == "Go"))
        quoted("`", true);
      else if (c == '\'')
        single_quote(script, rust);
      else if (c == '/' && script && regex_may_start())
        regex();
      else
        ++at_;
    }
    return std::move(out_);
  }

private:
  bool starts(std::string_view s) const { return in_.substr(at_).starts_with(s); }
  std::size_t find_from(std::string_view s, std::size_t from) const { return std::min(in_.find(s, from), in_.size()); }
  void blank_until(std::size_t end) {
    for (; at_ < end; ++at_)
      if (in_[at_] != '\n') out_[at_] = ' ';
  }

  void block_comment(bool nests) {
    std::size_t depth = 0;
    std::size_t i = at_;
    do {
      if (in_.substr(i).starts_with("/*") && (nests || depth == 0)) {
        ++depth;
        i += 2;
      } else if (in_.substr(i).starts_with("*/")) {
        --depth;
        i += 2;
      } else {
        ++i;
      }
    } while (depth > 0 && i < in_.size());
    blank_until(std::min(i, in_.size()));
  }

  /// Keeps the quotes and blanks what is between. A plain string that does not end in its line is taken as ended.
  void quoted(std::string_view quote, bool many_lines) {
    at_ += quote.size();
    const bool raw = quote == "`" && what_.name == "Go";
    std::size_t i = at_;
    while (i < in_.size() && !in_.substr(i).starts_with(quote)) {
      if (in_[i] == '\n' && !many_lines) break;
      i += in_[i] == '\\' && !raw ? 2 : 1;
    }
    blank_until(std::min(i, in_.size()));
    if (starts(quote)) at_ += quote.size();
  }

  bool raw_string() {
    const auto open = in_.find('(', at_);
    if (open == std::string_view::npos || open - at_ > 17) return false;
    const std::string close = ")" + std::string(in_.substr(at_ + 1, open - at_ - 1)) + "\"";
    ++at_;
    blank_until(std::min(find_from(close, open) + close.size() - 1, in_.size()));
    if (at_ < in_.size()) ++at_;
    return true;
  }

  bool raw_rust_string() {
    std::size_t hashes = 0;
    while (hashes < at_ && in_[at_ - 1 - hashes] == '#') ++hashes;
    if (at_ <= hashes || in_[at_ - 1 - hashes] != 'r') return false;
    const std::string close = "\"" + std::string(hashes, '#');
    ++at_;
    blank_until(find_from(close, at_));
    at_ = std::min(at_ + close.size(), in_.size());
    return true;
  }

  void single_quote(bool script, bool rust) {
    if (script) return quoted("'", false);
    if (at_ > 0 && is_word(in_[at_ - 1]) && at_ + 1 < in_.size() && is_word(in_[at_ + 1]) &&
        what_.structure == grammar::braces_c && in_[at_ - 1] >= '0' && in_[at_ - 1] <= '9') {
      ++at_; // 1'000'000
      return;
    }
    const bool literal = at_ + 1 < in_.size() && (in_[at_ + 1] == '\\' || find_from("'", at_ + 1) <= at_ + 5);
    if (rust && !(at_ + 2 < in_.size() && (in_[at_ + 1] == '\\' || in_[at_ + 2] == '\'')))
      ++at_; // a lifetime
    else if (literal)
      quoted("'", false);
    else
      ++at_;
  }

  /// A slash divides after a value and starts a regular expression elsewhere.
  bool regex_may_start() const {
    std::size_t i = at_;
    while (i > 0 && (in_[i - 1] == ' ' || in_[i - 1] == '\t')) --i;
    if (i == 0 || in_[i - 1] == '\n') return true;
    if (std::string_view("(,=:[!&|?{};+-*%<>~^").find(in_[i - 1]) != std::string_view::npos) return true;
    return i >= 6 && in_.substr(i - 6, 6) == "return";
  }

  void regex() {
    bool in_set = false;
    std::size_t i = at_ + 1;
    while (i < in_.size() && in_[i] != '\n' && (in_[i] != '/' || in_set)) {
      if (in_[i] == '[') in_set = true;
      if (in_[i] == ']') in_set = false;
      i += in_[i] == '\\' ? 2 : 1;
    }
    ++at_;
    if (i >= in_.size() || in_[i] == '\n') return;
    blank_until(i);
    ++at_;
  }

  const language& what_;
  std::string_view in_;
  std::string out_;
  std::size_t at_ = 0;
};

} // namespace

std::string code_only(const language& what, std::string_view content) { return blanker(what, content).run(); }

} // namespace hive::actors::text
