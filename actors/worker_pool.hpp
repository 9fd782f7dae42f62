/// @file
/// A few threads for work that blocks: store reads and steps. Tenants take turns, by the time that their jobs took; the
/// jobs of one run in the order they came.
#pragma once

#include "actors/fair_queue.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace hive::actors {

/// `State` is made by each thread for itself and given to its jobs (a store reader, for one).
template <class State> class worker_pool {
public:
  using job = std::function<void(State&)>;
  worker_pool(std::uint32_t threads, std::function<State()> make) {
    for (std::uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this, make] { run(make()); });
  }
  /// Jobs that have not begun are dropped.
  ~worker_pool() { stop(); }

  void stop() {
    {
      std::lock_guard lock(guard_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& t : threads_)
      if (t.joinable()) t.join();
  }
  void post(tenant_id for_whom, job j) {
    {
      std::lock_guard lock(guard_);
      if (stopping_) return;
      jobs_.push(for_whom, {for_whom, std::move(j)});
    }
    wake_.notify_one();
  }

private:
  void run(State state) {
    for (;;) {
      std::pair<tenant_id, job> next;
      {
        std::unique_lock lock(guard_);
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (stopping_) return;
        next = jobs_.pop();
        jobs_.charge(next.first, quantum_micros); // more when it took longer; while it runs, others come first
      }
      const auto began = std::chrono::steady_clock::now();
      next.second(state);
      const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began).count();
      next.second = nullptr;
      std::lock_guard lock(guard_);
      if (took > quantum_micros) jobs_.charge(next.first, static_cast<std::uint64_t>(took - quantum_micros));
    }
  }
  std::mutex guard_;
  std::condition_variable wake_;
  static constexpr std::int64_t quantum_micros = 100;
  fair_queue<std::pair<tenant_id, job>> jobs_{quantum_micros};
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace hive::actors
