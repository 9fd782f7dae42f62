#include "persistence/postgres/postgres_reader.hpp"

#include "config/base/bytes.hpp"
#include "persistence/event_cursor.hpp"
#include "persistence/log_signposts.hpp"

namespace hive::persistence::postgres {
namespace {

constexpr std::size_t rows_a_page = 500; // of walks over a shard
constexpr std::int64_t log_rows_a_page = 512;
constexpr std::int64_t log_bytes_a_page = 8 << 20; // a page of a log ends when it has that many

wall_time time_of(std::int64_t milliseconds) noexcept { return wall_time{std::chrono::milliseconds{milliseconds}}; }
std::int64_t bounded(std::size_t limit) noexcept {
  return static_cast<std::int64_t>(std::min<std::size_t>(limit, std::numeric_limits<std::int64_t>::max()));
}

error not_found(std::string what) { return {errc::not_found, "not_found", std::move(what), {}, {}}; }
error no_entity(entity_id id) { return not_found("there is no entity " + to_string(id)); }

/// One statement, so that state and marks are of the same moment; the columns at the end are of what may follow. @see `entity_of`
#define HIVE_ENTITY_AND_MARKS                                                                                          \
  "select 0, version, desired::bigint, life::bigint, sent, last_keyed, log_tail, state,"                               \
  " null::text, null::text, null::text, null::bytea from hive.entity where tenant_id = $1 and entity = $2"             \
  " union all select 1, sender_tenant, sender, lane, sequence, 0, 0, null, null, null, null, null"                     \
  " from hive.inbox where tenant_id = $1 and entity = $2"

entity_id entity_at(const rows& r, std::size_t row, int tenant, int serial) {
  return {tenant_id{static_cast<std::uint32_t>(r.number(row, tenant))}, r.bits(row, serial)};
}

class reader final : public store_reader {
public:
  reader(reader_pool& pool, const payload_codec& codec, std::uint16_t shard_count)
      : pool_(pool), codec_(codec), plain_(codec.plain()) {
    all_shards_ = "{";
    for (std::uint32_t i = 0; i < shard_count; ++i) all_shards_ += (i == 0 ? "" : ",") + std::to_string(i);
    all_shards_ += "}";
  }

  result<entity_row> load_entity(tenant_context who, entity_id id) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    auto found = pool_.read(of(who), HIVE_ENTITY_AND_MARKS, key_of(id));
    return guarded<entity_row>(found, [&](const rows& r) { return entity_of(id, r); });
  }

  result<stored_entity> load(tenant_context who, entity_id id) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    auto found = pool_.read(of(who),
                            HIVE_ENTITY_AND_MARKS
                            " union all select 2, kind, revision, 0, 0, 0, 0, null, name, behaviour, supervisor, spec"
                            " from hive.directory where tenant_id = $1 and entity = $2",
                            key_of(id));
    return guarded<stored_entity>(found, [&](const rows& r) {
      stored_entity its{entity_of(id, r), std::nullopt};
      for (std::size_t i = 0; i < r.size(); ++i)
        if (r.number(i, 0) == 2)
          its.directory = directory_row{static_cast<entity_kind>(r.number(i, 1)), r.text(i, 8), id, r.text(i, 9), r.text(i, 10), r.bits(i, 2), r.text(i, 11)};
      return its;
    });
  }

  result<directory_row> find(tenant_context who, entity_kind kind, std::string_view name) override {
    arguments with;
    with.number(tenant_number(who)).number(static_cast<std::int64_t>(kind)).text(name);
    auto found = pool_.read(of(who),
                            "select kind, name, entity, behaviour, supervisor, revision, spec from hive.directory "
                            "where tenant_id = $1 and kind = $2 and name = $3",
                            with);
    return guarded<directory_row>(found, [&](const rows& r) -> result<directory_row> {
      if (r.size() == 0) return not_found(std::string("there is no ") + to_string(kind) + " " + std::string(name));
      return directory_of(who.tenant(), r, 0);
    });
  }

