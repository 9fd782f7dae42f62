#include "runtime/cli/render.hpp"

#include <gtest/gtest.h>

namespace hive::cli {
namespace {

using nlohmann::json;

TEST(RenderTest, TreeIsDrawnWithStatus) {
  const auto tree = json::parse(R"({"tenant":"demo","entities":4,"root":{"kind":"supervisor","strategy":"one_for_one",
    "status":{"status":"running","incarnation":1},"children":[
      {"kind":"supervisor","name":"readers","strategy":"one_for_one","children":[
        {"kind":"agent","name":"reader-1","behaviour":"survey_reader","status":{"status":"waiting","incarnation":3,"restarts":2,"mailbox":5,"last_error":"boom"}}]},
      {"kind":"agent","name":"echo","behaviour":"echo","status":{"status":"idle"}}]}})");
  EXPECT_EQ(render_tree(tree, false), "TREE            KIND           STATUS   INCARNATION  RESTARTS  MAILBOX  LAST ERROR\n"
                                      "demo            one_for_one    running  1            0         0\n"
                                      "├─ readers      one_for_one    -        0            0         0\n"
                                      "│  └─ reader-1  survey_reader  waiting  3            2         5        boom\n"
                                      "└─ echo         echo           idle     0            0         0\n");
}

TEST(RenderTest, TruncatedTreeSaysSo) {
  EXPECT_NE(render_tree(json::parse(R"({"tenant":"d","root":{},"entities":1000,"truncated":true})"), false).find("--limit"),
            std::string::npos);
}

TEST(RenderTest, ChangesWithSums) {
  const auto applied = json::parse(R"({"created":1,"updated":0,"unchanged":1,"entities":[
    {"kind":"agent","name":"a","change":"created","revision":1},{"kind":"agent","name":"b","change":"unchanged","revision":4}]})");
  EXPECT_EQ(render_changes(applied, false, false),
            "KIND   NAME  CHANGE   REVISION\nagent  a     created  1\n1 created, 0 updated, 1 unchanged\n");
  EXPECT_NE(render_changes(applied, true, false).find("agent  b     unchanged  4"), std::string::npos);
}

TEST(RenderTest, ListsSurviveMissingMembers) {
  for (const char* kind : {"agents", "supervisors", "tasks", "tenants", "keys"}) {
    EXPECT_NE(render_list(kind, json::parse("[{}, {\"name\": null}, 3]"), 0, false), "");
    EXPECT_EQ(render_list(kind, json::array(), 0, false), "no " + std::string(kind) + "\n");
  }
}

TEST(RenderTest, WhatIsDownWithItsSupervisorSaysWithWhich) {
  const auto agents = json::parse(R"([{"name":"a","spec":{"behaviour":"echo","supervisor":"s"},"status":{"status":"stopped","stopped_by":"supervisor/top"}},
    {"name":"b","spec":{"behaviour":"echo"},"status":{"status":"stopped","stopped_by":""}}])");
  const auto text = render_list("agents", agents, 0, false);
  EXPECT_NE(text.find("stopped (supervisor/top)  "), std::string::npos) << text;
  EXPECT_EQ(text.find("()"), std::string::npos) << text;
}

TEST(RenderTest, TenantsShowTheirWeightAndPartitions) {
  EXPECT_EQ(render_list("tenants", json::parse(R"([{"name":"a","id":1,"spec":{"weight":5,"queue_partitions":4}},{"name":"b","id":2,"spec":{}}])"), 0, false),
            "NAME  ID  WEIGHT  QUEUE  DESCRIPTION\na     1   5       4      -\nb     2   1       1      -\n");
}

TEST(RenderTest, TasksShowProgressAndTime) {
  const auto tasks = json::parse(R"([{"id":"t1","agent":"survey","type":"run","state":"running","started_at":1000,
    "submitted_at":1000,"progress":{"done":3,"total":9},"attempts":1}])");
  const auto text = render_list("tasks", tasks, 66'000, false);
  EXPECT_NE(text.find("3/9"), std::string::npos) << text;
  EXPECT_NE(text.find("1 min 5 s"), std::string::npos) << text;
}

TEST(RenderTest, ObjectsAreIndented) {
  EXPECT_EQ(render_object(json::parse(R"({"a":1,"b":{"c":"x","d":[]},"e":["p","q"],"f":null})")),
            "a: 1\nb:\n  c: x\n  d: none\ne: p, q\nf: -\n");
}

TEST(RenderTest, EventFitsTheWidth) {
  const auto event = json::parse(R"({"at":1700000000000,"type":"task.progress","source":"queue/default"})");
  auto long_event = event;
  long_event["data"] = {{"note", std::string(500, 'x')}};
  EXPECT_LE(display_width(render_event(long_event, 90, false)), 91U);
  EXPECT_EQ(render_event(event, 90, false), "22:13:20  task.progress  queue/default  \n");
}

TEST(RenderTest, FailedTaskNamesReason) {
  const auto text = render_task(json::parse(R"({"id":"t1","state":"failed","started_at":1000,"ended_at":3500,"attempts":3,
    "error":{"reason":"agent_crashed","message":"boom"}})"), false);
  EXPECT_EQ(text, "task t1 failed after 2 s, at attempt 3\nagent_crashed: boom\n");
  const auto tried = render_task(json::parse(R"({"id":"t1","state":"dead","attempts":2,"error":{"reason":"no","message":"x"},
    "past_attempts":[{"number":1,"agent":"ann","ended_at":1700000000000,"error":{"reason":"late","message":"too slow"}}]})"), false);
  EXPECT_EQ(tried, "task t1 dead, at attempt 2\nattempt 1 by ann, until 2023-11-14 22:13:20: late: too slow\nno: x\n");
}

} // namespace
} // namespace hive::cli
