/// @file
/// Which agent takes a task that names a capability and a complexity: of those that could take it now, two by chance for
/// each level of ability, and of these the one with the least load for its weight and the fewest errors. Constant time,
/// however many agents there are (Mitzenmacher's power of two choices).
#pragma once

#include "actors/scheduling/circuit_breaker.hpp"
#include "actors/scheduling/partitions.hpp"
#include "actors/scheduling/retry_budget.hpp"

#include <array>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace hive::actors::scheduling {

inline constexpr std::uint8_t complexity_max = 9;

/// "translate" or, up to complexity 3 only, "translate:3".
struct capability {
  std::string name;
  std::uint8_t up_to = complexity_max;
  friend bool operator==(const capability&, const capability&) = default;
};
inline capability capability_from(std::string_view text) {
  const auto colon = text.rfind(':');
  const bool limited = colon != std::string_view::npos && colon + 2 == text.size() && text.back() >= '0' && text.back() <= '9';
  if (!limited) return {std::string(text), complexity_max};
  return {std::string(text.substr(0, colon)), static_cast<std::uint8_t>(text.back() - '0')};
}

/// Tasks in the order in which they are due: by rank, then by id.
using ready_set = std::set<std::pair<std::int64_t, task_id>>;

/// One capability: who has it, and the tasks that wait for it, by complexity.
struct capability_pool {
  std::array<std::vector<struct agent_entry*>, complexity_max + 1> free;   ///< By what they are able to, at most.
  std::array<ready_set, complexity_max + 1> ready;
  std::size_t waiting = 0;
};

struct agent_entry {
  entity_id id;
  std::string name;
  std::vector<capability> can;
  std::uint32_t weight = 1;
  std::uint32_t concurrency = 1;
  std::uint32_t in_flight = 0;
  std::uint32_t elsewhere = 0;               ///< Of these: begun by the partition that it belonged to before.
  std::uint32_t partition = 0;               ///< That it belongs to. Another one's takes no task here.
  bool paused = false;
  bool listed = false;                       ///< In the pools, as one that could take a task.
  circuit_breaker breaker;
  retry_budget retries;                      ///< After attempts of it that failed: one that is down puts off nobody else's.
  ready_set ready;                           ///< Tasks that name this agent.
  struct place {
    capability_pool* pool;
    std::uint8_t level;
    std::size_t index;
  };
  std::vector<place> places;                 ///< One for each of `can`.

  /// Less is better.
  double cost() const noexcept { return (in_flight + 1.0) * (1 + 4 * breaker.error_rate()) / weight; }
};

class agent_choice {
public:
  capability_pool& pool(const std::string& name) { return pools_[name]; }
  std::unordered_map<std::string, capability_pool>& pools() noexcept { return pools_; }
  capability_pool* find(const std::string& name) {
    const auto found = pools_.find(name);
    return found == pools_.end() ? nullptr : &found->second;
  }

  /// The agent's capabilities changed. Its place among the free ones is forgotten: `list` it again.
  void describe(agent_entry& a, std::vector<capability> can) {
    list(a, false);
    a.can = std::move(can);
    a.places.clear();
    for (const auto& c : a.can) a.places.push_back({&pools_[c.name], c.up_to, 0});
  }

  /// Whether the agent could take a task now.
  void list(agent_entry& a, bool free) {
    if (a.listed == free) return;
    a.listed = free;
    for (auto& p : a.places) {
      auto& all = p.pool->free[p.level];
      if (free) {
        p.index = all.size();
        all.push_back(&a);
        continue;
      }
      auto* last = all.back();
      all[p.index] = last;
      for (auto& moved : last->places)
        if (moved.pool == p.pool && moved.level == p.level) moved.index = p.index;
      all.pop_back();
    }
  }

  /// Null when nobody could take it now.
  agent_entry* choose(const std::string& name, std::uint8_t complexity, random_source& chance) {
    auto* among = find(name);
    if (!among) return nullptr;
    agent_entry* best = nullptr;
    double best_cost = 0;
    for (std::uint8_t level = complexity; level <= complexity_max; ++level) {
      const auto& all = among->free[level];
      if (all.empty()) continue;
      // More able ones cost a little more: they are kept for what only they can do.
      const double extra = 1 + 0.1 * (level - complexity);
      for (int sample = 0; sample < 2; ++sample) {
        auto* a = all[chance.below(all.size())];
        const double cost = a->cost() * extra;
        if (!best || cost < best_cost) best = a, best_cost = cost;
      }
    }
    return best;
  }

private:
  std::unordered_map<std::string, capability_pool> pools_;
};

} // namespace hive::actors::scheduling
