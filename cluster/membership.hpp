/// @file
/// Who is in the hive, and which shards this node owns: the protocol of design 5, from one node's side.
///
/// A deterministic state machine: answers of the store, links, peers and time go in, commands come out. It opens no socket,
/// reads no clock and asks no store; a thin shell does (cluster/README.md says how). States: cluster/README.md.
///
/// What keeps the hive safe is not in here: it is the fence in every commit. What is in here makes ownership move fast, and
/// only when it must.
#pragma once

#include "cluster/membership_io.hpp"
#include "cluster/placement.hpp"
#include "cluster/shard_map.hpp"
#include "config/base/random.hpp"
#include "config/settings.hpp"

#include <map>
#include <optional>
#include <set>

namespace hive::cluster {

/// Confined to one thread. `now` never goes back.
class membership {
public:
  /// @param former the last generation of this data directory, if this process holds its lock file; or 0.
  /// @param map, lease published for the rest of the node; outlive this.
  membership(node_facts self, node_generation former, config::cluster_settings settings, shard_map& map, lease_guard& lease,
             std::uint64_t seed);

  /// Joins. Once.
  commands start(boot_time now);
  /// Every 20 to 100 ms.
  commands tick(boot_time now);
  commands answered(std::uint64_t call, const store_answer& answer, boot_time now);
  /// @param peer the generation that the other end named in its handshake.
  commands linked(node_generation peer, link_state state, boot_time now);
  commands heard(node_generation from, const peer_message& message, boot_time now);
  /// Somebody said that the tables changed (NOTIFY).
  commands hinted(boot_time now);
  /// After `release_shard`.
  commands quiet(shard_id shard, boot_time now);
  /// The commit thread reached a store on another timeline than before: earlier than the next renewal or read tells. @param lost what this node had acknowledged and the
  /// store lacks, for people; empty: nothing that it knows of. Either way a new generation begins: epochs and sequences of
  /// the old timeline do not compare.
  commands store_forgot(const std::string& lost, boot_time now);
  /// This node's wall clock was set: the next renewal, which compares it with the store's, is due now.
  void clock_moved(boot_time now) { next_renew_ = clock_moved_at_ = now; }
  /// How busy each shard is, any unit, by number: hot ones move last.
  void heated(std::vector<std::uint64_t> heat) { heat_ = std::move(heat); }

  /// Hands everything off and stays, owning nothing, until `undrain`.
  commands drain(boot_time now);
  commands undrain(boot_time now);
  /// Hands everything off within `drain_timeout`, then ends the process. A second call ends it at once.
  commands leave(boot_time now);

  node_generation self() const noexcept { return self_; }
  node_state state() const noexcept { return state_; }
  /// Whether this node may answer: it is a member and its lease holds.
  bool serving() const noexcept { return self_.value() != 0 && !held_; }
  /// Why it is not active yet, for people. @pre it is joining
  std::string why_joining() const;
  /// The last read; null before the first.
  const std::shared_ptr<const tables>& known() const noexcept { return tables_; }
  /// Shards that this node serves or is handing off.
  std::size_t owned() const noexcept;
  /// What it will hand off next, and what is under way: for `hivectl drain --watch`.
  const std::vector<shard_placement>& planned() const noexcept { return planned_; }
  std::size_t handing_off() const noexcept { return hand_offs_; }

private:
  enum class shard_phase : std::uint8_t { elsewhere, serving, releasing, handing };
  struct shard_state {
    shard_phase phase = shard_phase::elsewhere;
    node_generation owner;
    epoch fence;
    journal_position first;
    node_generation to;                       // while releasing or handing
    boot_time until{};                        // releasing: then it is handed over whatever runs
    bool quiet = false;                       // releasing: nothing runs
    std::optional<boot_time> doubtful_since;  // handing: the answer is missing; a read sent later tells
    std::optional<boot_time> orphan_since;    // elsewhere: its owner has ended
  };
  struct peer {
    link_state link = link_state::silent;
    std::optional<boot_time> unreachable_since;
    std::vector<node_generation> votes;       // against whom
  };
  struct suspicion {                          // of a peer whose connection closed and whose address refuses
    std::uint64_t question = 0;
    std::set<node_generation> missing;        // peers that have not answered
    std::optional<std::uint64_t> renewal;     // from a read that was sent after `since`
    boot_time since{};
    boot_time until{};
  };
  struct open_question {
    node_generation asker;
    std::uint64_t number = 0;
    node_generation about;
    boot_time until{};
  };
  struct call_state {
    store_call what;
    boot_time sent;
  };

