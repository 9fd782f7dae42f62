#include "persistence/sqlite/gathering_vfs.hpp"

#include "persistence/sqlite/database.hpp"

#include <atomic>
#include <cstring>
#include <new>
#include <sqlite3.h>

namespace hive::persistence::sqlite {
namespace {

constexpr std::size_t gathered_max = 124 * 1024; // SQLite's own VFS takes less than 128 KiB a call

struct log_file {
  sqlite3_file face; // first: SQLite sees only this
  sqlite3_file* below;
  std::string* gathered; // follows `begin` in the file
  sqlite3_int64 begin;
};

sqlite3_vfs* base_of(sqlite3_vfs* v) { return static_cast<sqlite3_vfs*>(v->pAppData); }
log_file& of(sqlite3_file* f) { return *reinterpret_cast<log_file*>(f); }

int pass_on(log_file& f) {
  if (f.gathered->empty()) return SQLITE_OK;
  const int rc = f.below->pMethods->xWrite(f.below, f.gathered->data(), static_cast<int>(f.gathered->size()), f.begin);
  // After a failure SQLite gives up the transaction these pages belong to, and writes its next one over them.
  f.gathered->clear();
  return rc;
}

int log_close(sqlite3_file* file) {
  auto& f = of(file);
  pass_on(f);
  delete f.gathered;
  return f.below->pMethods->xClose(f.below);
}
int log_write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  auto& f = of(file);
  const bool follows = f.begin + static_cast<sqlite3_int64>(f.gathered->size()) == offset;
  if (!follows || f.gathered->size() + static_cast<std::size_t>(size) > gathered_max) {
    if (const int rc = pass_on(f); rc != SQLITE_OK) return rc;
  }
  if (f.gathered->empty()) f.begin = offset;
  try {
    f.gathered->append(static_cast<const char*>(data), static_cast<std::size_t>(size));
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }
  return SQLITE_OK;
}
int log_read(sqlite3_file* file, void* to, int size, sqlite3_int64 offset) {
  auto& f = of(file);
  if (const int rc = pass_on(f); rc != SQLITE_OK) return rc;
  return f.below->pMethods->xRead(f.below, to, size, offset);
}
int log_truncate(sqlite3_file* file, sqlite3_int64 size) {
  auto& f = of(file);
  if (const int rc = pass_on(f); rc != SQLITE_OK) return rc;
  return f.below->pMethods->xTruncate(f.below, size);
}
int log_sync(sqlite3_file* file, int flags) {
  auto& f = of(file);
  if (const int rc = pass_on(f); rc != SQLITE_OK) return rc;
  return f.below->pMethods->xSync(f.below, flags);
}
int log_size(sqlite3_file* file, sqlite3_int64* out) {
  auto& f = of(file);
  if (const int rc = pass_on(f); rc != SQLITE_OK) return rc;
  return f.below->pMethods->xFileSize(f.below, out);
}
int log_lock(sqlite3_file* file, int level) { return of(file).below->pMethods->xLock(of(file).below, level); }
int log_unlock(sqlite3_file* file, int level) { return of(file).below->pMethods->xUnlock(of(file).below, level); }
int log_reserved(sqlite3_file* file, int* out) { return of(file).below->pMethods->xCheckReservedLock(of(file).below, out); }
int log_control(sqlite3_file* file, int op, void* arg) { return of(file).below->pMethods->xFileControl(of(file).below, op, arg); }
int log_sector(sqlite3_file* file) { return of(file).below->pMethods->xSectorSize(of(file).below); }
int log_traits(sqlite3_file* file) { return of(file).below->pMethods->xDeviceCharacteristics(of(file).below); }

const sqlite3_io_methods log_methods{1, log_close, log_read, log_write, log_truncate, log_sync, log_size, log_lock, log_unlock,
                                     log_reserved, log_control, log_sector, log_traits, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};

int open(sqlite3_vfs* v, const char* name, sqlite3_file* out, int flags, int* out_flags) {
  if ((flags & SQLITE_OPEN_WAL) == 0) return base_of(v)->xOpen(base_of(v), name, out, flags, out_flags);
  auto& f = of(out);
  std::memset(&f, 0, sizeof f);
  f.below = reinterpret_cast<sqlite3_file*>(&f + 1);
  const int rc = base_of(v)->xOpen(base_of(v), name, f.below, flags, out_flags);
  if (rc != SQLITE_OK) return rc;
  f.gathered = new (std::nothrow) std::string;
  if (!f.gathered) {
    f.below->pMethods->xClose(f.below);
    return SQLITE_NOMEM;
  }
  f.face.pMethods = &log_methods;
  return SQLITE_OK;
}
int remove(sqlite3_vfs* v, const char* name, int sync) { return base_of(v)->xDelete(base_of(v), name, sync); }
int access(sqlite3_vfs* v, const char* name, int flags, int* out) { return base_of(v)->xAccess(base_of(v), name, flags, out); }
int full_path(sqlite3_vfs* v, const char* name, int size, char* out) { return base_of(v)->xFullPathname(base_of(v), name, size, out); }
int randomness(sqlite3_vfs* v, int size, char* out) { return base_of(v)->xRandomness(base_of(v), size, out); }
int sleep(sqlite3_vfs* v, int microseconds) { return base_of(v)->xSleep(base_of(v), microseconds); }
int current_time(sqlite3_vfs* v, double* out) { return base_of(v)->xCurrentTime(base_of(v), out); }
int last_error(sqlite3_vfs* v, int size, char* out) { return base_of(v)->xGetLastError(base_of(v), size, out); }

} // namespace

gathering_vfs::gathering_vfs(const std::string& base) : vfs_(std::make_unique<sqlite3_vfs>()) {
  static std::atomic<std::uint64_t> number{0};
  sqlite3_vfs* below = sqlite3_vfs_find(base.empty() ? nullptr : base.c_str());
  if (!below) throw sqlite_error(SQLITE_CANTOPEN, "there is no vfs " + base);
  name_ = "hive-gathering-" + std::to_string(++number);
  *vfs_ = sqlite3_vfs{};
  vfs_->iVersion = 1;
  static_assert(sizeof(log_file) % alignof(std::max_align_t) == 0, "the file below follows this one");
  vfs_->szOsFile = static_cast<int>(sizeof(log_file)) + below->szOsFile;
  vfs_->mxPathname = below->mxPathname;
  vfs_->zName = name_.c_str();
  vfs_->pAppData = below;
  vfs_->xOpen = open;
  vfs_->xDelete = remove;
  vfs_->xAccess = access;
  vfs_->xFullPathname = full_path;
  vfs_->xRandomness = randomness;
  vfs_->xSleep = sleep;
  vfs_->xCurrentTime = current_time;
  vfs_->xGetLastError = last_error;
  sqlite3_vfs_register(vfs_.get(), 0);
}

gathering_vfs::~gathering_vfs() { sqlite3_vfs_unregister(vfs_.get()); }

} // namespace hive::persistence::sqlite