  result<directory_row> find(tenant_context who, entity_id id) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    auto found = pool_.read(of(who),
                            "select kind, name, entity, behaviour, supervisor, revision, spec from hive.directory "
                            "where tenant_id = $1 and entity = $2",
                            key_of(id));
    return guarded<directory_row>(found, [&](const rows& r) -> result<directory_row> {
      if (r.size() == 0) return no_entity(id);
      return directory_of(who.tenant(), r, 0);
    });
  }

  result<std::vector<directory_row>> list(tenant_context who, entity_kind kind, std::string_view after,
                                          std::size_t limit, const std::string* supervisor) override {
    arguments with;
    with.number(tenant_number(who)).number(static_cast<std::int64_t>(kind)).text(after).number(bounded(limit));
    const char* sql = "select kind, name, entity, behaviour, supervisor, revision, spec from hive.directory"
                      " where tenant_id = $1 and kind = $2 and name > $3 order by name limit $4";
    if (supervisor && supervisor->empty()) {
      sql = "select kind, name, entity, behaviour, supervisor, revision, spec from hive.directory"
            " where tenant_id = $1 and kind = $2 and name > $3 and supervisor = '' order by name limit $4";
    } else if (supervisor) {
      sql = "select kind, name, entity, behaviour, supervisor, revision, spec from hive.directory"
            " where tenant_id = $1 and kind = $2 and name > $3 and supervisor = $5 and supervisor <> '' order by name "
            "limit $4";
      with.text(*supervisor);
    }
    auto found = pool_.read(of(who), sql, with);
    return guarded<std::vector<directory_row>>(found, [&](const rows& r) {
      std::vector<directory_row> list;
      for (std::size_t i = 0; i < r.size(); ++i) list.push_back(directory_of(who.tenant(), r, i));
      return list;
    });
  }

  result<std::vector<key_entry>> keys(tenant_context who, entity_id id, journal_position from, std::size_t limit,
                                      wall_time oldest) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    arguments with = key_of(id);
    with.number(from.value()).number(bounded(limit)).number(millis(oldest));
    // A walk back along the chain; it ends at what was trimmed, or is too old to matter.
    auto found =
        pool_.read(of(who),
                   "with recursive k as ("
                   " select position, at, previous, flags, caller, key, 1::bigint as n from hive.journal"
                   "  where tenant_id = $1 and position = $3 and entity = $2 and key is not null and at >= $5"
                   " union all"
                   " select j.position, j.at, j.previous, j.flags, j.caller, j.key, k.n + 1 from k join hive.journal j"
                   "  on j.tenant_id = $1 and j.position = k.previous and j.entity = $2 and j.key is not null and j.at "
                   ">= $5 where k.n < $4)"
                   " select position, at, flags, caller, key from k where n <= $4 order by n",
                   with);
    return guarded<std::vector<key_entry>>(found, [&](const rows& r) {
      std::vector<key_entry> entries;
      for (std::size_t i = 0; i < r.size(); ++i)
        entries.push_back({key_hash_of(r.bytes(i, 4), r.bits(i, 3)), journal_position{r.bits(i, 0)},
                           time_of(r.number(i, 1)), (r.number(i, 2) & 1) != 0});
      return entries;
    });
  }

  result<keyed_answer> answer(tenant_context who, entity_id id, journal_position position) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    arguments with = key_of(id);
    with.number(position.value());
    auto got = pool_.read(of(who),
                          "select flags, caller, digest, key, answer from hive.journal where tenant_id = $1 and "
                          "position = $3 and entity = $2 and key is not null",
                          with);
    return guarded<keyed_answer>(got, [&](const rows& r) -> result<keyed_answer> {
      if (r.size() == 0)
        return not_found("the answer at " + std::to_string(position.value()) + " is not kept any more");
      keyed_answer found;
      const std::int64_t flags = r.number(0, 0);
      found.generated = (flags & 1) != 0;
      found.failed = (flags & 2) != 0;
      found.answer.type = static_cast<content_type>(flags >> 2);
      found.caller = r.bits(0, 1);
      const auto digest = r.bytes(0, 2);
      if (digest.size() == sizeof found.digest) std::memcpy(&found.digest, digest.data(), sizeof found.digest);
      found.key = r.text(0, 3);
      found.answer.bytes = opened(id, "journal.answer", r.bytes(0, 4));
      return found;
    });
  }

  result<std::vector<std::string>> read_log(tenant_context who, entity_id id, std::string_view log,
                                            journal_position tail, std::uint64_t from, std::size_t limit) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    if (limit == 0) return std::vector<std::string>{};
    const std::uint64_t last =
        from + std::min<std::uint64_t>(limit - 1, std::numeric_limits<std::uint64_t>::max() - from);
    auto& known = signposts_.of(id, log);
    std::vector<std::pair<std::uint64_t, std::string>> found; // newest row first
    bool complete = false;
    // Rows never change, so that the pages of a walk need not be of one moment.
    for (std::uint64_t at = log_signposts::start_of(known, last, tail.value()); at != 0 && !complete;) {
      arguments with = key_of(id);
      with.number(at).number(log_rows_a_page).number(log_bytes_a_page);
      auto page = pool_.read(
          of(who),
          "with recursive l as ("
          " select position, previous, entries, 1::bigint as n, octet_length(entries)::bigint as bytes from hive.log"
          "  where tenant_id = $1 and position = $3 and entity = $2"
          " union all"
          " select j.position, j.previous, j.entries, l.n + 1, l.bytes + octet_length(j.entries) from l join hive.log j"
          "  on j.tenant_id = $1 and j.position = l.previous and j.entity = $2 where l.n < $4 and l.bytes < $5)"
          " select position, previous, entries from l order by n",
          with);
      const auto next = guarded<std::uint64_t>(page, [&](const rows& r) -> result<std::uint64_t> {
        for (std::size_t i = 0; i < r.size() && !complete; ++i) {
          const std::string copy = plain_ ? std::string{} : opened(id, "log.entries", r.bytes(i, 2));
          byte_reader in(plain_ ? r.bytes(i, 2) : std::string_view(copy));
          std::uint64_t highest = 0;
          bool any = false;
          for (std::uint64_t n = in.varint(); n > 0 && in.ok(); --n) {
            const auto name = in.text();
            const std::uint64_t index = in.varint();
            const auto data = in.text();
            if (!in.ok() || name != log) continue;
            if (index <= from) complete = true;
            if (index >= from && index <= last) found.emplace_back(index, std::string(data));
            highest = std::max(highest, index);
            any = true;
          }
          if (!in.ok())
            return error{errc::internal,
                         "store_damaged",
                         "the log row at " + std::to_string(r.bits(i, 0)) + " cannot be read",
                         {},
                         {}};
          if (any && i % log_signposts::rows_apart == 0) signposts_.put(known, highest, r.bits(i, 0));
        }
        return r.size() == 0 ? 0 : r.bits(r.size() - 1, 1);
      });
      if (!next) return next.error();
      at = *next;
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> entries;
    entries.reserve(found.size());
    for (auto& [index, data] : found) entries.push_back(std::move(data));
    return entries;
  }

  result<std::optional<std::string>> item(tenant_context who, entity_id id, std::string_view key) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    arguments with = key_of(id);
    with.bytes(key);
    auto found =
        pool_.read(of(who), "select value from hive.item where tenant_id = $1 and entity = $2 and key = $3", with);
    return guarded<std::optional<std::string>>(found, [&](const rows& r) {
      return r.size() == 0 ? std::optional<std::string>{} : std::optional(opened(id, "item.value", r.bytes(0, 0)));
    });
  }

  result<std::vector<std::pair<std::string, std::string>>>
  items(tenant_context who, entity_id id, std::string_view prefix, std::string_view after, std::size_t limit) override {
    if (who.tenant() != id.tenant()) return no_entity(id);
    // What starts with the prefix lies between it and the next string of its length.
    std::string end(prefix);
    while (!end.empty() && end.back() == '\xFF') end.pop_back();
    if (!end.empty()) end.back() = static_cast<char>(end.back() + 1);
    const bool from_prefix = after < prefix;
    arguments with = key_of(id);
    with.bytes(from_prefix ? prefix : after).number(bounded(limit));
    std::string sql = "select key, value from hive.item where tenant_id = $1 and entity = $2 and key ";
    sql += from_prefix ? ">= $3" : "> $3";
    if (!end.empty()) {
      sql += " and key < $5";
      with.bytes(end);
    }
    sql += " order by key limit $4";
    auto found = pool_.read(of(who), sql.c_str(), with);
    using pairs = std::vector<std::pair<std::string, std::string>>;
    return guarded<pairs>(found, [&](const rows& r) {
      pairs list;
      for (std::size_t i = 0; i < r.size(); ++i)
        list.emplace_back(r.text(i, 0), opened(id, "item.value", r.bytes(i, 1)));
      return list;
    });
  }

  /// Several nodes commit at once, and numbers are given before the commit. They are of the transaction; so everything
  /// below the oldest transaction that is still running is settled, and only that is shown: a cursor never passes an
  /// event that is yet to come.
  result<event_page> events(tenant_context who, std::string_view cursor, std::size_t limit) override {
    std::optional<std::uint64_t> from;
    if (!cursor.empty() && !(from = number_of(cursor)))
      return invalid("Last-Event-ID",
                     "\"" + std::string(cursor) +
                         "\" is not a cursor of this event stream: send one that came with an event, or none");
    arguments with;
    with.number(tenant_number(who)).number(from.value_or(0)).number(from ? bounded(limit) : 0);
    auto found = pool_.read(
        of(who),
        "with s as materialized (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20 as settled),"
        " f as materialized (select settled, coalesce((select number from hive.event_floor where tenant_id = $1), 0) "
        "as floor,"
        "  coalesce((select max(number) from hive.event where tenant_id = $1 and number < s.settled), 0) as newest "
        "from s),"
        " p as materialized (select settled, floor, greatest(newest, floor) as newest,"
        "  greatest(floor, least($2::bigint, greatest(newest, floor))) as start from f)"
        " select p.floor, p.newest, p.start, e.number, e.at, e.entity, e.type, e.source, e.data from p"
        " left join lateral (select * from hive.event where tenant_id = $1 and number > p.start and number < p.settled"
        "  order by number limit $3) e on true order by e.number",
        with);
    return guarded<event_page>(found, [&](const rows& r) {
      event_page page;
      if (!from) {
        page.end = cursor_of(r.bits(0, 1));
        return page;
      }
      std::uint64_t position = r.bits(0, 2);
      page.gap = position != *from; // trimmed; or the cursor is of a store that has since been restored from a backup
      for (std::size_t i = 0; i < r.size() && !r.is_null(i, 3); ++i) {
        position = r.bits(i, 3);
        auto& e = page.events.emplace_back();
        e.cursor = cursor_of(position);
        e.at = time_of(r.number(i, 4));
        e.event.type = r.text(i, 6);
        e.event.source = r.text(i, 7);
        e.event.data = opened({who.tenant(), r.bits(i, 5)}, "event.data", r.bytes(i, 8));
      }
      page.end = cursor_of(position);
      return page;
    });
  }

  result<std::vector<std::pair<wall_time, audit_row>>> audit(tenant_context who, std::size_t limit) override {
    arguments with;
    with.number(tenant_number(who)).number(bounded(limit));
    auto found = pool_.read(
        of(who), "select at, action, target, detail from hive.audit where tenant_id = $1 order by number desc limit $2",
        with);
    using entries = std::vector<std::pair<wall_time, audit_row>>;
    return guarded<entries>(found, [&](const rows& r) {
      entries list;
      for (std::size_t i = 0; i < r.size(); ++i)
        list.emplace_back(time_of(r.number(i, 0)), audit_row{r.text(i, 1), r.text(i, 2), r.text(i, 3)});
      return list;
    });
  }

  result<std::vector<stored_dead_letter>> dead_letters(tenant_context who, std::uint64_t before,
                                                       std::size_t limit) override {
    arguments with;
    with.number(tenant_number(who))
        .number(before == 0 ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(before))
        .number(bounded(limit));
    auto found = pool_.read(of(who),
                            "select number, at, entity, principal, reason, message, detail from hive.dead_letter"
                            " where tenant_id = $1 and number < $2 order by number desc limit $3",
                            with);
    return guarded<std::vector<stored_dead_letter>>(found, [&](const rows& r) {
      std::vector<stored_dead_letter> list;
      for (std::size_t i = 0; i < r.size(); ++i) {
        const entity_id id{who.tenant(), r.bits(i, 2)};
        list.push_back({r.bits(i, 0),
                        time_of(r.number(i, 1)),
                        id,
                        r.text(i, 3),
                        {r.text(i, 4), opened(id, "dead_letter.message", r.bytes(i, 5)), r.text(i, 6)}});
      }
      return list;
    });
  }

  result<api_key_row> find_api_key(std::string_view id) override {
    arguments with;
    with.text(id);
    auto found =
        pool_.read({.tenants = {}, .shards = {}, .api_key = std::string(id)},
                   "select id, tenant_id, secret_hash, role, label, created from hive.api_key where id = $1", with);
    return guarded<api_key_row>(found, [&](const rows& r) -> result<api_key_row> {
      if (r.size() == 0) return not_found("there is no such key");
      return api_key_row{r.text(0, 0), tenant_id{static_cast<std::uint32_t>(r.number(0, 1))},
                         r.text(0, 2), r.text(0, 3),
                         r.text(0, 4), time_of(r.number(0, 5)),
                         false};
    });
  }

  result<tenant_row> find_tenant(std::string_view name) override {
    arguments with;
    with.text(name);
    return one_tenant("select tenant_id, name, spec from hive.tenant where name = $1 and not removed", with);
  }
  result<tenant_row> find_tenant(tenant_id id) override {
    arguments with;
    with.number(std::int64_t{id.value()});
    return one_tenant("select tenant_id, name, spec from hive.tenant where tenant_id = $1 and not removed", with);
  }

  result<std::vector<tenant_row>> tenants(std::string_view after, std::size_t limit) override {
    arguments with;
    with.text(after).number(bounded(limit));
    auto found = pool_.read(
        of_the_hive(),
        "select tenant_id, name, spec from hive.tenant where not removed and name > $1 order by name limit $2", with);
    return guarded<std::vector<tenant_row>>(found, [&](const rows& r) {
      std::vector<tenant_row> list;
      for (std::size_t i = 0; i < r.size(); ++i) list.push_back(tenant_of(r, i));
      return list;
    });
  }

  result<void> outbox_of(shard_id shard, const std::function<bool(outbox_row&&)>& each) override {
    outbox_row last;
    std::int64_t tenant = -1; // before the first one
    return pages(
        shard,
        [&](arguments& with) -> const char* {
          with.number(tenant).number(last.sender.serial()).number(last.sequence);
          return "select tenant_id, entity, sequence, receiver_tenant, receiver, lane, format, principal, type, body, "
                 "envelope from hive.outbox"
                 " where shard = $1 and (tenant_id, entity, sequence) > ($3, $4, $5) order by tenant_id, entity, "
                 "sequence limit $2";
        },
        [&](const rows& r, std::size_t i) {
          outbox_row row;
          row.sender = entity_at(r, i, 0, 1);
          row.sequence = r.bits(i, 2);
          row.receiver = entity_at(r, i, 3, 4);
          row.lane = static_cast<std::uint8_t>(r.number(i, 5));
          row.body.type = static_cast<content_type>(r.number(i, 6));
          row.principal = r.text(i, 7);
          row.type = r.text(i, 8);
          row.body.bytes = opened(row.sender, "outbox.body", r.bytes(i, 9));
          row.envelope = opened(row.sender, "outbox.envelope", r.bytes(i, 10));
          tenant = r.number(i, 0);
          last.sender = row.sender;
          last.sequence = row.sequence;
          return each(std::move(row));
        });
  }

  result<void> waiting_of(shard_id shard, const std::function<bool(waiting_entity&&)>& each) override {
    waiting_entity now;
    bool any = false;
    bool stopped = false;
    std::int64_t tenant = -1;
    // A turn and its steps come from one statement; a page holds whole turns.
    auto done = pages(
        shard,
        [&](arguments& with) -> const char* {
          with.number(tenant).number(now.entity.serial()).number(now.turn.turn);
          return "select w.tenant_id, w.entity, w.turn, w.started, w.seed, w.principal, w.message, s.number, s.due, "
                 "s.intent, s.result from"
                 " (select * from hive.waiting where shard = $1 and (tenant_id, entity, turn) > ($3, $4, $5) order by "
                 "tenant_id, entity, turn limit $2) w"
                 " left join hive.step s on s.tenant_id = w.tenant_id and s.entity = w.entity and s.turn = w.turn "
                 "order by w.tenant_id, w.entity, w.turn, s.number";
        },
        [&](const rows& r, std::size_t i) {
          const entity_id id = entity_at(r, i, 0, 1);
          if (!any || id != now.entity || r.bits(i, 2) != now.turn.turn) {
            if (any && !each(waiting_entity(now))) return !(stopped = true);
            any = true;
            now = {id,
                   r.text(i, 5),
                   {r.bits(i, 2), time_of(r.number(i, 3)), r.bits(i, 4), opened(id, "waiting.message", r.bytes(i, 6))},
                   {}};
            tenant = r.number(i, 0);
          }
          if (!r.is_null(i, 7)) {
            step_row row{now.turn.turn, static_cast<std::uint32_t>(r.number(i, 7)),
                         opened_if_any(id, "step.intent", r.bytes(i, 9)), time_of(r.number(i, 8)), std::nullopt};
            if (!r.is_null(i, 10)) row.result = opened(id, "step.result", r.bytes(i, 10));
            now.steps.push_back(std::move(row));
          }
          return true;
        });
    if (done && any && !stopped) each(std::move(now));
    return done;
  }

  result<void> timers_of(shard_id shard, const timer_row& after,
                         const std::function<bool(timer_row&&)>& each) override {
    timer_key last{after.due, after.number};
    entity_id of_last = after.entity;
    return pages(
        shard,
        [&](arguments& with) -> const char* {
          with.number(millis(last.due))
              .number(std::int64_t{of_last.tenant().value()})
              .number(of_last.serial())
              .number(last.number);
          return "select due, tenant_id, entity, number, format, principal, type, body from hive.timer"
                 " where shard = $1 and (due, tenant_id, entity, number) > ($3, $4, $5, $6) order by due, tenant_id, "
                 "entity, number limit $2";
        },
        [&](const rows& r, std::size_t i) {
          timer_row row;
          row.due = time_of(r.number(i, 0));
          row.entity = entity_at(r, i, 1, 2);
          row.number = r.bits(i, 3);
          row.body.type = static_cast<content_type>(r.number(i, 4));
          row.principal = r.text(i, 5);
          row.type = r.text(i, 6);
          row.body.bytes = opened(row.entity, "timer.body", r.bytes(i, 7));
          last = {row.due, row.number};
          of_last = row.entity;
          return each(std::move(row));
        });
  }

  result<std::uint64_t> count_timers(shard_id shard) override {
    arguments with;
    with.number(std::int64_t{shard.value()});
    auto found = pool_.read({.tenants = {}, .shards = "{" + std::to_string(shard.value()) + "}", .api_key = {}},
                            "select count(*) from hive.timer where shard = $1", with);
    return guarded<std::uint64_t>(found, [](const rows& r) { return r.bits(0, 0); });
  }

  result<std::vector<shard_id>> shards_with_timers() override {
    return shards(
        "select id from hive.shard s where exists (select 1 from hive.timer t where t.shard = s.id) order by id");
  }
  result<std::vector<shard_id>> shards_with_work() override {
    // One look a shard, however many rows it has.
    return shards("select id from hive.shard s where exists (select 1 from hive.outbox o where o.shard = s.id)"
                  " or exists (select 1 from hive.waiting w where w.shard = s.id) order by id");
  }

  result<store_totals> totals() override {
    auto found =
        pool_.read({}, "select sum(entities)::bigint, sum(outbox)::bigint, sum(waiting)::bigint from hive.writer", {});
    return guarded<store_totals>(found, [&](const rows& r) {
      return store_totals{r.bits(0, 0), r.bits(0, 1), r.bits(0, 2)};
    });
  }

