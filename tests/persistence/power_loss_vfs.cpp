#include "tests/persistence/power_loss_vfs.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>

namespace hive::test {

/// Locks and shared memory of one file: they live in the process and are gone after a power loss.
struct lock_table {
  std::map<const void*, int> levels; // handle -> SQLITE_LOCK_*
  std::vector<std::unique_ptr<std::array<char, 32768>>> shared;
  struct slot {
    std::set<const void*> readers;
    const void* writer = nullptr;
  };
  std::array<slot, SQLITE_SHM_NLOCK> slots;
};

struct disk_file {
  sqlite3_file base; // first: SQLite sees only this
  power_loss_disk* disk;
  std::shared_ptr<power_loss_disk::image>* image;
  std::string* delete_on_close; // the name, or null
};

/// The functions that SQLite calls.
struct disk_calls {
  static disk_file& of(sqlite3_file* f) { return *reinterpret_cast<disk_file*>(f); }
  static power_loss_disk& of(sqlite3_vfs* v) { return *static_cast<power_loss_disk*>(v->pAppData); }

  static int open(sqlite3_vfs* v, const char* name, sqlite3_file* out, int flags, int* out_flags) {
    auto& disk = of(v);
    auto& f = of(out);
    std::memset(&f, 0, sizeof f);
    std::lock_guard lock(disk.guard_);
    static std::atomic<int> unnamed{0};
    const std::string key = name ? name : "temp-" + std::to_string(++unnamed);
    auto& image = disk.files_[key];
    if (!image) {
      if (name && (flags & SQLITE_OPEN_CREATE) == 0) {
        disk.files_.erase(key);
        return SQLITE_CANTOPEN;
      }
      image = std::make_shared<power_loss_disk::image>();
      image->locks = std::make_shared<lock_table>();
    }
    f.disk = &disk;
    f.image = new std::shared_ptr<power_loss_disk::image>(image);
    if ((flags & SQLITE_OPEN_DELETEONCLOSE) != 0 || !name) f.delete_on_close = new std::string(key);
    f.base.pMethods = &methods;
    if (out_flags) *out_flags = flags;
    return SQLITE_OK;
  }
  static int close(sqlite3_file* file) {
    auto& f = of(file);
    std::lock_guard lock(f.disk->guard_);
    (*f.image)->locks->levels.erase(file);
    if (f.delete_on_close) f.disk->files_.erase(*f.delete_on_close);
    delete f.delete_on_close;
    delete f.image;
    return SQLITE_OK;
  }
  static int read(sqlite3_file* file, void* to, int size, sqlite3_int64 offset) {
    auto& f = of(file);
    std::lock_guard lock(f.disk->guard_);
    const std::string& seen = (*f.image)->seen;
    const auto begin = std::min<std::size_t>(static_cast<std::size_t>(offset), seen.size());
    const auto n = std::min(static_cast<std::size_t>(size), seen.size() - begin);
    std::memcpy(to, seen.data() + begin, n);
    if (n == static_cast<std::size_t>(size)) return SQLITE_OK;
    std::memset(static_cast<char*>(to) + n, 0, static_cast<std::size_t>(size) - n);
    return SQLITE_IOERR_SHORT_READ;
  }
  static int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
    auto& f = of(file);
    std::lock_guard lock(f.disk->guard_);
    return f.disk->write(**f.image, data, size, static_cast<std::uint64_t>(offset));
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 length) {
    auto& f = of(file);
    std::lock_guard lock(f.disk->guard_);
    return f.disk->truncate(**f.image, static_cast<std::uint64_t>(length));
  }
  static int sync(sqlite3_file* file, int) {
    auto& f = of(file);
    std::lock_guard lock(f.disk->guard_);
    return f.disk->sync(**f.image);
  }
  static int size(sqlite3_file* file, sqlite3_int64* out) {
    auto& f = of(file);
    std::lock_guard lock(f.disk->guard_);
    *out = static_cast<sqlite3_int64>((*f.image)->seen.size());
    return SQLITE_OK;
  }

