#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cluster/links/chunks.hpp"

#include <algorithm>
#include <cassert>

namespace hive::cluster::links {

void chunk_cutter::begin(frame f) {
  assert(!busy());
  frame_ = std::move(f);
  at_ = 0;
}

chunk chunk_cutter::next(std::size_t chunk_bytes) {
  assert(busy());
  const std::string_view all = frame_.body;
  chunk c{frame_.tenant, all.size(), *at_, all.substr(*at_, chunk_bytes), 0};
  *at_ += c.bytes.size();
  if (*at_ == all.size()) {
    c.digest = XXH3_64bits(all.data(), all.size());
    at_.reset();
  }
  return c;
}

chunk_assembler::outcome chunk_assembler::add(const chunk& c) {
  if (!open_) {
    if (c.total > most_) return outcome::broken;
    open_ = true;
    total_ = c.total;
    frame_ = {c.tenant, {}};
  }
  auto& body = frame_.body;
  const bool fits = c.tenant == frame_.tenant && c.total == total_ && c.offset == body.size() && c.bytes.size() <= total_ - body.size();
  if (!fits || (c.bytes.empty() && total_ != 0)) return outcome::broken;
  // Memory follows the bytes that came, not the size that was promised.
  body.append(c.bytes);
  if (body.size() < total_) return outcome::more;
  open_ = false;
  return c.digest == XXH3_64bits(body.data(), body.size()) ? outcome::complete : outcome::broken;
}

} // namespace hive::cluster::links
