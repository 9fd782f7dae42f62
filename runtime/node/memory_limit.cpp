#include "runtime/node/memory_limit.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// mimalloc's own operators end the process when there is no memory; these say so to whoever asked. `malloc` is mimalloc's.
namespace {
void* or_throw(void* got) {
  if (!got) throw std::bad_alloc();
  return got;
}
void* aligned(std::size_t bytes, std::align_val_t to) {
  const auto step = static_cast<std::size_t>(to);
  return or_throw(std::aligned_alloc(step, (bytes + step - 1) / step * step));
}
} // namespace
void* operator new(std::size_t bytes) { return or_throw(std::malloc(bytes)); }
void* operator new[](std::size_t bytes) { return or_throw(std::malloc(bytes)); }
void* operator new(std::size_t bytes, std::align_val_t to) { return aligned(bytes, to); }
void* operator new[](std::size_t bytes, std::align_val_t to) { return aligned(bytes, to); }
#endif

namespace hive::node {

std::uint64_t memory_there_is() {
  auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE));
  std::ifstream own("/proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    if (line.rfind("0::", 0) != 0) continue; // cgroup 2
    // Each one above bounds it as well.
    for (auto path = line.substr(3);; path.erase(path.rfind('/'))) {
      std::uint64_t most = 0;
      if (std::ifstream file("/sys/fs/cgroup" + path + "/memory.max"); file >> most && most != 0) bytes = std::min(bytes, most);
      if (path.empty() || path == "/") break;
    }
  }
  return bytes;
}

std::uint64_t limit_memory(std::uint32_t percent) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static_cast<void>(percent); // a sanitizer's shadow alone is larger than any machine
  return 0;
#else
  const auto bytes = memory_there_is() / 100 * percent;
  rlimit now{};
  if (::getrlimit(RLIMIT_DATA, &now) != 0) return 0;
  now.rlim_cur = std::min<rlim_t>(bytes, now.rlim_max);
  return ::setrlimit(RLIMIT_DATA, &now) == 0 ? now.rlim_cur : 0;
#endif
}

} // namespace hive::node
