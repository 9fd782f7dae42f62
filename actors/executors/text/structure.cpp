#include "actors/executors/text/structure.hpp"

#include "actors/executors/json_fields.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

namespace hive::actors::text {
namespace {

constexpr std::size_t title_max = 72;

bool is_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_blank(std::string_view line) noexcept { return line.find_first_not_of(" \t\r") == std::string_view::npos; }
char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string_view trimmed(std::string_view s) noexcept {
  const auto first = s.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(" \t\r\n") - first + 1);
}

/// Calls `each(line)` for every line, the last unfinished one included.
template <class F> void for_lines(std::string_view content, F each) {
  while (!content.empty()) {
    const auto end = std::min(content.find('\n'), content.size());
    each(content.substr(0, end));
    content.remove_prefix(std::min(end + 1, content.size()));
  }
}

void add_outline(structure& out, std::string_view prefix, std::string_view title) {
  if (out.outline.size() >= outline_max) return;
  std::string text(trimmed(title).substr(0, title_max));
  while (!text.empty() && !is_utf8(text) && text.size() + 4 > title_max)
    text.pop_back(); // not in the middle of a character
  text = path_for_people(text);
  if (!text.empty()) out.outline.push_back(std::string(prefix) + " " + text);
}

void add_definition(structure& out, std::string_view kind, std::string_view name) {
  out.definitions[kind] += 1;
  add_outline(out, kind, name);
}

void add_heading(structure& out, std::string_view title) {
  out.headings += 1;
  add_outline(out, "#", title);
}

// -- languages with braces

struct scope {
  bool declares = false; ///< Namespaces and types: what has a body in it is a definition.
  bool is_type = false;
  std::size_t parens = 0;
  std::string head;
};

/// What a brace opens.
struct opened {
  bool declares = false;
  bool is_type = false;
  std::string_view kind{};
  std::string name{};
};

/// The word in front of `end`, with "::" and "~" where `qualified`.
std::string word_before(std::string_view s, std::size_t end, bool qualified) {
  while (end > 0 && s[end - 1] == ' ') --end;
  std::size_t start = end;
  while (start > 0 && (is_word(s[start - 1]) || s[start - 1] == '$' || s[start - 1] == '#' ||
                       (qualified && (s[start - 1] == ':' || s[start - 1] == '~'))))
    --start;
  return std::string(s.substr(start, end - start));
}

/// Start of `word` as a whole word in s[0, end); npos when it is not there.
std::size_t find_word(std::string_view s, std::string_view word, std::size_t end = std::string_view::npos) {
  s = s.substr(0, end);
  for (auto at = s.find(word); at != std::string_view::npos; at = s.find(word, at + 1)) {
    const auto after = at + word.size();
    if ((at == 0 || (!is_word(s[at - 1]) && s[at - 1] != '.')) && (after == s.size() || !is_word(s[after]))) return at;
  }
  return std::string_view::npos;
}

std::string word_after(std::string_view s, std::size_t at) {
  while (at < s.size() && !is_word(s[at]) && s[at] != '$' && s[at] != '(' && s[at] != '{' && s[at] != ':') ++at;
  std::size_t end = at;
  while (end < s.size() && (is_word(s[end]) || s[end] == '$')) ++end;
  return std::string(s.substr(at, end - at));
}

bool is_control(std::string_view word) {
  static constexpr std::array<std::string_view, 22> words{
      "if",   "for",    "while", "switch",  "catch",        "return",  "else",  "do",
      "try",  "sizeof", "new",   "throw",   "synchronized", "with",    "await", "super",
      "this", "typeof", "case",  "defined", "requires",     "function"};
  return word.empty() || std::find(words.begin(), words.end(), word) != words.end();
}

/// Drops the "<...>" or "(...)" at the start of `s`.
void drop_group(std::string_view& s, char open, char close) {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == open) ++depth;
    if (s[i] == close && --depth == 0) {
      s = trimmed(s.substr(i + 1));
      return;
    }
  }
  s = {};
}

