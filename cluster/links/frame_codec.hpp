/// @file
/// How frames and answers are packed into a batch: varints and strings, no copy when read. Whatever does not decode
/// exactly is refused as a whole.
#pragma once

#include "cluster/links/link_types.hpp"
#include "config/base/bytes.hpp"

#include <optional>

namespace hive::cluster::links {

/// A frame on its way. `correlation` 0: a tell.
struct packed_frame {
  tenant_id tenant;
  std::uint64_t correlation = 0;
  milliseconds time_left{};
  std::string_view body;
};

/// Appends. Reserve the size of the bodies and `frame_overhead` for each, and nothing is copied twice.
void pack_frame(std::string& into, const packed_frame& f);
/// @returns nothing when the bytes are not exactly `count` frames, each within `frame_bytes`.
std::optional<std::vector<packed_frame>> unpack_frames(std::string_view packed, std::size_t count, std::size_t frame_bytes);

struct packed_answer {
  std::uint64_t correlation = 0;
  result<std::string> with;
};

void pack_answer(byte_writer& into, std::uint64_t correlation, const result<std::string>& with);
std::optional<std::vector<packed_answer>> unpack_answers(std::string_view packed, std::size_t count);

/// Correlations carry their lane, so that an answer finds its way back by number alone.
constexpr std::uint64_t correlation_of(std::uint64_t serial, lane by) noexcept { return (serial << 2U) | static_cast<std::uint64_t>(by); }
constexpr lane lane_of(std::uint64_t correlation) noexcept { return static_cast<lane>(correlation & 3U); }

} // namespace hive::cluster::links
