#include "actors/context/turn_embedder.hpp"

#include "vector/embedding/hashing_embedder.hpp"

#include <atomic>
#include <memory>

namespace hive::actors {
namespace {

/// Of one job: a few milliseconds, so that a large put does not keep a thread from other tenants' searches.
constexpr std::size_t bytes_at_once = 64 * 1024;

std::vector<float> built_in_vector(std::uint32_t dimension, const std::string& text) {
  auto made = vector::hashing_embedder(dimension).document(text);
  return made ? std::move(*made) : std::vector<float>{};
}

} // namespace

embeddings built_in_vectors(std::uint32_t dimension, const std::vector<std::string>& texts) {
  embeddings out;
  out.reserve(texts.size());
  for (const auto& text : texts) out.push_back(built_in_vector(dimension, text));
  return out;
}

struct turn_embedder::built_in_job {
  tenant_id for_whom;
  std::uint32_t dimension = 0;
  std::vector<std::string> texts;
  embeddings vectors;
  std::function<void(result<embeddings>)> done;
};

void turn_embedder::embed(tenant_id for_whom, embedding_model by, std::vector<std::string> texts,
                          std::function<void(result<embeddings>)> done) {
  if (by.built_in) {
    auto job = std::make_shared<built_in_job>();
    job->for_whom = for_whom;
    job->dimension = by.dimension;
    job->texts = std::move(texts);
    job->done = std::move(done);
    return go_on(std::move(job));
  }
  struct waiting {
    std::atomic<bool> ended{false};
    std::function<void(result<embeddings>)> done;
  };
  auto turn = std::make_shared<waiting>();
  turn->done = std::move(done);
  endpoint_.embed(for_whom, std::move(by), std::move(texts), [turn](result<embeddings> made) {
    if (!turn->ended.exchange(true)) turn->done(std::move(made));
  });
  if (turn->ended) return;
  later_(patience_, [turn] {
    if (!turn->ended.exchange(true))
      turn->done(error{errc::unavailable,
                       "embedding_slow",
                       "the embedding endpoint did not answer within embedding.turn_wait; others wait for this collection",
                       {},
                       std::chrono::milliseconds{1000}});
  });
}

/// One slice after the other, each a job of its own.
void turn_embedder::go_on(std::shared_ptr<built_in_job> job) {
  const auto whose = job->for_whom;
  post_(whose, [this, job = std::move(job)]() mutable {
    for (std::size_t bytes = 0; job->vectors.size() < job->texts.size() && bytes < bytes_at_once;) {
      const auto& text = job->texts[job->vectors.size()];
      bytes += text.size();
      job->vectors.push_back(built_in_vector(job->dimension, text));
    }
    if (job->vectors.size() < job->texts.size()) return go_on(std::move(job));
    job->done(std::move(job->vectors));
  });
}

} // namespace hive::actors