private:
  template <class T, class Work> result<T> guarded(const result<rows>& found, const Work& work) const {
    if (!found) return found.error();
    try {
      return work(*found);
    } catch (const std::bad_alloc&) {
      return error{errc::unavailable, "no_memory", "no memory is left", {}, std::chrono::seconds{1}};
    } catch (const std::exception& e) { // the codec's
      return error{
          errc::internal, "payload_unreadable", std::string("a stored payload cannot be opened: ") + e.what(), {}, {}};
    }
  }

  /// A walk over a shard, a page at a time, so that neither memory nor the time of a transaction grows with it.
  /// @param ask adds the arguments after the shard and the page's length, and names the statement.
  /// @param each one row; false ends the walk.
  template <class Ask, class Each> result<void> pages(shard_id shard, const Ask& ask, const Each& each) {
    const read_scope scope{.tenants = {}, .shards = "{" + std::to_string(shard.value()) + "}", .api_key = {}};
    for (;;) {
      arguments with;
      with.number(std::int64_t{shard.value()}).number(static_cast<std::int64_t>(rows_a_page));
      const char* sql = ask(with);
      auto page = pool_.read(scope, sql, with);
      const auto more = guarded<bool>(page, [&](const rows& r) {
        for (std::size_t i = 0; i < r.size(); ++i)
          if (!each(r, i)) return false;
        return r.size() >= rows_a_page;
      });
      if (!more) return more.error();
      if (!*more) return {};
    }
  }

  result<std::vector<shard_id>> shards(const char* sql) {
    auto found = pool_.read({.tenants = {}, .shards = all_shards_, .api_key = {}}, sql, {});
    return guarded<std::vector<shard_id>>(found, [&](const rows& r) {
      std::vector<shard_id> list;
      for (std::size_t i = 0; i < r.size(); ++i) list.push_back(shard_id{static_cast<std::uint16_t>(r.number(i, 0))});
      return list;
    });
  }

  result<tenant_row> one_tenant(const char* sql, const arguments& with) {
    auto found = pool_.read(of_the_hive(), sql, with);
    return guarded<tenant_row>(found, [&](const rows& r) -> result<tenant_row> {
      if (r.size() == 0) return not_found("there is no such tenant");
      return tenant_of(r, 0);
    });
  }

  static std::int64_t tenant_number(tenant_context who) noexcept { return who.tenant().value(); }
  static read_scope of(tenant_context who) {
    return {.tenants = "{" + std::to_string(who.tenant().value()) + "}", .shards = {}, .api_key = {}};
  }
  static read_scope of_the_hive() { return {.tenants = "{0}", .shards = {}, .api_key = {}}; }
  static arguments key_of(entity_id id) {
    arguments with;
    with.number(std::int64_t{id.tenant().value()}).number(id.serial());
    return with;
  }

  std::string opened(entity_id id, std::string_view place, std::string_view stored) const {
    return plain_ ? std::string(stored) : codec_.open(id.tenant(), id, place, stored);
  }
  /// For columns that hold nothing, unsealed, until they are first written.
  std::string opened_if_any(entity_id id, std::string_view place, std::string_view stored) const {
    return stored.empty() ? std::string{} : opened(id, place, stored);
  }

  static directory_row directory_of(tenant_id tenant, const rows& r, std::size_t i) {
    return {static_cast<entity_kind>(r.number(i, 0)),
            r.text(i, 1),
            {tenant, r.bits(i, 2)},
            r.text(i, 3),
            r.text(i, 4),
            r.bits(i, 5),
            r.text(i, 6)};
  }
  /// Of the rows whose first column is 0 (its own) and 1 (a mark).
  entity_row entity_of(entity_id id, const rows& r) {
    entity_row row;
    for (std::size_t i = 0; i < r.size(); ++i) {
      if (r.number(i, 0) == 1) row.marks.push_back({entity_at(r, i, 1, 2), static_cast<std::uint8_t>(r.number(i, 3)), r.bits(i, 4)});
      if (r.number(i, 0) != 0) continue;
      row.version = r.bits(i, 1);
      row.desired = static_cast<desired_state>(r.number(i, 2));
      row.life = incarnation{static_cast<std::uint32_t>(r.number(i, 3))};
      row.sent = r.bits(i, 4);
      row.last_keyed = journal_position{r.bits(i, 5)};
      row.log_tail = journal_position{r.bits(i, 6)};
      row.state = opened_if_any(id, "entity.state", r.bytes(i, 7));
    }
    return row.version == 0 ? entity_row{} : row;
  }
  static tenant_row tenant_of(const rows& r, std::size_t i) {
    return {tenant_id{static_cast<std::uint32_t>(r.number(i, 0))}, r.text(i, 1), r.text(i, 2), false};
  }

  reader_pool& pool_;
  const payload_codec& codec_;
  const bool plain_;
  std::string all_shards_;
  log_signposts signposts_;
};

} // namespace

std::unique_ptr<store_reader> make_reader(reader_pool& pool, const payload_codec& codec, std::uint16_t shard_count) {
  return std::make_unique<reader>(pool, codec, shard_count);
}

} // namespace hive::persistence::postgres
