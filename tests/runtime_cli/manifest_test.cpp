#include "runtime/cli/manifest.hpp"

#include "runtime/cli/failure.hpp"

#include <gtest/gtest.h>

namespace hive::cli {
namespace {

using nlohmann::json;

json one(const std::string& text) {
  const auto all = parse_yaml(text, "m.yaml");
  EXPECT_EQ(all.size(), 1U);
  return all.empty() ? json() : all[0];
}

std::string refusal(const std::string& text) {
  try {
    parse_yaml(text, "m.yaml");
  } catch (const failure& e) {
    EXPECT_EQ(e.code, exit_code::usage);
    return e.what();
  }
  return "accepted";
}

TEST(ManifestTest, YamlBecomesJson) {
  EXPECT_EQ(one("tenant: demo\nagents:\n  - name: a\n    spec: {behaviour: echo, weight: 2}\n"),
            json::parse(R"({"tenant":"demo","agents":[{"name":"a","spec":{"behaviour":"echo","weight":2}}]})"));
}

TEST(ManifestTest, JsonIsRead) {
  EXPECT_EQ(one(R"({"a": [1, -2, 0.5, "x", true, null, {}]})"), json::parse(R"({"a":[1,-2,0.5,"x",true,null,{}]})"));
}

TEST(ManifestTest, ScalarsFollowTheCoreRules) {
  EXPECT_EQ(one("[yes, no, on, 010, 1e3, .5, ~, 'true', \"12\", 1.2.3, 0x10]"),
            json::parse(R"(["yes","no","on",10,1000.0,0.5,null,"true","12","1.2.3","0x10"])"));
  EXPECT_EQ(one("[18446744073709551615, -9223372036854775808]"),
            json::parse("[18446744073709551615,-9223372036854775808]"));
}

TEST(ManifestTest, SeveralDocuments) { EXPECT_EQ(parse_yaml("a: 1\n---\nb: 2\n", "m").size(), 2U); }

TEST(ManifestTest, EmptyTextHoldsNone) { EXPECT_TRUE(parse_yaml("# only words\n", "m").empty()); }

TEST(ManifestTest, RefusalsNamePlaceAndReason) {
  EXPECT_EQ(refusal("a: 1\na: 2\n"), "m.yaml:2:1: 'a' is there twice");
  EXPECT_NE(refusal("a: [1, 2\nb: 3\n").find("m.yaml:"), std::string::npos);
  EXPECT_NE(refusal("x: &x {b: 1}\ny:\n  <<: *x\n").find("merge keys"), std::string::npos);
  EXPECT_NE(refusal("a: !!binary aGk=\n").find("tag"), std::string::npos);
  EXPECT_NE(refusal("a: 99999999999999999999999\n").find("too large"), std::string::npos);
  EXPECT_NE(refusal("? [a]\n: 1\n").find("key must be a word"), std::string::npos);
}

TEST(ManifestTest, DepthIsBounded) {
  EXPECT_NE(refusal(std::string(100, '[') + std::string(100, ']')).find("nested deeper"), std::string::npos);
}

TEST(ManifestTest, AliasesCannotMultiplyWithoutBound) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) bomb += (k ? "," : "") + before;
    bomb += "]\n";
  }
  EXPECT_NE(refusal(bomb).find("more than"), std::string::npos);
}

TEST(ManifestTest, PayloadsAreJson) {
  EXPECT_EQ(read_payload(""), json());
  EXPECT_EQ(read_payload("{\"op\": 1}"), json({{"op", 1}}));
  EXPECT_EQ(read_payload("\"word\""), json("word"));
  EXPECT_THROW(read_payload("word"), failure);
  EXPECT_THROW(read_payload("@/nonexistent/file"), failure);
}

} // namespace
} // namespace hive::cli
