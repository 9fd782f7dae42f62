#include "actors/behaviours/stepper.hpp"

#include "actors/behaviours/input.hpp"
#include "actors/behaviours/ledger.hpp"

namespace hive::actors {

result<void> stepper::check(const json& config) const {
  json_fields fields(config);
  (void)fields.text_if("program");
  if (auto wrong = fields.problem()) return *wrong;
  return {};
}

task<> stepper::handle(turn& self, message m) const {
  if (m.type == "work")
    co_await work(self, std::move(m));
  else if (m.type == "list")
    co_await ledger_ops::list(self, std::move(m));
  else
    refuse_type(m, "work, list");
}

task<> stepper::work(turn& self, message m) const {
  json_fields fields(m.parse());
  std::string op = fields.text("op");
  const auto ms = fields.number_or("ms", 0, 0, 600'000);
  const auto to = fields.text_if("to", 128);
  check_message(fields);
  if (op.empty()) throw bad_message("payload.op", "op must not be empty");

  if (ms > 0) co_await self.sleep(std::chrono::milliseconds(ms));
  if (to) {
    payload body = json_payload({{"op", op}});
    const auto counted = co_await self.ask(*to, "append", std::move(body));
    if (!counted) {
      self.fail("step_failed", *to + ": " + counted.error().message);
      co_return;
    }
  }
  if (const std::string program = self.config().value("program", ""); !program.empty()) {
    payload arguments = json_payload({{"argv", {program}}});
    const auto ran = co_await self.run("process", std::move(arguments));
    if (!ran) {
      self.fail("step_failed", program + ": " + ran.error().message);
      co_return;
    }
  }
  ledger_ops::append(self, std::move(op));
}

} // namespace hive::actors
