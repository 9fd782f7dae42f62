#include "actors/behaviours/survey/progress.hpp"
#include "actors/behaviours/survey/report.hpp"
#include "actors/behaviours/survey/summary.hpp"

#include <gtest/gtest.h>

namespace hive::actors::survey {
namespace {

json result_of(std::uint64_t bytes, std::uint64_t lines, std::string language = "C++") {
  return {{"status", "ok"}, {"language", std::move(language)},       {"bytes", bytes},
          {"lines", lines}, {"definitions", {{"function", 2}}},      {"markers", {{"TODO", 1}}},
          {"headings", 0},  {"terms", json::array({{"mailbox", 3}})}};
}

class SummaryTest : public ::testing::Test {
protected:
  summary s;
  std::vector<folder_sum> closed;
  void add(const std::string& path, const json& result) {
    s.add_file("/r", path, result, closed);
    s = summary::decode(s.encode()); // as between two pages
  }
  const folder_sum& folder(const std::string& path) {
    for (const auto& f : closed)
      if (f.path == path) return f;
    throw std::runtime_error("no folder " + path);
  }
};

TEST_F(SummaryTest, FoldersAddUpWithEverythingBelowThem) {
  add("a", result_of(1, 1));
  add("x/b", result_of(10, 2));
  add("x/y/z/c", result_of(100, 3));
  add("x2/d", result_of(1000, 4));
  s.close_all(closed);
  ASSERT_EQ(closed.size(), 5U);
  EXPECT_EQ(folder("/r").sum.files, 4U);
  EXPECT_EQ(folder("/r").own_files, 1U);
  EXPECT_EQ(folder("/r").sum.bytes, 1111U);
  EXPECT_EQ(folder("/r/x").sum.bytes, 110U);
  EXPECT_EQ(folder("/r/x/y").own_files, 0U);
  EXPECT_EQ(folder("/r/x/y/z").depth, 3U);
  EXPECT_EQ(folder("/r/x2").sum.lines, 4U);
  EXPECT_EQ(s.all.bytes, 1111U);
  EXPECT_EQ(s.all.terms.at("mailbox"), 12U);
  EXPECT_EQ(s.largest.front().path, "/r/x2/d");
  EXPECT_EQ(s.markers.at("TODO"), 4U);
}

TEST_F(SummaryTest, FindingsAreCountedAndTheFirstAreNamed) {
  for (int i = 0; i < 100; ++i)
    add("b" + std::to_string(i), {{"status", "binary"}, {"language", "gzip archive"}, {"bytes", 5}, {"lines", 1}});
  s.add_other("/r/loop", {{"kind", "link"}, {"state", "loop"}, {"to", ".."}});
  EXPECT_EQ(s.findings.at("binary").count, 100U);
  EXPECT_EQ(s.findings.at("binary").first.size(), 30U);
  EXPECT_EQ(s.findings.at("binary").first[0], "/r/b0 (gzip archive)");
  EXPECT_EQ(s.findings.at("link loop").first[0], "/r/loop -> ..");
  EXPECT_EQ(s.all.lines, 100U);
  EXPECT_EQ(s.text_lines, 0U);
}

TEST_F(SummaryTest, StaysSmallOnLargeTrees) {
  for (int i = 0; i < 3000; ++i) {
    auto r = result_of(10, 1, "Language" + std::to_string(i % 30));
    r["terms"] = json::array({{"term" + std::to_string(i), 1}, {"other" + std::to_string(i), 2}});
    s.add_file("/r", "folder" + std::to_string(i / 3) + "/deep/file" + std::to_string(i), r, closed);
  }
  EXPECT_LT(s.encode().size(), 400'000U);
  EXPECT_LE(s.table.size(), 60U);
  s.close_all(closed);
  EXPECT_EQ(s.folders_closed, 2001U);
  EXPECT_EQ(s.all.files, 3000U);
}

TEST_F(SummaryTest, ReportIsSafeForAnyName) {
  order o;
  o.roots = {"/r"};
  add("a|b`c\nd", result_of(1, 1));
  s.close_all(closed);
  progress p;
  p.files = 1;
  p.folders = 1;
  const std::string text = report_markdown(o, p, s);
  EXPECT_NE(text.find("a\\|b`c"), std::string::npos);
  file_row row{0, "a\xff", R"({"status":"ok"})"};
  const auto item = json::parse(report_json_file(o, row));
  EXPECT_EQ(item["path"], "/r/a\\xff");
  EXPECT_EQ(item["path_bytes"]["hex"], "2f722f61ff");
  const std::string whole = report_json_head(o, p, s) + report_json_list("folders", true) + "\n{}" +
                            report_json_list("others", false) + report_json_list("files", false) + "\n" +
                            report_json_file(o, row) + report_json_end();
  EXPECT_EQ(json::parse(whole)["totals"]["files"], 1);
}

TEST(ProgressTest, SurvivesItsEncoding) {
  progress p = progress::begin(7, phase::reading);
  p.token = "t";
  p.files = 100'000;
  p.out = {{5, 0}, {6, 1}, {7, 1}};
  p.first_item = false;
  progress q = progress::decode(p.encode());
  EXPECT_EQ(q.encode(), p.encode());
  EXPECT_EQ(q.least_loaded(3), 2U);
  EXPECT_TRUE(q.settle(6));
  EXPECT_FALSE(q.settle(6)) << "a repeat";
  EXPECT_EQ(q.out.size(), 2U);
  EXPECT_THROW((void)progress::decode("garbage"), std::runtime_error);
}

TEST(ProgressTest, RowsSortInTheOrderOfTheWalk) {
  EXPECT_LT(row_key("f/", 99), row_key("f/", 100));
  EXPECT_EQ(row_key("f/", 42), "f/0000000042");
}

class OrderTest : public ::testing::Test {
protected:
  static order from(const json& body, const json& config = json::object()) {
    return order::from_message({"survey.run", {body.dump()}, {}, true}, config);
  }
  static std::string field(const json& body) {
    try {
      (void)from(body);
    } catch (const bad_message& e) {
      return e.field;
    }
    return "none";
  }
};

TEST_F(OrderTest, BadRequestsNameTheField) {
  EXPECT_EQ(field({{"report_dir", "/r"}}), "payload.roots");
  EXPECT_EQ(field({{"roots", {"/a"}}}), "payload.report_dir");
  EXPECT_EQ(field({{"roots", {"a"}}, {"report_dir", "/r"}}), "payload.roots[0]");
  EXPECT_EQ(field({{"roots", {"/a", "/a/b"}}, {"report_dir", "/r"}}), "payload.roots[1]");
  EXPECT_EQ(field({{"roots", {"/a"}}, {"report_dir", "/../r"}}), "payload.report_dir");
  EXPECT_EQ(field({{"roots", {"/a"}}, {"report_dir", "/r"}, {"max_file_bytes", "x"}}), "payload.max_file_bytes");
  EXPECT_EQ(field({{"roots", {"/a"}}, {"report_dir", "/r"}, {"speed", 9}}), "payload.speed");
  EXPECT_EQ(field({{"roots", {"/a", "/ab/"}}, {"report_dir", "/r"}}), "none");
}

TEST_F(OrderTest, TheReportIsNotPartOfTheSurvey) {
  const auto o = from({{"roots", {"/a", "/b"}}, {"report_dir", "/a/out"}}, {{"exclude", {".git"}}});
  EXPECT_EQ(o.excluded_below(0).size(), 5U);
  EXPECT_EQ(o.excluded_below(0)[1], "/out/report.json");
  EXPECT_EQ(o.excluded_below(1), std::vector<std::string>{".git"});
  EXPECT_EQ(order::decode(o.encode()).encode(), o.encode());
}

TEST(PoolTest, ConfigIsChecked) {
  EXPECT_EQ(pool::from_config({{"readers", {"r1"}}})->window, 16U);
  EXPECT_EQ(pool::from_config(json::object()).error().field, "readers");
  EXPECT_EQ(pool::from_config({{"readers", {"r1", "bad name"}}}).error().field, "readers[1]");
  EXPECT_EQ(pool::from_config({{"readers", {"r1"}}, {"window", 0}}).error().field, "window");
}

} // namespace
} // namespace hive::actors::survey
