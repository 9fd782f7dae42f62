#include "actors/scheduling/task_rows.hpp"

#include "actors/specs.hpp"
#include "config/base/base64.hpp"

namespace hive::actors::scheduling {
namespace {

using json = nlohmann::json;

constexpr std::uint64_t format = 1;
constexpr std::size_t tasks_max = 10'000;      ///< In one request.

std::uint64_t stamp(wall_time t) noexcept { return static_cast<std::uint64_t>(millis(t)); }
wall_time time_from(std::uint64_t ms) noexcept { return wall_time{std::chrono::milliseconds{static_cast<std::int64_t>(ms)}}; }

void write(byte_writer& out, const payload& p) { out.varint(static_cast<std::uint64_t>(p.type)).text(p.bytes); }
payload read_payload(byte_reader& in) {
  payload p;
  p.type = static_cast<content_type>(in.varint());
  p.bytes = std::string(in.text());
  return p;
}

void write(byte_writer& out, const task_status& s) {
  // One byte says which of the rarer members are there.
  const bool timed = s.not_before != wall_time{};
  const bool failed = !s.error.reason.empty();
  const bool over = s.ended != wall_time{};
  out.varint(static_cast<std::uint64_t>(s.state)).varint((timed ? 1U : 0U) | (failed ? 2U : 0U) | (over ? 4U : 0U) | (s.lent != 0 ? 8U : 0U) | (s.past.empty() ? 0U : 16U));
  out.varint(static_cast<std::uint64_t>(s.ending)).varint(s.attempt).varint(s.agent.serial()).varint(stamp(s.started));
  if (timed) out.varint(stamp(s.not_before));
  if (failed) out.text(s.error.reason).text(s.error.message).text(s.error.field);
  if (over) out.varint(stamp(s.ended));
  if (s.lent != 0) out.varint(s.lent | (s.held_up ? 16U : 0U));
  if (s.past.empty()) return;
  out.varint(s.refused).varint(s.past.size());
  for (const auto& p : s.past) out.varint(p.number).text(p.agent).varint(stamp(p.ended)).text(p.error.reason).text(p.error.message).text(p.error.field);
}
task_status read_status(byte_reader& in, tenant_id tenant) {
  task_status s;
  s.state = static_cast<task_state>(in.varint());
  const auto has = in.varint();
  s.ending = static_cast<task_state>(in.varint());
  s.attempt = static_cast<std::uint32_t>(in.varint());
  if (const auto serial = in.varint(); serial != 0) s.agent = {tenant, serial};
  s.started = time_from(in.varint());
  if ((has & 1U) != 0) s.not_before = time_from(in.varint());
  if ((has & 2U) != 0) {
    s.error.reason = std::string(in.text());
    s.error.message = std::string(in.text());
    s.error.field = std::string(in.text());
  }
  if ((has & 4U) != 0) s.ended = time_from(in.varint());
  if ((has & 8U) != 0) {
    const auto lent = in.varint();
    s.lent = lent & 15U;
    s.held_up = (lent & 16U) != 0;
  }
  if ((has & 16U) == 0) return s;
  s.refused = static_cast<std::uint32_t>(in.varint());
  for (auto n = in.varint(); n != 0 && in.ok(); --n) {
    past_attempt p;
    p.number = static_cast<std::uint32_t>(in.varint());
    p.agent = std::string(in.text());
    p.ended = time_from(in.varint());
    p.error.reason = std::string(in.text());
    p.error.message = std::string(in.text());
    p.error.field = std::string(in.text());
    s.past.push_back(std::move(p));
  }
  return s;
}

/// Optional members follow as (tag, value); an unknown tag ends the reading.
enum class tag : std::uint8_t { end, parent, undo_of, capability, priority, deadline, retry, needs, undo, group, name, label, begun, parent_text, need_text, deadline_after, waiter, chain, lent_by, shown_parent };

void write_record(byte_writer& out, const task_record& r) {
  const auto& s = r.spec;
  const auto put = [&](tag t) -> byte_writer& { return out.varint(static_cast<std::uint64_t>(t)); };
  out.varint(s.id.value()).varint(s.agent.bits()).varint(stamp(s.submitted)).text(r.agent).text(r.type).text(r.principal);
  write(out, r.body);
  if (s.parent != task_id{}) put(tag::parent).varint(s.parent.value());
  if (s.undo_of != task_id{}) put(tag::undo_of).varint(s.undo_of.value());
  if (!s.capability.empty()) put(tag::capability).text(s.capability).varint(s.complexity);
  if (s.priority != 3) put(tag::priority).varint(s.priority);
  if (s.deadline != wall_time::max()) put(tag::deadline).varint(stamp(s.deadline));
  if (s.retry.attempts != 1)
    put(tag::retry).varint(s.retry.attempts).varint(static_cast<std::uint64_t>(s.retry.backoff.count())).varint(static_cast<std::uint64_t>(s.retry.backoff_max.count()));
  for (const auto& n : s.needs) put(tag::needs).varint(n.on.value()).varint(n.any_end ? 1 : 0);
  if (!r.undo_type.empty()) {
    put(tag::undo).text(r.undo_agent).varint(s.undo_agent.bits()).text(r.undo_type);
    write(out, r.undo_body);
  }
  if (s.group != fan_in::none) put(tag::group).varint(static_cast<std::uint64_t>(s.group)).varint(s.quorum);
  if (!r.name.empty()) put(tag::name).text(r.name);
  for (const auto& [name, value] : r.labels) put(tag::label).text(name).text(value);
  if (!r.waiter.empty()) put(tag::waiter).text(r.waiter);
  for (const auto id : r.chain) put(tag::chain).varint(id.bits());
  if (r.lent_by != task_id{}) put(tag::lent_by).varint(r.lent_by.value());
  if (r.shown_parent != task_id{}) put(tag::shown_parent).varint(r.shown_parent.value());
  if (r.begun.state != task_state::queued) write(put(tag::begun).varint(r.begun.agent.tenant().value()), r.begun);
}

/// @param asked what only a request has.
bool read_record(byte_reader& in, task_record& r, task_request* asked) {
  auto& s = r.spec;
  s.id = task_id{in.varint()};
  s.agent = entity_id{in.varint()};
  s.submitted = time_from(in.varint());
  r.agent = std::string(in.text());
  r.type = std::string(in.text());
  r.principal = std::string(in.text());
  r.body = read_payload(in);
  for (;;) {
    if (!asked && in.at_end()) return in.ok();
    switch (static_cast<tag>(in.varint())) {
    case tag::end: return in.ok();
    case tag::parent: s.parent = task_id{in.varint()}; break;
    case tag::undo_of: s.undo_of = task_id{in.varint()}; break;
    case tag::capability:
      s.capability = std::string(in.text());
      s.complexity = static_cast<std::uint8_t>(in.varint());
      break;
    case tag::priority: s.priority = static_cast<std::uint8_t>(in.varint()); break;
    case tag::deadline: s.deadline = time_from(in.varint()); break;
    case tag::retry:
      s.retry.attempts = static_cast<std::uint32_t>(in.varint());
      s.retry.backoff = std::chrono::milliseconds{static_cast<std::int64_t>(in.varint())};
      s.retry.backoff_max = std::chrono::milliseconds{static_cast<std::int64_t>(in.varint())};
      break;
    case tag::needs: {
      const task_id on{in.varint()};
      s.needs.push_back({on, in.varint() != 0});
      break;
    }
    case tag::undo:
      r.undo_agent = std::string(in.text());
      s.undo_agent = entity_id{in.varint()};
      r.undo_type = std::string(in.text());
      r.undo_body = read_payload(in);
      break;
    case tag::group:
      s.group = static_cast<fan_in>(in.varint());
      s.quorum = static_cast<std::uint32_t>(in.varint());
      break;
    case tag::name: r.name = std::string(in.text()); break;
    case tag::label: {
      const auto name = in.text();
      r.labels.emplace_back(std::string(name), std::string(in.text()));
      break;
    }
    case tag::begun: {
      const tenant_id tenant{static_cast<std::uint32_t>(in.varint())};
      r.begun = read_status(in, tenant);
      break;
    }
    case tag::waiter: r.waiter = std::string(in.text()); break;
    case tag::chain: r.chain.emplace_back(in.varint()); break;
    case tag::lent_by: r.lent_by = task_id{in.varint()}; break;
    case tag::shown_parent: r.shown_parent = task_id{in.varint()}; break;
    case tag::parent_text: asked->parent = std::string(in.text()); break;
    case tag::need_text: asked->needs.emplace_back(in.text()); break;
    case tag::deadline_after: asked->deadline_millis = in.varint(); break;
    default: return false;
    }
    if (!in.ok()) return false;
  }
}

std::string key_of(task_id id, char part) {
  std::string key = "t";
  for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>((id.value() >> static_cast<unsigned>(shift)) & 0xFFU);
  if (part != 0) key += part;
  return key;
}

const char* type_word(content_type t) noexcept { return t == content_type::text ? "text" : t == content_type::binary ? "binary" : "json"; }

json value_of(const payload& p) {
  if (p.type == content_type::binary) return to_base64(p.bytes);
  if (p.type == content_type::text) return p.bytes;
  auto value = json::parse(p.bytes, nullptr, false);
  return value.is_discarded() ? json(p.bytes) : value;
}

} // namespace

std::string to_text(task_id id) {
  char text[24];
  std::snprintf(text, sizeof text, "t%016llx", static_cast<unsigned long long>(id.value()));
  return text;
}

std::optional<task_id> task_id_from(std::string_view text) {
  if (text.size() != 17 || text.front() != 't') return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text.substr(1)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    value = value << 4U | static_cast<std::uint64_t>(digit);
  }
  return task_id{value};
}

