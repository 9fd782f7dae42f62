#include "tests/vector/kit.hpp"
#include "vector/columns.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace hive::vector {
namespace {

using test::at;

const search_limits limits;

item sample() {
  item i = test::text_item("doc-1", "text");
  i.kind = "fact";
  i.trusted = trust::tool;
  i.importance = 0.5F;
  i.created = at(1000);
  i.meta = *metadata_from_json(R"({"lang": "en", "year": 2021, "score": 2.5, "draft": false, "tags": ["red", "blue"], "file": {"path": "src/a.cpp"}, "none": []})",
                               {}, "metadata");
  return i;
}

bool passes(std::string_view json) {
  const auto f = filter_from_json(json, limits);
  EXPECT_TRUE(f) << json << ": " << to_string(f.error());
  return f && matches(*f, sample());
}

TEST(FilterTest, EveryOperatorOnOneItem) {
  EXPECT_TRUE(passes("{}"));
  EXPECT_TRUE(passes(R"({"lang": "en"})"));
  EXPECT_FALSE(passes(R"({"lang": "de"})"));
  EXPECT_FALSE(passes(R"({"missing": "en"})"));
  EXPECT_TRUE(passes(R"({"lang": {"$ne": "de"}})"));
  EXPECT_TRUE(passes(R"({"missing": {"$ne": "de"}})"));
  EXPECT_TRUE(passes(R"({"year": {"$gte": 2021, "$lt": 2022}})"));
  EXPECT_FALSE(passes(R"({"year": {"$gt": 2021}})"));
  EXPECT_TRUE(passes(R"({"year": {"$gt": 2020.5}})"));
  EXPECT_FALSE(passes(R"({"year": {"$gt": 2022, "$gte": 2000}})")) << "both hold";
  EXPECT_FALSE(passes(R"({"year": {"$gt": 2000, "$gte": 2022}})"));
  EXPECT_FALSE(passes(R"({"year": {"$lt": 2021, "$lte": 2030}})"));
  EXPECT_TRUE(passes(R"({"year": {"$gt": 2000, "$gte": 2021, "$lt": 2022, "$lte": 2030}})"));
  EXPECT_TRUE(passes(R"({"year": 2021.0})"));
  EXPECT_TRUE(passes(R"({"score": {"$lte": 2.5}})"));
  EXPECT_FALSE(passes(R"({"score": "2.5"})"));
  EXPECT_TRUE(passes(R"({"draft": false})"));
  EXPECT_FALSE(passes(R"({"draft": 0})"));
  EXPECT_TRUE(passes(R"({"tags": "blue"})"));
  EXPECT_TRUE(passes(R"({"tags": {"$in": ["green", "red"]}})"));
  EXPECT_FALSE(passes(R"({"tags": {"$nin": ["green", "red"]}})"));
  EXPECT_TRUE(passes(R"({"tags": {"$prefix": "bl"}})"));
  EXPECT_TRUE(passes(R"({"file.path": {"$prefix": "src/"}})"));
  EXPECT_FALSE(passes(R"({"file.path": {"$prefix": "src/b"}})"));
  EXPECT_TRUE(passes(R"({"lang": {"$gte": "ea", "$lte": "en"}})"));
  EXPECT_TRUE(passes(R"({"none": {"$exists": true}, "other": {"$exists": false}})"));
  EXPECT_TRUE(passes(R"({"$or": [{"lang": "de"}, {"year": 2021}]})"));
  EXPECT_FALSE(passes(R"({"$or": []})"));
  EXPECT_TRUE(passes(R"({"$and": []})"));
  EXPECT_FALSE(passes(R"({"$not": {"lang": "en"}})"));
  EXPECT_TRUE(passes(R"({"@kind": "fact", "@trust": "tool", "@id": {"$prefix": "doc"}, "@importance": {"$gte": 0.5}, "@created": 1000})"));
  EXPECT_TRUE(passes(R"({"@trust": {"$gte": 1, "$lt": 2}})"));
  EXPECT_FALSE(passes(R"({"@source": {"$exists": true}})"));
  EXPECT_FALSE(passes(R"({"@expires_at": {"$lt": 9e15}})"));
}

TEST(FilterTest, MistakesNameThePlace) {
  const auto field = [](std::string_view json) { return filter_from_json(json, limits).error().field; };
  EXPECT_EQ(field("[1]"), "filter");
  EXPECT_EQ(field("{"), "filter");
  EXPECT_EQ(field(R"({"year": {"$above": 3}})"), "filter.year.$above");
  EXPECT_EQ(field(R"({"$or": [{"a": 1}, {"b": {"$in": 3}}]})"), "filter.$or[1].b.$in");
  EXPECT_EQ(field(R"({"$where": "1"})"), "filter.$where");
  EXPECT_EQ(field(R"({"a": {}})"), "filter.a");
  EXPECT_EQ(field(R"({"a": [1]})"), "filter.a");
  EXPECT_EQ(field(R"({"a": {"$in": [[1]]}})"), "filter.a.$in[0]");
  EXPECT_EQ(field(R"({"a": {"$prefix": 1}})"), "filter.a.$prefix");
  EXPECT_EQ(field(R"({"a": {"$gte": true}})"), "filter.a.$gte");
  EXPECT_NE(field(R"({"a": {"$gte": 1, "$lt": "b"}})"), "");
  EXPECT_NE(field(R"({"@tenant": 1})"), "");
  EXPECT_NE(field(R"({"@trust": "usr"})"), "") << "it would match nothing";
  EXPECT_TRUE(filter_from_json(R"({"@trust": {"$in": ["user", "tool"]}})", limits));
}

TEST(FilterTest, DepthAndSizeAreBounded) {
  const auto nested = [](int depth) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += R"({"$not":)";
    return text + R"({"a":1})" + std::string(static_cast<std::size_t>(depth), '}');
  };
  EXPECT_TRUE(filter_from_json(nested(5), limits));
  EXPECT_FALSE(filter_from_json(nested(20), limits));
  EXPECT_FALSE(filter_from_json(nested(7000), limits));
  std::string wide = R"({"$or": [{"a": 0})";
  for (int i = 0; i < 300; ++i) wide += R"(, {"a": 1})";
  EXPECT_FALSE(filter_from_json(wide + "]}", limits));
  std::string values = R"({"a": {"$in": [0)";
  for (int i = 0; i < 4096; ++i) values += ", 1";
  EXPECT_FALSE(filter_from_json(values + "]}}", limits));
  EXPECT_FALSE(filter_from_json(R"({"a": ")" + std::string(70'000, 'x') + "\"}", limits));
  filter deep;
  for (int i = 0; i < 50; ++i) deep = filter::none(std::move(deep));
  EXPECT_FALSE(validate(deep, limits));
  EXPECT_FALSE(validate(filter::equal("", true), limits));
  EXPECT_FALSE(validate(filter::between("a", std::nullopt, std::nullopt), limits));
  EXPECT_FALSE(validate(filter::between("a", value{std::numeric_limits<double>::quiet_NaN()}, std::nullopt), limits));
}

