#include "runtime/node/memory_limit.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

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
