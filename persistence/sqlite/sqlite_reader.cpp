#include "persistence/sqlite/sqlite_reader.hpp"

#include "config/base/bytes.hpp"
#include "persistence/event_cursor.hpp"
#include "persistence/log_signposts.hpp"
#include "persistence/sqlite/database.hpp"

#include <cstring>

namespace hive::persistence::sqlite {
namespace {

wall_time time_of(std::int64_t milliseconds) noexcept { return wall_time{std::chrono::milliseconds{milliseconds}}; }

error not_found(std::string what) { return {errc::not_found, "not_found", std::move(what), {}, {}}; }

/// Several statements that see the same committed state.
class snapshot {
public:
  explicit snapshot(connection& on) : on_(on) { on_.execute("begin"); }
  snapshot(const snapshot&) = delete;
  snapshot& operator=(const snapshot&) = delete;
  ~snapshot() { on_.roll_back(); }

private:
  connection& on_;
};

class reader final : public store_reader {
public:
  reader(const std::filesystem::path& file, const std::string& vfs, const payload_codec& codec)
    : file_(file), codec_(codec), plain_(codec.plain()), on_(file, connection::mode::reader, vfs) {
    on_.execute("pragma query_only = on; pragma cache_size = -8192; pragma mmap_size = 0; pragma temp_store = memory");
    on_.number("select count(*) from meta"); // reads the schema now, so that a damaged file is known at once
  }

  result<entity_row> load_entity(tenant_context who, entity_id id) override {
    return guarded<entity_row>([&]() -> result<entity_row> {
      if (!owns(who, id)) return no_entity(id);
      snapshot same(on_);
      entity_row row;
      {
        auto& s = prepared(entity_, "select version, desired, life, sent, last_keyed, log_tail, state from entity where id = ?");
        resetting after(s.bind(id));
        if (!s.step()) return row;
        row.version = s.bits(0);
        row.desired = static_cast<desired_state>(s.number(1));
        row.life = incarnation{static_cast<std::uint32_t>(s.number(2))};
        row.sent = s.bits(3);
        row.last_keyed = journal_position{s.bits(4)};
        row.log_tail = journal_position{s.bits(5)};
        row.state = opened_if_any(id, "entity.state", s.bytes(6));
      }
      auto& marks = prepared(marks_, "select sender, lane, sequence from inbox where receiver = ?");
      resetting after(marks.bind(id));
      while (marks.step())
        row.marks.push_back({entity_id{marks.bits(0)}, static_cast<std::uint8_t>(marks.number(1)), marks.bits(2)});
      return row;
    });
  }

  result<directory_row> find(tenant_context who, entity_kind kind, std::string_view name) override {
    return guarded<directory_row>([&]() -> result<directory_row> {
      auto& s = prepared(by_name_, "select kind, name, id, behaviour, supervisor, revision, spec from directory"
                                   " where tenant = ? and kind = ? and name = ?");
      resetting after(s.bind(who.tenant(), static_cast<int>(kind), name));
      if (!s.step()) return not_found(std::string("there is no ") + to_string(kind) + " " + std::string(name));
      return directory_of(s);
    });
  }

  result<directory_row> find(tenant_context who, entity_id id) override {
    return guarded<directory_row>([&]() -> result<directory_row> {
      if (!owns(who, id)) return no_entity(id);
      auto& s = prepared(by_id_, "select kind, name, id, behaviour, supervisor, revision, spec from directory where id = ?");
      resetting after(s.bind(id));
      if (!s.step()) return no_entity(id);
      return directory_of(s);
    });
  }

  result<std::vector<directory_row>> list(tenant_context who, entity_kind kind, std::string_view after, std::size_t limit,
                                          const std::string* supervisor) override {
    return guarded<std::vector<directory_row>>([&]() -> result<std::vector<directory_row>> {
      std::vector<directory_row> rows;
      const auto collect = [&](statement& s) {
        resetting at_end(s);
        while (s.step()) rows.push_back(directory_of(s));
      };
      if (!supervisor) {
        collect(prepared(list_, "select kind, name, id, behaviour, supervisor, revision, spec from directory"
                                " where tenant = ? and kind = ? and name > ? order by name limit ?")
                  .bind(who.tenant(), static_cast<int>(kind), after, limit));
      } else if (supervisor->empty()) {
        collect(prepared(list_root_, "select kind, name, id, behaviour, supervisor, revision, spec from directory"
                                     " where tenant = ? and kind = ? and name > ? and supervisor = '' order by name limit ?")
                  .bind(who.tenant(), static_cast<int>(kind), after, limit));
      } else {
        collect(prepared(list_children_, "select kind, name, id, behaviour, supervisor, revision, spec from directory"
                                         " where tenant = ? and kind = ? and supervisor = ? and supervisor != '' and name > ?"
                                         " order by name limit ?")
                  .bind(who.tenant(), static_cast<int>(kind), *supervisor, after, limit));
      }
      return rows;
    });
  }

