#include "actors/scheduling/task_rows.hpp"

#include <gtest/gtest.h>

namespace hive::actors::scheduling {
namespace {

using json = nlohmann::json;

TEST(TaskRowsTest, RecordAndReportComeBackAsTheyWere) {
  task_record r;
  r.spec.id = task_id{0x1234567890abcdef};
  r.spec.parent = task_id{7};
  r.spec.undo_of = task_id{8};
  r.spec.capability = "read";
  r.spec.complexity = 4;
  r.spec.priority = 1;
  r.spec.submitted = wall_time{std::chrono::milliseconds{1'700'000'000'000}};
  r.spec.deadline = r.spec.submitted + std::chrono::seconds{5};
  r.spec.retry = {7, std::chrono::milliseconds{20}, std::chrono::milliseconds{900}};
  r.spec.needs = {{task_id{3}, false}, {task_id{4}, true}};
  r.spec.undo_agent = entity_id{tenant_id{9}, 77};
  r.spec.group = fan_in::quorum;
  r.spec.quorum = 2;
  r.type = "work";
  r.body = {std::string("a\0b", 3), content_type::binary};
  r.principal = "key:1";
  r.name = "first";
  r.labels = {{"a", "b"}, {"c", ""}};
  r.undo_agent = "cleaner";
  r.undo_type = "undo";
  r.undo_body = {"{}", content_type::json};
  r.begun.state = task_state::running;
  r.begun.attempt = 1;
  r.begun.agent = entity_id{tenant_id{9}, 78};
  const auto back = decode_record(encode(r));
  ASSERT_TRUE(back);
  EXPECT_EQ(encode(*back), encode(r));
  EXPECT_EQ(back->begun.agent, r.begun.agent);
  EXPECT_EQ(back->undo_body, r.undo_body);
  EXPECT_EQ(back->spec.needs.size(), 2U);

  task_report p;
  p.status = r.begun;
  p.status.state = task_state::dead;
  p.status.ended = r.spec.deadline;
  p.status.error = {"why", "because", "field"};
  p.status.refused = 1;
  p.status.past = {{1, "bob", r.spec.submitted, {"receiver_stopped", "it is stopped", ""}}, {2, "", r.spec.deadline, {"no", "not today", "payload.x"}}};
  p.progress = task_progress{1, 2, "half"};
  p.result = payload{"42", content_type::json};
  p.agent = "ann";
  const auto report = decode_report(encode(p));
  ASSERT_TRUE(report);
  EXPECT_EQ(encode(*report), encode(p));
  EXPECT_EQ(report->status.error.field, "field");
  EXPECT_EQ(report->status.refused, 1U);
  EXPECT_EQ(report->status.past.back().error.field, "payload.x");
}

TEST(TaskRowsTest, LentAttemptsComeBackAsTheyWere) {
  task_record r;
  r.spec.id = task_id{1};
  r.lent_by = task_id{5};
  r.spec.parent = task_id{6};
  r.shown_parent = task_id{7};
  r.begun.state = task_state::running;
  r.begun.agent = entity_id{tenant_id{9}, 78};
  r.begun.lent = 14;
  const auto back = decode_record(encode(r));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->lent_by, task_id{5});
  EXPECT_EQ(back->parent(), task_id{7});
  EXPECT_EQ(back->begun.lent, 14);
  EXPECT_EQ(back->begun.shown(), task_state::running);
  task_report p;
  p.status = r.begun;
  p.status.held_up = true;
  const auto report = decode_report(encode(p));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->status.shown(), task_state::queued) << "it waits for its agent, there";
}

