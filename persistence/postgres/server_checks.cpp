#include "persistence/postgres/server_checks.hpp"

namespace hive::persistence::postgres {

std::uint64_t timeline_of(connection& on) { return on.query("select " HIVE_TIMELINE).bits(0, 0); }

void wait_for(connection& on, [[maybe_unused]] durability wanted) {
  arguments level;
#ifdef HIVE_MUTATION_SKIP_SYNC
  level.text("off"); // a defect that the fault tests must find
#else
  level.text(wanted == durability::local ? "local" : "on");
#endif
  on.query("select set_config('synchronous_commit', $1, false)", level);
}

result<void> demand_durable(connection& on, durability wanted) {
  const auto refuse = [](std::string reason, std::string message, std::string field) {
    return error{errc::failed_precondition, std::move(reason), std::move(message), std::move(field), {}};
  };
  wait_for(on, wanted);
  const auto found = on.query("select current_setting('fsync'), current_setting('full_page_writes'), "
                              "current_setting('synchronous_standby_names'),"
                              " (select count(*) from pg_stat_replication where application_name is null or "
                              "application_name not in ('pg_basebackup'))"
                              " + (select count(*) from pg_replication_slots where slot_type = 'physical')");
  if (found.bytes(0, 0) != "on" || found.bytes(0, 1) != "on")
    return refuse("fsync_off",
                  "the server runs with fsync or full_page_writes off: what it acknowledges a power loss takes back; "
                  "switch them on",
                  "store.postgres.url");
  if (wanted == durability::replicated && found.number(0, 3) != 0 && found.bytes(0, 2).empty())
    return refuse("no_synchronous_standby",
                  "the server has standbys, but none is synchronous (synchronous_standby_names is empty): a failover "
                  "would lose acknowledged work;"
                  " name one there, or set store.postgres.durability to local",
                  "store.postgres.durability");
  return {};
}

} // namespace hive::persistence::postgres
