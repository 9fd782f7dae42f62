// The restart contract as a table: intensity and period, restart types. (R2; the whole contract comes with issue "healing")
#include "actors/supervisor.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

using kind = supervisor_core::decision::kind;
using std::chrono::milliseconds;

supervisor_core make(std::uint32_t intensity, milliseconds period) {
  supervisor_spec s;
  s.intensity = intensity;
  s.period = period;
  return supervisor_core{s};
}

steady_time at(int ms) { return steady_time{milliseconds{ms}}; }

TEST(SupervisorTest, IntensityRestartsAreAllowedAndOneMoreIsNot) {
  auto s = make(3, milliseconds{5000});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(s.on_exit(restart_type::permanent, false, at(i)).what, kind::restart);
  EXPECT_EQ(s.on_exit(restart_type::permanent, false, at(3)).what, kind::escalate);
}

TEST(SupervisorTest, TheWindowSlides) {
  auto s = make(2, milliseconds{1000});
  EXPECT_EQ(s.on_exit(restart_type::permanent, false, at(0)).what, kind::restart);
  EXPECT_EQ(s.on_exit(restart_type::permanent, false, at(900)).what, kind::restart);
  EXPECT_EQ(s.on_exit(restart_type::permanent, false, at(1001)).what, kind::restart) << "the first is out of the window";
  EXPECT_EQ(s.on_exit(restart_type::permanent, false, at(1002)).what, kind::escalate);
}

TEST(SupervisorTest, IntensityZeroAllowsNone) {
  auto s = make(0, milliseconds{1000});
  EXPECT_EQ(s.on_exit(restart_type::permanent, false, at(0)).what, kind::escalate);
}

TEST(SupervisorTest, RestartTypesDecideWhetherAnExitCounts) {
  auto s = make(1, milliseconds{1000});
  EXPECT_EQ(s.on_exit(restart_type::temporary, false, at(0)).what, kind::leave);
  EXPECT_EQ(s.on_exit(restart_type::transient, true, at(0)).what, kind::leave);
  EXPECT_EQ(s.on_exit(restart_type::transient, false, at(0)).what, kind::restart);
  EXPECT_EQ(s.on_exit(restart_type::permanent, true, at(0)).what, kind::escalate) << "permanent restarts on a normal exit too";
}

} // namespace
} // namespace hive::actors