std::string spec_key(task_id id) { return key_of(id, 'p'); }
std::string state_key(task_id id) { return key_of(id, 's'); }

std::optional<std::pair<task_id, char>> parse_key(std::string_view key) {
  if (key.size() != 10 || key.front() != 't') return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : key.substr(1, 8)) value = value << 8U | static_cast<unsigned char>(c);
  return std::pair{task_id{value}, key.back()};
}

std::string encode(const task_record& r) {
  byte_writer out;
  out.varint(format);
  write_record(out, r);
  return out.take();
}
std::optional<task_record> decode_record(std::string_view bytes) {
  byte_reader in(bytes);
  task_record r;
  if (in.varint() != format || !read_record(in, r, nullptr)) return std::nullopt;
  return r;
}

std::string encode(const task_report& r) {
  byte_writer out;
  out.varint(format).varint((r.progress ? 1U : 0U) | (r.result ? 2U : 0U)).varint(r.status.agent.tenant().value());
  write(out, r.status);
  out.text(r.agent);
  if (r.progress) out.varint(r.progress->done).varint(r.progress->total).text(r.progress->note);
  if (r.result) write(out, *r.result);
  return out.take();
}
std::optional<task_report> decode_report(std::string_view bytes) {
  byte_reader in(bytes);
  task_report r;
  if (in.varint() != format) return std::nullopt;
  const auto has = in.varint();
  const tenant_id tenant{static_cast<std::uint32_t>(in.varint())};
  r.status = read_status(in, tenant);
  r.agent = std::string(in.text());
  if ((has & 1U) != 0) {
    r.progress.emplace();
    r.progress->done = in.varint();
    r.progress->total = in.varint();
    r.progress->note = std::string(in.text());
  }
  if ((has & 2U) != 0) r.result = read_payload(in);
  if (!in.ok()) return std::nullopt;
  return r;
}

