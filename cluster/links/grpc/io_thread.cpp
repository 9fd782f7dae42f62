#include "cluster/links/grpc/io_thread.hpp"

#include <grpc/support/time.h>
#include <pthread.h>

namespace hive::cluster::links {

io_thread::io_thread(std::unique_ptr<grpc::CompletionQueue> queue, std::string name, std::chrono::milliseconds period,
                     std::function<void()> tick)
    : queue_(std::move(queue)), name_(std::move(name)), period_(period), tick_(std::move(tick)) {
  wake_up_.owner = this;
}

io_thread::~io_thread() { stop(); }

void io_thread::start() {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), name_.substr(0, 15).c_str());
}

void io_thread::stop() {
  {
    std::lock_guard lock(guard_);
    if (stopping_) return;
    stopping_ = true;
  }
  queue_->Shutdown();
  if (thread_.joinable())
    thread_.join();
  else
    for (void* tag = nullptr;;) // never started: a queue must be drained before it is destroyed
      if (bool ok = false; !queue_->Next(&tag, &ok)) break;
}

void io_thread::post(std::function<void()> task) {
  std::lock_guard lock(guard_);
  if (stopping_) return;
  tasks_.push_back(std::move(task));
  if (alarm_set_ || is_current()) return; // the thread looks for tasks after each event
  alarm_set_ = true;
  alarm_.Set(queue_.get(), gpr_now(GPR_CLOCK_MONOTONIC), &wake_up_);
}

void io_thread::wake_up::done(bool) {
  std::lock_guard lock(owner->guard_);
  owner->alarm_set_ = false;
}

void io_thread::run_tasks() {
  std::vector<std::function<void()>> tasks;
  for (;;) {
    {
      std::lock_guard lock(guard_);
      if (tasks_.empty()) return;
      tasks.swap(tasks_);
    }
    for (auto& t : tasks) t();
    tasks.clear();
  }
}

void io_thread::run() {
  id_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  const auto in_a_period = [this] {
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(period_.count(), GPR_TIMESPAN));
  };
  auto next_tick = in_a_period();
  for (;;) {
    void* tag = nullptr;
    bool ok = false;
    switch (queue_->AsyncNext(&tag, &ok, next_tick)) {
    case grpc::CompletionQueue::SHUTDOWN:
      return;
    case grpc::CompletionQueue::GOT_EVENT:
      static_cast<completion*>(tag)->done(ok);
      break;
    case grpc::CompletionQueue::TIMEOUT:
      break;
    }
    run_tasks();
    if (gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), next_tick) >= 0) {
      tick_();
      run_tasks();
      next_tick = in_a_period();
    }
  }
}

} // namespace hive::cluster::links
