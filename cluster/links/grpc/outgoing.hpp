/// @file
/// One attempt at, or one life of, the link to one peer: three streams that this node dialled.
#pragma once

#include "cluster/links/chunks.hpp"
#include "cluster/links/grpc/core.hpp"
#include "cluster/links/link_timing.hpp"
#include "cluster/links/node_links.hpp"
#include "cluster/links/pending_requests.hpp"

namespace hive::cluster::links {

/// Dialled, closed and ticked on the control thread; used from any.
class outgoing : public std::enable_shared_from_this<outgoing> {
public:
  /// How it ended; told on the control thread.
  struct ending {
    link_event::cause why = link_event::cause::closed;
    std::string reason{}; ///< Of a refusal.
    std::string message{};
    bool was_up = false; ///< `came_up` was called; known when it is told.
  };
  /// Called on the control thread; `ended` last, once.
  struct reports {
    std::function<void()> came_up;
    std::function<void(std::chrono::microseconds)> round_trip;
    std::function<void(const ending&)> ended;
  };

  outgoing(core& shared, peer who, std::uint64_t session, reports to);
  ~outgoing();

  void dial();
  void tick(steady_time now);
  /// Any thread, any number of times: the first one counts. What waits for the peer fails before it returns.
  void close(ending how);

  node_links::told tell(lane by, std::span<frame> frames);
  void request(lane by, frame&& f, steady_time deadline, answer_handler& done);
  void read_status(link_status& into) const;

private:
  class stream;
  friend class stream;

  // -- on the lane's thread, for its stream
  void welcomed(lane by, const wire::Welcome& w);
  bool fill(lane by, wire::ToPeer& out);
  bool heard(lane by, wire::FromPeer& in);
  void stream_ended(lane by, const grpc::Status& status);

  void open_stream(lane by);
  bool fill_frames(lane by, wire::ToPeer& out);
  bool fill_chunk(wire::ToPeer& out);
  void wake(lane by);
  void end(std::vector<pending_request> requests, const std::function<error(const pending_request&)>& how);

  core& core_;
  const peer who_;
  const std::uint64_t session_;
  const steady_time dialled_at_;
  const reports reports_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;

  // Control thread.
  std::optional<heartbeat_monitor> heartbeat_;
  std::optional<std::uint64_t> ping_due_;
  bool announced_ = false;
  // Data thread.
  chunk_cutter cutter_;

  mutable std::mutex guard_;
  bool closed_ = false;
  bool up_ = false;
  std::array<bool, lane_count> welcomed_{};
  std::array<bool, lane_count> writing_{};
  std::array<bool, lane_count> woken_{};
  std::array<send_queue, lane_count> queues_;
  std::array<std::shared_ptr<stream>, lane_count> streams_;
  pending_requests pending_;
  std::uint64_t serial_ = 0;
};

} // namespace hive::cluster::links
