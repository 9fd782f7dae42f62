#include "runtime/api/json_mapping.hpp"
#include "runtime/api/json_reader.hpp"
#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"
#include "runtime/api/services/task_waits.hpp"

#include "actors/directory.hpp"

namespace hive::api {
namespace {

using nlohmann::json;
using persistence::store_reader;

const actors::destination queue{entity_kind::queue, "default"};

bool over(v1::TaskState s) noexcept {
  return s == v1::TASK_STATE_SUCCEEDED || s == v1::TASK_STATE_FAILED || s == v1::TASK_STATE_CANCELLED;
}

v1::TaskState state_from(const std::string& word) {
  for (int i = v1::TaskState_MIN; i <= v1::TaskState_MAX; ++i)
    if (const auto* value = v1::TaskState_descriptor()->FindValueByNumber(i); value && enum_word(*value) == word)
      return static_cast<v1::TaskState>(i);
  return v1::TASK_STATE_UNSPECIFIED;
}

v1::ContentType content_from(const std::string& word) {
  return word == "text" ? v1::CONTENT_TYPE_TEXT : word == "binary" ? v1::CONTENT_TYPE_BINARY : v1::CONTENT_TYPE_JSON;
}

/// The value as its type says: JSON text, or the bytes of a string.
std::string value_from(const json& value, v1::ContentType type) {
  if (type == v1::CONTENT_TYPE_JSON || !value.is_string()) return value.dump(-1, ' ', false, json::error_handler_t::replace);
  std::string bytes;
  if (type == v1::CONTENT_TYPE_BINARY && from_base64(value.get_ref<const std::string&>(), bytes)) return bytes;
  return value.get<std::string>();
}

/// The queue's row, as actors/directory.hpp describes it.
v1::Task task_from(const json& row, bool whole) {
  v1::Task task;
  task.set_id(row.value("id", ""));
  task.set_agent(row.value("agent", ""));
  task.set_type(row.value("type", ""));
  task.set_state(state_from(row.value("state", "")));
  task.set_submitted_at(row.value("submitted_at", std::int64_t{0}));
  task.set_started_at(row.value("started_at", std::int64_t{0}));
  task.set_ended_at(row.value("ended_at", std::int64_t{0}));
  task.set_attempts(row.value("attempts", std::uint32_t{0}));
  task.set_principal(row.value("principal", ""));
  if (const auto at = row.find("error"); at != row.end() && at->is_object()) {
    task.mutable_error()->set_reason(at->value("reason", ""));
    task.mutable_error()->set_message(at->value("message", ""));
  }
  if (const auto at = row.find("progress"); at != row.end() && at->is_object()) {
    task.mutable_progress()->set_done(at->value("done", std::uint64_t{0}));
    task.mutable_progress()->set_total(at->value("total", std::uint64_t{0}));
    task.mutable_progress()->set_note(at->value("note", ""));
  }
  if (const auto at = row.find("labels"); at != row.end() && at->is_object())
    for (const auto& [name, value] : at->items())
      if (value.is_string()) {
        auto& label = *task.add_labels();
        label.set_name(name);
        label.set_value(value.get<std::string>());
      }
  if (!whole) return task;
  if (const auto at = row.find("payload"); at != row.end()) {
    task.set_payload_type(content_from(row.value("payload_type", "")));
    task.set_payload(value_from(*at, task.payload_type()));
  }
  if (const auto at = row.find("result"); at != row.end()) {
    task.set_result_type(content_from(row.value("result_type", "")));
    task.set_result(value_from(*at, task.result_type()));
  }
  return task;
}

result<v1::Task> parse_task(const std::string& text, bool whole) {
  const auto row = json::parse(text, nullptr, false);
  try {
    if (row.is_object()) return task_from(row, whole);
  } catch (const json::exception&) {} // a member of another type
  return error{errc::internal, "bad_row", "the stored task cannot be read", {}, {}};
}

result<v1::Task> read_task(store_reader& store, tenant_context who, const std::string& id) {
  auto row = store.item(who, {who.tenant(), actors::default_queue_serial}, "task/" + id);
  if (!row) return std::move(row).error();
  if (!*row) return error{errc::not_found, "task_not_found", "there is no task \"" + id + "\" in this tenant", "id", {}};
  return parse_task(**row, true);
}

/// The members of `task.submit`, see actors/directory.hpp.
std::string submit_body(const v1::SubmitTaskRequest& r) {
  std::string out = "{\"agent\":";
  append_json_string(out, r.agent());
  out.append(",\"type\":");
  append_json_string(out, r.type());
  out.append(",\"payload\":");
  if (r.payload_type() == v1::CONTENT_TYPE_JSON) out.append(r.payload().empty() ? "null" : r.payload());
  else append_json_string(out, r.payload_type() == v1::CONTENT_TYPE_BINARY ? to_base64(r.payload()) : r.payload());
  if (r.payload_type() == v1::CONTENT_TYPE_TEXT) out.append(",\"payload_type\":\"text\"");
  if (r.payload_type() == v1::CONTENT_TYPE_BINARY) out.append(",\"payload_type\":\"binary\"");
  if (r.deadline_ms() != 0) out.append(",\"deadline_ms\":").append(std::to_string(r.deadline_ms()));
  if (!r.labels().empty()) {
    out.append(",\"labels\":{");
    bool first = true;
    for (const auto& label : r.labels()) {
      if (!std::exchange(first, false)) out.push_back(',');
      append_json_string(out, label.name());
      out.push_back(':');
      append_json_string(out, label.value());
    }
    out.push_back('}');
  }
  out.push_back('}');
  return out;
}

} // namespace

// -- waiting

void task_waits::wait(tenant_context who, std::string id, std::chrono::milliseconds wait, std::function<void()> wake) {
  const auto tenant = who.tenant();
  std::uint64_t number = 0;
  {
    std::lock_guard lock(guard_);
    auto& t = tenants_[tenant];
    number = next_++;
    t.by_task.emplace(id, waiter{number, std::move(wake)});
    if (!t.subscription)
      t.subscription = hive_.subscribe(who, [weak = weak_from_this(), tenant](const actors::published_event& e) {
        if (e.type != "task.succeeded" && e.type != "task.failed" && e.type != "task.cancelled") return;
        const auto self = weak.lock();
        if (!self) return;
        self->home_->post([weak, tenant, data = e.data] { // reading JSON is not for the commit thread
          const auto again = weak.lock();
          const auto parsed = again ? json::parse(data, nullptr, false) : json();
          if (parsed.is_object() && parsed.contains("id") && parsed["id"].is_string()) again->ended(tenant, parsed["id"].get<std::string>());
        });
      });
  }
  home_->post([self = shared_from_this(), tenant, id = std::move(id), wait, number] {
    self->home_->after(wait, [self, tenant, id, number] { self->timed_out(tenant, id, number); });
  });
}

void task_waits::ended(tenant_id tenant, const std::string& id) {
  std::vector<std::function<void()>> woken;
  std::shared_ptr<void> unused; // goes outside the lock
  {
    std::lock_guard lock(guard_);
    const auto t = tenants_.find(tenant);
    if (t == tenants_.end()) return;
    const auto [from, to] = t->second.by_task.equal_range(id);
    for (auto i = from; i != to; ++i) woken.push_back(std::move(i->second.wake));
    t->second.by_task.erase(from, to);
    if (t->second.by_task.empty()) {
      unused = std::move(t->second.subscription);
      tenants_.erase(t);
    }
  }
  for (auto& wake : woken) wake();
}

void task_waits::timed_out(tenant_id tenant, const std::string& id, std::uint64_t number) {
  std::function<void()> wake;
  std::shared_ptr<void> unused;
  {
    std::lock_guard lock(guard_);
    const auto t = tenants_.find(tenant);
    if (t == tenants_.end()) return;
    const auto [from, to] = t->second.by_task.equal_range(id);
    const auto mine = std::find_if(from, to, [&](const auto& w) { return w.second.number == number; });
    if (mine == to) return;
    wake = std::move(mine->second.wake);
    t->second.by_task.erase(mine);
    if (t->second.by_task.empty()) {
      unused = std::move(t->second.subscription);
      tenants_.erase(t);
    }
  }
  wake();
}

// -- the service

task_service::task_service(collaborators with) : with_(std::move(with)), waits_(std::make_shared<task_waits>(with_.hive, with_.home)) {}
task_service::~task_service() = default;

void task_service::submit(const call& c, v1::SubmitTaskRequest& request, reply<v1::Task> done) {
  ask_entity(with_.hive, c, queue, "task.submit", submit_body(request), request.idempotency_key(), {},
             [&hive = with_.hive, c, done = std::move(done)](result<json> answer) {
               if (!answer) return done(std::move(answer).error());
               // The whole row, as it is now: it may have started already.
               hive.read(c.context.tenant(), [c, id = answer->value("id", ""), done](store_reader& store) { done(read_task(store, c.context, id)); });
             });
}

void task_service::get(const call& c, v1::GetTaskRequest& request, reply<v1::Task> done) {
  const auto look = [&hive = with_.hive, c, id = request.id()](reply<v1::Task> then) {
    hive.read(c.context.tenant(), [c, id, then = std::move(then)](store_reader& store) { then(read_task(store, c.context, id)); });
  };
  if (request.wait_ms() == 0) return look(std::move(done));

  // The wait begins before the look, so that an end in between is heard; whichever comes first answers.
  auto answered = std::make_shared<std::atomic<bool>>(false);
  waits_->wait(c.context, request.id(), std::chrono::milliseconds(request.wait_ms()), [look, answered, done] {
    if (!answered->exchange(true)) look(done);
  });
  look([answered, done](result<v1::Task> task) {
    if (task && !over(task->state())) return; // the waiter will answer
    if (!answered->exchange(true)) done(std::move(task));
  });
}

void task_service::list(const call& c, v1::ListTasksRequest& request, reply<v1::ListTasksResponse> done) {
  with_.hive.read(c.context.tenant(), [c, after = request.page_token(), size = page_of(request.page_size()), state = request.state(), done = std::move(done)](store_reader& store) {
    auto rows = store.items(c.context, {c.context.tenant(), actors::default_queue_serial}, "task/",
                            after.empty() ? std::string{} : "task/" + after, size + 1);
    if (!rows) return done(std::move(rows).error());
    v1::ListTasksResponse out;
    if (rows->size() > size) {
      rows->resize(size);
      out.set_next_page_token(rows->back().first.substr(5));
    }
    for (const auto& [key, text] : *rows)
      if (auto task = parse_task(text, false); task && (state == v1::TASK_STATE_UNSPECIFIED || task->state() == state))
        *out.add_tasks() = std::move(*task);
    done(std::move(out));
  });
}

void task_service::cancel(const call& c, v1::CancelTaskRequest& request, reply<v1::Task> done) {
  ask_entity(with_.hive, c, queue, "task.cancel", json{{"id", request.id()}}.dump(), {}, {},
             [&hive = with_.hive, c, id = request.id(), done = std::move(done)](result<json> answer) {
               if (!answer) return done(std::move(answer).error());
               hive.read(c.context.tenant(), [c, id, done](store_reader& store) { done(read_task(store, c.context, id)); });
             });
}

} // namespace hive::api
