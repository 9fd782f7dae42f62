// Question: how many turns a second does a store commit - the embedded one, or PostgreSQL - and what does one cost the commit thread?
// Data: 10,000 entities picked by SplitMix64 with HIVE_SEED (1); a keyed answer of 30 B, a state of 32 B, a log entry of 20 B; the
// store's own batches, one after another, on the disk of --dir. Raw fdatasync of the same disk is printed beside.
// Target: a ledger-like turn in batches of about 126 costs at most 7 us of the commit thread's CPU; 40,000 sends a second.
//
// PostgreSQL: batches of 256 small turns, 10,000 entities of 50 tenants; target 60,000/s (measured on the bare path). Its schema is dropped
// and made anew for each row of the table. bench/postgres_commit_bench starts a server for it.
//
//   commit_bench [--dir DIR] [--seconds S] [--json FILE] [--only NAME] [--batch N] [--postgres URL --admin URL] [--tenants N]
#include "config/base/log.hpp"
#include "config/base/random.hpp"
#include "persistence/postgres/connection.hpp"
#include "persistence/postgres/postgres_store.hpp"
#include "persistence/sqlite/sqlite_store.hpp"
#include "tests/support/test_context.hpp"

#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

namespace {

using namespace hive;
using namespace hive::persistence;
using seconds_d = std::chrono::duration<double>;

constexpr std::uint64_t entities = 10'000;

std::uint64_t seed() {
  const char* chosen = std::getenv("HIVE_SEED");
  return chosen ? std::strtoull(chosen, nullptr, 10) : 1;
}

struct options {
  std::filesystem::path dir = std::filesystem::temp_directory_path() / "hive-commit-bench";
  double seconds = 1.5;
  std::string json;
  std::string only;
  std::size_t batch = 0; // 0: all sizes
  std::string postgres;  // empty: the embedded store
  std::string admin;
  std::uint32_t tenants = 1;
};

std::unique_ptr<turn_store> open_store(const options& how, bool anew) {
  if (how.postgres.empty()) {
    if (anew) std::filesystem::remove_all(how.dir);
    auto store = open_sqlite({.directory = how.dir, .shard_count = 256, .codec = nullptr, .vfs = {}});
    if (!store) throw std::runtime_error(to_string(store.error()));
    return std::move(*store);
  }
  if (anew) {
    postgres::connection owner({how.admin, "bench", std::chrono::milliseconds{3000}, true});
    owner.wait = std::chrono::seconds{60};
    owner.query("drop schema if exists hive cascade");
  }
  postgres_options there;
  there.url = how.postgres;
  there.admin = how.admin;
  auto store = open_postgres(there);
  if (!store) throw std::runtime_error(to_string(store.error()));
  return std::move(*store);
}

/// What a turn of a row of the table writes.
struct shape {
  const char* name;
  bool state = false;
  bool key = false;
  bool log = false;
  bool send = false; ///< Sends one message; what was sent before is deleted by the same entity's next turn.
  std::uint64_t population = entities;
};

struct measured {
  std::string name;
  std::size_t batch = 0;
  double turns_per_second = 0;
  double cpu_us_per_turn = 0;
  double p50_us = 0;
  double p99_us = 0;
};

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double percentile(std::vector<double>& values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(p * static_cast<double>(values.size())))];
}

struct agent {
  std::uint64_t version = 0;
  std::uint64_t sent = 0;
  journal_position last_keyed{};
  journal_position log_tail{};
  std::uint64_t log_next = 0;
};

class load {
public:
  load(turn_store& store, const shape& what, std::uint32_t tenants) : store_(store), what_(what), agents_(what.population) {
    for (std::uint32_t i = 1; i <= tenants; ++i) who_.push_back(test::context_of(i, "key:bench-0123456789"));
    const auto claimed = store_.claim_all();
    if (!claimed) throw std::runtime_error(to_string(claimed.error()));
    for (const auto& row : *claimed) epochs_.push_back(row.fence);
  }

