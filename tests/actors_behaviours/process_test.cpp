#include "actors/executors/process.hpp"
#include "tests/actors_behaviours/tree.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

using namespace hive::test;
using nlohmann::json;

class ProcessTest : public ::testing::Test {
protected:
  tree files;
  process run{{"/bin/sh", "/bin/cat", "/bin/true", "/nonexistent/program"},
              roots({files.path().string()}, "files.read_roots"),
              1024 * 1024};

  json sh(const std::string& script, json more = json::object()) {
    more["argv"] = {"/bin/sh", "-c", script};
    return answer(run, more);
  }
  error refusal(const json& arguments) { return call(run, arguments).error(); }
};

TEST_F(ProcessTest, AnswersWhatTheProgramSaid) {
  const auto got = sh("echo out; echo err >&2; exit 3");
  EXPECT_EQ(
      got,
      (json{{"exit_code", 3}, {"signal", nullptr}, {"stdout", "out\n"}, {"stderr", "err\n"}, {"truncated", false}}));
  EXPECT_EQ(sh("kill -9 $$")["signal"], 9);
  EXPECT_EQ(answer(run, {{"argv", {"/bin/cat"}}, {"stdin", std::string(300'000, 'x')}, {"output_bytes", 10}})["stdout"],
            "xxxxxxxxxx");
  EXPECT_EQ(answer(run, {{"argv", {"/bin/true"}}, {"stdin", std::string(300'000, 'x')}})["exit_code"], 0)
      << "a program may leave its input unread";
}

TEST_F(ProcessTest, OutputIsCutAtItsBound) {
  const auto got = sh("head -c 200000 /dev/zero; echo done >&2", {{"output_bytes", 100'000}});
  EXPECT_TRUE(got["truncated"].get<bool>());
  EXPECT_LE(got.dump().size(), 1024U * 1024U);
  EXPECT_EQ(got["stderr"], "done\n");
}

TEST_F(ProcessTest, TimeoutKillsTheWholeGroup) {
  const auto begin = std::chrono::steady_clock::now();
  const auto pid_file = (files.path() / "pid").string();
  const auto got = call(run, {{"argv", {"/bin/sh", "-c", "sleep 30 & echo $! > " + pid_file + "; wait"}}},
                        std::chrono::milliseconds{300});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason, "process_timeout");
  EXPECT_EQ(got.error().code, errc::unknown);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{10});
  std::this_thread::sleep_for(std::chrono::milliseconds{50});
  const std::string state = shell("ps -o stat= -p $(cat " + pid_file + ")");
  EXPECT_TRUE(state.empty() || state[0] == 'Z') << state;
}

TEST_F(ProcessTest, DoesNotWaitForWhatTheProgramLeavesBehind) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(sh("sleep 30 & echo started")["stdout"], "started\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{10});
}

TEST_F(ProcessTest, EnvironmentIsAShortList) {
  ::setenv("HIVE_TEST_SECRET", "do not pass on", 1);
  const auto got = sh("env", {{"env", {{"TZ", "UTC"}, {"HIVE_NAME", "x"}}}})["stdout"].get<std::string>();
  EXPECT_EQ(got.find("SECRET"), std::string::npos);
  EXPECT_NE(got.find("TZ=UTC\n"), std::string::npos);
  EXPECT_NE(got.find("HIVE_STEP_KEY=step-1\n"), std::string::npos);
  const json argv{"/bin/true"};
  EXPECT_EQ(refusal({{"argv", argv}, {"env", {{"LD_PRELOAD", "x"}}}}).reason, "variable_not_allowed");
  EXPECT_EQ(refusal({{"argv", argv}, {"env", {{"HIVE_STEP_KEY", "x"}}}}).reason, "variable_not_allowed");
  EXPECT_EQ(refusal({{"argv", argv}, {"env", {{"TZ", 1}}}}).field, "env.TZ");
}

TEST_F(ProcessTest, OnlyAllowedProgramsInAllowedFolders) {
  EXPECT_EQ(refusal({{"argv", {"/bin/ls"}}}).reason, "program_not_allowed");
  EXPECT_EQ(refusal({{"argv", {"sh"}}}).reason, "program_not_allowed");
  EXPECT_EQ(refusal({{"argv", {"/bin/../bin/sh"}}}).reason, "program_not_allowed");
  EXPECT_EQ(refusal({{"argv", json::array()}}).field, "argv");
  EXPECT_EQ(refusal({{"argv", {"/bin/sh", std::string("a\0b", 3)}}}).field, "argv[1]");
  EXPECT_EQ(refusal({{"argv", {"/nonexistent/program"}}}).reason, "program_not_started");
  EXPECT_EQ(refusal({{"argv", {"/bin/true"}}, {"cwd", "/etc"}}).reason, "outside_roots");
  EXPECT_EQ(sh("pwd", {{"cwd", files.path().string()}})["stdout"], files.path().string() + "\n");
  EXPECT_EQ(sh("pwd")["stdout"], "/\n");
}

} // namespace
} // namespace hive::actors
