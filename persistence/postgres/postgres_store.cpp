#include "persistence/postgres/postgres_store.hpp"

#include "config/base/log.hpp"
#include "persistence/postgres/batch_writer.hpp"
#include "persistence/postgres/postgres_reader.hpp"
#include "persistence/postgres/schema.hpp"
#include "persistence/postgres/server_checks.hpp"
#include "persistence/postgres/shard_claims.hpp"

namespace hive::persistence {
namespace {

using namespace postgres;
using clock = connection::clock;

const plain_codec plain;

class postgres_turn_store final : public turn_store {
public:
  postgres_turn_store(postgres_options options, std::unique_ptr<connection> commits)
      : options_(std::move(options)), codec_(options_.codec ? *options_.codec : plain), on_(std::move(commits)),
        rows_(codec_), readers_({options_.readers_url.empty() ? options_.url : options_.readers_url, "hive reader",
                                 options_.connect_wait, options_.readers_url.empty()},
                                options_.readers, options_.read_wait),
        retry_(options_.backoff) {}

  /// What else the constructor would do, if it could fail. Throws `pg_error`.
  void begin() {
    timeline_ = first_timeline_ = timeline_of(*on_);
    const auto which = on_->query("select (select system_identifier from pg_control_system())::text, (select oid from "
                                  "pg_database where datname = current_database())::text,"
                                  " (select value from hive.meta where name = 'identity')");
    identity_ = which.text(0, 0) + "." + which.text(0, 1) + "." + std::to_string(which.bits(0, 2));
    batch_writer::prepare(*on_);
    new_positions();
  }

  batch_result write(std::span<turn_record* const> batch) override {
    std::lock_guard lock(guard_);
    return write_locked(batch);
  }

  batch_result find_out(std::span<turn_record* const> batch) override {
    std::lock_guard lock(guard_);
    if (auto ready = reachable(); !ready) {
      if (ready.error().reason == lost_commits) return {batch_result::kind::unavailable, {}, ready.error()};
      return {batch_result::kind::unknown, {}, ready.error()};
    }
    try {
      // `reachable` has taken a new session: the orphan is over, or will find itself shut out.
      if (committed_ < unknown_batch_) {
        unknown_batch_ = 0;
        return write_locked(batch); // it never was; nothing else came between
      }
      batch_result result;
      rows_.gather(batch);
      rows_.look_for(*on_, generation_, result.outcomes);
      unknown_batch_ = 0;
      return result;
    } catch (const pg_error& e) {
      after(e);
      return {batch_result::kind::unknown, {}, to_error(e)};
    } catch (const refusal& r) { // it was gathered once before: cannot be
      return {batch_result::kind::refused, {}, r.why};
    }
  }

  void maintain() override {
    // Half of a block of positions is left when the next one is fetched: longer than any outage.
    const std::uint64_t used = next_position_.load(std::memory_order_relaxed) & (positions_a_block - 1);
    if (used < positions_a_block / 2) return;
    std::lock_guard lock(guard_);
    try {
      if (on_ && on_->usable()) new_positions();
    } catch (const pg_error& e) {
      after(e);
    }
  }

  result<void> probe() override {
    return guarded<void>([&]() -> result<void> {
      arguments with;
      with.number(generation_.value());
      on_->query("update hive.writer set probe = probe + 1 where generation = $1", with);
      return {};
    });
  }

  journal_position allot(shard_id) noexcept override {
    return journal_position{next_position_.fetch_add(1, std::memory_order_relaxed)};
  }

  void begin_at(journal_position first) noexcept override {
    std::uint64_t now = next_position_.load(std::memory_order_relaxed);
    while (now < first.value() &&
           !next_position_.compare_exchange_weak(now, first.value(), std::memory_order_relaxed)) {
    }
  }

  result<void> adopt(node_generation generation) override {
    return forgiven<void>([&]() -> result<void> {
      take_generation(generation);
      among_others_ = true;
      return {};
    });
  }

