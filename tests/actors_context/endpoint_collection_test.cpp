// R7: collections whose vectors an endpoint makes: what it gives is stored with the item, and nothing is asked of it twice.
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

class EndpointCollectionTest : public testing::Test {
protected:
  EndpointCollectionTest() {
    kit_ = std::make_unique<testkit>(contexts_, dir_.path(), [](behaviour_registry&, executor_registry&) {});
    kit_->set_endpoint([this](const embedding_model& by, const std::vector<std::string>& texts) { return answer(by, texts); });
    kit_->add_collection("notes", {{"dimension", 8}, {"embedder", "endpoint"}, {"model", "m-1"}});
  }
  /// Never the same vector twice for a text: models on other hardware differ in the last bits.
  result<embeddings> answer(const embedding_model& by, const std::vector<std::string>& texts) {
    EXPECT_EQ(by.name, "m-1");
    EXPECT_EQ(by.dimension, 8U);
    ++calls_;
    if (why_not_) return *why_not_;
    embeddings out;
    for (const auto& t : texts) {
      asked_.push_back(t);
      std::vector<float> v(8, 0.01F * static_cast<float>(calls_));
      v[t.size() % 8] += 1;
      out.push_back(std::move(v));
    }
    return out;
  }
  test::test_contexts contexts_;
  test::scratch_dir dir_;
  std::unique_ptr<testkit> kit_;
  int calls_ = 0;
  std::vector<std::string> asked_;
  std::optional<error> why_not_;
};

TEST_F(EndpointCollectionTest, ItemsAndQueriesGetTheirVectorsThere) {
  const auto stored = kit_->put_items("notes", {{{"id", "a"}, {"text", "1"}}, {{"id", "b"}, {"text", "22"}},
                                                {{"id", "c"}, {"text", "333"}, {"vector", {1, 0, 0, 0, 0, 0, 0, 0}}}});
  ASSERT_TRUE(stored) << to_string(stored.error());
  EXPECT_EQ(asked_, (std::vector<std::string>{"1", "22"})) << "in one call, and not for what brought its vector";
  EXPECT_EQ(calls_, 1);
  const auto found = kit_->search("notes", {{"text", "xx"}, {"mode", "dense"}, {"k", 1}});
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(found->at("hits")[0].at("item").at("id"), "b");
  EXPECT_EQ(calls_, 2);
  EXPECT_TRUE(kit_->search("notes", {{"text", "22"}, {"mode", "lexical"}}));
  EXPECT_EQ(calls_, 2) << "words need no vector";
}

TEST_F(EndpointCollectionTest, WhatIsStoredIsNotMadeAgain) {
  const json items{{{"id", "a"}, {"text", "1"}}, {{"id", "b"}, {"text", "22"}}};
  ASSERT_TRUE(kit_->put_items("notes", items));
  const auto again = kit_->put_items("notes", items);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->at("results")[0].at("status"), "unchanged");
  EXPECT_EQ(calls_, 1);
  kit_->crash();
  EXPECT_EQ(kit_->collection("notes")->view->size(), 2U) << "rebuilt from rows, without the endpoint";
  const auto changed = kit_->put_items("notes", {{{"id", "a"}, {"text", "other"}}, {{"id", "b"}, {"text", "22"}}});
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->at("results")[0].at("status"), "updated");
  EXPECT_EQ(changed->at("results")[1].at("status"), "unchanged");
  EXPECT_EQ(asked_.back(), "other");
  EXPECT_EQ(calls_, 2);
}

TEST_F(EndpointCollectionTest, ARepeatOfAKeyIsAnsweredWithoutTheEndpoint) {
  const json items{{{"text", "1"}}};
  const auto first = kit_->put_items("notes", items, "key");
  ASSERT_TRUE(first);
  why_not_ = error{errc::unavailable, "embedding_unavailable", "down", {}, std::chrono::milliseconds{7}};
  const auto second = kit_->put_items("notes", items, "key");
  ASSERT_TRUE(second) << to_string(second.error());
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(calls_, 1);
}

TEST_F(EndpointCollectionTest, WhenItIsDownNothingIsStoredAndTheCallerHearsWhy) {
  why_not_ = error{errc::unavailable, "embedding_unavailable", "down", {}, std::chrono::milliseconds{7}};
  const auto stored = kit_->put_items("notes", {{{"id", "v"}, {"text", "has one"}, {"vector", {1, 0, 0, 0, 0, 0, 0, 0}}}, {{"text", "has none"}}});
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().code, errc::unavailable);
  EXPECT_EQ(stored.error().reason, "embedding_unavailable");
  EXPECT_EQ(stored.error().retry_after.count(), 7);
  EXPECT_EQ(kit_->collection("notes")->view->size(), 0U);
  const auto found = kit_->search("notes", {{"text", "x"}});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, errc::unavailable);
  const int before = calls_;
  EXPECT_EQ(kit_->search("notes", {{"text", "x"}, {"k", 0}}).error().field, "k") << "what is wrong is not worth a call";
  EXPECT_EQ(calls_, before);
  EXPECT_TRUE(kit_->search("notes", {{"text", "x"}, {"mode", "lexical"}}));
  why_not_.reset();
  EXPECT_TRUE(kit_->put_items("notes", {{{"text", "has none"}}}));
}

TEST_F(EndpointCollectionTest, AZeroVectorIsNamedWithItsItem) {
  kit_->set_endpoint([](const embedding_model&, const std::vector<std::string>& texts) -> result<embeddings> {
    return embeddings(texts.size(), std::vector<float>(8, 0));
  });
  const auto stored = kit_->put_items("notes", {{{"text", "x"}}});
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().field, "items[0].vector");
}

TEST_F(EndpointCollectionTest, WhateverCommitThePowerGoesAfterEachItemIsThereOnce) {
  for (std::uint64_t n = 1; n < 12; ++n) {
    kit_->crash_after_commits(n);
    for (int i = 0; i < 6; ++i) {
      const json items{{{"text", std::string(static_cast<std::size_t>(i) + 1, 'x')}}};
      for (int attempt = 0; attempt < 5; ++attempt)
        if (kit_->put_items("notes", items, "round-" + std::to_string(n) + "-" + std::to_string(i))) break;
    }
    EXPECT_EQ(kit_->collection("notes")->view->size(), 6U);
  }
}

TEST_F(EndpointCollectionTest, ModelAndDimensionArePinned) {
  const auto with = [&](json spec) { return kit_->admin("directory.apply", {{"collections", {{{"name", "notes"}, {"spec", spec}}}}}); };
  EXPECT_TRUE(with({{"dimension", 8}, {"embedder", "endpoint"}, {"model", "m-1"}}));
  EXPECT_FALSE(with({{"dimension", 8}, {"embedder", "endpoint"}, {"model", "m-2"}}));
  EXPECT_FALSE(with({{"dimension", 16}, {"embedder", "endpoint"}, {"model", "m-1"}}));
  EXPECT_FALSE(with({{"dimension", 8}}));
}

} // namespace
} // namespace hive::actors
