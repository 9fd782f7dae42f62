// What can go wrong with the files of the embedded store, and what its opener, writer and readers say then.
#include "persistence/sqlite/sqlite_store.hpp"

#include "tests/persistence/power_loss_vfs.hpp"
#include "tests/persistence/temp_dir.hpp"
#include "tests/persistence/test_codec.hpp"
#include "tests/persistence/turn_maker.hpp"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace hive::test {
namespace {

class SqliteStore : public testing::Test {
protected:
  sqlite_options options() const { return {.directory = home.path() / "data", .shard_count = 64, .codec = nullptr, .vfs = {}}; }
  std::filesystem::path file(const char* name = "hive.db") const { return options().directory / name; }

  /// A store with `turns` turns of one entity, closed again.
  actor filled(int turns, const sqlite_options& how) {
    actor a{entity_id{tenant_id{1}, 5}};
    auto store = open_sqlite(how);
    EXPECT_TRUE(store) << to_string(store.error());
    turn_maker make(**store);
    make.claim_all();
    for (int i = 0; i < turns; ++i) {
      auto r = make.turn(a);
      turn_maker::set_state(*r, "state " + std::to_string(i) + std::string(500, 's'));
      r->items.push_back({"item " + std::to_string(i), std::string(500, 'i')});
      EXPECT_EQ(write(**store, r).what, batch_result::kind::done);
    }
    return a;
  }
  actor filled(int turns) { return filled(turns, options()); }

