#include "actors/system/queue_behaviour.hpp"

#include "actors/directory.hpp"
#include "actors/system/tenant_behaviour.hpp"
#include "config/base/base64.hpp"

namespace hive::actors {
namespace {

bool ended(const json& t) {
  const auto& state = t["state"].get_ref<const std::string&>();
  return state == "succeeded" || state == "failed" || state == "cancelled";
}

std::int64_t millis(wall_time t) { return t.time_since_epoch().count(); }

std::string row_key(const std::string& id) { return "task/" + id; }

/// Sorted by time: listing them is listing by age.
std::string new_task_id(turn& self) {
  char text[40];
  std::snprintf(text, sizeof text, "t%011llx%08llx", static_cast<unsigned long long>(millis(self.now())),
                static_cast<unsigned long long>(self.random().next() & 0xFFFFFFFFU));
  return text;
}

json task_event(const json& t) {
  json e{{"id", t["id"]}, {"agent", t["agent"]}, {"state", t["state"]}};
  for (const char* m : {"progress", "error", "result"})
    if (t.contains(m)) e[m] = t[m];
  return e;
}

/// The payload of a task as its row has it: JSON as a value, text as a string, binary as base64.
payload payload_of(const json& t) {
  const auto& value = t["payload"];
  const auto type = t.value("payload_type", "json");
  if (type == "json") return json_payload(value);
  if (!value.is_string()) throw bad_message("payload", "payload must be a string, as its type is \"" + type + "\"");
  payload p{value.get<std::string>(), content_type::text};
  if (type == "text") return p;
  if (type != "binary") throw bad_message("payload_type", "payload_type must be json, text or binary");
  p.type = content_type::binary;
  if (!from_base64(value.get_ref<const std::string&>(), p.bytes)) throw bad_message("payload", "payload must be base64, as its type is \"binary\"");
  return p;
}

void put_result(json& t, const payload& answer) {
  auto value = answer.type == content_type::json ? json::parse(answer.bytes, nullptr, false) : json();
  if (answer.type == content_type::json && !value.is_discarded()) {
    t["result"] = std::move(value);
  } else if (answer.type == content_type::binary) {
    t["result"] = to_base64(answer.bytes);
    t["result_type"] = "binary";
  } else {
    t["result"] = answer.bytes;
    t["result_type"] = "text";
  }
}

void store(turn& self, const json& t, const std::string& event) {
  const auto id = t["id"].get<std::string>();
  self.put_row(row_key(id), t.dump());
  system_turn::event(self, event, "task/" + id, task_event(t));
}

task<std::optional<json>> load(turn& self, std::string id) {
  const auto row = co_await self.row(row_key(id));
  if (!row) co_return std::nullopt;
  co_return json::parse(*row);
}

} // namespace

task<> queue_behaviour::handle(turn& self, message m) const {
  if (m.type == "task.submit") co_await submit(self, m.parse());
  else if (m.type == "task.cancel") co_await cancel(self, m.parse());
  else if (m.type == "hive.task.done") co_await done(self, std::move(m.body));
  else if (m.type == "hive.task.progress") co_await progress(self, m.parse());
  else if (m.type == "hive.task.sweep") co_await sweep(self, m.parse().value("after", ""));
  else throw bad_message("type", "a queue does not take \"" + m.type + "\"");
}

task<> queue_behaviour::submit(turn& self, json body) const {
  if (!body.is_object()) throw bad_message("", "a task is an object");
  const auto agent = body.value("agent", "");
  const auto type = body.value("type", "");
  if (type.empty() || type.size() > 128) throw bad_message("type", "type is required, at most 128 characters");
  if (body.value("deadline_ms", std::uint64_t{0}) != 0)
    throw read_failed({errc::unimplemented, "unimplemented", "deadlines of tasks are not in this version", "deadline_ms"});
  if (auto ok = check_name(agent, "agent"); !ok) throw bad_message("agent", ok.error().message);
  const auto who = system_turn::host(self).of->who;
  auto target = system_turn::services(self).known(who, entity_kind::agent, agent);
  if (!target) {
    auto row_read = system_turn::read<persistence::directory_row>(self, [who, agent](auto& r) -> result<persistence::directory_row> {
      auto found = r.find(who, entity_kind::agent, agent);
      if (!found && found.error().code == errc::not_found) return error{errc::not_found, "not_found", "no agent named \"" + agent + "\"", "agent"};
      return found;
    });
    const auto row = co_await row_read;
    target = row.id;
  }
  const auto id = new_task_id(self);
  json t{{"id", id}, {"agent", agent}, {"type", type}, {"payload", body.value("payload", json())}, {"state", "queued"},
         {"submitted_at", millis(self.now())}, {"attempts", 1}, {"principal", std::string(self.caller().principal())}};
  for (const char* as_given : {"labels", "payload_type"})
    if (body.contains(as_given)) t[as_given] = body[as_given];
  payload work = payload_of(t);
  store(self, t, "task.queued");
  system_turn::send_to(self, *target, type, std::move(work), {system_turn::id(self), 0, 0, id});
  if (self.random().one_in(64)) system_turn::send_to(self, system_turn::id(self), "hive.task.sweep", json_payload(json::object()));
  self.reply(json_payload({{"id", id}, {"state", "queued"}}));
}

task<> queue_behaviour::cancel(turn& self, json body) const {
  auto t = co_await load(self, body.value("id", ""));
  if (!t) throw read_failed({errc::not_found, "not_found", "no such task", "id"});
  if (ended(*t)) throw read_failed({errc::failed_precondition, "task_ended", "the task has ended: " + (*t)["state"].get<std::string>(), "id"});
  (*t)["state"] = "cancelled";
  (*t)["ended_at"] = millis(self.now());
  store(self, *t, "task.cancelled");
  self.reply(json_payload({{"id", (*t)["id"]}, {"state", (*t)["state"]}}));
}

task<> queue_behaviour::done(turn& self, payload body) const {
  const auto& in = system_turn::incoming(self);
  const bool failed = in.failed;
  auto t = co_await load(self, in.reply_to.task);
  if (!t || ended(*t)) co_return; // cancelled, or forgotten: its late result changes nothing
  (*t)["ended_at"] = millis(self.now());
  if (!t->contains("started_at")) (*t)["started_at"] = (*t)["submitted_at"]; // ended before it told of any progress
  if (failed) {
    const auto why = decode_failure(body.bytes);
    (*t)["state"] = "failed";
    (*t)["error"] = {{"reason", why.reason}, {"message", why.message}};
    if (!why.field.empty()) (*t)["error"]["field"] = why.field;
  } else {
    (*t)["state"] = "succeeded";
    put_result(*t, body);
  }
  store(self, *t, failed ? "task.failed" : "task.succeeded");
}

task<> queue_behaviour::progress(turn& self, json body) const {
  auto t = co_await load(self, system_turn::incoming(self).reply_to.task);
  if (!t || ended(*t)) co_return;
  if ((*t)["state"] == "queued") {
    (*t)["state"] = "running";
    (*t)["started_at"] = millis(self.now());
  }
  (*t)["progress"] = std::move(body);
  store(self, *t, "task.progress");
}

/// Forgets tasks that ended longer ago than their retention, a page a turn.
task<> queue_behaviour::sweep(turn& self, std::string after) const {
  constexpr std::size_t page = 200;
  const auto rows = co_await self.rows("task/", after, page);
  const auto oldest = millis(self.now() - keep_);
  bool young = rows.size() < page;
  for (const auto& [key, value] : rows) {
    const auto t = json::parse(value);
    if (t["submitted_at"].get<std::int64_t>() > oldest) {
      young = true;
      break;
    }
    if (ended(t) && t.value("ended_at", std::int64_t{0}) < oldest) self.erase_row(key);
  }
  if (!young) system_turn::send_to(self, system_turn::id(self), "hive.task.sweep", json_payload({{"after", rows.back().first}}));
}

void add_system_behaviours(behaviour_registry& to, const behaviour_registry& agents, const config::settings& settings) {
  to.add("hive.tenant", std::make_unique<tenant_behaviour>(agents, settings));
  to.add("hive.system", std::make_unique<hive_behaviour>());
  to.add("hive.queue", std::make_unique<queue_behaviour>(settings.keep.tasks));
}

const char* system_behaviour_of(entity_id id) noexcept {
  switch (id.serial()) {
  case tenant_serial: return id.tenant() == system_tenant ? "hive.system" : "hive.tenant";
  case root_supervisor_serial: return "";
  case default_queue_serial: return "hive.queue";
  default: return nullptr;
  }
}

} // namespace hive::actors
