/// @file
/// The gateway's thread on Asio. Include it in http/ only.
#pragma once

#include "runtime/api/loop.hpp"

#include <boost/asio/io_context.hpp>

#include <atomic>

namespace hive::api::http {

namespace net = boost::asio;

class io_loop final : public loop, public std::enable_shared_from_this<io_loop> {
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
  /// Drops what was posted and not run. @pre `run` has returned.
  void clear() { jobs_.drain(); }

private:
  void drain();
  net::io_context context_{1};
  mpsc_queue<job> jobs_; // goes before the context: jobs hold sockets
  std::atomic<bool> ended_{false};
};

} // namespace hive::api::http
