// R7: vectors for turns: made in slices elsewhere, and an endpoint is waited for only so long.
#include "actors/context/turn_embedder.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace hive::actors {
namespace {

using std::chrono::milliseconds;

/// Answers when it is told to.
struct slow_endpoint final : text_embedder {
  void embed(tenant_id, embedding_model, std::vector<std::string>, std::function<void(result<embeddings>)> done) override {
    if (at_hand) return done(embeddings{{1, 2}});
    waiting.push_back(std::move(done));
  }
  bool at_hand = false;
  std::vector<std::function<void(result<embeddings>)>> waiting;
};

class TurnEmbedderTest : public testing::Test {
protected:
  void ask(const embedding_model& by, std::vector<std::string> texts) {
    turns_.embed(tenant_id{7}, by, std::move(texts), [this](result<embeddings> made) { answers_.push_back(std::move(made)); });
  }
  slow_endpoint endpoint_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::pair<milliseconds, std::function<void()>>> later_;
  std::vector<result<embeddings>> answers_;
  turn_embedder turns_{endpoint_,
                       [this](tenant_id whose, std::function<void()> job) {
                         EXPECT_EQ(whose, tenant_id{7});
                         jobs_.push_back(std::move(job));
                       },
                       [this](milliseconds wait, std::function<void()> job) { later_.emplace_back(wait, std::move(job)); }, milliseconds{3000}};
};

TEST_F(TurnEmbedderTest, TheBuiltInOneWorksElsewhereASliceAtATime) {
  std::vector<std::string> texts;
  for (int i = 0; i < 46; ++i) {
    texts.push_back("text " + std::to_string(i));
    texts.back().resize(64 * 1024, 'x');
  }
  texts.emplace_back("");
  ask({"hashing-1", 16, true}, texts);
  EXPECT_TRUE(answers_.empty()) << "not on the thread that asks";
  int slices = 0;
  for (; !jobs_.empty(); ++slices) {
    const auto job = std::move(jobs_.front());
    jobs_.pop_front();
    EXPECT_TRUE(jobs_.empty()) << "one tenant's put is one job at a time";
    job();
  }
  EXPECT_EQ(slices, 47) << "so that others' searches come in between";
  ASSERT_EQ(answers_.size(), 1U);
  ASSERT_TRUE(answers_[0]);
  EXPECT_EQ(*answers_[0], built_in_vectors(16, texts));
  EXPECT_EQ(answers_[0]->front().size(), 16U);
  EXPECT_TRUE(answers_[0]->back().empty()) << "the collection says what is wrong with it";
}

TEST_F(TurnEmbedderTest, ATurnWaitsForTheEndpointOnlySoLong) {
  ask({"m", 2}, {"x"});
  ASSERT_EQ(later_.size(), 1U);
  EXPECT_EQ(later_[0].first, milliseconds{3000});
  later_[0].second();
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_EQ(answers_[0].error().code, errc::unavailable);
  EXPECT_EQ(answers_[0].error().reason, "embedding_slow");
  EXPECT_GT(answers_[0].error().retry_after.count(), 0);
  endpoint_.waiting[0](embeddings{{1, 2}});
  EXPECT_EQ(answers_.size(), 1U) << "answered once";

  ask({"m", 2}, {"x"});
  endpoint_.waiting[1](embeddings{{1, 2}});
  later_[1].second();
  ASSERT_EQ(answers_.size(), 2U);
  EXPECT_TRUE(answers_[1]);

  endpoint_.at_hand = true;
  ask({"m", 2}, {"x"});
  EXPECT_EQ(answers_.size(), 3U);
  EXPECT_EQ(later_.size(), 2U) << "what is at hand needs no clock";
}

} // namespace
} // namespace hive::actors