  result<std::vector<key_entry>> keys(tenant_context who, entity_id id, journal_position from, std::size_t limit,
                                      wall_time oldest) override {
    return guarded<std::vector<key_entry>>([&]() -> result<std::vector<key_entry>> {
      if (!owns(who, id)) return no_entity(id);
      snapshot same(on_);
      auto& s = prepared(key_, "select at, previous, flags, caller, key from journal where position = ? and entity = ? and key is not null");
      std::vector<key_entry> entries;
      for (std::uint64_t at = from.value(); at != 0 && entries.size() < limit;) {
        resetting after(s.bind(at, id));
        if (!s.step() || time_of(s.number(0)) < oldest) break; // trimmed, or too old to matter
        entries.push_back({key_hash_of(s.bytes(4), s.bits(3)), journal_position{at}, time_of(s.number(0)), (s.number(2) & 1) != 0});
        at = s.bits(1);
      }
      return entries;
    });
  }

  result<keyed_answer> answer(tenant_context who, entity_id id, journal_position position) override {
    return guarded<keyed_answer>([&]() -> result<keyed_answer> {
      if (!owns(who, id)) return no_entity(id);
      auto& s = prepared(answer_, "select flags, caller, digest, key, answer from journal where position = ? and entity = ? and key is not null");
      resetting after(s.bind(position, id));
      if (!s.step()) return not_found("the answer at " + std::to_string(position.value()) + " is not kept any more");
      keyed_answer found;
      const std::int64_t flags = s.number(0);
      found.generated = (flags & 1) != 0;
      found.failed = (flags & 2) != 0;
      found.answer.type = static_cast<content_type>(flags >> 2);
      found.caller = s.bits(1);
      const auto digest = s.bytes(2);
      if (digest.size() == sizeof found.digest) std::memcpy(&found.digest, digest.data(), sizeof found.digest);
      found.key = s.text(3);
      found.answer.bytes = opened(id, "journal.answer", s.bytes(4));
      return found;
    });
  }

  result<std::vector<std::string>> read_log(tenant_context who, entity_id id, std::string_view log, journal_position tail,
                                            std::uint64_t from, std::size_t limit) override {
    return guarded<std::vector<std::string>>([&]() -> result<std::vector<std::string>> {
      if (!owns(who, id)) return no_entity(id);
      if (limit == 0) return std::vector<std::string>{};
      const std::uint64_t last = from + std::min<std::uint64_t>(limit - 1, std::numeric_limits<std::uint64_t>::max() - from);
      snapshot same(on_);
      auto& s = prepared(log_, "select previous, entries from log where position = ? and entity = ?");
      auto& known = signposts_.of(id, log);
      std::vector<std::pair<std::uint64_t, std::string>> found; // newest row first
      bool complete = false;
      std::size_t rows = 0;
      for (std::uint64_t at = log_signposts::start_of(known, last, tail.value()); at != 0 && !complete; ++rows) {
        resetting after(s.bind(at, id));
        if (!s.step()) break;
        const std::string opened_copy = plain_ ? std::string{} : opened(id, "log.entries", s.bytes(1));
        byte_reader in(plain_ ? s.bytes(1) : std::string_view(opened_copy));
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
        if (!in.ok()) return error{errc::internal, "store_damaged", "the log row at " + std::to_string(at) + " of " + file_.string() + " cannot be read", {}, {}};
        if (any && rows % log_signposts::rows_apart == 0) signposts_.put(known, highest, at);
        at = s.bits(0);
      }
      std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      std::vector<std::string> entries;
      entries.reserve(found.size());
      for (auto& [index, data] : found) entries.push_back(std::move(data));
      return entries;
    });
  }

  result<std::optional<std::string>> item(tenant_context who, entity_id id, std::string_view key) override {
    return guarded<std::optional<std::string>>([&]() -> result<std::optional<std::string>> {
      if (!owns(who, id)) return no_entity(id);
      auto& s = prepared(item_, "select value from item where entity = ? and key = ?");
      resetting after(s.bind(id, blob{key}));
      if (!s.step()) return std::optional<std::string>{};
      return std::optional(opened(id, "item.value", s.bytes(0)));
    });
  }

