#include "persistence/wake_ups.hpp"

#include "config/base/bytes.hpp"

#include <algorithm>

namespace hive::persistence {
namespace {
constexpr std::uint64_t format = 1;
constexpr std::uint64_t batch_max = 65'536; // more is nonsense
constexpr std::size_t tenants_under_way = 100'000;
} // namespace

std::string encode(std::span<const wake_up> batch) {
  byte_writer out;
  out.varint(format).varint(batch.size());
  for (const auto& w : batch) out.varint(w.tenant.value()).varint(w.position);
  return out.take();
}

std::vector<wake_up> decode_wake_ups(std::string_view bytes) {
  byte_reader in(bytes);
  std::vector<wake_up> batch;
  if (in.varint() != format) return batch;
  const auto count = in.varint();
  if (count > batch_max) return batch;
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    const tenant_id tenant{static_cast<std::uint32_t>(in.varint())};
    batch.push_back({tenant, in.varint()});
  }
  if (!in.ok()) batch.clear();
  return batch;
}

bool wake_batcher::add(wake_up w, steady_time now) {
  const auto found = tenants_.find(w.tenant);
  if (found != tenants_.end()) {
    found->second.position = std::max(found->second.position, w.position);
    found->second.waiting = true;
    return true;
  }
  if (tenants_.size() >= tenants_max_) return false;
  tenants_.emplace(w.tenant, tenant_state{w.position, true});
  times_.emplace(now, w.tenant);
  return true;
}

std::vector<wake_up> wake_batcher::due(steady_time now) {
  std::vector<wake_up> out;
  while (!times_.empty() && times_.begin()->first <= now && out.size() < batch_max) {
    const auto tenant = times_.begin()->second;
    times_.erase(times_.begin());
    auto& state = tenants_.at(tenant);
    if (!state.waiting) {
      tenants_.erase(tenant);
      continue;
    }
    out.push_back({tenant, state.position});
    state.waiting = false;
    times_.emplace(now + interval_, tenant);
  }
  return out;
}

std::optional<steady_time> wake_batcher::next() const { return times_.empty() ? std::nullopt : std::optional(times_.begin()->first); }

wake_sender::wake_sender(std::uint32_t per_second, const clock_source& clock, std::function<void(const std::vector<wake_up>&)> send)
  : clock_(clock), send_(std::move(send)), batcher_(per_second, tenants_under_way), thread_([this] { run(); }) {}

wake_sender::~wake_sender() {
  {
    std::lock_guard lock(guard_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void wake_sender::add(std::span<const wake_up> batch) {
  const auto now = clock_.steady_now();
  std::uint64_t dropped = 0;
  {
    std::lock_guard lock(guard_);
    for (const auto& w : batch)
      if (!batcher_.add(w, now)) ++dropped;
  }
  changed_.notify_one();
  counters_.asked.fetch_add(batch.size(), std::memory_order_relaxed);
  counters_.dropped.fetch_add(dropped, std::memory_order_relaxed);
}

void wake_sender::run() {
  std::unique_lock lock(guard_);
  while (!stopping_) {
    const auto now = clock_.steady_now();
    const auto next = batcher_.next();
    if (!next) {
      changed_.wait(lock);
    } else if (*next > now) {
      changed_.wait_for(lock, *next - now);
    } else if (const auto due = batcher_.due(now); !due.empty()) {
      lock.unlock();
      send_(due);
      lock.lock();
    }
  }
}

} // namespace hive::persistence