std::string_view without_prefixes(std::string_view h, grammar g) {
  for (;;) {
    h = trimmed(h);
    const auto drop_word = [&](std::string_view word) {
      if (!h.starts_with(word)) return false;
      h = trimmed(h.substr(word.size()));
      return true;
    };
    if (g == grammar::braces_c) {
      if (find_word(h, "template") == 0) {
        h = trimmed(h.substr(8));
        if (h.starts_with('<')) drop_group(h, '<', '>');
        continue;
      }
      if (h.starts_with("[[")) {
        drop_group(h, '[', ']');
        continue;
      }
      if (find_word(h, "alignas") == 0 || find_word(h, "__attribute__") == 0) {
        h = h.substr(std::min(h.find('('), h.size()));
        drop_group(h, '(', ')');
        continue;
      }
    }
    if (h.starts_with('@') && !h.starts_with("@interface")) {
      std::size_t end = 1;
      while (end < h.size() && (is_word(h[end]) || h[end] == '.')) ++end;
      h = trimmed(h.substr(end));
      if (h.starts_with('(')) drop_group(h, '(', ')');
      continue;
    }
    if (drop_word("public:") || drop_word("private:") || drop_word("protected:") || drop_word("export ") ||
        drop_word("public :") || drop_word("private :"))
      continue;
    return h;
  }
}

/// A type in front of the first parenthesis: "struct ring", "enum class colour : int", "typedef struct {".
std::optional<opened> type_opened(std::string_view h, std::size_t paren, std::span<const std::string_view> words) {
  for (const auto word : words) {
    const auto at = find_word(h, word, paren);
    if (at == std::string_view::npos) continue;
    std::string_view rest = trimmed(h.substr(at + word.size()));
    if (word == "enum")
      for (const std::string_view also : {"class ", "struct "})
        if (rest.starts_with(also)) rest = trimmed(rest.substr(also.size()));
    const bool named = !rest.empty() && (is_word(rest[0]) || rest[0] == '$');
    return opened{true, true, word, named ? word_after(rest, 0) : ""};
  }
  return std::nullopt;
}

opened function_opened(std::string_view h, std::size_t paren, std::string_view kind) {
  if (paren == std::string_view::npos || h.starts_with(',') || h.starts_with(':')) return {};
  const auto equals = h.find('=');
  const auto op = find_word(h, "operator", paren);
  const bool is_operator =
      op != std::string_view::npos || h.substr(0, paren).find("operator") != std::string_view::npos;
  if (equals < paren && !is_operator) return {};
  std::string name =
      is_operator
          ? std::string(h.substr(std::min(h.find("operator"), paren), paren - std::min(h.find("operator"), paren)))
          : word_before(h, paren, true);
  if (name == "operator") name = "operator()";
  const std::string first = word_after(h, 0);
  if (is_control(name) || is_control(first)) return {};
  return {false, false, kind, name};
}

opened classify_c(std::string_view head, bool declaring) {
  const auto h = without_prefixes(head, grammar::braces_c);
  const auto paren = h.find('(');
  if (const auto at = find_word(h, "namespace", paren);
      at != std::string_view::npos && paren == std::string_view::npos && h.find('=') == std::string_view::npos)
    return {true, false, "namespace", ""};
  if (find_word(h, "extern") == 0 && paren == std::string_view::npos && h.find('"') != std::string_view::npos)
    return {true, false, {}, ""};
  static constexpr std::array<std::string_view, 4> types{"enum", "class", "struct", "union"};
  if (paren == std::string_view::npos && h.find('=') == std::string_view::npos)
    if (auto type = type_opened(h, paren, types)) {
      type->declares = type->kind != "enum";
      return *type;
    }
  if (!declaring) return {};
  return function_opened(h, paren, "function");
}

opened classify_java(std::string_view head, bool declaring, bool in_type) {
  const auto h = without_prefixes(head, grammar::braces_java);
  const auto paren = h.find('(');
  static constexpr std::array<std::string_view, 6> types{"@interface", "class",  "interface",
                                                         "enum",       "record", "struct"};
  if (find_word(h, "namespace") == 0) return {true, false, "namespace", ""};
  if (h.find('=') >= paren)
    if (auto type = type_opened(h, paren, types)) return *type;
  if (!declaring || !in_type || h.find("->") != std::string_view::npos) return {};
  return function_opened(h, paren, "method");
}

