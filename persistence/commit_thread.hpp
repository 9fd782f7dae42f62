/// @file
/// The shell around `commit_pipeline`: one thread that takes what has queued, writes, syncs and settles. The time of the
/// sync itself forms the next batch; there is no timer.
#pragma once

#include "persistence/commit_pipeline.hpp"

#include <thread>

namespace hive::persistence {

/// What the commit thread tells the rest of the node. Called on the commit thread; must not block.
class commit_listener {
public:
  virtual ~commit_listener() = default;
  virtual void settled(std::vector<settlement>&& batch) = 0;
  /// The store began to refuse for want of space or reach (`why`), refuses for another reason than before, or is well
  /// again (null). Readiness shows it.
  virtual void availability(const error* why) = 0;
};

struct commit_statistics {      ///< Written by the commit thread only, read by anyone.
  std::atomic<std::uint64_t> batches{0};
  std::atomic<std::uint64_t> turns{0};
  std::atomic<std::uint64_t> rows_only_fenced{0}; ///< Turns that wrote nothing.
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> unavailable{0};
  std::atomic<std::uint64_t> nanoseconds{0};      ///< Spent in `turn_store::write`.
  std::array<std::atomic<std::uint64_t>, 16> batch_sizes{}; ///< [i]: batches of 2^i .. 2^(i+1)-1 turns.
  std::array<std::atomic<std::uint64_t>, 24> latencies{};   ///< [i]: batches that took 2^i .. 2^(i+1)-1 microseconds.
};

struct trim_policy {
  std::chrono::milliseconds keep_keys{24 * 3600 * 1000};
  std::chrono::milliseconds keep_events{24 * 3600 * 1000};
  std::chrono::milliseconds keep_dead_letters{30LL * 24 * 3600 * 1000};
  std::chrono::milliseconds keep_audit{365LL * 24 * 3600 * 1000};
  std::chrono::milliseconds every{5'000};
  std::size_t rows_at_once = 2'000;
};

class commit_thread {
public:
  commit_thread(turn_store& store, commit_listener& listener, const clock_source& clock, batch_limits limits,
                trim_policy trim);
  /// Writes what was submitted, then ends the thread. When the store does not say within 5 s what became of a batch, that and
  /// what is behind it is dropped without a word, as if the process had been killed.
  ~commit_thread();

  /// Any thread; the whole chain in one step. Records of one entity must be submitted from one thread, in order.
  void submit(std::unique_ptr<turn_record> record);

  const commit_statistics& statistics() const noexcept { return statistics_; }

private:
  struct stop_mark;
  void run();
  void wait_for_work();
  bool write_one_batch(); ///< @returns false: its end will not be known.
  void show_available();
  void show_unavailable(const error& why);
  void trim_if_due();

  turn_store& store_;
  commit_listener& listener_;
  const clock_source& clock_;
  trim_policy trim_;
  mpsc_queue<mpsc_node> inbox_;
  commit_pipeline pipeline_;
  commit_statistics statistics_;
  steady_time next_trim_{};
  std::optional<std::string> away_; // why the store takes no writes: the reason of its error
  std::atomic<const mpsc_node*> stop_{nullptr};
  std::thread thread_; // last: it runs on all of the above
};

} // namespace hive::persistence