namespace {
error bad_row() { return {errc::internal, "bad_row", "the stored task cannot be read"}; }

task_report report_of(const task_record& r) {
  task_report report;
  report.status = r.begun;
  if (r.spec.undo_of != task_id{} || !r.agent.empty()) report.agent = r.agent;
  return report;
}
} // namespace

std::string route_of(const submit_request& r) {
  for (const auto& t : r.tasks)
    if (const auto parent = task_id_from(t.parent)) return "task/" + to_text(*parent);
  for (const auto& t : r.tasks)
    for (const auto& n : t.needs)
      if (const auto id = task_id_from(n)) return "task/" + to_text(*id);
  const auto& first = r.tasks.front().what;
  if (r.tasks.size() == 1 && r.group == fan_in::none && !first.agent.empty()) return "agent/" + first.agent;
  return {};
}

result<std::optional<stored_task>> read_task(persistence::store_reader& store, tenant_context who, entity_id queue, task_id id) {
  auto row = store.item(who, queue, spec_key(id));
  if (!row) return row.error();
  if (!*row) return std::optional<stored_task>{};
  auto record = decode_record(**row);
  if (!record) return bad_row();
  auto state = store.item(who, queue, state_key(id));
  if (!state) return state.error();
  stored_task t{std::move(*record), {}};
  if (!*state) t.report = report_of(t.record);
  else if (auto report = decode_report(**state)) t.report = std::move(*report);
  else return bad_row();
  return std::optional(std::move(t));
}

