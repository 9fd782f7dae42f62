#include "vector/kernels/variants.hpp"

#include "config/base/log.hpp"

#include <array>
#include <cstdlib>
#include <string_view>

namespace hive::vector::kernels {
namespace {

struct choice {
  std::array<const table*, 3> all{};
  std::size_t count = 0;
  choice() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni")) all[count++] = &avx512_table;
    if (__builtin_cpu_supports("avx2")) all[count++] = &avx2_table;
#endif
    all[count++] = &portable_table;
  }
};

const choice& choices() {
  static const choice made;
  return made;
}

const table& choose() {
  const auto& c = choices();
  if (const char* wanted = std::getenv("HIVE_KERNELS"))
    for (std::size_t i = 0; i < c.count; ++i)
      if (std::string_view{wanted} == c.all[i]->name) return *c.all[i];
  if (const char* wanted = std::getenv("HIVE_KERNELS"))
    log::warn("HIVE_KERNELS names no kernels that this machine can run; the best are used", {{"wanted", wanted}, {"used", c.all[0]->name}});
  return *c.all[0];
}

} // namespace

const table& best() {
  static const table& chosen = choose();
  return chosen;
}

std::span<const table* const> available() { return {choices().all.data(), choices().count}; }

} // namespace hive::vector::kernels