/// Random items and filters over few fields and values, so that everything happens: the compiled form against `matches`.
class random_filters {
public:
  explicit random_filters(random_source& chance) : chance_(chance) {}

  value any_value() {
    constexpr std::int64_t big = std::numeric_limits<std::int64_t>::max();
    switch (chance_.below(9)) {
    case 0: return chance_.one_in(2);
    case 1: return static_cast<std::int64_t>(chance_.below(5));
    case 2: return static_cast<double>(chance_.below(9)) / 2;
    case 3: return std::int64_t{big - static_cast<std::int64_t>(chance_.below(3))};
    case 4: return 9223372036854775807.0; // 2^63: above every integer
    case 5: return std::int64_t{-big - 1};
    default: return std::string{words[chance_.below(std::size(words))]};
    }
  }

  /// Other words are refused.
  value any_trust() {
    if (chance_.one_in(2)) return static_cast<std::int64_t>(chance_.below(6));
    return std::string{to_string(static_cast<trust>(chance_.below(5)))};
  }

  item any_item(int n) {
    item i = test::text_item("i" + std::to_string(n), "t");
    i.kind = chance_.one_in(2) ? "" : words[chance_.below(std::size(words))];
    i.trusted = static_cast<trust>(chance_.below(5));
    i.importance = static_cast<float>(chance_.below(5)) / 4;
    if (chance_.one_in(3)) i.expires_at = at(1'000'000 + static_cast<std::int64_t>(chance_.below(4)));
    for (const char* field : fields) {
      if (field[0] == '@' || chance_.one_in(3)) continue;
      if (chance_.one_in(6)) {
        std::vector<std::string> tags(chance_.below(4));
        for (auto& t : tags) t = words[chance_.below(std::size(words))];
        set(i.meta, field, tags);
      } else {
        set(i.meta, field, any_value());
      }
    }
    return i;
  }

  filter any(int depth) {
    const std::string field = fields[chance_.below(std::size(fields))];
    switch (depth > 0 ? chance_.below(7) : 3 + chance_.below(4)) {
    case 0: return filter::none(any(depth - 1));
    case 1:
    case 2: {
      std::vector<filter> children(chance_.below(4));
      for (auto& c : children) c = any(depth - 1);
      return chance_.one_in(2) ? filter::all_of(std::move(children)) : filter::any_of(std::move(children));
    }
    case 3: {
      std::vector<value> values(1 + chance_.below(12));
      for (auto& v : values) v = field == "@trust" ? any_trust() : any_value();
      return filter::in_set(field, std::move(values));
    }
    case 4: {
      const bool text = chance_.one_in(3);
      const auto bound = [&]() -> std::optional<value> {
        for (;;) {
          value v = any_value();
          if (std::holds_alternative<bool>(v) || std::holds_alternative<std::string>(v) != text) continue;
          return v;
        }
      };
      const auto shape = chance_.below(3);
      return filter::between(field, shape == 0 ? std::nullopt : bound(), shape == 1 ? std::nullopt : bound(), chance_.one_in(2), chance_.one_in(2));
    }
    case 5: return filter::starts_with(field, std::string{words[chance_.below(std::size(words))]}.substr(0, chance_.below(3)));
    default: return filter::has(field);
    }
  }

private:
  static constexpr const char* fields[] = {"a", "b", "c", "missing", "@kind", "@trust", "@importance", "@expires_at", "@id"};
  static constexpr const char* words[] = {"", "a", "ab", "abc", "b", "ba", "tool", "i1", "i2"};
  random_source& chance_;
};

