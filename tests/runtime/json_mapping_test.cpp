#include "runtime/api/json_mapping.hpp"

#include "hive/v1/agents.pb.h"
#include "hive/v1/messaging.pb.h"
#include "hive/v1/swarm.pb.h"
#include "hive/v1/tasks.pb.h"
#include "runtime/api/json_reader.hpp"

#include <gtest/gtest.h>

namespace hive::api {
namespace {

std::string field_of(const result<void>& r) { return r ? "no error" : r.error().field; }

TEST(JsonMapping, RoundTripKeepsEverything) {
  const std::string text = R"({"tenant":"acme","supervisors":[{"name":"s","spec":{"strategy":"one_for_all","intensity":0,"period_ms":60000}}],)"
                           R"("agents":[{"name":"a","spec":{"behaviour":"echo","config":{"x":[1,2.50,"\u00e9"]},"capabilities":["r","w"],"weight":3,"supervisor":"s","restart":"temporary"}}]})";
  v1::ApplyRequest m;
  ASSERT_TRUE(from_json(text, m, {}));
  EXPECT_EQ(m.agents(0).spec().restart(), v1::RESTART_TYPE_TEMPORARY);
  EXPECT_EQ(m.agents(0).spec().config(), R"({"x":[1,2.50,"\u00e9"]})") << "raw values are not rewritten";
  EXPECT_TRUE(m.supervisors(0).spec().has_intensity()) << "zero that was said is not absent";
  EXPECT_EQ(to_json(m, {.omit_defaults = true}), text);
}

TEST(JsonMapping, NullIsAbsentButForRawValues) {
  v1::AgentSpec spec;
  ASSERT_TRUE(from_json(R"({"behaviour":"x","weight":null,"capabilities":null,"config":null})", spec, {}));
  EXPECT_FALSE(spec.has_weight());
  EXPECT_EQ(spec.config(), "null");
}

TEST(JsonMapping, ErrorsCarryTheWholePath) {
  v1::ApplyRequest m;
  EXPECT_EQ(field_of(from_json(R"({"agents":[{"name":"a"},{"spec":{"weight":"x"}}]})", m, {})), "agents[1].spec.weight");
  EXPECT_EQ(field_of(from_json(R"({"agents":[{"name":"a"},{"spec":{"capabilities":["a",["b"]]}}]})", m, {})), "agents[1].spec.capabilities[1]");
}

TEST(JsonMapping, ValidationFindsBoundsNamesAndWhatIsMissing) {
  v1::ApplyRequest m;
  m.set_tenant("acme");
  EXPECT_TRUE(validate(m));
  m.add_agents()->set_name("a");
  EXPECT_EQ(field_of(validate(m)), "agents[0].spec");
  m.mutable_agents(0)->mutable_spec()->set_behaviour("b\xC3");
  EXPECT_EQ(field_of(validate(m)), "agents[0].spec.behaviour");
  m.mutable_agents(0)->mutable_spec()->set_behaviour("b");
  for (int i = 0; i < 65; ++i) m.mutable_agents(0)->mutable_spec()->add_capabilities("c");
  EXPECT_EQ(field_of(validate(m)), "agents[0].spec.capabilities");
  m.clear_tenant();
  EXPECT_EQ(field_of(validate(m)), "tenant");
}

TEST(JsonMapping, BoundsAreInclusive) {
  v1::AgentSpec spec;
  spec.set_behaviour("b");
  for (const auto& [weight, good] : {std::pair{0U, false}, {1U, true}, {1000U, true}, {1001U, false}}) {
    spec.set_weight(weight);
    EXPECT_EQ(static_cast<bool>(validate(spec)), good) << weight;
  }
  for (const auto& [size, good] : {std::pair{1U, true}, {128U, true}, {129U, false}}) {
    spec.set_weight(1);
    spec.set_behaviour(std::string(size, 'x'));
    EXPECT_EQ(static_cast<bool>(validate(spec)), good) << size;
  }
}

TEST(JsonMapping, WhatABehaviourCallsJsonAndIsNoneBecomesAString) {
  v1::AskResponse r;
  r.set_payload("{broken\"");
  EXPECT_EQ(to_json(r), R"({"payload":"{broken\"","payload_type":"json","idempotency_key":"","repeated":false})");
  r.set_payload("\xFF");
  r.set_payload_type(v1::CONTENT_TYPE_TEXT);
  EXPECT_NE(to_json(r).find("\"payload\":\"\xEF\xBF\xBD\""), std::string::npos) << "what leaves is UTF-8";
}

TEST(JsonMapping, MapsAndNumbers) {
  v1::Task t;
  ASSERT_TRUE(from_json(R"({"labels":{"a":"b"},"submitted_at":-5,"progress":{"total":18446744073709551615}})", t, {}));
  EXPECT_EQ(t.labels(0).value(), "b");
  EXPECT_EQ(t.submitted_at(), -5);
  EXPECT_EQ(t.progress().total(), 18446744073709551615U);
  EXPECT_EQ(to_json(t, {.omit_defaults = true}), R"({"progress":{"total":18446744073709551615},"submitted_at":-5,"labels":{"a":"b"}})");
}

TEST(JsonMapping, UnknownFieldsAreSkippedOnlyWhereWeWroteThem) {
  v1::AgentSpec spec;
  EXPECT_EQ(field_of(from_json(R"({"behaviour":"b","new":{"a":[]}})", spec, {})), "new");
  EXPECT_TRUE(from_json(R"({"behaviour":"b","new":{"a":[]}})", spec, {.ignore_unknown = true}));
}

TEST(JsonReader, TakesWhatTheRfcAllowsAndNothingElse) {
  for (const char* good : {"0", "-0", "1.5e-7", "1E+2", "\"\"", "\"\\u00e9\\ud83d\\ude00\\/\"", "[]", "{}", " [ 1 , 2 ] ", "{\"a\":{\"b\":[{}]}}", "true", "1e308", "\"\x7F\""})
    EXPECT_TRUE(is_json(good, 8)) << good;
  for (const char* bad : {"", " ", "-", "+1", ".5", "1.", "1e", "00", "1e309", "tru", "nul", "[1", "[1,", "[,]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "\"\\x\"", "\"\\u12\"",
                          "\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ud83d\\u0041\"", "\"\t\"", "\"\\", "[]]", "1 2", "\xEF\xBB\xBF[]", "\"\xF5\x80\x80\x80\"", "\"\xE0\x80\x80\""})
    EXPECT_FALSE(is_json(bad, 8)) << bad;
}

TEST(JsonReader, DepthIsCountedInLevels) {
  EXPECT_TRUE(is_json("[[[]]]", 3));
  EXPECT_FALSE(is_json("[[[]]]", 2));
  EXPECT_TRUE(is_json("[[],[],{\"a\":[]}]", 3)) << "depth, not count";
}

TEST(JsonReader, StringsAreDecodedAndWritten) {
  json_reader in(R"("a\n\u00e9\ud83d\ude00\\")", 1);
  const auto text = in.string();
  EXPECT_EQ(text, "a\n\xC3\xA9\xF0\x9F\x98\x80\\");
  std::string out;
  append_json_string(out, text + "\x01");
  EXPECT_EQ(out, "\"a\\n\xC3\xA9\xF0\x9F\x98\x80\\\\\\u0001\"");
}

TEST(JsonReader, Base64BothWays) {
  std::string back;
  for (std::size_t n = 0; n < 70; ++n) {
    std::string bytes;
    for (std::size_t i = 0; i < n; ++i) bytes.push_back(static_cast<char>(i * 37 + n));
    ASSERT_TRUE(from_base64(to_base64(bytes), back));
    EXPECT_EQ(back, bytes);
  }
  for (const char* bad : {"A", "AA", "AAA", "A===", "AA=A", "AB==", "AAB=", "AA==AAAA", "A-_A", "AAA\n"}) EXPECT_FALSE(from_base64(bad, back)) << bad;
}

} // namespace
} // namespace hive::api
