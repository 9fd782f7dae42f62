#include "cluster/placement.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace hive::cluster {
namespace {

std::vector<const node_row*> owners_of(const tables& t, const std::string& pool) {
  std::vector<const node_row*> nodes;
  for (const auto& n : t.nodes)
    if (n.state == node_state::active && n.live() && n.facts.pool == pool) nodes.push_back(&n);
  return nodes;
}

} // namespace

const char* to_string(node_state state) noexcept {
  switch (state) {
  case node_state::joining: return "joining";
  case node_state::active: return "active";
  case node_state::draining: return "draining";
  case node_state::left: return "left";
  case node_state::dead: return "dead";
  }
  return "unknown";
}

const node_row* tables::find(node_generation generation) const noexcept {
  const auto at = std::lower_bound(nodes.begin(), nodes.end(), generation,
                                   [](const node_row& n, node_generation g) { return n.generation < g; });
  return at != nodes.end() && at->generation == generation ? &*at : nullptr;
}

double rendezvous_score(shard_id shard, std::string_view node, std::uint32_t capacity) noexcept {
  const std::uint64_t h = XXH3_64bits_withSeed(node.data(), node.size(), shard.value());
  const double uniform = (static_cast<double>(h >> 11U) + 0.5) * 0x1.0p-53; // in (0, 1)
  return static_cast<double>(capacity) / -std::log(uniform);
}

std::vector<std::uint32_t> quotas(const std::vector<const node_row*>& nodes, std::size_t shards) {
  std::uint64_t capacity = 0;
  for (const auto* n : nodes) capacity += n->facts.capacity;
  std::vector<std::uint32_t> quota(nodes.size());
  if (capacity == 0) return quota;
  // Largest remainder; the older generation first among equals.
  std::vector<std::pair<std::uint64_t, std::size_t>> remainders;
  std::size_t left = shards;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::uint64_t share = shards * std::uint64_t{nodes[i]->facts.capacity};
    quota[i] = static_cast<std::uint32_t>(share / capacity);
    left -= quota[i];
    remainders.emplace_back(capacity - share % capacity, i);
  }
  std::sort(remainders.begin(), remainders.end());
  for (std::size_t i = 0; i < left; ++i) ++quota[remainders[i].second];
  return quota;
}

bool has_live_owner(const tables& t, const shard_owner& shard) noexcept {
  const auto* owner = t.find(shard.owner);
  return owner != nullptr && !owner->ended();
}

placement::placement(const tables& t, placement_settings settings)
  : tables_(t), settings_(std::move(settings)), nodes_(owners_of(t, settings_.pool)), quotas_(quotas(nodes_, t.shards.size())),
    loads_(nodes_.size()) {
  for (const auto& s : t.shards)
    if (const auto i = index_of(s.owner); i < nodes_.size()) ++loads_[i];
}

std::size_t placement::index_of(node_generation node) const noexcept {
  const auto at = std::lower_bound(nodes_.begin(), nodes_.end(), node, [](const node_row* n, node_generation g) { return n->generation < g; });
  return at != nodes_.end() && (*at)->generation == node ? static_cast<std::size_t>(at - nodes_.begin()) : nodes_.size();
}

std::uint32_t placement::quota_of(node_generation node) const noexcept {
  const auto i = index_of(node);
  return i < nodes_.size() ? quotas_[i] : 0;
}

std::uint32_t placement::load_of(node_generation node) const noexcept {
  const auto i = index_of(node);
  return i < nodes_.size() ? loads_[i] : 0;
}

std::vector<std::size_t> placement::ranked(shard_id shard) const {
  const auto& row = tables_.shards[shard.value()];
  const auto* owner = tables_.find(row.owner);
  const std::string_view zone = owner != nullptr ? std::string_view(owner->facts.zone) : std::string_view{};
  std::vector<std::tuple<bool, double, std::size_t>> order;
  order.reserve(nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto& facts = nodes_[i]->facts;
    if (nodes_[i]->generation == row.owner) continue;
    order.emplace_back(!zone.empty() && facts.zone == zone, -rendezvous_score(shard, facts.name, facts.capacity), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<std::size_t> indices;
  indices.reserve(order.size());
  for (const auto& [same_zone, score, i] : order) indices.push_back(i);
  return indices;
}

std::vector<const node_row*> placement::preference(shard_id shard) const {
  std::vector<const node_row*> order;
  for (const auto i : ranked(shard)) order.push_back(nodes_[i]);
  return order;
}

std::vector<shard_placement> placement::place(const std::vector<shard_id>& orphans) {
  std::vector<shard_placement> placed;
  if (nodes_.empty()) return placed;
  std::vector<shard_id> homeless;
  for (const auto shard : orphans) {
    // A node that was started again gets back what it had: least disturbance, and its files are there.
    const auto owner = tables_.shards[shard.value()].owner;
    const auto* last = tables_.find(owner);
    const auto* successor = last != nullptr ? successor_of(*last) : nullptr;
    if (successor == nullptr || successor->state == node_state::draining) {
      homeless.push_back(shard);
    } else if (const auto i = index_of(successor->generation); i < nodes_.size()) {
      ++loads_[i];
      placed.push_back({shard, owner, successor->generation});
    } // else it is joining: a moment more
  }
  for (const auto shard : homeless) {
    for (const auto i : ranked(shard)) {
      if (loads_[i] >= quotas_[i]) continue;
      ++loads_[i];
      placed.push_back({shard, tables_.shards[shard.value()].owner, nodes_[i]->generation});
      break;
    }
  }
  std::sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) { return a.shard < b.shard; });
  return placed;
}

