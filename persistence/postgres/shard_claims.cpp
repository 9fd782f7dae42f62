#include "persistence/postgres/shard_claims.hpp"

#include "persistence/postgres/server_checks.hpp"

namespace hive::persistence::postgres {

std::string commit_application(node_generation generation) {
  return "hive commits " + std::to_string(generation.value());
}

std::vector<shard_row> claim_shards(connection& on, std::string_view name, std::optional<shard_id> only) {
  // Generations and epochs are pairs of timeline and counter: what a lost timeline gave away never comes again.
  arguments who;
  const std::string life = std::string(name) + " " + (only ? std::to_string(only->value()) : "");
  who.text(life).number(std::int64_t{only ? only->value() : -1});
  on.send("with c as (update hive.cluster set version = version + 1, last_generation = greatest(last_generation + 1, "
          "(" HIVE_TIMELINE ") << 40)"
          " where id = 1 returning last_generation as generation),"
          " n as (insert into hive.node(generation, name, link, http, grpc, pool, zone, version, capacity, state, "
          "renewal, started, lease_end, ended, reason)"
          "  select generation, $1, '', '', '', '', '', '', 1, 3, 0, clock_timestamp(), clock_timestamp(), "
          "clock_timestamp(), 'has no lease' from c),"
          " s as materialized (select s.id from hive.shard s where $2 < 0 or s.id = $2 order by s.id for update)"
          " update hive.shard set owner = c.generation, epoch = greatest(shard.epoch + 1, (" HIVE_TIMELINE
          ") << 40) from c, s where shard.id = s.id"
          " returning shard.id, shard.owner, shard.epoch",
          who);
  const auto answers = on.finish(connection::clock::now() + std::chrono::seconds{60}); // for batches under way
  std::vector<shard_row> claimed;
  for (std::size_t i = 0; i < answers[0].size(); ++i)
    claimed.push_back({shard_id{static_cast<std::uint16_t>(answers[0].number(i, 0))},
                       node_generation{answers[0].bits(i, 1)}, epoch{answers[0].bits(i, 2)}});
  std::sort(claimed.begin(), claimed.end(), [](const auto& a, const auto& b) { return a.shard < b.shard; });
  return claimed;
}

} // namespace hive::persistence::postgres
