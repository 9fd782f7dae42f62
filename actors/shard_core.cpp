#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {

std::size_t metric_slot() noexcept {
  static std::atomic<std::size_t> next{0};
  thread_local const std::size_t mine = next.fetch_add(1, std::memory_order_relaxed) % metric_slots;
  return mine;
}

const char* to_string(activity a) noexcept {
  switch (a) {
  case activity::absent: return "inactive";
  case activity::loading: return "loading";
  case activity::idle: return "idle";
  case activity::waiting: return "waiting";
  case activity::crashed: return "crashed";
  case activity::held: return "restarting";
  case activity::paused: return "paused";
  case activity::reloading: return "reloading";
  }
  return "unknown";
}

std::size_t activation::bytes() const noexcept {
  constexpr std::size_t table_entry = 64; // of a hash table or a tree: with its node
  std::size_t all = sizeof(activation) + table_entry + state.capacity() + name.capacity() + logs.capacity() * sizeof(log_head);
  if (!more) return all;
  all += sizeof(activation_extra) + more->keys.bytes() + more->marks.size() * table_entry + more->running.capacity() * sizeof(running_key) +
         more->links.size() * (sizeof(outbound_link) + table_entry) + more->outbox_size * sizeof(envelope) +
         more->open_replies.capacity() * sizeof(open_reply);
  if (more->turn) {
    all += sizeof(turn_host) + more->turn->in->bytes();
    for (const auto& s : more->turn->steps) all += sizeof(step_state) + s.arguments.bytes.size() + s.answer.bytes.size();
  }
  return all;
}

// Formats of the stored state: 1 plus these.
constexpr std::uint64_t with_suspects = 1;
constexpr std::uint64_t with_floors = 2;
constexpr std::uint64_t with_reset = 4; // nothing more of it is stored
constexpr std::uint64_t with_replies = 8;

std::string encode_state(const activation& a) {
  byte_writer out;
  const bool floors = std::any_of(a.logs.begin(), a.logs.end(), [](const log_head& l) { return l.floor != 0; });
  const bool replies = a.more && !a.more->open_replies.empty();
  out.varint(1 + (a.suspected ? with_suspects : 0) + (floors ? with_floors : 0) + (a.resetting ? with_reset : 0) + (replies ? with_replies : 0));
  out.fixed64(a.last_generated.value()).varint(a.logs.size());
  for (const auto& l : a.logs) {
    out.text(l.name).varint(l.size);
    if (floors) out.varint(l.floor);
  }
  if (a.suspected) {
    out.varint(a.more->suspects.size());
    for (const auto& s : a.more->suspects) out.fixed64(s.message).varint(s.deaths).varint(s.crashes);
  }
  if (replies) {
    out.varint(a.more->open_replies.size());
    for (const auto& open : a.more->open_replies) out.text(encode(open.to)).text(open.on_cancel);
  }
  std::string stored = out.take();
  stored += a.state;
  return stored;
}

bool decode_state(std::string_view stored, activation& into) {
  into.logs.clear();
  into.state.clear();
  into.suspected = false;
  into.resetting = false;
  if (into.more) {
    into.more->suspects.clear();
    into.more->open_replies.clear();
  }
  if (stored.empty()) return true;
  byte_reader in(stored);
  const auto format = in.varint();
  if (format < 1 || format > 1 + with_suspects + with_floors + with_reset + with_replies) return false;
  const bool suspected = ((format - 1) & with_suspects) != 0;
  const bool floors = ((format - 1) & with_floors) != 0;
  into.resetting = ((format - 1) & with_reset) != 0;
  into.last_generated = journal_position{in.fixed64()};
  const auto n = in.varint();
  for (std::uint64_t i = 0; i < n && in.ok(); ++i) {
    const auto name = in.text();
    const auto size = in.varint();
    into.logs.push_back({std::string(name), size, floors ? in.varint() : 0});
  }
  if (suspected) {
    const auto suspects = in.varint();
    for (std::uint64_t i = 0; i < suspects && in.ok(); ++i) {
      const auto message = in.fixed64();
      const auto deaths = static_cast<std::uint32_t>(in.varint());
      into.extra().suspects.push_back({message, deaths, static_cast<std::uint32_t>(in.varint())});
    }
    into.suspected = suspects != 0;
  }
  if (((format - 1) & with_replies) != 0) {
    const auto replies = in.varint();
    for (std::uint64_t i = 0; i < replies && in.ok(); ++i) {
      auto to = decode_reply_address(in.text());
      if (!to) return false;
      into.extra().open_replies.push_back({std::move(*to), std::string(in.text())});
    }
  }
  into.state = std::string(in.rest());
  return in.ok();
}

