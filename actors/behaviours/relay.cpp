#include "actors/behaviours/relay.hpp"

#include "actors/behaviours/input.hpp"
#include "actors/specs.hpp"

namespace hive::actors {

task<> relay::handle(turn& self, message m) const {
  if (m.type != "forward") refuse_type(m, "forward");
  json_fields fields(m.parse());
  const std::string to = fields.text("to", 128);
  const std::string op = fields.text("op");
  check_message(fields);
  if (auto ok = check_name(to, "payload.to"); !ok) throw bad_message(ok.error().field, ok.error().message);
  if (op.empty()) throw bad_message("payload.op", "op must not be empty");
  self.send(to, "append", json_payload({{"op", op}}));
  self.reply({R"({"forwarded":true})", content_type::json});
  co_return;
}

} // namespace hive::actors
