/// @file
/// A bounded pool of connections that only read. Every read is one transaction and one round trip. Direct ones plan each
/// statement once; behind PgBouncer in transaction mode statements have no names, and sessions no state.
#pragma once

#include "persistence/postgres/connection.hpp"

#include <condition_variable>
#include <mutex>

namespace hive::persistence::postgres {

/// What a read may see: the scope that row-level security demands. What is not named is not seen.
struct read_scope {
  std::string tenants; ///< "{3}"
  std::string shards;  ///< "{0,1}"
  std::string api_key;
};

/// Any thread.
class reader_pool {
public:
  /// @param limit connections at most; they are made when they are first needed.
  /// @param wait for a free connection, and then again for the answer.
  reader_pool(connect_options how, std::size_t limit, std::chrono::milliseconds wait);

  /// Tried a second time on a new connection when the first one turns out to be gone.
  /// @returns or `unavailable` ("store_away", "readers_busy", "store_slow").
  result<rows> read(const read_scope& scope, const char* sql, const arguments& with);

private:
  std::unique_ptr<connection> take(connection::clock::time_point until, bool fresh);
  void put_back(std::unique_ptr<connection> used);

  const connect_options how_;
  const std::size_t limit_;
  const std::chrono::milliseconds wait_;
  std::mutex guard_;
  std::condition_variable free_;
  std::vector<std::unique_ptr<connection>> idle_;
  std::size_t made_ = 0;                       ///< In use or idle.
  connection::clock::time_point not_before_{}; ///< A server that could not be reached is left alone until then.
};

} // namespace hive::persistence::postgres
