/// @file
/// The gateway's one thread, as services and replies see it: a queue that anyone may post to, and timers.
///
/// Posting is lock-free; the thread is woken once for everything that was posted since it last looked.
#pragma once

#include "config/base/mpsc_queue.hpp"

#include <chrono>
#include <functional>
#include <memory>

namespace hive::api {

/// Something to be done on the loop's thread. Never runs when the loop has ended; it is destroyed then.
struct job : mpsc_node {
  virtual void run() = 0;
};

/// Shared by whoever may still post: it may outlive the gateway, and then drops what it is given.
class loop {
public:
  virtual ~loop() = default;
  /// Any thread.
  virtual void post(std::unique_ptr<job> work) = 0;
  /// The loop's thread only. Not cancelled: what runs then must see for itself whether it is still wanted.
  virtual void after(std::chrono::milliseconds delay, std::function<void()> work) = 0;

  /// Any thread.
  template <class Work> void post(Work work) {
    struct holder final : job {
      explicit holder(Work w) : work(std::move(w)) {}
      void run() override { work(); }
      Work work;
    };
    post(std::unique_ptr<job>(std::make_unique<holder>(std::move(work))));
  }
};

} // namespace hive::api
