#include "actors/caf/shard_actors.hpp"

#include "config/base/log.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <caf/all.hpp>
#pragma GCC diagnostic pop

namespace hive::actors {
namespace {

using tick_atom = caf::atom_constant<caf::atom("tick")>;

/// One shard as CAF runs it: a resumable of CAF's scheduler with our own inbox in place of a CAF mailbox, so that waking it
/// makes no message. At most one worker runs it at a time.
class shard_slot final : public caf::resumable {
public:
  shard_slot(shard_id id, std::unique_ptr<shard_core> shard, const shard_actors::elsewhere& where_else, const std::atomic<bool>& stopping)
    : core(std::move(shard)), id_(id), elsewhere_(where_else), stopping_(stopping) {}

  /// Any thread.
  void post(std::unique_ptr<shard_op> op) {
    depth.fetch_add(1, std::memory_order_relaxed);
    if (inbox_.push(std::move(op))) wake();
  }
  void tick_is_due() {
    tick_due_.store(true, std::memory_order_relaxed);
    wake();
  }
  /// Returns when it does not run, and never will again. @pre `stopping` is set
  void stop() {
    for (auto expected = state::idle; !state_.compare_exchange_weak(expected, state::stopped); expected = state::idle) std::this_thread::yield();
  }

  subtype_t subtype() const override { return function_object; }
  resume_result resume(caf::execution_unit*, std::size_t) override {
    state_.store(state::running, std::memory_order_seq_cst);
    if (!stopping_.load(std::memory_order_relaxed) && run()) return resume_later;
    auto expected = state::running;
    return state_.compare_exchange_strong(expected, state::idle) ? awaiting_message : resume_later;
  }
  // Owned by `shard_actors`, which outlives CAF's workers' use of it.
  void intrusive_ptr_add_ref_impl() override {}
  void intrusive_ptr_release_impl() override {}

  std::unique_ptr<shard_core> core;
  std::atomic<std::uint32_t> depth{0};
  caf::scheduler::abstract_coordinator* scheduler = nullptr;
  caf::actor timekeeper;

private:
  /// `queued`: in the scheduler's queue, or running and something came meanwhile.
  enum class state : std::uint8_t { idle, queued, running, stopped };

  void wake() {
    if (state_.exchange(state::queued, std::memory_order_seq_cst) == state::idle) scheduler->enqueue(this);
  }

  /// Takes what has come, runs a slice, and says when it wants to be called again. @returns true when there is more to do.
  bool run() {
    if (tick_due_.load(std::memory_order_relaxed) && tick_due_.exchange(false)) {
      armed_ = steady_time::max();
      if (core) core->tick(std::chrono::steady_clock::now());
    }
    auto chain = inbox_.drain();
    std::uint32_t taken = 0;
    while (auto op = chain.pop()) {
      ++taken;
      take(std::move(op));
    }
    if (taken != 0) depth.fetch_sub(taken, std::memory_order_relaxed);
    if (!core) return false;
    const bool more = core->run_slice();
    if (const auto due = core->next_due(); due && *due < armed_) {
      armed_ = *due;
      const auto wait = std::max<std::chrono::nanoseconds>(*due - std::chrono::steady_clock::now(), std::chrono::microseconds{100});
      caf::delayed_anon_send(timekeeper, std::chrono::ceil<std::chrono::microseconds>(wait), tick_atom::value, id_.value());
    }
    return more;
  }

  void take(std::unique_ptr<shard_op> op) {
    switch (op->what) {
    case shard_op::kind::install: {
      auto& coming = static_cast<install_op&>(*op);
      core = std::move(coming.core);
      if (coming.begin) coming.begin(*core);
      for (auto& kept : take_kept()) core->handle(std::move(kept));
      return;
    }
    case shard_op::kind::remove:
      static_cast<remove_op&>(*op).done(std::move(core));
      for (auto& kept : take_kept()) not_here(std::move(kept));
      return;
    default:
      if (core) core->handle(std::move(op));
      else not_here(std::move(op));
    }
  }

  void not_here(std::unique_ptr<shard_op> op) {
    if (!elsewhere_) return;
    auto keep = elsewhere_(id_, std::move(op), kept_.size() < shard_actors::kept_most);
    if (!keep) return;
    kept_.push_back(std::move(keep));
    depth.fetch_add(1, std::memory_order_relaxed);
  }
  std::vector<std::unique_ptr<shard_op>> take_kept() {
    depth.fetch_sub(static_cast<std::uint32_t>(kept_.size()), std::memory_order_relaxed);
    return std::exchange(kept_, {});
  }

  shard_id id_;
  const shard_actors::elsewhere& elsewhere_;
  const std::atomic<bool>& stopping_;
  mpsc_queue<shard_op> inbox_;
  std::vector<std::unique_ptr<shard_op>> kept_; // for a shard that is to come here
  std::atomic<state> state_{state::idle};
  std::atomic<bool> tick_due_{false};
  steady_time armed_ = steady_time::max();
};

} // namespace

struct shard_actors::impl {
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::vector<std::unique_ptr<shard_slot>> slots;
  caf::actor timekeeper; // turns CAF's delayed messages into ticks
  shard_actors::elsewhere where_else;
  std::atomic<bool> stopping{false};
};

shard_actors::shard_actors(std::vector<std::unique_ptr<shard_core>> cores, std::uint32_t workers, elsewhere where_else)
  : impl_(std::make_unique<impl>()) {
  impl_->where_else = std::move(where_else);
  impl_->config.set("scheduler.policy", caf::atom("sharing"));
  impl_->config.set("scheduler.max-threads", workers == 0 ? std::max(1U, std::thread::hardware_concurrency()) : workers);
  impl_->system = std::make_unique<caf::actor_system>(impl_->config);
  // With an argument: without one CAF 0.17 takes a tuple that is not there.
  impl_->timekeeper = impl_->system->spawn(
    [](caf::event_based_actor* self, impl* mine) -> caf::behavior {
      self->set_default_handler(caf::drop);
      return {[mine](tick_atom, std::uint16_t shard) { mine->slots[shard]->tick_is_due(); }};
    },
    impl_.get());
  for (auto& core : cores) {
    const shard_id id{static_cast<std::uint16_t>(impl_->slots.size())};
    auto& slot = *impl_->slots.emplace_back(std::make_unique<shard_slot>(id, std::move(core), impl_->where_else, impl_->stopping));
    slot.scheduler = &impl_->system->scheduler();
    slot.timekeeper = impl_->timekeeper;
  }
}

void shard_actors::stop() {
  if (impl_->stopping.exchange(true)) return;
  caf::anon_send_exit(impl_->timekeeper, caf::exit_reason::user_shutdown);
  impl_->system->await_all_actors_done();
  for (auto& s : impl_->slots) s->stop();
}

shard_actors::~shard_actors() {
  stop();
  for (auto& s : impl_->slots) s->timekeeper = nullptr;
  impl_->timekeeper = nullptr;
  impl_->system.reset();
}

void shard_actors::post(shard_id to, std::unique_ptr<shard_op> op) { impl_->slots[to.value()]->post(std::move(op)); }

std::uint32_t shard_actors::depth(shard_id of) const noexcept { return impl_->slots[of.value()]->depth.load(std::memory_order_relaxed); }

} // namespace hive::actors