  result<std::vector<std::pair<std::string, std::string>>> items(tenant_context who, entity_id id, std::string_view prefix,
                                                                 std::string_view after, std::size_t limit) override {
    using rows = std::vector<std::pair<std::string, std::string>>;
    return guarded<rows>([&]() -> result<rows> {
      if (!owns(who, id)) return no_entity(id);
      // Two shapes, so that each one is a plain range of the primary key.
      const bool from_prefix = after < prefix;
      auto& s = from_prefix ? prepared(items_from_, "select key, value from item where entity = ? and key >= ? order by key limit ?")
                            : prepared(items_after_, "select key, value from item where entity = ? and key > ? order by key limit ?");
      resetting at_end(s.bind(id, blob{from_prefix ? prefix : after}, limit));
      rows found;
      while (s.step()) {
        const auto key = s.bytes(0);
        if (!key.starts_with(prefix)) break;
        found.emplace_back(std::string(key), opened(id, "item.value", s.bytes(1)));
      }
      return found;
    });
  }

  result<event_page> events(tenant_context who, std::string_view cursor, std::size_t limit) override {
    return guarded<event_page>([&]() -> result<event_page> {
      std::optional<std::uint64_t> from;
      if (!cursor.empty() && !(from = number_of(cursor)))
        return invalid("Last-Event-ID", "\"" + std::string(cursor) + "\" is not a cursor of this event stream: send one that came with an event, or none");
      snapshot same(on_);
      event_page page;
      const std::uint64_t newest = std::max(largest(newest_event_, "select max(number) from event"),
                                            largest(newest_floor_, "select max(number) from event_floor"));
      if (!from) {
        page.end = cursor_of(newest);
        return page;
      }
      std::uint64_t position = *from;
      std::uint64_t floor = 0;
      {
        auto& s = prepared(floor_, "select number from event_floor where tenant = ?");
        resetting after(s.bind(who.tenant()));
        if (s.step()) floor = s.bits(0);
      }
      if (position > newest) { // of a store that has since been restored from a backup
        page.gap = true;
        position = newest;
      } else if (position < floor) {
        page.gap = true;
        position = floor;
      }
      auto& s = prepared(events_, "select number, at, entity, type, source, data from event where tenant = ? and number > ? order by number limit ?");
      resetting after(s.bind(who.tenant(), position, limit));
      while (s.step()) {
        position = s.bits(0);
        auto& e = page.events.emplace_back();
        e.cursor = cursor_of(position);
        e.at = time_of(s.number(1));
        e.event.type = s.text(3);
        e.event.source = s.text(4);
        e.event.data = opened(entity_id{s.bits(2)}, "event.data", s.bytes(5));
      }
      page.end = cursor_of(position);
      return page;
    });
  }

  result<std::vector<std::pair<wall_time, audit_row>>> audit(tenant_context who, std::size_t limit) override {
    using rows = std::vector<std::pair<wall_time, audit_row>>;
    return guarded<rows>([&]() -> result<rows> {
      auto& s = prepared(audit_, "select at, action, target, detail from audit where tenant = ? order by number desc limit ?");
      resetting after(s.bind(who.tenant(), limit));
      rows found;
      while (s.step()) found.emplace_back(time_of(s.number(0)), audit_row{s.text(1), s.text(2), s.text(3)});
      return found;
    });
  }

  result<std::vector<stored_dead_letter>> dead_letters(tenant_context who, std::uint64_t before, std::size_t limit) override {
    return guarded<std::vector<stored_dead_letter>>([&]() -> result<std::vector<stored_dead_letter>> {
      auto& s = prepared(dead_, "select number, at, entity, principal, reason, message, detail from dead_letter "
                                "where tenant = ? and number < ? order by number desc limit ?");
      resetting after(s.bind(who.tenant(), before == 0 ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(before), limit));
      std::vector<stored_dead_letter> found;
      while (s.step())
        found.push_back({s.bits(0), time_of(s.number(1)), entity_id{s.bits(2)}, s.text(3),
                         {s.text(4), opened(entity_id{s.bits(2)}, "dead_letter.message", s.bytes(5)), s.text(6)}});
      return found;
    });
  }

