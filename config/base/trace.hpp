/// @file
/// W3C trace context: accepted at the edge, carried by every message, written into logs and events.
#pragma once

#include "config/base/random.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hive {

struct trace_context {
  std::uint64_t trace_high = 0;
  std::uint64_t trace_low = 0;
  std::uint64_t span = 0;
  bool sampled = false;

  bool valid() const noexcept { return (trace_high | trace_low) != 0; }
  /// 32 lower-case hex digits.
  std::string trace_id() const;
  /// "00-<trace>-<span>-<flags>".
  std::string traceparent() const;

  /// Strict: version 00, right lengths, lower-case hex, no all-zero id. Anything else is `nullopt` (start a new trace).
  static std::optional<trace_context> parse(std::string_view traceparent) noexcept;
  static trace_context start(random_source& random) noexcept;
  /// The same trace, a new span.
  trace_context child(random_source& random) const noexcept;
};

} // namespace hive
