#include "actors/behaviours/survey/order.hpp"

#include "actors/behaviours/input.hpp"
#include "actors/executors/glob.hpp"
#include "actors/executors/roots.hpp"
#include "actors/specs.hpp"

namespace hive::actors::survey {
namespace {

constexpr std::size_t roots_max = 16;
constexpr std::size_t readers_max = 64;
constexpr std::size_t patterns_max = 100;

json paths_json(const std::vector<std::string>& paths) {
  json out = json::array();
  for (const auto& p : paths) out.push_back(path_to_json(p));
  return out;
}

std::string path_from(const json& value) { return json_fields(json{{"path", value}}).path("path"); }

std::vector<std::string> paths_from(const json& list) {
  std::vector<std::string> out;
  for (const auto& p : list) out.push_back(path_from(p));
  return out;
}

std::string normal(const std::string& path, const std::string& field) {
  auto plain = normal_path(path, "payload." + field);
  if (!plain) throw bad_message(plain.error().field, plain.error().message);
  return std::move(plain).value();
}

} // namespace

order order::from_message(const message& m, const json& config) {
  json_fields fields(m.parse());
  order o;
  const auto roots = fields.texts("roots", roots_max);
  o.report_dir = fields.path("report_dir");
  o.include = fields.texts("include", patterns_max);
  o.exclude = fields.texts("exclude", patterns_max);
  if (!fields.has("exclude")) o.exclude = json_fields(config).texts("exclude", patterns_max);
  o.bytes_max = fields.number_or("max_file_bytes", 8 * 1024 * 1024, 1024, 256 * 1024 * 1024);
  check_message(fields);

  if (roots.empty()) throw bad_message("payload.roots", "roots names at least one directory");
  for (std::size_t i = 0; i < roots.size(); ++i) {
    const std::string field = "roots[" + std::to_string(i) + "]";
    o.roots.push_back(normal(roots[i], field));
    for (std::size_t j = 0; j < i; ++j)
      if (is_below(o.roots[i], o.roots[j]) || is_below(o.roots[j], o.roots[i]))
        throw bad_message("payload." + field,
                          field + " and roots[" + std::to_string(j) + "] overlap: files would be counted twice");
  }
  o.report_dir = normal(o.report_dir, "report_dir");
  return o;
}

std::string order::encode() const {
  return json{{"roots", paths_json(roots)},
              {"real_roots", paths_json(real_roots)},
              {"report_dir", path_to_json(report_dir)},
              {"include", include},
              {"exclude", exclude},
              {"bytes_max", bytes_max}}
      .dump();
}

order order::decode(const std::string& text) {
  const json j = json::parse(text);
  order o;
  o.roots = paths_from(j.at("roots"));
  o.real_roots = paths_from(j.at("real_roots"));
  o.report_dir = path_from(j.at("report_dir"));
  o.include = j.at("include").get<std::vector<std::string>>();
  o.exclude = j.at("exclude").get<std::vector<std::string>>();
  o.bytes_max = j.at("bytes_max");
  return o;
}

std::vector<std::string> order::excluded_below(std::size_t root) const {
  std::vector<std::string> out = exclude;
  const std::string& base = roots[root];
  if (!is_below(report_dir, base)) return out;
  const auto folder = report_dir.size() == base.size()
                          ? std::string{}
                          : glob_of(report_dir.substr(base == "/" ? 1 : base.size() + 1)) + "/";
  // A leading slash holds the pattern against the whole path, not against every file's name.
  for (const char* name : {"report.json", "report.md", ".report.json.*.part", ".report.md.*.part"})
    out.push_back("/" + folder + name);
  return out;
}

result<pool> pool::from_config(const json& config) {
  json_fields fields(config);
  pool p;
  p.readers = fields.texts("readers", readers_max, 128);
  p.window = static_cast<std::uint32_t>(fields.number_or("window", 16, 1, 64));
  p.clock = fields.text_if("clock", 128).value_or("");
  p.stall_ms = fields.number_or("stall_ms", 30'000, 10, 24 * 3600 * 1000);
  (void)fields.texts("exclude", patterns_max);
  if (auto wrong = fields.problem()) return *wrong;
  if (p.readers.empty()) return invalid("readers", "readers names at least one agent that runs survey.reader");
  for (std::size_t i = 0; i < p.readers.size(); ++i)
    if (auto ok = check_name(p.readers[i], "readers[" + std::to_string(i) + "]"); !ok) return ok.error();
  if (!p.clock.empty())
    if (auto ok = check_name(p.clock, "clock"); !ok) return ok.error();
  return p;
}

} // namespace hive::actors::survey