  result<std::vector<shard_row>> claim_all() override {
    return forgiven<std::vector<shard_row>>([&]() -> result<std::vector<shard_row>> {
      auto claimed = claim_shards(*on_, "single node", std::nullopt);
      take_generation(claimed.front().owner);
      return claimed;
    });
  }

  result<shard_row> claim(shard_id shard) override {
    return guarded<shard_row>([&]() -> result<shard_row> {
      auto claimed = claim_shards(*on_, "claim", shard);
      if (claimed.empty())
        return error{errc::not_found, "not_found", "there is no shard " + std::to_string(shard.value()), {}, {}};
      return claimed.front();
    });
  }

  result<std::size_t> trim(const trim_horizon& given, std::size_t limit) override {
    return guarded<std::size_t>([&]() -> result<std::size_t> {
      // Rows go for every node. One whose clock is ahead must not take what the others still count on.
      const auto ahead = clock_ahead(given.now);
      const trim_horizon before{given.journal - ahead, given.events - ahead, given.dead_letters - ahead,
                                given.audit - ahead, given.now - ahead};
      std::size_t gone = trim_rows(
          "with old as materialized (select tenant_id, position from hive.journal where at < $1 order by at limit $2)"
          " delete from hive.journal t using old where t.tenant_id = old.tenant_id and t.position = old.position",
          before.journal, limit);
      gone += trim_rows(
          "with old as materialized (select tenant_id, number from hive.event where at < $1 order by at limit $2),"
          " gone as (delete from hive.event t using old where t.tenant_id = old.tenant_id and t.number = old.number "
          "returning t.tenant_id, t.number),"
          " floors as (insert into hive.event_floor select tenant_id, max(number) from gone group by tenant_id"
          "  on conflict (tenant_id) do update set number = greatest(event_floor.number, excluded.number))"
          " select count(*) from gone",
          before.events, limit - gone, true);
      gone += trim_rows(
          "with old as materialized (select tenant_id, number from hive.dead_letter where at < $1 order by at limit $2)"
          " delete from hive.dead_letter t using old where t.tenant_id = old.tenant_id and t.number = old.number",
          before.dead_letters, limit - gone);
      return gone +
             trim_rows(
                 "with old as materialized (select tenant_id, number from hive.audit where at < $1 order by at limit "
                 "$2)"
                 " delete from hive.audit t using old where t.tenant_id = old.tenant_id and t.number = old.number",
                 before.audit, limit - gone);
    });
  }

  result<std::unique_ptr<store_reader>> reader() override {
    return make_reader(readers_, codec_, options_.shard_count);
  }
  std::uint16_t shard_count() const noexcept override { return options_.shard_count; }
  std::string identity() const override { return identity_; }
  std::string lineage() const override { return identity_ + "." + std::to_string(first_timeline_); }

private:
  static constexpr const char* lost_commits = "store_lost_commits";
  static constexpr const char* timeline_changed = "store_timeline_changed";

