/// @file
/// What every bench needs: options, percentiles, a table for people and JSON lines for scripts.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>
#include <vector>

namespace hive::bench {

using clock = std::chrono::steady_clock;

/// "--name value" pairs; everything else is an error.
class options {
public:
  options(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word.rfind("--", 0) != 0 || i + 1 >= argc) {
        std::fprintf(stderr, "unknown argument %s (options are --name value)\n", argv[i]);
        std::exit(2);
      }
      values_[word.substr(2)] = argv[++i];
    }
  }
  std::string text(const std::string& name, const std::string& otherwise) const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  std::uint64_t number(const std::string& name, std::uint64_t otherwise) const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : std::stoull(found->second);
  }
  static std::uint64_t seed() {
    const char* s = std::getenv("HIVE_SEED");
    return s ? std::stoull(s) : 1;
  }

private:
  std::map<std::string, std::string> values_;
};

/// Microseconds.
struct percentiles {
  double p50 = 0, p95 = 0, p99 = 0, p999 = 0, max = 0;
};

inline percentiles percentiles_of(std::vector<double>& micros) {
  if (micros.empty()) return {};
  std::sort(micros.begin(), micros.end());
  const auto at = [&](double q) { return micros[std::min(micros.size() - 1, static_cast<std::size_t>(q * static_cast<double>(micros.size())))]; };
  return {at(0.50), at(0.95), at(0.99), at(0.999), micros.back()};
}

/// One measured case: a line of the table and a JSON line.
inline void report(const std::string& name, double per_second, const percentiles& p, nlohmann::json extra = nlohmann::json::object()) {
  std::printf("%-44s %12.0f/s   p50 %9.1f  p95 %9.1f  p99 %9.1f  p99.9 %9.1f us\n", name.c_str(), per_second, p.p50, p.p95, p.p99, p.p999);
  extra["case"] = name;
  extra["per_second"] = per_second;
  extra["p50_us"] = p.p50;
  extra["p95_us"] = p.p95;
  extra["p99_us"] = p.p99;
  extra["p999_us"] = p.p999;
  std::printf("%s\n", extra.dump().c_str());
  std::fflush(stdout);
}

/// The same in Erlang/OTP, in a process of its own beside this run: what support/erlang.escript prints for `what`.
/// Null, and said so, when it is not installed or this is not run from the project's root.
inline nlohmann::json erlang(const std::string& what) {
  std::string said;
  if (std::FILE* pipe = ::popen(("escript bench/support/erlang.escript " + what + " 2>/dev/null").c_str(), "r")) {
    char block[256];
    while (std::fgets(block, sizeof block, pipe)) said += block;
    if (::pclose(pipe) != 0) said.clear();
  }
  auto found = nlohmann::json::parse(said, nullptr, false);
  if (!found.is_object()) {
    std::printf("no baseline: erlang-base is not installed, or this is not the project's root\n");
    return nullptr;
  }
  return found;
}

/// CPU time that all threads of this process have used, in seconds: what a busy neighbour on the machine does not change.
inline double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

/// Resident bytes of this process.
inline std::uint64_t resident_bytes() {
  unsigned long total = 0;
  unsigned long resident = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%lu %lu", &total, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

/// A directory of its own on the disk that HIVE_BENCH_DIR (or the current directory) is on: never a RAM disk by accident.
class temp_dir {
public:
  temp_dir() {
    const char* base = std::getenv("HIVE_BENCH_DIR");
    std::string pattern = std::string(base ? base : ".") + "/bench.XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~temp_dir() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  temp_dir(const temp_dir&) = delete;
  temp_dir& operator=(const temp_dir&) = delete;
  const std::string& path() const { return path_; }

private:
  std::string path_;
};

/// The baseline of everything durable here: pwrite of 4 KiB into written blocks, then fdatasync.
inline percentiles raw_fdatasync(const std::string& directory, int rounds = 500) {
  const std::string file = directory + "/raw";
  const int fd = ::open(file.c_str(), O_CREAT | O_RDWR | O_TRUNC, 0600);
  std::vector<char> block(4096, 'x');
  for (int i = 0; i < 64; ++i)
    if (::pwrite(fd, block.data(), block.size(), i * 4096) < 0) std::exit(1);
  ::fsync(fd);
  std::vector<double> micros;
  for (int i = 0; i < rounds; ++i) {
    const auto began = clock::now();
    if (::pwrite(fd, block.data(), block.size(), (i % 64) * 4096) < 0) std::exit(1);
    ::fdatasync(fd);
    micros.push_back(std::chrono::duration<double, std::micro>(clock::now() - began).count());
  }
  ::close(fd);
  ::unlink(file.c_str());
  return percentiles_of(micros);
}

} // namespace hive::bench
