#include "actors/behaviours/survey/clock.hpp"

#include "actors/behaviours/input.hpp"

namespace hive::actors::survey {

task<> clock::handle(turn& self, message m) const {
  if (m.type != "survey.watch") refuse_type(m, "survey.watch");
  json_fields fields(m.parse());
  const std::string to = fields.text("to", 128);
  const auto run = fields.number("run", 0, UINT64_MAX);
  const auto ms = fields.number("ms", 1, 24 * 3600 * 1000);
  check_message(fields);
  co_await self.sleep(std::chrono::milliseconds(ms));
  self.send(to, "survey.tick", json_payload({{"run", run}}));
}

} // namespace hive::actors::survey
