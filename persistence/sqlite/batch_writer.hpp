/// @file
/// Turns into rows: what one batch writes inside the transaction that `sqlite_store` opened for it.
#pragma once

#include "persistence/payload_codec.hpp"
#include "persistence/sqlite/database.hpp"
#include "persistence/turn_rules.hpp"
#include "persistence/turn_store.hpp"

#include <deque>
#include <span>

namespace hive::persistence::sqlite {

/// What a batch changed besides its rows; taken over only when it is committed.
struct batch_tally {
  std::int64_t entities = 0;
  std::int64_t outbox = 0;
  std::int64_t waiting = 0;
  std::uint64_t next_event = 0;
  bool any() const noexcept { return (entities | outbox | waiting) != 0; }
};

/// Rows go in by table, and within the tables that grow at their end by position: the same pages are met again while
/// they are at hand. Confined to the thread that writes.
class batch_writer {
public:
  /// @param codec outlives the writer.
  batch_writer(connection& on, const payload_codec& codec);

  /// @pre a transaction is open. `outcomes` gets one entry a record. Throws `refusal` and `sqlite_error`; the caller
  /// then rolls back. @param tally in: the next number for an event.
  void apply(std::span<turn_record* const> batch, node_generation owner, std::vector<turn_outcome>& outcomes, batch_tally& tally);

private:
  struct shard_now {
    std::uint64_t stamp = 0; // of the batch that looked
    std::uint64_t owner = 0;
    std::uint64_t epoch = 0;
  };

  void look_at_shards(std::size_t records);
  bool fence_holds(const turn_record& record, node_generation owner);
  bool build_on(const turn_record& record, batch_tally& tally);
  void put_journal(const turn_record& record);
  void put_log(const turn_record& record);
  void put_rest(const turn_record& record, batch_tally& tally);
  void put_messages(const turn_record& record, batch_tally& tally);
  void forget_delivered(const turn_record& record, batch_tally& tally);
  void put_waiting(const turn_record& record, batch_tally& tally);
  void put_timers(const turn_record& record);
  void put_names(const turn_record& record);
  void put_reports(const turn_record& record, batch_tally& tally);
  std::uint32_t purge(const turn_record& record);
  /// The bytes as stored; sealed copies live until the batch is done.
  blob sealed(const turn_record& record, std::string_view place, std::string_view bytes);

  connection& on_;
  const payload_codec& codec_;
  const bool plain_;
  std::uint64_t stamp_ = 0;
  std::vector<shard_now> shards_; // by number
  std::vector<const turn_record*> by_entity_;
  std::vector<const turn_record*> by_position_;
  std::vector<std::pair<const turn_record*, std::size_t>> order_;
  std::deque<std::string> sealed_;

  statement shard_;
  statement shards_all_;
  statement entity_insert_;
  statement entity_update_;
  statement journal_plain_;
  statement journal_keyed_;
  statement log_;
  statement item_put_;
  statement item_delete_;
  statement item_purge_;
  statement purged_entity_;
  statement log_previous_, log_purge_, log_tail_;
  statement outbox_put_;
  statement outbox_delete_;
  statement inbox_;
  statement waiting_put_;
  statement waiting_delete_;
  statement step_put_;
  statement step_delete_;
  statement timer_put_;
  statement timer_delete_;
  statement directory_put_;
  statement directory_delete_;
  statement tenant_put_;
  statement tenant_remove_;
  statement key_put_;
  statement key_delete_;
  statement audit_;
  statement event_;
  statement letter_gone_, dead_letter_;
  statement total_;
};

} // namespace hive::persistence::sqlite
