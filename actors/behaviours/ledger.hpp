/// @file
/// `ledger`: a durable list of operations. Small, and the yardstick: benches measure it and fault tests audit it.
///
/// | ask      | payload                    | answer |
/// |----------|----------------------------|--------|
/// | `append` | `{"op":"ID"}`              | `{"count":N}`: how many there are with this one |
/// | `list`   | `{}`, or `{"from":0,"limit":100}` | `{"ops":[...]}` in the order in which they were committed. With a limit there may be
/// fewer than that, as many as `entity.payload_bytes` holds: go on behind them until none comes |
/// | `crash`  |                            | none: the behaviour throws |
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors {

class ledger final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
};

/// How many operations there are: all that the small state holds.
struct ledger_state {
  std::uint64_t count = 0;
  std::string encode() const;
  static ledger_state decode(std::string_view bytes);
};

/// The parts that `stepper` has in common with it.
namespace ledger_ops {
std::string op_of(const message& m);
/// Appends to the log, counts and answers.
void append(turn& self, std::string op);
task<> list(turn& self, message m);
} // namespace ledger_ops

} // namespace hive::actors
