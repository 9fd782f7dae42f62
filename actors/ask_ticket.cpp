#include "actors/ask_ticket.hpp"

namespace hive::actors {

ticket_ref::~ticket_ref() {
  if (!ticket_) return;
  ticket_->fail({errc::unavailable, "dropped", "the message was dropped before it was handled; ask again with the same key"});
  if (ticket_->wheel_) ticket_->wheel_->forget(ticket_);
  release(ticket_);
}

deadline_wheel::deadline_wheel(const clock_source& clock)
  : clock_(clock), expired_ticks_(clock.steady_now().time_since_epoch() / tick), thread_([this] {
      while (!stopping_.load(std::memory_order_relaxed)) {
        std::this_thread::sleep_for(tick);
        expire(clock_.steady_now());
      }
    }) {}

deadline_wheel::~deadline_wheel() {
  stopping_ = true;
  thread_.join();
  for (auto& s : wheel_)
    while (s.head) {
      ask_ticket* t = s.head;
      unlink(s, t);
      t->fail({errc::unavailable, "stopping", "the node is stopping; ask again with the same key"});
      ticket_ref::release(t);
    }
}

void deadline_wheel::watch(ask_ticket* t) {
  t->references_.fetch_add(1, std::memory_order_relaxed);
  t->slot_ = slot_of(t->deadline_ + tick);
  t->wheel_ = this;
  auto& s = wheel_[t->slot_];
  std::lock_guard lock(s.guard);
  t->linked_ = true;
  t->next_ = s.head;
  if (s.head) s.head->previous_ = t;
  s.head = t;
}

void deadline_wheel::unlink(slot& s, ask_ticket* t) noexcept {
  if (t->previous_) t->previous_->next_ = t->next_;
  else s.head = t->next_;
  if (t->next_) t->next_->previous_ = t->previous_;
  t->previous_ = t->next_ = nullptr;
  t->linked_ = false;
}

void deadline_wheel::forget(ask_ticket* t) noexcept {
  auto& s = wheel_[t->slot_];
  {
    std::lock_guard lock(s.guard);
    if (!t->linked_) return; // the deadline came first and holds its own end
    unlink(s, t);
  }
  ticket_ref::release(t);
}

void deadline_wheel::expire(steady_time now) {
  std::lock_guard expiring(expiring_);
  const auto until = now.time_since_epoch() / tick;
  if (until - expired_ticks_ > static_cast<std::int64_t>(slots)) expired_ticks_ = until - static_cast<std::int64_t>(slots);
  for (; expired_ticks_ < until; ++expired_ticks_) {
    auto& s = wheel_[static_cast<std::size_t>(expired_ticks_) % slots];
    std::vector<ask_ticket*> due;
    {
      std::lock_guard lock(s.guard);
      for (ask_ticket* t = s.head; t != nullptr;) {
        ask_ticket* next = t->next_;
        if (t->deadline_ <= now) {
          unlink(s, t);
          due.push_back(t);
        }
        t = next;
      }
    }
    for (ask_ticket* t : due) {
      t->expire();
      ticket_ref::release(t);
    }
  }
}

} // namespace hive::actors
