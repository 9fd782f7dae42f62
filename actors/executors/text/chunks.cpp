#include "actors/executors/text/chunks.hpp"

#include <algorithm>
#include <cctype>

namespace hive::actors::text {
namespace {

constexpr std::uint64_t lines_before_definition =
    12; ///< A definition starts a chunk when the one before it has so many.
constexpr std::size_t heading_max = 120;

bool blank(std::string_view line) noexcept { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

bool has_words(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || (static_cast<unsigned char>(c) & 0x80U) != 0;
  });
}

/// "# Title": the title.
std::string_view markdown_title(std::string_view line) noexcept {
  const auto marks = line.find_first_not_of('#');
  if (marks == 0 || marks > 6 || marks == std::string_view::npos || line[marks] != ' ') return {};
  line.remove_prefix(marks + 1);
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '#')) line.remove_suffix(1);
  return line.substr(0, heading_max);
}

/// "=====" below a title.
bool underline(std::string_view line) noexcept {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  return line.size() >= 3 && line.find_first_not_of(line.front()) == std::string_view::npos &&
         std::string_view("=-~*#^").find(line.front()) != std::string_view::npos;
}

class cutter {
public:
  cutter(const language& what, std::string_view content) : what_(what), content_(content) {}

  std::vector<chunk> run() {
    bool after_blank = true;
    bool fenced = false;
    std::size_t at = 0;
    for (std::uint64_t number = 1; at < content_.size(); ++number) {
      const auto end = std::min(content_.find('\n', at), content_.size());
      const auto line = content_.substr(at, end - at);
      const auto next_at = std::min(end + 1, content_.size());
      const auto next = content_.substr(next_at, std::min(content_.find('\n', next_at), content_.size()) - next_at);
      if (what_.structure == grammar::markdown && line.starts_with("```")) fenced = !fenced;
      const auto title = fenced ? std::string_view{} : title_of(line, next, after_blank);
      const bool cut = !title.empty() || number - first_ >= chunk_lines_max ||
                       at - begin_ + line.size() > chunk_bytes_max ||
                       (is_code() && after_blank && number - first_ >= lines_before_definition && !line.empty() &&
                        line.front() != ' ' && line.front() != '\t' && line.front() != '}');
      if (cut) close(at, number);
      if (!title.empty()) heading_ = title;
      after_blank = blank(line);
      at = next_at;
      last_ = number;
    }
    close(content_.size(), last_ + 1);
    return std::move(out_);
  }

private:
  bool is_code() const noexcept {
    switch (what_.structure) {
    case grammar::braces_c:
    case grammar::braces_java:
    case grammar::braces_js:
    case grammar::keywords:
    case grammar::python:
    case grammar::shell:
      return true;
    default:
      return false;
    }
  }
  std::string_view title_of(std::string_view line, std::string_view next, bool after_blank) const noexcept {
    if (what_.structure == grammar::markdown) return markdown_title(line);
    const bool underlined = what_.structure == grammar::restructured || what_.structure == grammar::plain;
    if (underlined && after_blank && !blank(line) && line.front() != ' ' && line.size() <= heading_max &&
        !underline(line) && underline(next))
      return line;
    return {};
  }
  /// The chunk ends before `at`, which is the start of line `next`.
  void close(std::size_t at, std::uint64_t next) {
    const auto text = content_.substr(begin_, std::min(at - begin_, chunk_bytes_max));
    if (has_words(text)) out_.push_back({first_, std::max(first_, next - 1), std::string(heading_), text});
    begin_ = at;
    first_ = next;
  }

  const language& what_;
  std::string_view content_;
  std::vector<chunk> out_;
  std::string_view heading_;
  std::size_t begin_ = 0;
  std::uint64_t first_ = 1;
  std::uint64_t last_ = 0;
};

} // namespace

std::vector<chunk> chunks_of(const language& what, std::string_view content) { return cutter(what, content).run(); }

} // namespace hive::actors::text
