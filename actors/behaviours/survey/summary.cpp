#include "actors/behaviours/survey/summary.hpp"

#include "actors/executors/json_fields.hpp"

#include <algorithm>

namespace hive::actors::survey {
namespace {

constexpr std::size_t folder_terms_max = 48;
constexpr std::size_t all_terms_max = 1024;
constexpr std::size_t ranked_max = 10;
constexpr std::size_t named_max = 30;
constexpr std::size_t table_max = 60;
constexpr std::size_t shown_path_max = 240;

std::string shown(const std::string& path) {
  if (path.size() <= shown_path_max) return path;
  std::string tail = path.substr(path.size() - shown_path_max);
  while (!tail.empty() && !is_utf8(tail)) tail.erase(0, 1); // not from the middle of a character
  return "..." + tail;
}

/// Forgets the least used terms once there are twice as many as are kept. Ties go by name: the same input, the same
/// rest.
void prune(term_counts& terms, std::size_t keep) {
  if (terms.size() <= keep * 2) return;
  term_counts rest;
  for (auto& best : best_terms(terms, keep)) rest.emplace(std::move(best.path), best.value);
  terms = std::move(rest);
}

void rank(std::vector<ranked>& list, const std::string& path, std::uint64_t value) {
  if (value == 0 || (list.size() == ranked_max && list.back().value >= value)) return;
  // Equal values keep the order of the walk.
  const auto at = std::find_if(list.begin(), list.end(), [&](const ranked& r) { return r.value < value; });
  list.insert(at, {shown(path), value});
  if (list.size() > ranked_max) list.pop_back();
}

bool goes_before(const folder_sum& a, const folder_sum& b) {
  if (a.depth != b.depth) return a.depth < b.depth;
  if (a.sum.bytes != b.sum.bytes) return a.sum.bytes > b.sum.bytes;
  return a.number < b.number;
}

json tally_json(const tally& t) {
  json languages = json::object();
  for (const auto& [name, l] : t.languages) languages[name] = {l.files, l.bytes, l.lines, l.definitions};
  return {{"n", {t.files, t.bytes, t.lines, t.definitions, t.headings, t.markers}},
          {"l", std::move(languages)},
          {"t", t.terms}};
}

tally tally_from(const json& j) {
  tally t;
  const auto& n = j.at("n");
  t.files = n.at(0);
  t.bytes = n.at(1);
  t.lines = n.at(2);
  t.definitions = n.at(3);
  t.headings = n.at(4);
  t.markers = n.at(5);
  for (const auto& [name, l] : j.at("l").items()) t.languages[name] = {l.at(0), l.at(1), l.at(2), l.at(3)};
  t.terms = j.at("t").get<term_counts>();
  return t;
}

json folders_to(const std::vector<folder_sum>& folders) {
  json out = json::array();
  for (const auto& f : folders) out.push_back({f.number, f.depth, f.path, f.own_files, tally_json(f.sum)});
  return out;
}

std::vector<folder_sum> folders_from(const json& j) {
  std::vector<folder_sum> out;
  for (const auto& f : j) out.push_back({f.at(0), f.at(1), f.at(2), f.at(3), tally_from(f.at(4))});
  return out;
}

json ranked_to(const std::vector<ranked>& list) {
  json out = json::array();
  for (const auto& r : list) out.push_back({r.path, r.value});
  return out;
}

std::vector<ranked> ranked_from(const json& j) {
  std::vector<ranked> out;
  for (const auto& r : j) out.push_back({r.at(0), r.at(1)});
  return out;
}

} // namespace

void tally::add(const tally& other, std::size_t terms_max) {
  files += other.files;
  bytes += other.bytes;
  lines += other.lines;
  definitions += other.definitions;
  headings += other.headings;
  markers += other.markers;
  for (const auto& [name, l] : other.languages) {
    auto& own = languages[name];
    own.files += l.files;
    own.bytes += l.bytes;
    own.lines += l.lines;
    own.definitions += l.definitions;
  }
  for (const auto& [word, count] : other.terms) terms[word] += count;
  prune(terms, terms_max);
}

std::vector<ranked> best_terms(const term_counts& terms, std::size_t limit) {
  std::vector<ranked> all;
  for (const auto& [word, count] : terms) all.push_back({word, count});
  std::stable_sort(all.begin(), all.end(), [](const ranked& a, const ranked& b) { return a.value > b.value; });
  all.resize(std::min(limit, all.size()));
  return all;
}

std::string main_language(const tally& sum) {
  const language_sum* most = nullptr;
  std::string name;
  for (const auto& [candidate, l] : sum.languages)
    if (most == nullptr || l.lines > most->lines || (l.lines == most->lines && l.bytes > most->bytes)) {
      most = &l;
      name = candidate;
    }
  return name;
}

void summary::close_one(std::vector<folder_sum>& closed) {
  folder_sum folder = std::move(open.back());
  open.pop_back();
  ++folders_closed;
  if (!open.empty()) open.back().sum.add(folder.sum, folder_terms_max);
  const auto at = std::lower_bound(table.begin(), table.end(), folder, goes_before);
  if (table.size() < table_max || at != table.end()) {
    folder_sum row = folder;
    row.path = shown(row.path);
    term_counts few;
    for (auto& best : best_terms(row.sum.terms, 5)) few.emplace(std::move(best.path), best.value);
    row.sum.terms = std::move(few);
    table.insert(at, std::move(row));
    if (table.size() > table_max) table.pop_back();
  }
  closed.push_back(std::move(folder));
}

void summary::close_all(std::vector<folder_sum>& closed) {
  while (!open.empty()) close_one(closed);
}

void summary::enter(const std::string& root, const std::string& relative, std::vector<folder_sum>& closed) {
  const auto slash = relative.rfind('/');
  const std::string base = root == "/" ? "" : root;
  const std::string target = slash == std::string::npos ? root : base + "/" + relative.substr(0, slash);
  const auto lies_in = [&](const folder_sum& f) {
    return f.depth == 0
               ? f.path == root
               : target.starts_with(f.path) && (target.size() == f.path.size() || target[f.path.size()] == '/');
  };
  while (!open.empty() && !(open.front().path == root && lies_in(open.back()))) close_one(closed);
  if (open.empty()) open.push_back({folders_entered++, 0, root, 0, {}});
  while (open.back().path != target) {
    const std::string& parent = open.back().depth == 0 ? base : open.back().path;
    const auto end = target.find('/', parent.size() + 1);
    open.push_back({folders_entered++, open.back().depth + 1, target.substr(0, end), 0, {}});
  }
}

void summary::add_file(const std::string& root, const std::string& relative, const json& result,
                       std::vector<folder_sum>& closed) {
  enter(root, relative, closed);
  const std::string path = (root == "/" ? "" : root) + "/" + relative;
  const std::string status = result.value("status", "failed");
  if (status != "ok") {
    auto& finding = findings[status];
    if (finding.first.size() < named_max) {
      std::string why = result.value("why", "");
      if (status == "binary") why = result.value("language", "");
      if (status == "huge") why = std::to_string(result.value("bytes", std::uint64_t{0})) + " bytes";
      finding.first.push_back(shown(path) + (why.empty() ? "" : " (" + why + ")"));
    }
    finding.count += 1;
  }

  tally one;
  one.files = 1;
  one.bytes = result.value("bytes", std::uint64_t{0});
  one.lines = result.value("lines", std::uint64_t{0});
  one.headings = result.value("headings", std::uint64_t{0});
  const json defined = result.value("definitions", json::object());
  for (const auto& [kind, count] : defined.items()) {
    definitions[kind] += count.get<std::uint64_t>();
    one.definitions += count.get<std::uint64_t>();
  }
  const json marked = result.value("markers", json::object());
  for (const auto& [word, count] : marked.items()) {
    markers[word] += count.get<std::uint64_t>();
    one.markers += count.get<std::uint64_t>();
  }
  for (const auto& term : result.value("terms", json::array()))
    one.terms[term.at(0).get<std::string>()] += term.at(1).get<std::uint64_t>();
  if (const std::string language = result.value("language", ""); !language.empty())
    one.languages[language] = {1, one.bytes, status == "binary" ? 0 : one.lines, one.definitions};
  if (status != "binary") text_lines += one.lines;

  rank(largest, path, one.bytes);
  if (status != "binary") rank(longest, path, one.lines);
  rank(most_markers, path, one.markers);
  rank(most_definitions, path, one.definitions);
  open.back().own_files += 1;
  open.back().sum.add(one, folder_terms_max);
  all.add(one, all_terms_max);
}

void summary::add_other(const std::string& path, const json& what) {
  const std::string kind = what.value("kind", "");
  const std::string state = what.value("state", "");
  std::string name = kind;
  std::string more;
  if (kind == "link") {
    name = state == "loop" || state == "dangling" || state == "outside" ? "link " + state : "link";
    more = " -> " + what.value("to", "");
  } else if (kind == "unreadable") {
    name = "unreadable folder";
    more = " (" + what.value("why", "") + ")";
  }
  auto& finding = findings[name];
  if (finding.first.size() < named_max) finding.first.push_back(shown(path) + shown(more));
  finding.count += 1;
}

std::string summary::encode() const {
  json found = json::object();
  for (const auto& [name, f] : findings) found[name] = {f.count, f.first};
  return json{{"all", tally_json(all)},
              {"text_lines", text_lines},
              {"definitions", definitions},
              {"markers", markers},
              {"findings", std::move(found)},
              {"largest", ranked_to(largest)},
              {"longest", ranked_to(longest)},
              {"most_markers", ranked_to(most_markers)},
              {"most_definitions", ranked_to(most_definitions)},
              {"table", folders_to(table)},
              {"open", folders_to(open)},
              {"entered", folders_entered},
              {"closed", folders_closed}}
      .dump();
}

summary summary::decode(const std::string& text) {
  const json j = json::parse(text);
  summary s;
  s.all = tally_from(j.at("all"));
  s.text_lines = j.at("text_lines");
  s.definitions = j.at("definitions").get<std::map<std::string, std::uint64_t>>();
  s.markers = j.at("markers").get<std::map<std::string, std::uint64_t>>();
  for (const auto& [name, f] : j.at("findings").items())
    s.findings[name] = {f.at(0), f.at(1).get<std::vector<std::string>>()};
  s.largest = ranked_from(j.at("largest"));
  s.longest = ranked_from(j.at("longest"));
  s.most_markers = ranked_from(j.at("most_markers"));
  s.most_definitions = ranked_from(j.at("most_definitions"));
  s.table = folders_from(j.at("table"));
  s.open = folders_from(j.at("open"));
  s.folders_entered = j.at("entered");
  s.folders_closed = j.at("closed");
  return s;
}

json folder_json(const folder_sum& folder) {
  json languages = json::object();
  for (const auto& [name, l] : folder.sum.languages)
    languages[name] = {{"files", l.files}, {"bytes", l.bytes}, {"lines", l.lines}};
  json terms = json::array();
  for (const auto& t : best_terms(folder.sum.terms, 5)) terms.push_back(t.path);
  return {{"path", folder.path},
          {"depth", folder.depth},
          {"own_files", folder.own_files},
          {"files", folder.sum.files},
          {"bytes", folder.sum.bytes},
          {"lines", folder.sum.lines},
          {"definitions", folder.sum.definitions},
          {"headings", folder.sum.headings},
          {"markers", folder.sum.markers},
          {"languages", std::move(languages)},
          {"terms", std::move(terms)}};
}

} // namespace hive::actors::survey