result<std::vector<stored_task>> list_tasks(persistence::store_reader& store, tenant_context who, entity_id queue, task_id after, std::size_t limit) {
  auto rows = store.items(who, queue, "t", after == task_id{} ? std::string{} : key_of(after, '~'), 2 * limit + 1);
  if (!rows) return rows.error();
  std::vector<stored_task> all;
  for (auto& [key, value] : *rows) {
    const auto what = parse_key(key);
    if (!what) continue;
    if (what->second == 'p') {
      if (all.size() == limit) break;
      auto record = decode_record(value);
      if (!record) return bad_row();
      auto& t = all.emplace_back(stored_task{std::move(*record), {}});
      t.report = report_of(t.record);
    } else if (!all.empty() && all.back().record.spec.id == what->first) {
      auto report = decode_report(value);
      if (!report) return bad_row();
      all.back().report = std::move(*report);
    }
  }
  return all;
}

json to_json(const stored_task& t) {
  const auto& r = t.record;
  const auto& s = t.report.status;
  json j{{"id", to_text(r.spec.id)}, {"agent", t.report.agent.empty() ? r.agent : t.report.agent}, {"type", r.type}, {"state", to_string(s.shown())},
         {"attempts", s.attempt}, {"priority", r.spec.priority}, {"payload", value_of(r.body)}, {"payload_type", type_word(r.body.type)},
         {"submitted_at", millis(r.spec.submitted)}, {"principal", r.principal}};
  if (s.started != wall_time{}) j["started_at"] = millis(s.started);
  if (s.ended != wall_time{}) j["ended_at"] = millis(s.ended);
  if (!s.error.reason.empty()) j["error"] = {{"reason", s.error.reason}, {"message", s.error.message}, {"field", s.error.field}};
  if (t.report.progress) j["progress"] = {{"done", t.report.progress->done}, {"total", t.report.progress->total}, {"note", t.report.progress->note}};
  if (t.report.result) j["result"] = value_of(*t.report.result), j["result_type"] = type_word(t.report.result->type);
  if (r.parent() != task_id{}) j["parent"] = to_text(r.parent());
  if (r.spec.undo_of != task_id{}) j["undo_of"] = to_text(r.spec.undo_of);
  if (!r.name.empty()) j["name"] = r.name;
  return j;
}

// -- requests

std::string encode(const submit_request& r) {
  byte_writer out;
  out.varint(format).varint(static_cast<std::uint64_t>(r.group)).varint(r.quorum).varint(r.tasks.size());
  for (const auto& t : r.tasks) {
    write_record(out, t.what);
    if (!t.parent.empty()) out.varint(static_cast<std::uint64_t>(tag::parent_text)).text(t.parent);
    for (const auto& n : t.needs) out.varint(static_cast<std::uint64_t>(tag::need_text)).text(n);
    if (t.deadline_millis != 0) out.varint(static_cast<std::uint64_t>(tag::deadline_after)).varint(t.deadline_millis);
    out.varint(static_cast<std::uint64_t>(tag::end));
  }
  return out.take();
}

std::optional<submit_request> decode_submit(std::string_view bytes) {
  byte_reader in(bytes);
  submit_request r;
  if (in.varint() != format) return std::nullopt;
  r.group = static_cast<fan_in>(in.varint());
  r.quorum = static_cast<std::uint32_t>(in.varint());
  const auto n = in.varint();
  if (n > tasks_max) return std::nullopt;
  for (std::uint64_t i = 0; i < n && in.ok(); ++i)
    if (auto& t = r.tasks.emplace_back(); !read_record(in, t.what, &t)) return std::nullopt;
  if (!in.ok()) return std::nullopt;
  return r;
}

namespace {

/// Reads the members of one task and throws `error` for the first that is wrong.
struct task_reader {
  const json& from;
  std::string path;

