/// @file
/// The steps `search` and `pack` of agents: a published view is searched on an executor thread, and the answer is kept
/// as the step's result, so that a replayed turn sees the same hits.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/context/query.hpp"

namespace hive::actors {

inline constexpr const char* search_executor = "hive.search";
inline constexpr const char* pack_executor = "hive.pack";

/// Arguments: {"collection", "query"}.
class query_executor final : public executor {
public:
  /// Waits until the collection is in memory, at most until the deadline.
  using opener = std::function<result<published_view>(const call& c, const std::string& collection)>;
  using embedder = std::function<result<embeddings>(const call& c, const embedding_model& by, const std::string& text)>;
  query_executor(std::string what, const config::settings& settings, const clock_source& clock, opener open, embedder embed)
      : what_(std::move(what)), settings_(settings), clock_(clock), open_(std::move(open)), embed_(std::move(embed)) {}
  result<payload> run(const call& c) override;

private:
  std::string what_;
  const config::settings& settings_;
  const clock_source& clock_;
  opener open_;
  embedder embed_;
};

void add_query_executors(executor_registry& to, const config::settings& settings, const clock_source& clock,
                         const query_executor::opener& open, const query_executor::embedder& embed);

} // namespace hive::actors