opened classify_js(std::string_view head, bool in_type, bool in_parens) {
  const auto h = without_prefixes(head, grammar::braces_js);
  const auto paren = h.find('(');
  if (const auto at = find_word(h, "class", paren); at != std::string_view::npos)
    return {true, true, "class", word_after(h, at + 5)};
  static constexpr std::array<std::string_view, 3> types{"interface", "enum", "namespace"};
  for (const auto word : types)
    if (const auto at = find_word(h, word, paren);
        at != std::string_view::npos && at < 20 && h.find('=') == std::string_view::npos)
      return {word == "namespace", false, word, word_after(h, at + word.size())};
  if (find_word(h, "type") == 0 && paren == std::string_view::npos && h.find('=') != std::string_view::npos)
    return {false, false, "type", word_after(h, 4)};

  const auto function = find_word(h, "function");
  const auto assigned = [&]() -> std::string { // "NAME =" or "NAME:" in front of the function
    for (std::size_t i = 0; i < h.size(); ++i)
      if ((h[i] == '=' && i + 1 < h.size() && h[i + 1] != '>' && h[i + 1] != '=') ||
          (h[i] == ':' && function != std::string_view::npos && i < function))
        return word_before(h, i, false);
    return {};
  };
  if (function != std::string_view::npos) {
    std::string name = word_after(h, function + 8);
    if (name.empty()) name = in_parens ? "" : assigned();
    return {false, false, name.empty() ? std::string_view{} : "function", name};
  }
  if (trimmed(h).ends_with("=>")) {
    const std::string name = in_parens ? "" : assigned();
    return {false, false, name.empty() ? std::string_view{} : "function", name};
  }
  if (!in_type || in_parens) return {};
  return function_opened(h, paren, "method");
}

/// Reads statements and scopes. `#if` branches each start from the same depth, so a brace in both is one brace.
class brace_scanner {
public:
  brace_scanner(grammar g, std::string_view code, structure& out) : grammar_(g), code_(code), out_(out) {}

  void run() {
    bool line_start = true;
    for (at_ = 0; at_ < code_.size(); ++at_) {
      const char c = code_[at_];
      if (line_start && c == '#' && grammar_ == grammar::braces_c) {
        directive();
        continue; // stands on the line's end: the next character starts a line
      }
      if (c == '\n') {
        line_start = true;
        if (grammar_ == grammar::braces_js && statement_ends_here()) head_.clear();
      } else if (c != ' ' && c != '\t') {
        line_start = false;
      }
      take(c);
    }
  }

private:
  void take(char c) {
    switch (c) {
    case '{':
      open();
      return;
    case '}':
      close();
      return;
    case ';':
      if (parens_ == 0)
        head_.clear();
      else
        add(c);
      return;
    case '(':
    case '[':
      ++parens_;
      break;
    case ')':
    case ']':
      if (parens_ > 0) --parens_;
      break;
    default:
      break;
    }
    add(c);
  }

  void add(char c) {
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (space && (head_.empty() || head_.back() == ' ')) return;
    if (head_.size() < 2000) head_.push_back(space ? ' ' : c);
  }

