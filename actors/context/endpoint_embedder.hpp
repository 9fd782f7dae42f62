/// @file
/// Vectors from an OpenAI-compatible `/v1/embeddings` endpoint: batches, retries, a breaker, a cache.
#pragma once

#include "actors/context/embedding_cache.hpp"
#include "actors/scheduling/circuit_breaker.hpp"
#include "actors/worker_pool.hpp"
#include "config/settings.hpp"

#include <atomic>
#include <condition_variable>

namespace hive::actors {

struct endpoint_answer {
  unsigned status = 0;
  std::string body;
  std::chrono::milliseconds retry_after{}; ///< As the endpoint asks; 0: it does not.
};

/// One connection to the endpoint. Used by one thread.
class endpoint_connection {
public:
  virtual ~endpoint_connection() = default;
  /// @returns any status; `unavailable` when no whole answer came by the deadline, or `stop` became true.
  virtual result<endpoint_answer> post(const std::string& body, std::chrono::milliseconds wait,
                                       const std::atomic<bool>& stop) = 0;
};

/// The body of a request.
std::string embedding_request(const embedding_model& by, const std::vector<std::string>& texts, bool name_dimension);
/// The vectors of an answer with status 200, in the order of the texts. Errors: `failed_precondition` for another
/// dimension, `unavailable` for an answer that is none.
result<embeddings> embeddings_from(const std::string& body, const embedding_model& by, std::size_t texts);

class endpoint_embedder final : public text_embedder {
public:
  using connect = std::function<std::unique_ptr<endpoint_connection>()>;
  /// @param connect makes the connection of one thread; null: no endpoint is configured.
  endpoint_embedder(const config::embedding_settings& settings, connect make, std::uint64_t seed);
  ~endpoint_embedder() override { stop(); }
  /// What is under way is broken off; its `done` is not called.
  void stop();

  void embed(tenant_id for_whom, embedding_model by, std::vector<std::string> texts,
             std::function<void(result<embeddings>)> done) override;

private:
  struct request;
  struct batch;
  void run(endpoint_connection& over, const batch& b);
  result<embeddings> fetch(endpoint_connection& over, const batch& b);
  /// @returns why it is useless to try, or nothing.
  std::optional<error> breaker_open();
  void heard(bool good);
  bool pause(std::chrono::milliseconds wait);

  const config::embedding_settings settings_;
  const bool configured_;
  system_clock_source clock_;
  embedding_cache cache_;
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<bool> stop_{false};
  std::mutex guard_; ///< Of what follows.
  std::condition_variable wake_;
  scheduling::circuit_breaker breaker_;
  random_source chance_;
  std::unique_ptr<worker_pool<std::unique_ptr<endpoint_connection>>> threads_;
};

} // namespace hive::actors
