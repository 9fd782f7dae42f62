// Items from JSON and back from their message: everything hostile is a typed error that names its place.
#include "actors/context/items.hpp"

#include "config/base/random.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace hive::actors {
namespace {

using nlohmann::json;

const item_author person{vector::trust::user, {}};

TEST(ItemsTest, WhatIsReadIsWhatIsSent) {
  const auto items = items_from_json(
      json::parse(R"([{"id":"a","text":"t","vector":[0.5,-1,2e-3],"metadata":{"file":"x","n":3,"tags":["p","q"]},
    "kind":"fact","source":"s","trust":"tool","importance":0.25,"valid_from":5,"valid_to":9,"ttl_ms":1000,
    "links":[{"relation":"next","to":"b"}],"supersedes":"z","expected_version":0,"allow_duplicate":true}])"),
      person, {}, "items");
  ASSERT_TRUE(items) << to_string(items.error());
  const auto back = decode_items(encode_items(*items), 10);
  ASSERT_TRUE(back);
  const auto& i = (*back)[0];
  EXPECT_EQ(i.content, (*items)[0].content);
  EXPECT_EQ(i.vector, (std::vector<float>{0.5F, -1, 2e-3F}));
  EXPECT_EQ(i.ttl, std::chrono::seconds{1});
  EXPECT_EQ(i.how.expected_version, 0U);
  EXPECT_TRUE(i.how.allow_duplicate);
  EXPECT_EQ(i.how.supersedes, "z");
  EXPECT_EQ(i.content.trusted, vector::trust::tool);
  EXPECT_EQ(i.content.meta.size(), 3U);
}

TEST(ItemsTest, HostileItemsNameTheirPlace) {
  const std::vector<std::pair<const char*, const char*>> all{
      {R"({})", "items"},
      {R"([7])", "items[0]"},
      {R"([{"text":7}])", "items[0].text"},
      {R"([{"text":"a"},{"text":"b","vector":[1,"2"]}])", "items[1].vector[1]"},
      {R"([{"text":"b","vector":{}}])", "items[0].vector"},
      {R"([{"text":"b","links":{}}])", "items[0].links"},
      {R"([{"text":"b","links":[{"relation":1}]}])", "items[0].links[0].relation"},
      {R"([{"text":"b","metadata":[1]}])", "items[0].metadata"},
      {R"([{"text":"b","valid_from":-1}])", "items[0].valid_from"},
      {R"([{"text":"b","expires_at":99999999999999999999}])", "items[0].expires_at"},
      {R"([{"text":"b","ttl_ms":0}])", "items[0].ttl_ms"},
      {R"([{"text":"b","ttl_ms":1,"expires_at":4102444800000}])", "items[0].ttl_ms"},
      {R"([{"text":"b","metadata":{"a.b":1,"a":{"b":2}}}])", "items[0].metadata.a.b"},
      {R"([{"text":"b","trust":"god"}])", "items[0].trust"},
      {R"([{"text":"b","expected_version":-1}])", "items[0].expected_version"},
  };
  for (const auto& [text, field] : all) {
    const auto items = items_from_json(json::parse(text), person, {}, "items");
    ASSERT_FALSE(items) << text;
    EXPECT_EQ(items.error().field, field) << text;
    EXPECT_EQ(items.error().code, errc::invalid_argument);
  }
}

TEST(ItemsTest, NullIsAbsent) {
  const auto items = items_from_json(json::parse(R"([{"id":null,"text":"t","vector":null,"metadata":null,"kind":null,"source":null,"trust":null,
    "importance":null,"valid_from":null,"valid_to":null,"expires_at":null,"ttl_ms":null,"links":null,"supersedes":null,
    "expected_version":null,"allow_duplicate":null}])"), person, {}, "items");
  ASSERT_TRUE(items) << to_string(items.error());
  new_item plain;
  plain.content.text = "t";
  plain.content.trusted = vector::trust::user;
  EXPECT_EQ(items->front().content, plain.content);
  EXPECT_FALSE(items->front().how.expected_version) << "0 would mean: only if there is no such item";
}

