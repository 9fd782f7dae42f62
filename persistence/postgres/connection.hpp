/// @file
/// One connection to PostgreSQL: statements are sent in a pipeline and answered together, so that a transaction costs
/// one round trip. What is sent between two `finish` is one transaction; the Sync message that ends it is its COMMIT.
#pragma once

#include "config/base/result.hpp"
#include "persistence/postgres/wire.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <stdexcept>

struct pg_conn;

namespace hive::persistence::postgres {

/// A statement failed (then its transaction is rolled back), or the connection was lost.
class pg_error : public std::runtime_error {
public:
  pg_error(std::string message, std::string state, bool lost, bool committing)
      : std::runtime_error(std::move(message)), state_(std::move(state)), lost_(lost), committing_(committing) {}
  /// SQLSTATE; may be empty when the connection was lost.
  const std::string& state() const noexcept { return state_; }
  std::string_view state_class() const noexcept { return std::string_view(state_).substr(0, 2); }
  /// The connection is of no use any more.
  bool lost() const noexcept { return lost_; }
  /// Lost after the last byte of the transaction had left: it may or may not be committed.
  bool committing() const noexcept { return committing_; }

private:
  std::string state_;
  bool lost_;
  bool committing_;
};

/// As an error of ours: `unavailable`, but for what the caller got wrong.
error to_error(const pg_error& e);

struct connect_options {
  std::string url;         ///< libpq's: postgres://... or key=value; several hosts are tried in turn.
  std::string application; ///< Shown in pg_stat_activity.
  std::chrono::milliseconds connect_wait{3000}; ///< Each host; rounded up to seconds.
  bool direct = true;                           ///< A pooler in between is refused ("store_pooled"). False: may lead through
                                                ///< PgBouncer; no session settings are sent.
  std::chrono::milliseconds pause{10'000};      ///< Longer than this inside a transaction, and the server ends it: a process that
                                                ///< froze there holds its locks. Only of direct ones.
};

/// Confined to one thread at a time.
class connection {
public:
  using clock = std::chrono::steady_clock;

  /// Throws `pg_error`. Takes the first host that accepts writes (`target_session_attrs=read-write`, unless the URL
  /// says other).
  explicit connection(const connect_options& how);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Names a statement for `send`; part of the pipeline.
  void prepare(const char* name, const char* sql);
  /// @param statement the name of a prepared one.
  void send_prepared(const char* statement, const arguments& with);
  /// Unnamed, as PgBouncer needs it.
  void send(const char* sql, const arguments& with = {});
  /// The name of `sql`, prepared when it is first asked for: then it costs a round trip. Null: so many are kept that this
  /// one is not. @pre nothing was sent since the last `finish`; not through PgBouncer
  const char* kept(const char* sql, const arguments& like);
  /// Ends the transaction and waits for all answers, one a statement. Throws `pg_error`: of the statement that failed
  /// first; or lost, also when `until` passes (the connection is closed; nothing is cancelled).
  std::vector<rows> finish(std::optional<clock::time_point> until = std::nullopt);

  /// One statement, one transaction, within `wait`.
  rows query(const char* sql, const arguments& with = {});

  /// Whether the last `finish` met a warning: a wait for a standby that was cut short says so that way, and no other.
  const std::string& warning() const noexcept { return warning_; }
  bool usable() const noexcept { return usable_; }
  int backend() const noexcept;
  int socket() const noexcept;

  std::chrono::milliseconds wait{10'000}; ///< Of `query`.

private:
  static void note(void* self, const pg_result* notice);
  [[noreturn]] void fail(const std::string& what, std::string state, bool lost);
  void demand_sent(int accepted);
  /// Sends what is buffered and reads until there is a result to take.
  void advance(std::optional<clock::time_point> until);

  pg_conn* conn_ = nullptr;
  std::size_t pending_ = 0;
  bool usable_ = true;
  bool all_sent_ = false; ///< Of the pipeline that `finish` ends.
  std::string warning_;
  std::map<std::string, std::string, std::less<>> kept_; ///< Names by text.
};

} // namespace hive::persistence::postgres