TEST(FilterTest, CompiledFiltersAnswerAsPlainOnes) {
  random_source chance(11);
  random_filters make(chance);
  const auto space = test::in_space(metric::cosine, 8);
  for (int round = 0; round < 40; ++round) {
    const auto count = static_cast<std::uint32_t>(1 + chance.below(200));
    segment sealed(space, count, false);
    for (std::uint32_t i = 0; i < count; ++i) sealed.append(std::make_shared<const item>(make.any_item(static_cast<int>(i))), std::vector<float>(8, 1.0F));
    for (int f = 0; f < 50; ++f) {
      const filter where = make.any(4);
      ASSERT_TRUE(validate(where, limits)) << to_string(validate(where, limits).error());
      const auto rows = compiled_filter(where).rows(sealed, count, true);
      for (std::uint32_t row = 0; row < count; ++row)
        ASSERT_EQ(rows.test(row), matches(where, *sealed.items()[row])) << "seed 11, round " << round << ", filter " << f << ", row " << row;
    }
  }
}

TEST(MetadataTest, JsonThereAndBack) {
  const auto m = metadata_from_json(R"({"b": {"c": 1, "d": [ "x" ]}, "a": 1.5, "n": null, "t": true, "s": "é"})", {}, "metadata");
  ASSERT_TRUE(m);
  EXPECT_EQ(to_json(*m), R"({"a":1.5,"b.c":1,"b.d":["x"],"s":"é","t":true})");
  EXPECT_EQ(metadata_from_json(to_json(*m), {}, "metadata").value(), *m);
  EXPECT_EQ(metadata_from_json(R"({"a": {"b": [1]}})", {}, "metadata").error().field, "metadata.a.b");
  EXPECT_EQ(metadata_from_json(R"({"a": 18446744073709551615})", {}, "metadata").error().field, "metadata.a");
  EXPECT_EQ(metadata_from_json("3", {}, "metadata").error().field, "metadata");
  EXPECT_EQ(metadata_from_json(R"({"a": {"b": 1}, "a.b": 2})", {}, "metadata").error().field, "metadata.a.b") << "comes twice";
  EXPECT_EQ(validate(*metadata_from_json(R"({"$a": 1})", {}, "metadata"), {}, "metadata").error().field, "metadata.$a");
}

TEST(MetadataTest, NothingBeyondTheLimitsIsReadOrSorted) {
  // Each key of the first object sorts before all that came: inserted one by one in order this took seconds.
  std::string inner, outer;
  for (int i = 0; i < 15'000; ++i) {
    inner += (i ? "," : "") + ("\"k" + std::to_string(100'000 + i)) + "\":1";
    outer += ",\"a!" + std::to_string(100'000 + i) + "\":1";
  }
  EXPECT_EQ(metadata_from_json("{\"a\":{" + inner + "}" + outer + "}", {}, "metadata").error().field, "metadata");
  EXPECT_EQ(metadata_from_json("{\"a\":[\"" + std::string(20'000, 'x') + "\"]}", {}, "metadata").error().field, "metadata");
  EXPECT_EQ(metadata_from_json("{\"" + std::string(20'000, 'x') + "\":{}}", {}, "metadata").error().field, "metadata");
  std::string deep = "1";
  for (int i = 0; i < 40; ++i) deep = "{\"a\":" + deep + "}";
  EXPECT_TRUE(metadata_from_json(deep, {}, "metadata").error().field.starts_with("metadata.a.a"));
}

TEST(ItemTest, RowsThereAndBack) {
  item i = sample();
  i.links = {{"cites", "doc-2"}, {"next", "doc-3"}};
  i.superseded_by = "doc-9";
  i.version = 7;
  i.expires_at = at(99);
  const std::vector<float> vector{1, 2, 3.5F, -0.0F, 5, 6, 7, 8};
  const std::string row = encode(i, vector);
  const auto back = decode(row);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->content, i);
  EXPECT_EQ(back->vector, vector);
  EXPECT_EQ(encode(back->content, back->vector), row);
  for (std::size_t n = 0; n < row.size(); ++n) EXPECT_FALSE(decode(std::string_view{row}.substr(0, n))) << n;
  EXPECT_FALSE(decode(row + "x"));
  random_source chance(5);
  for (int round = 0; round < 3000; ++round) {
    std::string bad = row;
    for (int n = 0; n < 3; ++n) bad[chance.below(bad.size())] = static_cast<char>(chance.next());
    (void)decode(bad); // any bytes: an error or an item, never a crash
  }
}

} // namespace
} // namespace hive::vector