  static std::string slurp(const std::filesystem::path& from) {
    std::ifstream in(from, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void spill(const std::filesystem::path& to, std::string_view bytes) {
    std::ofstream(to, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  void sql(const char* text) const {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, text, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  static mode_t mode(const std::filesystem::path& of) {
    struct stat s {};
    EXPECT_EQ(::stat(of.c_str(), &s), 0) << of;
    return s.st_mode & 07777U;
  }

  temp_dir home;
};

TEST_F(SqliteStore, MakesItsDirectoryAndFilesForItsUserOnly) {
  const auto before = ::umask(0);
  auto store = open_sqlite(options());
  ::umask(before);
  ASSERT_TRUE(store);
  turn_maker(**store).claim_all();
  EXPECT_EQ(mode(options().directory), 0700u);
  for (const char* name : {"hive.db", "hive.db-wal", "hive.db-shm", "hive.lock"}) EXPECT_EQ(mode(file(name)), 0600u) << name;
}

TEST_F(SqliteStore, ASecondOpenerIsRefusedAndToldWhoHoldsIt) {
  auto store = open_sqlite(options());
  ASSERT_TRUE(store);
  const auto second = open_sqlite(options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::failed_precondition);
  EXPECT_EQ(second.error().reason, "data_dir_in_use");
  EXPECT_THAT(second.error().message, testing::HasSubstr("process " + std::to_string(::getpid())));
  store->reset();
  EXPECT_TRUE(open_sqlite(options()));
}

TEST_F(SqliteStore, ASecondProcessIsRefusedUntilTheFirstOneDies) {
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = open_sqlite(options());
    const char byte = store ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  const auto second = open_sqlite(options());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, testing::HasSubstr("process " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(open_sqlite(options()));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(SqliteStore, AnotherShardCountStopsTheStart) {
  filled(1);
  auto other = options();
  other.shard_count = 128;
  const auto store = open_sqlite(other);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, errc::failed_precondition);
  EXPECT_EQ(store.error().reason, "shard_count");
  EXPECT_EQ(store.error().field, "node.shards");
  EXPECT_THAT(store.error().message, testing::AllOf(testing::HasSubstr("64"), testing::HasSubstr("128")));
  EXPECT_TRUE(open_sqlite(options())) << "and leaves the store as it was";
}

TEST_F(SqliteStore, ASchemaOfANewerProgramStopsTheStart) {
  filled(1);
  sql("update meta set value = 1000 where name = 'schema'");
  const auto store = open_sqlite(options());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().reason, "store_newer");
  EXPECT_THAT(store.error().message, testing::HasSubstr("1000"));
}

TEST_F(SqliteStore, ADatabaseOfAnotherProgramStopsTheStart) {
  std::filesystem::create_directory(options().directory);
  sql("create table bookmarks(url text)");
  const auto store = open_sqlite(options());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().reason, "store_foreign");
}

TEST_F(SqliteStore, GarbageInsteadOfADatabaseIsATypedError) {
  random_source chance(1);
  for (const std::size_t size : {1u, 100u, 512u, 4096u, 100'000u}) {
    std::filesystem::create_directory(options().directory);
    std::string noise(size, '\0');
    for (char& c : noise) c = static_cast<char>(chance.next());
    spill(file(), noise);
    const auto store = open_sqlite(options());
    ASSERT_FALSE(store) << size;
    EXPECT_EQ(store.error().code, errc::failed_precondition) << to_string(store.error());
    EXPECT_EQ(store.error().reason, "store_damaged");
    EXPECT_THAT(store.error().message, testing::HasSubstr("hive.db"));
    EXPECT_EQ(slurp(file()), noise) << "what may be evidence is not touched";
    std::filesystem::remove_all(options().directory);
  }
}

TEST_F(SqliteStore, DamageAnywhereNeverCrashes) {
  const actor a = filled(60);
  const std::string whole = slurp(file());
  ASSERT_GT(whole.size(), 40'000u);
  random_source chance(7);
  int noticed = 0;
  for (int i = 0; i < 60; ++i) {
    std::string bytes = whole;
    if (i % 3 == 0) {
      bytes.resize(chance.below(bytes.size()));
    } else {
      const std::size_t begin = chance.below(bytes.size());
      const std::size_t end = std::min(bytes.size(), begin + 1 + chance.below(8000));
      for (std::size_t at = begin; at < end; ++at) bytes[at] = static_cast<char>(chance.next());
    }
    spill(file(), bytes);
    auto store = open_sqlite(options());
    if (!store) {
      EXPECT_FALSE(store.error().message.empty());
      ++noticed;
      continue;
    }
    turn_maker make(**store);
    if (!(*store)->claim_all()) ++noticed;
    if (auto reader = (*store)->reader()) {
      const auto who = context_of(1);
      if (!(*reader)->load_entity(who, a.id)) ++noticed;
      if (!(*reader)->items(who, a.id, "", "", 1000)) ++noticed;
      std::ignore = (*reader)->keys(who, a.id, journal_position{5}, 10, at_ms(0));
    }
    actor b{entity_id{tenant_id{1}, 6}};
    auto r = make.turn(b);
    std::ignore = write(**store, r);
  }
  EXPECT_GT(noticed, 10);
}

TEST_F(SqliteStore, ATornTailLosesOnlyWhatWasNotWhole) {
  // A crash leaves a log behind; every possible length of it is a store that opens, with a prefix of the turns.
  std::string log;
  std::string database;
  actor a{entity_id{tenant_id{1}, 5}};
  {
    auto store = open_sqlite(options());
    ASSERT_TRUE(store);
    turn_maker make(**store);
    make.claim_all();
    for (int i = 0; i < 12; ++i) {
      auto r = make.turn(a);
      turn_maker::set_state(*r, std::to_string(a.version));
      ASSERT_EQ(write(**store, r).what, batch_result::kind::done);
    }
    log = slurp(file("hive.db-wal"));
    database = slurp(file());
  }
  ASSERT_GT(log.size(), 32u + 4120u);
  std::vector<std::size_t> lengths;
  for (std::size_t length = log.size() / 2; length < log.size(); length += log.size() / 60) lengths.push_back(length);
  for (const std::size_t less : {4096u, 24u, 8u, 1u, 0u}) lengths.push_back(log.size() - less);
  std::uint64_t last = 0;
  for (const std::size_t length : lengths) {
    std::filesystem::remove_all(options().directory);
    std::filesystem::create_directory(options().directory);
    spill(file(), database);
    spill(file("hive.db-wal"), std::string_view(log).substr(0, length));
    auto store = open_sqlite(options());
    ASSERT_TRUE(store) << length << ": " << to_string(store.error());
    auto row = (*store)->reader().value()->load_entity(context_of(1), a.id);
    ASSERT_TRUE(row) << length;
    EXPECT_EQ(row->state, row->version == 0 ? "" : std::to_string(row->version));
    EXPECT_EQ(row->version == 12, length == log.size()) << length;
    if (length > log.size() - 4096) continue;
    EXPECT_GE(row->version, last);
    last = row->version;
  }
  EXPECT_GE(last, 6u);
}

TEST_F(SqliteStore, ALongReadDoesNotMakeTheLogGrowForEver) {
  auto how = options();
  how.checkpoint_pages = 50;
  auto store = open_sqlite(how);
  ASSERT_TRUE(store);
  turn_maker make(**store);
  make.claim_all();
  actor a{entity_id{tenant_id{1}, 5}};
  const auto write_some = [&] {
    for (int i = 0; i < 100; ++i) {
      auto r = make.turn(a);
      turn_maker::set_state(*r, std::string(20'000, 's'));
      ASSERT_EQ(write(**store, r).what, batch_result::kind::done);
      (*store)->maintain();
    }
  };
  auto r = make.turn(a);
  turn_maker::send(a, *r, a.id, "x");
  ASSERT_EQ(write(**store, r).what, batch_result::kind::done);
  auto reader = std::move((*store)->reader().value());
  std::uintmax_t during = 0;
  ASSERT_TRUE(reader->outbox_of(make.shard(a.id), [&](outbox_row&&) { // the snapshot is held meanwhile
    for (int i = 0; i < 20; ++i) {
      auto more = make.turn(a);
      turn_maker::set_state(*more, std::string(20'000, 's'));
      EXPECT_EQ(write(**store, more).what, batch_result::kind::done);
    }
    during = std::filesystem::file_size(file("hive.db-wal"));
    return true;
  }));
  EXPECT_GT(during, 300'000u);
  write_some();
  EXPECT_LE(std::filesystem::file_size(file("hive.db-wal")), during + 500'000u) << "it started again at its beginning";
}

TEST_F(SqliteStore, SealedPayloadsAreNotReadableInTheFiles) {
  const test_codec codec;
  auto how = options();
  how.codec = &codec;
  {
    auto store = open_sqlite(how);
    ASSERT_TRUE(store);
    turn_maker make(**store);
    make.claim_all();
    actor a{entity_id{tenant_id{1}, 5}};
    auto r = make.turn(a);
    const std::string secret = "SECRET-SECRET";
    turn_maker::set_state(*r, secret);
    turn_maker::answer(a, *r, "key", secret);
    turn_maker::append(a, *r, "ops", secret);
    r->items.push_back({"i", secret});
    turn_maker::send(a, *r, a.id, secret);
    r->outbox[0].envelope = secret;
    r->accepted = waiting_turn{1, at_ms(1), 1, secret};
    r->steps = {{1, 0, secret, at_ms(0), secret}};
    r->events = {{"t", "s", secret}};
    r->dead_letters = {{"r", secret, "{}"}};
    ASSERT_EQ(write(**store, r).what, batch_result::kind::done);
    EXPECT_THAT(slurp(file("hive.db-wal")), testing::Not(testing::HasSubstr("SECRET")));
  }
  EXPECT_THAT(slurp(file()), testing::Not(testing::HasSubstr("SECRET")));

  const auto plain = open_sqlite(options());
  ASSERT_TRUE(plain);
}

TEST_F(SqliteStore, APayloadMovedToAnotherPlaceIsAnErrorNotAnAnswer) {
  const test_codec codec;
  auto how = options();
  how.codec = &codec;
  filled(1, how);
  sql("update item set value = (select state from entity)");
  auto store = open_sqlite(how);
  ASSERT_TRUE(store);
  const auto item = (*store)->reader().value()->item(context_of(1), entity_id{tenant_id{1}, 5}, "item 0");
  ASSERT_FALSE(item);
  EXPECT_EQ(item.error().reason, "payload_unreadable");
}

class SqliteStoreOnFaultyDisk : public SqliteStore {
protected:
  sqlite_options options_on_disk() {
    auto how = options();
    how.vfs = disk.name();
    how.checkpoint_pages = 40;
    return how;
  }
  power_loss_disk disk;
};
using SqliteStoreDeathTest = SqliteStoreOnFaultyDisk;

TEST_F(SqliteStoreDeathTest, AFailedSyncEndsTheProcessAndIsNeverAcknowledged) {
  const auto commit = [&] {
    auto store = open_sqlite(options_on_disk());
    turn_maker make(**store);
    make.claim_all();
    disk.fail_sync_after(0);
    actor a{entity_id{tenant_id{1}, 5}};
    std::ignore = write(**store, make.turn(a));
    std::_Exit(0); // acknowledged: wrong
  };
  EXPECT_EXIT(commit(), testing::ExitedWithCode(70), "may be lost");
}

TEST_F(SqliteStoreDeathTest, AFailedSyncOfACheckpointEndsTheProcessToo) {
  const auto checkpoint = [&] {
    auto store = open_sqlite(options_on_disk());
    turn_maker make(**store);
    make.claim_all();
    actor a{entity_id{tenant_id{1}, 5}};
    for (int i = 0; i < 40; ++i) std::ignore = write(**store, make.turn(a));
    disk.fail_sync_after(1); // the log's sync passes, the database's does not
    (*store)->maintain();
    std::_Exit(0);
  };
  EXPECT_EXIT(checkpoint(), testing::ExitedWithCode(70), "may be lost");
}

TEST_F(SqliteStoreOnFaultyDisk, AFullDiskIsUnavailableAndRecoversByItself) {
  auto store = open_sqlite(options_on_disk());
  ASSERT_TRUE(store);
  turn_maker make(**store);
  make.claim_all();
  actor a{entity_id{tenant_id{1}, 5}};
  actor b{entity_id{tenant_id{1}, 6}};
  const auto big = [&](actor& of) {
    auto r = make.turn(of);
    turn_maker::set_state(*r, std::string(200'000, 'x'));
    return r;
  };
  ASSERT_EQ(write(**store, make.turn(a)).what, batch_result::kind::done);

  for (const std::uint64_t room : {0u, 1u, 5'000u, 60'000u, 150'000u}) { // full at the first page, and further on
    disk.room(room);
    const actor a_before = a;
    const actor b_before = b;
    const auto done = write(**store, big(a), big(b));
    ASSERT_EQ(done.what, batch_result::kind::unavailable) << room;
    EXPECT_EQ(done.why.reason, "no_space");
    EXPECT_EQ(done.why.code, errc::unavailable);
    if (room == 0) {
      EXPECT_EQ((*store)->probe().error().reason, "no_space");
    }
    a = a_before;
    b = b_before;
    auto reader = (*store)->reader();
    ASSERT_TRUE(reader) << "reading goes on";
    EXPECT_EQ((*reader)->load_entity(context_of(1), a.id)->version, 1u);
    EXPECT_EQ((*reader)->load_entity(context_of(1), b.id)->version, 0u);
  }

  disk.room(power_loss_disk::unlimited);
  EXPECT_TRUE((*store)->probe());
  const auto done = write(**store, big(a), big(b));
  ASSERT_EQ(done.what, batch_result::kind::done);
  EXPECT_THAT(done.outcomes, testing::Each(turn_outcome::committed));
  (*store)->maintain();
  EXPECT_EQ((*store)->reader().value()->load_entity(context_of(1), a.id)->version, 2u);
}

TEST_F(SqliteStoreOnFaultyDisk, AFullDiskDuringACheckpointLosesNothing) {
  auto store = open_sqlite(options_on_disk());
  ASSERT_TRUE(store);
  turn_maker make(**store);
  make.claim_all();
  actor a{entity_id{tenant_id{1}, 5}};
  auto r = make.turn(a);
  turn_maker::set_state(*r, std::string(300'000, 'x'));
  ASSERT_EQ(write(**store, r).what, batch_result::kind::done);
  disk.room(10'000);
  (*store)->maintain();
  EXPECT_EQ((*store)->reader().value()->load_entity(context_of(1), a.id)->state.size(), 300'000u);
  disk.room(power_loss_disk::unlimited);
  ASSERT_EQ(write(**store, make.turn(a)).what, batch_result::kind::done);
  (*store)->maintain();
  EXPECT_EQ((*store)->reader().value()->load_entity(context_of(1), a.id)->state.size(), 300'000u);
}

TEST_F(SqliteStoreOnFaultyDisk, ABatchOfLooksWritesAndSyncsNothing) {
  auto store = open_sqlite(options_on_disk());
  ASSERT_TRUE(store);
  turn_maker make(**store);
  make.claim_all();
  actor a{entity_id{tenant_id{1}, 5}};
  const auto operations = disk.operations();
  EXPECT_THAT(write(**store, make.look(a), make.look(a)).outcomes, testing::Each(turn_outcome::committed));
  EXPECT_EQ(disk.operations(), operations);
  ASSERT_EQ(write(**store, make.turn(a)).what, batch_result::kind::done);
  EXPECT_GT(disk.operations(), operations);
}

TEST_F(SqliteStoreOnFaultyDisk, ABatchIsSyncedOnce) {
  auto store = open_sqlite(options_on_disk());
  ASSERT_TRUE(store);
  turn_maker make(**store);
  make.claim_all();
  std::vector<std::unique_ptr<turn_record>> batch;
  for (std::uint64_t i = 1; i <= 50; ++i) {
    actor a{entity_id{tenant_id{1}, i}};
    batch.push_back(make.turn(a));
  }
  const auto syncs = disk.syncs();
  ASSERT_EQ(write(**store, batch).what, batch_result::kind::done);
  EXPECT_EQ(disk.syncs(), syncs + 1);
}

/// A codec that finds no memory.
struct starved_codec final : persistence::payload_codec {
  bool plain() const noexcept override { return false; }
  std::string seal(tenant_id, entity_id, std::string_view, std::string_view bytes) const override { return std::string(bytes); }
  std::string open(tenant_id, entity_id, std::string_view, std::string_view) const override { throw std::bad_alloc(); }
};

TEST_F(SqliteStore, AReaderWithoutMemorySaysSoAndDoesNotBlameTheData) {
  const starved_codec codec;
  auto how = options();
  how.codec = &codec;
  const auto a = filled(1, how);
  auto store = open_sqlite(how);
  ASSERT_TRUE(store);
  const auto row = (*store)->reader().value()->load_entity(context_of(1), a.id);
  ASSERT_FALSE(row);
  EXPECT_EQ(row.error().code, errc::unavailable);
  EXPECT_EQ(row.error().reason, "no_memory");
}

TEST_F(SqliteStoreOnFaultyDisk, AStartOnAFullDiskSaysSo) {
  for (const std::uint64_t room : {0u, 5'000u, 20'000u}) {
    disk.room(room);
    const auto store = open_sqlite(options_on_disk());
    ASSERT_FALSE(store) << room;
    EXPECT_EQ(store.error().reason, "no_space") << store.error().message;
  }
  disk.room(power_loss_disk::unlimited);
  auto store = open_sqlite(options_on_disk());
  ASSERT_TRUE(store) << to_string(store.error());
  disk.room(0);
  const auto claimed = (*store)->claim_all();
  ASSERT_FALSE(claimed);
  EXPECT_EQ(claimed.error().reason, "no_space") << claimed.error().message;
}

} // namespace
} // namespace hive::test