  static int lock(sqlite3_file* file, int level) {
    auto& f = of(file);
    std::lock_guard guard(f.disk->guard_);
    auto& levels = (*f.image)->locks->levels;
    for (const auto& [handle, other] : levels) {
      if (handle == file) continue;
      if (level == SQLITE_LOCK_SHARED && other >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
      if (level == SQLITE_LOCK_RESERVED && other >= SQLITE_LOCK_RESERVED) return SQLITE_BUSY;
      if (level == SQLITE_LOCK_EXCLUSIVE && other >= SQLITE_LOCK_SHARED) return SQLITE_BUSY;
    }
    levels[file] = std::max(levels[file], level);
    return SQLITE_OK;
  }
  static int unlock(sqlite3_file* file, int level) {
    auto& f = of(file);
    std::lock_guard guard(f.disk->guard_);
    auto& levels = (*f.image)->locks->levels;
    levels[file] = std::min(levels[file], level);
    return SQLITE_OK;
  }
  static int reserved(sqlite3_file* file, int* out) {
    auto& f = of(file);
    std::lock_guard guard(f.disk->guard_);
    *out = 0;
    for (const auto& [handle, level] : (*f.image)->locks->levels) *out |= level >= SQLITE_LOCK_RESERVED ? 1 : 0;
    return SQLITE_OK;
  }
  static int control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int sector(sqlite3_file*) { return 512; }
  static int traits(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
    auto& f = of(file);
    std::lock_guard guard(f.disk->guard_);
    auto& shared = (*f.image)->locks->shared;
    *out = nullptr;
    if (size != 32768) return SQLITE_IOERR_SHMMAP;
    const auto wanted = static_cast<std::size_t>(page);
    if (wanted >= shared.size() && !extend) return SQLITE_OK;
    while (shared.size() <= wanted) {
      shared.push_back(std::make_unique<std::array<char, 32768>>());
      shared.back()->fill(0);
    }
    *out = shared[wanted]->data();
    return SQLITE_OK;
  }
  static int shm_lock(sqlite3_file* file, int from, int n, int flags) {
    auto& f = of(file);
    std::lock_guard guard(f.disk->guard_);
    auto& slots = (*f.image)->locks->slots;
    const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    const auto begin = slots.begin() + from;
    const auto end = begin + n;
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
      std::for_each(begin, end, [&](auto& s) {
        if (exclusive && s.writer == file) s.writer = nullptr;
        if (!exclusive) s.readers.erase(file);
      });
      return SQLITE_OK;
    }
    const bool taken = std::any_of(begin, end, [&](const auto& s) {
      const bool others_read = s.readers.size() > s.readers.count(file);
      return (s.writer && s.writer != file) || (exclusive && others_read);
    });
    if (taken) return SQLITE_BUSY;
    std::for_each(begin, end, [&](auto& s) {
      if (exclusive) s.writer = file;
      else s.readers.insert(file);
    });
    return SQLITE_OK;
  }
  static void shm_barrier(sqlite3_file* file) {
    std::lock_guard guard(of(file).disk->guard_);
  }
  static int shm_unmap(sqlite3_file* file, int remove) {
    auto& f = of(file);
    std::lock_guard guard(f.disk->guard_);
    for (auto& s : (*f.image)->locks->slots) {
      s.readers.erase(file);
      if (s.writer == file) s.writer = nullptr;
    }
    if (remove) (*f.image)->locks->shared.clear();
    return SQLITE_OK;
  }

  static int remove(sqlite3_vfs* v, const char* name, int) {
    auto& disk = of(v);
    std::lock_guard lock(disk.guard_);
    if (disk.files_.count(name) == 0) return SQLITE_IOERR_DELETE_NOENT;
    disk.spend();
    disk.files_.erase(name);
    return SQLITE_OK;
  }
  static int access(sqlite3_vfs* v, const char* name, int, int* out) {
    auto& disk = of(v);
    std::lock_guard lock(disk.guard_);
    const auto it = disk.files_.find(name);
    *out = it != disk.files_.end() && !it->second->seen.empty() ? 1 : 0;
    return SQLITE_OK;
  }
  static int full_path(sqlite3_vfs*, const char* name, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
  }
  static int random(sqlite3_vfs*, int size, char* out) {
    static std::atomic<std::uint64_t> seed{1};
    random_source r(seed++);
    for (int i = 0; i < size; ++i) out[i] = static_cast<char>(r.next());
    return size;
  }
  static int sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
  static int now(sqlite3_vfs*, double* out) {
    *out = 2461000.0;
    return SQLITE_OK;
  }
  static int last_error(sqlite3_vfs*, int, char*) { return 0; }

  static const sqlite3_io_methods methods;
};

const sqlite3_io_methods disk_calls::methods{2, close, read, write, truncate, sync, size, lock, unlock, reserved, control, sector, traits,
                                             shm_map, shm_lock, shm_barrier, shm_unmap, nullptr, nullptr};

power_loss_disk::power_loss_disk() : vfs_(std::make_unique<sqlite3_vfs>()) {
  static std::atomic<int> number{0};
  name_ = "power-loss-" + std::to_string(++number);
  *vfs_ = sqlite3_vfs{};
  vfs_->iVersion = 1;
  vfs_->szOsFile = sizeof(disk_file);
  vfs_->mxPathname = 512;
  vfs_->zName = name_.c_str();
  vfs_->pAppData = this;
  vfs_->xOpen = disk_calls::open;
  vfs_->xDelete = disk_calls::remove;
  vfs_->xAccess = disk_calls::access;
  vfs_->xFullPathname = disk_calls::full_path;
  vfs_->xRandomness = disk_calls::random;
  vfs_->xSleep = disk_calls::sleep;
  vfs_->xCurrentTime = disk_calls::now;
  vfs_->xGetLastError = disk_calls::last_error;
  sqlite3_vfs_register(vfs_.get(), 0);
}

