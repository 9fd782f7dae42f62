/// @file
/// Few large writes to the write-ahead log instead of two small ones a page.
///
/// SQLite writes each page of a commit with a call for its header and a call for its content; most of what a batch
/// costs the kernel is those calls. This VFS stands in front of another one and gathers writes to the log that follow
/// each other, until a sync, a read or a write elsewhere needs them to be there. A commit syncs the log before it shows
/// its pages to readers, so nobody ever reads what is still gathered; what a crash takes was not synced.
///
/// @pre the connection runs with synchronous=full. For the writer only.
#pragma once

#include <memory>
#include <string>

struct sqlite3_vfs;

namespace hive::persistence::sqlite {

class gathering_vfs {
public:
  /// @param base empty: SQLite's own. It stays registered longer than this.
  explicit gathering_vfs(const std::string& base);
  gathering_vfs(const gathering_vfs&) = delete;
  gathering_vfs& operator=(const gathering_vfs&) = delete;
  /// @pre no connection uses it.
  ~gathering_vfs();

  const std::string& name() const noexcept { return name_; }

private:
  std::string name_;
  std::unique_ptr<sqlite3_vfs> vfs_;
};

} // namespace hive::persistence::sqlite