  // One step: what comes out is collected in `out_`.
  template <class Body> commands step(boot_time now, Body&& body);
  void emit(command c) { out_.push_back(std::move(c)); }
  void call(store_call what);
  template <class Call> bool under_way() const noexcept;
  void call_what_is_due();
  void read_soon();
  void read_soon_if_member();

  // generation and lease
  void begin_generation(const joined& j, boot_time sent);
  void end_generation(const std::string& why);
  void on_name_taken(milliseconds retry_after);
  void on_clock_differs(const clock_reading& clock);
  bool same_timeline(std::uint64_t now);
  void on_renewed(const renewed& r, boot_time sent);
  void check_lease();
  void on_failure(const call_state& asked);
  void on_row_changed(const store_call& asked, bool done);

  // what the tables say
  void on_tables(const std::shared_ptr<const tables>& rows, boot_time sent);
  void learn_row(const shard_owner& row);
  void settle_doubts(boot_time sent);
  void follow_peers();
  void note_reached();
  void become_active();
  void cast_votes();
  void vote();
  void declare_lapsed();
  void claim_orphans();
  void plan_moves();
  void forget_old_rows();
  std::vector<node_generation> voting_peers() const; // active, lease holds, not this node; oldest first
  std::vector<node_generation> unreachable_peers() const;
  bool is_up(node_generation who) const noexcept;
  bool declaring(node_generation who) const noexcept;

  // early death
  void suspect(node_generation who);
  void judge(node_generation who);
  bool agrees(node_generation about) const noexcept;
  void answer_questions();

  // hand-off
  void start_hand_offs();
  void hand_over_ready();
  void on_owners(const change_owners_call& asked, const std::vector<shard_owner>& rows);
  void finish_drain();
  void finish_leaving(const std::string& why);

  void tell_all(const peer_message& message);
  milliseconds jitter(milliseconds upto) { return milliseconds{static_cast<std::int64_t>(chance_.below(static_cast<std::uint64_t>(upto.count()) + 1))}; }

  node_facts facts_;
  config::cluster_settings settings_;
  shard_map& map_;
  lease_guard& lease_;
  random_source chance_;

  boot_time now_{};
  commands out_;
  std::map<std::uint64_t, call_state> calls_; // by number
  std::uint64_t next_number_ = 1;
  milliseconds retry_after_{50};              // after the next failure of the store

  node_generation self_;                      // 0: not a member
  node_generation former_;
  std::uint64_t timeline_ = 0;                // of the store, since this generation began
  node_state state_ = node_state::joining;
  bool held_ = true;
  bool may_go_on_ = false;                    // the lease holds; a read sent after `renewed_at_` is missing
  boot_time renewed_at_{};
  boot_time lease_until_{};                   // with the margin taken off
  boot_time calm_until_{};                    // after an outage that this node saw: no lapsed lease is acted upon before
  boot_time next_join_{};
  boot_time next_renew_{};
  boot_time next_read_{};
  boot_time next_votes_{};
  std::vector<node_generation> voted_;        // against whom, as it was last told
  boot_time next_forget_{};
  bool read_again_ = false;                   // something changed while a read was under way
  std::optional<boot_time> name_taken_since_;
  bool clock_told_ = false;                   // that it differs
  boot_time clock_moved_at_{};                // an answer to what was asked before says nothing about it
  std::string told_reason_;                   // what the own row says

  std::shared_ptr<const tables> tables_;
  std::vector<shard_state> shards_;
  std::map<node_generation, peer> peers_;
  std::vector<node_generation> told_peers_;
  std::map<node_generation, suspicion> suspicions_;
  std::vector<open_question> questions_;
  std::uint64_t next_question_ = 1;
  std::map<node_generation, boot_time> lapsed_since_;
  std::optional<boot_time> reached_since_;    // most active peers are linked

  std::uint64_t claiming_ = 0;                // the call
  std::vector<std::uint64_t> heat_;
  std::vector<shard_placement> planned_;
  std::size_t hand_offs_ = 0;                 // releasing or handing
  std::uint64_t move_tokens_ = 0;             // thousandths of a move
  boot_time tokens_at_{};
  bool drain_asked_ = false;
  std::optional<boot_time> leaving_since_;
  bool gone_ = false;
};

} // namespace hive::cluster
