#include "tests/vector/kit.hpp"
#include "vector/embedding/hashing_embedder.hpp"
#include "vector/pack.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

namespace hive::vector {
namespace {

using test::at;
using test::ids;
using test::text_item;

constexpr auto t0 = 1'000'000;

class CollectionTest : public testing::Test {
protected:
  result<put_outcome> put(item i, std::vector<float> v = {}, const put_options& how = {}, std::int64_t now = t0) {
    return c.put(std::move(i), std::move(v), how, at(now));
  }
  put_outcome must(item i, const put_options& how = {}, std::int64_t now = t0) {
    auto done = put(std::move(i), {}, how, now);
    EXPECT_TRUE(done) << to_string(done.error());
    return *done;
  }
  search_answer search(std::string text, search_request r = {}, std::int64_t now = t0) {
    r.text = std::move(text);
    r.now = at(now);
    auto answer = c.publish()->search(r, {});
    EXPECT_TRUE(answer) << to_string(answer.error());
    return *answer;
  }

  collection c{test::in_space(metric::cosine, 64, std::string{hashing_embedder::name}), {}};
};

TEST_F(CollectionTest, WhatWasPutIsFoundEveryWay) {
  must(text_item("a", "The fence refuses writes of an older epoch."));
  must(text_item("b", "Bread is made of flour and water."));
  for (const auto mode : {search_mode::dense, search_mode::lexical, search_mode::hybrid}) {
    search_request r;
    r.mode = mode;
    const auto answer = search("which epoch does the fence refuse", r);
    ASSERT_FALSE(answer.hits.empty());
    EXPECT_EQ(answer.hits[0].content->id, "a");
    EXPECT_EQ(answer.quality, completeness::exact);
    EXPECT_EQ(answer.hits[0].dense.rank, mode == search_mode::lexical ? 0 : 1);
    EXPECT_EQ(answer.hits[0].lexical.rank, mode == search_mode::dense ? 0 : 1);
    ASSERT_GE(answer.hits[0].highlights.size(), 2);
  }
  const auto got = c.publish()->get("a", at(t0));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->content->version, 1);
  EXPECT_EQ(got->content->created, at(t0));
  EXPECT_EQ(got->vector.size(), 64);
}

TEST_F(CollectionTest, AnOldViewStaysAsItWas) {
  must(text_item("a", "alpha"));
  const auto before = c.publish();
  must(text_item("a", "beta"));
  must(text_item("b", "alpha"));
  EXPECT_TRUE(c.remove("b", at(t0)));
  EXPECT_EQ(before->get("a", at(t0))->content->text, "alpha");
  EXPECT_FALSE(before->get("b", at(t0)));
  EXPECT_EQ(c.publish()->get("a", at(t0))->content->text, "beta");
  EXPECT_LT(before->version(), c.publish()->version());
  EXPECT_EQ(c.publish(), c.publish());
}

TEST_F(CollectionTest, MistakesNameTheField) {
  const std::vector<float> nan(64, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(put(text_item("a", "x"), nan).error().field, "vector[0]");
  EXPECT_EQ(put(text_item("a", "x"), std::vector<float>(63, 1.0F)).error().field, "vector");
  EXPECT_EQ(put(text_item("a", "x"), std::vector<float>(64, 0.0F)).error().field, "vector");
  EXPECT_EQ(put(text_item("a", "")).error().field, "text");
  EXPECT_EQ(put(text_item(std::string(300, 'a'), "x")).error().field, "id");
  EXPECT_EQ(put(text_item("a", std::string(70'000, 'a'))).error().field, "text");
  item i = text_item("a", "x");
  i.importance = 2;
  EXPECT_EQ(put(i).error().field, "importance");
  i = text_item("a", "x");
  i.expires_at = at(t0);
  EXPECT_EQ(put(i).error().field, "expires_at");
  i = text_item("a", "x");
  i.valid_from = i.valid_to = at(t0);
  EXPECT_EQ(put(i).error().field, "valid_to");
  i = text_item("a", "x");
  i.links = {{"cites", ""}};
  EXPECT_EQ(put(i).error().field, "links[0].to");
  EXPECT_EQ(c.size(), 0);

  collection plain(test::in_space(metric::cosine, 64), {});
  EXPECT_EQ(plain.put(text_item("a", "x"), {}, {}, at(t0)).error().field, "vector");
  collection elsewhere(test::in_space(metric::cosine, 64, "endpoint:m"), {});
  EXPECT_EQ(elsewhere.put(text_item("a", ""), {}, {}, at(t0)).error().field, "text");

  const auto v = c.publish();
  const auto field = [&](auto change) {
    search_request r;
    r.text = "x";
    change(r);
    const auto answer = v->search(r, {});
    return answer ? std::string{"none"} : answer.error().field;
  };
  EXPECT_EQ(field([](search_request&) {}), "none");
  EXPECT_EQ(field([](search_request& r) { r.k = 0; }), "k");
  EXPECT_EQ(field([](search_request& r) { r.k = 1'000'000'000; }), "k");
  EXPECT_EQ(field([](search_request& r) { r.text.clear(); }), "text");
  EXPECT_EQ(field([](search_request& r) { r.text.assign(20'000, 'a'); }), "text");
  EXPECT_EQ(field([](search_request& r) {
              for (int n = 0; n < 300; ++n) r.text += " w" + std::to_string(n);
            }),
            "text");
  EXPECT_EQ(field([](search_request& r) { r.vector.assign(64, std::numeric_limits<float>::infinity()); }), "vector[0]");
  EXPECT_EQ(field([](search_request& r) { r.vector.assign(64, 0.0F); }), "vector");
  EXPECT_EQ(field([](search_request& r) { r.vector.assign(65, 1.0F); }), "vector");
  EXPECT_EQ(field([](search_request& r) { r.diversity = std::nan(""); }), "diversity");
  EXPECT_EQ(field([](search_request& r) { r.min_score = std::nan(""); }), "min_score");
  EXPECT_EQ(field([](search_request& r) { r.dense_weight = -1; }), "dense_weight");
  EXPECT_EQ(field([](search_request& r) { r.dense_weight = r.lexical_weight = 0; }), "dense_weight");
  EXPECT_EQ(field([](search_request& r) { r.hops = 9; }), "hops");
}

TEST_F(CollectionTest, TheSameFactManyTimesIsOneItem) {
  for (int writer = 0; writer < 64; ++writer)
    for (int fact = 0; fact < 100; ++fact) {
      const auto done = must(text_item("", "fact number " + std::to_string(fact)));
      EXPECT_EQ(done.status, writer == 0 ? put_status::created : put_status::duplicate);
      EXPECT_EQ(done.changed.empty(), writer != 0);
    }
  EXPECT_EQ(c.size(), 100);
  item other = text_item("", "fact number 1");
  other.kind = "episode";
  EXPECT_EQ(must(other).status, put_status::created);
  put_options again;
  again.allow_duplicate = true;
  const auto unnamed = must(text_item("", "fact number 2"), again);
  EXPECT_EQ(unnamed.status, put_status::created);
  EXPECT_TRUE(unnamed.id.ends_with("-2")) << unnamed.id;
}

TEST_F(CollectionTest, VersionsGuardAgainstLostUpdates) {
  put_options only_new;
  only_new.expected_version = 0;
  EXPECT_EQ(must(text_item("a", "one"), only_new).version, 1);
  EXPECT_EQ(put(text_item("a", "two"), {}, only_new).error().code, errc::conflict);
  put_options second;
  second.expected_version = 1;
  EXPECT_EQ(must(text_item("a", "two"), second).version, 2);
  EXPECT_EQ(put(text_item("a", "three"), {}, second).error().code, errc::conflict);
  EXPECT_EQ(must(text_item("a", "two")).status, put_status::unchanged);
}

TEST_F(CollectionTest, NoVersionOfAnIdComesTwice) {
  must(text_item("a", "one"));
  EXPECT_EQ(must(text_item("a", "two")).version, 2);
  EXPECT_TRUE(c.remove("a", at(t0)));
  EXPECT_FALSE(c.remove("a", at(t0)));
  EXPECT_EQ(must(text_item("a", "another life")).version, 3);
  put_options first_life;
  first_life.expected_version = 1;
  EXPECT_EQ(put(text_item("a", "late"), {}, first_life).error().code, errc::conflict);
  item brief = text_item("b", "brief");
  brief.expires_at = at(t0 + 1);
  EXPECT_EQ(must(brief).version, 3) << "of a new id too";
  must(text_item("b", "brief still"), {}, t0 + 2);
  brief.expires_at = at(t0 + 3);
  EXPECT_EQ(must(brief, {}, t0 + 2).version, 5);
  EXPECT_EQ(c.purge(at(t0 + 4), 10).size(), 1);
  EXPECT_EQ(c.versions_used(), 5);
  collection again(c.space(), {}); // after a crash, from what was kept
  again.versions_used(c.versions_used());
  EXPECT_EQ(again.put(text_item("b", "x"), {}, {}, at(t0 + 5))->version, 6);
}

TEST_F(CollectionTest, ADuplicateIsFoundWhereverBothWouldBe) {
  const auto found = [&](const char* filter, std::int64_t now) {
    search_request r;
    r.mode = search_mode::lexical;
    r.where = *filter_from_json(filter, {});
    return ids(search("fact", r, now)).size();
  };
  item brief = text_item("", "a fact");
  brief.expires_at = at(t0 + 10);
  brief.trusted = trust::untrusted;
  const auto first = must(brief);
  item lasting = text_item("", "a fact");
  lasting.trusted = trust::user;
  const auto second = must(lasting);
  EXPECT_EQ(second.status, put_status::duplicate);
  EXPECT_EQ(second.id, first.id);
  EXPECT_EQ(second.version, 2);
  EXPECT_EQ(second.changed, std::vector<std::string>{first.id});
  EXPECT_EQ(found("{}", t0 + 20), 1) << "the later end";
  EXPECT_EQ(found(R"({"@trust": "user"})", t0), 1);
  EXPECT_TRUE(must(brief).changed.empty()) << "says nothing new";

  item tagged = lasting;
  set(tagged.meta, "lang", std::string{"en"});
  EXPECT_EQ(must(tagged).status, put_status::duplicate);
  EXPECT_EQ(found(R"({"lang": "en"})", t0), 1);
  set(tagged.meta, "lang", std::string{"de"});
  EXPECT_EQ(must(tagged).status, put_status::created) << "one item cannot have both";
  EXPECT_EQ(found(R"({"lang": "de"})", t0), 1);
  EXPECT_EQ(found(R"({"lang": "en"})", t0), 1);

  item planted = text_item("", "a fact");
  planted.trusted = trust::untrusted;
  planted.links = {{"see", "elsewhere"}};
  EXPECT_EQ(must(planted).status, put_status::created) << "its link must not be believed as much as the fact";
  item later = text_item("", "a later fact");
  later.valid_to = at(t0 + 10);
  must(later);
  later.valid_from = at(t0 + 20);
  later.valid_to = never;
  EXPECT_EQ(must(later).status, put_status::created) << "what is between is not true";
}

TEST_F(CollectionTest, WhatHasAnIdIsStoredUnderIt) {
  must(text_item("a.cpp#3", "the same passage"));
  EXPECT_EQ(must(text_item("b.cpp#5", "the same passage")).status, put_status::created);
  EXPECT_TRUE(c.find("b.cpp#5"));
  EXPECT_EQ(must(text_item("", "the same passage")).status, put_status::duplicate);
}

TEST_F(CollectionTest, TheBeginningOfAHybridAnswerDoesNotDependOnItsLength) {
  random_source chance(7);
  for (int i = 0; i < 600; ++i) {
    std::string text;
    for (int w = 0; w < 12; ++w) text += "w" + std::to_string(chance.below(60)) + " ";
    must(text_item("i" + std::to_string(i), text));
  }
  for (int q = 0; q < 20; ++q) {
    search_request r;
    const std::string text = "w" + std::to_string(chance.below(60)) + " w" + std::to_string(chance.below(60));
    r.k = 1000;
    r.dense_weight = static_cast<double>(q % 3) * 0.6;
    const auto all = search(text, r);
    ASSERT_EQ(all.hits.size(), 600U);
    for (std::size_t i = 1; i < all.hits.size(); ++i) ASSERT_GE(all.hits[i - 1].score, all.hits[i].score);
    for (const std::uint32_t k : {1U, 10U, 150U, 400U}) {
      r.k = k;
      const auto some = search(text, r);
      ASSERT_EQ(some.hits.size(), k);
      for (std::uint32_t i = 0; i < k; ++i) {
        ASSERT_EQ(some.hits[i].content->id, all.hits[i].content->id) << "k " << k << ", hit " << i;
        ASSERT_EQ(some.hits[i].score, all.hits[i].score);
      }
    }
  }
}

TEST_F(CollectionTest, AnswersAndTheirWorkAreBounded) {
  for (int i = 0; i < 40; ++i) must(text_item("i" + std::to_string(i), "text " + std::to_string(i) + std::string(10'000, ' ')));
  const auto v = c.publish();
  search_limits limits;
  limits.answer_bytes = 100'000;
  search_request r;
  r.text = "text";
  r.now = at(t0);
  r.k = 5;
  EXPECT_TRUE(v->search(r, limits));
  r.k = 20;
  const auto large = v->search(r, limits);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().field, "k");
  EXPECT_NE(large.error().message.find("context.answer_bytes"), std::string::npos);
  EXPECT_EQ(v->list("", 40, 100'000, {}, at(t0)).size(), 9);
  EXPECT_EQ(v->list("", 40, 1, {}, at(t0)).size(), 1) << "pages go on";
  pack_request p;
  p.search = r;
  const auto packed = pack(*v, p, limits);
  ASSERT_TRUE(packed) << to_string(packed.error());
  EXPECT_EQ(packed->passages.size() + packed->left_out_for_room + packed->left_out_as_repeats, 40U);
  EXPECT_LT(packed->passages.size(), 10U);

  limits = {};
  limits.diversity_work = 64 * 10 * 12;
  r.diversity = 0.5;
  r.k = 10;
  EXPECT_TRUE(v->search(r, limits)) << "from a smaller pool";
  r.k = 20;
  EXPECT_EQ(v->search(r, limits).error().field, "k");
  p.search.diversity.reset();
  EXPECT_EQ(pack(*v, p, limits).error().field, "k");
}

TEST_F(CollectionTest, AnExpiredItemIsNowhere) {
  item i = text_item("a", "soon gone");
  i.expires_at = at(t0 + 10);
  must(i);
  i = text_item("b", "stays and links");
  i.links = {{"next", "a"}};
  must(i);
  EXPECT_EQ(c.next_expiry(), at(t0 + 10));
  const auto v = c.publish();
  for (const bool expired : {false, true}) {
    const auto now = at(t0 + (expired ? 10 : 9));
    const std::size_t n = expired ? 1 : 2;
    EXPECT_EQ(v->get("a", now).has_value(), !expired);
    EXPECT_EQ(v->list("", 10, 1'000'000, {}, now).size(), n);
    search_request r;
    r.text = "gone";
    r.now = now;
    for (const auto mode : {search_mode::dense, search_mode::lexical, search_mode::hybrid}) {
      r.mode = mode;
      EXPECT_EQ(v->search(r, {})->hits.size(), mode == search_mode::lexical ? n - 1 : n);
    }
    r.text = "links";
    r.mode = search_mode::lexical;
    r.hops = 1;
    EXPECT_EQ(v->search(r, {})->related.size(), n - 1);
    r.as_of = at(t0);
    EXPECT_EQ(v->search(r, {})->related.size(), n - 1) << "what was true then is still expired now";
  }
  EXPECT_FALSE(c.remove("a", at(t0 + 10)));
  EXPECT_EQ(must(text_item("", "soon gone"), {}, t0 + 10).status, put_status::created) << "no duplicate of what expired";
  EXPECT_EQ(c.purge(at(t0 + 9), 10), std::vector<std::string>{});
  EXPECT_EQ(c.purge(at(t0 + 10), 10), std::vector<std::string>{"a"});
  EXPECT_EQ(c.next_expiry(), never);
  EXPECT_FALSE(c.find("a"));
}

TEST_F(CollectionTest, AnIdMayReturnAfterItExpired) {
  item i = text_item("a", "first life");
  i.expires_at = at(t0 + 10);
  must(i);
  put_options only_new;
  only_new.expected_version = 0;
  const auto back = must(text_item("a", "second life"), only_new, t0 + 20);
  EXPECT_EQ(back.status, put_status::created);
  EXPECT_EQ(back.version, 2) << "versions never repeat, so an old one cannot match";
  EXPECT_EQ(c.size(), 1);
  EXPECT_TRUE(c.purge(at(t0 + 30), 10).empty());
}

TEST_F(CollectionTest, ASupersededItemIsThePast) {
  must(text_item("old", "The office is in Berlin."), {}, t0);
  put_options how;
  how.supersedes = "old";
  const auto done = must(text_item("new", "The office is in Bonn."), how, t0 + 100);
  EXPECT_EQ(done.changed, (std::vector<std::string>{"new", "old"}));
  EXPECT_EQ(ids(search("office", {}, t0 + 100)), std::vector<std::string>{"new"});
  search_request then;
  then.as_of = at(t0 + 99);
  EXPECT_EQ(ids(search("office", then, t0 + 200)), std::vector<std::string>{"old"});
  EXPECT_EQ(c.find("old")->superseded_by, "new");
  EXPECT_EQ(c.find("old")->valid_to, at(t0 + 100));
  EXPECT_EQ(c.find("old")->version, 2);
  EXPECT_EQ(put(text_item("newer", "x"), {}, how).error().field, "supersedes");
  how.supersedes = "nobody";
  EXPECT_EQ(put(text_item("newer", "x"), {}, how).error().code, errc::not_found);
  how.supersedes = "new";
  EXPECT_EQ(put(text_item("new", "x"), {}, how).error().field, "supersedes");
  EXPECT_EQ(put(text_item("early", "y"), {}, how, t0 + 50).error().field, "valid_from");
  // The same words again are no duplicate of what is past.
  EXPECT_EQ(must(text_item("", "The office is in Berlin."), how, t0 + 300).status, put_status::created);
}

TEST_F(CollectionTest, FiltersNeverCostHits) {
  for (int i = 0; i < 2000; ++i) {
    item one = text_item("i" + std::to_string(i), "item number " + std::to_string(i));
    set(one.meta, "n", std::int64_t{i});
    must(one);
  }
  for (const std::int64_t keep : {1000, 200, 20, 7, 1, 0}) {
    search_request r;
    r.k = 10;
    r.where = filter::between("n", std::nullopt, value{keep}, true, false);
    for (const auto mode : {search_mode::dense, search_mode::hybrid}) {
      r.mode = mode;
      const auto answer = search("number", r);
      EXPECT_EQ(answer.hits.size(), static_cast<std::size_t>(std::min<std::int64_t>(keep, 10)));
      EXPECT_EQ(answer.candidates, static_cast<std::uint32_t>(keep));
      for (const auto& h : answer.hits) EXPECT_LT(std::get<std::int64_t>(*find(h.content->meta, "n")), keep);
    }
  }
}

TEST_F(CollectionTest, LinksAreFollowedByHops) {
  const auto linked = [&](const char* id, const char* text, std::vector<link> links) {
    item i = text_item(id, text);
    i.links = std::move(links);
    must(i);
  };
  linked("a", "start", {{"next", "b"}, {"next", "nowhere"}});
  linked("b", "second", {{"next", "c"}, {"back", "a"}});
  linked("c", "third", {{"next", "d"}});
  linked("d", "fourth", {});
  search_request r;
  r.mode = search_mode::lexical;
  r.hops = 2;
  const auto answer = search("start", r);
  ASSERT_EQ(answer.related.size(), 2);
  EXPECT_EQ(answer.related[0].content->id, "b");
  EXPECT_EQ(answer.related[0].hops, 1);
  EXPECT_EQ(answer.related[0].from, "a");
  EXPECT_EQ(answer.related[1].content->id, "c");
  EXPECT_EQ(answer.related[1].relation, "next");
  r.where = filter::none(filter::equal("@id", std::string{"b"}));
  EXPECT_TRUE(search("start", r).related.empty()) << "what the filter hides is no bridge either";
}

TEST_F(CollectionTest, DiversityBringsOthersForward) {
  for (int i = 0; i < 5; ++i) must(text_item("same" + std::to_string(i), "commit pipeline writes batches to the disk, copy " + std::to_string(i)));
  must(text_item("other", "the pipeline of a kitchen sink"));
  search_request r;
  r.k = 2;
  r.mode = search_mode::dense;
  EXPECT_TRUE(ids(search("commit pipeline writes batches", r))[1].starts_with("same"));
  r.diversity = 0.8;
  const auto diverse = ids(search("commit pipeline writes batches", r));
  EXPECT_TRUE(diverse[0].starts_with("same"));
  EXPECT_EQ(diverse[1], "other");
}

TEST_F(CollectionTest, ScoresBelowTheMinimumAreNoHits) {
  must(text_item("a", "alpha"));
  must(text_item("b", "omega"));
  search_request r;
  r.mode = search_mode::dense;
  const auto all = search("alpha", r);
  ASSERT_EQ(all.hits.size(), 2);
  r.min_score = (all.hits[0].score + all.hits[1].score) / 2;
  EXPECT_EQ(ids(search("alpha", r)), std::vector<std::string>{"a"});
}

TEST_F(CollectionTest, AFullCollectionSaysSo) {
  collection_limits small;
  small.items = 3;
  c = collection(c.space(), small);
  for (int i = 0; i < 3; ++i) must(text_item("i" + std::to_string(i), "text " + std::to_string(i)));
  EXPECT_EQ(put(text_item("i3", "text 3")).error().code, errc::resource_exhausted);
  EXPECT_EQ(must(text_item("i2", "other text")).status, put_status::updated);
  EXPECT_TRUE(c.remove("i0", at(t0)));
  must(text_item("i3", "text 3"));
}

TEST_F(CollectionTest, RewindForgetsAndOldViewsStay) {
  for (int i = 0; i < 100; ++i) must(text_item("i" + std::to_string(i), "text " + std::to_string(i)));
  const auto acknowledged = c.publish();
  std::vector<view_ptr> lost;
  for (int i = 50; i < 150; ++i) {
    must(text_item("i" + std::to_string(i), "lost " + std::to_string(i)));
    if (i % 7 == 0) lost.push_back(c.publish());
  }
  c.rewind(acknowledged);
  EXPECT_EQ(c.size(), 100);
  EXPECT_EQ(c.find("i70")->text, "text 70");
  EXPECT_FALSE(c.find("i120"));
  for (int i = 100; i < 200; ++i) must(text_item("i" + std::to_string(i), "after " + std::to_string(i)));
  EXPECT_EQ(c.size(), 200);
  EXPECT_GT(c.publish()->version(), lost.back()->version());
  for (const auto& v : lost) {
    EXPECT_EQ(v->get("i50", at(t0))->content->text, "lost 50");
    EXPECT_FALSE(v->get("i199", at(t0)));
  }
  search_request r;
  r.mode = search_mode::lexical;
  r.k = 1000;
  EXPECT_TRUE(search("lost", r).hits.empty());
  EXPECT_EQ(search("after", r).hits.size(), 100);
  EXPECT_EQ(search("text", r).hits.size(), 100);
}

TEST_F(CollectionTest, WhileLoadingAnswersArePartial) {
  for (int i = 0; i < 30; ++i) must(text_item("i" + std::to_string(i), "text " + std::to_string(i)));
  std::vector<std::string> rows;
  for (int i = 0; i < 30; ++i) rows.push_back(c.row("i" + std::to_string(i)));
  collection loading(c.space(), {});
  loading.expect(30);
  ASSERT_TRUE(loading.load({rows.begin(), rows.begin() + 20}));
  search_request r;
  r.text = "text";
  auto answer = loading.publish()->search(r, {});
  EXPECT_EQ(answer->quality, completeness::partial);
  EXPECT_EQ(answer->reason, "20 of 30 items are loaded");
  EXPECT_EQ(answer->candidates, 20);
  rows[25].resize(rows[25].size() / 2);
  const auto damaged = loading.load({rows.begin() + 20, rows.end()});
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().reason, "damaged_item");
  loading.loaded();
  answer = loading.publish()->search(r, {});
  EXPECT_EQ(answer->quality, completeness::exact);
  EXPECT_EQ(answer->candidates, 29);
}

TEST_F(CollectionTest, BytesFollowWhatIsStored) {
  const auto empty = c.bytes();
  EXPECT_LT(empty, 1000);
  for (int i = 0; i < 1000; ++i) must(text_item("i" + std::to_string(i), std::string(500, 'a') + std::to_string(i)));
  const auto full = c.bytes();
  EXPECT_GT(full, 1000 * (500 + 64 * 4 + 64));
  EXPECT_LT(full, 1000 * 2500);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(c.remove("i" + std::to_string(i), at(t0)));
  EXPECT_LT(c.publish()->bytes(), full / 2);
}

/// Readers search every view while the owner goes on; run under ThreadSanitizer.
/// A legal put may bring megabytes of text: the owner's turn does not read their words.
TEST_F(CollectionTest, WordsAreReadByTheFirstSearchThatNeedsThem) {
  std::string large;
  for (int i = 0; i < 5000; ++i) large += "word" + std::to_string(i) + " ";
  must(text_item("large", large));
  must(text_item("small", "a few words"));
  const auto before = c.publish();
  const auto bytes = before->bytes();
  search_request dense;
  dense.mode = search_mode::dense;
  dense.vector = std::vector<float>(64, 1.0F);
  search("", dense);
  EXPECT_EQ(before->bytes(), bytes) << "nothing was read";
  search_request lexical;
  lexical.mode = search_mode::lexical;
  EXPECT_EQ(ids(search("word4999", lexical)), std::vector<std::string>{"large"});
  EXPECT_GT(before->bytes(), bytes + 5000 * 8) << "and it counts";
  must(text_item("later", "word4999 comes again"));
  EXPECT_EQ(search("word4999", lexical).hits.size(), 2U);
  lexical.now = at(t0);
  lexical.text = "word4999";
  EXPECT_EQ(before->search(lexical, {})->hits.size(), 1U) << "an old view has the words of its rows";
}

TEST_F(CollectionTest, ReadersSearchWhileTheOwnerWrites) {
  std::mutex mutex;
  view_ptr current = c.publish();
  std::atomic<bool> done{false};
  std::atomic<int> searches{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 3; ++reader)
    readers.emplace_back([&, reader] {
      std::uint32_t round = 0;
      while (!done) {
        view_ptr v;
        {
          const std::lock_guard lock(mutex);
          v = current;
        }
        search_request r;
        r.text = "number " + std::to_string(round++ % 50);
        r.mode = static_cast<search_mode>((round + static_cast<std::uint32_t>(reader)) % 3);
        r.now = at(t0);
        r.k = 1000;
        if (round % 2) r.where = filter::between("n", value{std::int64_t{100}}, std::nullopt);
        const auto answer = v->search(r, {});
        ASSERT_TRUE(answer);
        std::set<std::string> different;
        for (const auto& h : answer->hits) {
          different.insert(h.content->id);
          ASSERT_LE(h.content->version, v->version());
          ASSERT_TRUE(v->get(h.content->id, at(t0)));
          ASSERT_EQ(v->get(h.content->id, at(t0))->content, h.content);
        }
        ASSERT_EQ(different.size(), answer->hits.size());
        ASSERT_GE(answer->candidates, answer->hits.size());
        searches.fetch_add(1);
      }
    });
  random_source chance(9);
  const int steps = test::sanitized ? 1500 : 6000;
  view_ptr kept = current;
  for (int step = 0; step < steps; ++step) {
    const auto n = static_cast<std::int64_t>(chance.below(900));
    const std::string id = "i" + std::to_string(n);
    if (chance.one_in(4)) {
      (void)c.remove(id, at(t0));
    } else {
      item i = text_item(id, "number " + std::to_string(n) + " step " + std::to_string(step));
      set(i.meta, "n", n);
      must(i);
    }
    if (chance.one_in(100)) c.rewind(kept);
    auto v = c.publish();
    if (chance.one_in(30)) kept = v;
    const std::lock_guard lock(mutex);
    current = std::move(v);
  }
  while (searches < 20) std::this_thread::yield();
  done = true;
  for (auto& t : readers) t.join();
}

} // namespace
} // namespace hive::vector
