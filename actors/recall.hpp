/// @file
/// The message that takes a request back. Among other nodes its body says which message of the user lane went before it: it
/// travels on another lane, and must not be taken before what it is about, should a link have lost that.
#pragma once

#include "actors/envelope.hpp"
#include "config/base/bytes.hpp"

namespace hive::actors {

inline bool is_recall(const envelope& e) noexcept { return e.on == lane::system && e.type == "hive.task.cancel"; }

/// @param sequence of the last message that its sender sent to the same entity on the user lane and that was not handled when
///   this one left; 0: none.
inline void set_behind(envelope& recall, std::uint64_t sequence) {
  recall.body = sequence == 0 ? payload{} : payload{byte_writer{}.varint(sequence).take(), content_type::binary};
}

inline std::uint64_t behind(const envelope& recall) {
  if (recall.body.bytes.empty() || recall.body.type != content_type::binary) return 0;
  byte_reader in(recall.body.bytes);
  const auto sequence = in.varint();
  return in.ok() ? sequence : 0;
}

} // namespace hive::actors