shard_core::shard_core(shard_id id, epoch fence, shard_services& services)
  : id_(id), fence_(fence), services_(services), settings_(services.settings()), limits_(settings_.entity), ready_(64),
    spare_(std::make_unique<turn_host>(*this)), chance_(services.new_seed()) {}


void shard_core::handle(std::unique_ptr<shard_op> op) {
  switch (op->what) {
  case shard_op::kind::deliver: deliver(std::unique_ptr<envelope>(static_cast<envelope*>(op.release()))); break;
  case shard_op::kind::loaded: loaded(static_cast<loaded_op&>(*op)); break;
  case shard_op::kind::settled: settled(static_cast<settled_op&>(*op)); break;
  case shard_op::kind::handled: handled(static_cast<handled_op&>(*op)); break;
  case shard_op::kind::step_done: step_done(static_cast<step_done_op&>(*op)); break;
  case shard_op::kind::call: static_cast<call_op&>(*op).run(*this); break;
  case shard_op::kind::install:
  case shard_op::kind::remove: break; // of whoever holds this object
  case shard_op::kind::exited: {
    const auto to = static_cast<exited_op&>(*op).supervisor;
    to_loaded(to, std::move(op));
    break;
  }
  case shard_op::kind::answer: {
    const auto to = static_cast<answer_op&>(*op).supervisor;
    to_loaded(to, std::move(op));
    break;
  }
  case shard_op::kind::suspect: {
    const auto to = static_cast<suspect_op&>(*op).entity;
    to_loaded(to, std::move(op));
    break;
  }
  case shard_op::kind::note: {
    const auto to = static_cast<note_op&>(*op).to;
    to_loaded(to, std::move(op));
    break;
  }
  case shard_op::kind::order: {
    const auto to = static_cast<order_op&>(*op).child;
    to_loaded(to, std::move(op));
    break;
  }
  }
}

activation* shard_core::find(entity_id id) noexcept {
  const auto found = entities_.find(id);
  return found == entities_.end() ? nullptr : found->second.get();
}

activation& shard_core::find_or_make(entity_id id, tenant_context who) {
  auto& place = entities_[id];
  if (!place) {
    place = std::make_unique<activation>(id, services_.context_of(who.tenant(), "system"));
    place->generation = static_cast<std::uint32_t>(fence_.value() << 16U); // answers to an earlier owner's questions do not match
    services_.gauges().activations.fetch_add(1, std::memory_order_relaxed);
    count_bytes(*place);
    if (now_ == steady_time{}) read_clock();
    touch(*place);
    make_newest(*place);
    if (!kept_.empty()) take_facts(*place);
  }
  return *place;
}

void shard_core::deliver(std::unique_ptr<envelope> e) {
  // Its turn comes after the rest of the inbox is sorted: until then the other core's cache lines are here.
  __builtin_prefetch(&e->body);
  __builtin_prefetch(&e->trace);
  activation& a = find_or_make(e->to, e->who);
  if (e->again && is_here(a, *e)) return;
  const bool bounded = e->from_where == envelope::origin::ask || e->from_where == envelope::origin::tell;
  if (bounded && e->on != lane::system &&
      (a.box.count() >= limits_.mailbox_messages || a.box.bytes() + e->bytes() > limits_.mailbox_bytes)) {
    add(services_.metrics(e->who.tenant()).mine().rejected);
    refuse(std::move(e), {errc::resource_exhausted, "mailbox_full",
                          "the mailbox is full (entity.mailbox_messages, entity.mailbox_bytes)", {}, std::chrono::milliseconds{50}});
    return;
  }
  if (e->ticket && e->from_where == envelope::origin::tell) { // its sender hears that it is in its lane
    const auto told = std::move(e->ticket);
    told->answer({});
  }
  if (e->ticket && a.doing != activity::idle && a.doing != activity::absent && a.doing != activity::loading)
    e->ticket->leave(); // it waits for the agent, not for the node
  queued_change_ += 1;
  a.box.push_back(std::move(e));
  make_ready(a);
}

