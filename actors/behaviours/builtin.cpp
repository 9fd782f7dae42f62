#include "actors/behaviours/builtin.hpp"

#include "actors/behaviours/echo.hpp"
#include "actors/behaviours/ledger.hpp"
#include "actors/behaviours/relay.hpp"
#include "actors/behaviours/stepper.hpp"
#include "actors/behaviours/survey/clock.hpp"
#include "actors/behaviours/survey/coordinator.hpp"
#include "actors/behaviours/survey/librarian.hpp"
#include "actors/behaviours/survey/reader.hpp"

namespace hive::actors {

void add_builtin_behaviours(behaviour_registry& behaviours) {
  behaviours.add("echo", std::make_unique<echo>());
  behaviours.add("ledger", std::make_unique<ledger>());
  behaviours.add("relay", std::make_unique<relay>());
  behaviours.add("stepper", std::make_unique<stepper>());
  behaviours.add("survey.coordinator", std::make_unique<survey::coordinator>());
  behaviours.add("survey.reader", std::make_unique<survey::reader>());
  behaviours.add("survey.librarian", std::make_unique<survey::librarian>());
  behaviours.add("survey.clock", std::make_unique<survey::clock>());
}

} // namespace hive::actors
