/// @file
/// `survey.clock`: wakes a coordinator after a while, so that it can look whether its readers get on. An agent of its
/// own, because a coordinator that sleeps could not hear its readers.
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors::survey {

/// Takes `survey.watch` `{"to","run","ms"}`, sends `survey.tick` `{"run"}` to `to` when the time is up.
class clock final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
};

} // namespace hive::actors::survey
