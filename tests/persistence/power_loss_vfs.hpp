/// @file
/// A disk in memory that loses power. What was written and not synced sits in a cache; when the power goes, each cached
/// write survives whole, in part, or not at all, as the seed says. Names of files are durable at once.
///
/// A SQLite VFS: `open_sqlite({.vfs = disk.name()})` runs on it unchanged. Every operation that changes the disk
/// counts; `lose_power_at(n)` lets n of them happen. The store is not told: it goes on with a disk that will be forgotten,
/// so whoever drives it asks `powered()` after each step, and counts as acknowledged only what came back before.
#pragma once

#include "config/base/random.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

struct sqlite3_vfs;

namespace hive::test {

class power_loss_disk {
public:
  power_loss_disk();
  power_loss_disk(const power_loss_disk&) = delete;
  power_loss_disk& operator=(const power_loss_disk&) = delete;
  ~power_loss_disk();

  /// Registered with SQLite for as long as the disk lives.
  const std::string& name() const noexcept { return name_; }

  /// The power goes after `operations` more writes, truncations, deletions and syncs.
  void lose_power_at(std::uint64_t operations);
  bool powered() const;
  /// What happened so far, to know how far `lose_power_at` can go.
  std::uint64_t operations() const;
  /// The disk as the power left it: drops, tears or keeps each unsynced write by `chance`. @pre no connection is open.
  void restore_power(random_source& chance);

  /// The `n`-th sync from now (0: the next one) fails with an input/output error, once.
  void fail_sync_after(std::uint64_t n);
  /// Files may grow by `bytes` more in all; then the disk is full. `unlimited` ends it.
  void room(std::uint64_t bytes);
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};

  /// The bytes of a file as a process sees them; for damage made by hand.
  std::string content(const std::string& file) const;
  void set_content(const std::string& file, std::string bytes);
  void remove(const std::string& file);
  std::vector<std::string> files() const;
  std::uint64_t syncs() const;

private:
  friend struct disk_calls;
  friend struct disk_file;
  struct change {
    bool truncation = false;
    std::uint64_t offset = 0; // or the new length
    std::string bytes;
  };
  struct image {
    std::string durable;         // what survives for sure
    std::string seen;            // what reads give: durable, and the changes in order
    std::vector<change> changes; // since the last sync
    std::shared_ptr<struct lock_table> locks;
  };

  void spend();
  int write(image& file, const void* data, int size, std::uint64_t offset);
  int truncate(image& file, std::uint64_t length);
  int sync(image& file);
  static void apply(std::string& to, const change& c);

  mutable std::mutex guard_;
  std::map<std::string, std::shared_ptr<image>> files_;
  std::optional<std::map<std::string, std::shared_ptr<image>>> at_cut_; // the disk when the power went
  std::uint64_t operations_ = 0;
  std::uint64_t power_ends_ = unlimited;
  std::uint64_t sync_fails_ = unlimited;
  std::uint64_t syncs_ = 0;
  std::uint64_t room_ = unlimited;
  std::string name_;
  std::unique_ptr<sqlite3_vfs> vfs_;
};

} // namespace hive::test