  std::unique_ptr<turn_record> next(std::uint64_t serial) {
    agent& a = agents_[serial];
    auto r = write_nothing(serial);
    r->base = a.version++;
    r->writes = true;
    r->position = store_.allot(r->shard);
    if (what_.state) r->state = std::string(32, static_cast<char>('a' + a.version % 26));
    if (what_.key) {
      r->previous_keyed = a.last_keyed;
      r->keyed = keyed_answer{"key-" + std::to_string(1'000'000'000'000 + random_.below(1'000'000'000)), r->who.principal_hash(), {random_.next(), random_.next()}, false, false,
                              {std::string(30, 'x'), content_type::json}};
      a.last_keyed = r->position;
    }
    if (what_.log) {
      r->logs.push_back({"ops", a.log_next++, a.log_tail, std::string(20, 'l')});
      r->log_tail = a.log_tail = r->position;
    }
    if (what_.send) {
      if (a.sent != 0) r->delivered.push_back(a.sent);
      r->outbox.push_back({r->entity, entity_id{r->entity.tenant(), random_.below(what_.population) + 1}, ++a.sent, 2, "key:bench", "note", {std::string(64, 'm'), content_type::json}, std::string(24, 'e')});
      r->sent = a.sent;
    }
    return r;
  }

  std::vector<std::unique_ptr<turn_record>> batch(std::size_t size) {
    std::vector<std::unique_ptr<turn_record>> records;
    records.reserve(size);
    for (std::size_t i = 0; i < size; ++i) records.push_back(next(random_.below(agents_.size())));
    return records;
  }

  /// Both sides of messages, as the hive does it: a turn that sends to one of eight peers; the receiver's turn, which
  /// marks it; and, a batch later, the deletion of what was handled, which is no turn of its own.
  std::vector<std::unique_ptr<turn_record>> messages(std::size_t count) {
    std::vector<std::unique_ptr<turn_record>> records = std::move(handled_);
    handled_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t from = random_.below(agents_.size());
      const std::uint64_t to = (from + 1 + random_.below(8)) % agents_.size();
      auto sending = write_nothing(from);
      auto receiving = write_nothing(to);
      for (auto* r : {sending.get(), receiving.get()}) {
        r->base = agents_[r->entity.serial() - 1].version++;
        r->writes = true;
        r->position = store_.allot(r->shard);
        r->state = std::string(32, 's');
      }
      const std::uint64_t sequence = ++agents_[from].sent;
      sending->sent = sequence;
      sending->outbox.push_back({sending->entity, receiving->entity, sequence, 2, "key:bench", "note", {std::string(64, 'm'), content_type::json}, std::string(24, 'e')});
      receiving->marks = {inbox_mark{sending->entity, 2, sequence}};
      handled_.push_back(write_nothing(from));
      handled_.back()->delivered = {sequence};
      records.push_back(std::move(sending));
      records.push_back(std::move(receiving));
    }
    return records;
  }

  void populate() {
    for (std::uint64_t i = 0; i < agents_.size();) {
      std::vector<std::unique_ptr<turn_record>> records;
      for (std::size_t n = 0; n < 10'000 && i < agents_.size(); ++n, ++i) records.push_back(next(i));
      write(records);
      store_.maintain();
    }
  }

  void write(const std::vector<std::unique_ptr<turn_record>>& records) {
    view_.clear();
    for (const auto& r : records) view_.push_back(r.get());
    const auto done = store_.write(view_);
    if (done.what != batch_result::kind::done) throw std::runtime_error(to_string(done.why));
    for (const auto outcome : done.outcomes)
      if (outcome != turn_outcome::committed) throw std::runtime_error("a turn was not committed");
  }

private:
  std::unique_ptr<turn_record> write_nothing(std::uint64_t serial) const {
    const tenant_context who = who_[serial % who_.size()];
    const entity_id id{who.tenant(), serial + 1};
    const shard_id shard = shard_of(id, store_.shard_count());
    auto r = std::make_unique<turn_record>(who, id, shard, epochs_[shard.value()]);
    r->at = wall_time{std::chrono::milliseconds{1'800'000'000'000}};
    return r;
  }

  turn_store& store_;
  shape what_;
  std::vector<std::unique_ptr<turn_record>> handled_;
  std::vector<agent> agents_;
  std::vector<epoch> epochs_;
  std::vector<turn_record*> view_;
  random_source random_{seed()};
  std::vector<tenant_context> who_;
};

measured run(const options& how, const shape& what, std::size_t batch, bool both_sides = false) {
  auto store = open_store(how, true);
  load work(*store, what, how.tenants);
  work.populate();

  std::vector<double> latencies;
  std::size_t turns = 0;
  double cpu = 0;
  seconds_d busy{};
  while (busy.count() < how.seconds) {
    const auto records = both_sides ? work.messages(batch) : work.batch(batch);
    const double cpu_before = cpu_seconds();
    const auto begin = std::chrono::steady_clock::now();
    work.write(records);
    latencies.push_back(seconds_d(std::chrono::steady_clock::now() - begin).count() * 1e6);
    store->maintain();
    busy += std::chrono::steady_clock::now() - begin;
    cpu += cpu_seconds() - cpu_before;
    turns += batch;
  }
  const auto n = static_cast<double>(turns);
  return {what.name, batch, n / busy.count(), cpu * 1e6 / n, percentile(latencies, 0.5), percentile(latencies, 0.99)};
}

/// From a closed store to one that has its shards, its readers and its work list.
measured reopen(const options& how, std::uint64_t population) {
  const auto begin = std::chrono::steady_clock::now();
  auto store = open_store(how, false);
  if (!store->claim_all()) throw std::runtime_error("the store did not open again");
  auto reader = store->reader();
  if (!reader || !(*reader)->shards_with_work() || (*reader)->totals()->entities != population) throw std::runtime_error("the store lost entities");
  const double took = seconds_d(std::chrono::steady_clock::now() - begin).count() * 1e6;
  return {"reopen, 1M entities", 1, 1e6 / took, 0, took, took};
}

/// write + fdatasync of 4 KiB into blocks that were written before: what no store can go below.
measured raw_sync(const options& how) {
  std::filesystem::create_directories(how.dir);
  const auto file = how.dir / "raw";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
  const std::vector<char> page(4096, 'p');
  for (int i = 0; i < 1024; ++i)
    if (::pwrite(fd, page.data(), page.size(), i * 4096) != 4096) throw std::runtime_error("raw write failed");
  ::fsync(fd);
  std::vector<double> latencies;
  const auto begin = std::chrono::steady_clock::now();
  while (seconds_d(std::chrono::steady_clock::now() - begin).count() < how.seconds) {
    const auto one = std::chrono::steady_clock::now();
    if (::pwrite(fd, page.data(), page.size(), static_cast<off_t>(latencies.size() % 1024) * 4096) != 4096 || ::fdatasync(fd) != 0) throw std::runtime_error("raw sync failed");
    latencies.push_back(seconds_d(std::chrono::steady_clock::now() - one).count() * 1e6);
  }
  ::close(fd);
  const auto n = static_cast<double>(latencies.size());
  return {"raw fdatasync 4 KiB", 1, n / how.seconds, 0, percentile(latencies, 0.5), percentile(latencies, 0.99)};
}

void print(const measured& m, std::ofstream& json) {
  std::printf("%-28s %6zu %12.0f %10.2f %10.0f %10.0f\n", m.name.c_str(), m.batch, m.turns_per_second, m.cpu_us_per_turn, m.p50_us, m.p99_us);
  const auto line = nlohmann::json{{"bench", "commit"}, {"name", m.name}, {"batch", m.batch}, {"turns_per_second", m.turns_per_second},
                                   {"cpu_us_per_turn", m.cpu_us_per_turn}, {"p50_us", m.p50_us}, {"p99_us", m.p99_us}}.dump();
  if (json.is_open()) {
    json << line << std::endl;
  } else {
    std::printf("%s\n", line.c_str());
  }
  std::fflush(stdout);
}

} // namespace

int main(int argc, char** argv) {
  options how;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--dir") how.dir = argv[i + 1];
    else if (name == "--seconds") how.seconds = std::stod(argv[i + 1]);
    else if (name == "--json") how.json = argv[i + 1];
    else if (name == "--only") how.only = argv[i + 1];
    else if (name == "--batch") how.batch = std::stoul(argv[i + 1]);
    else if (name == "--postgres") how.postgres = argv[i + 1];
    else if (name == "--admin") how.admin = argv[i + 1];
    else if (name == "--tenants") how.tenants = static_cast<std::uint32_t>(std::stoul(argv[i + 1]));
    else return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
  }
  log::open({.file = "/dev/null", .json = true, .minimum = log::level::warn});
  std::ofstream json;
  if (!how.json.empty()) json.open(how.json, std::ios::app);

