/// @file
/// Turns into rows: what one batch sends in one pipeline, one transaction, one round trip.
///
/// The first statement locks this generation's writer row and the batch's shards, checks owner, epoch and base
/// versions, writes entities and journal, and leaves the set of accepted chains in a setting of the transaction; every
/// later statement writes only rows of accepted chains. A *chain* is the turns of one entity in the batch: each builds
/// on the one before, so they are accepted together or not at all.
#pragma once

#include "persistence/payload_codec.hpp"
#include "persistence/postgres/connection.hpp"
#include "persistence/turn_rules.hpp"
#include "persistence/turn_store.hpp"

#include <deque>
#include <map>
#include <set>
#include <span>
#include <unordered_map>

namespace hive::persistence::postgres {

/// In whose name a batch is written.
struct writer_name {
  node_generation generation;
  std::uint64_t session = 0;
  std::uint64_t batch = 0; ///< The number that this batch will have: the last committed one and 1.
};

/// Confined to the thread that writes.
class batch_writer {
public:
  /// @param codec outlives the writer.
  explicit batch_writer(const payload_codec& codec);

  /// The statements of batches, and how they are planned. Sends and waits; throws `pg_error`.
  static void prepare(connection& on);

  /// Sorts a batch into rows; nothing is sent. Throws `refusal`, and what the codec throws. The records outlive the
  /// batch.
  void gather(std::span<turn_record* const> batch);
  /// Whether the gathered batch writes anything; if not, it only asks who owns the shards, and takes no number.
  bool writes() const noexcept { return writes_; }
  /// Sends the gathered batch up to, but not including, its end: `connection::finish`.
  void send(connection& on, const writer_name& as);
  /// What the answers say; turns that are committed learn the number of their last event. False: the writer's row is not
  /// as `as` named it, and nothing was written.
  bool read(const std::vector<rows>& answers, std::vector<turn_outcome>& outcomes) const;

  /// What became of the gathered batch, when it is known to be committed: asks which journal rows are there.
  void look_for(connection& on, node_generation generation, std::vector<turn_outcome>& outcomes) const;

private:
  enum class fate : std::uint8_t { chain, look, fenced, stale };
  struct placed {
    fate how = fate::chain;
    std::uint32_t chain = 0; ///< Index in `chains_`.
  };
  struct chain {
    const turn_record* first = nullptr;
    std::vector<const turn_record*> turns; ///< Empty: it only deletes what was delivered.
    std::uint32_t number = 0;              ///< As SQL knows it, from 1.
  };
  /// The rows of one statement, by columns. The first three are the number of the row's chain, its tenant and its
  /// entity.
  struct table {
    explicit table(std::initializer_list<type> more);
    void clear();
    bool empty() const noexcept { return columns.front().size() == 0; }
    /// Begins a row. @returns its other columns.
    column* row(std::uint32_t number, tenant_id tenant, std::uint64_t serial);
    std::vector<column> columns;
  };
  /// Changes of keyed rows whose order matters: in each round first what goes, then what comes.
  struct round {
    table gone;
    table put;
    std::set<std::string> keys_put;
  };
  struct rounds {
    const char* gone_statement;
    const char* put_statement;
    std::vector<type> gone_types, put_types;
    std::deque<round> all;
    round& at(std::initializer_list<std::string> keys, bool put);
  };

  void place(std::span<turn_record* const> batch);
  void number_chains();
  void gather_entities();
  void gather_turn(const turn_record& r, std::uint32_t number);
  void gather_journal(const turn_record& r, std::uint32_t number);
  void gather_messages(const turn_record& r, std::uint32_t number);
  void gather_names(const turn_record& r, std::uint32_t number);
  void gather_reports(const turn_record& r, std::uint32_t number);
  /// What several turns of one chain write to the same key: the last one counts.
  void gather_keyed_rows(const chain& c);
  void put_sealed(column& to, const turn_record& r, std::string_view place, std::string_view bytes);
  void send_table(connection& on, const char* statement, table& t, const writer_name* as = nullptr);

  const payload_codec& codec_;
  const bool plain_;
  bool writes_ = false;
  std::span<turn_record* const> batch_;
  std::vector<placed> placed_;
  std::vector<chain> chains_;
  std::unordered_map<entity_id, std::uint32_t> chain_of_;
  std::vector<std::uint32_t> inserts_, updates_, deliveries_; ///< Indices of chains, in the order of their numbers.
  std::map<std::uint16_t, std::uint64_t> shards_;             ///< Of the batch: number -> epoch.
  std::set<std::uint32_t> tenants_;                           ///< Of the batch.
  std::string scope_;                                         ///< The same, as an array of SQL.
  std::uint64_t events_ = 0;
  std::vector<std::uint64_t> last_events_; ///< By turn: number of its last event within the batch.

  column shard_ids_, shard_epochs_, positions_;
  table insert_, update_, delivery_, journal_, log_, item_put_, item_gone_, outbox_, delivered_, inbox_, waiting_,
      ended_, step_, timer_put_, timer_gone_, audit_, event_, letter_, letter_gone_, purge_;
  rounds names_, tenant_rows_, keys_;
};

} // namespace hive::persistence::postgres