/// The agent waits, and whoever waits for it: their asks keep nobody else out. (A call of a model may take minutes.)
void shard_core::let_others_in(activation& a) noexcept {
  if (a.more->turn->in->ticket) a.more->turn->in->ticket->leave();
  for (const auto l : {lane::urgent, lane::user})
    a.box.each(l, [](envelope& e) {
      if (e.ticket) e.ticket->leave();
      return true;
    });
}

void shard_core::refuse(std::unique_ptr<envelope> e, error why) {
  if (e->ticket) e->ticket->fail(std::move(why));
}

bool shard_core::runnable(const activation& a) const noexcept {
  switch (a.doing) {
  case activity::absent: return !a.box.empty();
  case activity::loading:
  case activity::reloading: return false;
  case activity::waiting:
  case activity::crashed:
  case activity::held:
  case activity::paused: return a.box.has(lane::system);
  case activity::idle: {
    if (a.stopping) return a.box.has(lane::system);
    // A queue serves a whole tenant: with one entity's allowance, each commit would hold 64 of its turns and no more. One
    // batch of items is about the allowance in bytes.
    const std::uint32_t times = is_queue(a.id) ? 32 : a.spec && a.spec->kind == entity_kind::context ? 8 : 1;
    return !a.box.empty() && a.run_ahead < limits_.run_ahead_turns * times && a.run_ahead_bytes < limits_.run_ahead_bytes * times;
  }
  }
  return false;
}

void shard_core::make_ready(activation& a) {
  if (a.stopping) try_stop(a);
  if (a.queued || !runnable(a)) return;
  a.queued = true;
  ready_.push(a.id.tenant(), &a, services_.metrics(a.id.tenant()).weight.load(std::memory_order_relaxed));
}

void shard_core::read_clock() noexcept {
  now_ = services_.clock().steady_now();
  wall_now_ = services_.clock().wall_now();
}

