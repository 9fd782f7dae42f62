/// @file
/// The words of node links: who a node is, what travels, what is reported. No technology in here.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/ids.hpp"
#include "config/base/result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hive::cluster::links {

using std::chrono::milliseconds;

/// What this build speaks. Two nodes use the highest version that both know; none in common is a refusal.
inline constexpr std::uint32_t protocol_lowest = 1;
inline constexpr std::uint32_t protocol_highest = 1;

/// Who this process is. All of it is said in the handshake and checked there; `hive` and `node` must also stand in the
/// certificate, as the URI hive://HIVE/node/NODE.
struct identity {
  std::string hive;           ///< Id of the hive: letters, digits, '.', '_' and '-', 1 to 63 of them; so is `node`.
  std::string cell;           ///< One database and one pool of nodes.
  std::string node;           ///< Name of the node, unique in the hive; stays over restarts.
  node_generation generation; ///< This life of the node, from the store: rises with each start, never returns.
  std::string store;          ///< Id that the store was given when it was created: another hive's data is refused.
};

/// Another node, as membership knows it.
struct peer {
  std::string id;
  node_generation generation;
  std::string address; ///< host:port of its node port.
  friend bool operator==(const peer&, const peer&) = default;
};

/// Three ways to a peer, each over a TCP connection of its own, so that none can delay another. Order holds within one
/// lane and tenant, not across.
enum class lane : std::uint8_t {
  control = 0, ///< Heartbeats, votes: small frames, no credits. At most `control_frame_bytes` each.
  data = 1,    ///< Messages: batched, with credits by peer and tenant. At most `cluster.link.frame_bytes` each.
  bulk = 2,    ///< Large things: cut into chunks, checked by digest, one after the other. No requests.
};
inline constexpr std::size_t lane_count = 3;
inline constexpr std::size_t control_frame_bytes = 64 * 1024;
std::string_view to_string(lane l) noexcept;

/// What one node sends another: opaque here. The tenant pays for it (queues, credits); `system_tenant` for the hive's own.
struct frame {
  tenant_id tenant;
  std::string body;
};

/// The end of a request: the answer, or an error that says what the asker does next.
///   - what the other side answered with, code, reason, message, field and retry hint as it gave them;
///   - `unavailable` (link_down): it never left this node: safe to send again, also elsewhere;
///   - `unknown` (link_lost, peer_replaced, deadline): it left, and the answer did not come: it may have happened;
///   - `rejected` (deadline): it never left before its deadline;
///   - `resource_exhausted`: a bound of the link or of the tenant is full; nothing was sent.
using answer_handler = std::function<void(result<std::string>)>;

/// Where an answer goes; copy it, keep it as long as needed, use it once. Empty in a tell.
class answer_token {
public:
  answer_token() = default;
  answer_token(std::weak_ptr<void> session, std::uint64_t correlation) noexcept : session_(std::move(session)), correlation_(correlation) {}
  explicit operator bool() const noexcept { return correlation_ != 0; }
  const std::weak_ptr<void>& session() const noexcept { return session_; }
  std::uint64_t correlation() const noexcept { return correlation_; }

private:
  std::weak_ptr<void> session_; // of the connection that the request came by; gone with it
  std::uint64_t correlation_ = 0;
};

struct received_frame {
  tenant_id tenant;
  std::string_view body;    ///< Into the batch; gone with it.
  answer_token reply;       ///< Of a request: give it to `node_links::answer` within `time_left`.
  milliseconds time_left{}; ///< Of a request: until its asker gives up, counted from its sending.
};

/// Frames that came together, in the order in which they were sent. Whoever holds the batch holds the sender's credits
/// for it: keep it until its frames are handed on (or copy the bodies), and a slow receiver slows its senders down
/// instead of filling its memory. Released on any thread.
struct received_batch {
  std::string from;
  node_generation generation;
  lane by = lane::data;
  std::vector<received_frame> frames;

  received_batch() = default;
  received_batch(const received_batch&) = delete;
  received_batch& operator=(const received_batch&) = delete;
  virtual ~received_batch() = default;
};

