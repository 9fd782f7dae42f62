/// @file
/// One data directory, one process.
#pragma once

#include "config/base/result.hpp"

#include <filesystem>

namespace hive::persistence::sqlite {

/// Held for as long as the object lives; the kernel lets go of it when the process dies.
class directory_lock {
public:
  /// Makes the directory (mode 0700) if it is absent.
  /// @returns `failed_precondition` naming the process that holds it, or that it cannot be used.
  static result<directory_lock> take(const std::filesystem::path& directory);

  directory_lock(directory_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  directory_lock& operator=(directory_lock&&) = delete;
  ~directory_lock();

private:
  explicit directory_lock(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

} // namespace hive::persistence::sqlite