bool shard_core::run_slice() {
  if (closed_) {
    tell_if_quiet();
    return false;
  }
  if (!ready_.empty() && services_.gauges().run_ahead_bytes.load(std::memory_order_relaxed) >
                           static_cast<std::int64_t>(settings_.node.run_ahead_bytes)) {
    // The disk is behind by a whole node's allowance: look again in a moment.
    stalled_until_ = services_.clock().steady_now() + std::chrono::milliseconds{1};
    return false;
  }
  stalled_until_ = {};
  for (std::uint32_t n = 0; n < settings_.node.turns_per_slice && !ready_.empty(); ++n) {
    if (n % 16 == 0) read_clock();
    activation* a = ready_.pop();
    a->queued = false;
    const tenant_id tenant = a->id.tenant();
    dispatch(*a);
    const auto began = std::exchange(now_, services_.clock().steady_now()); // a turn costs its tenant the time that it took
    ready_.charge(tenant, static_cast<std::uint64_t>(std::max<std::int64_t>(0, (now_ - began).count()) / 1'000));
  }
  if (queued_change_ != 0) services_.gauges().queued.fetch_add(std::exchange(queued_change_, 0), std::memory_order_relaxed);
  return !ready_.empty();
}

void shard_core::dispatch(activation& a) {
  if (a.doing == activity::absent) return start_loading(a);
  if (!runnable(a)) return;
  touch(a);
  std::unique_ptr<envelope> e;
  if ((e = a.box.pop(lane::system))) {
    queued_change_ -= 1;
    if (came_too_early(a, *e)) return make_ready(a);
    const entity_id id = a.id;
    if (e->from_where == envelope::origin::reply) take_reply(a, std::move(e));
    else system_message(a, std::move(e));
    if (auto* still = find(id)) make_ready(*still);
    return;
  }
  if (a.spec_stale && a.run_ahead == 0) { // its spec changed: the next turn runs under the new one
    a.spec_stale = false;
    a.doing = activity::absent;
    return start_loading(a);
  }
  if (a.spec_stale) return; // the commits under way bring it back here
  e = a.box.pop(lane::urgent);
  if (!e) e = a.box.pop(lane::user);
  queued_change_ -= 1;
  if (came_too_early(a, *e)) return make_ready(a);
  ready_.charge(a.id.tenant(), 1 + e->bytes() / 1024);
  const entity_id id = a.id;
  begin(a, std::move(e));
  if (auto* still = find(id)) make_ready(*still);
}

void shard_core::start_loading(activation& a) {
  a.doing = activity::loading;
  services_.load(a.id, a.who, fence_);
}

void shard_core::loaded(loaded_op& op) {
  activation* a = find(op.entity);
  if (!a || a->doing != activity::loading || op.fence != fence_) return;
  if (!op.what_is) {
    // The store cannot be read just now. Those who asked hear so; durable messages stay for the next try.
    log::warn("cannot load entity", {{"entity", to_string(a->id)}, {"why", op.what_is.error().message}});
    std::vector<std::unique_ptr<envelope>> kept;
    for (const auto l : {lane::system, lane::urgent, lane::user})
      while (auto e = a->box.pop(l)) {
        if (e->from_where == envelope::origin::ask) {
          queued_change_ -= 1;
          refuse(std::move(e), op.what_is.error());
        } else kept.push_back(std::move(e));
      }
    for (auto& e : kept) a->box.push_back(std::move(e));
    a->doing = activity::absent;
    timers_.push({services_.clock().steady_now() + std::chrono::milliseconds{200}, a->id, 0, 0});
    return;
  }
  auto& found = *op.what_is;
  a->version = found.row.version;
  a->sent = std::max(a->sent, found.row.sent);
  a->desired = found.spec ? found.row.desired : persistence::desired_state::deleted;
  a->life = std::max(a->life, found.row.life);
  a->stored_life = found.row.life;
  a->last_keyed = found.row.last_keyed;
  a->keyed_on_disk = found.row.last_keyed;
  a->log_tail = found.row.log_tail;
  a->spec = found.spec;
  a->name = std::move(found.name);
  if (!decode_state(found.row.state, *a)) {
    log::error("the stored state of an entity cannot be read", {{"entity", to_string(a->id)}});
    a->desired = persistence::desired_state::quarantined;
  }
  a->generated_on_disk = a->last_generated;
  if (!found.row.marks.empty()) {
    auto& marks = a->extra().marks;
    for (const auto& m : found.row.marks) marks[mark_key(m.sender, m.lane)] = {m.sequence, m.sequence};
  }
  if (a->more) {
    a->more->keys.clear();
    a->more->keys_loaded = false;
  }
  count_bytes(*a);
  a->doing = activity::idle;
  if (found.above && a->desired == persistence::desired_state::running) {
    a->extra().above_down = true;
    a->extra().own_desired = a->desired;
    a->extra().above = std::move(*found.above);
    a->desired = persistence::desired_state::stopped;
  } else if (a->more) a->more->above_down = false;
  if (a->more)
    for (const auto number : std::exchange(a->more->unended, {})) end_waiting(*a, a->who, number, nullptr);
  if (a->more)
    for (auto& e : std::exchange(a->more->undeliverable, {})) dead_letter(*a, std::move(e), "refused_by_store", "the store refused what the receiver did with the message");
  if (a->more && std::exchange(a->more->pause_after_reload, false)) {
    a->doing = activity::paused;
    timers_.push({services_.clock().steady_now() + std::chrono::milliseconds{100}, a->id, 0, 0});
  }
  if (a->more && (!a->more->after_load.empty() || a->more->supervises)) take_orders(*a);
  const bool runs = a->doing == activity::idle && a->desired == persistence::desired_state::running && !a->stopping;
  if (runs && a->resetting) reset_then_begin(*a); // it was under way when the last owner of the shard ended
  else if (runs && a->more && a->more->turn) {
    // A waiting turn found at start: run it again up to where it was.
    auto host = std::move(a->more->turn);
    if (a->suspected && poisonous(*a, *host->in)) {
      add(services_.metrics(a->id.tenant()).mine().crashes);
      refuse_turn(*a, std::move(host), {errc::application, "poison", "the process died more than once while it ran this message"});
    } else run_turn(*a, std::move(host));
    a = find(op.entity);
  }
  if (a) make_ready(*a);
}

void shard_core::count_bytes(activation& a) noexcept {
  const std::size_t now = a.bytes();
  bytes_ += now - a.counted;
  a.counted = now;
}

void shard_core::touch(activation& a) noexcept {
  a.last_used = static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch()).count() / 64);
  a.used = true;
}

