/// @file
/// A few threads for work that blocks: store reads and steps. Jobs run in the order they came.
#pragma once

#include <condition_variable>
#include <deque>
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
  void post(job j) {
    {
      std::lock_guard lock(guard_);
      if (stopping_) return;
      jobs_.push_back(std::move(j));
    }
    wake_.notify_one();
  }

private:
  void run(State state) {
    for (;;) {
      job next;
      {
        std::unique_lock lock(guard_);
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (stopping_) return;
        next = std::move(jobs_.front());
        jobs_.pop_front();
      }
      next(state);
    }
  }
  std::mutex guard_;
  std::condition_variable wake_;
  std::deque<job> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace hive::actors
