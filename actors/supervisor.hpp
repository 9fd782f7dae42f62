/// @file
/// What a supervisor decides: the OTP contract as a pure state machine. Inputs are what became of its children; outputs
/// are commands to them. No CAF, no clock, no disk: time is an argument, chance is a seed.
///
/// | strategy             | when a child crashes                                                                    |
/// |----------------------|-----------------------------------------------------------------------------------------|
/// | `one_for_one`        | that child begins a new life                                                            |
/// | `one_for_all`        | the others are stopped, last started first; then all are started in order               |
/// | `rest_for_one`       | the same, with the children started after it                                            |
/// | `simple_one_for_one` | as `one_for_one`; its children come and go, have one behaviour, and are stopped at once |
///
/// Children are started in the order of their creation, which is the order of their ids. A supervisor with a million
/// children keeps none of them: it remembers those that ended of late, and asks for the list when it needs the others.
///
/// More than `intensity` restarts within `period`: all children are stopped, the supervisor's own life ends, and its
/// parent decides. Only a tenant's root does not end: there the child that crashed once too often is quarantined.
#pragma once

#include "actors/specs.hpp"
#include "config/base/clock.hpp"
#include "config/base/ids.hpp"
#include "config/base/random.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace hive::actors {

/// A child as its supervisor knows it.
struct supervised_child {
  entity_id id;
  restart_type restart = restart_type::permanent;
  bool significant = false;
  std::optional<std::chrono::milliseconds> shutdown{std::chrono::milliseconds{5'000}}; ///< None: as long as it takes.
  bool alive = true;                          ///< Wanted to run, as the store says. Needed of significant ones only.
};

struct supervisor_command {
  enum class kind : std::uint8_t {
    start,      ///< Begin a new life. Answered by `started` or `start_failed` when `ticket` is not 0.
    stop,       ///< End this life; no new turn begins until `start`. Answered by `stopped`.
    kill,       ///< Its shutdown time is over: end this life now. Not answered: what it still does is fenced.
    leave,      ///< Not started again: its desired state is `stopped` from now on.
    remove,     ///< The same for a temporary child, whose spec goes with it.
    quarantine, ///< The root's verdict on a child over the intensity.
    list,       ///< Wanted: all children. Answered by `listed`.
    ended,      ///< The supervisor's own life is over; all its children are stopped.
  };
  kind what = kind::start;
  entity_id child{};
  std::optional<incarnation> life{};          ///< The life that it is about, when it is known. Stale ones are ignored.
  std::uint64_t ticket = 0;                   ///< Repeated by the answer.
  bool wanted = false;                        ///< `ended`: because `end` was called, not by itself.
  bool failed = false;                        ///< `ended`: its children could not be started.
};

/// Confined to one thread. After each call `take` has what is to be done next.
class supervisor_core {
public:
  /// @param root a tenant's root supervisor, which never ends.
  supervisor_core(supervisor_spec spec, bool root, std::uint64_t seed) : spec_(std::move(spec)), root_(root), chance_(seed) {}

  // -- what happened
  /// A child's life ended. @param normal by itself, without an error.
  void exited(const supervised_child& child, incarnation life, bool normal, steady_time now);
  /// The answer to `list`, in any order.
  void listed(std::vector<supervised_child> children, steady_time now);
  void stopped(std::uint64_t ticket, incarnation life, steady_time now);
  void started(std::uint64_t ticket, incarnation life, steady_time now);
  /// Counts as another restart. @param life the one that failed to begin. @param ticket 0 for a start that needed no answer.
  void start_failed(const supervised_child& child, incarnation life, std::uint64_t ticket, steady_time now);
  /// Somebody else started the child.
  void began(entity_id child) { left_.erase(child); }
  /// The supervisor's own new life: starts all its children.
  void begin(steady_time now);
  /// Its own stop is wanted: by its parent, or by a person. `ended` follows.
  void end(steady_time now);
  void tick(steady_time now);
  /// Another version of its spec. What is under way goes on as it began.
  void change(supervisor_spec spec) { spec_ = std::move(spec); }

  std::vector<supervisor_command> take() { return std::exchange(out_, {}); }
  /// When `tick` should be called, if at all.
  std::optional<steady_time> next_due() const;

  enum class phase : std::uint8_t { running, restarting, ending, ended };
  phase doing() const noexcept;
  /// Nothing of it would be lost with it, but for the count of its restarts, which its owner keeps.
  bool forgettable(steady_time now);

  const supervisor_spec& spec() const noexcept { return spec_; }
  std::uint64_t restarts() const noexcept { return restarts_; }
  /// Those that count against its intensity now.
  std::size_t recent_restarts(steady_time now) const noexcept {
    return static_cast<std::size_t>(std::count_if(window_.begin(), window_.end(), [&](steady_time t) { return now - t <= spec_.period; }));
  }
  /// Children that crashed and wait for their next life.
  std::size_t in_backoff() const noexcept {
    return static_cast<std::size_t>(std::count_if(exits_.begin(), exits_.end(), [](const auto& e) { return e.second.due.has_value(); }));
  }

private:
  using kind = supervisor_command::kind;
  struct past_exit {
    incarnation life{};
    steady_time at{};
    std::uint32_t level = 0;                  // restarts in a row, for the backoff
    std::optional<steady_time> due{};         // of its start, while it waits for its backoff
    supervised_child child{};
  };
  struct pending {
    std::uint64_t ticket;
    supervised_child child;
    steady_time deadline;                     // of its stop
  };
  /// A row of stops and starts under way. One at a time: exits that come meanwhile wait for its end.
  struct plan {
    enum class aim : std::uint8_t { restart, begin, end, count_significant };
    aim what = aim::restart;
    entity_id failed{};                       // `restart`: the child that crashed
    bool listing = true;
    std::vector<supervised_child> to_stop{};  // the next one is at the back
    std::vector<supervised_child> to_start{};
    std::size_t next = 0;                     // of `to_start`
    std::vector<pending> stopping{};
    std::vector<pending> starting{};
    std::unordered_map<entity_id, incarnation> lives{};  // of those that were stopped
    std::unordered_set<entity_id> killed{};
    std::optional<steady_time> not_before{};  // its starts wait for the backoff
  };
  struct waiting_exit {
    supervised_child child;
    incarnation life;
    bool normal;
  };

  bool in_groups() const noexcept { return spec_.strategy == restart_strategy::one_for_all || spec_.strategy == restart_strategy::rest_for_one; }
  bool count(steady_time now);
  void give_up(entity_id child, incarnation life, steady_time now);
  void restart(past_exit& exit, steady_time now);
  void leave(const supervised_child& child, incarnation life, steady_time now);
  void begin_plan(plan::aim what, entity_id failed = {});
  void advance(steady_time now);
  void finish_plan(steady_time now);
  std::chrono::milliseconds backoff(std::uint32_t& level, steady_time last, steady_time now);
  void forget_quiet(steady_time now);
  void emit(supervisor_command c) { out_.push_back(c); }

  supervisor_spec spec_;
  bool root_;
  bool ended_ = false;
  bool end_wanted_ = false;
  bool begin_failed_ = false;
  random_source chance_;
  std::deque<steady_time> window_;            // restarts within the last `period`
  std::uint64_t restarts_ = 0;
  std::uint64_t tickets_ = 0;
  std::unordered_map<entity_id, past_exit> exits_;
  std::deque<std::pair<steady_time, entity_id>> quiet_after_;
  std::unordered_set<entity_id> left_;        // significant children that ended for good in this life
  std::uint32_t group_level_ = 0;
  steady_time group_exit_{};
  std::optional<plan> plan_;
  std::deque<waiting_exit> waiting_;
  std::vector<supervisor_command> out_;
};

} // namespace hive::actors
