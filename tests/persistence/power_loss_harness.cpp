#include "tests/persistence/power_loss_harness.hpp"

#include "persistence/sqlite/sqlite_store.hpp"
#include "tests/persistence/temp_dir.hpp"
#include "tests/persistence/turn_maker.hpp"

#include <set>

namespace hive::test {
namespace {

constexpr std::size_t batches = 24;

sqlite_options on(const power_loss_disk& disk, const temp_dir& dir) {
  // Checkpoints come often, so that the power also goes in the middle of them.
  return {.directory = dir.path(), .shard_count = 64, .codec = nullptr, .checkpoint_pages = 40, .vfs = disk.name()};
}

/// What one turn wrote: a trace in every kind of row.
struct trace {
  entity_id entity;
  std::uint64_t version;
  journal_position position;
};

std::string text_of(entity_id id, std::uint64_t version) { return to_string(id) + "#" + std::to_string(version); }

std::unique_ptr<turn_record> leave_trace(turn_maker& make, actor& a, random_source& chance) {
  auto r = make.turn(a);
  const std::string text = text_of(a.id, a.version);
  turn_maker::set_state(*r, text + std::string(chance.below(chance.one_in(20) ? 20'000 : 100), 's'));
  turn_maker::answer(a, *r, text, text);
  turn_maker::append(a, *r, "ops", text);
  turn_maker::end_appends(a, *r);
  r->items.push_back({"v" + std::to_string(a.version), text});
  turn_maker::send(a, *r, a.id, text);
  r->marks = {inbox_mark{a.id, 2, a.version}};
  r->events = {{"turn", "agent/x", text}};
  return r;
}

/// Which of the kinds of rows of a turn are there; all or none, or the turn is torn.
std::pair<int, int> rows_found(store_reader& reader, const trace& t, const entity_row& row, const std::map<std::uint64_t, std::string>& outbox,
                               const std::set<std::string>& events) {
  const auto who = context_of(t.entity.tenant().value());
  const std::string text = text_of(t.entity, t.version);
  const auto answer = reader.answer(who, t.entity, t.position);
  const auto item = reader.item(who, t.entity, "v" + std::to_string(t.version));
  const auto log = reader.read_log(who, t.entity, "ops", row.log_tail, t.version - 1, 1);
  const auto sent = outbox.find(t.version);
  const std::array found{
    row.version >= t.version,
    row.version > t.version || (row.version == t.version && row.state.starts_with(text)),
    row.sent >= t.version,
    row.last_keyed >= t.position,
    !row.marks.empty() && row.marks[0].sequence >= t.version,
    answer && answer->answer.bytes == text && answer->key == text,
    item && *item && **item == text,
    log && log->size() == 1 && log->front() == text,
    sent != outbox.end() && sent->second == text,
    events.count(text) == 1,
  };
  return {static_cast<int>(std::count(found.begin(), found.end(), true)), static_cast<int>(found.size())};
}

} // namespace

power_loss_report power_loss_run(std::uint64_t seed, std::optional<std::uint64_t> cut) {
  power_loss_report report;
  const auto broken = [&](std::string what) {
    if (!report.violation) report.violation = "seed " + std::to_string(seed) + ", cut " + (cut ? std::to_string(*cut) : "none") + ": " + what;
    return report;
  };
  temp_dir dir;
  power_loss_disk disk;
  random_source chance(seed);
  if (cut) disk.lose_power_at(*cut);

  std::vector<actor> actors;
  for (std::uint64_t i = 1; i <= 12; ++i) actors.push_back({entity_id{tenant_id{1}, i}});
  std::vector<std::vector<trace>> written;
  {
    auto store = open_sqlite(on(disk, dir));
    if (!store) return broken("the store did not open: " + to_string(store.error()));
    turn_maker make(**store);
    make.claim_all();
    while (written.size() < batches && disk.powered()) {
      std::vector<std::unique_ptr<turn_record>> batch;
      std::vector<trace> traces;
      for (auto n = 1 + chance.below(8); n > 0; --n) {
        actor& a = actors[chance.below(actors.size())];
        batch.push_back(leave_trace(make, a, chance));
        traces.push_back({a.id, a.version, batch.back()->position});
      }
      written.push_back(std::move(traces));
      const auto done = write(**store, batch);
      if (done.what != batch_result::kind::done) return broken("a batch was not done: " + to_string(done.why));
      if (disk.powered()) ++report.batches_done;
      (*store)->maintain();
    }
    report.operations = disk.operations();
  }

  disk.restore_power(chance);
  auto store = open_sqlite(on(disk, dir));
  if (!store) return broken("the store did not open again: " + to_string(store.error()));
  auto opened = (*store)->reader();
  if (!opened) return broken("no reader: " + to_string(opened.error()));
  store_reader& reader = **opened;

  std::map<entity_id, entity_row> rows;
  std::map<entity_id, std::map<std::uint64_t, std::string>> outbox;
  const auto who = context_of(1);
  for (const auto& a : actors) {
    auto row = reader.load_entity(who, a.id);
    if (!row) return broken("an entity cannot be read: " + to_string(row.error()));
    rows[a.id] = *row;
    const auto read = reader.outbox_of(shard_of(a.id, (*store)->shard_count()), [&](outbox_row&& m) {
      outbox[m.sender][m.sequence] = m.body.bytes;
      return true;
    });
    if (!read) return broken("the outbox cannot be read: " + to_string(read.error()));
  }
  std::set<std::string> events;
  const auto page = reader.events(who, "10000000000000000", 100'000);
  if (!page) return broken("the events cannot be read: " + to_string(page.error()));
  for (const auto& e : page->events) events.insert(e.event.data);

  bool ended = false; // batches are found up to one of them, and none after it
  for (std::size_t i = 0; i < written.size(); ++i) {
    std::size_t whole = 0;
    for (const auto& t : written[i]) {
      const auto [found, all] = rows_found(reader, t, rows[t.entity], outbox[t.entity], events);
      if (found != 0 && found != all)
        return broken("turn " + text_of(t.entity, t.version) + " of batch " + std::to_string(i) + " is torn: " + std::to_string(found) + " of " + std::to_string(all));
      whole += found == all ? 1 : 0;
    }
    if (whole != 0 && whole != written[i].size()) return broken("batch " + std::to_string(i) + " is torn");
    if (whole == 0 && i < report.batches_done) return broken("batch " + std::to_string(i) + " was reported done and is gone");
    if (whole != 0 && ended) return broken("batch " + std::to_string(i) + " is there without the one before it");
    if (whole == 0) ended = true;
    else ++report.batches_found;
  }

  turn_maker make(**store);
  make.claim_all();
  actor a{actors[0].id};
  a.version = rows[a.id].version;
  a.sent = rows[a.id].sent;
  a.last_keyed = rows[a.id].last_keyed;
  a.log_tail = rows[a.id].log_tail;
  a.log_next["ops"] = a.version;
  const auto next = write(**store, leave_trace(make, a, chance));
  if (next.what != batch_result::kind::done || next.outcomes[0] != turn_outcome::committed) return broken("the store takes no turns after the restart");
  return report;
}

} // namespace hive::test
