#include "config/base/log.hpp"
#include "persistence/postgres/connection.hpp"
#include "persistence/postgres/postgres_store.hpp"
#include "persistence/postgres/server_checks.hpp"
#include "persistence/postgres/shard_claims.hpp"

#include <map>
#include <set>

namespace hive::persistence {

const char* to_string(node_state s) noexcept {
  switch (s) {
  case node_state::joining:
    return "joining";
  case node_state::active:
    return "active";
  case node_state::draining:
    return "draining";
  case node_state::left:
    return "left";
  case node_state::dead:
    return "dead";
  }
  return "?";
}

namespace {

using namespace postgres;
using std::chrono::milliseconds;
using steady = connection::clock;

#define HIVE_LEFT(moment) "ceil(extract(epoch from " moment " - clock_timestamp()) * 1000)::bigint"
/// A frozen node must not hold the rows by which the others replace it; a live one asks its next question at once.
constexpr milliseconds pause{500};

constexpr int first_ended_state = static_cast<int>(node_state::left);
static_assert(first_ended_state == 3, "the statements below say `state < 3` for live nodes");

error fenced(node_generation g, std::string_view why) {
  return {errc::fenced,
          "generation_over",
          "generation " + std::to_string(g.value()) + " " + std::string(why) + ": the node must join anew",
          {},
          {}};
}

bool may_follow(node_state from, node_state to) {
  using enum node_state;
  if (to == left) return is_live(from);
  return (from == joining && to == active) || (from == active && to == draining) || (from == draining && to == active);
}

result<void> check(const node_description& what, milliseconds ttl) {
  if (what.name.empty() || what.name.size() > 128) return invalid("cluster.node", "a node's name has 1 to 128 bytes");
  for (const auto* text : {&what.name, &what.link, &what.http, &what.pool, &what.zone, &what.version})
    if (text->find('\0') != std::string::npos || text->size() > 1024)
      return invalid("cluster.node", "names and addresses of a node have no NUL and at most 1,024 bytes");
  if (what.capacity < 1 || what.capacity > 1'000'000)
    return invalid("cluster.capacity", "capacity is " + std::to_string(what.capacity) + "; allowed: 1..1000000");
  if (ttl < milliseconds{100} || ttl > milliseconds{600'000})
    return invalid("cluster.lease", "a lease lasts 100ms..10m");
  return {};
}

class postgres_ownership final : public ownership_store {
public:
  postgres_ownership(std::string url, durability durable, milliseconds wait)
      : url_(std::move(url)), durable_(durable), wait_(wait) {}

  result<wall_time> clock() override {
    return again<wall_time>([&](connection& on) -> result<wall_time> {
      return wall_time{milliseconds{on.query("select " HIVE_NOW).number(0, 0)}};
    });
  }

  result<node_row> join(const node_description& what, milliseconds ttl, node_generation former) override {
    if (auto good = check(what, ttl); !good) return good.error();
    node_generation holder;
    auto joined = transact<node_row>([&](connection& on) -> result<node_row> {
      arguments name;
      name.text(what.name);
      const auto found =
          ask(on, "select generation, " HIVE_LEFT("lease_end") " from hive.node where name = $1 and state < 3", name);
      if (found.size() != 0) {
        const node_generation old{found.bits(0, 0)};
        const std::int64_t left = found.number(0, 1);
        if (old != former && left > 0) {
          holder = old;
          return error{errc::already_exists, "node_name_taken",
                       "another process is the node \"" + what.name + "\" (generation " + std::to_string(old.value()) +
                           "): give this one another cluster.node, or wait until its lease ends",
                       "cluster.node", milliseconds{left}};
        }
        end(on, old, old == former ? "started anew" : "its lease had ended when its name was taken");
      }
      begin_grace_after_outage(on, ttl);
      arguments row;
      row.text(what.name).text(what.link).text(what.http).text(what.pool).text(what.zone).text(what.version);
      row.number(std::int64_t{what.capacity}).number(ttl.count());
      // By chance: two copies of one database, each with nodes of the same names, give them different generations, and a
      // link is only between generations that both ends have from their own store.
      const auto made = ask(on,
                            "with c as (update hive.cluster set version = version + 1, last_generation = "
                            "greatest(last_generation, (" HIVE_TIMELINE ") << 40) + 1 + floor(random() * 65536)::bigint"
                            " where id = 1 returning last_generation)"
                            " insert into hive.node(generation, name, link, http, grpc, pool, zone, version, capacity, "
                            "state, renewal, started, lease_end)"
                            " select last_generation, $1, $2, $3, '', $4, $5, $6, $7, 0, 1, clock_timestamp(), "
                            "clock_timestamp() + $8 * interval '1 millisecond' from c"
                            " returning generation, (" HIVE_TIMELINE ")",
                            row);
      return node_row{node_generation{made.bits(0, 0)}, what, node_state::joining, 1, ttl, {}, made.bits(0, 1)};
    });
    if (holder != node_generation{}) tell(holder, "another process, for " + what.link + ", asks for this node's name");
    return joined;
  }

  result<node_lease> renew(node_generation generation, milliseconds ttl) override {
    return again<node_lease>([&](connection& on) -> result<node_lease> {
      arguments with;
      with.number(generation.value()).number(ttl.count());
      const auto r = on.query(
          "with outage as materialized (select not exists (select from hive.node where state < 3 and lease_end > "
          "clock_timestamp()) as was),"
          " n as (update hive.node set renewal = renewal + 1, lease_end = clock_timestamp() + $2 * interval '1 "
          "millisecond'"
          "  where generation = $1 and state < 3 returning renewal),"
          " g as (update hive.cluster set grace_end = clock_timestamp() + $2 * interval '1 millisecond', ttl = $2"
          "  where id = 1 and exists (select from n) and (select was from outage) returning grace_end)"
          " select n.renewal, c.version, " HIVE_LEFT(
              "coalesce((select grace_end from g), c.grace_end)") ", (" HIVE_TIMELINE
                                                                  "), " HIVE_NOW " from n, hive.cluster c where c.id = 1",
          with);
      if (r.size() == 0) {
        arguments who;
        who.number(generation.value());
        const auto row = on.query("select reason from hive.node where generation = $1 and state >= 3", who);
        return fenced(generation, row.size() == 0 ? "is not known to the store" : "has ended: " + row.text(0, 0));
      }
      return node_lease{r.bits(0, 0), r.bits(0, 1), milliseconds{std::max<std::int64_t>(0, r.number(0, 2))},
                        r.bits(0, 3), wall_time{milliseconds{r.number(0, 4)}}};
    });
  }

  result<void> change_state(node_generation generation, node_state from, node_state to) override {
    if (!may_follow(from, to))
      return invalid("state", std::string("a node that is ") + to_string(from) + " cannot become " + to_string(to));
    return transact<void>([&](connection& on) -> result<void> {
      arguments who;
      who.number(generation.value());
      const auto found = ask(
          on, "select state, (select count(*) from hive.shard where owner = $1) from hive.node where generation = $1",
          who);
      if (found.size() == 0) return fenced(generation, "is not known to the store");
      const auto now = static_cast<node_state>(found.number(0, 0));
      if (now == to) return {};
      if (!is_live(now)) return fenced(generation, std::string("is ") + to_string(now));
      if (now != from)
        return error{errc::conflict,
                     "state_changed",
                     std::string("the node is ") + to_string(now) + ", not " + to_string(from),
                     {},
                     {}};
      if (to == node_state::left && found.number(0, 1) != 0)
        return error{errc::failed_precondition,
                     "still_owner",
                     "the node still owns " + std::to_string(found.number(0, 1)) + " shards: hand them off first",
                     {},
                     {}};
      arguments change;
      change.number(generation.value()).number(static_cast<std::int64_t>(to));
      ask(on,
          "update hive.node set state = $2, ended = case when $2 >= 3 then clock_timestamp() end where generation = $1",
          change);
      new_version(on);
      return {};
    });
  }

  result<void> declare_dead(node_generation generation, std::uint64_t renewal, bool agreed,
                            std::string_view reason) override {
    return transact<void>([&](connection& on) -> result<void> {
      arguments who;
      who.number(generation.value());
      const auto found = ask(
          on, "select state, renewal, " HIVE_LEFT("lease_end") " from hive.node where generation = $1 for update", who);
      if (found.size() == 0)
        return error{
            errc::not_found, "not_found", "there is no generation " + std::to_string(generation.value()), {}, {}};
      if (!is_live(static_cast<node_state>(found.number(0, 0)))) return {};
      if (found.bits(0, 1) != renewal)
        return error{errc::conflict, "renewed", "the node has renewed its lease since", {}, {}};
      const std::int64_t left = found.number(0, 2);
      if (!agreed && left > 0)
        return error{
            errc::failed_precondition, "lease_holds", "the node's lease has not ended", {}, milliseconds{left}};
      end(on, generation, reason);
      new_version(on);
      return {};
    });
  }

  result<std::vector<changed_shard>> change_owners(node_generation by, std::span<const owner_change> changes) override {
    const auto until = steady::now() + wait_;
    for (;;) {
      bool stuck = false;
      auto done = transact<std::vector<changed_shard>>(
          [&](connection& on) { return change_owners_once(on, by, changes); }, &stuck);
      if (!stuck || steady::now() >= until) return done;
      if (auto freed = free_locks(changes); !freed) return freed.error();
    }
  }

  result<journal_position> fresh_positions() override {
    return again<journal_position>([&](connection& on) -> result<journal_position> { return next_block(on); });
  }

  result<ownership_view> read() override {
    return again<ownership_view>([&](connection& on) -> result<ownership_view> {
      on.send("begin isolation level repeatable read read only");
      on.send("select version, " HIVE_LEFT("grace_end") ", (" HIVE_TIMELINE ") from hive.cluster where id = 1");
      on.send("select generation, name, link, http, pool, zone, version, capacity, state, renewal, " HIVE_LEFT(
          "lease_end") ", reason from hive.node order by generation");
      on.send("select id, owner, epoch from hive.shard order by id");
      on.send("commit");
      const auto answers = on.finish(steady::now() + wait_);
      ownership_view view;
      view.version = answers[1].bits(0, 0);
      view.timeline = answers[1].bits(0, 2);
      view.grace_left = milliseconds{std::max<std::int64_t>(0, answers[1].number(0, 1))};
      const rows& n = answers[2];
      for (std::size_t i = 0; i < n.size(); ++i) {
        node_row row{node_generation{n.bits(i, 0)},
                     {n.text(i, 1), n.text(i, 2), n.text(i, 3), n.text(i, 4), n.text(i, 5), n.text(i, 6),
                      static_cast<std::uint32_t>(n.number(i, 7))},
                     static_cast<node_state>(n.number(i, 8)),
                     n.bits(i, 9),
                     milliseconds{n.number(i, 10)},
                     n.text(i, 11),
                     view.timeline};
        view.nodes.push_back(std::move(row));
      }
      const rows& s = answers[3];
      for (std::size_t i = 0; i < s.size(); ++i)
        view.shards.push_back(
            {shard_id{static_cast<std::uint16_t>(s.number(i, 0))}, node_generation{s.bits(i, 1)}, epoch{s.bits(i, 2)}});
      return view;
    });
  }

  result<std::size_t> forget(milliseconds age) override {
    return transact<std::size_t>([&](connection& on) -> result<std::size_t> {
      arguments with;
      with.number(age.count());
      const auto gone =
          ask(on,
              "with n as (delete from hive.node where state >= 3 and coalesce(ended, lease_end) < clock_timestamp() - "
              "$1 * interval '1 millisecond'"
              "  and not exists (select from hive.shard where owner = generation) returning generation),"
              " w as (delete from hive.writer using n where writer.generation = n.generation returning entities, "
              "outbox, waiting),"
              // What they counted is still there.
              " t as (update hive.writer set entities = entities + s.e, outbox = outbox + s.o, waiting = waiting + s.w"
              "  from (select coalesce(sum(entities), 0) as e, coalesce(sum(outbox), 0) as o, coalesce(sum(waiting), "
              "0) as w from w) s where generation = 0)"
              " select count(*) from n",
              with);
      return static_cast<std::size_t>(gone.number(0, 0));
    });
  }

private:
  connection& reached() {
    if (!on_ || !on_->usable()) {
      on_ = std::make_unique<connection>(connect_options{url_, "hive ownership", wait_, true, pause});
      // As commits: leases that waited for a standby that `local` commits do without would run out while all is well.
      wait_for(*on_, durable_);
    }
    on_->wait = wait_;
    return *on_;
  }

  static error unreached(const pg_error& e) {
    error why = to_error(e);
    if (why.code != errc::internal) why.code = errc::unavailable;
    return why;
  }

  /// What may be done twice: tried again when an idle connection turns out to be gone.
  template <class T, class Work> result<T> again(const Work& work) {
    for (int attempt = 0;; ++attempt) {
      const bool had_one = on_ != nullptr;
      try {
        return work(reached());
      } catch (const pg_error& e) {
        if (e.lost()) on_.reset();
        if (!e.lost() || !had_one || attempt > 0) return unreached(e);
      }
    }
  }

  static rows ask(connection& on, const char* sql, const arguments& with = {}) { return on.query(sql, with); }

  /// Changes come one after another: each locks the one row of `cluster`. An error rolls back.
  /// @param stuck becomes true when a lock was not to be had for a while.
  template <class T, class Work> result<T> transact(const Work& work, bool* stuck = nullptr) {
    try {
      connection& on = reached();
      on.send("begin");
      on.send("select set_config('lock_timeout', $1, true)", arguments{}.text("500"));
      on.send("select version from hive.cluster where id = 1 for update");
      bool open = false;
      try {
        on.finish(steady::now() + wait_);
        open = true;
        auto done = work(on);
        on.query(done ? "commit" : "rollback");
        return done;
      } catch (const pg_error& e) {
        if (!e.lost()) on.query("rollback");
        if (stuck) *stuck = open && e.state() == "55P03";
        throw;
      }
    } catch (const pg_error& e) {
      if (e.lost()) on_.reset();
      return unreached(e);
    }
  }

  static journal_position next_block(connection& on) {
    return journal_position{ask(on, "select nextval('hive.position_block')").bits(0, 0) * positions_a_block + 1};
  }

  static void new_version(connection& on) { ask(on, "update hive.cluster set version = version + 1 where id = 1"); }

  /// For people; best effort.
  void tell(node_generation live, const std::string& what) {
    (void)again<void>([&](connection& on) -> result<void> {
      arguments with;
      with.number(live.value()).text(what);
      on.query("update hive.node set reason = $2 where generation = $1 and state < 3 and reason <> $2", with);
      return {};
    });
  }

  static void end(connection& on, node_generation generation, std::string_view reason) {
    arguments with;
    with.number(generation.value()).text(reason);
    ask(on, "update hive.node set state = 4, ended = clock_timestamp(), reason = $2 where generation = $1", with);
  }

  static void begin_grace_after_outage(connection& on, milliseconds ttl) {
    arguments with;
    with.number(ttl.count());
    ask(on,
        "update hive.cluster set grace_end = clock_timestamp() + $1 * interval '1 millisecond', ttl = $1 where id = 1"
        " and exists (select from hive.node where state < 3) and not exists (select from hive.node where state < 3 and "
        "lease_end > clock_timestamp())",
        with);
  }

  static result<std::vector<changed_shard>> change_owners_once(connection& on, node_generation by,
                                                               std::span<const owner_change> changes) {
    arguments who;
    who.number(by.value());
    const auto asker = ask(on,
                           "select (select count(*) from hive.node where generation = $1 and state < 3 and lease_end > "
                           "clock_timestamp()), " HIVE_LEFT("grace_end") " from hive.cluster where id = 1",
                           who);
    if (asker.number(0, 0) == 0) return fenced(by, "has no lease");
    const std::int64_t grace = asker.number(0, 1);
    const bool takes_over = std::any_of(changes.begin(), changes.end(),
                                        [&](const auto& c) { return c.from != by && c.from != node_generation{}; });
    if (grace > 0 && takes_over)
      return error{errc::unavailable,
                   "grace",
                   "the store was away: nobody takes over before the former owners had time to come back",
                   {},
                   milliseconds{grace}};

    column ids(type::int4);
    column from(type::int8);
    column epochs(type::int8);
    column to(type::int8);
    for (const auto& c : changes) {
      ids.number(std::uint64_t{c.shard.value()});
      from.number(c.from.value());
      epochs.number(c.fence.value());
      to.number(c.to.value());
    }
    arguments with;
    with.number(by.value()).array(ids).array(from).array(epochs).array(to);
    const auto changed = ask(on,
                             "with x as materialized (select distinct on (shard) * from unnest($2::integer[], "
                             "$3::bigint[], $4::bigint[], $5::bigint[]) as u(shard, was, epoch, next) order by shard),"
                             " ok as materialized (select s.id, x.next from hive.shard s join x on x.shard = s.id "
                             "where s.owner = x.was and s.epoch = x.epoch"
                             "  and exists (select from hive.node t where t.generation = x.next and t.state < 3 and "
                             "t.lease_end > clock_timestamp())"
                             "  and (x.was = $1 or x.was = 0 or not exists (select from hive.node o where o.generation "
                             "= x.was and o.state < 3))"
                             "  order by s.id for update of s)"
                             " update hive.shard set owner = ok.next, epoch = greatest(shard.epoch + 1, (" HIVE_TIMELINE
                             ") << 40) from ok where shard.id = ok.id"
                             " returning shard.id, shard.owner, shard.epoch",
                             with);
    std::vector<changed_shard> done;
    if (changed.size() == 0) return done;
    new_version(on);
    // After the locks: above every position that a former owner's committed turn has. One block for each new owner: two
    // would allot the same positions of a common one.
    std::map<node_generation, journal_position> firsts;
    for (std::size_t i = 0; i < changed.size(); ++i) {
      const node_generation owner{changed.bits(i, 1)};
      auto& first = firsts[owner];
      if (first == journal_position{}) first = next_block(on);
      done.push_back({{shard_id{static_cast<std::uint16_t>(changed.number(i, 0))}, owner, epoch{changed.bits(i, 2)}}, first});
    }
    std::sort(done.begin(), done.end(), [](const auto& a, const auto& b) { return a.now.shard < b.now.shard; });
    return done;
  }

  /// A node that froze or vanished with half a batch sent holds locks of its shards; its server process waits for a
  /// client that says no more. What waits for anything else is committing, and is waited for.
  result<void> free_locks(std::span<const owner_change> changes) {
    std::set<node_generation> owners;
    for (const auto& c : changes) owners.insert(c.from);
    column names(type::text);
    for (const auto g : owners) names.bytes(commit_application(g));
    return again<void>([&](connection& on) -> result<void> {
      arguments with;
      with.array(names);
      const auto ended = on.query("select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity where "
                                  "application_name = any($1::text[])"
                                  " and usename = current_user and state = 'active' and wait_event = 'ClientRead') t",
                                  with);
      if (ended.number(0, 0) != 0)
        log::warn("ended commits that their node left half sent", {{"count", ended.number(0, 0)}});
      return {};
    });
  }

  const std::string url_;
  const durability durable_;
  const milliseconds wait_;
  std::unique_ptr<connection> on_;
};

} // namespace

result<std::unique_ptr<ownership_store>> open_postgres_ownership(const postgres_options& options, milliseconds wait) {
  return std::unique_ptr<ownership_store>(std::make_unique<postgres_ownership>(options.url, options.durable, wait));
}

} // namespace hive::persistence