  void open() {
    const bool declaring = scopes_.empty() || scopes_.back().declares;
    const bool in_type = !scopes_.empty() && scopes_.back().is_type;
    opened what;
    if (grammar_ == grammar::braces_c)
      what = parens_ == 0 ? classify_c(head_, declaring) : opened{};
    else if (grammar_ == grammar::braces_java)
      what = parens_ == 0 ? classify_java(head_, declaring, in_type) : opened{};
    else
      what = classify_js(head_, in_type, parens_ > 0);
    if (!what.kind.empty() && !what.name.empty())
      add_definition(out_, what.kind == "@interface" ? "interface" : what.kind, what.name);
    if (scopes_.size() < 10'000)
      scopes_.push_back({what.declares, what.is_type, parens_, parens_ > 0 ? head_ : std::string{}});
    parens_ = 0;
    head_.clear();
  }

  void close() {
    head_.clear();
    parens_ = 0;
    if (scopes_.empty()) return;
    parens_ = scopes_.back().parens;
    head_ = std::move(scopes_.back().head);
    scopes_.pop_back();
  }

  void directive() {
    std::size_t end = at_;
    do {
      end = std::min(code_.find('\n', end + 1), code_.size());
    } while (end < code_.size() && code_[end - 1] == '\\');
    const auto text = trimmed(code_.substr(at_ + 1, end - at_ - 1));
    at_ = end; // the loop's ++ steps over the line's end
    if (find_word(text, "define") == 0) {
      add_definition(out_, "macro", word_after(text, 6));
    } else if (text.starts_with("if")) {
      if (branches_.size() < 1000) branches_.push_back({scopes_, parens_, head_});
    } else if ((text.starts_with("else") || text.starts_with("elif")) && !branches_.empty()) {
      scopes_ = branches_.back().scopes;
      parens_ = branches_.back().parens;
      head_ = branches_.back().head;
    } else if (text.starts_with("endif") && !branches_.empty()) {
      branches_.pop_back();
    }
  }

  /// JavaScript ends statements at line ends where the next line cannot go on with it.
  bool statement_ends_here() const {
    if (parens_ > 0 || head_.empty()) return false;
    const auto last = trimmed(head_);
    if (last.empty() || std::string_view("=+-*&|(,?:<>.").find(last.back()) != std::string_view::npos) return false;
    const auto next = code_.find_first_not_of(" \t\r\n", at_);
    return next == std::string_view::npos ||
           std::string_view("{.,?:=+-*/&|)<>").find(code_[next]) == std::string_view::npos;
  }

  struct branch {
    std::vector<scope> scopes;
    std::size_t parens;
    std::string head;
  };
  grammar grammar_;
  std::string_view code_;
  structure& out_;
  std::size_t at_ = 0;
  std::size_t parens_ = 0;
  std::string head_;
  std::vector<scope> scopes_;
  std::vector<branch> branches_;
};

// -- languages where a line's first words say it

void scan_keywords(const language& what, std::string_view code, structure& out) {
  static constexpr std::array<std::string_view, 24> modifiers{
      "pub",       "async",   "unsafe", "const",    "static",      "default",  "public", "private",
      "protected", "export",  "final",  "abstract", "open",        "override", "sealed", "data",
      "inline",    "suspend", "local",  "internal", "fileprivate", "mutating", "extern", "class"};
  const bool caseless = what.name == "SQL" || what.name == "Pascal" || what.name == "CMake";
  const bool go = what.name == "Go";
  std::string folded;
  for_lines(code, [&](std::string_view line) {
    if (go && (line.empty() || line[0] == ' ' || line[0] == '\t')) return;
    std::string_view rest = trimmed(line);
    for (bool again = !rest.empty() && (what.name == "Rust" || what.name == "Kotlin" || what.name == "Swift" ||
                                        what.name == "PHP" || what.name == "Lua");
         again;) {
      again = false;
      for (const auto word : modifiers) {
        if (word == "class" && what.name != "Swift") continue;
        if (find_word(rest, word) != 0) continue;
        std::string_view after = trimmed(rest.substr(word.size()));
        if (word == "pub" && after.starts_with('(')) drop_group(after, '(', ')');
        if (word == "extern" && after.starts_with('"'))
          after = trimmed(after.substr(std::min(after.find('"', 1), after.size() - 1) + 1));
        if (word == "class" && !after.starts_with("func")) continue;
        rest = after;
        again = !rest.empty();
      }
    }
    std::string_view compared = rest;
    if (caseless) {
      folded.assign(rest);
      std::transform(folded.begin(), folded.end(), folded.begin(), lower);
      compared = folded;
    }
    for (const keyword* k = what.keywords; !k->word.empty(); ++k) {
      if (!compared.starts_with(k->word)) continue;
      std::string_view after = rest.substr(k->word.size());
      if (!after.empty() && (is_word(after[0]) || (is_word(k->word.back()) && after[0] == '-'))) continue;
      if (k->kind == "heading") {
        const auto title = what.name == "TeX" ? after.substr(std::min(after.find('{') + 1, after.size())) : after;
        if (what.name == "AsciiDoc" && (after.empty() || after[0] != ' ')) continue;
        add_heading(out, title.substr(0, what.name == "TeX" ? title.rfind('}') : std::string_view::npos));
        return;
      }
      after = trimmed(after);
      std::string_view kind = k->kind;
      if (go && kind == "function" && after.starts_with('(')) {
        drop_group(after, '(', ')');
        kind = "method";
      }
      if (what.name == "Rust" && kind == "impl") {
        if (after.starts_with('<')) drop_group(after, '<', '>');
        add_definition(out, kind, after.substr(0, after.find('{')));
        return;
      }
      if (what.name == "CMake" && after.starts_with('(')) after = trimmed(after.substr(1));
      if (what.name == "Lisp" && after.starts_with('(')) after = after.substr(1);
      if (what.name == "SQL" && after.size() > 14 && lower(after[0]) == 'i' && lower(after[1]) == 'f')
        after = trimmed(after.substr(13)); // if not exists
      std::size_t end = 0;
      while (end < after.size() &&
             (is_word(after[end]) || std::string_view(":.!?-$\"`").find(after[end]) != std::string_view::npos))
        ++end;
      if (end > 0) add_definition(out, kind, after.substr(0, end));
      return;
    }
  });
}

void scan_python(std::string_view content, structure& out) {
  std::string_view open; // the triple quote that a string began with
  for_lines(content, [&](std::string_view line) {
    if (open.empty()) {
      std::string_view rest = trimmed(line);
      if (rest.starts_with("async ")) rest = trimmed(rest.substr(6));
      for (const auto& [word, kind] :
           {std::pair<std::string_view, std::string_view>{"def ", "function"}, {"class ", "class"}}) {
        if (!rest.starts_with(word)) continue;
        const auto name = trimmed(rest.substr(word.size()));
        std::size_t end = 0;
        while (end < name.size() && (is_word(name[end]) || static_cast<unsigned char>(name[end]) >= 0x80)) ++end;
        const auto after = trimmed(name.substr(end));
        if (end > 0 && (after.starts_with('(') || after.starts_with(':') || after.starts_with('[')))
          add_definition(out, kind, name.substr(0, end));
      }
    }
    for (std::size_t i = 0; i < line.size();) {
      const auto rest = line.substr(i);
      if (!open.empty()) {
        if (rest.starts_with(open)) {
          i += 3;
          open = {};
        } else {
          i += line[i] == '\\' ? 2 : 1;
        }
      } else if (rest.starts_with("\"\"\"") || rest.starts_with("'''")) {
        open = rest[0] == '"' ? "\"\"\"" : "'''";
        i += 3;
      } else if (line[i] == '#') {
        break;
      } else if (line[i] == '"' || line[i] == '\'') {
        const char quote = line[i++];
        while (i < line.size() && line[i] != quote) i += line[i] == '\\' ? 2 : 1;
        ++i;
      } else {
        ++i;
      }
    }
  });
}

/// The word that ends the heredoc which `line` starts, if it starts one.
std::optional<std::pair<std::string, bool>> heredoc_in(std::string_view line) {
  const auto at = line.find("<<");
  if (at == std::string_view::npos || line.substr(at).starts_with("<<<") ||
      line.substr(0, at).find("((") != std::string_view::npos)
    return std::nullopt;
  std::string_view rest = line.substr(at + 2);
  const bool tabs = rest.starts_with('-');
  if (tabs) rest.remove_prefix(1);
  rest = trimmed(rest);
  if (!rest.empty() && (rest[0] == '\'' || rest[0] == '"' || rest[0] == '\\')) rest.remove_prefix(1);
  std::size_t end = 0;
  while (end < rest.size() && is_word(rest[end])) ++end;
  if (end == 0 || (rest[0] >= '0' && rest[0] <= '9')) return std::nullopt;
  return std::pair{std::string(rest.substr(0, end)), tabs};
}

void scan_shell(std::string_view content, structure& out) {
  std::optional<std::pair<std::string, bool>> heredoc;
  for_lines(content, [&](std::string_view line) {
    if (heredoc) {
      std::string_view end = line;
      while (heredoc->second && end.starts_with('\t')) end.remove_prefix(1);
      if (end == heredoc->first) heredoc.reset();
      return;
    }
    std::string_view rest = trimmed(line);
    if (rest.starts_with('#')) return;
    const bool spelled = rest.starts_with("function ");
    if (spelled) rest = trimmed(rest.substr(9));
    std::size_t end = 0;
    while (end < rest.size() && (is_word(rest[end]) || rest[end] == '-' || rest[end] == ':' || rest[end] == '.')) ++end;
    const auto after = trimmed(rest.substr(end));
    if (end > 0 && (spelled || (after.starts_with('(') && trimmed(after.substr(1)).starts_with(')'))))
      add_definition(out, "function", rest.substr(0, end));
    heredoc = heredoc_in(line);
  });
}

// -- documents

/// A line of one repeated punctuation character, at least `least` long.
bool is_rule(std::string_view line, std::string_view characters, std::size_t least) {
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.remove_suffix(1);
  return line.size() >= least && characters.find(line[0]) != std::string_view::npos &&
         line.find_first_not_of(line[0]) == std::string_view::npos;
}

void scan_markdown(std::string_view content, structure& out) {
  std::string fence;
  std::string_view previous;
  bool front_matter = content.starts_with("---\n");
  std::size_t number = 0;
  for_lines(content, [&](std::string_view line) {
    const bool first = number++ == 0;
    if (front_matter) {
      if (!first && trimmed(line) == "---") front_matter = false;
      return;
    }
    const auto indent = std::min(line.find_first_not_of(' '), line.size());
    const auto rest = line.substr(indent);
    const auto last = std::exchange(previous, line);
    if (!fence.empty()) {
      if (indent <= 3 && rest.starts_with(fence) && is_rule(rest, fence.substr(0, 1), fence.size())) fence.clear();
      previous = {};
      return;
    }
    if (indent > 3) return;
    if (rest.starts_with("```") || rest.starts_with("~~~")) {
      fence = std::string(rest.substr(0, std::min(rest.find_first_not_of(rest[0]), rest.size())));
      previous = {};
      return;
    }
    const auto hashes = std::min(rest.find_first_not_of('#'), rest.size());
    if (hashes >= 1 && hashes <= 6 &&
        (hashes == rest.size() || rest[hashes] == ' ' || rest[hashes] == '\t' || rest[hashes] == '\r')) {
      add_heading(out, rest.substr(hashes));
      previous = {};
    } else if (is_rule(rest, "=-", 3) && !is_blank(last) &&
               std::string_view("|#>").find(trimmed(last)[0]) == std::string_view::npos &&
               !trimmed(last).starts_with("- ")) {
      add_heading(out, last);
      previous = {};
    }
  });
}

/// Titles that are underlined. @param strict the line must be about as long as its title, as people do in plain text.
void scan_underlined(std::string_view content, std::string_view characters, bool strict, structure& out) {
  std::string_view previous;
  std::string_view before;
  for_lines(content, [&](std::string_view line) {
    const auto title = trimmed(previous);
    const bool flush = !previous.empty() && previous[0] != ' ' && previous[0] != '\t';
    const bool overlined = is_rule(before, characters, 3);
    if (is_rule(line, characters, 3) && !title.empty() && (flush || overlined) && !is_rule(previous, characters, 3) &&
        (is_blank(before) || overlined)) {
      const auto length = trimmed(line).size();
      if (strict ? length + 2 >= title.size() && length <= title.size() + 2 : length >= title.size()) {
        add_heading(out, title);
        line = {};
      }
    }
    before = std::exchange(previous, line);
  });
}

void scan_html(std::string_view content, structure& out) {
  for (std::size_t at = content.find('<'); at != std::string_view::npos; at = content.find('<', at + 1)) {
    const auto rest = content.substr(at);
    if (rest.starts_with("<!--")) {
      at = content.find("-->", at);
      if (at == std::string_view::npos) return;
      continue;
    }
    if (rest.size() < 4 || lower(rest[1]) != 'h' || rest[2] < '1' || rest[2] > '6' ||
        std::string_view("> \t\r\n").find(rest[3]) == std::string_view::npos)
      continue;
    std::string title;
    bool in_tag = true;
    for (const char c : rest.substr(3, 600)) {
      if (c == '<') in_tag = true;
      if (!in_tag) title.push_back(c == '\n' ? ' ' : c);
      if (c == '>') in_tag = false;
      if (in_tag && title.size() > 1 && c == '<') break;
    }
    add_heading(out, title);
  }
}

void scan_man(std::string_view content, structure& out) {
  for_lines(content, [&](std::string_view line) {
    for (const std::string_view macro : {".SH", ".SS", ".Sh", ".Ss"})
      if (line.starts_with(macro) && (line.size() == 3 || line[3] == ' ')) add_heading(out, line.substr(3));
  });
}

} // namespace

structure structure_of(const language& what, std::string_view content) {
  structure out;
  switch (what.structure) {
  case grammar::none:
    break;
  case grammar::braces_c:
  case grammar::braces_java:
  case grammar::braces_js:
    brace_scanner(what.structure, code_only(what, content), out).run();
    break;
  case grammar::keywords:
    scan_keywords(what, code_only(what, content), out);
    break;
  case grammar::python:
    scan_python(content, out);
    break;
  case grammar::shell:
    scan_shell(content, out);
    break;
  case grammar::markdown:
    scan_markdown(content, out);
    break;
  case grammar::restructured:
    scan_underlined(content, "=-`:.'\"~^_*+#<>", false, out);
    break;
  case grammar::html:
    scan_html(content, out);
    break;
  case grammar::man:
    scan_man(content, out);
    break;
  case grammar::plain:
    scan_underlined(content, "=-~*#", true, out);
    break;
  }
  return out;
}

} // namespace hive::actors::text
