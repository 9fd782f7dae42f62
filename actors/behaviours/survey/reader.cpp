#include "actors/behaviours/survey/reader.hpp"

#include "actors/behaviours/input.hpp"

namespace hive::actors::survey {

namespace {

constexpr std::size_t id_bytes_max = 240;

/// "PATH#n"; paths that are long, or have control characters, keep their end and a hash.
std::string id_of(const std::string& file, std::size_t number) {
  const std::string tail = "#" + std::to_string(number);
  const std::string shown = path_for_people(file);
  if (shown == file && file.size() + tail.size() <= id_bytes_max) return file + tail;
  return std::to_string(hash_of(file)) + "-" + shown.substr(shown.size() - std::min<std::size_t>(shown.size(), 128)) + tail;
}

} // namespace

result<void> reader::check(const json& config) const {
  json_fields fields(config);
  (void)fields.text_if("collection", 128);
  if (auto wrong = fields.problem()) return *wrong;
  return {};
}

/// The file's passages go into the collection. Whether that is done or not, the survey goes on.
task<> reader::remember(turn& self, std::string collection, json arguments) const {
  const auto& path = arguments.at("path");
  const auto& root = arguments.at("root");
  if (!path.is_string() || !root.is_string()) co_return; // not UTF-8: nobody could name it
  const std::string file = root.get<std::string>() + "/" + path.get<std::string>();
  arguments.erase("bytes_max");
  payload call = json_payload(arguments);
  const step_options patient{std::chrono::minutes{5}};
  const auto cut = co_await self.run("file.chunks", std::move(call), patient);
  std::string why = cut ? "" : cut.error().message;
  json items = json::array();
  if (cut) {
    const auto found = json::parse(cut->bytes);
    const auto& chunks = found.at("chunks");
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      const auto& c = chunks[i];
      json meta{
          {"file", file}, {"line", c.at("line")}, {"last_line", c.at("last_line")}, {"language", found.at("language")}};
      if (!c.at("heading").get_ref<const std::string&>().empty()) meta["heading"] = c.at("heading");
      items.push_back({{"id", id_of(file, i)},
                       {"kind", "passage"},
                       {"text", c.at("text")},
                       {"metadata", std::move(meta)},
                       {"trust", "tool"}});
    }
  }
  constexpr std::size_t at_once = 100;
  for (std::size_t from = 0; from < items.size() && why.empty(); from += at_once) {
    json batch = json::array();
    for (std::size_t i = from; i < std::min(items.size(), from + at_once); ++i) batch.push_back(items[i]);
    // An endpoint that was slow goes on meanwhile, and what it made is at hand then.
    constexpr int attempts = 5;
    for (int attempt = 1;; ++attempt) {
      const auto stored = co_await self.remember(collection, batch, patient);
      why = stored ? "" : stored.error().message;
      if (stored || stored.error().code != errc::unavailable || attempt == attempts) break;
      const auto pause = std::max(stored.error().retry_after, std::chrono::milliseconds{1000});
      co_await self.sleep(pause);
    }
  }
  if (!why.empty()) self.emit("survey.not_remembered", {{"file", file}, {"why", why}});
}

task<> reader::handle(turn& self, message m) const {
  if (m.type != "survey.read") refuse_type(m, "survey.read");
  json_fields fields(m.parse());
  const std::string to = fields.text("to", 128);
  json done{{"run", fields.number("run", 0, UINT64_MAX)},
            {"file", fields.number("file", 0, UINT64_MAX)},
            {"root_index", fields.number("root_index", 0, UINT64_MAX)},
            {"path", fields.value("path")}};
  json arguments{
      {"root", fields.value("root")}, {"path", fields.value("path")}, {"bytes_max", fields.value("bytes_max")}};
  check_message(fields);

  payload call = json_payload(arguments);
  const step_options patient{std::chrono::minutes{5}};
  const auto surveyed = co_await self.run("file.survey", std::move(call), patient);
  if (surveyed)
    done["result"] = json::parse(surveyed->bytes);
  else
    done["result"] = {
        {"status", "failed"},
        {"why", to_string(surveyed.error().code) == "unknown" ? "took too long" : surveyed.error().message}};
  const std::string collection = self.config().value("collection", "");
  if (!collection.empty() && done["result"].value("status", "") == "ok") co_await remember(self, collection, arguments);
  self.send(to, "survey.done", json_payload(done));
}

} // namespace hive::actors::survey
