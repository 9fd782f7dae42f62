/// @file
/// A testkit in a directory of its own, with contexts from the stand-in authenticator.
#pragma once

#include "actors/testkit/testkit.hpp"
#include "tests/support/test_context.hpp"

#include <cstdlib>

namespace hive::test {

class test_contexts final : public context_restorer {
public:
  tenant_context restore(tenant_id tenant, std::string_view principal) override { return context_of(tenant.value(), std::string(principal)); }
};

/// In memory where there is /dev/shm: these tests are about logic, not about disks.
class scratch_dir {
public:
  scratch_dir() {
    std::string pattern = (std::filesystem::exists("/dev/shm") ? std::string("/dev/shm") : std::filesystem::temp_directory_path().string()) + "/hive-test.XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~scratch_dir() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  scratch_dir(const scratch_dir&) = delete;
  scratch_dir& operator=(const scratch_dir&) = delete;
  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

/// The directory goes when the kit is gone.
struct kit_with_dir {
  scratch_dir dir;
  test_contexts contexts;
};

} // namespace hive::test
