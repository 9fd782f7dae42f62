/// @file
/// One client's ask in flight: its sink is answered exactly once, by the commit, by a refusal, or by the deadline.
#pragma once

#include "actors/messaging.hpp"

#include <array>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

namespace hive::actors {

class deadline_wheel;

/// Hears when an ask that it let in has its answer.
class ask_gate {
public:
  virtual ~ask_gate() = default;
  /// Any thread.
  virtual void left(tenant_id tenant) noexcept = 0;
};

/// Shared by the ask's envelope and the deadline wheel; the first to settle it wins. Any thread.
class ask_ticket {
public:
  ask_ticket(std::unique_ptr<reply_sink> sink, std::string key, steady_time deadline)
    : sink_(std::move(sink)), key_(std::move(key)), deadline_(deadline) {}

  void answer(ask_answer&& a) {
    if (!settled_.exchange(true, std::memory_order_acq_rel)) {
      a.idempotency_key = std::move(key_);
      sink_->answered(std::move(a));
      sink_.reset();
      leave();
    }
  }
  void fail(error&& e) {
    if (!settled_.exchange(true, std::memory_order_acq_rel)) {
      sink_->failed(std::move(e), key_);
      sink_.reset();
      leave();
    }
  }
  bool settled() const noexcept { return settled_.load(std::memory_order_acquire); }

  /// From here on its message may have effects. @returns false when its time was up first: it must have none.
  bool begin() noexcept {
    auto now = progress::waits;
    return progress_.compare_exchange_strong(now, progress::begun, std::memory_order_acq_rel) || now == progress::begun;
  }
  /// Its time is up.
  void expire() {
    auto now = progress::waits;
    if (progress_.compare_exchange_strong(now, progress::too_late, std::memory_order_acq_rel) || now == progress::too_late)
      fail({errc::rejected, "expired", "the deadline passed before the message was handled; nothing was executed"});
    else
      fail({errc::unknown, "deadline_passed", "no answer within the deadline; it may still happen: ask again with the same idempotency key"});
  }
  steady_time deadline() const noexcept { return deadline_; }

  /// It counts as under way at `gate`, once, until it is settled. @returns false when it was settled before.
  bool enter(ask_gate& gate, tenant_id tenant) noexcept {
    gate_ = &gate;
    tenant_ = tenant;
    return passage_.exchange(passage::inside, std::memory_order_acq_rel) == passage::outside;
  }

  /// It does not count as under way any more: it is settled, or waits for something else than the node.
  void leave() noexcept {
    if (passage_.exchange(passage::left, std::memory_order_acq_rel) == passage::inside) gate_->left(tenant_);
  }

private:
  enum class passage : std::uint8_t { outside, inside, left };
  enum class progress : std::uint8_t { waits, begun, too_late };

  friend class ticket_ref;
  friend class deadline_wheel;
  std::unique_ptr<reply_sink> sink_;
  std::string key_;
  steady_time deadline_;
  ask_gate* gate_ = nullptr;        // published by `passage_`
  tenant_id tenant_;
  std::atomic<passage> passage_{passage::outside};
  std::atomic<progress> progress_{progress::waits};
  std::atomic<bool> settled_{false};
  std::atomic<int> references_{1};
  deadline_wheel* wheel_ = nullptr; // set once, before the ticket is shared
  std::size_t slot_ = 0;
  // Guarded by the wheel's slot.
  bool linked_ = false;
  ask_ticket* previous_ = nullptr;
  ask_ticket* next_ = nullptr;
};

/// Counted reference. When the message's reference goes without an answer, the asker hears `unavailable`: never silence.
class ticket_ref {
public:
  ticket_ref() = default;
  explicit ticket_ref(ask_ticket* t) noexcept : ticket_(t) {}
  ticket_ref(ticket_ref&& other) noexcept : ticket_(std::exchange(other.ticket_, nullptr)) {}
  ticket_ref& operator=(ticket_ref&& other) noexcept {
    std::swap(ticket_, other.ticket_);
    return *this;
  }
  ~ticket_ref();
  ask_ticket* operator->() const noexcept { return ticket_; }
  ask_ticket* get() const noexcept { return ticket_; }
  explicit operator bool() const noexcept { return ticket_ != nullptr; }
  static void release(ask_ticket* t) noexcept {
    if (t->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete t;
  }

private:
  ask_ticket* ticket_ = nullptr;
};

/// Tells askers when their deadline passes: `rejected` when nothing was begun, `unknown` otherwise. Hashed wheel, a lock a slot, one thread.
class deadline_wheel {
public:
  explicit deadline_wheel(const clock_source& clock);
  ~deadline_wheel();
  /// Shares the ticket until it is settled or its deadline passed.
  void watch(ask_ticket* t);
  void forget(ask_ticket* t) noexcept;
  /// Settles everything due at `now`. Called by the thread; by tests with a clock of their own.
  void expire(steady_time now);

private:
  static constexpr std::size_t slots = 4096;
  static constexpr std::chrono::milliseconds tick{8};
  struct slot {
    std::mutex guard;
    ask_ticket* head = nullptr;
  };
  std::size_t slot_of(steady_time t) const noexcept {
    return static_cast<std::size_t>(t.time_since_epoch() / tick) % slots;
  }
  void unlink(slot& s, ask_ticket* t) noexcept;

  const clock_source& clock_;
  std::array<slot, slots> wheel_;
  std::mutex expiring_;            // the thread, and tests that move the clock
  std::int64_t expired_ticks_ = 0; // guarded by it
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

} // namespace hive::actors