const node_row* placement::successor_of(const node_row& ended) const noexcept {
  for (auto n = tables_.nodes.rbegin(); n != tables_.nodes.rend() && n->generation > ended.generation; ++n)
    if (n->facts.name == ended.facts.name && n->live()) return &*n;
  return nullptr;
}

std::vector<shard_placement> placement::moves(node_generation from, const std::vector<std::uint64_t>& heat) const {
  const auto* donor = tables_.find(from);
  if (donor == nullptr || donor->ended() || nodes_.empty()) return {};

  // What has no owner takes its room first.
  placement after = *this;
  std::vector<shard_id> orphans;
  for (const auto& s : tables_.shards)
    if (!has_live_owner(tables_, s)) orphans.push_back(s.shard);
  after.place(orphans);

  std::vector<std::uint32_t> room(nodes_.size());
  std::vector<std::pair<node_generation, std::uint32_t>> donors; // those that leave first, then by generation
  bool uneven = false;
  for (const auto& n : tables_.nodes) {
    if (n.state != node_state::draining || n.ended()) continue;
    std::uint32_t owns = 0;
    for (const auto& s : tables_.shards) owns += s.owner == n.generation ? 1 : 0;
    if (owns != 0) donors.emplace_back(n.generation, owns);
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto quota = quotas_[i];
    const auto load = after.loads_[i];
    const auto slack = std::max<std::uint32_t>(1, quota * settings_.tolerance / 100);
    uneven = uneven || load > quota + slack || load + slack < quota;
    room[i] = quota > load ? quota - load : 0;
    if (load > quota) donors.emplace_back(nodes_[i]->generation, load - quota);
  }
  if (donor->state != node_state::draining && !uneven) return {};

  // Every donor computes the same split of the room, so that two of them do not fill the same place.
  for (const auto& [node, excess] : donors) {
    std::vector<std::uint32_t> share(room.size());
    std::uint32_t open = 0;
    for (const auto r : room) open += r;
    std::uint32_t rest = std::min(excess, open);
    // In proportion first, then what rounding left.
    const std::uint32_t wanted = rest;
    for (std::size_t i = 0; i < room.size(); ++i) {
      share[i] = open == 0 ? 0 : static_cast<std::uint32_t>(std::uint64_t{room[i]} * wanted / open);
      rest -= share[i];
    }
    for (std::size_t i = 0; i < room.size() && rest != 0; ++i) {
      const auto more = std::min(rest, room[i] - share[i]);
      share[i] += more;
      rest -= more;
    }
    if (node == from) return spread(from, excess, std::move(share), heat);
    for (std::size_t i = 0; i < room.size(); ++i) room[i] -= share[i];
  }
  return {};
}

std::vector<shard_placement> placement::spread(node_generation from, std::uint32_t count, std::vector<std::uint32_t> room,
                                               const std::vector<std::uint64_t>& heat) const {
  struct candidate {
    std::uint64_t heat;
    double reluctance; // how much more the shard prefers where it is than the best of the receivers
    shard_id shard;
  };
  const auto* donor = tables_.find(from);
  std::vector<candidate> candidates;
  for (const auto& s : tables_.shards) {
    if (s.owner != from) continue;
    double best = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (room[i] != 0) best = std::max(best, rendezvous_score(s.shard, nodes_[i]->facts.name, nodes_[i]->facts.capacity));
    const double here = rendezvous_score(s.shard, donor->facts.name, donor->facts.capacity);
    candidates.push_back({s.shard.value() < heat.size() ? heat[s.shard.value()] : 0, best > 0 ? here / best : 0, s.shard});
  }
  std::sort(candidates.begin(), candidates.end(), [](const candidate& a, const candidate& b) {
    return std::tie(a.heat, a.reluctance, a.shard) < std::tie(b.heat, b.reluctance, b.shard);
  });
  std::vector<shard_placement> moves;
  for (const auto& c : candidates) {
    if (moves.size() == count) break;
    for (const auto i : ranked(c.shard)) {
      if (room[i] == 0) continue;
      --room[i];
      moves.push_back({c.shard, from, nodes_[i]->generation});
      break;
    }
  }
  return moves;
}

std::vector<shard_placement> drain_plan(const tables& now, node_generation node, const placement_settings& settings,
                                        const std::vector<std::uint64_t>& heat) {
  tables after = now;
  for (auto& n : after.nodes)
    if (n.generation == node && n.state == node_state::active) n.state = node_state::draining;
  return placement(after, settings).moves(node, heat);
}

} // namespace hive::cluster
