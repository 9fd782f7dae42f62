/// @file
/// Texts to vectors by a model that is not in this process.
#pragma once

#include "config/base/ids.hpp"
#include "config/base/result.hpp"
#include "vector/space.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace hive::actors {

/// Pinned when a collection is created: vectors of two models, or of two sizes, say nothing about each other.
struct embedding_model {
  std::string name;
  std::uint32_t dimension = 0;
  bool built_in = false; ///< The hashing embedder of this process, whatever the name.
};

using embeddings = std::vector<std::vector<float>>;

/// Any thread.
class text_embedder {
public:
  virtual ~text_embedder() = default;

  /// Calls `done` once, on any thread, also before this returns; not at all when the node stops meanwhile.
  /// Gives one vector for each text, finite and of the model's dimension. Errors:
  ///   - `failed_precondition`: no endpoint, or it refuses (key, model, text), or its vectors have another dimension.
  ///   - `unavailable`: it did not answer as it should, in all attempts; `retry_after` says when to come again.
  ///   - `resource_exhausted`: too many requests wait for it.
  virtual void embed(tenant_id for_whom, embedding_model by, std::vector<std::string> texts,
                     std::function<void(result<embeddings>)> done) = 0;
};

/// What `space::embedder` says of a collection whose vectors a model makes.
inline constexpr std::string_view endpoint_prefix = "endpoint:";
/// The endpoint's model. Empty: the vectors of this space are made here, or by the callers.
std::optional<embedding_model> model_of(const vector::space& s);
/// What makes the vectors of items: the endpoint's model or the built-in one. Empty: the callers bring them.
std::optional<embedding_model> maker_of(const vector::space& s);

} // namespace hive::actors
