/// @file
/// The links of this node to all others: gRPC streams with mutual TLS 1.3 that carry opaque frames. Knows no behaviour, no
/// actor and no store; who is a peer is told to it, what comes in is handed on as bytes.
///
/// Each node dials each peer: what A sends to B travels on connections that A made, and only answers, credits and
/// heartbeats' echoes come back on them. So a broken connection fails exactly the requests that went by it, and a cut in
/// one direction shows as such. A link is up when all three lanes are; when one breaks, all are closed and dialled again
/// after a while (exponential, with jitter).
///
/// How to send what, from the layers above:
///   - best effort (tell): `tell`. Ok means queued. Lost when the link goes down before it was written, or with the peer.
///   - durable sends (outbox): `tell` too; the receiver's layer acknowledges with a tell of its own after its commit, and
///     the sender sends again what has no acknowledgement at `link_event::up` and after its own time limit.
///   - asks: `request`. Ends exactly once: answer, error of the other side, or the reason why there is none.
///
/// Errors of sending: `unavailable` (link_down) when the link is not up; `resource_exhausted` (link_full, tenant_full)
/// naming the peer or the tenant; `invalid_argument` for a frame above the lane's limit; `not_found` for an unknown peer.
#pragma once

#include "cluster/links/link_types.hpp"
#include "config/settings.hpp"

#include <optional>
#include <span>

namespace hive::cluster::links {

/// What `node_links` refers to outlives it.
struct node_link_parts {
  const config::link_settings& settings;
  const clock_source& clock;
  link_listener& listener;
  identity self;
  std::uint64_t seed = 0; ///< Of the jitter.
};

/// Any thread, except where said.
class node_links {
public:
  explicit node_links(node_link_parts parts);
  /// Stops first. Not from inside a callback.
  ~node_links();
  node_links(const node_links&) = delete;
  node_links& operator=(const node_links&) = delete;

  /// Reads the certificates, listens, begins to dial the peers. Once. Before other threads read the environment: gRPC takes its
  /// TLS ciphers from there, for the whole process.
  /// @returns `invalid_argument` with the setting at fault: a file that cannot be read, a certificate that is expired, not of
  /// this key, not of the CA, or does not name this node and hive; an address that cannot be listened on.
  result<void> start();

  /// Everything that waits fails (`unavailable` or `unknown`), all connections close; no callback afterwards. Twice is fine.
  void stop();

  /// Who is to be connected to: replaces the list. A peer that keeps id, generation and address keeps its links; a new
  /// generation or address fails what waits for the old one (`peer_replaced`); one that is not named any more is closed, and
  /// refused when it dials. This node itself may be in the list and is passed over. May be called before `start`.
  void set_peers(std::vector<peer> peers);

  /// Queues one frame. In order with the frames of the same peer, lane and tenant.
  result<void> tell(std::string_view node, lane by, frame f);

  /// Queues many at once, from the first on, until one does not fit.
  /// @returns the reason that the frame at `taken` was not taken; those before it are queued (and moved from).
  struct told {
    std::size_t taken = 0;
    std::optional<error> why;
  };
  told tell(std::string_view node, lane by, std::span<frame> frames);

  /// Sends a frame and waits for its answer until `deadline`. `done` is called exactly once: on a link thread, or before
  /// this returns when nothing could be sent. Not by `lane::bulk`.
  void request(std::string_view node, lane by, frame f, steady_time deadline, answer_handler done);

  /// Ends a request of a peer. What it says goes back by the link that the request came by; when that is gone, so is the
  /// asker's interest. An answer above `cluster.link.frame_bytes` becomes the error `resource_exhausted` (answer_too_large);
  /// one that does not fit into what waits for this peer, `unknown` (answers_full).
  void answer(const answer_token& to, result<std::string> with);

  bool is_up(std::string_view node) const;
  std::vector<link_status> status() const;
  link_counters counters() const;
  /// The port that is listened on (useful when the setting says 0); 0 before `start`.
  std::uint16_t port() const noexcept;
  /// Until when the certificate in use is valid: alarm on it. Zero before `start`.
  wall_time certificate_valid_until() const;

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace hive::cluster::links