TEST(TaskRowsTest, RowsFromBeforeThereWerePartitionsAreRead) {
  task_report p; // a report of then, byte by byte: format, has, tenant; state, has, ending, attempt, agent, started; agent's name
  p.status.state = task_state::running;
  p.status.attempt = 2;
  p.status.agent = entity_id{tenant_id{9}, 78};
  p.status.started = wall_time{std::chrono::milliseconds{5}};
  p.agent = "ann";
  const std::string then("\x01\x00\x09\x02\x00\x01\x02\x4e\x05\x03" "ann", 13);
  EXPECT_EQ(encode(p), then);
  const auto report = decode_report(then);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->status.lent, 0);
  EXPECT_EQ(report->status.agent, p.status.agent);
  EXPECT_EQ(partition_of(task_id{(std::uint64_t{1'700'000'000'000} << 20U) + 9'999}), 0U) << "the last of many submitted in one millisecond";
}

TEST(TaskRowsTest, ARequestSaysWhoDecidesItsPartition) {
  const auto route = [](const char* text) { return route_of(*submit_from_json(json::parse(text))); };
  EXPECT_EQ(route(R"({"agent":"a","type":"x"})"), "agent/a");
  EXPECT_EQ(route(R"({"capability":"c","type":"x"})"), "");
  EXPECT_EQ(route(R"({"policy":"all","tasks":[{"agent":"a","type":"x"}]})"), "");
  EXPECT_EQ(route(R"({"agent":"a","type":"x","depends_on":["t0000000000000007"]})"), "task/t0000000000000007");
  EXPECT_EQ(route(R"({"agent":"a","type":"x","parent":"t0000000000000009","depends_on":["t0000000000000007"]})"), "task/t0000000000000009");
  EXPECT_EQ(route(R"({"tasks":[{"agent":"a","type":"x","name":"n"},{"agent":"b","type":"x","depends_on":["n"]}]})"), "");
}

TEST(TaskRowsTest, CutRowsAreRefused) {
  task_record r;
  r.spec.id = task_id{1};
  r.agent = "ann";
  r.type = "x";
  r.labels = {{"a", "b"}};
  const auto whole = encode(r);
  for (std::size_t n = 1; n < whole.size() - 5; ++n) EXPECT_FALSE(decode_record(whole.substr(0, n))) << n;
}

TEST(TaskRowsTest, SimpleTaskCostsFewBytesBesideItsPayload) {
  task_record r;
  r.spec.id = task_id{1'700'000'000'000ULL << 20U};
  r.spec.agent = entity_id{tenant_id{3}, 1000};
  r.spec.submitted = wall_time{std::chrono::milliseconds{1'700'000'000'000}};
  r.agent = "reader-17";
  r.type = "read";
  r.principal = "key:abcdef";
  r.begun.state = task_state::running;
  r.begun.attempt = 1;
  r.begun.agent = r.spec.agent;
  EXPECT_LE(encode(r).size(), 80U);
}

TEST(TaskRowsTest, IdsAreTextThatSortsByTime) {
  EXPECT_EQ(to_text(task_id{255}), "t00000000000000ff");
  EXPECT_EQ(task_id_from("t00000000000000ff"), task_id{255});
  for (const char* bad : {"", "t", "t00000000000000f", "x00000000000000ff", "t00000000000000fF", "t00000000000000ff0"}) EXPECT_FALSE(task_id_from(bad)) << bad;
  EXPECT_LT(spec_key(task_id{1}), state_key(task_id{1}));
  EXPECT_LT(state_key(task_id{1}), spec_key(task_id{2}));
}

TEST(TaskRowsTest, WrongRequestsNameTheMember) {
  const std::vector<std::pair<json, std::string>> table{
    {{{"agent", "a"}}, "type"},
    {{{"type", "x"}}, "agent"},
    {{{"type", "x"}, {"agent", "a"}, {"capability", "b"}}, "agent"},
    {{{"type", "x"}, {"agent", "A B"}}, "agent"},
    {{{"type", "x"}, {"agent", 3}}, "agent"},
    {{{"type", "x"}, {"agent", "a"}, {"priority", 6}}, "priority"},
    {{{"type", "x"}, {"agent", "a"}, {"priority", 0}}, "priority"},
    {{{"type", "x"}, {"capability", "a"}, {"complexity", 10}}, "complexity"},
    {{{"type", "x"}, {"agent", "a"}, {"deadline_ms", 99999999999}}, "deadline_ms"},
    {{{"type", "x"}, {"agent", "a"}, {"retry", {{"attempts", 0}}}}, "retry.attempts"},
    {{{"type", "x"}, {"agent", "a"}, {"retry", {{"backoff_ms", 50}, {"backoff_max_ms", 10}}}}, "retry.backoff_max_ms"},
    {{{"type", "x"}, {"agent", "a"}, {"depends_on", {"nobody"}}}, "depends_on"},
    {{{"type", "x"}, {"agent", "a"}, {"undo", {{"type", "u"}}}}, "undo"},
    {{{"type", "x"}, {"agent", "a"}, {"payload_type", "binary"}, {"payload", "%"}}, "payload"},
    {{{"type", "x"}, {"agent", "a"}, {"labels", {{"n", 1}}}}, "labels.n"},
    {{{"type", "x"}, {"agent", "a"}, {"parent", "p"}}, "parent"},
    {{{"tasks", json::array()}}, "tasks"},
    {{{"tasks", {{{"type", "x"}, {"agent", "a"}}, {{"agent", "a"}}}}}, "tasks[1].type"},
    {{{"tasks", {{{"type", "x"}, {"agent", "a"}}}}, {"policy", "some"}}, "policy"},
    {{{"tasks", {{{"type", "x"}, {"agent", "a"}}}}, {"policy", "quorum"}, {"quorum", 2}}, "quorum"},
    {{{"tasks", {{{"type", "x"}, {"agent", "a"}, {"name", "n"}}, {{"type", "x"}, {"agent", "a"}, {"name", "n"}}}}}, "tasks[1].name"},
    {{{"tasks", {{{"type", "x"}, {"agent", "a"}, {"name", "n"}, {"depends_on", {"m"}}}, {{"type", "x"}, {"agent", "a"}, {"name", "m"}, {"depends_on", {"n"}}}}}},
     "tasks[0].depends_on"},
  };
  for (const auto& [body, field] : table) {
    const auto r = submit_from_json(body);
    ASSERT_FALSE(r) << body;
    EXPECT_EQ(r.error().field, field) << body << " " << r.error().message;
  }
  const auto good = submit_from_json({{"type", "x"}, {"agent", "a"}, {"payload", {1, 2}}, {"deadline_ms", 10}, {"retry", {{"attempts", 3}}}, {"labels", {{"n", "v"}}}});
  ASSERT_TRUE(good);
  const auto again = decode_submit(encode(*good));
  ASSERT_TRUE(again);
  EXPECT_EQ(encode(*again), encode(*good));
}

} // namespace
} // namespace hive::actors::scheduling
