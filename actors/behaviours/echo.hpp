/// @file
/// `echo`: answers any message with its own payload. Changes nothing, so it shows what the hive itself costs.
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors {

class echo final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    self.reply(std::move(m.body));
    co_return;
  }
};

} // namespace hive::actors
