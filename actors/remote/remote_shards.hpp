/// @file
/// The shards of other nodes, as this one reaches them: what is told to a shard that is not here travels by a node link to
/// its owner, and what comes in is handed to the shards that are.
///
/// How each kind travels:
///   - asks: one request; its answer settles the asker's ticket. Whoever asked asks again with the same key when a link or
///     an owner went (node_host), so nothing is executed twice.
///   - messages from outboxes and their receipts: best effort, in order; the sender sends again what has no receipt.
///   - tells: best effort.
///   - what supervisors and children say, and results of steps: until the owner has taken it, up to a limit in time. They
///     name incarnations and turns, so that a second copy changes nothing.
#pragma once

#include "actors/remote/op_codec.hpp"
#include "cluster/links/node_links.hpp"
#include "cluster/shard_map.hpp"

#include <map>
#include <set>

namespace hive::actors::remote {

/// The word to a peer that could not be told of a change: whatever it remembers of what others change may be wrong.
inline constexpr const char* missed_something = "missed_something";

/// Outlives what uses it.
struct remote_parts {
  const clock_source& clock;
  context_restorer& contexts;
  const cluster::shard_map& map;
  std::function<void(shard_id, std::unique_ptr<shard_op>)> post;    ///< To a shard of this node.
  std::function<std::optional<error>(shard_id)> inbox_full;         ///< Why a shard of this node takes nothing in.
  std::function<void(ask_ticket&)> watch;                           ///< Ends an ask of a peer when its time is up.
  std::uint32_t retry_messages = 0;                                 ///< Beyond this many nothing is told again.
};

/// Any thread.
class remote_shards {
public:
  explicit remote_shards(remote_parts parts) : parts_(std::move(parts)) {}

  /// Null: there are no links (any more). @param names of the live nodes.
  void connect(cluster::links::node_links* links);
  void set_peers(std::map<node_generation, std::string> names, node_generation self);

  /// What is told to a shard that is not here, or that the map says to be here and does not take it yet.
  void forward(shard_id shard, std::unique_ptr<shard_op> op);
  /// A batch of `lane::data`.
  void received(const cluster::links::received_batch& batch);
  /// Each 20 to 100 ms: sends again what was not taken.
  void tick();

  /// A question to a node as such: `name` says which. Handlers run on a link's thread and must not block.
  using answer_to = std::function<void(result<std::string>)>;
  using handler = std::function<void(tenant_context who, std::string body, std::chrono::milliseconds left, answer_to done)>;
  void handle(std::string name, handler how);
  void call(const std::string& node, const std::string& name, tenant_context who, std::string body, std::chrono::milliseconds deadline, answer_to done);
  /// Best effort, to all peers that are linked.
  void tell_all(const std::string& name, tenant_context who, const std::string& body);
  /// Of a change that peers must hear: one whose queue does not take it is told `missed_something` instead, as soon as it does.
  /// What is lost with a link needs no word: a peer whose incoming link broke knows that it may have missed something.
  void tell_all_surely(const std::string& name, tenant_context who, const std::string& body);
  std::size_t peer_count() const;

  /// The node that owns the shard; empty: nobody that is known, or this one.
  std::string owner_of(shard_id shard) const;
  bool here(shard_id shard) const noexcept { return parts_.map.find(shard).here; }

private:
  struct pending {
    shard_id shard;
    tenant_id tenant;
    std::string frame;
    steady_time due;
    steady_time until;
  };
  void ask(const std::string& node, std::unique_ptr<envelope> e);
  void deliver_surely(pending p);
  void retry(pending p);
  void take(const cluster::links::received_frame& frame, const std::string& from);
  void take_ask(const cluster::links::received_frame& frame, std::string_view body);
  result<void> room_for_message(shard_id shard) const;
  result<void> take_op(std::string_view body);
  std::vector<std::string> peers() const;
  void tell_what_was_missed();
  void answer_call(const cluster::links::received_frame& frame, std::string_view body);

  remote_parts parts_;
  std::atomic<cluster::links::node_links*> links_{nullptr};
  mutable std::mutex guard_;
  std::map<node_generation, std::string> names_;
  node_generation self_;
  std::vector<pending> waiting_;
  std::set<std::string> missed_;            // peers that could not be told of some change
  std::map<std::string, handler> handlers_; // filled before the links are up
};

} // namespace hive::actors::remote
