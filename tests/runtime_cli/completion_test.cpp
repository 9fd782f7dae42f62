#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"

#include <gtest/gtest.h>

namespace hive::cli {
namespace {

TEST(CommandsTest, ResourceWords) {
  const auto all = parse_resources({"agents"});
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].kind, "agents");
  EXPECT_EQ(all[0].name, "");
  const auto named = parse_resources({"agent/a", "supervisor/b", "task", "t1", "t2"});
  ASSERT_EQ(named.size(), 4U);
  EXPECT_EQ(named[1].kind, "supervisors");
  EXPECT_EQ(named[2].name, "t1");
  EXPECT_EQ(named[3].name, "t2");
  EXPECT_EQ(named[3].kind, "tasks");
  EXPECT_THROW(parse_resources({"dogs"}), failure);
  EXPECT_THROW(parse_resources({"agent/"}), failure);
}

TEST(CommandsTest, UniqueWordsDiffer) { EXPECT_NE(unique_word(), unique_word()); }

TEST(CommandsTest, CompletionKnowsCommandsAndOptions) {
  CLI::App app("hivectl");
  session s;
  add_task_commands(app, s);
  const auto script = completion_script(app, "bash");
  EXPECT_NE(script.find("\" task submit\") words="), std::string::npos) << script;
  EXPECT_NE(script.find("--watch"), std::string::npos);
  add_certs_commands(app, s);
  const auto certs = completion_script(app, "bash");
  EXPECT_NE(certs.find("\" certs node\") words="), std::string::npos) << certs;
  EXPECT_NE(certs.find("--force"), std::string::npos);
}

} // namespace
} // namespace hive::cli