TEST(ItemsTest, FloatsAreReadAsTheyAreWritten) {
  EXPECT_EQ(*floats_from_json(" [ 1 , -2.5e-3,0 ] ", "vector"), (std::vector<float>{1, -2.5e-3F, 0}));
  EXPECT_TRUE(floats_from_json("[]", "vector")->empty());
  EXPECT_TRUE(floats_from_json("null", "vector")->empty());
  EXPECT_EQ(*floats_from_json("[1e-60]", "vector"), std::vector<float>{0});
  random_source chance(7);
  std::vector<float> v;
  for (int i = 0; i < 4000; ++i)
    v.push_back(static_cast<float>(std::ldexp(static_cast<double>(chance.below(1U << 24U)) - (1U << 23U),
                                              static_cast<int>(chance.below(60)) - 40)));
  std::string text;
  append_floats(text, v);
  EXPECT_EQ(*floats_from_json(text, "vector"), v);
  for (const char* bad : {"", "[", "[1", "[1,", "[1,]", "[,1]", "[NaN]", "[inf]", "[nan]", "[1e40]", "[-1e400]",
                          "[\"1\"]", "[[1]]", "{}", "1", "[1 2]", "[true]", "[+1]"}) {
    const auto floats = floats_from_json(bad, "items[2].vector");
    ASSERT_FALSE(floats) << bad;
    EXPECT_TRUE(floats.error().field.starts_with("items[2].vector")) << bad;
  }
}

TEST(ItemsTest, AnyBytesAreSafeToDecode) {
  const auto good = encode_items(*items_from_json(
      json::parse(R"([{"id":"a","text":"some text","vector":[1,2,3],"metadata":{"k":["v"]}},{"text":"b"}])"), person,
      {}, "items"));
  for (std::size_t cut = 0; cut < good.size(); ++cut)
    EXPECT_FALSE(decode_items(std::string_view(good).substr(0, cut), 10)) << cut;
  random_source chance(3);
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = good;
    for (std::uint64_t n = 1 + chance.below(4); n > 0; --n)
      bytes[chance.below(bytes.size())] = static_cast<char>(chance.below(256));
    (void)decode_items(bytes, 10);
  }
  EXPECT_EQ(decode_items(good, 1).error().field, "items");
}

/// Whether it came as JSON or as a message of the API.
TEST(ItemsTest, WhatIsWrittenIsCheckedInOnePlace) {
  const auto field_of = [](auto change) {
    written_item w;
    w.text = "t";
    change(w);
    const auto read = item_from(std::move(w), person, {}, "items[4]");
    return read ? std::string("none") : read.error().field;
  };
  EXPECT_EQ(field_of([](auto&) {}), "none");
  EXPECT_EQ(field_of([](auto& w) { w.trust = "system"; }), "items[4].trust");
  EXPECT_EQ(field_of([](auto& w) { w.importance = std::nan(""); }), "items[4].importance");
  EXPECT_EQ(field_of([](auto& w) { w.importance = 1.5; }), "items[4].importance");
  EXPECT_EQ(field_of([](auto& w) { w.valid_from = -1; }), "items[4].valid_from");
  EXPECT_EQ(field_of([](auto& w) { w.expires_at = std::numeric_limits<std::int64_t>::max(); }), "items[4].expires_at");
  EXPECT_EQ(field_of([](auto& w) { w.ttl_ms = 0; }), "items[4].ttl_ms");
  EXPECT_EQ(field_of([](auto& w) { w.vector = "[]"; }), "items[4].vector");
  EXPECT_EQ(field_of([](auto& w) { w.vector = "[1, 1e300]"; }), "items[4].vector[1]");
  EXPECT_EQ(field_of([](auto& w) { w.metadata = "[1]"; }), "items[4].metadata");
  const auto from_json = items_from_json(json::parse(R"([{"text":"t","valid_from":-1}])"), person, {}, "items");
  ASSERT_FALSE(from_json);
  EXPECT_EQ(from_json.error().field, "items[0].valid_from");
}

} // namespace
} // namespace hive::actors
