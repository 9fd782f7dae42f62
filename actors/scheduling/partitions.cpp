#include "actors/scheduling/partitions.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace hive::actors::scheduling {
namespace {

/// Where things belong is on disk: these numbers never change.
std::uint64_t hash_of(std::string_view what) noexcept {
  std::uint64_t h = 0xCBF29CE484222325U; // FNV-1a
  for (const char c : what) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return h;
}
std::uint64_t mixed(std::uint64_t h) noexcept { // splitmix64
  h += 0x9E3779B97F4A7C15U;
  h = (h ^ (h >> 30U)) * 0xBF58476D1CE4E5B9U;
  h = (h ^ (h >> 27U)) * 0x94D049BB133111EBU;
  return h ^ (h >> 31U);
}

} // namespace

std::uint32_t partition_for(std::string_view what, std::uint32_t n) noexcept {
  if (n <= 1) return 0;
  const auto h = hash_of(what);
  std::uint32_t best = 0;
  std::uint64_t most = mixed(h);
  for (std::uint32_t p = 1; p < n; ++p)
    if (const auto weight = mixed(h ^ mixed(p)); weight > most) best = p, most = weight;
  return best;
}

std::uint64_t next_task_id(std::uint64_t last, std::uint32_t partition, wall_time now) noexcept {
  const auto first = [partition](std::uint64_t millis) { return millis << 20U | std::uint64_t{partition} << 16U; };
  const auto next = (last & 0xFFFFU) == 0xFFFFU ? first((last >> 20U) + 1) : last + 1;
  return std::max(next, first(static_cast<std::uint64_t>(now.time_since_epoch().count())));
}

queue_division queue_division::from_spec(const nlohmann::json& spec) {
  queue_division d;
  if (!spec.is_object()) return d;
  d.partitions = std::clamp(spec.value("queue_partitions", 1U), 1U, queue_partitions_max);
  const auto grown = spec.find("queue_grown");
  if (grown == spec.end()) {
    d.before = d.partitions; // it has had them from its beginning
    return d;
  }
  d.before = std::clamp(grown->value("from", 1U), 1U, d.partitions);
  d.grown = wall_time{std::chrono::milliseconds{grown->value("at", std::int64_t{0})}};
  return d;
}

queue_division queue_division::from_spec(std::string_view spec) {
  if (spec.find("\"queue_partitions\"") == std::string_view::npos) return {};
  return from_spec(nlohmann::json::parse(spec, nullptr, false));
}

void queue_division::write_to(nlohmann::json& spec) const {
  spec.erase("queue_partitions");
  spec.erase("queue_grown");
  if (partitions == 1) return;
  spec["queue_partitions"] = partitions;
  if (before != partitions) spec["queue_grown"] = {{"from", before}, {"at", grown.time_since_epoch().count()}};
}

void queue_division::grow(std::uint32_t to, wall_time now, std::chrono::milliseconds keep) noexcept {
  if (to <= partitions) return;
  if (before == partitions || now - grown > keep) before = partitions;
  partitions = to;
  grown = now;
}

std::vector<std::uint32_t> queue_division::meeting_points(std::string_view what, wall_time now, std::chrono::milliseconds keep) const {
  std::vector<std::uint32_t> points;
  for (auto n = now - grown > keep ? partitions : before; n <= partitions; ++n) {
    const auto p = partition_for(what, n);
    if (points.empty() || points.back() != p) points.push_back(p);
  }
  return points;
}

} // namespace hive::actors::scheduling
