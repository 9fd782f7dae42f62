/// @file
/// `stepper`: a ledger whose turns wait. Each `work` goes through every kind of step before it is entered, so that
/// fault tests can kill the node in the middle of any of them.
///
/// | ask    | payload                                    | answer |
/// |--------|--------------------------------------------|--------|
/// | `work` | `{"op":"ID", "ms"?: 5, "to"?: "ledger-7"}` | `{"count":N}`, after a sleep of `ms`, an `append` asked of
/// `to`, and the program | | `list` | as for `ledger`                            | `{"ops":[...]}` |
///
/// Config: `{"program"?: "/usr/bin/true"}`: run as a `process` step; it must be among `files.programs`.
/// The ask of `to` is one step: however often the turn runs again, the other ledger has the operation once.
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors {

class stepper final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
  result<void> check(const json& config) const override;

private:
  task<> work(turn& self, message m) const;
};

} // namespace hive::actors