  batch_result write_locked(std::span<turn_record* const> batch) {
    if (auto ready = reachable(); !ready) return {batch_result::kind::unavailable, {}, ready.error()};
    if (over_) return {batch_result::kind::unavailable, {}, *over_};
    batch_result result;
    bool ending = false;
    try {
      rows_.gather(batch);
      rows_.send(*on_, {generation_, session_, committed_ + 1});
      ending = true;
      const auto answers = on_->finish(); // no limit in time: what was sent is awaited, or the connection breaks
      if (!on_->warning().empty()) {
        log::warn("PostgreSQL warned while it committed: what became of the batch is found out",
                  {{"warning", on_->warning()}});
        return unknown(committed_ + 1,
                       {errc::unknown, "standby_unsure", "PostgreSQL warned: " + on_->warning(), {}, {}});
      }
      if (!rows_.read(answers, result.outcomes)) return shut_out();
      if (rows_.writes()) ++committed_;
      unknown_batch_ = 0;
      return result;
    } catch (const refusal& r) {
      return {batch_result::kind::refused, {}, r.why};
    } catch (const pg_error& e) {
      after(e);
      if (ending && e.committing() && rows_.writes()) return unknown(committed_ + 1, to_error(e));
      return failed(e);
    } catch (const std::bad_alloc&) {
      on_.reset(); // half a pipeline may be under way in it
      if (ending && rows_.writes())
        return unknown(committed_ + 1, {errc::unknown, "no_memory", "no memory is left", {}, {}});
      return {batch_result::kind::unavailable,
              {},
              {errc::unavailable, "no_memory", "no memory is left", {}, std::chrono::seconds{1}}};
    } catch (const std::exception& e) { // the codec's
      return {batch_result::kind::refused, {}, {errc::internal, "payload_not_sealed", e.what(), {}, {}}};
    }
  }

  /// Nothing was written.
  static batch_result failed(const pg_error& e) {
    const auto kind = e.state_class();
    if (!e.lost()) {
      if (kind == "54")
        return {batch_result::kind::refused, {}, {errc::resource_exhausted, "too_big", e.what(), {}, {}}};
      // Bad values, broken constraints, and what row-level security keeps out.
      if (kind == "22" || kind == "23" || kind == "21" || e.state() == "42501")
        return {batch_result::kind::refused, {}, {errc::internal, "constraint", e.what(), {}, {}}};
    }
    error why = to_error(e);
    if (why.code != errc::unavailable) why.code = errc::unavailable;
    return {batch_result::kind::unavailable, {}, why};
  }

  batch_result unknown(std::uint64_t number, error why) {
    unknown_batch_ = number;
    session_known_ = false;
    return {batch_result::kind::unknown, {}, std::move(why)};
  }

  /// The writer's row is not as this store left it.
  batch_result shut_out() {
    session_known_ = false;
    if (auto ready = reachable(); !ready) return {batch_result::kind::unavailable, {}, ready.error()};
    return {batch_result::kind::unavailable,
            {},
            {errc::unavailable,
             "session_taken",
             "another connection writes in the name of this node's generation",
             {},
             std::chrono::milliseconds{100}}};
  }

  void after(const pg_error& e) {
    if (e.state() == "25006") on_.reset(); // a standby now: another host is the primary
    if (on_ && !on_->usable()) on_.reset();
    if (!on_) session_known_ = false;
  }

  /// A connection that commits in this node's name: made anew if need be, and checked against what was acknowledged.
  result<void> reachable() {
    if (lost_) return *lost_;
    if (on_ && on_->usable() && session_known_) return {};
    if (generation_ == node_generation{})
      return error{errc::failed_precondition,
                   "no_generation",
                   "the store writes in the name of a generation: claim_all or adopt first",
                   {},
                   {}};
    const auto now = clock::now();
    if (!on_ && now < next_attempt_) return away_;
    try {
      connect();
      take_session();
      if (lost_) return *lost_;
      retry_ = options_.backoff;
      return {};
    } catch (const pg_error& e) {
      after(e);
      on_.reset();
      away_ = to_error(e);
      if (away_.code != errc::unavailable) away_.code = errc::unavailable;
      away_.retry_after = retry_;
    } catch (const refused_server& r) {
      on_.reset();
      away_ = r.why;
      away_.code = errc::unavailable;
    }
    next_attempt_ = clock::now() + retry_;
    retry_ = std::min(retry_ * 2, options_.backoff_max);
    return away_;
  }

  struct refused_server {
    error why;
  };

  void connect() {
    if (on_ && on_->usable()) return;
    on_ =
        std::make_unique<connection>(connect_options{options_.url, name_of(generation_), options_.connect_wait, true});
    if (auto durable = demand_durable(*on_, options_.durable); !durable) throw refused_server{durable.error()};
    batch_writer::prepare(*on_);
    log::info("connected to PostgreSQL again");
  }

