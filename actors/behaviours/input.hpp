/// @file
/// What behaviours read their messages with: strict, and the asker hears which field is wrong.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/executors/json_fields.hpp"

namespace hive::actors {

/// Call after the last read of a message's fields. Throws `bad_message` for the first thing that was wrong.
inline void check_message(json_fields& fields) {
  if (auto wrong = fields.problem())
    throw bad_message(wrong->field.empty() ? "payload" : "payload." + wrong->field, wrong->message);
}

[[noreturn]] inline void refuse_type(const message& m, std::string_view known) {
  throw bad_message("type", "\"" + m.type + "\" is not known here; known: " + std::string(known));
}

} // namespace hive::actors