  result<api_key_row> find_api_key(std::string_view id) override {
    return guarded<api_key_row>([&]() -> result<api_key_row> {
      auto& s = prepared(api_key_, "select id, tenant, secret_hash, role, label, created from api_key where id = ?");
      resetting after(s.bind(id));
      if (!s.step()) return not_found("there is no such key");
      return api_key_row{s.text(0), tenant_id{static_cast<std::uint32_t>(s.number(1))}, s.text(2), s.text(3), s.text(4), time_of(s.number(5)), false};
    });
  }

  result<tenant_row> find_tenant(std::string_view name) override {
    return one_tenant(tenant_name_, "select id, name, spec from tenant where name = ? and removed = 0", name);
  }
  result<tenant_row> find_tenant(tenant_id id) override {
    return one_tenant(tenant_id_, "select id, name, spec from tenant where id = ? and removed = 0", id);
  }

  result<std::vector<tenant_row>> tenants(std::string_view after, std::size_t limit) override {
    return guarded<std::vector<tenant_row>>([&]() -> result<std::vector<tenant_row>> {
      auto& s = prepared(tenants_, "select id, name, spec from tenant where removed = 0 and name > ? order by name limit ?");
      resetting at_end(s.bind(after, limit));
      std::vector<tenant_row> found;
      while (s.step()) found.push_back(tenant_of(s));
      return found;
    });
  }

  result<void> outbox_of(shard_id shard, const std::function<bool(outbox_row&&)>& each) override {
    return guarded<void>([&]() -> result<void> {
      auto& s = prepared(outbox_, "select sender, sequence, receiver, lane, format, principal, type, body, envelope from outbox"
                                  " where shard = ? order by sender, sequence");
      resetting after(s.bind(shard));
      while (s.step()) {
        outbox_row row;
        row.sender = entity_id{s.bits(0)};
        row.sequence = s.bits(1);
        row.receiver = entity_id{s.bits(2)};
        row.lane = static_cast<std::uint8_t>(s.number(3));
        row.body.type = static_cast<content_type>(s.number(4));
        row.principal = s.text(5);
        row.type = s.text(6);
        row.body.bytes = opened(row.sender, "outbox.body", s.bytes(7));
        row.envelope = opened(row.sender, "outbox.envelope", s.bytes(8));
        if (!each(std::move(row))) break;
      }
      return {};
    });
  }

  result<void> waiting_of(shard_id shard, const std::function<bool(waiting_entity&&)>& each) override {
    return guarded<void>([&]() -> result<void> {
      snapshot same(on_);
      auto& s = prepared(waiting_, "select entity, turn, started, seed, principal, message from waiting where shard = ? order by entity, turn");
      auto& steps = prepared(steps_, "select number, due, intent, result from step where entity = ? and turn = ? order by number");
      resetting after(s.bind(shard));
      while (s.step()) {
        waiting_entity w;
        w.entity = entity_id{s.bits(0)};
        w.turn = {s.bits(1), time_of(s.number(2)), s.bits(3), opened(w.entity, "waiting.message", s.bytes(5))};
        w.principal = s.text(4);
        resetting after_steps(steps.bind(w.entity, w.turn.turn));
        while (steps.step()) {
          step_row row{w.turn.turn, static_cast<std::uint32_t>(steps.number(0)), opened_if_any(w.entity, "step.intent", steps.bytes(2)),
                       time_of(steps.number(1)), std::nullopt};
          if (!steps.is_null(3)) row.result = opened(w.entity, "step.result", steps.bytes(3));
          w.steps.push_back(std::move(row));
        }
        if (!each(std::move(w))) break;
      }
      return {};
    });
  }

  result<void> timers_of(shard_id shard, const timer_row& after, const std::function<bool(timer_row&&)>& each) override {
    return guarded<void>([&]() -> result<void> {
      auto& s = prepared(timers_, "select due, entity, number, format, principal, type, body from timer"
                                  " where shard = ? and (due, entity, number) > (?, ?, ?) order by due, entity, number");
      resetting reset_after(s.bind(shard, after.due.time_since_epoch().count(), after.entity, after.number));
      while (s.step()) {
        timer_row row;
        row.due = time_of(s.number(0));
        row.entity = entity_id{s.bits(1)};
        row.number = s.bits(2);
        row.body.type = static_cast<content_type>(s.number(3));
        row.principal = s.text(4);
        row.type = s.text(5);
        row.body.bytes = opened(row.entity, "timer.body", s.bytes(6));
        if (!each(std::move(row))) break;
      }
      return {};
    });
  }

  result<std::uint64_t> count_timers(shard_id shard) override {
    return guarded<std::uint64_t>([&]() -> result<std::uint64_t> {
      auto& s = prepared(count_timers_, "select count(*) from timer where shard = ?");
      resetting after(s.bind(shard));
      s.step();
      return s.bits(0);
    });
  }