  static std::string name_of(node_generation generation) { return commit_application(generation); }

  /// Waits for whatever went before on this generation's behalf, or shuts it out; and looks whether all that was
  /// acknowledged is there.
  void take_session() {
    const std::string own = name_of(generation_);
    arguments name;
    name.text(own);
    // A connection that died with half a batch sent holds its locks until the server notices. It waits for its client.
    on_->query("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = $1 and pid <> "
               "pg_backend_pid()"
               " and usename = current_user and wait_event = 'ClientRead'",
               name);
    arguments who;
    who.number(generation_.value());
    on_->send("update hive.writer set session = session + 1 where generation = $1 returning session, batch", who);
    on_->send("select " HIVE_TIMELINE);
    const auto answers = on_->finish(); // as long as the orphan takes
    if (!on_->warning().empty())
      throw pg_error("a standby has not confirmed: " + on_->warning(), "57014", false, false);
    const std::uint64_t timeline = answers[1].bits(0, 0);
    const bool known = answers[0].size() == 1;
    const std::uint64_t batch = known ? answers[0].bits(0, 1) : 0;
    if (!known || batch < committed_) {
      lost_ = error{errc::unavailable, // to callers: another node, or this one's next life, takes it
                    lost_commits,
                    "PostgreSQL (timeline " + std::to_string(timeline) + ", before " + std::to_string(timeline_) +
                        ") " + (known ? "holds batch " + std::to_string(batch) : std::string("knows nothing")) +
                        " of this node, which was told that batch " + std::to_string(committed_) +
                        " is safe: acknowledged work is lost; the node must take a new generation",
                    {},
                    std::chrono::milliseconds{200}};
      log::error("the store forgot what it had acknowledged", {{"reason", lost_commits},
                                                               {"acknowledged", committed_},
                                                               {"found", batch},
                                                               {"timeline", timeline},
                                                               {"timeline_before", timeline_}});
      return;
    }
    if (timeline != timeline_) {
      log::warn("PostgreSQL is on another timeline, and holds all that this node was told is safe",
                {{"timeline", timeline}, {"before", timeline_}});
      // Another node may have lost what it had sent to this one: a commit of that would put marks into the new timeline
      // that the sender's numbers come to again. A node that is alone is sender and receiver, and lost nothing.
      if (among_others_)
        over_ = error{errc::unavailable,
                      timeline_changed,
                      "PostgreSQL is on timeline " + std::to_string(timeline) + ", and was on " +
                          std::to_string(timeline_) + " when this generation began: the node must take a new one",
                      {},
                      std::chrono::milliseconds{200}};
    }
    timeline_ = timeline;
    session_ = answers[0].bits(0, 0);
    committed_ = batch;
    session_known_ = true;
  }

  void take_generation(node_generation generation) {
    arguments who;
    who.number(generation.value());
    on_->query("insert into hive.writer values($1, 1, 0, 0, 0, 0, 0) on conflict (generation) do update set session = "
               "writer.session + 1",
               who);
    const auto now = on_->query("select session, batch from hive.writer where generation = $1", who);
    const std::string own = name_of(generation);
    arguments name;
    name.text(own);
    on_->query("select set_config('application_name', $1, false)", name);
    generation_ = generation;
    session_ = now.bits(0, 0);
    committed_ = now.bits(0, 1);
    session_known_ = true;
    timeline_ = timeline_of(*on_);
    among_others_ = false;
    lost_.reset();
    over_.reset();
    new_positions();
  }

  void new_positions() {
    const std::uint64_t block = on_->query("select nextval('hive.position_block')").bits(0, 0);
    begin_at(journal_position{block * positions_a_block + 1});
  }

