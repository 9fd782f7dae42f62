/// @file
/// What peers dialled to this node: a session for each, made of three streams, and the listener that lets them in.
#pragma once

#include "cluster/links/chunks.hpp"
#include "cluster/links/grpc/core.hpp"
#include "cluster/links/handshake.hpp"

#include <absl/container/flat_hash_map.h>

#include <deque>
#include <map>
#include <set>

namespace hive::cluster::links {

class incoming_stream;
class incoming_table;

/// One link that a peer made. Its frames are handled on the thread of their lane; answers and releases come from any.
class incoming : public std::enable_shared_from_this<incoming> {
public:
  incoming(core& shared, incoming_table& table, const hello& from, std::uint64_t answer_bytes);

  const std::string& node() const noexcept { return node_; }
  node_generation generation() const noexcept { return generation_; }
  std::uint64_t session() const noexcept { return session_; }

  /// @returns false when it is closed, or has this lane already.
  bool attach(lane by, const std::shared_ptr<incoming_stream>& s);
  /// @returns false when the peer sent what no node sends.
  bool heard(lane by, wire::ToPeer& in);
  bool fill(lane by, wire::FromPeer& out);
  /// Any thread, any number of times. `spared` is not cancelled: it has a last word to say.
  void close(const std::string& why, const incoming_stream* spared = nullptr);

  void answer(std::uint64_t correlation, result<std::string> with);
  void released(lane by, const std::vector<credit>& all);
  /// Returns the credits that are too few to be returned at once.
  void settle();
  /// Time of the last ping. Control thread.
  steady_time last_ping() const noexcept { return last_ping_; }
  bool is_up() const;

private:
  struct batch;
  bool heard_frames(lane by, wire::Batch& in);
  bool heard_chunk(const wire::Chunk& in);
  bool charge(lane by, const std::vector<credit>& all);
  enum class verdict : std::uint8_t { taken, refused, nonsense };
  verdict take_request(lane by, std::uint64_t correlation, milliseconds time_left, steady_time now);
  void wake(lane by);
  credit_ledger& ledger_of(lane by) noexcept { return by == lane::data ? data_ledger_ : bulk_ledger_; }

  core& core_;
  incoming_table& table_;
  const std::string node_;
  const node_generation generation_;
  const std::uint64_t session_;
  const std::uint64_t answer_bytes_max_;

  steady_time last_ping_;                 // control thread
  std::optional<std::uint64_t> echo_due_; // control thread
  chunk_assembler assembler_;             // data thread

  mutable std::mutex guard_;
  bool closed_ = false;
  bool announced_ = false; // all three lanes were there
  std::array<std::shared_ptr<incoming_stream>, lane_count> streams_;
  std::array<bool, lane_count> woken_{};
  absl::flat_hash_map<std::uint64_t, steady_time> open_requests_; // until when their askers wait
  steady_time next_look_for_late_{};
  std::array<std::deque<std::pair<std::uint64_t, result<std::string>>>, lane_count> answers_;
  std::uint64_t answer_bytes_ = 0;
  credit_ledger data_ledger_, bulk_ledger_;
};

/// Who is let in, and who is in.
class incoming_table {
public:
  /// @param report called on the control thread.
  incoming_table(core& shared, std::function<void(const link_event&)> report);

  /// Begins to accept on both threads. Once, after the server was started.
  void start(wire::NodeLink::AsyncService& service);
  wire::NodeLink::AsyncService& service() noexcept { return *service_; }

  /// Control thread. Sessions of nodes that the list does not name, or names with another generation, are closed.
  void set_peers(std::span<const peer> peers);
  /// Control thread.
  void tick(steady_time now);
  /// Data thread.
  void tick_data(steady_time now);
  void close_all(const std::string& why);
  bool is_up(std::string_view node) const;

  // -- for streams and sessions, on the lane's thread
  std::variant<std::shared_ptr<incoming>, refusal> admit(lane by, const wire::Hello& h, const std::vector<std::string>& uris,
                                                         const std::shared_ptr<incoming_stream>& s);
  void greeting(lane by, incoming_stream* s, bool is);
  void ended(const std::shared_ptr<incoming>& session, bool announced, const std::string& why);
  void report(link_event e);

private:
  core& core_;
  const std::function<void(const link_event&)> report_;
  wire::NodeLink::AsyncService* service_ = nullptr;
  mutable std::mutex guard_;
  gatekeeper gate_;
  std::map<std::string, std::shared_ptr<incoming>, std::less<>> sessions_;
  std::map<incoming_stream*, steady_time> greeting_control_, greeting_data_; // each on its thread; until when
  steady_time last_tick_{};
  steady_time lenient_until_{};
};

} // namespace hive::cluster::links