/// Something happened to the link to, or from, a peer. "Outgoing" is what this node dialled and sends by; "incoming" is
/// what the peer dialled. Two nodes reach each other when both are up.
struct link_event {
  enum class kind : std::uint8_t {
    up,               ///< Outgoing, all three lanes welcomed. Durable senders send again what has no acknowledgement yet.
    down,             ///< Outgoing, was up. Requests have failed, what was queued is dropped. It is dialled again.
    unreachable,      ///< Outgoing: an attempt to connect failed; `cause` tells a closed port from silence.
    refused,          ///< Outgoing: the peer, or this node, refused the handshake; `reason` says why. Dialled again, slowly.
    round_trip,       ///< Outgoing: a heartbeat came back after `rtt`.
    incoming_up,      ///< The peer dialled in and was welcomed.
    incoming_down,    ///< What the peer dialled is gone.
    incoming_refused, ///< Somebody with a certificate of this hive was refused. `not_a_member`, or `wrong_generation`
                      ///< with a higher one: the list of peers may be behind, read it again.
  };
  enum class cause : std::uint8_t {
    none,
    closed,             ///< The connection was closed or reset: by a process that ended, or by the peer on purpose.
    silent,             ///< No heartbeat within `cluster.link.heartbeat_timeout`.
    connection_refused, ///< Nobody listens there: the process is gone, or not yet there.
    timed_out,          ///< No connection, or no handshake, within `cluster.link.connect_timeout`.
    not_secure,         ///< TLS failed: strange, expired or foreign certificate on one of the sides.
    handshake,          ///< Refused by word: see `reason`.
    replaced,           ///< `set_peers` names another generation or address.
    removed,            ///< `set_peers` does not name it any more.
    stopping,           ///< This node stops.
    protocol,           ///< It sent what no node sends.
  };
  kind what;
  cause why = cause::none;
  std::string node;
  node_generation generation;
  std::string reason;  ///< Of a refusal, stable: "foreign_hive", "foreign_cell", "foreign_store", "version", "identity",
                       ///< "not_a_member", "wrong_node", "wrong_generation", "superseded". `superseded` to this node itself
                       ///< means: a newer life of this node is there, stop.
  std::string message; ///< For people.
  std::chrono::microseconds rtt{};
  std::uint32_t attempt = 0; ///< Of unreachable and refused: how many in a row.
};
std::string_view to_string(link_event::kind k) noexcept;
std::string_view to_string(link_event::cause c) noexcept;

/// What a node does with what its links bring. Called on the links' threads, so be quick and never wait: `received` for
/// control and `event` on the thread that keeps the heartbeats, `received` for data and bulk on the other one. Calls for one
/// lane of one peer never overlap. It is safe to call node_links from inside, but not to destroy it.
class link_listener {
public:
  virtual ~link_listener() = default;
  virtual void received(std::shared_ptr<const received_batch> batch) = 0;
  virtual void event(const link_event& e) = 0;
};

/// One peer's links, for `hivectl nodes` and metrics.
struct link_status {
  enum class state : std::uint8_t { connecting, up, waiting };
  std::string node;
  node_generation generation;
  std::string address;
  state now = state::connecting;
  bool incoming = false;           ///< The peer's own link to this node is up.
  std::chrono::microseconds rtt{}; ///< Of the last heartbeat; 0: none yet.
  std::uint64_t queued_frames = 0; ///< Waiting in all lanes.
  std::uint64_t queued_bytes = 0;
  std::uint64_t requests = 0; ///< Waiting for an answer.
  std::string last_error;     ///< Why it is not up.
};

/// Since the start of this node_links, of all peers.
struct link_counters {
  std::uint64_t frames_sent = 0; ///< Written, tells and requests, all lanes.
  std::uint64_t bytes_sent = 0;  ///< Of their bodies.
  std::uint64_t batches_sent = 0;
  std::uint64_t frames_received = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t answers_sent = 0;
  std::uint64_t answers_received = 0;
  std::uint64_t frames_dropped = 0;      ///< Tells that waited for a link which went down.
  std::uint64_t refused_full = 0;        ///< Tells and requests that did not fit into a bound.
  std::uint64_t requests_failed = 0;     ///< By link, generation or deadline.
  std::uint64_t links_up = 0;            ///< Times that an outgoing link came up,
  std::uint64_t links_down = 0;          ///< and went down.
  std::uint64_t handshakes_refused = 0;  ///< By word, either way.
  std::uint64_t connections_refused = 0; ///< Before any word, by TLS: strangers, garbage, slow ones. Of the whole process.
  std::uint64_t protocol_errors = 0;     ///< Peers cut off because they sent what no node sends.
};

} // namespace hive::cluster::links
