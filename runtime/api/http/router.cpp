#include "runtime/api/http/router.hpp"

namespace hive::api::http {
namespace {

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Cuts the first segment off "/a/b".
std::string_view cut(std::string_view& path) {
  path.remove_prefix(1);
  const auto end = std::min(path.find('/'), path.size());
  const auto segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

} // namespace

bool percent_decode(std::string_view text, std::string& out, bool plus_is_space) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return false;
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return false;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return true;
}

router::router(const method_table& table) : table_(table) {
  for (std::size_t i = 0; i < table.methods().size(); ++i) {
    const auto& m = *table.methods()[i];
    node* at = &root_;
    std::string suffix;
    for (std::string_view rest = m.path; !rest.empty();) {
      const auto segment = cut(rest);
      if (!segment.starts_with('{')) {
        auto& next = at->literal[std::string(segment)];
        if (!next) next = std::make_unique<node>();
        at = next.get();
      } else {
        suffix = segment.substr(segment.find('}') + 1);
        if (!at->name) at->name = std::make_unique<node>();
        at = at->name.get();
      }
    }
    at->ends[suffix].emplace(m.verb, i);
  }
}

const router::node* router::walk(const node& from, std::string_view path, std::vector<std::string_view>& names, std::string_view& suffix) {
  const node* at = &from;
  while (!path.empty()) {
    auto segment = cut(path);
    if (const auto found = at->literal.find(segment); found != at->literal.end()) {
      at = found->second.get();
    } else if (at->name) {
      at = at->name.get();
      const bool has_verbs = at->ends.size() > (at->ends.contains("") ? 1U : 0U);
      if (path.empty() && has_verbs) // then a name has no colon: what follows one is a verb of ours
        if (const auto colon = segment.find(':'); colon != std::string_view::npos) {
          suffix = segment.substr(colon);
          segment = segment.substr(0, colon);
        }
      names.push_back(segment);
    } else {
      return nullptr;
    }
  }
  return at;
}

result<route> router::find(std::string_view verb, std::string_view path) const {
  const error nowhere{errc::not_found, "no_such_path", "this path is none of the API's", {}, {}};
  if (!path.starts_with('/')) return nowhere;
  std::vector<std::string_view> names;
  std::string_view suffix;
  const node* at = walk(root_, path, names, suffix);
  const auto ends = at ? at->ends.find(suffix) : root_.ends.end();
  if (!at || ends == at->ends.end()) return nowhere;
  const auto found = ends->second.find(verb);
  if (found == ends->second.end()) {
    std::string all;
    for (const auto& [v, number] : ends->second) all += (all.empty() ? "" : ", ") + v;
    return error{errc::unimplemented, "method_not_allowed", "this path takes: " + all, {}, {}};
  }
  route r{found->second, table_.methods()[found->second].get(), {}};
  r.values.resize(names.size());
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!percent_decode(names[i], r.values[i])) return invalid(r.to->path_fields[i], r.to->path_fields[i] + " has a broken %-escape");
  return r;
}

} // namespace hive::api::http
