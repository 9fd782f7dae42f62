/// @file
/// Work for later: a few jobs that wait some milliseconds, one thread.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/log.hpp"

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace hive::actors {

/// Any thread. Jobs run on its own thread and must not block; those that are not due at the end are dropped. What a job
/// throws ends that job and nothing else.
class delayed_jobs {
public:
  /// @param most jobs that may wait.
  delayed_jobs(const clock_source& clock, std::size_t most) : clock_(clock), most_(most), thread_([this] { run(); }) {}
  ~delayed_jobs() {
    {
      std::lock_guard lock(guard_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  /// @param needed waits also beyond the bound: the caller has few of them.
  /// @returns false when as many wait as may; `job` is as it was then.
  bool after(std::chrono::milliseconds wait, std::function<void()>&& job, bool needed = false) {
    {
      std::lock_guard lock(guard_);
      if (!needed && jobs_.size() >= most_) return false;
      jobs_.emplace(clock_.steady_now() + wait, std::move(job));
    }
    wake_.notify_one();
    return true;
  }

private:
  void run() {
    std::unique_lock lock(guard_);
    while (!stopping_) {
      if (jobs_.empty()) {
        wake_.wait(lock);
        continue;
      }
      const auto due = jobs_.begin()->first;
      if (due > clock_.steady_now()) {
        wake_.wait_for(lock, due - clock_.steady_now());
        continue;
      }
      const auto job = std::move(jobs_.begin()->second);
      jobs_.erase(jobs_.begin());
      lock.unlock();
      try {
        job();
      } catch (const std::exception& e) {
        log::error("a delayed job threw", {{"why", e.what()}});
      }
      lock.lock();
    }
  }

  const clock_source& clock_;
  const std::size_t most_;
  std::mutex guard_;
  std::condition_variable wake_;
  std::multimap<steady_time, std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_; // last: it runs on all of the above
};

} // namespace hive::actors
