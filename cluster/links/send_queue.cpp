#include "cluster/links/send_queue.hpp"

namespace hive::cluster::links {

result<void> send_queue::push(std::string_view peer, queued_frame& f) {
  if (f.body.size() > limits_.frame_bytes)
    return error{errc::invalid_argument,
                 "frame_too_large",
                 "a frame of " + std::to_string(f.body.size()) + " bytes; this lane takes " + std::to_string(limits_.frame_bytes),
                 {},
                 {}};
  const auto cost = cost_of(f.body.size());
  if (messages_ + 1 > limits_.messages || bytes_ + cost > limits_.bytes)
    return error{errc::resource_exhausted,
                 "link_full",
                 "too much waits to go to node " + std::string(peer) + " (" + std::to_string(messages_) + " messages, " +
                     std::to_string(bytes_) + " bytes)",
                 {},
                 milliseconds{100}};
  auto& t = tenants_[f.tenant.value()];
  if (t.frames.size() + 1 > limits_.tenant_messages || t.bytes + cost > limits_.tenant_bytes) {
    error full{errc::resource_exhausted,
               "tenant_full",
               "too much of tenant " + std::to_string(f.tenant.value()) + " waits to go to node " + std::string(peer) + " (" +
                   std::to_string(t.frames.size()) + " messages, " + std::to_string(t.bytes) + " bytes)",
               {},
               milliseconds{100}};
    if (t.frames.empty() && t.out_messages == 0) tenants_.erase(f.tenant.value());
    return full;
  }
  t.frames.push_back(std::move(f));
  t.bytes += cost;
  bytes_ += cost;
  messages_ += 1;
  if (!t.listed) {
    t.listed = true;
    turn_.push_back(t.frames.back().tenant.value());
  }
  return {};
}

bool send_queue::returned(const credit& c) {
  const auto found = tenants_.find(c.tenant.value());
  if (found == tenants_.end()) return false;
  auto& t = found->second;
  if (c.messages > t.out_messages || c.bytes > t.out_bytes) return false;
  t.out_messages -= c.messages;
  t.out_bytes -= c.bytes;
  out_messages_ -= c.messages;
  out_bytes_ -= c.bytes;
  if (t.out_messages == 0 && t.frames.empty()) tenants_.erase(found);
  return true;
}

} // namespace hive::cluster::links
