#include "persistence/sqlite/sqlite_store.hpp"

#include "config/base/files.hpp"
#include "config/base/log.hpp"
#include "persistence/sqlite/batch_writer.hpp"
#include "persistence/sqlite/database.hpp"
#include "persistence/sqlite/directory_lock.hpp"
#include "persistence/sqlite/gathering_vfs.hpp"
#include "persistence/sqlite/schema.hpp"
#include "persistence/sqlite/sqlite_reader.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sqlite3.h>
#include <unistd.h>

namespace hive::persistence {
namespace {

using namespace sqlite;

constexpr int exit_unsynced = 70;      // EX_SOFTWARE: what the disk holds is unknown

const plain_codec plain;

/// Every cell of the log that was written before is unknown once a sync has failed, and a second sync may report
/// success: nothing may be acknowledged from here on.
[[noreturn]] void stop_process(const sqlite_error& e, const std::string& file) {
  log::error("a write to the store may be lost: the process ends, and the next start reads what the disk holds",
             {{"file", file}, {"code", e.code()}, {"error", e.what()}});
  log::flush();
  std::_Exit(exit_unsynced);
}

bool is_sync_failure(int code) noexcept {
  return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

class sqlite_turn_store final : public turn_store {
public:
  sqlite_turn_store(directory_lock lock, std::filesystem::path file, const sqlite_options& options,
                    std::unique_ptr<gathering_vfs> gathering, std::unique_ptr<connection> writer)
    : lock_(std::move(lock)), gathering_(std::move(gathering)), file_(std::move(file)), vfs_(options.vfs), codec_(options.codec ? *options.codec : plain),
      shards_(options.shard_count), checkpoint_pages_(static_cast<int>(options.checkpoint_pages)), writer_(std::move(writer)), rows_(*writer_, codec_) {
    sqlite3_wal_hook(writer_->handle(), &sqlite_turn_store::note_pages, this);
    const auto last = [&](const char* sql) { return static_cast<std::uint64_t>(writer_->number(sql)); };
    next_position_ = 1 + std::max({last("select max(position) from journal"), last("select max(position) from log"),
                                   last("select value from meta where name = 'trimmed'")});
    next_event_ = 1 + std::max(last("select max(number) from event"), last("select max(number) from event_floor"));
    generation_ = node_generation{0};
  }

  batch_result write(std::span<turn_record* const> batch) override {
    std::lock_guard lock(guard_);
    batch_result result;
    bool committing = false;
    try {
      batch_tally tally;
      tally.next_event = next_event_;
      begin_.run();
      rows_.apply(batch, generation_, result.outcomes, tally);
      committing = true;
      commit_.run();
      next_event_ = tally.next_event;
      return result;
    } catch (const refusal& r) {
      writer_->roll_back();
      return {batch_result::kind::refused, {}, r.why};
    } catch (const sqlite_error& e) {
      return failed(e, committing);
    } catch (const std::bad_alloc&) {
      writer_->roll_back();
      return {batch_result::kind::unavailable, {}, {errc::unavailable, "no_memory", "no memory is left", {}, std::chrono::seconds{1}}};
    } catch (const std::exception& e) { // the codec's
      writer_->roll_back();
      return {batch_result::kind::refused, {}, {errc::internal, "payload_not_sealed", e.what(), {}, {}}};
    }
  }

  void maintain() override {
    std::lock_guard lock(guard_);
    if (pages_ < checkpoint_at_) return;
    // Readers that never all leave at once keep the log from starting again at its beginning. When it has grown well
    // beyond what is usual, wait for them: they are short, and the busy timeout bounds the wait.
    const int mode = pages_ >= 8 * checkpoint_pages_ ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
    checkpoint_at_ = pages_ + checkpoint_pages_;
    const int rc = sqlite3_wal_checkpoint_v2(writer_->handle(), nullptr, mode, nullptr, nullptr);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED) return;
    const sqlite_error e(sqlite3_extended_errcode(writer_->handle()), sqlite3_errmsg(writer_->handle()));
    if (is_sync_failure(e.code())) stop_process(e, file_.string());
    // The log keeps what could not be moved; the next checkpoint tries again.
    log::warn("the log could not be moved into the database", {{"file", file_.string()}, {"error", e.what()}});
  }

  result<void> probe() override {
    return transact<void>([&]() -> result<void> {
      writer_->execute("update meta set value = value + 1 where name = 'probe'");
      return {};
    });
  }

  journal_position allot(shard_id) noexcept override {
    return journal_position{next_position_.fetch_add(1, std::memory_order_relaxed)};
  }

  result<std::vector<shard_row>> claim_all() override {
    return transact<std::vector<shard_row>>([&]() -> result<std::vector<shard_row>> {
      const auto generation = next_generation();
      for (std::uint16_t id = 0; id < shards_; ++id)
        statement(*writer_, "insert into shard values(?, ?, 1) on conflict do update set owner = excluded.owner, epoch = epoch + 1")
          .bind(int{id}, generation)
          .run();
      std::vector<shard_row> rows;
      statement s(*writer_, "select id, owner, epoch from shard order by id");
      while (s.step()) rows.push_back({shard_id{static_cast<std::uint16_t>(s.number(0))}, node_generation{s.bits(1)}, epoch{s.bits(2)}});
      generation_ = generation;
      return rows;
    });
  }

  result<shard_row> claim(shard_id shard) override {
    return transact<shard_row>([&]() -> result<shard_row> {
      const auto generation = next_generation();
      statement s(*writer_, "update shard set owner = ?, epoch = epoch + 1 where id = ? returning epoch");
      if (!s.bind(generation, shard).step()) return error{errc::not_found, "not_found", "shard " + std::to_string(shard.value()) + " was never claimed", {}, {}};
      const shard_row row{shard, generation, epoch{s.bits(0)}};
      s.reset();
      return row;
    });
  }

  result<std::size_t> trim(const trim_horizon& before, std::size_t limit) override {
    return transact<std::size_t>([&]() -> result<std::size_t> {
      std::size_t rows = trim_journal(before.journal, limit);
      rows += trim_events(before.events, limit - rows);
      rows += trim_reports(letter_trim_, before.dead_letters, limit - rows);
      return rows + trim_reports(audit_trim_, before.audit, limit - rows);
    });
  }

  result<std::unique_ptr<store_reader>> reader() override {
    try {
      return make_reader(file_, vfs_, codec_);
    } catch (const sqlite_error& e) {
      return to_error(e, file_.string());
    }
  }

  std::uint16_t shard_count() const noexcept override { return shards_; }

private:
  static int note_pages(void* self, sqlite3*, const char*, int pages) {
    auto& store = *static_cast<sqlite_turn_store*>(self);
    if (pages < store.pages_) store.checkpoint_at_ = store.checkpoint_pages_; // the log began anew
    store.pages_ = pages;
    return SQLITE_OK;
  }

  batch_result failed(const sqlite_error& e, bool committing) {
    const bool input_output = e.primary() == SQLITE_IOERR;
    if (is_sync_failure(e.code()) || (committing && input_output)) stop_process(e, file_.string());
    writer_->roll_back();
    switch (e.primary()) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH: return {batch_result::kind::refused, {}, {errc::internal, "constraint", e.what(), {}, {}}};
    case SQLITE_TOOBIG: return {batch_result::kind::refused, {}, {errc::resource_exhausted, "too_big", e.what(), {}, {}}};
    default: return {batch_result::kind::unavailable, {}, to_error(e, file_.string())};
    }
  }

