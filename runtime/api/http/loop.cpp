#include "runtime/api/http/loop.hpp"

#include "config/base/log.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace hive::api::http {

struct io_loop::delayed {
  net::steady_timer timer;
  std::function<void()> work;
};

void io_loop::post(std::unique_ptr<job> work) {
  if (ended_.load(std::memory_order_relaxed)) return;
  if (jobs_.push(std::move(work))) net::post(context_, [this] { drain(); });
}

void io_loop::drain() {
  auto chain = jobs_.drain();
  while (const auto work = chain.pop()) {
    try {
      work->run();
    } catch (const std::exception& e) { // the others in the chain are not to blame
      log::error("a job of the gateway threw", {{"what", e.what()}});
    }
  }
}

void io_loop::after(std::chrono::milliseconds delay, std::function<void()> work) {
  const auto d = std::make_shared<delayed>(delayed{net::steady_timer(context_, delay), std::move(work)});
  delayed_.insert(d);
  d->timer.async_wait([this, weak = std::weak_ptr(d)](const boost::system::error_code& ec) {
    const auto due = weak.lock();
    if (ec || !due) return;
    delayed_.erase(due);
    due->work();
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

void io_loop::clear() {
  jobs_.drain();
  delayed_.clear();
  context_.restart();
  context_.poll();
  jobs_.drain();
}

} // namespace hive::api::http
