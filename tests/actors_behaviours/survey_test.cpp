#include "actors/behaviours/survey/reader.hpp"
#include "tests/actors_behaviours/kit.hpp"

#include <algorithm>
#include <set>

namespace hive::actors {
namespace {

using namespace hive::test;

class SurveyTest : public BehaviourTest {
protected:
  SurveyTest() {
    fs::create_directory(files.outside());
    for (int i = 0; i < 12; ++i)
      files.file("d" + std::to_string(i % 3) + "/f" + std::to_string(i) + ".py",
                 "def f" + std::to_string(i) + "():\n    pass # TODO\n");
    files.file("top.md", "# Title\n");
    fs::create_symlink(".", files.path() / "loop");
  }
  std::unique_ptr<testkit> make_swarm(const testkit::fill& more = {}) {
    auto kit = make(more);
    kit->add_agent("coordinator", "survey.coordinator",
                   {{"readers", {"reader-1", "reader-2"}}, {"window", 2}, {"clock", "clock"}, {"stall_ms", 1000}});
    kit->add_agent("reader-1", "survey.reader");
    kit->add_agent("reader-2", "survey.reader");
    kit->add_agent("clock", "survey.clock");
    return kit;
  }
  json request(const std::string& report) {
    return {{"roots", json::array({files.path().string()})}, {"report_dir", (files.outside() / report).string()}};
  }
  std::string read(const std::string& name) {
    std::ifstream in(files.outside() / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST_F(SurveyTest, ATaskEndsWithTotalsAndAReport) {
  auto kit = make_swarm();
  const auto task = kit->task("coordinator", "survey.run", request("r"));
  ASSERT_EQ(task->at("state"), "succeeded") << task->dump();
  EXPECT_EQ(task->at("result").at("files"), 13);
  EXPECT_EQ(task->at("result").at("folders"), 4);
  EXPECT_EQ(task->at("result").at("lines"), 25);
  const auto report = json::parse(read("r/report.json"));
  EXPECT_EQ(report["totals"]["definitions"], 12);
  EXPECT_EQ(report["markers"], (json{{"TODO", 12}}));
  EXPECT_EQ(report["findings"], (json{{"link loop", 1}}));
  EXPECT_EQ(report["files"].size(), 13U);
  EXPECT_EQ(report["folders"].size(), 4U);
  EXPECT_NE(read("r/report.md").find("loop -> ."), std::string::npos);
  EXPECT_EQ(kit->ask("coordinator", "survey.status", nullptr)->at("state"), "idle");
}

TEST_F(SurveyTest, ReadersRememberAndTheLibrarianFindsFileAndLines) {
  files.file("guide.md", "# Leases\na lease ends unless it is renewed\n\n# Bread\nbread is baked at noon\n");
  auto kit = make_swarm();
  (void)kit->task("coordinator", "survey.run", request("without"));
  kit->add_collection("survey", {{"dimension", 128}});
  kit->add_agent("reader-1", "survey.reader", {{"collection", "survey"}});
  kit->add_agent("reader-2", "survey.reader", {{"collection", "survey"}});
  kit->add_agent("librarian", "survey.librarian", {{"collection", "survey"}});
  for (int run = 0; run < 2; ++run) // again changes nothing
    ASSERT_EQ(kit->task("coordinator", "survey.run", request("with"))->at("state"), "succeeded");
  EXPECT_EQ(read("without/report.json"), read("with/report.json"));
  EXPECT_EQ(kit->collection("survey")->view->size(), 15U) << "twelve files of code, a title, two sections";
  const auto answer = kit->ask("librarian", "ask", {{"question", "when is bread baked"}, {"passages", 1}});
  ASSERT_TRUE(answer) << to_string(answer.error());
  const auto& passage = answer->at("passages")[0];
  EXPECT_EQ(passage.at("file"), (files.path() / "guide.md").string());
  EXPECT_EQ(passage.at("line"), 4);
  EXPECT_EQ(passage.at("last_line"), 5);
  // Anybody may put anything: metadata of other types must not crash who reads it.
  ASSERT_TRUE(kit->put_items("survey", {{{"id", "odd"}, {"text", "zebras graze"}, {"source", "savanna"}, {"metadata", {{"file", 7}, {"line", "x"}, {"last_line", -1}}}}}));
  const auto odd = kit->ask("librarian", "ask", {{"question", "where do zebras graze"}, {"passages", 1}});
  ASSERT_TRUE(odd) << to_string(odd.error());
  EXPECT_EQ(odd->at("passages")[0].at("file"), "savanna");
  EXPECT_EQ(odd->at("passages")[0].at("line"), 0);
  EXPECT_EQ(field_of(kit->ask("librarian", "ask", {{"question", ""}})), "payload.text");
  EXPECT_EQ(field_of(kit->ask("librarian", "ask", {{"question", "x"}, {"filter", {{"a", {{"$bad", 1}}}}}})).substr(0, 14), "payload.filter");
}

TEST_F(SurveyTest, ASurveyGoesOnWhenNothingCanBeRemembered) {
  auto kit = make_swarm();
  kit->add_agent("reader-1", "survey.reader", {{"collection", "absent"}});
  kit->add_agent("reader-2", "survey.reader", {{"collection", "absent"}});
  EXPECT_EQ(kit->task("coordinator", "survey.run", request("r"))->at("state"), "succeeded");
  const auto events = kit->events();
  EXPECT_TRUE(std::any_of(events.begin(), events.end(), [](const auto& e) { return e.first == "survey.not_remembered"; }));
}

TEST_F(SurveyTest, AnotherRunBeginsAfresh) {
  auto kit = make_swarm();
  (void)kit->task("coordinator", "survey.run", request("one"));
  EXPECT_EQ(kit->task("coordinator", "survey.run", request("two"))->at("state"), "succeeded");
  EXPECT_EQ(read("one/report.json"), read("two/report.json"));
  EXPECT_EQ(read("one/report.md"), read("two/report.md"));
  files.file("new.txt", "x\n");
  EXPECT_EQ(kit->task("coordinator", "survey.run", request("two"))->at("result").at("files"), 14);
}

TEST_F(SurveyTest, TheSameReportWhateverCommitThePowerGoesAfter) {
  std::string markdown;
  std::string whole;
  crash_at_every_commit([&] { return make_swarm(); },
                        [&](testkit& kit) {
                          fs::remove_all(files.outside() / "r");
                          (void)kit.ask_until_answered("coordinator", "survey.run", request("r"), "k");
                        },
                        [&](testkit& kit) {
                          EXPECT_EQ(kit.ask("coordinator", "survey.status", nullptr)->at("state"), "idle");
                          if (whole.empty()) {
                            whole = read("r/report.json");
                            markdown = read("r/report.md");
                          }
                          EXPECT_FALSE(whole.empty());
                          EXPECT_EQ(read("r/report.json"), whole);
                          EXPECT_EQ(read("r/report.md"), markdown);
                        });
}

TEST_F(SurveyTest, ASecondSurveyAtTheSameTimeIsRefused) {
  auto kit = make_swarm();
  EXPECT_EQ(kit->ask("coordinator", "survey.run", request("r"))->at("started"), true);
  const auto second = kit->ask("coordinator", "survey.run", request("s"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, "already_running");
}

TEST_F(SurveyTest, StopEndsARunAndTheNextOneIsNotDisturbed) {
  auto kit = make_swarm();
  (void)kit->ask("coordinator", "survey.run", request("r"));
  EXPECT_EQ(kit->ask("coordinator", "survey.stop", nullptr)->at("stopped"), true);
  const auto task = kit->task("coordinator", "survey.run", request("s"));
  EXPECT_EQ(task->at("result").at("files"), 13);
  EXPECT_FALSE(fs::exists(files.outside() / "r/report.md"));
}

TEST_F(SurveyTest, WhatIsNotAllowedFailsByName) {
  auto kit = make_swarm();
  auto bad = request("r");
  bad["roots"] = {"/etc"};
  auto task = kit->task("coordinator", "survey.run", bad);
  EXPECT_EQ(task->at("state"), "failed");
  EXPECT_EQ(task->at("error").at("reason"), "outside_roots");
  bad = request("r");
  bad["report_dir"] = "/etc/hive";
  task = kit->task("coordinator", "survey.run", bad);
  EXPECT_EQ(task->at("error").at("reason"), "outside_roots");
  EXPECT_EQ(field_of(kit->ask("coordinator", "survey.run", {{"roots", json::array()}})), "payload.report_dir");
}

/// Crashes at one file as long as it is told to: that file's message ends as a dead letter.
class stumbling_reader final : public behaviour {
public:
  explicit stumbling_reader(std::string at, const bool& stumbles) : at_(std::move(at)), stumbles_(stumbles) {}
  task<> handle(turn& self, message m) const override {
    if (stumbles_ && m.parse().at("path").get<std::string>().ends_with(at_)) throw std::runtime_error("stumbled");
    co_await good_.handle(self, std::move(m));
  }

private:
  std::string at_;
  const bool& stumbles_;
  survey::reader good_;
};

TEST_F(SurveyTest, AFileThatNoReaderAnswersForIsNamedInTheEnd) {
  const bool always = true;
  auto kit = make_swarm([&](behaviour_registry& b, executor_registry&) {
    b.add("survey.reader", std::make_unique<stumbling_reader>("f7.py", always));
  });
  const auto task = kit->task("coordinator", "survey.run", request("r"));
  ASSERT_EQ(task->at("state"), "succeeded") << task->dump();
  const auto report = json::parse(read("r/report.json"));
  EXPECT_EQ(report["findings"]["lost"], 1);
  EXPECT_EQ(report["totals"]["files"], 13);
  EXPECT_EQ(report["markers"]["TODO"], 11);
}

TEST_F(SurveyTest, ACancelledTaskEndsItsSurveyAndNoOther) {
  const bool always = true;
  auto kit = make_swarm([&](behaviour_registry& b, executor_registry&) { b.add("survey.reader", std::make_unique<stumbling_reader>(".py", always)); });
  const auto made = kit->submit_task({{"agent", "coordinator"}, {"type", "survey.run"}, {"payload", request("s")}});
  kit->run();
  EXPECT_EQ(kit->ask("coordinator", "survey.status", nullptr)->at("state"), "reading");
  const auto id = made->at("id").get<std::string>();
  ASSERT_TRUE(kit->queue("task.cancel", {{"id", id}}));
  kit->run();
  EXPECT_EQ(kit->read_task(id)->at("state"), "cancelled");
  EXPECT_EQ(kit->ask("coordinator", "survey.status", nullptr)->at("state"), "idle");
  EXPECT_FALSE(fs::exists(files.outside() / "s/.report.json.survey.part"));

  (void)kit->ask("coordinator", "survey.run", request("t"));
  EXPECT_EQ(kit->ask("coordinator", "survey.stop", {{"token", "of another run"}})->at("stopped"), false);
  EXPECT_NE(kit->ask("coordinator", "survey.status", nullptr)->at("state"), "idle");
}

TEST_F(SurveyTest, ConfigIsCheckedWhenTheAgentIsMade) {
  auto kit = make();
  const auto refused = kit->admin(
      "directory.apply",
      {{"agents", json::array({{{"name", "c"},
                                {"spec", {{"behaviour", "survey.coordinator"}, {"config", {{"readers", 5}}}}}}})}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "agents[0].spec.config.readers");
}

TEST_F(SurveyTest, ARunThatFailsOrIsStoppedLeavesNoPartOfAReport) {
  auto kit = make_swarm();
  auto bad = request("r");
  bad["roots"].push_back((files.path() / "absent").string());
  const auto task = kit->task("coordinator", "survey.run", bad);
  EXPECT_EQ(task->at("error").at("message").get<std::string>().substr(0, 8), "roots[1]") << task->dump();
  EXPECT_FALSE(fs::exists(files.outside() / "r")) << "nothing is made before the roots were opened";

  const bool always = true;
  kit = make_swarm([&](behaviour_registry& b, executor_registry&) { b.add("survey.reader", std::make_unique<stumbling_reader>(".py", always)); });
  (void)kit->ask("coordinator", "survey.run", request("s"));
  kit->run();
  EXPECT_TRUE(fs::exists(files.outside() / "s/.report.json.survey.part")) << "its place was tried";
  EXPECT_EQ(kit->ask("coordinator", "survey.stop", nullptr)->at("stopped"), true);
  EXPECT_FALSE(fs::exists(files.outside() / "s/.report.json.survey.part"));
}

} // namespace
} // namespace hive::actors
