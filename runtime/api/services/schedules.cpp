#include "runtime/api/json_mapping.hpp"
#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"

#include "actors/directory.hpp"
#include "config/base/base64.hpp"

namespace hive::api {
namespace {

using nlohmann::json;
using persistence::store_reader;

const actors::destination default_queue{entity_kind::queue, "default"};

json payload_value(const std::string& bytes, v1::ContentType type) {
  if (type == v1::CONTENT_TYPE_TEXT) return bytes;
  if (type == v1::CONTENT_TYPE_BINARY) return to_base64(bytes);
  return bytes.empty() ? json() : json::parse(bytes, nullptr, false);
}

void put_payload(json& into, const std::string& bytes, v1::ContentType type) {
  into["payload"] = payload_value(bytes, type);
  if (type == v1::CONTENT_TYPE_TEXT) into["payload_type"] = "text";
  if (type == v1::CONTENT_TYPE_BINARY) into["payload_type"] = "binary";
}

/// As `task.submit` takes it and the schedule's row keeps it.
json task_of(const v1::TaskSpec& t) {
  json j{{"type", t.type()}};
  if (!t.agent().empty()) j["agent"] = t.agent();
  if (!t.capability().empty()) j["capability"] = t.capability();
  if (t.complexity() != 0) j["complexity"] = t.complexity();
  put_payload(j, t.payload(), t.payload_type());
  if (t.has_priority()) j["priority"] = t.priority();
  if (t.deadline_ms() != 0) j["deadline_ms"] = t.deadline_ms();
  if (t.has_retry()) {
    auto& retry = j["retry"] = json::object();
    if (t.retry().has_attempts()) retry["attempts"] = t.retry().attempts();
    if (t.retry().has_backoff_ms()) retry["backoff_ms"] = t.retry().backoff_ms();
    if (t.retry().has_backoff_max_ms()) retry["backoff_max_ms"] = t.retry().backoff_max_ms();
  }
  for (const auto& label : t.labels()) j["labels"][label.name()] = label.value();
  // A schedule's task has none of these: the queue says so.
  if (!t.name().empty()) j["name"] = t.name();
  if (!t.parent().empty()) j["parent"] = t.parent();
  for (const auto& other : t.depends_on()) j["depends_on"].push_back(other);
  if (t.has_undo()) j["undo"] = {{"type", t.undo().type()}};
  return j;
}

json spec_of(const v1::ScheduleSpec& s) {
  json j = json::object();
  if (!s.cron().empty()) j["cron"] = s.cron();
  if (s.every_ms() != 0) j["every_ms"] = s.every_ms();
  if (!s.zone().empty()) j["zone"] = s.zone();
  if (s.catch_up() != v1::CATCH_UP_UNSPECIFIED) j["catch_up"] = s.catch_up() == v1::CATCH_UP_ALL ? "all" : s.catch_up() == v1::CATCH_UP_SKIP ? "skip" : "once";
  if (s.has_catch_up_max()) j["catch_up_max"] = s.catch_up_max();
  if (s.jitter_ms() != 0) j["jitter_ms"] = s.jitter_ms();
  if (s.paused()) j["paused"] = true;
  if (s.has_task()) j["task"] = task_of(s.task());
  return j;
}

v1::Schedule schedule_from(const std::string& name, const json& row) {
  v1::Schedule out;
  out.set_name(name);
  const auto& spec = row.at("spec");
  auto& s = *out.mutable_spec();
  s.set_cron(spec.value("cron", ""));
  s.set_every_ms(spec.value("every_ms", std::uint64_t{0}));
  s.set_zone(spec.value("zone", "UTC"));
  const auto policy = spec.value("catch_up", "once");
  s.set_catch_up(policy == "all" ? v1::CATCH_UP_ALL : policy == "skip" ? v1::CATCH_UP_SKIP : v1::CATCH_UP_ONCE);
  if (spec.contains("catch_up_max")) s.set_catch_up_max(spec["catch_up_max"].get<std::uint32_t>());
  s.set_jitter_ms(spec.value("jitter_ms", std::uint64_t{0}));
  s.set_paused(spec.value("paused", false));
  const auto& task = spec.at("task");
  auto& t = *s.mutable_task();
  t.set_agent(task.value("agent", ""));
  t.set_capability(task.value("capability", ""));
  t.set_complexity(task.value("complexity", 0U));
  t.set_type(task.value("type", ""));
  if (const auto p = task.find("payload"); p != task.end()) {
    const auto type = task.value("payload_type", "json");
    std::string bytes = p->is_string() ? p->get<std::string>() : std::string{};
    if (type == "json") t.set_payload(p->dump(-1, ' ', false, json::error_handler_t::replace));
    else if (type == "text") {
      t.set_payload_type(v1::CONTENT_TYPE_TEXT);
      t.set_payload(bytes);
    } else if (std::string raw; from_base64(bytes, raw)) {
      t.set_payload_type(v1::CONTENT_TYPE_BINARY);
      t.set_payload(raw);
    }
  }
  if (task.contains("priority")) t.set_priority(task["priority"].get<std::uint32_t>());
  t.set_deadline_ms(task.value("deadline_ms", std::uint64_t{0}));
  if (const auto retry = task.find("retry"); retry != task.end()) {
    auto& r = *t.mutable_retry();
    if (retry->contains("attempts")) r.set_attempts(retry->at("attempts").get<std::uint32_t>());
    if (retry->contains("backoff_ms")) r.set_backoff_ms(retry->at("backoff_ms").get<std::uint64_t>());
    if (retry->contains("backoff_max_ms")) r.set_backoff_max_ms(retry->at("backoff_max_ms").get<std::uint64_t>());
  }
  if (const auto labels = task.find("labels"); labels != task.end())
    for (const auto& [label, value] : labels->items()) {
      auto& l = *t.add_labels();
      l.set_name(label);
      l.set_value(value.get<std::string>());
    }
  const auto next = row.value("fire_at", std::int64_t{0});
  out.set_next(wall_time{std::chrono::milliseconds{next}} == wall_time::max() ? 0 : next);
  out.set_fired(row.value("fired", std::uint64_t{0}));
  out.set_last_fired(row.value("last_fired", std::int64_t{0}));
  out.set_last_task(row.value("last_task", ""));
  out.set_principal(row.value("principal", ""));
  out.set_failed(row.value("failed", std::uint64_t{0}));
  out.set_last_failed(row.value("last_failed", std::int64_t{0}));
  if (const auto why = row.find("last_error"); why != row.end()) {
    auto& e = *out.mutable_last_error();
    e.set_reason(why->value("reason", ""));
    e.set_message(why->value("message", ""));
    e.set_field(why->value("field", ""));
  }
  return out;
}

} // namespace

void schedule_service::put(const call& c, v1::PutScheduleRequest& request, reply<v1::Schedule> done) {
  const json body{{"name", request.schedule()}, {"spec", spec_of(request.spec())}};
  ask_entity(with_.hive, c, default_queue, "schedule.put", body.dump(), {}, {}, [name = request.schedule(), done = std::move(done)](result<json> answer) {
    if (!answer) return done(std::move(answer).error());
    done(schedule_from(name, *answer));
  });
}

void schedule_service::get(const call& c, v1::GetScheduleRequest& request, reply<v1::Schedule> done) {
  with_.hive.read(c.context.tenant(), [c, name = request.schedule(), done = std::move(done)](store_reader& store) {
    auto row = store.item(c.context, actors::queue_of(c.context.tenant(), 0U), "schedule/" + name);
    if (!row) return done(std::move(row).error());
    if (!*row) return done(error{errc::not_found, "not_found", "no schedule named \"" + name + "\"", "schedule", {}});
    done(schedule_from(name, json::parse(**row)));
  });
}

void schedule_service::list(const call& c, v1::ListSchedulesRequest& request, reply<v1::ListSchedulesResponse> done) {
  if (auto ok = check_page_token(request.page_token()); !ok) return done(ok.error());
  with_.hive.read(c.context.tenant(), [c, after = request.page_token(), size = page_of(request.page_size()), done = std::move(done)](store_reader& store) {
    auto rows = store.items(c.context, actors::queue_of(c.context.tenant(), 0U), "schedule/",
                            after.empty() ? std::string{} : "schedule/" + after, size + 1);
    if (!rows) return done(std::move(rows).error());
    v1::ListSchedulesResponse out;
    if (rows->size() > size) {
      rows->resize(size);
      out.set_next_page_token(rows->back().first.substr(9));
    }
    for (const auto& [key, text] : *rows) *out.add_schedules() = schedule_from(key.substr(9), json::parse(text));
    done(std::move(out));
  });
}

void schedule_service::remove(const call& c, v1::DeleteScheduleRequest& request, reply<v1::Deleted> done) {
  ask_entity(with_.hive, c, default_queue, "schedule.delete", json{{"name", request.schedule()}}.dump(), {}, {}, [done = std::move(done)](result<json> answer) {
    if (!answer) return done(std::move(answer).error());
    v1::Deleted out;
    out.set_deleted(true);
    done(std::move(out));
  });
}

} // namespace hive::api
