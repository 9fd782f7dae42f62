/// @file
/// The gateway's thread on Asio. Include it in http/ only.
#pragma once

#include "runtime/api/loop.hpp"

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <unordered_set>

namespace hive::api::http {

namespace net = boost::asio;

class io_loop final : public loop {
public:
  using loop::post;
  void post(std::unique_ptr<job> work) override;
  void after(std::chrono::milliseconds delay, std::function<void()> work) override;
  /// At once when called on the loop's thread, otherwise posted.
  template <class Work> void run_or_post(Work work) {
    if (context_.get_executor().running_in_this_thread()) work();
    else post(std::move(work));
  }

  net::io_context& context() noexcept { return context_; }
  /// Runs until `end`. What a handler throws is logged, and the loop goes on.
  void run();
  /// Any thread: `run` returns soon; what is posted from now on is dropped.
  void end();
  /// Drops what was posted or delayed and has not run, and lets operations of closed sockets end: all of it may hold the
  /// loop, which would then hold itself. @pre `run` has returned, every socket is closed.
  void clear();

private:
  struct delayed;
  void drain();
  net::io_context context_{1};
  std::unordered_set<std::shared_ptr<delayed>> delayed_; // goes before the context, as the jobs do
  mpsc_queue<job> jobs_;
  std::atomic<bool> ended_{false};
};

} // namespace hive::api::http
