// How a turn waits: steps whose intents and results are on disk, and reads of the entity's own rows.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {
namespace {

constexpr std::uint64_t format = 1;

std::pair<std::string_view, std::string_view> split_target(const step_state& s) {
  const auto line = s.target.find('\n');
  return {std::string_view(s.target).substr(0, line), std::string_view(s.target).substr(line + 1)};
}

/// "NAME" is an agent, "context/NAME" a collection: no agent's name has a slash.
std::pair<entity_kind, std::string_view> addressed(std::string_view target) {
  constexpr std::string_view collection = "context/";
  if (target.starts_with(collection)) return {entity_kind::context, target.substr(collection.size())};
  return {entity_kind::agent, target};
}

} // namespace

std::string encode_intent(const step_state& s) {
  byte_writer out;
  out.varint(format).varint(static_cast<std::uint64_t>(s.what)).text(s.target).fixed64(s.digest.low).fixed64(s.digest.high);
  out.varint(static_cast<std::uint64_t>(s.arguments.type)).text(s.arguments.bytes);
  out.varint(static_cast<std::uint64_t>(s.deadline.count())).varint(static_cast<std::uint64_t>(s.due.time_since_epoch().count()));
  if (s.queue != 0) out.varint(s.queue);
  return out.take();
}

bool decode_intent(std::string_view bytes, step_state& s) {
  byte_reader in(bytes);
  if (in.varint() != format) return false;
  s.what = static_cast<step_state::kind>(in.varint());
  s.target = std::string(in.text());
  s.digest.low = in.fixed64();
  s.digest.high = in.fixed64();
  s.arguments.type = static_cast<content_type>(in.varint());
  s.arguments.bytes = std::string(in.text());
  s.deadline = std::chrono::milliseconds{static_cast<std::int64_t>(in.varint())};
  s.due = wall_time{std::chrono::milliseconds{static_cast<std::int64_t>(in.varint())}};
  if (!in.at_end()) s.queue = static_cast<std::uint32_t>(in.varint());
  return in.ok();
}

std::string encode_result(const step_state& s) {
  byte_writer out;
  out.varint(format).varint(s.failed ? 1 : 0).varint(static_cast<std::uint64_t>(s.answer.type)).text(s.answer.bytes);
  return out.take();
}

bool decode_result(std::string_view bytes, step_state& s) {
  byte_reader in(bytes);
  if (in.varint() != format) return false;
  s.failed = in.varint() != 0;
  s.answer.type = static_cast<content_type>(in.varint());
  s.answer.bytes = std::string(in.text());
  s.finished = in.ok();
  return in.ok();
}

/// The turn's coroutine is parked: begin what it waits for.
void shard_core::wait(activation& a, std::unique_ptr<turn_host> host) {
  a.doing = activity::waiting;
  auto& more = a.extra();
  more.turn = std::move(host);
  auto& own = *more.turn;
  services_.gauges().waiting.fetch_add(1, std::memory_order_relaxed);
  if (own.waits == wait_kind::read) {
    more.read_wanted = true;
    if (a.run_ahead == 0) start_read(a);
    return;
  }
  let_others_in(a);
  count_bytes(a);
  const std::size_t k = own.waiting_step;
  auto& s = own.steps[k];
  const bool replayed = s.due != wall_time{};
  if (replayed) return start_step(a, own, static_cast<std::uint32_t>(k)); // its intent is on disk since an earlier life
  begin_step(a, own);
}

/// Ends a step that cannot begin. By way of the inbox: a turn with many such steps must not deepen the stack.
void shard_core::fail_step(activation& a, std::uint32_t step, error why) {
  services_.post(a.id, std::make_unique<step_done_op>(a.id, a.more->turn->number, step, std::move(why)));
}

