#include "persistence/sqlite/directory_lock.hpp"

#include "config/base/files.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hive::persistence::sqlite {
namespace {

error unusable(const std::filesystem::path& what, const char* doing, int number) {
  if (is_no_space(number)) return no_space(what);
  return {errc::failed_precondition, "data_dir_unusable",
          std::string(doing) + " " + what.string() + " failed: " + std::strerror(number) + "; check the path, its owner and its mode",
          "data_dir", {}};
}

std::string holder_of(int fd) {
  std::array<char, 32> text{};
  const ssize_t n = ::pread(fd, text.data(), text.size() - 1, 0);
  std::string pid(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!pid.empty() && (pid.back() == '\n' || pid.back() == '\0')) pid.pop_back();
  return pid.empty() ? "another process" : "process " + pid;
}

} // namespace

result<directory_lock> directory_lock::take(const std::filesystem::path& directory) {
  std::error_code ec;
  if (!std::filesystem::is_directory(directory, ec)) {
    if (directory.has_parent_path()) std::filesystem::create_directories(directory.parent_path(), ec);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return unusable(directory, "making", errno);
    if (directory.has_parent_path()) sync_directory(directory.parent_path());
  }
  const auto file = directory / "hive.lock";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return unusable(file, "opening", errno);
  directory_lock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return unusable(file, "locking", errno);
    return error{errc::failed_precondition, "data_dir_in_use",
                 directory.string() + " is in use by " + holder_of(fd) + ": stop it first, or name another directory", "data_dir", {}};
  }
  // Only for people and for the message above; the lock itself is the kernel's.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) std::ignore = errno; // a full disk must not stop the start
  return lock;
}

directory_lock::~directory_lock() {
  if (fd_ >= 0) ::close(fd_);
}

} // namespace hive::persistence::sqlite
