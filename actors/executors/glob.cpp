#include "actors/executors/glob.hpp"

namespace hive::actors {
namespace {

/// One character against "[...]" at the start of `p`; moves `p` past it. A set that is never closed is a plain '['.
bool set_matches(std::string_view& p, char c) noexcept {
  const auto close = p.find(']', p.size() > 1 && (p[1] == '!' || p[1] == '^') ? 3 : 2);
  if (close == std::string_view::npos) {
    p.remove_prefix(1);
    return c == '[';
  }
  std::string_view set = p.substr(1, close - 1);
  p.remove_prefix(close + 1);
  const bool inverted = set.starts_with('!') || set.starts_with('^');
  if (inverted) set.remove_prefix(1);
  bool inside = false;
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (i + 2 < set.size() && set[i + 1] == '-') {
      inside = inside || (c >= set[i] && c <= set[i + 2]);
      i += 2;
    } else {
      inside = inside || c == set[i];
    }
  }
  return inside != inverted;
}

/// With one restart point for `*` and one for `**`: linear in practice, and never exponential in a hostile pattern.
bool matches(std::string_view p, std::string_view s) noexcept {
  std::string_view star_p;
  std::string_view star_s;
  std::string_view deep_p;
  std::string_view deep_s;
  bool has_star = false;
  bool has_deep = false;
  bool deep_by_piece = false;
  for (;;) {
    if (p.starts_with("**")) {
      p.remove_prefix(2);
      deep_by_piece = p.starts_with('/');
      if (deep_by_piece) p.remove_prefix(1); // "a/**/b" also matches "a/b"
      deep_p = p;
      deep_s = s;
      has_deep = true;
      has_star = false;
      continue;
    }
    if (p.starts_with('*')) {
      p.remove_prefix(1);
      star_p = p;
      star_s = s;
      has_star = true;
      continue;
    }
    if (p.empty() && s.empty()) return true;
    if (!p.empty() && !s.empty()) {
      std::string_view after = p.substr(1);
      bool same = p.front() == s.front();
      if (p.front() == '?')
        same = s.front() != '/';
      else if (p.front() == '[') {
        after = p;
        same = set_matches(after, s.front()) && s.front() != '/';
      }
      if (same) {
        p = after;
        s.remove_prefix(1);
        continue;
      }
    }
    if (has_star && !star_s.empty() && star_s.front() != '/') {
      star_s.remove_prefix(1);
      p = star_p;
      s = star_s;
    } else if (has_deep && !deep_s.empty()) {
      const auto next = deep_by_piece ? deep_s.find('/') : 0;
      if (next == std::string_view::npos) return false;
      deep_s.remove_prefix(next + 1);
      p = deep_p;
      s = deep_s;
      has_star = false;
    } else {
      return false;
    }
  }
}

} // namespace

bool glob_matches(std::string_view pattern, std::string_view relative_path) noexcept {
  if (pattern.find('/') == std::string_view::npos)
    return matches(pattern, relative_path.substr(relative_path.rfind('/') + 1));
  if (pattern.starts_with('/')) pattern.remove_prefix(1);
  return matches(pattern, relative_path);
}

bool any_glob_matches(const std::vector<std::string>& patterns, std::string_view relative_path) noexcept {
  for (const auto& pattern : patterns)
    if (glob_matches(pattern, relative_path)) return true;
  return false;
}

std::string glob_of(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == '*' || c == '?' || c == '[')
      out += std::string("[") + c + "]";
    else
      out += c;
  }
  return out;
}

} // namespace hive::actors
