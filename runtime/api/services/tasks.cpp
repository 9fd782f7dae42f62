#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"
#include "runtime/api/services/cached_reads.hpp"
#include "runtime/api/services/task_waits.hpp"

#include "actors/directory.hpp"
#include "actors/scheduling/task_rows.hpp"

namespace hive::api {
namespace {

using nlohmann::json;
using persistence::store_reader;

using namespace actors::scheduling;

result<std::uint32_t> partitions_of(store_reader& store, tenant_context who) {
  auto row = store.find_tenant(who.tenant());
  if (!row) return std::move(row).error();
  return queue_division::from_spec(std::string_view(row->spec)).partitions;
}

/// By id, after `after`, at most `limit`, of all partitions of the queue.
result<std::vector<stored_task>> list_all(store_reader& store, tenant_context who, task_id after, std::size_t limit) {
  auto n = partitions_of(store, who);
  if (!n) return std::move(n).error();
  std::vector<stored_task> all;
  for (std::uint32_t p = 0; p < *n; ++p) {
    auto some = list_tasks(store, who, actors::queue_of(who.tenant(), p), after, limit);
    if (!some) return std::move(some).error();
    std::move(some->begin(), some->end(), std::back_inserter(all));
  }
  if (*n == 1) return all;
  std::sort(all.begin(), all.end(), [](const stored_task& a, const stored_task& b) { return a.record.spec.id < b.record.spec.id; });
  if (all.size() > limit) all.resize(limit);
  return all;
}

bool over(v1::TaskState s) noexcept { return ended(static_cast<task_state>(s)); }

void put_error(task_error&& e, v1::TaskError& into) {
  into.set_reason(std::move(e.reason));
  into.set_message(std::move(e.message));
  into.set_field(std::move(e.field));
}

v1::Task task_from(stored_task&& stored, bool whole) {
  auto& record = stored.record;
  auto& report = stored.report;
  v1::Task task;
  task.set_id(to_text(record.spec.id));
  task.set_agent(report.agent.empty() ? record.agent : report.agent);
  task.set_type(record.type);
  task.set_state(static_cast<v1::TaskState>(report.status.shown()));
  task.set_submitted_at(record.spec.submitted.time_since_epoch().count());
  task.set_started_at(report.status.started.time_since_epoch().count());
  task.set_ended_at(report.status.ended.time_since_epoch().count());
  task.set_attempts(report.status.attempt);
  task.set_principal(std::move(record.principal));
  task.set_priority(record.spec.priority);
  task.set_name(std::move(record.name));
  task.set_capability(record.spec.capability);
  task.set_complexity(record.spec.complexity);
  task.set_next_attempt(report.status.not_before.time_since_epoch().count());
  task.set_policy(static_cast<v1::GroupPolicy>(record.spec.group));
  task.set_cancelling(report.status.ending != task_state::queued && !ended(report.status.state));
  if (record.spec.deadline != wall_time::max()) task.set_deadline(record.spec.deadline.time_since_epoch().count());
  if (record.parent() != task_id{}) task.set_parent(to_text(record.parent()));
  if (record.spec.undo_of != task_id{}) task.set_undo_of(to_text(record.spec.undo_of));
  for (const auto& n : record.spec.needs) task.add_depends_on(to_text(n.on));
  if (!report.status.error.reason.empty()) put_error(std::move(report.status.error), *task.mutable_error());
  if (whole) for (auto& p : report.status.past) {
    auto& past = *task.add_past_attempts();
    past.set_number(p.number);
    past.set_agent(std::move(p.agent));
    past.set_ended_at(millis(p.ended));
    put_error(std::move(p.error), *past.mutable_error());
  }
  if (report.progress) {
    task.mutable_progress()->set_done(report.progress->done);
    task.mutable_progress()->set_total(report.progress->total);
    task.mutable_progress()->set_note(std::move(report.progress->note));
  }
  for (auto& [name, value] : record.labels) {
    auto& label = *task.add_labels();
    label.set_name(std::move(name));
    label.set_value(std::move(value));
  }
  if (!whole) return task;
  task.set_payload_type(static_cast<v1::ContentType>(record.body.type));
  task.set_payload(std::move(record.body.bytes));
  if (report.result) {
    task.set_result_type(static_cast<v1::ContentType>(report.result->type));
    task.set_result(std::move(report.result->bytes));
  }
  return task;
}

error no_such_task(const std::string& id) { return {errc::not_found, "task_not_found", "there is no task \"" + id + "\" in this tenant", "id", {}}; }

/// With its children, when it is a group: they were given their ids right after it.
result<v1::Task> task_with_children(persistence::read_cache* cache, store_reader& store, tenant_context who, const std::string& id) {
  const auto number = task_id_from(id);
  if (!number) return no_such_task(id);
  if (auto ended = ended_task(cache, who, id)) return std::move(*ended);
  auto row = read_task(store, who, actors::queue_of(who.tenant(), *number), *number);
  if (!row) return std::move(row).error();
  if (!*row) return no_such_task(id);
  const bool group = (*row)->record.spec.group != fan_in::none;
  auto task = task_from(std::move(**row), true);
  if (!group) {
    if (over(task.state())) keep_ended_task(cache, who, task);
    return task;
  }
  constexpr std::size_t page = 500;
  constexpr std::size_t looked_max = 20'000;   // undo steps come later; a group has at most 10,000 tasks
  auto after = *number;
  for (std::size_t looked = 0; looked < looked_max; looked += page) {
    auto some = list_tasks(store, who, actors::queue_of(who.tenant(), *number), after, page);
    if (!some) return std::move(some).error();
    const bool last = some->size() < page;
    for (auto& t : *some) {
      after = t.record.spec.id;
      if (t.record.spec.parent == *number) *task.add_children() = task_from(std::move(t), false);
    }
    if (last) break;
  }
  return task;
}

/// Both messages that a task can be submitted with have these members.
template <class Message> task_request request_of(const Message& m) {
  task_request t;
  auto& w = t.what;
  w.agent = m.agent();
  w.type = m.type();
  w.body = {m.payload(), static_cast<content_type>(m.payload_type())};
  if (w.body.bytes.empty() && w.body.type == content_type::json) w.body.bytes = "null";
  w.spec.capability = m.capability();
  w.spec.complexity = static_cast<std::uint8_t>(std::min<std::uint32_t>(m.complexity(), 255));
  if (m.has_priority()) w.spec.priority = static_cast<std::uint8_t>(std::min<std::uint32_t>(m.priority(), 255));
  if (m.has_retry()) {
    auto& r = w.spec.retry;
    if (m.retry().has_attempts()) r.attempts = m.retry().attempts();
    if (m.retry().has_backoff_ms()) r.backoff = std::chrono::milliseconds{static_cast<std::int64_t>(m.retry().backoff_ms())};
    r.backoff_max = m.retry().has_backoff_max_ms() ? std::chrono::milliseconds{static_cast<std::int64_t>(m.retry().backoff_max_ms())}
                                                   : std::max(r.backoff_max, r.backoff);
  }
  t.deadline_millis = m.deadline_ms();
  t.parent = m.parent();
  t.needs.assign(m.depends_on().begin(), m.depends_on().end());
  for (const auto& label : m.labels()) w.labels.emplace_back(label.name(), label.value());
  return t;
}

task_request request_of_spec(const v1::TaskSpec& m) {
  auto t = request_of(m);
  t.what.name = m.name();
  if (m.has_undo()) {
    t.what.undo_agent = m.undo().agent();
    t.what.undo_type = m.undo().type();
    t.what.undo_body = {m.undo().payload(), static_cast<content_type>(m.undo().payload_type())};
    if (t.what.undo_body.bytes.empty() && t.what.undo_body.type == content_type::json) t.what.undo_body.bytes = "null";
  }
  return t;
}

v1::Queue queue_from(const json& control) {
  v1::Queue q;
  q.set_name("default");
  q.set_paused(control.value("paused", false));
  if (const auto agents = control.find("agents"); agents != control.end())
    for (const auto& [id, a] : agents->items()) {
      auto& out = *q.add_agents();
      out.set_agent(a.value("name", ""));
      out.set_paused(a.value("paused", false));
      out.set_concurrency(a.value("concurrency", 0U));
    }
  return q;
}

void ask_queue(actors::messaging& hive, const call& c, const submit_request& what, std::string key, reply<json> done) {
  const actors::destination queue{entity_kind::queue, "default"};
  ask_entity(hive, c, queue, "task.submit", payload{encode(what), content_type::binary}, std::move(key), {}, std::move(done), route_of(what));
}

error no_such_queue(const std::string& name) { return {errc::not_found, "not_found", "no queue named \"" + name + "\": a tenant has \"default\"", "queue", {}}; }

/// What is set for the agents, each in the partition that it belongs to.
result<v1::Queue> whole_queue(store_reader& store, tenant_context who) {
  auto n = partitions_of(store, who);
  if (!n) return std::move(n).error();
  v1::Queue q;
  for (std::uint32_t p = 0; p < *n; ++p) {
    auto row = store.item(who, actors::queue_of(who.tenant(), p), "control");
    if (!row) return std::move(row).error();
    if (!*row) continue;
    auto part = queue_from(json::parse(**row));
    if (p == 0) q.set_paused(part.paused());
    for (auto& a : *part.mutable_agents())
      if (partition_for(a.agent(), *n) == p) *q.add_agents() = std::move(a);
  }
  q.set_name("default");
  q.set_partitions(*n);
  return q;
}

/// One partition after the other, from `p` to before `end`.
void control_from(const collaborators& with, const call& c, std::uint32_t p, std::uint32_t end, json body, reply<v1::Queue> done) {
  const actors::destination queue{entity_kind::queue, actors::queue_name(p)};
  ask_entity(with.hive, c, queue, "queue.control", body.dump(), {}, {}, [with, c, p, end, body, done = std::move(done)](result<json> answer) {
    if (!answer) return done(std::move(answer).error());
    if (p + 1 < end) return control_from(with, c, p + 1, end, body, done);
    with.hive.read(c.context.tenant(), [c, done](store_reader& store) { done(whole_queue(store, c.context)); });
  });
}

void control(const collaborators& with, const call& c, const std::string& name, json body, reply<v1::Queue> done) {
  if (name != "default") return done(no_such_queue(name));
  with.hive.read(c.context.tenant(), [with, c, body = std::move(body), done = std::move(done)](store_reader& store) {
    const auto n = partitions_of(store, c.context);
    if (!n) return done(n.error());
    const auto agent = body.value("agent", "");
    const auto first = agent.empty() ? 0 : partition_for(agent, *n);
    control_from(with, c, first, agent.empty() ? *n : first + 1, body, done);
  });
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
        if (e.type != "task.succeeded" && e.type != "task.failed" && e.type != "task.cancelled" && e.type != "task.dead") return;
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
  submit_request all;
  all.tasks.push_back(request_of(request));
  if (auto ok = check(all); !ok) return done(std::move(ok).error());
  ask_queue(with_.hive, c, all, request.idempotency_key(),
            [&hive = with_.hive, cache = with_.cache, c, done = std::move(done)](result<json> answer) {
               if (!answer) return done(std::move(answer).error());
               // The whole row, as it is now: it may have started already.
               hive.read(c.context.tenant(), [cache, c, id = answer->value("id", ""), done](store_reader& store) { done(task_with_children(cache, store, c.context, id)); });
             });
}

void task_service::submit_many(const call& c, v1::SubmitTasksRequest& request, reply<v1::SubmitTasksResponse> done) {
  if (request.queue() != "default") return done(no_such_queue(request.queue()));
  submit_request all;
  for (const auto& t : request.tasks()) all.tasks.push_back(request_of_spec(t));
  all.group = static_cast<fan_in>(request.policy());
  all.quorum = request.quorum();
  if (auto ok = check(all); !ok) return done(std::move(ok).error());
  const bool group = all.group != fan_in::none;
  ask_queue(with_.hive, c, all, request.idempotency_key(),
             [group, done = std::move(done)](result<json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::SubmitTasksResponse out;
               if (group) out.set_group(answer->value("id", ""));
               if (const auto ids = answer->find("ids"); ids != answer->end())
                 for (const auto& id : *ids) out.add_ids(id.get<std::string>());
               else out.add_ids(answer->value("id", ""));
               done(std::move(out));
             });
}

void task_service::get(const call& c, v1::GetTaskRequest& request, reply<v1::Task> done) {
  wait_for(c, request.id(), std::chrono::milliseconds(request.wait_ms()), std::move(done));
}

void task_service::wait_for(const call& c, const std::string& id, std::chrono::milliseconds at_most, reply<v1::Task> done) {
  const auto look = [&hive = with_.hive, cache = with_.cache, c, id](reply<v1::Task> then) {
    hive.read(c.context.tenant(), [cache, c, id, then = std::move(then)](store_reader& store) { then(task_with_children(cache, store, c.context, id)); });
  };
  if (at_most.count() == 0) return look(std::move(done));

  // The wait begins before the look, so that an end in between is heard; whichever comes first answers.
  auto answered = std::make_shared<std::atomic<bool>>(false);
  waits_->wait(c.context, id, at_most, [look, answered, done] {
    if (!answered->exchange(true)) look(done);
  });
  look([answered, done](result<v1::Task> task) {
    if (task && !over(task->state())) return; // the waiter will answer
    if (!answered->exchange(true)) done(std::move(task));
  });
}

void task_service::list(const call& c, v1::ListTasksRequest& request, reply<v1::ListTasksResponse> done) {
  const auto after = request.page_token().empty() ? std::optional(task_id{}) : task_id_from(request.page_token());
  if (!after) return done(invalid("page_token", "page_token is not one that a page before gave"));
  with_.hive.read(c.context.tenant(), [c, after = *after, size = page_of(request.page_size()), state = request.state(), parent = request.parent(),
                   done = std::move(done)](store_reader& store) {
    auto rows = list_all(store, c.context, after, size + 1);
    if (!rows) return done(std::move(rows).error());
    v1::ListTasksResponse out;
    if (rows->size() > size) {
      rows->resize(size);
      out.set_next_page_token(to_text(rows->back().record.spec.id));
    }
    for (auto& row : *rows) {
      if (row.record.lent_by != task_id{}) continue; // an attempt, not a task
      if (state != v1::TASK_STATE_UNSPECIFIED && static_cast<v1::TaskState>(row.report.status.shown()) != state) continue;
      if (!parent.empty() && (row.record.parent() == task_id{} || to_text(row.record.parent()) != parent)) continue;
      *out.add_tasks() = task_from(std::move(row), false);
    }
    done(std::move(out));
  });
}

void task_service::cancel(const call& c, v1::CancelTaskRequest& request, reply<v1::Task> done) {
  const auto number = task_id_from(request.id());
  if (!number) return done(no_such_task(request.id()));
  const actors::destination queue{entity_kind::queue, actors::queue_name(partition_of(*number))};
  ask_entity(with_.hive, c, queue, "task.cancel", json{{"id", request.id()}}.dump(), {}, {},
             [this, c, id = request.id(), done = std::move(done)](result<json> answer) {
               if (!answer) return done(std::move(answer).error());
               wait_for(c, id, std::chrono::seconds{30}, done);
             });
}

// -- the queue

void task_service::queue(const call& c, v1::GetQueueRequest& request, reply<v1::Queue> done) {
  if (request.queue() != "default") return done(no_such_queue(request.queue()));
  with_.hive.read(c.context.tenant(), [c, done = std::move(done)](store_reader& store) {
    done(whole_queue(store, c.context));
  });
}

void task_service::pause(const call& c, v1::ControlQueueRequest& request, reply<v1::Queue> done) {
  control(with_, c, request.queue(), {{"agent", request.agent()}, {"paused", true}}, std::move(done));
}

void task_service::resume(const call& c, v1::ControlQueueRequest& request, reply<v1::Queue> done) {
  control(with_, c, request.queue(), {{"agent", request.agent()}, {"paused", false}}, std::move(done));
}

void task_service::limit(const call& c, v1::LimitQueueRequest& request, reply<v1::Queue> done) {
  if (request.agent().empty()) return done(invalid("agent", "agent is required"));
  control(with_, c, request.queue(), {{"agent", request.agent()}, {"concurrency", request.concurrency()}}, std::move(done));
}

} // namespace hive::api
