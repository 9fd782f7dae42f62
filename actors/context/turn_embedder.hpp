/// @file
/// Vectors for the turns of collections: those of the built-in embedder are made on search threads, those of the endpoint are
/// waited for a moment only. No worker computes them, and nobody's turn waits long for an endpoint.
#pragma once

#include "actors/context/text_embedder.hpp"
#include "config/base/clock.hpp"

#include <functional>

namespace hive::actors {

/// By the built-in embedder, here and now. The vector of a text that cannot be embedded is empty: the collection says what is wrong.
embeddings built_in_vectors(std::uint32_t dimension, const std::vector<std::string>& texts);

/// Any thread.
class turn_embedder final : public text_embedder {
public:
  /// Runs a job of the tenant on a search thread; drops it when the node stops.
  using post_job = std::function<void(tenant_id, std::function<void()>)>;
  using run_later = std::function<void(std::chrono::milliseconds, std::function<void()>)>;

  /// @param patience how long a turn waits for the endpoint. What comes later is kept in its cache, so that a repeat finds it.
  turn_embedder(text_embedder& endpoint, post_job post, run_later later, std::chrono::milliseconds patience)
      : endpoint_(endpoint), post_(std::move(post)), later_(std::move(later)), patience_(patience) {}

  void embed(tenant_id for_whom, embedding_model by, std::vector<std::string> texts,
             std::function<void(result<embeddings>)> done) override;

private:
  struct built_in_job;
  void go_on(std::shared_ptr<built_in_job> job);

  text_embedder& endpoint_;
  post_job post_;
  run_later later_;
  std::chrono::milliseconds patience_;
};

} // namespace hive::actors
