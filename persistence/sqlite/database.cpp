#include "persistence/sqlite/database.hpp"

#include "config/base/files.hpp"

#include <sqlite3.h>

#include <mutex>

namespace hive::persistence::sqlite {
namespace {

/// Statistics of SQLite's allocator cost a global mutex per allocation; nobody reads them.
void configure_library_once() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

constexpr int busy_milliseconds = 1000; // only another program, or a checkpoint that waits for readers, makes one wait

} // namespace

error to_error(const sqlite_error& e, const std::string& file) {
  switch (e.primary()) {
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return {errc::failed_precondition, "store_damaged",
            file + " is not a whole database (" + e.what() + "): restore it from a backup, or move it away to start empty", {}, {}};
  case SQLITE_FULL:
    return no_space(file);
  case SQLITE_CANTOPEN:
  case SQLITE_PERM:
  case SQLITE_READONLY:
  case SQLITE_AUTH:
    return {errc::failed_precondition, "store_not_writable",
            file + " cannot be opened (" + e.what() + "): check its owner and mode", {}, {}};
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return {errc::unavailable, "store_busy", file + " is locked by another program: close it", {}, std::chrono::seconds{1}};
  case SQLITE_IOERR:
    if (e.code() == SQLITE_IOERR_SHMSIZE) return no_space(file); // the index of the log is a file as well
    return {errc::unavailable, "io_error", "reading or writing " + file + " failed (" + e.what() + ")", {}, std::chrono::seconds{1}};
  case SQLITE_NOMEM: return {errc::unavailable, "no_memory", "no memory is left", {}, std::chrono::seconds{1}};
  default: return {errc::internal, "store_error", file + ": " + e.what(), {}, {}};
  }
}

connection::connection(const std::filesystem::path& file, mode how, const std::string& vfs) {
  configure_library_once();
  const int flags = SQLITE_OPEN_NOMUTEX | (how == mode::writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
  const int rc = sqlite3_open_v2(file.c_str(), &db_, flags, vfs.empty() ? nullptr : vfs.c_str());
  if (rc != SQLITE_OK) {
    const std::string why = db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(rc);
    sqlite3_close(db_);
    throw sqlite_error(rc, "open: " + why);
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, busy_milliseconds);
}

connection::~connection() { sqlite3_close_v2(db_); }

void connection::execute(const char* sql) {
  const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) fail(rc, sql);
}

std::int64_t connection::number(const char* sql) {
  statement s(*this, sql);
  return s.step() ? s.number(0) : 0;
}

std::string connection::text(const char* sql) {
  statement s(*this, sql);
  return s.step() ? s.text(0) : std::string{};
}

std::int64_t connection::changes() const noexcept { return sqlite3_changes64(db_); }

bool connection::in_transaction() const noexcept { return sqlite3_get_autocommit(db_) == 0; }

void connection::roll_back() noexcept {
  // SQLite has rolled back by itself after some errors (no space, no memory, input/output).
  if (in_transaction()) sqlite3_exec(db_, "rollback", nullptr, nullptr, nullptr);
}

void connection::fail(int code, const char* doing) const {
  const int extended = sqlite3_extended_errcode(db_);
  const bool same = (extended & 0xFF) == (code & 0xFF);
  throw sqlite_error(same ? extended : code, std::string(same ? sqlite3_errmsg(db_) : sqlite3_errstr(code)) + " in: " + doing);
}

statement::statement(connection& on, const char* sql) : on_(&on) {
  const int rc = sqlite3_prepare_v3(on.handle(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw_, nullptr);
  if (rc != SQLITE_OK) on.fail(rc, sql);
}

statement::~statement() { sqlite3_finalize(raw_); }

void statement::run() {
  const int rc = sqlite3_step(raw_);
  if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
    const int code = sqlite3_extended_errcode(on_->handle());
    std::string what = std::string(sqlite3_errmsg(on_->handle())) + " in: " + sqlite3_sql(raw_);
    sqlite3_reset(raw_);
    throw sqlite_error(code, std::move(what));
  }
  sqlite3_reset(raw_);
}

bool statement::step() {
  const int rc = sqlite3_step(raw_);
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) {
    sqlite3_reset(raw_);
    return false;
  }
  const int code = sqlite3_extended_errcode(on_->handle());
  std::string what = std::string(sqlite3_errmsg(on_->handle())) + " in: " + sqlite3_sql(raw_);
  sqlite3_reset(raw_);
  throw sqlite_error(code, std::move(what));
}

void statement::reset() noexcept { sqlite3_reset(raw_); }

std::int64_t statement::number(int column) const noexcept { return sqlite3_column_int64(raw_, column); }

std::string_view statement::bytes(int column) const noexcept {
  const void* data = sqlite3_column_blob(raw_, column);
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(raw_, column))};
}

bool statement::is_null(int column) const noexcept { return sqlite3_column_type(raw_, column) == SQLITE_NULL; }

void statement::put(int index, std::int64_t value) {
  const int rc = sqlite3_bind_int64(raw_, index, value);
  if (rc != SQLITE_OK) on_->fail(rc, sqlite3_sql(raw_));
}

// A null pointer would bind null; an empty text is an empty text.
void statement::put(int index, std::string_view value) {
  const int rc = sqlite3_bind_text64(raw_, index, value.data() ? value.data() : "", value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (rc != SQLITE_OK) on_->fail(rc, sqlite3_sql(raw_));
}

void statement::put(int index, blob value) {
  const auto& b = value.bytes;
  const int rc = sqlite3_bind_blob64(raw_, index, b.data() ? b.data() : "", b.size(), SQLITE_STATIC);
  if (rc != SQLITE_OK) on_->fail(rc, sqlite3_sql(raw_));
}

void statement::put(int index, std::nullptr_t) {
  const int rc = sqlite3_bind_null(raw_, index);
  if (rc != SQLITE_OK) on_->fail(rc, sqlite3_sql(raw_));
}

void statement::put(int index, number_or_null value) {
  if (value.present) {
    put(index, value.value);
  } else {
    put(index, nullptr);
  }
}

} // namespace hive::persistence::sqlite
