#include "cluster/former_life.hpp"

#include "config/base/files.hpp"

#include <fstream>
#include <string>

#include <sys/stat.h>

namespace hive::cluster {
namespace {

/// This directory, as no copy of it has it: its lock file, and the start of the machine that the locks of died with.
/// Empty: not to be had.
std::string mark_of(const std::filesystem::path& directory) {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat lock {};
  if (boot.empty() || ::stat((directory / "hive.lock").c_str(), &lock) != 0) return {};
  return boot + " " + std::to_string(lock.st_dev) + ":" + std::to_string(lock.st_ino);
}

} // namespace

former_life read_former_life(const std::filesystem::path& directory) {
  std::uint64_t number = 0;
  std::string mark;
  std::ifstream file(directory / "generation");
  if (!(file >> number)) return {};
  std::getline(file >> std::ws, mark);
  return {node_generation{number}, !mark.empty() && mark == mark_of(directory)};
}

result<void> write_life(const std::filesystem::path& directory, node_generation generation) {
  const auto file = directory / "generation";
  const auto unfinished = directory / "generation.new";
  const auto text = std::to_string(generation.value()) + " " + mark_of(directory) + "\n";
  const int fd = ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  if (!written || ::rename(unfinished.c_str(), file.c_str()) != 0 || sync_directory(directory) != 0)
    return error{errc::unavailable, "generation_file", file.string() + " cannot be written"};
  return {};
}

} // namespace hive::cluster
