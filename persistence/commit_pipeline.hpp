/// @file
/// Turns on their way to the disk, as a pure state machine: records go in, batches come out, the results of batches go
/// in, settlements come out. No thread, no clock, no store: `commit_thread.hpp` is its shell, tests/sim drives it from a
/// seed.
///
/// - Takes whatever has queued, in order, up to the bounds of a batch; when more has queued than fits, tenants take
///   turns (deficit round robin by bytes, times their weight), while the records of one entity always stay in order.
/// - `refused`: halves the batch until the guilty turn is alone; only that one settles as `refused`. Turns that ran
///   ahead of it on the same entity then come back `stale` from the store, by their base version. Nothing that was
///   submitted later is written before the last half is settled.
/// - `fenced`, `stale`: settle as such; the batch's other turns are not touched.
/// - `unavailable`: every record of the batch settles as `unavailable`; nothing was written.
/// - After a failure, records of the same entity that are still under way mostly come back `stale`. One that was built
///   on nothing that failed (the failed one wrote nothing) can still commit: wait for all of them before starting anew.
/// - `unknown`: nothing settles. The batch is held, and no other one comes out, until `complete` is called again with
///   what was found out.
#pragma once

#include "persistence/turn_store.hpp"

#include <deque>
#include <unordered_map>

namespace hive::persistence {

/// The end of one record.
struct settlement {
  enum class kind : std::uint8_t { committed, fenced, stale, refused, unavailable };
  kind what = kind::committed;
  std::unique_ptr<turn_record> record;
  error why{};                                   ///< For `refused` and `unavailable`.
};

struct batch_limits {
  std::size_t turns = 4096;
  std::uint64_t bytes = 16 * 1024 * 1024;
};

/// Confined to one thread.
class commit_pipeline {
public:
  explicit commit_pipeline(batch_limits limits) : limits_(limits) {}

  void submit(std::unique_ptr<turn_record> record);
  /// Nothing waits, and no batch is out.
  bool idle() const noexcept { return queued_ == 0 && halves_.empty() && batch_.empty(); }

  /// The records of the next batch; empty when nothing waits, or while an `unknown` batch is held. Valid until
  /// `complete`. @pre the last batch is complete, or held.
  std::span<turn_record* const> next_batch();
  /// What became of the batch that `next_batch` gave.
  std::vector<settlement> complete(batch_result&& outcome);

  /// The batch whose outcome is `unknown`; empty when there is none.
  std::span<turn_record* const> held() const noexcept;
  /// Records that are in no batch yet.
  std::size_t queued() const noexcept { return queued_; }

private:
  struct lane { // one tenant's records, in order
    std::deque<std::unique_ptr<turn_record>> records;
    std::uint64_t deficit = 0;
    std::uint32_t weight = 1;       // as its last record says
  };

  void fill_with_everything();
  void fill_by_round_robin();
  void take_front(lane& from);
  void drop_if_empty(tenant_id tenant, lane& from);

  batch_limits limits_;
  std::unordered_map<tenant_id, lane> lanes_;
  std::deque<tenant_id> ring_;                                   // tenants with records, in turn
  std::size_t queued_ = 0;
  std::uint64_t queued_bytes_ = 0;
  std::deque<std::vector<std::unique_ptr<turn_record>>> halves_; // pieces of a refused batch, next first
  std::vector<std::unique_ptr<turn_record>> batch_;
  std::uint64_t batch_bytes_ = 0;
  std::vector<turn_record*> view_;
  bool held_ = false;
};

} // namespace hive::persistence
