/// @file
/// How a command ends when it does not succeed: thrown anywhere below a command, printed by `main`.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace hive::cli {

/// Part of the interface: scripts branch on it. Listed in `hivectl --help`.
enum class exit_code : int {
  ok = 0,
  failed = 1,      ///< The hive or the agent said no.
  usage = 2,       ///< The command line or a file named on it is wrong.
  not_found = 3,
  denied = 4,      ///< The key is missing, wrong, or may not do this.
  unavailable = 5, ///< Not reached, not ready, overloaded, or the outcome is unknown.
};

struct failure : std::runtime_error {
  failure(exit_code how, const std::string& what, std::string what_to_do = {})
      : std::runtime_error(what), code(how), hint(std::move(what_to_do)) {}
  exit_code code;
  std::string hint; ///< What the person can do about it; may be empty.
  std::string field; ///< Of the request, as the hive named it; may be empty.
};

/// The request was sent and no answer came: it may or may not have been done.
struct outcome_unknown : failure {
  using failure::failure;
};

} // namespace hive::cli
