/// @file
/// What happens on the commit thread when a record comes back: the asker is answered there, without another hop, and the
/// entity's shard hears of it.
#pragma once

#include "actors/context/context_views.hpp"
#include "actors/turn_host.hpp"
#include "persistence/commit_pipeline.hpp"

namespace hive::actors {

/// Confined to the commit thread.
class settler {
public:
  /// @param views of the node's contexts: what a turn put is searched before its asker hears.
  explicit settler(context_views& views) : views_(views) {}

  /// Settles the asker of `s` and gives back the record with the outcome that its shard must hear: a turn that changed
  /// nothing but ran behind a failed one saw what is not there, and is `stale` too.
  std::unique_ptr<actor_record> settle(persistence::settlement& s);

private:
  context_views& views_;
  // Entities whose commit failed, with the generation of the activation that will start over.
  std::unordered_map<entity_id, std::uint32_t> failed_;
};

} // namespace hive::actors