  /// Runs `work` in a transaction of its own; anything but a value rolls back.
  template <class T, class Work> result<T> transact(const Work& work) {
    std::lock_guard lock(guard_);
    bool committing = false;
    try {
      begin_.run();
      auto done = work();
      if (!done) {
        writer_->roll_back();
        return done;
      }
      committing = true;
      commit_.run();
      return done;
    } catch (const sqlite_error& e) {
      if (is_sync_failure(e.code()) || (committing && e.primary() == SQLITE_IOERR)) stop_process(e, file_.string());
      writer_->roll_back();
      return to_error(e, file_.string());
    }
  }

  node_generation next_generation() {
    const node_generation next{static_cast<std::uint64_t>(writer_->number("select coalesce(max(generation), 0) + 1 from node"))};
    statement(*writer_, "insert into node values(?, ?)").bind(next, system_clock_source{}.wall_now().time_since_epoch().count()).run();
    return next;
  }

  /// Rows lie in the order of their positions, which is nearly that of their times: the first row that must stay ends
  /// the step, so that a step costs what it deletes.
  std::size_t trim_journal(wall_time before, std::size_t limit) {
    std::uint64_t last = 0;
    {
      resetting after(journal_old_.bind(limit));
      while (journal_old_.step() && journal_old_.number(1) < before.time_since_epoch().count()) last = journal_old_.bits(0);
    }
    if (last == 0) return 0;
    journal_trim_.bind(last).run();
    const auto gone = static_cast<std::size_t>(writer_->changes());
    trimmed_.bind(last).run();
    return gone;
  }

  std::size_t trim_events(wall_time before, std::size_t limit) {
    std::uint64_t last = 0;
    {
      resetting after(event_old_.bind(limit));
      while (event_old_.step() && event_old_.number(1) < before.time_since_epoch().count()) last = event_old_.bits(0);
    }
    if (last == 0) return 0;
    event_floor_.bind(last).run();
    event_trim_.bind(last).run();
    return static_cast<std::size_t>(writer_->changes());
  }

  std::size_t trim_reports(statement& trim, wall_time before, std::size_t limit) {
    trim.bind(limit, before.time_since_epoch().count()).run();
    return static_cast<std::size_t>(writer_->changes());
  }