  const auto wanted = [&](const char* name) { return how.only.empty() || std::string_view(name).find(how.only) != std::string_view::npos; };
  std::printf("%-28s %6s %12s %10s %10s %10s\n", "turn", "batch", "per second", "CPU us", "p50 us", "p99 us");
  if (wanted("raw")) print(raw_sync(how), json);
  const std::vector<shape> shapes{
    {.name = "state", .state = true},
    {.name = "state+key", .state = true, .key = true},
    {.name = "log", .log = true},
    {.name = "ledger (state+key+log)", .state = true, .key = true, .log = true},
    {.name = "ledger, 1M entities", .state = true, .key = true, .log = true, .population = 1'000'000},
    {.name = "ledger, 200 entities", .state = true, .key = true, .log = true, .population = 200},
    {.name = "send", .send = true},
  };
  for (const auto& what : shapes) {
    if (!wanted(what.name)) continue;
    for (const std::size_t batch : how.postgres.empty() ? std::vector<std::size_t>{1, 16, 126, 1024} : std::vector<std::size_t>{1, 16, 256, 1024}) {
      if (what.population > entities && (batch != 126 || !how.postgres.empty())) continue;
      if (how.batch != 0 && batch != how.batch) continue;
      print(run(how, what, batch), json);
      if (what.population > entities) print(reopen(how, what.population), json);
    }
  }
  const shape message{.name = "message, both sides", .state = true};
  if (wanted(message.name))
    for (const std::size_t batch : {16, 126, 1024})
      if (how.batch == 0 || batch == how.batch) print(run(how, message, batch, true), json);
  std::filesystem::remove_all(how.dir);
  return 0;
}
