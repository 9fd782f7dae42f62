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

using wake_atom = caf::atom_constant<caf::atom("wake")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;

/// One shard: its core, its inbox, and the timer that is set for it.
struct shard_slot {
  std::unique_ptr<shard_core> core;
  mpsc_queue<shard_op> inbox;
  std::atomic<std::uint32_t> depth{0};
  caf::actor actor;
  steady_time armed = steady_time::max();
};

/// Takes what has come, runs a slice, and says when it wants to be called again.
void run(caf::event_based_actor* self, shard_slot& slot, const std::atomic<bool>& stopping) {
  if (stopping.load(std::memory_order_relaxed)) return;
  auto chain = slot.inbox.drain();
  std::uint32_t taken = 0;
  while (auto op = chain.pop()) {
    ++taken;
    slot.core->handle(std::move(op));
  }
  if (taken != 0) slot.depth.fetch_sub(taken, std::memory_order_relaxed);
  if (slot.core->run_slice()) self->send(self, wake_atom::value);
  if (const auto due = slot.core->next_due(); due && *due < slot.armed) {
    slot.armed = *due;
    const auto wait = std::max<std::chrono::nanoseconds>(*due - std::chrono::steady_clock::now(), std::chrono::microseconds{100});
    self->delayed_send(self, std::chrono::ceil<std::chrono::microseconds>(wait), tick_atom::value);
  }
}

caf::behavior shard_behaviour(caf::event_based_actor* self, shard_slot* slot, const std::atomic<bool>* stopping) {
  self->set_default_handler(caf::drop);
  return {
    [=](wake_atom) { run(self, *slot, *stopping); },
    [=](tick_atom) {
      if (stopping->load(std::memory_order_relaxed)) return;
      slot->armed = steady_time::max();
      slot->core->tick(std::chrono::steady_clock::now());
      run(self, *slot, *stopping);
    },
  };
}

} // namespace

struct shard_actors::impl {
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::vector<std::unique_ptr<shard_slot>> slots;
  std::atomic<bool> stopping{false};
};

shard_actors::shard_actors(std::vector<std::unique_ptr<shard_core>> cores, std::uint32_t workers) : impl_(std::make_unique<impl>()) {
  impl_->config.set("scheduler.policy", caf::atom("sharing"));
  impl_->config.set("scheduler.max-threads", workers == 0 ? std::max(1U, std::thread::hardware_concurrency()) : workers);
  impl_->config.set("scheduler.max-throughput", 50);
  impl_->system = std::make_unique<caf::actor_system>(impl_->config);
  for (auto& core : cores) {
    auto slot = std::make_unique<shard_slot>();
    slot->core = std::move(core);
    slot->actor = impl_->system->spawn(shard_behaviour, slot.get(), &impl_->stopping);
    impl_->slots.push_back(std::move(slot));
  }
}

void shard_actors::stop() {
  if (impl_->stopping.exchange(true)) return;
  for (auto& s : impl_->slots) caf::anon_send_exit(s->actor, caf::exit_reason::user_shutdown);
  impl_->system->await_all_actors_done();
}

shard_actors::~shard_actors() {
  stop();
  for (auto& s : impl_->slots) s->actor = nullptr;
  impl_->system.reset();
}

void shard_actors::post(shard_id to, std::unique_ptr<shard_op> op) {
  auto& slot = *impl_->slots[to.value()];
  slot.depth.fetch_add(1, std::memory_order_relaxed);
  if (slot.inbox.push(std::move(op)) && !impl_->stopping.load(std::memory_order_relaxed)) caf::anon_send(slot.actor, wake_atom::value);
}

std::uint32_t shard_actors::depth(shard_id of) const noexcept { return impl_->slots[of.value()]->depth.load(std::memory_order_relaxed); }

} // namespace hive::actors