  /// By how much the clock that says `now` is ahead of the server's; 0: it is not.
  std::chrono::milliseconds clock_ahead(wall_time now) {
    if (now == wall_time{}) return {};
    const auto server = on_->query("select " HIVE_NOW).number(0, 0);
    return std::max(now - wall_time{std::chrono::milliseconds{server}}, std::chrono::milliseconds{0});
  }

  std::size_t trim_rows(const char* sql, wall_time before, std::size_t limit, bool counted = false) {
    if (limit == 0) return 0;
    const std::int64_t horizon = before.time_since_epoch().count();
    const std::string setting = std::to_string(horizon);
    arguments scope;
    scope.text(setting);
    arguments with;
    with.number(horizon).number(
        static_cast<std::int64_t>(std::min<std::size_t>(limit, std::numeric_limits<std::int64_t>::max())));
    on_->send("select set_config('hive.trim_before', $1, true)", scope);
    on_->send(sql, with);
    const auto answers = on_->finish(clock::now() + on_->wait);
    return counted ? answers[1].bits(0, 0) : answers[1].touched();
  }

  /// Work on the commit connection, beside batches.
  template <class T, class Work> result<T> guarded(const Work& work) {
    std::lock_guard lock(guard_);
    if (generation_ != node_generation{}) {
      if (auto ready = reachable(); !ready) return ready.error();
      if (over_) return *over_;
    }
    return tried<T>(work);
  }
  /// The same, for what takes a new generation: also after the store forgot the old one's work.
  template <class T, class Work> result<T> forgiven(const Work& work) {
    std::lock_guard lock(guard_);
    return tried<T>([&]() -> result<T> {
      try {
        if (!on_ || !on_->usable()) {
          connect();
          timeline_ = timeline_of(*on_);
        }
      } catch (const refused_server& r) {
        on_.reset();
        return r.why;
      }
      return work();
    });
  }
  template <class T, class Work> result<T> tried(const Work& work) {
    try {
      return work();
    } catch (const pg_error& e) {
      after(e);
      return to_error(e);
    }
  }

  const postgres_options options_;
  const payload_codec& codec_;
  std::mutex guard_; // of the commit connection: the commit thread's, but claims come from others
  std::unique_ptr<connection> on_;
  batch_writer rows_;
  reader_pool readers_;

  node_generation generation_;
  std::uint64_t session_ = 0; // of the writer's row; other sessions are shut out
  bool session_known_ = false;
  std::uint64_t committed_ = 0;     // the number of the last batch that was acknowledged
  std::uint64_t unknown_batch_ = 0; // the one whose end is not known; 0: none
  std::string identity_;
  std::uint64_t first_timeline_ = 0; // of the life that opened the store: on another one another life begins
  std::uint64_t timeline_ = 0;
  std::optional<error> lost_;
  bool among_others_ = false; // the generation was adopted
  std::optional<error> over_; // it is: its commits belong to another timeline. What became of them can still be found out
  error away_;
  clock::time_point next_attempt_{};
  std::chrono::milliseconds retry_;
  std::atomic<std::uint64_t> next_position_{1};
};

} // namespace

result<std::unique_ptr<turn_store>> open_postgres(const postgres_options& options) {
  try {
    const connect_options how{options.url, "hive", options.connect_wait, true};
    auto on = std::make_unique<connection>(how);
    if (!options.admin.empty()) {
      const auto role = on->query("select current_user::text").text(0, 0);
      if (auto done = migrate(options.admin, role, options.shard_count); !done) return done.error();
    }
    if (auto good = check_schema(*on, options.shard_count); !good) return good.error();
    if (auto safe = check_role(*on); !safe) return safe.error();
    if (auto durable = demand_durable(*on, options.durable); !durable) return durable.error();
    auto store = std::make_unique<postgres_turn_store>(options, std::move(on));
    store->begin();
    return std::unique_ptr<turn_store>(std::move(store));
  } catch (const pg_error& e) {
    error why = to_error(e);
    why.field = "store.postgres.url";
    return why;
  }
}

} // namespace hive::persistence
