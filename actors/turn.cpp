#include "actors/context/items.hpp"
#include "actors/context/query_executor.hpp"
#include "actors/scheduling/task_rows.hpp"
#include "actors/system/system_turn.hpp"
#include "config/base/hex.hpp"
#include "persistence/turn_store.hpp"

namespace hive::actors {

namespace {

reply_address address_of(std::string_view token) {
  const auto bytes = from_hex(token);
  auto address = bytes ? decode_reply_address(*bytes) : std::nullopt;
  if (!address) throw std::invalid_argument("not a token that defer_reply gave");
  return *address;
}

} // namespace

payload json_payload(const json& value) { return {value.dump(), content_type::json}; }
payload text_payload(std::string text) { return {std::move(text), content_type::text}; }

json message::parse() const {
  if (body.bytes.empty()) return nullptr;
  auto value = json::parse(body.bytes, nullptr, false);
  if (value.is_discarded()) throw bad_message("payload", "the payload of \"" + type + "\" is not JSON");
  return value;
}

result<void> behaviour::check(const json&) const { return {}; }

void behaviour_registry::add(std::string name, std::unique_ptr<const behaviour> code) {
  by_name_.insert_or_assign(std::move(name), std::move(code));
}
const behaviour* behaviour_registry::find(std::string_view name) const noexcept {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : found->second.get();
}
std::vector<std::string> behaviour_registry::names() const {
  std::vector<std::string> all;
  for (const auto& [name, code] : by_name_)
    if (!name.starts_with("hive.")) all.push_back(name);
  std::sort(all.begin(), all.end());
  return all;
}

void executor_registry::add(std::string name, std::unique_ptr<executor> e) { by_name_.insert_or_assign(std::move(name), std::move(e)); }
executor* executor_registry::find(std::string_view name) const noexcept {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : found->second.get();
}

std::string_view executor_registry::name_of(const executor& e) const noexcept {
  for (const auto& [name, one] : by_name_)
    if (one.get() == &e) return name;
  return {};
}

// -- turn_host

actor_record& turn_host::effects() {
  if (!record) record = shard.make_record(*of, in->who);
  return *record;
}

void turn_host::reset() {
  code = {};
  parked = {};
  of = nullptr;
  in.reset();
  record.reset();
  new_state.reset();
  answer.reset();
  failure.reset();
  out.clear();
  deferred = false;
  on_cancel.reset();
  given_later.clear();
  stops = false;
  waits = wait_kind::none;
  steps.clear();
  next_step = 0;
  accepted = false;
  read = nullptr;
  outside = nullptr;
  recall.reset();
  reply.reset();
}

// -- turn

const std::string& turn::name() const noexcept { return host_->of->name; }
std::string turn::address() const { return std::string(to_string(host_->of->spec->kind)) + "/" + host_->of->name; }
const json& turn::config() const noexcept { return host_->of->spec->config; }
tenant_context turn::caller() const noexcept { return host_->in->who; }
std::uint64_t turn::payload_bytes_max() const noexcept { return host_->shard.limits().payload_bytes; }
const trace_context& turn::trace() const noexcept { return host_->in->trace; }
wall_time turn::now() const noexcept { return host_->started; }
random_source& turn::random() noexcept { return host_->chance; }

const std::string& turn::state_bytes() const noexcept { return host_->new_state ? *host_->new_state : host_->of->state; }

void turn::set_state_bytes(std::string bytes) {
  if (bytes.size() > host_->shard.limits().state_bytes)
    throw std::length_error("the state of " + address() + " is " + std::to_string(bytes.size()) +
                            " bytes; entity.state_bytes allows " + std::to_string(host_->shard.limits().state_bytes));
  host_->new_state = std::move(bytes);
}

std::uint64_t turn::log_size(std::string_view log) const {
  std::uint64_t size = 0;
  for (const auto& l : host_->of->logs)
    if (l.name == log) size = l.size - l.floor;
  if (host_->record)
    for (const auto& entry : host_->record->logs) size += entry.log == log ? 1 : 0;
  return size;
}

std::uint64_t turn::append(std::string_view log, std::string entry) {
  const auto index = log_size(log);
  std::uint64_t floor = 0;
  for (const auto& l : host_->of->logs)
    if (l.name == log) floor = l.floor;
  auto& r = host_->effects();
  r.bytes += entry.size() + log.size();
  r.logs.push_back({std::string(log), floor + index, host_->of->log_tail, std::move(entry)});
  return index;
}

log_wait turn::read_log(std::string_view log, std::uint64_t from, std::size_t limit) {
  const auto* a = host_->of;
  std::vector<std::string> own;
  std::uint64_t committed = 0;
  std::uint64_t floor = 0;
  for (const auto& l : a->logs)
    if (l.name == log) {
      floor = l.floor;
      committed = l.size - l.floor;
    }
  if (host_->record)
    for (const auto& entry : host_->record->logs)
      if (entry.log == log) own.push_back(entry.data);
  return {*this,
          [who = a->who, id = a->id, log = std::string(log), tail = a->log_tail, floor, from, limit](persistence::store_reader& r) {
            return r.read_log(who, id, log, tail, floor + from, limit);
          },
          [own = std::move(own), committed, from, limit](std::vector<std::string>&& stored) {
            for (std::uint64_t i = from > committed ? from - committed : 0; i < own.size() && stored.size() < limit; ++i)
              stored.push_back(own[i]);
            return std::move(stored);
          }};
}

void turn::put_row(std::string_view key, std::string value) {
  auto& r = host_->effects();
  r.bytes += key.size() + value.size();
  r.items.push_back({std::string(key), std::move(value)});
}
void turn::erase_row(std::string_view key) { host_->effects().items.push_back({std::string(key), std::nullopt}); }

row_wait turn::row(std::string_view key) {
  const auto* a = host_->of;
  return {*this,
          [who = a->who, id = a->id, key = std::string(key)](persistence::store_reader& r) { return r.item(who, id, key); },
          [host = host_, key = std::string(key)](std::optional<std::string>&& stored) {
            if (host->record)
              for (const auto& item : host->record->items)
                if (item.key == key) stored = item.value;
            return std::move(stored);
          }};
}

rows_wait turn::rows(std::string_view prefix, std::string_view after, std::size_t limit) {
  const auto* a = host_->of;
  return {*this,
          [who = a->who, id = a->id, prefix = std::string(prefix), after = std::string(after), limit](persistence::store_reader& r) {
            return r.items(who, id, prefix, after, limit);
          },
          [host = host_, prefix = std::string(prefix), after = std::string(after), limit](auto&& stored) {
            if (!host->record || host->record->items.empty()) return std::move(stored);
            // A full page ends at its last key: what this turn wrote beyond it belongs to the next page.
            const bool full = stored.size() >= limit;
            std::map<std::string, std::string> merged;
            const std::string last = full ? stored.back().first : std::string{};
            for (auto& [k, v] : stored) merged.emplace(std::move(k), std::move(v));
            for (const auto& item : host->record->items) {
              if (!item.key.starts_with(prefix) || item.key <= after || (full && item.key > last)) continue;
              if (item.value) merged.insert_or_assign(item.key, *item.value);
              else merged.erase(item.key);
            }
            std::vector<std::pair<std::string, std::string>> page;
            for (auto& [k, v] : merged)
              if (page.size() < limit) page.emplace_back(k, std::move(v));
            return page;
          }};
}

namespace {
std::unique_ptr<envelope> outgoing_message(const turn_host& host, envelope::origin kind, std::string_view type, payload&& body) {
  auto e = std::make_unique<envelope>(host.in->who, entity_id{}, kind);
  e->type = type;
  e->body = std::move(body);
  e->from = host.face.address();
  e->trace = host.in->trace;
  return e;
}
} // namespace

void turn::tell(std::string_view agent, std::string_view type, payload body) {
  host_->out.push_back({false, std::string(agent), {}, outgoing_message(*host_, envelope::origin::tell, type, std::move(body))});
}

void turn::send(std::string_view agent, std::string_view type, payload body) {
  host_->out.push_back({true, std::string(agent), {}, outgoing_message(*host_, envelope::origin::send, type, std::move(body))});
}

void turn::reply(payload answer) {
  if (answer.bytes.size() > host_->shard.limits().payload_bytes) throw std::length_error("the reply is larger than entity.payload_bytes");
  host_->answer = std::move(answer);
  host_->failure.reset();
}

void turn::fail(std::string reason, std::string text) {
  host_->failure = error{errc::application, std::move(reason), std::move(text)};
  host_->answer.reset();
}

std::string turn::defer_reply(std::string_view on_cancel) {
  auto token = system_turn::defer_reply(*this);
  if (host_->of->more && host_->of->more->open_replies.size() >= host_->shard.limits().open_replies)
    throw std::length_error("the agent has put off entity.open_replies answers; it has to finish some first");
  host_->on_cancel = std::string(on_cancel);
  return token;
}

std::string system_turn::defer_reply(turn& t) {
  if (!t.host_->in->reply_to) throw std::logic_error("only a task or an agent's ask can be answered later; a client's ask ends with its turn");
  t.host_->deferred = true;
  return token_of(t.host_->in->reply_to);
}

std::string token_of(const reply_address& address) { return to_hex(encode(address)); }

namespace {
std::unique_ptr<envelope> reply_message(const turn_host& host, const reply_address& to, payload&& body, const error* failure) {
  auto e = outgoing_message(host, to.task.empty() ? envelope::origin::reply : envelope::origin::send,
                            to.task.empty() ? "reply" : "hive.task.done", std::move(body));
  e->reply_to = to;
  if (to.task.empty()) e->on = lane::system; // it must reach a turn that waits
  else e->reply_to.asker = {}; // names the task; asks for no reply itself
  if (failure) {
    e->failed = true;
    e->body = {encode_failure(*failure), content_type::binary};
  }
  return e;
}
} // namespace

void turn::finish(std::string_view token, payload answer) {
  const auto to = address_of(token);
  host_->given_later.push_back(to);
  host_->out.push_back({true, {}, to.asker, reply_message(*host_, to, std::move(answer), nullptr)});
}

void turn::finish_failed(std::string_view token, std::string reason, std::string text) {
  const auto to = address_of(token);
  const error failure{errc::application, std::move(reason), std::move(text)};
  host_->given_later.push_back(to);
  host_->out.push_back({true, {}, to.asker, reply_message(*host_, to, {}, &failure)});
}

reply_address system_turn::address_of(std::string_view token) { return hive::actors::address_of(token); }

void system_turn::finish_failed(turn& t, std::string_view token, const error& why) {
  const auto to = address_of(token);
  t.host_->out.push_back({true, {}, to.asker, reply_message(*t.host_, to, {}, &why)});
}

void turn::progress(std::uint64_t done, std::uint64_t total, std::string note, std::string_view token) {
  const auto to = token.empty() ? host_->in->reply_to : address_of(token);
  if (to.task.empty()) return; // nobody watches an ask
  auto e = outgoing_message(*host_, envelope::origin::send, "hive.task.progress",
                            json_payload({{"done", done}, {"total", total}, {"note", std::move(note)}}));
  e->reply_to = {{}, to.turn, 0, to.task};
  host_->out.push_back({true, {}, to.asker, std::move(e)});
}

void turn::stop() noexcept { host_->stops = true; }

std::string turn::at(wall_time when, std::string_view type, payload body) {
  if (body.bytes.size() > host_->shard.limits().payload_bytes) throw std::length_error("the timer's payload is larger than entity.payload_bytes");
  auto& r = host_->effects();
  const auto number = host_->chance.next() >> 1U; // stores order it as a signed number
  r.timers.push_back({when, number, {}, {}, std::string(type), std::move(body)});
  byte_writer token;
  token.fixed64(static_cast<std::uint64_t>(when.time_since_epoch().count())).fixed64(number);
  return to_hex(token.view());
}

std::string turn::after(std::chrono::milliseconds wait, std::string_view type, payload body) {
  // The turn's own time may be a moment old: the wait counts from now, so that it is never early.
  return at(std::max(now(), host_->shard.services().clock().wall_now()) + wait, type, std::move(body));
}

void turn::cancel_timer(std::string_view token) {
  const auto bytes = from_hex(token);
  if (!bytes || bytes->size() != 16) throw std::invalid_argument("not a token that after() or at() gave");
  byte_reader in(*bytes);
  const wall_time due{std::chrono::milliseconds{static_cast<std::int64_t>(in.fixed64())}};
  const auto number = in.fixed64();
  auto& r = host_->effects();
  const auto own = std::find_if(r.timers.begin(), r.timers.end(), [&](const auto& t) { return t.due == due && t.number == number; });
  if (own != r.timers.end()) r.timers.erase(own); // set by this very turn
  else r.timers_gone.push_back({due, number});
}

void turn::emit(std::string type, const json& data) { host_->effects().events.push_back({std::move(type), address(), data.dump()}); }

namespace {
step_wait reach_step(turn_host& host, turn& face, step_state&& wanted) {
  auto& s = host.steps;
  if (host.next_step == s.size()) {
    if (s.size() >= host.shard.limits().steps_per_turn) throw std::length_error("the turn has more steps than entity.steps_per_turn");
    s.push_back(std::move(wanted));
  } else if (const auto& known = s[host.next_step]; known.what != wanted.what || known.target != wanted.target || !(known.digest == wanted.digest)) {
    throw std::logic_error("step " + std::to_string(host.next_step) + " was \"" + known.target + "\" and is now \"" + wanted.target +
                           "\" or has other arguments: the behaviour is not deterministic, or was changed while a turn waited");
  }
  ++host.next_step;
  return step_wait{face, host.next_step - 1};
}
} // namespace

step_wait turn::ask(std::string_view agent, std::string_view type, payload body, step_options options) {
  step_state s;
  s.what = step_state::kind::ask;
  s.target = std::string(agent) + "\n" + std::string(type);
  s.digest = digest_of(type, body);
  s.arguments = std::move(body);
  s.deadline = options.deadline;
  return reach_step(*host_, *this, std::move(s));
}

namespace {
/// The partition that takes what a turn submits: the one of the task that it belongs to, of the agent that it names, or
/// one that this entity always takes. Any would do.
std::uint32_t partition_for(const turn_host& host, const json& what) {
  const auto tenant = host.in->who.tenant();
  const auto n = host.shard.services().metrics(tenant).division().partitions;
  const auto several = what.find("tasks");
  const bool one = several == what.end();
  const json& first = !one && several->is_array() && !several->empty() ? several->front() : what;
  const auto parent = first.is_object() ? first.find("parent") : first.end();
  if (first.is_object() && parent != first.end() && parent->is_string())
    if (const auto id = scheduling::task_id_from(parent->get_ref<const std::string&>())) return scheduling::partition_of(*id);
  if (n == 1) return 0;
  const auto agent = one ? what.find("agent") : what.end();
  if (agent != what.end() && agent->is_string()) return scheduling::partition_for(agent->get_ref<const std::string&>(), n);
  return scheduling::partition_for(to_string(host.of->id), n);
}

/// A task belongs to the one that the turn works on, and ends with the step that waits for it.
void complete_request(const turn_host& host, json& what, std::chrono::milliseconds deadline) {
  if (!what.is_object()) throw std::invalid_argument("a task is an object, as POST .../tasks takes it");
  const auto complete = [&](json& t) {
    if (!t.is_object()) return; // the queue refuses it
    if (!host.in->reply_to.task.empty() && !t.contains("parent")) t["parent"] = host.in->reply_to.task;
    if (deadline.count() != 0 && !t.contains("deadline_ms")) t["deadline_ms"] = deadline.count();
  };
  if (const auto several = what.find("tasks"); several != what.end() && several->is_array())
    for (auto& t : *several) complete(t);
  else complete(what);
}
} // namespace

step_wait turn::task(json what, step_options options) {
  step_state s;
  s.what = step_state::kind::task;
  s.target = what.is_object() ? what.value("agent", what.value("capability", std::string("tasks"))) : std::string{};
  complete_request(*host_, what, options.deadline);
  s.queue = partition_for(*host_, what);
  s.arguments = json_payload(what);
  s.digest = digest_of("task", s.arguments);
  s.deadline = options.deadline;
  return reach_step(*host_, *this, std::move(s));
}

void turn::submit(json what) {
  complete_request(*host_, what, {});
  const auto queue = queue_of(host_->in->who.tenant(), partition_for(*host_, what));
  auto body = json_payload(what);
  host_->out.push_back({true, {}, queue, outgoing_message(*host_, envelope::origin::send, "task.submit", std::move(body))});
}

step_wait turn::run(std::string_view executor, payload arguments, step_options options) {
  step_state s;
  s.what = step_state::kind::run;
  s.target = executor;
  s.digest = digest_of(executor, arguments);
  s.arguments = std::move(arguments);
  s.deadline = options.deadline;
  return reach_step(*host_, *this, std::move(s));
}

sleep_wait turn::sleep(std::chrono::milliseconds duration) {
  step_state s;
  s.what = step_state::kind::sleep;
  s.target = "sleep";
  s.digest.low = static_cast<std::uint64_t>(duration.count());
  s.deadline = duration;
  return sleep_wait{*this, reach_step(*host_, *this, std::move(s)).step};
}

step_wait turn::remember(std::string_view collection, const json& items, step_options options) {
  const auto limits = limits_of(host_->shard.services().settings().context);
  auto read = items_from_json(items, {vector::trust::agent, address()}, limits, "items");
  if (!read) throw bad_message(read.error().field, read.error().message);
  return ask("context/" + std::string(collection), "items.put", {encode_items(*read), content_type::binary}, options);
}

step_wait turn::search(std::string_view collection, const json& query, step_options options) {
  return run(search_executor, json_payload({{"collection", collection}, {"query", query}}), options);
}

step_wait turn::pack(std::string_view collection, const json& query, step_options options) {
  return run(pack_executor, json_payload({{"collection", collection}, {"query", query}}), options);
}

void turn::park_for_read(std::function<void(persistence::store_reader&)> read) { host_->read = std::move(read); }

void detail::wait_base::await_suspend(std::coroutine_handle<> waiting) noexcept {
  owner->host_->parked = waiting;
  owner->host_->waits = owner->host_->read || owner->host_->outside ? wait_kind::read : wait_kind::step;
}

void step_wait::await_suspend(std::coroutine_handle<> waiting) noexcept {
  owner->host_->waiting_step = step;
  wait_base::await_suspend(waiting);
}
bool step_wait::await_ready() const noexcept { return owner->host_->steps[step].finished; }
result<payload> step_wait::await_resume() {
  const auto& s = owner->host_->steps[step];
  if (s.failed) return decode_failure(s.answer.bytes);
  return s.answer;
}

} // namespace hive::actors