power_loss_disk::~power_loss_disk() { sqlite3_vfs_unregister(vfs_.get()); }

void power_loss_disk::lose_power_at(std::uint64_t operations) {
  std::lock_guard lock(guard_);
  power_ends_ = operations_ + operations;
}

bool power_loss_disk::powered() const {
  std::lock_guard lock(guard_);
  return !at_cut_;
}

std::uint64_t power_loss_disk::operations() const {
  std::lock_guard lock(guard_);
  return operations_;
}

std::uint64_t power_loss_disk::syncs() const {
  std::lock_guard lock(guard_);
  return syncs_;
}

void power_loss_disk::restore_power(random_source& chance) {
  std::lock_guard lock(guard_);
  if (at_cut_) files_ = std::move(*at_cut_);
  at_cut_.reset();
  power_ends_ = unlimited;
  const auto mood = chance.below(4); // 0: all of the cache reached the disk, as when only the process dies; 1: nothing
  for (auto& [name, file] : files_) {
    auto& f = *file;
    for (auto& c : f.changes) {
      // 0, 1: it reached the disk; 2: not; 3: some of its sectors did
      const auto fate = mood == 0 ? 0 : mood == 1 ? 2 : chance.below(4);
      if (fate == 2) continue;
      if (fate == 3 && !c.truncation) {
        for (std::size_t at = 0; at < c.bytes.size(); at += 512)
          if (chance.one_in(2)) apply(f.durable, {false, c.offset + at, c.bytes.substr(at, 512)});
        continue;
      }
      apply(f.durable, c);
    }
    f.changes.clear();
    f.seen = f.durable;
    f.locks = std::make_shared<lock_table>();
  }
}

void power_loss_disk::fail_sync_after(std::uint64_t n) {
  std::lock_guard lock(guard_);
  sync_fails_ = syncs_ + n;
}

void power_loss_disk::room(std::uint64_t bytes) {
  std::lock_guard lock(guard_);
  room_ = bytes;
}

std::string power_loss_disk::content(const std::string& file) const {
  std::lock_guard lock(guard_);
  const auto it = files_.find(file);
  return it == files_.end() ? std::string{} : it->second->seen;
}

void power_loss_disk::set_content(const std::string& file, std::string bytes) {
  std::lock_guard lock(guard_);
  auto image_of = std::make_shared<image>();
  image_of->durable = bytes;
  image_of->seen = std::move(bytes);
  image_of->locks = std::make_shared<lock_table>();
  files_[file] = std::move(image_of);
}

void power_loss_disk::remove(const std::string& file) {
  std::lock_guard lock(guard_);
  files_.erase(file);
}

std::vector<std::string> power_loss_disk::files() const {
  std::lock_guard lock(guard_);
  std::vector<std::string> names;
  for (const auto& [name, file] : files_) names.push_back(name);
  return names;
}

/// Counts one change. When the power goes, the disk is set aside as it is; the store, which does not know, goes on with
/// a copy whose fate is to be forgotten.
void power_loss_disk::spend() {
  if (!at_cut_ && operations_ >= power_ends_) {
    at_cut_.emplace();
    for (const auto& [name, file] : files_) (*at_cut_)[name] = std::make_shared<image>(*file);
  }
  ++operations_;
}

int power_loss_disk::write(image& file, const void* data, int size, std::uint64_t offset) {
  const auto bytes = static_cast<std::uint64_t>(size);
  const std::uint64_t end = offset + bytes;
  const std::uint64_t growth = end > file.seen.size() ? end - file.seen.size() : 0;
  if (growth > room_) return SQLITE_FULL;
  if (room_ != unlimited) room_ -= growth;
  spend();
  change c{false, offset, std::string(static_cast<const char*>(data), bytes)};
  apply(file.seen, c);
  file.changes.push_back(std::move(c));
  return SQLITE_OK;
}

int power_loss_disk::truncate(image& file, std::uint64_t length) {
  spend();
  change c{true, length, {}};
  apply(file.seen, c);
  file.changes.push_back(std::move(c));
  return SQLITE_OK;
}

int power_loss_disk::sync(image& file) {
  if (syncs_++ == sync_fails_) return SQLITE_IOERR_FSYNC;
  spend();
  file.durable = file.seen;
  file.changes.clear();
  return SQLITE_OK;
}

void power_loss_disk::apply(std::string& to, const change& c) {
  if (c.truncation) {
    if (to.size() > c.offset) to.resize(c.offset);
    return;
  }
  if (to.size() < c.offset + c.bytes.size()) to.resize(c.offset + c.bytes.size(), '\0');
  std::memcpy(to.data() + c.offset, c.bytes.data(), c.bytes.size());
}

} // namespace hive::test
