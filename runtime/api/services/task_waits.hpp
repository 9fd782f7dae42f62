/// @file
/// Callers that wait for a task to end: one subscription a tenant, for as long as somebody waits there.
#pragma once

#include "actors/messaging.hpp"
#include "runtime/api/loop.hpp"

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

namespace hive::api {

class task_waits : public std::enable_shared_from_this<task_waits> {
public:
  task_waits(actors::messaging& hive, std::shared_ptr<loop> home) : hive_(hive), home_(std::move(home)) {}

  /// Any thread. Calls `wake` once, on the loop: when the task `id` has ended, or when `wait` is over. Look at the task
  /// after this returned: what ended before is not heard of.
  void wait(tenant_context who, std::string id, std::chrono::milliseconds wait, std::function<void()> wake);

private:
  struct waiter {
    std::uint64_t number;
    std::function<void()> wake;
  };
  struct watched {
    std::shared_ptr<void> subscription;
    std::multimap<std::string, waiter> by_task;
  };
  void ended(tenant_id tenant, const std::string& id);
  void timed_out(tenant_id tenant, const std::string& id, std::uint64_t number);

  actors::messaging& hive_;
  std::shared_ptr<loop> home_;
  std::mutex guard_;
  std::map<tenant_id, watched> tenants_;
  std::uint64_t next_ = 1;
};

} // namespace hive::api
