// The registry of published views: only forward, only while open, the least used first when memory is short.
#include "actors/context/context_views.hpp"

#include "vector/collection.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

vector::view_ptr view_of(std::uint32_t items) {
  vector::collection c({vector::metric::cosine, 64, "hashing-1"}, {});
  for (std::uint32_t i = 0; i < items; ++i) {
    vector::item one;
    one.text = "item " + std::to_string(i);
    EXPECT_TRUE(c.put(std::move(one), {}, {}, wall_time{}));
  }
  return c.publish();
}

const entity_id of_one{tenant_id{1}, 16};
const entity_id of_two{tenant_id{1}, 17};
const entity_id elsewhere{tenant_id{2}, 16};

TEST(ContextViewsTest, AViewOnlyAdvancesAndOnlyWhileItIsOpen) {
  context_views views(1'000'000'000, [](entity_id) {});
  views.advance(of_one, view_of(1), 1);
  EXPECT_FALSE(views.find(of_one)) << "nobody owns it";
  views.open(of_one, {view_of(1), 5});
  views.advance(of_one, view_of(2), 7);
  EXPECT_EQ(views.find(of_one)->view->size(), 2U);
  views.advance(of_one, view_of(1), 6);
  EXPECT_EQ(views.find(of_one)->position, 7U) << "older";
  EXPECT_FALSE(views.find(elsewhere)) << "the same serial in another tenant is another collection";
  views.close(of_one);
  EXPECT_FALSE(views.find(of_one));
  EXPECT_EQ(views.bytes(), 0U);
  EXPECT_EQ(views.count(), 0U);
}

TEST(ContextViewsTest, BeyondItsBytesTheLeastUsedIsUnloaded) {
  const auto one = view_of(100);
  std::vector<entity_id> unloaded;
  context_views views(one->bytes() * 5 / 2, [&](entity_id id) { unloaded.push_back(id); });
  views.open(of_one, {one, 1});
  views.open(of_two, {one, 1});
  ASSERT_TRUE(views.find(of_one));
  views.open(elsewhere, {one, 1});
  EXPECT_EQ(unloaded, std::vector<entity_id>{of_two});
}

TEST(ContextViewsTest, WhatASearchBuiltCounts) {
  vector::collection items({vector::metric::cosine, 64, "hashing-1"}, {});
  vector::collection from({vector::metric::cosine, 64, "hashing-1"}, {});
  vector::item one;
  one.id = "x";
  for (int i = 0; i < 300; ++i) one.text += " word" + std::to_string(i);
  ASSERT_TRUE(from.put(std::move(one), {}, {}, wall_time{}));
  const auto row = from.row("x");
  ASSERT_TRUE(items.load({row}));
  const auto view = items.publish();
  std::vector<entity_id> unloaded;
  context_views views(view->bytes() * 2 + 1000, [&](entity_id id) { unloaded.push_back(id); });
  views.open(of_one, {view, 1});
  views.open(of_two, {view, 1});
  EXPECT_TRUE(unloaded.empty());
  const auto before = views.bytes();
  view->warm();
  views.measure(of_one);
  EXPECT_GT(views.bytes(), before + 1000);
  EXPECT_EQ(unloaded, std::vector<entity_id>{of_two});
  views.close(of_one);
  views.close(of_two);
  EXPECT_EQ(views.bytes(), 0U);
  views.measure(of_one); // gone meanwhile
}

TEST(ContextViewsTest, UseIsToldOnce) {
  context_views views(1'000'000, [](entity_id) {});
  views.open(of_one, {view_of(1), 1});
  EXPECT_TRUE(views.take_used(of_one));
  EXPECT_FALSE(views.take_used(of_one));
  (void)views.find(of_one);
  EXPECT_TRUE(views.take_used(of_one));
}

} // namespace
} // namespace hive::actors
