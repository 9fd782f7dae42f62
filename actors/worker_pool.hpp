/// @file
/// A few threads for work that blocks: store reads and steps. Tenants take turns, by the time that their jobs took; the
/// jobs of one run in the order they came. What a job throws ends that job and nothing else.
#pragma once

#include "actors/fair_queue.hpp"
#include "config/base/error.hpp"
#include "config/base/log.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace hive::actors {

/// What is said of a job that did not find room.
inline error too_many_jobs() {
  return {errc::resource_exhausted, "node_overloaded", "node.jobs_waiting reads or steps wait for a thread", {}, std::chrono::milliseconds{100}};
}

/// `State` is made by each thread for itself and given to its jobs (a store reader, for one).
template <class State> class worker_pool {
public:
  using job = std::function<void(State&)>;
  /// @param most jobs that may wait; without it, whoever posts bounds them.
  worker_pool(std::uint32_t threads, std::function<State()> make, std::size_t most = std::numeric_limits<std::size_t>::max()) : most_(most) {
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
  /// @returns false when as many wait as may; `j` is as it was then. While it stops, jobs are dropped.
  bool post(tenant_id for_whom, job&& j) {
    {
      std::lock_guard lock(guard_);
      if (stopping_) return true;
      if (jobs_.size() >= most_) return false;
      jobs_.push(for_whom, {for_whom, std::move(j)});
    }
    wake_.notify_one();
    return true;
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
      try {
        next.second(state);
      } catch (const std::exception& e) {
        log::error("a job of a thread pool threw", {{"tenant", next.first.value()}, {"why", e.what()}});
      }
      const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began).count();
      next.second = nullptr;
      std::lock_guard lock(guard_);
      if (took > quantum_micros) jobs_.charge(next.first, static_cast<std::uint64_t>(took - quantum_micros));
    }
  }
  const std::size_t most_;
  std::mutex guard_;
  std::condition_variable wake_;
  static constexpr std::int64_t quantum_micros = 100;
  fair_queue<std::pair<tenant_id, job>> jobs_{quantum_micros};
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace hive::actors
