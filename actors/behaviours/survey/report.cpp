#include "actors/behaviours/survey/report.hpp"

#include "actors/executors/json_fields.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace hive::actors::survey {
namespace {

/// 1234567 -> "1,234,567"
std::string grouped(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string size_text(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, units[unit]);
  return text.data();
}

/// As code, so that no file name is taken for formatting; a bar would end a table's cell.
std::string code(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    if (c == '|') safe += '\\';
    safe += c;
  }
  if (safe.find('`') != std::string::npos) return "`` " + safe + " ``";
  return "`" + safe + "`";
}

std::string plural(std::uint64_t n, const std::string& one, const std::string& many) {
  return grouped(n) + " " + (n == 1 ? one : many);
}

std::string bar(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0 || part == 0) return "";
  const auto blocks = std::max<std::uint64_t>(1, part * 20 / whole);
  std::string out;
  for (std::uint64_t i = 0; i < blocks; ++i) out += "\u2588";
  return out;
}

std::string joined(const std::vector<std::string>& items, const char* between) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : between) + item;
  return out;
}

void languages_table(std::string& out, const tally& all) {
  std::vector<std::pair<std::string, language_sum>> rows(all.languages.begin(), all.languages.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.second.lines != b.second.lines ? a.second.lines > b.second.lines : a.second.bytes > b.second.bytes;
  });
  std::uint64_t lines = 0;
  for (const auto& [name, l] : rows) lines += l.lines;
  out += "\n## Languages and types\n\n| Kind | Files | Lines | Size | Definitions | Share of lines "
         "|\n|---|---:|---:|---:|---:|:---|\n";
  for (const auto& [name, l] : rows)
    out += "| " + name + " | " + grouped(l.files) + " | " + (l.lines > 0 ? grouped(l.lines) : "") + " | " +
           size_text(l.bytes) + " | " + (l.definitions > 0 ? grouped(l.definitions) : "") + " | " +
           bar(l.lines, lines) + " |\n";
}

void folders_table(std::string& out, const summary& s) {
  auto rows = s.table;
  std::stable_sort(rows.begin(), rows.end(),
                   [](const folder_sum& a, const folder_sum& b) { return a.number < b.number; });
  out += "\n## Folder by folder\n\nEach with everything below it.\n\n| Folder | Files | Lines | Size | Mostly | "
         "Markers | Words |\n|---|---:|---:|---:|---|---:|---|\n";
  for (const auto& f : rows) {
    std::vector<std::string> words;
    for (const auto& t : best_terms(f.sum.terms, 5)) words.push_back(t.path);
    std::string indent;
    for (std::uint32_t i = 0; i < f.depth; ++i) indent += "&nbsp;&nbsp;";
    const std::string name = f.depth == 0 ? f.path : f.path.substr(f.path.rfind('/') + 1) + "/";
    out += "| " + indent + code(name) + " | " + grouped(f.sum.files) + " | " + grouped(f.sum.lines) + " | " +
           size_text(f.sum.bytes) + " | " + main_language(f.sum) + " | " +
           (f.sum.markers > 0 ? grouped(f.sum.markers) : "") + " | " + joined(words, ", ") + " |\n";
  }
  if (s.folders_closed > rows.size())
    out += "\nAnd " + plural(s.folders_closed - rows.size(), "more folder", "more folders") + " in report.json.\n";
}

/// Below the one root that there is, its name need not be said again.
std::string_view brief(const order& o, std::string_view path) {
  const std::string root = path_for_people(o.roots[0]) + "/";
  return o.roots.size() == 1 && path.starts_with(root) ? path.substr(root.size()) : path;
}

void ranked_list(std::string& out, const order& o, const std::string& title, const std::vector<ranked>& list,
                 bool sizes, const char* unit) {
  if (list.empty()) return;
  out += "\n### " + title + "\n\n";
  for (const auto& r : list)
    out += "1. " + code(brief(o, r.path)) + ": " + (sizes ? size_text(r.value) : grouped(r.value) + unit) + "\n";
}

void counts(std::string& out, const std::string& title, const std::map<std::string, std::uint64_t>& by_name) {
  if (by_name.empty()) return;
  const auto rows = best_terms(by_name, by_name.size());
  out += "\n## " + title + "\n\n";
  for (const auto& r : rows) out += "- " + r.path + ": " + grouped(r.value) + "\n";
}

void findings(std::string& out, const order& o, const summary& s) {
  static const std::array<std::pair<const char*, const char*>, 15> titles{
      {{"unreadable", "Files that could not be read"},
       {"unreadable folder", "Folders that could not be read"},
       {"vanished", "Files that vanished before they were read"},
       {"changed", "Files that changed while they were read"},
       {"failed", "Files whose reading failed"},
       {"lost", "Files for which no reader answered"},
       {"link loop", "Links that lead back to themselves or to a folder they lie in"},
       {"link dangling", "Links to nothing"},
       {"link outside", "Links that lead out of the survey"},
       {"too_deep", "Folders too deep to enter"},
       {"huge", "Huge files: lines counted, content not examined"},
       {"special", "Sockets, pipes and devices"},
       {"excluded", "Folders left out, as asked"},
       {"binary", "Binary files"},
       {"link", "Other links (not followed)"}}};
  if (s.findings.empty()) return;
  out += "\n## Worth knowing\n";
  for (const auto& [key, title] : titles) {
    const auto found = s.findings.find(key);
    if (found == s.findings.end()) continue;
    out += "\n### " + std::string(title) + ": " + grouped(found->second.count) + "\n\n";
    for (const auto& name : found->second.first) out += "- " + code(brief(o, name)) + "\n";
    if (found->second.count > found->second.first.size())
      out += "- and " + grouped(found->second.count - found->second.first.size()) + " more in report.json\n";
  }
}