  std::string at(const std::string& name) const { return path.empty() ? name : path + "." + name; }
  const json* member(const json& in, const char* name) const {
    const auto found = in.find(name);
    return found == in.end() || found->is_null() ? nullptr : &*found;
  }
  std::string text(const json& in, const std::string& prefix, const char* name) const {
    const auto* v = member(in, name);
    if (!v) return {};
    if (!v->is_string()) throw invalid(at(prefix + name), std::string(name) + " must be a string");
    return v->get<std::string>();
  }
  std::uint64_t number(const json& in, const std::string& prefix, const char* name, std::uint64_t otherwise) const {
    const auto* v = member(in, name);
    if (!v) return otherwise;
    if (!v->is_number_integer() || *v < 0) throw invalid(at(prefix + name), std::string(name) + " must be a whole number");
    return v->get<std::uint64_t>();
  }
  /// JSON as a value, text as a string, binary as base64.
  payload body(const json& in, const std::string& prefix) const {
    const auto type = text(in, prefix, "payload_type");
    const auto* v = member(in, "payload");
    if (type.empty() || type == "json") return {v ? v->dump(-1, ' ', false, json::error_handler_t::replace) : "null", content_type::json};
    if (type != "text" && type != "binary") throw invalid(at(prefix + "payload_type"), "payload_type must be json, text or binary");
    if (!v || !v->is_string()) throw invalid(at(prefix + "payload"), "payload must be a string, as its type is \"" + type + "\"");
    if (type == "text") return {v->get<std::string>(), content_type::text};
    payload p{{}, content_type::binary};
    if (!from_base64(v->get_ref<const std::string&>(), p.bytes)) throw invalid(at(prefix + "payload"), "payload must be base64, as its type is \"binary\"");
    return p;
  }

