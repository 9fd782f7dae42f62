#include "actors/behaviours/ledger.hpp"

#include "actors/behaviours/input.hpp"
#include "config/base/bytes.hpp"

namespace hive::actors {
namespace {

constexpr std::size_t op_bytes_max = 4096;
constexpr std::size_t page = 1'000; ///< Entries in memory at a time: 4 MiB at most.

} // namespace

std::string ledger_state::encode() const { return byte_writer{}.varint(count).take(); }

ledger_state ledger_state::decode(std::string_view bytes) {
  byte_reader in(bytes);
  ledger_state s{in.varint()};
  if (!in.ok()) throw std::runtime_error("the ledger's state cannot be read");
  return s;
}

namespace ledger_ops {

std::string op_of(const message& m) {
  json body = m.parse();
  if (!body.is_object()) throw bad_message("payload", "append takes {\"op\":\"ID\"}");
  for (auto& [name, value] : body.items()) {
    if (name != "op") throw bad_message("payload." + name, name + " is not known here");
    if (!value.is_string()) throw bad_message("payload.op", "op must be a string");
  }
  if (body.empty()) throw bad_message("payload.op", "op is missing");
  auto& op = body["op"].get_ref<std::string&>();
  if (op.empty() || op.size() > op_bytes_max) throw bad_message("payload.op", "op must have 1 to 4096 bytes");
  return std::move(op);
}

void append(turn& self, std::string op) {
  auto s = self.state<ledger_state>();
  s.count += 1;
  self.append("ops", std::move(op));
  self.set_state(s);
  self.reply({R"({"count":)" + std::to_string(s.count) + "}", content_type::json});
}

task<> list(turn& self, message m) {
  json_fields fields(m.body.bytes.empty() || m.body.bytes == "null" ? json::object() : m.parse());
  std::uint64_t from = fields.number_or("from", 0, 0, std::uint64_t{1} << 62U);
  const bool all = !fields.has("limit");
  std::uint64_t left = fields.number_or("limit", std::uint64_t{1} << 62U, 1, std::uint64_t{1} << 62U);
  check_message(fields);
  const std::string head = R"({"ops":[)";
  const std::string tail = "]}";
  const std::size_t room = self.payload_bytes_max() - tail.size();
  std::string answer = head;
  bool full = false;
  while (left > 0 && !full) {
    const auto ops = co_await self.read_log("ops", from, std::min<std::uint64_t>(left, page));
    for (const auto& op : ops) {
      const std::string entry = (answer.size() == head.size() ? "" : ",") + json(op).dump();
      full = answer.size() + entry.size() > room;
      if (full) break;
      answer += entry;
    }
    if (ops.size() < std::min<std::uint64_t>(left, page)) break;
    from += ops.size();
    left -= ops.size();
  }
  if (full && answer == head)
    self.fail("entry_too_large", "the entry does not fit into an answer (entity.payload_bytes)");
  else if (full && all)
    self.fail("list_too_long", "the list does not fit into an answer (entity.payload_bytes); ask with from and limit");
  else
    self.reply({answer + tail, content_type::json});
}

} // namespace ledger_ops

task<> ledger::handle(turn& self, message m) const {
  if (m.type == "append")
    ledger_ops::append(self, ledger_ops::op_of(m));
  else if (m.type == "list")
    co_await ledger_ops::list(self, std::move(m));
  else if (m.type == "crash")
    throw std::runtime_error("crash was asked for");
  else
    refuse_type(m, "append, list, crash");
}

} // namespace hive::actors