/// Commits the step's intent (and, at the first wait, the turn's message); the step starts when that is on disk.
void shard_core::begin_step(activation& a, turn_host& host) {
  const auto k = static_cast<std::uint32_t>(host.waiting_step);
  auto& s = host.steps[k];
  if (!host.accepted) host.number = services_.allot(id_).value(); // unique for ever: step keys are made of it
  const auto number = host.number;
  if (s.arguments.bytes.size() > limits_.payload_bytes)
    return fail_step(a, k, invalid("payload", "the step's arguments are larger than entity.payload_bytes"));
  if (s.what == step_state::kind::run && !services_.executors().find(s.target))
    return fail_step(a, k, error{errc::failed_precondition, "unknown_executor", "no executor named \"" + s.target + "\" in this node"});

  entity_id target{};
  if (s.what == step_state::kind::ask) {
    const auto [agent, type] = split_target(s);
    const auto [kind, name] = addressed(agent);
    if (const auto id = services_.known(host.in->who, kind, name)) target = *id;
    else {
      services_.resolve(host.in->who, kind, std::string(name), [services = &services_, id = a.id, number, k, g = a.generation](result<entity_id> found) {
        auto shared = std::make_shared<result<entity_id>>(std::move(found));
        services->post(id, std::make_unique<call_op>([id, number, k, g, shared](shard_core& shard) {
          activation* back = shard.find(id);
          if (!back || back->generation != g || !back->more || !back->more->turn || back->more->turn->number != number) return;
          if (*shared) shard.begin_step(*back, *back->more->turn); // known now
          else shard.step_finished(*back, k, shared->error());
        }));
      });
      return;
    }
    const auto& chain = host.in->chain;
    if (target == a.id || std::find(chain.begin(), chain.end(), target) != chain.end())
      return fail_step(a, k, error{errc::cycle, "cycle", "\"" + std::string(agent) + "\" already waits for this agent"});
  }

  const auto now = services_.clock().wall_now();
  s.due = now + s.deadline;
  auto r = make_record(a, host.in->who);
  r->writes = true;
  r->accepts = true;
  r->position = services_.allot(id_);
  take_mark(a, *r, std::move(host.reply));
  if (!host.accepted) {
    host.accepted = true;
    if (host.in->from_where == envelope::origin::timer) mark(a, *r, *host.in); // from here on its own row keeps it
    r->accepted = persistence::waiting_turn{number, host.started, host.seed, encode_message(*host.in)};
    r->bytes += r->accepted->message.size();
  }
  for (std::uint32_t j = 0; j < host.steps.size(); ++j)
    if (auto& done = host.steps[j]; done.finished && !done.stored_result) {
      done.stored_result = true;
      r->steps.push_back({number, j, encode_intent(done), done.due, encode_result(done)});
      r->bytes += done.answer.bytes.size() + done.arguments.bytes.size();
    }
  r->steps.push_back({number, k, encode_intent(s), s.due, std::nullopt});
  r->bytes += s.arguments.bytes.size();
  if (s.what == step_state::kind::ask || s.what == step_state::kind::task) {
    const bool task = s.what == step_state::kind::task;
    if (task) target = queue_of(a.id.tenant(), s.queue);
    envelope extra(host.in->who, target, envelope::origin::send);
    extra.reply_to = {a.id, number, k, {}};
    extra.chain = host.in->chain;
    extra.chain.push_back(a.id);
    extra.trace = host.in->trace;
    if (!task) extra.due = s.due; // a queue takes it however late; the task has a deadline of its own
    extra.from = host.face.address();
    add_outbox(a, *r, target, lane::user, task ? "task.run" : std::string(split_target(s).second), s.arguments, extra);
  }
  r->start_steps.push_back(k);
  submit(a, std::move(r));
}

/// The intent is on disk: the step may begin. Also after a restart, for the step that had not ended.
void shard_core::start_step(activation& a, turn_host& host, std::uint32_t step) {
  auto& s = host.steps[step];
  const auto left = s.due - services_.clock().wall_now();
  timers_.push({services_.clock().steady_now() + std::max<std::chrono::milliseconds>(left, std::chrono::milliseconds{0}), a.id, host.number, step});
  if (s.what != step_state::kind::run) return; // an ask or a task leaves by the outbox, a sleep is its timer
  auto* runs = services_.executors().find(s.target);
  if (!runs) return step_finished(a, step, error{errc::failed_precondition, "unknown_executor", "no executor named \"" + s.target + "\" in this node"});
  const auto deadline = services_.clock().steady_now() + std::max<std::chrono::milliseconds>(left, std::chrono::milliseconds{0});
  executor::call call{host.in->who, to_string(a.id) + "/" + std::to_string(host.number) + "/" + std::to_string(step), s.arguments, s.deadline, nullptr};
  services_.execute(*runs, std::move(call), deadline, a.id, host.number, step);
}

void shard_core::step_done(step_done_op& op) {
  activation* a = find(op.entity);
  if (!a || !a->more || !a->more->turn || a->more->turn->number != op.turn) return; // the turn ended without it
  step_finished(*a, op.step, std::move(op.answer));
}

