/// @file
/// What the standard library lacks for files that must survive a loss of power.
#pragma once

#include "config/base/error.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace hive {

/// Makes the names in a directory durable. @returns 0, or the error's number.
inline int sync_directory(const std::filesystem::path& directory) noexcept {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int rc = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return rc;
}

/// A full disk passes, and nobody but its owner can do anything about it: who meets one waits, under this name everywhere.
inline bool is_no_space(int number) noexcept { return number == ENOSPC || number == EDQUOT; }
inline error no_space(const std::filesystem::path& file) {
  return {errc::unavailable, "no_space", "no space is left for " + file.string() + ": free some; the hive goes on by itself", {}, std::chrono::seconds{1}};
}

} // namespace hive