  directory_lock lock_;
  const std::unique_ptr<gathering_vfs> gathering_; // of the writer; before it, for it must outlive it
  const std::filesystem::path file_;
  const std::string vfs_;
  const payload_codec& codec_;
  const std::uint16_t shards_;
  const int checkpoint_pages_;
  std::mutex guard_; // of the writer's connection: the commit thread's, but claims in tests come from others
  std::unique_ptr<connection> writer_;
  batch_writer rows_;
  statement begin_{*writer_, "begin immediate"};
  // Numbers rise with time: the oldest few are looked at, not the table.
  statement letter_trim_{*writer_, "delete from dead_letter where number in (select number from dead_letter order by number limit ?) and at < ?"};
  statement audit_trim_{*writer_, "delete from audit where number in (select number from audit order by number limit ?) and at < ?"};
  statement commit_{*writer_, "commit"};
  statement journal_old_{*writer_, "select position, at from journal order by position limit ?"};
  statement journal_trim_{*writer_, "delete from journal where position <= ?"};
  statement trimmed_{*writer_, "update meta set value = max(value, ?) where name = 'trimmed'"};
  statement event_old_{*writer_, "select number, at from event order by number limit ?"};
  statement event_floor_{*writer_, "insert into event_floor select tenant, max(number) from event where number <= ? group by tenant"
                                   " on conflict do update set number = excluded.number"};
  statement event_trim_{*writer_, "delete from event where number <= ?"};
  node_generation generation_;
  std::atomic<std::uint64_t> next_position_{1};
  std::uint64_t next_event_ = 1;
  int pages_ = 0; // in the log, after the last commit
  int checkpoint_at_ = checkpoint_pages_;
};

error cannot_create(const std::filesystem::path& file, int number) {
  if (is_no_space(number)) return no_space(file);
  return {errc::failed_precondition, "store_not_writable", file.string() + " cannot be made: " + std::strerror(number), "data_dir", {}};
}

/// SQLite gives its side files the mode of the database file; it would make that one by the umask.
result<void> create_private(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return cannot_create(file, errno);
  const off_t size = ::lseek(fd, 0, SEEK_END);
  ::close(fd);
  // SQLite takes a file shorter than its header for an empty one, and would write over it.
  std::error_code ec;
  if (size > 0 && size < 100 && !std::filesystem::exists(file.string() + "-journal", ec))
    return to_error(sqlite_error(SQLITE_NOTADB, "the file is shorter than a header"), file.string());
  if (const int rc = sync_directory(file.parent_path()); rc != 0) return cannot_create(file, rc);
  return {};
}

/// Settings of the writer, and whether SQLite took them.
result<void> prepare_writer(connection& on, const std::string& file) {
  on.execute("pragma page_size = 4096");
  if (on.text("pragma journal_mode = wal") != "wal")
    return error{errc::failed_precondition, "store_not_writable", file + " cannot use a write-ahead log: use a local disk", {}, {}};
#ifdef HIVE_MUTATION_SKIP_SYNC
  on.execute("pragma synchronous = off");
#else
  on.execute("pragma synchronous = full");
  if (on.number("pragma synchronous") != 2)
    return error{errc::internal, "store_error", file + ": synchronous=full was not taken", {}, {}};
#endif
  on.execute("pragma wal_autocheckpoint = 0; pragma cache_size = -65536; pragma mmap_size = 0; pragma temp_store = memory;"
             "pragma journal_size_limit = 67108864; pragma secure_delete = off; pragma foreign_keys = off;"
             "pragma trusted_schema = off; pragma cell_size_check = on");
  return {};
}

} // namespace

result<std::unique_ptr<turn_store>> open_sqlite(const sqlite_options& options) {
  auto lock = directory_lock::take(options.directory);
  if (!lock) return std::move(lock).error();
  const auto file = options.directory / "hive.db";
  try {
    if (options.vfs.empty()) {
      if (auto made = create_private(file); !made) return std::move(made).error();
    }
#ifdef HIVE_MUTATION_SKIP_SYNC
    std::unique_ptr<gathering_vfs> gathering; // relies on the syncs
    auto writer = std::make_unique<connection>(file, connection::mode::writer, options.vfs);
#else
    auto gathering = std::make_unique<gathering_vfs>(options.vfs);
    auto writer = std::make_unique<connection>(file, connection::mode::writer, gathering->name());
#endif
    if (auto ready = prepare_writer(*writer, file.string()); !ready) return std::move(ready).error();
    if (auto ready = bring_up_to_date(*writer, file.string(), options.shard_count); !ready) return std::move(ready).error();
    return std::unique_ptr<turn_store>(std::make_unique<sqlite_turn_store>(std::move(*lock), file, options, std::move(gathering), std::move(writer)));
  } catch (const sqlite_error& e) {
    if (is_sync_failure(e.code())) stop_process(e, file.string());
    return to_error(e, file.string());
  }
}

} // namespace hive::persistence
