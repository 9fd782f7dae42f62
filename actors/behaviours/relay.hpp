/// @file
/// `relay`: passes an operation on to a ledger by a durable send. Shows that what is sent is handled exactly once.
///
/// | ask       | payload                           | answer |
/// |-----------|-----------------------------------|--------|
/// | `forward` | `{"to":"ledger-7", "op":"ID"}`    | `{"forwarded":true}`: the ledger gets, or already has, its
/// `append` |
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors {

class relay final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
};

} // namespace hive::actors