void shard_core::step_finished(activation& a, std::uint32_t step, result<payload> answer) {
  if (!a.more || !a.more->turn) return;
  auto& host = *a.more->turn;
  if (step >= host.steps.size() || host.steps[step].finished) return; // a late answer
  auto& s = host.steps[step];
  s.finished = true;
  s.failed = !answer;
  if (answer) s.answer = std::move(*answer);
  else s.answer = {encode_failure(answer.error()), content_type::binary};
  if (host.waits == wait_kind::step && host.waiting_step == step && host.parked) {
    if (host.recall) end_recalled(a);
    else resume(a);
  }
}

/// The end of an ask step, from the other entity's outbox.
void shard_core::take_reply(activation& a, std::unique_ptr<envelope> e) {
  if (handled_before(a, *e)) return;
  auto* host = a.more && a.more->turn ? a.more->turn.get() : nullptr;
  const bool wanted = host && host->number == e->reply_to.turn && e->reply_to.step < host->steps.size() &&
                      !host->steps[e->reply_to.step].finished;
  if (!wanted) { // too late
    auto& known = a.extra().marks[mark_key(*e)];
    known = {std::max(known.handled, e->sequence), std::max(known.on_disk, e->sequence)}; // nobody sends it again
    return acknowledge(e->sender, a.id, e->sequence);
  }
  const auto step = e->reply_to.step;
  result<payload> answer = e->failed ? result<payload>(decode_failure(e->body.bytes)) : result<payload>(e->body);
  host->reply = std::move(e);
  step_finished(a, step, std::move(answer));
}

void shard_core::start_read(activation& a) {
  auto& more = *a.more;
  more.read_wanted = false;
  auto& host = *more.turn;
  if (const auto begin = std::exchange(host.outside, nullptr))
    return begin([services = &services_, id = a.id, g = a.generation, number = host.number] {
      services->post(id, std::make_unique<call_op>([id, g, number](shard_core& shard) { shard.read_done(id, g, number); }));
    });
  services_.read(a.id.tenant(), [services = &services_, id = a.id, g = a.generation, number = host.number, read = std::move(host.read)](persistence::store_reader& reader) {
    read(reader);
    services->post(id, std::make_unique<call_op>([id, g, number](shard_core& shard) { shard.read_done(id, g, number); }));
  });
  host.read = nullptr;
}

void shard_core::read_done(entity_id id, std::uint32_t generation, std::uint64_t number) {
  activation* a = find(id);
  if (!a || a->generation != generation || !a->more || !a->more->turn || a->more->turn->number != number) return;
  resume(*a);
}

void shard_core::resume(activation& a) {
  const entity_id id = a.id;
  auto host = std::move(a.more->turn);
  services_.gauges().waiting.fetch_sub(1, std::memory_order_relaxed);
  host->waits = wait_kind::none;
  auto parked = std::exchange(host->parked, {});
  a.doing = activity::idle; // what it waits for next, or its end, says otherwise
  {
    const turn_recorder::running recorded(services_.recorder(), a.id, message_of(*host->in));
    parked.resume();
  }
  proceed(a, std::move(host));
  if (auto* still = find(id)) make_ready(*still);
}

void shard_core::recover(persistence::waiting_entity&& waiting) {
  const auto who = services_.context_of(waiting.entity.tenant(), waiting.principal);
  auto message = decode_message(waiting.turn.message, who, waiting.entity);
  if (!message) {
    log::error("a waiting turn in the store cannot be read", {{"entity", to_string(waiting.entity)}});
    return;
  }
  activation& a = find_or_make(waiting.entity, who);
  auto host = std::make_unique<turn_host>(*this);
  host->of = &a;
  host->in = std::move(message);
  host->number = waiting.turn.turn;
  host->started = waiting.turn.started;
  host->seed = waiting.turn.seed;
  host->accepted = true;
  a.turns = std::max(a.turns, host->number);
  for (auto& row : waiting.steps) {
    step_state s;
    if (!decode_intent(row.intent, s)) continue;
    s.due = row.due;
    if (row.result) {
      decode_result(*row.result, s);
      s.stored_result = true;
    }
    host->steps.push_back(std::move(s));
  }
  if (const auto hash = host->in->from_where == envelope::origin::ask ? host->in->key_hash() : 0; hash != 0)
    a.extra().running.push_back({hash, host->in->digest, {}}); // repeats wait for this turn's end
  a.extra().turn = std::move(host);
  if (a.doing == activity::absent) start_loading(a);
}

} // namespace hive::actors
