#include "runtime/api/http/loop.hpp"

#include "config/base/log.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace hive::api::http {

void io_loop::post(std::unique_ptr<job> work) {
  if (ended_.load(std::memory_order_relaxed)) return;
  if (jobs_.push(std::move(work))) net::post(context_, [self = shared_from_this()] { self->drain(); });
}

void io_loop::drain() {
  auto chain = jobs_.drain();
  while (auto work = chain.pop()) work->run();
}

void io_loop::after(std::chrono::milliseconds delay, std::function<void()> work) {
  auto timer = std::make_shared<net::steady_timer>(context_, delay);
  timer->async_wait([timer, work = std::move(work)](const boost::system::error_code& ec) {
    if (!ec) work();
  });
}

void io_loop::run() {
  const auto guard = net::make_work_guard(context_);
  for (;;) {
    try {
      context_.run();
      return;
    } catch (const std::exception& e) {
      log::error("a handler of the gateway threw", {{"what", e.what()}});
    }
  }
}

void io_loop::end() {
  ended_ = true;
  context_.stop();
}

} // namespace hive::api::http