void shard_core::make_newest(activation& a) noexcept {
  if (newest_ == &a) return;
  unlink(a);
  a.older = newest_;
  if (newest_) newest_->newer = &a;
  newest_ = &a;
  if (!oldest_) oldest_ = &a;
}

void shard_core::unlink(activation& a) noexcept {
  if (a.newer) a.newer->older = a.older;
  if (a.older) a.older->newer = a.newer;
  if (newest_ == &a) newest_ = a.older;
  if (oldest_ == &a) oldest_ = a.newer;
  a.newer = a.older = nullptr;
}

bool shard_core::may_passivate(const activation& a) const noexcept {
  if (a.queued || !a.box.empty() || a.run_ahead != 0) return false;
  if (a.doing != activity::idle && a.doing != activity::absent) return false;
  if (!a.more) return true;
  if (a.stopping || !a.more->after_load.empty() || (a.more->supervises && !a.more->supervises->core.forgettable(services_.clock().steady_now()))) return false;
  return a.more->links.empty() && a.more->delivered.empty() && a.more->running.empty() && !a.more->turn &&
         a.more->awaiting_keys.empty() && a.more->lookups == 0 && a.more->returned.empty() && a.more->uncertain.empty();
}

void shard_core::keep_facts(const activation& a) {
  constexpr std::size_t error_bytes = 256;
  const std::size_t most = std::max<std::uint64_t>(1, settings_.passivation.activations / settings_.node.shards);
  if (a.desired == persistence::desired_state::deleted || kept_.size() >= most) return;
  kept_facts facts{a.restarts, {}, {}};
  if (a.more) {
    facts.last_error = a.more->last_error.substr(0, error_bytes);
    facts.last_error_at = a.more->last_error_at;
  }
  kept_.insert_or_assign(a.id, std::move(facts));
}

void shard_core::take_facts(activation& a) {
  const auto found = kept_.find(a.id);
  if (found == kept_.end()) return;
  a.restarts = found->second.restarts;
  if (!found->second.last_error.empty()) {
    a.extra().last_error = std::move(found->second.last_error);
    a.more->last_error_at = found->second.last_error_at;
  }
  kept_.erase(found);
}

void shard_core::passivate_idle() {
  const auto now = static_cast<std::uint32_t>(
    std::chrono::duration_cast<std::chrono::milliseconds>(services_.clock().steady_now().time_since_epoch()).count() / 64);
  const auto idle = static_cast<std::uint32_t>(settings_.passivation.idle.count() / 64);
  const std::size_t most = std::max<std::uint64_t>(1, settings_.passivation.activations / settings_.node.shards);
  const std::uint64_t most_bytes = settings_.passivation.bytes / settings_.node.shards;
  // Bounded work a sweep. What was used since it was last seen here goes to the end: to keep the list in order at every
  // turn would cost two foreign cache lines a turn. What is busy is stepped over and seen again later.
  std::size_t looked = 0;
  for (activation* a = oldest_; a != nullptr && looked < 4096; ++looked) {
    activation* next = a->newer;
    if (a->more && a->more->memory && a->more->memory->used()) { // searched: not by a turn
      a->used = true;
      a->last_used = now;
    }
    if (std::exchange(a->used, false)) {
      make_newest(*a);
      if (next == nullptr) next = a; // it was the only one, or the last: now look at it
      a = next;
      continue;
    }
    if (now - a->last_used < idle && entities_.size() <= most && bytes_ <= most_bytes) break;
    if (may_passivate(*a)) passivate(*a);
    a = next;
  }
}

