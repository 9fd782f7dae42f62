/// @file
/// The tenant's queue of tasks. actors/directory.hpp says what it takes and how a task is kept.
#pragma once

#include "actors/system/system_turn.hpp"

namespace hive::actors {

class queue_behaviour final : public behaviour {
public:
  explicit queue_behaviour(std::chrono::milliseconds keep) : keep_(keep) {}
  task<> handle(turn& self, message m) const override;

private:
  task<> submit(turn& self, json body) const;
  task<> cancel(turn& self, json body) const;
  task<> done(turn& self, payload body) const;
  task<> progress(turn& self, json body) const;
  task<> sweep(turn& self, std::string after) const;

  std::chrono::milliseconds keep_;   ///< How long an ended task is kept.
};

} // namespace hive::actors
