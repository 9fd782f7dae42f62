/// @file
/// Work for later: a few jobs that wait some milliseconds, one thread.
#pragma once

#include "config/base/clock.hpp"

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace hive::actors {

/// Any thread. Jobs run on its own thread and must not block; those that are not due at the end are dropped.
class delayed_jobs {
public:
  explicit delayed_jobs(const clock_source& clock) : clock_(clock), thread_([this] { run(); }) {}
  ~delayed_jobs() {
    {
      std::lock_guard lock(guard_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void after(std::chrono::milliseconds wait, std::function<void()> job) {
    {
      std::lock_guard lock(guard_);
      jobs_.emplace(clock_.steady_now() + wait, std::move(job));
    }
    wake_.notify_one();
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
      job();
      lock.lock();
    }
  }

  const clock_source& clock_;
  std::mutex guard_;
  std::condition_variable wake_;
  std::multimap<steady_time, std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_; // last: it runs on all of the above
};

} // namespace hive::actors
