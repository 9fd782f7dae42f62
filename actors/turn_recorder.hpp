/// @file
/// What each worker thread runs, in a small file mapped into memory: it outlives the process, and the next start reads in
/// it whose turn the process died of. And the watch over turns that do not end.
#pragma once

#include "config/base/ids.hpp"
#include "config/base/result.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace hive::actors {

/// The process ends with this code when turns over their time limit hold its shards (runtime/README.md).
inline constexpr int exit_code_stuck = 86;

class turn_recorder {
public:
  static constexpr std::size_t slots_max = 320;
  /// In `slot::fault` in place of a signal's number: the watch ended the process because of this turn.
  static constexpr std::uint32_t overdue = 0xFFFF;

  /// One worker's line of the file. Written by its own thread, except `fault`.
  struct alignas(64) slot {
    std::atomic<std::uint64_t> entity{0};     ///< 0: between turns.
    std::atomic<std::uint64_t> message{0};    ///< `message_of` (shard_core.hpp); 0: one that nobody sends again, or none.
    std::atomic<std::uint64_t> sequence{0};   ///< Rises with each turn.
    std::atomic<std::uint32_t> fault{0};
  };

  /// A turn that ran when the last life of the process ended without a word.
  struct suspect {
    entity_id entity;
    std::uint64_t message;
    std::uint32_t fault;                      ///< Signal, `overdue`, or 0: not known, as after SIGKILL.
  };

  /// Reads what the last life left, and begins anew.
  static result<std::unique_ptr<turn_recorder>> open(const std::string& file);
  ~turn_recorder();
  turn_recorder(const turn_recorder&) = delete;
  turn_recorder& operator=(const turn_recorder&) = delete;

  /// Those whose thread raised the signal, or that held their shard too long; when none did, all that ran.
  const std::vector<suspect>& suspects() const noexcept { return suspects_; }

  /// While one is alive, its thread runs that turn. A null recorder records nothing.
  class running {
  public:
    running(turn_recorder* recorder, entity_id entity, std::uint64_t message) noexcept : slot_(recorder ? recorder->mine() : nullptr) {
      if (!slot_) return;
      slot_->message.store(message, std::memory_order_relaxed);
      slot_->sequence.store(slot_->sequence.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      slot_->entity.store(entity.bits(), std::memory_order_release);
    }
    ~running() {
      if (slot_) slot_->entity.store(0, std::memory_order_release);
    }
    running(const running&) = delete;
    running& operator=(const running&) = delete;

  private:
    slot* slot_;
  };

  /// The lines of threads that have run turns. Any thread.
  std::size_t threads() const noexcept { return used_.load(std::memory_order_acquire); }
  slot& line(std::size_t i) noexcept { return (*slots_)[i]; }

  /// Has signals that mean a crash marked in the line of the thread that raised them, for the whole process.
  static void mark_faults();

private:
  explicit turn_recorder(std::array<slot, slots_max>* mapped);
  slot* mine() noexcept;

  std::array<slot, slots_max>* slots_;
  std::uint64_t number_;
  std::atomic<std::size_t> used_{0};
  std::vector<suspect> suspects_;
};

/// Finds turns that do not end. Pure: it is told how much time passed. Confined to one thread.
class overdue_turns {
public:
  struct limits {
    std::size_t workers;
    std::chrono::milliseconds limit;          ///< A turn that runs longer is reported, once.
    std::chrono::milliseconds end;            ///< One that runs this long is the end of the process.
  };
  using report = std::function<void(entity_id, std::chrono::milliseconds ran)>;

  overdue_turns(turn_recorder& recorder, limits l, report each) : recorder_(recorder), limits_(l), report_(std::move(each)), seen_(turn_recorder::slots_max) {}

  /// One look, `passed` after the one before. @returns true when the process must end, because all workers are over the
  /// limit or one turn over its end: a turn that loops must not hold its shard for ever. The guilty lines are marked then.
  bool look(std::chrono::milliseconds passed);

private:
  struct seen {
    std::uint64_t sequence = 0;
    std::chrono::milliseconds ran{0};         // counted in looks: a process that was paused did not run
    bool reported = false;
  };
  turn_recorder& recorder_;
  limits limits_;
  report report_;
  std::vector<seen> seen_;
};

/// A thread that looks, and ends the process with `exit_code_stuck` when it must.
class turn_watch {
public:
  turn_watch(turn_recorder& recorder, overdue_turns::limits l, overdue_turns::report report);
  ~turn_watch();

private:
  void run(std::chrono::milliseconds interval);

  overdue_turns turns_;
  std::mutex guard_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace hive::actors
