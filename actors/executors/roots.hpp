/// @file
/// Which files steps may touch. Every path is opened piece by piece without following links, below a directory that the
/// settings name: "..", links that lead out, and links swapped in between a check and its use all end at a typed error.
#pragma once

#include "config/base/result.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hive::actors {

/// Owns a file descriptor.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~unique_fd();
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  explicit operator bool() const noexcept { return fd_ >= 0; }

private:
  int fd_ = -1;
};

struct opened_directory {
  unique_fd fd;
  std::string real_path; ///< Without links; what reports show.
};

/// A set of allowed directories. Immutable: any thread.
class roots {
public:
  /// @param setting "files.read_roots": named in refusals.
  roots(std::vector<std::string> allowed, std::string setting);

  /// An existing directory. Links in `path` are followed as long as they end below an allowed directory.
  /// Errors: `invalid_argument` (not absolute, "..", NUL), `permission_denied` (outside), `not_found`, all with
  /// `field`.
  result<opened_directory> open_directory(const std::string& path, const std::string& field) const;

  /// The directory that holds `path`, for writing `path` in it; links are refused on the way. With `create`, missing
  /// directories are made (mode 0755) and synced. @returns it and the last piece of `path`.
  result<std::pair<opened_directory, std::string>> open_parent(const std::string& path, const std::string& field,
                                                               bool create) const;

private:
  std::vector<std::string> allowed_;
  std::string setting_;
};

/// Absolute, in normal form ("/a/b": no empty, "." or ".." pieces, no NUL) once trailing slashes are dropped.
result<std::string> normal_path(std::string_view path, const std::string& field);
/// True when `path` is `root` or lies below it; both in normal form.
bool is_below(std::string_view path, std::string_view root) noexcept;

/// Opens `relative` below `directory` piece by piece, never through a link. @returns -1 and errno, as openat does;
/// ELOOP or ENOTDIR when a link is in the way, EINVAL for "..", "." and empty pieces.
unique_fd open_below(int directory, std::string_view relative, int flags) noexcept;

/// "No such file or directory": strerror without its shared buffer.
std::string errno_text(int number);

} // namespace hive::actors
