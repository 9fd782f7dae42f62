#include "actors/behaviours/survey/reader.hpp"

#include "actors/behaviours/input.hpp"

namespace hive::actors::survey {

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
  self.send(to, "survey.done", json_payload(done));
}

} // namespace hive::actors::survey