  result<std::vector<shard_id>> shards_with_timers() override {
    return guarded<std::vector<shard_id>>([&]() -> result<std::vector<shard_id>> {
      auto& s = prepared(with_timers_, "select id from shard where exists(select 1 from timer where shard = shard.id) order by id");
      resetting after(s);
      std::vector<shard_id> found;
      while (s.step()) found.push_back(shard_id{static_cast<std::uint16_t>(s.number(0))});
      return found;
    });
  }

  result<std::vector<shard_id>> shards_with_work() override {
    return guarded<std::vector<shard_id>>([&]() -> result<std::vector<shard_id>> {
      // One seek a shard, however many rows it has.
      auto& s = prepared(work_, "select id from shard where exists(select 1 from outbox where shard = shard.id)"
                                " or exists(select 1 from waiting where shard = shard.id) order by id");
      resetting after(s);
      std::vector<shard_id> found;
      while (s.step()) found.push_back(shard_id{static_cast<std::uint16_t>(s.number(0))});
      return found;
    });
  }

  result<store_totals> totals() override {
    return guarded<store_totals>([&]() -> result<store_totals> {
      auto& s = prepared(totals_, "select entities, outbox, waiting from total where id = 1");
      resetting after(s);
      if (!s.step()) return store_totals{};
      return store_totals{s.bits(0), s.bits(1), s.bits(2)};
    });
  }

private:
  using slot = std::optional<statement>;

  template <class T, class Work> result<T> guarded(const Work& work) const {
    try {
      return work();
    } catch (const sqlite_error& e) {
      return to_error(e, file_.string());
    } catch (const std::bad_alloc&) {
      return error{errc::unavailable, "no_memory", "no memory is left", {}, std::chrono::seconds{1}};
    } catch (const std::exception& e) { // the codec's
      return error{errc::internal, "payload_unreadable", "a stored payload in " + file_.string() + " cannot be opened: " + e.what(), {}, {}};
    }
  }

  statement& prepared(slot& where, const char* sql) {
    if (!where) where.emplace(on_, sql);
    return *where;
  }

  template <class Key> result<tenant_row> one_tenant(slot& where, const char* sql, const Key& key) {
    return guarded<tenant_row>([&]() -> result<tenant_row> {
      auto& s = prepared(where, sql);
      resetting after(s.bind(key));
      if (!s.step()) return not_found("there is no such tenant");
      return tenant_of(s);
    });
  }

  std::uint64_t largest(slot& where, const char* sql) {
    auto& s = prepared(where, sql);
    resetting after(s);
    return s.step() ? s.bits(0) : 0;
  }

  static bool owns(tenant_context who, entity_id id) noexcept { return who.tenant() == id.tenant(); }
  static error no_entity(entity_id id) { return not_found("there is no entity " + to_string(id)); }

  std::string opened(entity_id id, std::string_view place, std::string_view stored) const {
    return plain_ ? std::string(stored) : codec_.open(id.tenant(), id, place, stored);
  }
  /// For columns that hold nothing, unsealed, until they are first written.
  std::string opened_if_any(entity_id id, std::string_view place, std::string_view stored) const {
    return stored.empty() ? std::string{} : opened(id, place, stored);
  }

  static directory_row directory_of(const statement& s) {
    return {static_cast<entity_kind>(s.number(0)), s.text(1), entity_id{s.bits(2)}, s.text(3), s.text(4), s.bits(5), s.text(6)};
  }
  static tenant_row tenant_of(const statement& s) {
    return {tenant_id{static_cast<std::uint32_t>(s.number(0))}, s.text(1), s.text(2), false};
  }

  const std::filesystem::path file_;
  const payload_codec& codec_;
  const bool plain_;
  connection on_;
  log_signposts signposts_;
  slot entity_, marks_, by_name_, by_id_, list_, list_root_, list_children_, key_, answer_, log_, item_, items_from_, items_after_,
    events_, floor_, newest_event_, newest_floor_, audit_, dead_, api_key_, tenant_name_, tenant_id_, tenants_, outbox_, waiting_,
    steps_, timers_, with_timers_, count_timers_, work_, totals_;
};

} // namespace

std::unique_ptr<store_reader> make_reader(const std::filesystem::path& file, const std::string& vfs, const payload_codec& codec) {
  return std::make_unique<reader>(file, vfs, codec);
}

} // namespace hive::persistence::sqlite