json ranked_json(const std::vector<ranked>& list, const char* key, const char* value) {
  json out = json::array();
  for (const auto& r : list) out.push_back({{key, r.path}, {value, r.value}});
  return out;
}

} // namespace

std::string report_markdown(const order& o, const progress& p, const summary& s) {
  std::vector<std::string> roots;
  for (const auto& root : o.roots) roots.push_back(code(path_for_people(root)));
  std::string out = "# Survey of " + joined(roots, ", ") + "\n\n**" + plural(s.all.files, "file", "files") + " in " +
                    plural(p.folders, "folder", "folders") + ": " + plural(s.all.lines, "line", "lines") + ", " +
                    size_text(s.all.bytes) + ".** ";
  const auto binary = s.findings.find("binary");
  out += plural(s.text_lines, "line", "lines") + " in text";
  if (binary != s.findings.end()) out += ", " + plural(binary->second.count, "file is", "files are") + " binary";
  out += "; " + plural(s.all.definitions, "definition", "definitions") + ", " +
         plural(s.all.headings, "heading", "headings") + ", " +
         plural(s.all.markers, "line with a marker", "lines with markers") + ".\n";

  languages_table(out, s.all);
  folders_table(out, s);
  out += "\n## The most of it\n";
  ranked_list(out, o, "Largest", s.largest, true, "");
  ranked_list(out, o, "Most lines", s.longest, false, " lines");
  ranked_list(out, o, "Most definitions", s.most_definitions, false, " definitions");
  ranked_list(out, o, "Most left to do", s.most_markers, false, " lines with TODO, FIXME, XXX or HACK");
  counts(out, "Markers", s.markers);
  counts(out, "What is defined", s.definitions);

  const auto words = best_terms(s.all.terms, 40);
  if (!words.empty()) {
    std::vector<std::string> shown;
    for (const auto& w : words) shown.push_back(w.path + " (" + grouped(w.value) + ")");
    out += "\n## Words used most\n\n" + joined(shown, ", ") + "\n";
  }
  findings(out, o, s);
  out += "\n## How it was counted\n\n"
         "Lines are what `wc -l` counts, of every file that could be read. A marker is a line that holds TODO, FIXME, "
         "XXX or HACK as a whole word, as\n"
         "`LC_ALL=C grep -cw` counts them in text files. A file is binary when there is a NUL among its first 8,000 "
         "bytes. Definitions and headings are found by\n"
         "scanning lines and braces. Words are summed over the twelve most used of each file. Links are not followed. "
         "Every file is in report.json.\n";
  return out;
}

std::string report_json_head(const order& o, const progress& p, const summary& s) {
  std::vector<std::string> roots;
  for (const auto& root : o.roots) roots.push_back(path_for_people(root));
  json languages = json::object();
  for (const auto& [name, l] : s.all.languages)
    languages[name] = {{"files", l.files}, {"bytes", l.bytes}, {"lines", l.lines}, {"definitions", l.definitions}};
  json found = json::object();
  for (const auto& [name, f] : s.findings) found[name] = f.count;
  json head{
      {"survey", {{"roots", roots}, {"include", o.include}, {"exclude", o.exclude}, {"max_file_bytes", o.bytes_max}}},
      {"totals",
       {{"files", s.all.files},
        {"folders", p.folders},
        {"bytes", s.all.bytes},
        {"lines", s.all.lines},
        {"text_lines", s.text_lines},
        {"definitions", s.all.definitions},
        {"headings", s.all.headings},
        {"marker_lines", s.all.markers}}},
      {"languages", std::move(languages)},
      {"definitions", s.definitions},
      {"markers", s.markers},
      {"terms", ranked_json(best_terms(s.all.terms, 100), "term", "count")},
      {"largest", ranked_json(s.largest, "path", "bytes")},
      {"most_lines", ranked_json(s.longest, "path", "lines")},
      {"most_markers", ranked_json(s.most_markers, "path", "lines")},
      {"findings", std::move(found)}};
  std::string out = head.dump(1);
  out.resize(out.size() - 2); // the closing brace and its line: the lists follow
  return out;
}

std::string report_json_list(std::string_view name, bool first) {
  return (first ? ",\n \"" : "\n],\n \"") + std::string(name) + "\": [";
}

std::string report_json_file(const order& o, const file_row& row) {
  const std::string& root = o.roots[row.root];
  const std::string path = (root == "/" ? "" : root) + "/" + row.path;
  std::string out = "{\"path\":" + json(path_for_people(path)).dump();
  if (!is_utf8(path)) out += ",\"path_bytes\":" + path_to_json(path).dump();
  return out + "," + row.result.substr(1);
}

std::string report_json_end() { return "\n]}\n"; }

} // namespace hive::actors::survey
