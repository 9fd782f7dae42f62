#include "cluster/shard_map.hpp"

namespace hive::cluster {

shard_map::shard_map(std::uint16_t shards) : size_(shards), slots_(std::make_unique<slot[]>(shards)) {}

route shard_map::find(shard_id shard) const noexcept {
  if (shard.value() >= size_) return {};
  const slot& s = slots_[shard.value()];
  for (;;) {
    const auto before = s.turn.load(std::memory_order_acquire);
    if (before % 2 != 0) continue;
    // Acquire: the second look at `turn` must not be moved before these.
    const auto owner = s.owner.load(std::memory_order_acquire);
    const auto fence = s.fence.load(std::memory_order_acquire);
    if (s.turn.load(std::memory_order_acquire) != before) continue;
    return {node_generation{owner}, epoch{fence & ~(here_bit | closing_bit)}, (fence & here_bit) != 0, (fence & closing_bit) != 0};
  }
}

bool shard_map::learn(shard_id shard, node_generation owner, epoch fence) noexcept {
  slot& s = slots_[shard.value()];
  const auto known = s.fence.load(std::memory_order_relaxed);
  const auto known_epoch = known & ~(here_bit | closing_bit);
  if (fence.value() < known_epoch) return false;
  if (fence.value() == known_epoch && owner.value() == s.owner.load(std::memory_order_relaxed)) return true;
  write(s, owner.value(), fence.value());
  return true;
}

void shard_map::serve(shard_id shard, bool here, bool closing) noexcept {
  slot& s = slots_[shard.value()];
  const auto fence = s.fence.load(std::memory_order_relaxed) & ~(here_bit | closing_bit);
  write(s, s.owner.load(std::memory_order_relaxed), fence | (here ? here_bit : 0) | (closing ? closing_bit : 0));
}

void shard_map::clear() noexcept {
  for (std::uint16_t i = 0; i < size_; ++i) write(slots_[i], 0, 0);
}

void shard_map::write(slot& s, std::uint64_t owner, std::uint64_t fence) noexcept {
  if (s.owner.load(std::memory_order_relaxed) == owner && s.fence.load(std::memory_order_relaxed) == fence) return;
  const auto turn = s.turn.load(std::memory_order_relaxed);
  s.turn.store(turn + 1, std::memory_order_relaxed);
  // Release on each: whoever sees a new value sees the odd turn before it.
  s.owner.store(owner, std::memory_order_release);
  s.fence.store(fence, std::memory_order_release);
  s.turn.store(turn + 2, std::memory_order_release);
  version_.fetch_add(1, std::memory_order_acq_rel);
}

} // namespace hive::cluster
