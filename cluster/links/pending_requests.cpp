#include "cluster/links/pending_requests.hpp"

#include <cassert>

namespace hive::cluster::links {

void pending_requests::add(tenant_id tenant, std::uint64_t correlation, steady_time deadline, answer_handler& done) {
  assert(!full() && !full(tenant));
  of_tenant_[tenant.value()] += 1;
  by_deadline_.emplace(deadline, correlation);
  waiting_.emplace(correlation, pending_request{std::move(done), deadline, tenant, false});
}

void pending_requests::mark_sent(std::uint64_t correlation) {
  if (const auto found = waiting_.find(correlation); found != waiting_.end()) found->second.sent = true;
}

std::optional<pending_request> pending_requests::take(std::uint64_t correlation) {
  const auto found = waiting_.find(correlation);
  if (found == waiting_.end()) return std::nullopt;
  by_deadline_.erase({found->second.deadline, correlation});
  auto request = std::move(found->second);
  waiting_.erase(found);
  if (const auto mine = of_tenant_.find(request.tenant.value()); --mine->second == 0) of_tenant_.erase(mine);
  return request;
}

std::vector<pending_request> pending_requests::take_expired(steady_time now) {
  std::vector<pending_request> gone;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) gone.push_back(*take(by_deadline_.begin()->second));
  return gone;
}

std::vector<pending_request> pending_requests::take_all() {
  std::vector<pending_request> gone;
  while (!by_deadline_.empty()) gone.push_back(*take(by_deadline_.begin()->second));
  return gone;
}

error expired(const pending_request& r, std::string_view peer) {
  if (r.sent)
    return {errc::unknown, "deadline", "node " + std::string(peer) + " did not answer before the deadline; it may have happened", {}, {}};
  return {errc::rejected, "deadline", "the deadline passed before the request could be sent to node " + std::string(peer), {}, {}};
}

error lost(const pending_request& r, std::string_view peer, std::string_view why) {
  const std::string to = "the link to node " + std::string(peer) + " went down";
  if (!r.sent) return {errc::unavailable, "link_down", to + " before the request was sent", {}, milliseconds{100}};
  return {errc::unknown, std::string(why), to + " before the answer came; it may have happened", {}, {}};
}

} // namespace hive::cluster::links
