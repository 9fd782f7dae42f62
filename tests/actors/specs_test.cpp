#include "actors/specs.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

using json = nlohmann::json;

TEST(SpecsTest, WhatIsWrittenComesBack) {
  agent_spec s;
  s.behaviour = "echo";
  s.config = {{"a", 1}};
  s.capabilities = {"read"};
  s.weight = 3;
  s.supervisor = "top";
  s.restart = restart_type::transient;
  const auto back = agent_spec_from(to_json(s));
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(*back), to_json(s));
}

TEST(SpecsTest, EveryMistakeNamesItsMember) {
  for (const auto& [spec, field] : std::vector<std::pair<json, std::string>>{
         {json::object(), "behaviour"}, {{{"behaviour", 1}}, "behaviour"}, {{{"behaviour", "x"}, {"weight", 1001}}, "weight"},
         {{{"behaviour", "x"}, {"weight", -1}}, "weight"}, {{{"behaviour", "x"}, {"weight", 1.5}}, "weight"},
         {{{"behaviour", "x"}, {"config", json::array()}}, "config"}, {{{"behaviour", "x"}, {"capabilities", {""}}}, "capabilities"},
         {{{"behaviour", "x"}, {"colour", "red"}}, "colour"}, {json("text"), ""}}) {
    const auto r = agent_spec_from(spec);
    ASSERT_FALSE(r) << spec;
    EXPECT_EQ(r.error().field, field) << spec;
  }
}

TEST(SpecsTest, SupervisorsComeBackAndTheirMistakesNameTheMember) {
  const json all{{"strategy", "simple_one_for_one"}, {"intensity", 7}, {"period_ms", 100}, {"supervisor", "top"}, {"restart", "transient"}, {"shutdown_ms", 0},
                 {"significant", true}, {"auto_shutdown", "all_significant"}, {"backoff_ms", 10}, {"backoff_max_ms", 20}, {"backoff_reset_ms", 30}, {"behaviour", "echo"}};
  const auto back = supervisor_spec_from(all);
  ASSERT_TRUE(back) << to_string(back.error());
  EXPECT_EQ(to_json(*back), all);
  for (const auto& [spec, field] : std::vector<std::pair<json, std::string>>{
         {{{"strategy", "all_for_none"}}, "strategy"}, {{{"strategy", "simple_one_for_one"}}, "behaviour"}, {{{"behaviour", "echo"}}, "behaviour"},
         {{{"significant", true}}, "significant"}, {{{"backoff_ms", 10}, {"backoff_max_ms", 5}}, "backoff_ms"}, {{{"auto_shutdown", true}}, "auto_shutdown"},
         {{{"shutdown_ms", -1}}, "shutdown_ms"}, {{{"period_ms", 0}}, "period_ms"}}) {
    const auto r = supervisor_spec_from(spec);
    ASSERT_FALSE(r) << spec;
    EXPECT_EQ(r.error().field, field) << spec;
  }
}

TEST(SpecsTest, Names) {
  for (const char* good : {"a", "A1", "reader-3", "x.y_z"}) EXPECT_TRUE(check_name(good, "name")) << good;
  for (const std::string& bad : {std::string(), std::string("-a"), std::string("a b"), std::string("a/b"), std::string("..") , std::string("a\0b", 3), std::string("é"), std::string(129, 'a')})
    EXPECT_FALSE(check_name(bad, "name")) << bad;
}

} // namespace
} // namespace hive::actors
