/// @file
/// What the incoming and outgoing halves of node_links share.
#pragma once

#include "cluster/links/credit.hpp"
#include "cluster/links/grpc/credentials.hpp"
#include "cluster/links/grpc/io_thread.hpp"
#include "cluster/links/send_queue.hpp"

#include "cluster/links/link.grpc.pb.h"

#include <atomic>
#include <condition_variable>
#include <limits>

namespace hive::cluster::links {

namespace wire = hive::link::v1;

/// Of link_counters; any thread.
struct atomic_counters {
  std::atomic<std::uint64_t> frames_sent{0}, bytes_sent{0}, batches_sent{0}, frames_received{0}, bytes_received{0}, answers_sent{0},
      answers_received{0}, frames_dropped{0}, refused_full{0}, requests_failed{0}, links_up{0}, links_down{0}, handshakes_refused{0},
      protocol_errors{0};
};

inline void add(std::atomic<std::uint64_t>& to, std::uint64_t n = 1) noexcept { to.fetch_add(n, std::memory_order_relaxed); }

/// Streams keep the threads: these stop when the last stream has ended.
class stream_count {
public:
  void began() noexcept {
    std::lock_guard lock(guard_);
    count_ += 1;
  }
  void ended() noexcept {
    std::lock_guard lock(guard_);
    count_ -= 1;
    if (count_ == 0) none_.notify_all();
  }
  void wait_for_none() {
    std::unique_lock lock(guard_);
    none_.wait(lock, [this] { return count_ == 0; });
  }

private:
  std::mutex guard_;
  std::condition_variable none_;
  std::size_t count_ = 0;
};

struct core {
  const config::link_settings& settings;
  const clock_source& clock;
  link_listener& listener;
  const identity self;
  certificate_provider files;
  atomic_counters count;
  stream_count streams;
  std::atomic<bool> stopping{false};
  std::unique_ptr<io_thread> control; ///< Control lanes, dialling, events.
  std::unique_ptr<io_thread> data;    ///< Data and bulk lanes.

  io_thread& thread_of(lane by) noexcept { return by == lane::control ? *control : *data; }
};

/// One operation of a stream, as gRPC gives it back.
template <class Stream> struct operation final : completion {
  Stream* self = nullptr;
  void (Stream::*then)(bool) = nullptr;
  operation(Stream* s, void (Stream::*t)(bool)) noexcept : self(s), then(t) {}
  void done(bool ok) override { (self->*then)(ok); }
};

/// What this node takes by a lane, and lets wait for it.
inline window window_of(const config::link_settings& s, lane by) {
  switch (by) {
  case lane::data:
    return {s.window_messages, s.window_bytes, s.tenant_window_messages, s.tenant_window_bytes};
  case lane::bulk: {
    const auto one = cost_of(s.bulk_frame_bytes);
    return {s.window_messages, 2 * one, s.tenant_window_messages, one};
  }
  case lane::control:
    break;
  }
  constexpr auto any = std::numeric_limits<std::uint64_t>::max() / 2;
  return {any, any, any, any};
}

inline std::uint64_t frame_bytes_of(const config::link_settings& s, lane by) {
  if (by == lane::control) return control_frame_bytes;
  return by == lane::data ? s.frame_bytes : s.bulk_frame_bytes;
}

inline queue_limits queue_limits_of(const config::link_settings& s, lane by) {
  const auto one = frame_bytes_of(s, by);
  switch (by) {
  case lane::data:
    return {s.queue_messages, s.queue_bytes, s.tenant_queue_messages, s.tenant_queue_bytes, one};
  case lane::bulk:
    return {s.queue_messages, 2 * cost_of(one), s.tenant_queue_messages, cost_of(one), one};
  case lane::control:
    break;
  }
  constexpr std::uint64_t frames = 4096;
  constexpr std::uint64_t bytes = 4 * 1024 * 1024;
  return {frames, bytes, frames, bytes, one};
}

/// HTTP/2's own window: a few batches, so that one is written while the one before is read. Our credits are the real bound.
inline constexpr int transport_window = 1024 * 1024;

/// Of one gRPC message: a batch of the largest setting, or one frame.
inline int message_bytes_of(const config::link_settings& s) {
  constexpr std::uint64_t batch = 16 * 1024 * 1024;
  return static_cast<int>(std::max(batch, s.frame_bytes) + 64 * 1024);
}

} // namespace hive::cluster::links
