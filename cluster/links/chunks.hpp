/// @file
/// A large frame in pieces: cut on one side, put together and checked on the other. Pure.
#pragma once

#include "cluster/links/link_types.hpp"

#include <optional>

namespace hive::cluster::links {

struct chunk {
  tenant_id tenant;
  std::uint64_t total = 0;
  std::uint64_t offset = 0;
  std::string_view bytes;
  std::uint64_t digest = 0; ///< Of the whole frame; with the last piece, else 0.
};

/// Cuts one frame after the other.
class chunk_cutter {
public:
  bool busy() const noexcept { return at_.has_value(); }
  /// @pre `!busy()`
  void begin(frame f);
  /// The next piece; its bytes stay valid until the next call. @pre `busy()`
  chunk next(std::size_t chunk_bytes);

private:
  frame frame_;
  std::optional<std::uint64_t> at_;
};

/// Puts frames together: one at a time, so no more than one unfinished frame of a peer is ever in memory.
class chunk_assembler {
public:
  explicit chunk_assembler(std::uint64_t frame_bytes) : most_(frame_bytes) {}

  enum class outcome : std::uint8_t { more, complete, broken };
  /// `broken`: out of order, too large, or the digest is wrong; the connection is to be closed.
  outcome add(const chunk& c);
  /// @pre the last `add` was `complete`
  frame take() noexcept { return std::move(frame_); }

private:
  std::uint64_t most_;
  frame frame_;
  std::uint64_t total_ = 0;
  bool open_ = false;
};

} // namespace hive::cluster::links