  task_request read() const {
    if (!from.is_object()) throw invalid(path, "a task is an object");
    task_request t;
    auto& w = t.what;
    w.agent = text(from, "", "agent");
    w.type = text(from, "", "type");
    w.name = text(from, "", "name");
    w.body = body(from, "");
    w.spec.capability = text(from, "", "capability");
    w.spec.complexity = static_cast<std::uint8_t>(std::min<std::uint64_t>(255, number(from, "", "complexity", 0)));
    w.spec.priority = static_cast<std::uint8_t>(std::min<std::uint64_t>(255, number(from, "", "priority", 3)));
    t.parent = text(from, "", "parent");
    t.deadline_millis = number(from, "", "deadline_ms", 0);
    if (const auto* retry = member(from, "retry")) {
      if (!retry->is_object()) throw invalid(at("retry"), "retry must be an object");
      auto& r = w.spec.retry;
      r.attempts = static_cast<std::uint32_t>(number(*retry, "retry.", "attempts", 1));
      r.backoff = std::chrono::milliseconds{static_cast<std::int64_t>(number(*retry, "retry.", "backoff_ms", 1000))};
      r.backoff_max = std::chrono::milliseconds{static_cast<std::int64_t>(number(*retry, "retry.", "backoff_max_ms", 60'000))};
    }
    if (const auto* needs = member(from, "depends_on")) {
      if (!needs->is_array()) throw invalid(at("depends_on"), "depends_on must be a list of names or ids");
      for (const auto& n : *needs) {
        if (!n.is_string()) throw invalid(at("depends_on"), "depends_on must be a list of names or ids");
        t.needs.push_back(n);
      }
    }
    if (const auto* undo = member(from, "undo")) {
      if (!undo->is_object()) throw invalid(at("undo"), "undo must be an object");
      w.undo_agent = text(*undo, "undo.", "agent");
      w.undo_type = text(*undo, "undo.", "type");
      if (w.undo_type.empty()) throw invalid(at("undo.type"), "undo.type is required");
      w.undo_body = body(*undo, "undo.");
    }
    if (const auto* labels = member(from, "labels")) {
      if (!labels->is_object()) throw invalid(at("labels"), "labels must be an object");
      for (const auto& [name, value] : labels->items()) {
        if (!value.is_string()) throw invalid(at("labels." + name), "a label is a string");
        w.labels.emplace_back(name, value.get<std::string>());
      }
    }
    return t;
  }
};

} // namespace

result<submit_request> submit_from_json(const json& body) {
  try {
    if (!body.is_object()) throw invalid("", "a task is an object");
    submit_request r;
    const auto tasks = body.find("tasks");
    if (tasks == body.end()) r.tasks.push_back(task_reader{body, ""}.read());
    else {
      if (!tasks->is_array()) throw invalid("tasks", "tasks must be a list");
      for (std::size_t i = 0; i < tasks->size(); ++i) r.tasks.push_back(task_reader{(*tasks)[i], "tasks[" + std::to_string(i) + "]"}.read());
      const auto policy = body.value("policy", "");
      static const std::map<std::string, fan_in> policies{
        {"", fan_in::none}, {"all", fan_in::all}, {"first", fan_in::first}, {"quorum", fan_in::quorum}, {"best_effort", fan_in::best_effort}};
      const auto found = policies.find(policy);
      if (found == policies.end()) throw invalid("policy", "policy must be all, first, quorum or best_effort");
      r.group = found->second;
      r.quorum = body.value("quorum", 0U);
    }
    if (auto ok = check(r); !ok) return ok.error();
    return r;
  } catch (const error& e) {
    return e;
  } catch (const json::exception& e) {
    return invalid("", e.what());
  }
}

result<void> check(const submit_request& r) {
  if (r.tasks.empty()) return invalid("tasks", "there must be at least one task");
  if (r.tasks.size() > tasks_max) return invalid("tasks", "at most " + std::to_string(tasks_max) + " tasks in one request");
  if (r.group == fan_in::quorum && (r.quorum == 0 || r.quorum > r.tasks.size()))
    return invalid("quorum", "quorum must be from 1 to the number of tasks");
  const bool many = r.tasks.size() > 1 || r.group != fan_in::none;
  std::unordered_map<std::string, std::size_t> by_name;
  for (std::size_t i = 0; i < r.tasks.size(); ++i) {
    const auto& t = r.tasks[i];
    const auto& s = t.what.spec;
    const auto at = [&](const char* name) { return many ? "tasks[" + std::to_string(i) + "]." + name : std::string(name); };
    if (t.what.type.empty() || t.what.type.size() > 128) return invalid(at("type"), "type is required, at most 128 characters");
    if (t.what.agent.empty() == s.capability.empty()) return invalid(at("agent"), "a task names either an agent or a capability");
    if (!t.what.agent.empty())
      if (auto ok = check_name(t.what.agent, at("agent")); !ok) return ok.error();
    if (s.capability.size() > 64) return invalid(at("capability"), "a capability has at most 64 characters");
    if (s.complexity > complexity_max) return invalid(at("complexity"), "complexity must be from 0 to 9");
    if (s.priority < 1 || s.priority > 5) return invalid(at("priority"), "priority must be from 1 (first) to 5");
    if (s.retry.attempts < 1 || s.retry.attempts > 100) return invalid(at("retry.attempts"), "retry.attempts must be from 1 to 100");
    const auto hour = std::chrono::milliseconds{std::chrono::hours{24}};
    if (s.retry.backoff.count() < 1 || s.retry.backoff > hour) return invalid(at("retry.backoff_ms"), "retry.backoff_ms must be from 1 to 86400000");
    if (s.retry.backoff_max < s.retry.backoff || s.retry.backoff_max > hour)
      return invalid(at("retry.backoff_max_ms"), "retry.backoff_max_ms must be from retry.backoff_ms to 86400000");
    if (t.deadline_millis > 2'592'000'000) return invalid(at("deadline_ms"), "deadline_ms is at most 30 days");
    if (t.needs.size() > 1000) return invalid(at("depends_on"), "a task depends on at most 1,000 others");
    if (!t.what.undo_type.empty() && r.group == fan_in::none) return invalid(at("undo"), "only a task of a group (policy) can be undone");
    if (!t.what.undo_agent.empty())
      if (auto ok = check_name(t.what.undo_agent, at("undo.agent")); !ok) return ok.error();
    if (!t.what.undo_type.empty() && t.what.undo_agent.empty() && t.what.agent.empty())
      return invalid(at("undo.agent"), "undo.agent is required when a capability chooses the agent");
    if (!t.parent.empty() && !task_id_from(t.parent)) return invalid(at("parent"), "parent is not the id of a task");
    if (!t.what.name.empty() && !by_name.emplace(t.what.name, i).second) return invalid(at("name"), "\"" + t.what.name + "\" comes twice");
  }
  std::vector<std::vector<std::size_t>> graph(r.tasks.size());
  for (std::size_t i = 0; i < r.tasks.size(); ++i)
    for (const auto& n : r.tasks[i].needs) {
      const auto at = many ? "tasks[" + std::to_string(i) + "].depends_on" : std::string("depends_on");
      if (const auto sibling = by_name.find(n); sibling != by_name.end()) graph[i].push_back(sibling->second);
      else if (!task_id_from(n)) return invalid(at, "\"" + n + "\" is neither a task of this request nor the id of one");
    }
  std::vector<char> free(graph.size());
  for (const auto i : in_order(graph)) free[i] = 1;
  if (const auto stuck = std::find(free.begin(), free.end(), 0); stuck != free.end())
    return invalid("tasks[" + std::to_string(stuck - free.begin()) + "].depends_on", "the task depends on itself, by way of others");
  return {};
}

} // namespace hive::actors::scheduling
