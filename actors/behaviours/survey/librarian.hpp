/// @file
/// `survey.librarian`: answers questions with the passages that readers remembered.
///
/// | ask    | payload | answer |
/// |--------|---------|--------|
/// | `ask`  | `{"question", "passages"? (5), "tokens"? (2,000), "filter"?}` |
/// `{"question","passages":[{"file","line","last_line","text","score","tokens"}],"tokens","quality"}` |
///
/// Config: `{"collection"}`.
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors::survey {

class librarian final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
  result<void> check(const json& config) const override;
};

} // namespace hive::actors::survey
