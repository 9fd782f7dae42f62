/// @file
/// One thread, one gRPC completion queue: everything that belongs to it happens on this thread, so its streams need no
/// locks. Others hand it tasks.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace hive::cluster::links {

/// What a completion queue gives back. Lives until `done` was called.
struct completion {
  virtual ~completion() = default;
  virtual void done(bool ok) = 0;
};

class io_thread {
public:
  /// @param tick called about every `period`, on the thread.
  io_thread(std::unique_ptr<grpc::CompletionQueue> queue, std::string name, std::chrono::milliseconds period, std::function<void()> tick);
  ~io_thread();
  io_thread(const io_thread&) = delete;
  io_thread& operator=(const io_thread&) = delete;

  void start();
  /// No stream may be left in the queue. Not from the thread itself.
  void stop();

  /// Any thread: runs it on this one, soon, in order. Tasks posted after `stop` never run.
  void post(std::function<void()> task);
  bool is_current() const noexcept { return std::this_thread::get_id() == id_.load(std::memory_order_relaxed); }
  grpc::CompletionQueue* queue() noexcept { return queue_.get(); }

private:
  void run();
  void run_tasks();

  struct wake_up final : completion {
    io_thread* owner = nullptr;
    void done(bool) override;
  };

  std::unique_ptr<grpc::CompletionQueue> queue_;
  std::string name_;
  std::chrono::milliseconds period_;
  std::function<void()> tick_;
  wake_up wake_up_;
  grpc::Alarm alarm_;
  std::mutex guard_;
  std::vector<std::function<void()>> tasks_;
  bool alarm_set_ = false;
  bool stopping_ = false;
  std::atomic<std::thread::id> id_{};
  std::thread thread_;
};

} // namespace hive::cluster::links