void shard_core::passivate(activation& a) {
  unlink(a);
  bytes_ -= a.counted;
  services_.gauges().activations.fetch_sub(1, std::memory_order_relaxed);
  if (a.restarts != 0 || (a.more && !a.more->last_error.empty())) keep_facts(a);
  entities_.erase(a.id);
}

void shard_core::unload(entity_id id) {
  if (auto* a = find(id); a && may_passivate(*a)) passivate(*a);
}

void shard_core::tick(steady_time now) {
  if (retry_timers_ != steady_time{} && now >= retry_timers_) {
    retry_timers_ = {};
    read_timers();
  }
  fire_timers();
  while (!timers_.empty() && timers_.top().due <= now) {
    const timer t = timers_.top();
    timers_.pop();
    if (t.turn == listing_timer) {
      read_children(std::move(listings_.extract(t.step).mapped()));
      continue;
    }
    activation* a = find(t.entity);
    if (!a) continue;
    if (t.turn == supervision_timer) {
      supervision_due(*a);
      continue;
    }
    if (t.turn == stop_timer) {
      stop_overdue(*a, t.step);
      continue;
    }
    if (t.turn == 0) { // a load or a message to be tried again
      if (a->doing == activity::reloading && a->run_ahead == 0) reload(*a);
      else if (a->doing == activity::absent && a->more && (a->more->turn || !a->more->after_load.empty())) start_loading(*a);
      else if (a->doing == activity::paused) {
        a->doing = activity::idle;
        if (a->more && a->more->turn && a->desired == persistence::desired_state::running && !a->stopping) run_turn(*a, std::move(a->more->turn)); // it was found on the disk while that was away
        a = find(t.entity);
      }
      if (a) make_ready(*a);
      continue;
    }
    if (!a->more || !a->more->turn || a->more->turn->number != t.turn || t.step >= a->more->turn->steps.size()) continue;
    if (a->more->turn->steps[t.step].what == step_state::kind::sleep) step_finished(*a, t.step, payload{});
    else
      step_finished(*a, t.step, error{errc::unknown, "deadline_passed", "the step did not end within its deadline; it may have happened"});
  }
  if (!to_flush_.empty() && now >= flush_at_)
    for (const auto id : std::exchange(to_flush_, {}))
      if (auto* a = find(id)) flush_delivered(*a);
  if (now >= next_sweep_) {
    next_sweep_ = now + std::min<std::chrono::milliseconds>(settings_.passivation.idle / 4 + std::chrono::milliseconds{50}, std::chrono::seconds{1});
    passivate_idle();
    services_.gauges().activation_bytes.fetch_add(static_cast<std::int64_t>(bytes_) - static_cast<std::int64_t>(bytes_told_), std::memory_order_relaxed);
    bytes_told_ = bytes_;
  }
}

std::optional<steady_time> shard_core::next_due() const {
  std::optional<steady_time> due;
  const auto at_least = [&](steady_time t) { due = due ? std::min(*due, t) : t; };
  if (!timers_.empty()) at_least(timers_.top().due);
  if (retry_timers_ != steady_time{}) at_least(retry_timers_);
  if (const auto alarm = alarms_.next(settings_.node.timers_in_flight)) at_least(services_.clock().steady_now() + (*alarm - services_.clock().wall_now()));
  if (!to_flush_.empty()) at_least(flush_at_);
  if (stalled_until_ != steady_time{}) at_least(stalled_until_);
  if (!entities_.empty()) at_least(next_sweep_);
  return due;
}

bool shard_core::quiet() const noexcept {
  if (!ready_.empty() || !to_flush_.empty() || alarms_.fired() != 0 || !listings_.empty()) return false;
  for (const auto& [id, a] : entities_) {
    if (!a->box.empty() || a->run_ahead != 0 || a->queued) return false;
    if (a->doing != activity::idle && a->doing != activity::absent) return false;
    if (a->more && (!a->more->links.empty() || a->more->turn)) return false;
  }
  return true;
}

} // namespace hive::actors
