/// @file
/// A temporary tree of files, and executors called on it as a node calls them.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/executors/roots.hpp"
#include "tests/support/test_context.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace hive::test {

namespace fs = std::filesystem;

class tree {
public:
  tree() {
    std::string name = (fs::temp_directory_path() / "hive-tree-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    root_ = fs::canonical(name);
    fs::create_directory(path());
    for (const auto& folder : {root_, path()}) fs::permissions(folder, static_cast<fs::perms>(0755));
  }
  ~tree() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  tree(const tree&) = delete;
  tree& operator=(const tree&) = delete;

  /// The allowed directory; `outside` is beside it.
  fs::path path() const { return root_ / "tree"; }
  fs::path outside() const { return root_ / "outside"; }

  void file(const fs::path& relative, const std::string& content) const {
    fs::create_directories((path() / relative).parent_path());
    std::ofstream(path() / relative, std::ios::binary) << content;
  }

private:
  fs::path root_;
};

inline result<payload> call(actors::executor& e, const nlohmann::json& arguments,
                            std::chrono::milliseconds deadline = std::chrono::seconds{20}) {
  static const std::atomic<bool> never{false};
  return e.run({context_of(1), "step-1", {arguments.dump(), content_type::json}, deadline, &never});
}

inline nlohmann::json answer(actors::executor& e, const nlohmann::json& arguments) {
  const auto got = call(e, arguments);
  if (!got) throw std::runtime_error(to_string(got.error()));
  return nlohmann::json::parse(got->bytes);
}

/// What a plain tool says.
inline std::string shell(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string out;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  ::pclose(pipe);
  return out;
}

/// Runs `f` on a thread without the powers of root, so that permissions mean something. The identity of one thread, not
/// of the process.
template <class F> void as_nobody(F f) {
  std::thread([&] {
    if (::geteuid() == 0) ::syscall(SYS_setresuid, -1, 65534, -1);
    f();
  }).join();
}

} // namespace hive::test
