// R7: what an endpoint may do wrong, and what comes of it. The connection is a script; http_endpoint_test.cpp has sockets.
#include "actors/context/endpoint_embedder.hpp"
#include "config/base/payload.hpp"

#include <gtest/gtest.h>

#include <future>

namespace hive::actors {
namespace {

using json = nlohmann::json;
using std::chrono::milliseconds;

const embedding_model model{"m", 4};

std::vector<float> vector_of(const std::string& text) {
  const auto h = hash_of(text);
  return {static_cast<float>(h % 97), static_cast<float>(h % 89), static_cast<float>(h % 83), 1};
}

json answer_to(const json& request) {
  json data = json::array();
  std::size_t i = 0;
  for (const auto& text : request.at("input"))
    data.push_back({{"object", "embedding"}, {"index", i++}, {"embedding", vector_of(text.get<std::string>())}});
  return {{"object", "list"}, {"data", data}, {"model", request.at("model")}};
}

/// What all connections of one test share: its script, and what they were asked.
struct script {
  using act = std::function<result<endpoint_answer>(const json& request)>;
  std::mutex guard;
  std::deque<act> acts; ///< Then it answers as it should.
  std::vector<json> asked;
};

class scripted_connection final : public endpoint_connection {
public:
  explicit scripted_connection(script& s) : script_(s) {}
  result<endpoint_answer> post(const std::string& body, milliseconds wait, const std::atomic<bool>& stop) override {
    EXPECT_GT(wait.count(), 0);
    const auto request = json::parse(body);
    script::act next;
    {
      std::lock_guard lock(script_.guard);
      script_.asked.push_back(request);
      if (!script_.acts.empty()) {
        next = std::move(script_.acts.front());
        script_.acts.pop_front();
      }
    }
    if (!next) return endpoint_answer{200, answer_to(request).dump(), {}};
    auto answer = next(request);
    if (stop) return error{errc::unavailable, "stopping", "stopping", {}, {}};
    return answer;
  }

private:
  script& script_;
};

script::act status(unsigned code, std::string body = "{}", milliseconds retry_after = {}) {
  return [=](const json&) -> result<endpoint_answer> { return endpoint_answer{code, body, retry_after}; };
}
script::act broken() {
  return [](const json&) -> result<endpoint_answer> {
    return error{errc::unavailable, "embedding_unavailable", "broke off", {}, {}};
  };
}
script::act changed(std::function<void(json&)> how) {
  return [=](const json& request) -> result<endpoint_answer> {
    auto answer = answer_to(request);
    how(answer);
    return endpoint_answer{200, answer.dump(), {}};
  };
}

class EndpointEmbedderTest : public testing::Test {
protected:
  EndpointEmbedderTest() {
    settings_.backoff = milliseconds{1};
    settings_.connections = 1;
  }
  endpoint_embedder& embedder() {
    if (!embedder_)
      embedder_ = std::make_unique<endpoint_embedder>(
          settings_, [this] { return std::make_unique<scripted_connection>(script_); }, 1);
    return *embedder_;
  }
  result<embeddings> embed(std::vector<std::string> texts, const embedding_model& by = model) {
    std::promise<result<embeddings>> got;
    embedder().embed(tenant_id{7}, by, std::move(texts), [&](result<embeddings> r) { got.set_value(std::move(r)); });
    return got.get_future().get();
  }
  void expect_all(const std::vector<std::string>& texts) {
    const auto got = embed(texts);
    ASSERT_TRUE(got) << to_string(got.error());
    ASSERT_EQ(got->size(), texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ((*got)[i], vector_of(texts[i])) << texts[i];
  }
  config::embedding_settings settings_;
  script script_;
  std::unique_ptr<endpoint_embedder> embedder_;
};

std::vector<std::string> some_texts(std::size_t n) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back("text " + std::to_string(i));
  return all;
}

TEST_F(EndpointEmbedderTest, TextsGoInBatchesAndComeBackInOrder) {
  settings_.batch_texts = 10;
  settings_.connections = 3;
  expect_all(some_texts(95));
  EXPECT_EQ(script_.asked.size(), 10U);
  for (const auto& request : script_.asked) {
    EXPECT_LE(request.at("input").size(), 10U);
    EXPECT_EQ(request.at("model"), "m");
    EXPECT_FALSE(request.contains("dimensions"));
  }
}

TEST_F(EndpointEmbedderTest, BatchesAreBoundedByBytesToo) {
  settings_.batch_bytes = 1024;
  std::vector<std::string> texts;
  for (char c = 'a'; c < 'k'; ++c) texts.emplace_back(400, c);
  texts.emplace_back(5000, 'z'); // goes alone
  expect_all(texts);
  EXPECT_EQ(script_.asked.size(), 6U);
}

TEST_F(EndpointEmbedderTest, TheSameTextIsAskedForOnce) {
  expect_all({"a", "b", "a", "a"});
  expect_all({"b", "c"});
  ASSERT_EQ(script_.asked.size(), 2U);
  EXPECT_EQ(script_.asked[0].at("input"), json({"a", "b"}));
  EXPECT_EQ(script_.asked[1].at("input"), json({"c"}));
  const auto other = embed({"a"}, {"another model", 4});
  ASSERT_TRUE(other);
  EXPECT_EQ(script_.asked.size(), 3U) << "another model's vectors are others";
}

TEST_F(EndpointEmbedderTest, AnswersMayComeInAnyOrder) {
  script_.acts.push_back(changed([](json& a) { std::reverse(a["data"].begin(), a["data"].end()); }));
  expect_all({"x", "y", "z"});
}

TEST_F(EndpointEmbedderTest, WhatPassesIsTriedAgain) {
  for (const auto& act : {broken(), status(500), status(503, "busy"), status(429, "{}", milliseconds{5}), status(408)}) {
    script_.acts = {act, act};
    script_.asked.clear();
    expect_all({"text for " + std::to_string(reinterpret_cast<std::uintptr_t>(&act))});
    EXPECT_EQ(script_.asked.size(), 3U);
  }
}

TEST_F(EndpointEmbedderTest, AnswersThatAreNoneAreTriedAgain) {
  const std::vector<std::function<void(json&)>> faults{
      [](json& a) { a = json::array(); },
      [](json& a) { a = "OK"; },
      [](json& a) { a.erase("data"); },
      [](json& a) { a["data"] = "x"; },
      [](json& a) { a["data"].erase(0); },
      [](json& a) { a["data"].push_back(a["data"][0]); },
      [](json& a) { a["data"][0]["index"] = 1; },
      [](json& a) { a["data"][0]["index"] = 7; },
      [](json& a) { a["data"][0]["index"] = -1; },
      [](json& a) { a["data"][0]["index"] = "0"; },
      [](json& a) { a["data"][0] = 3; },
      [](json& a) { a["data"][0]["embedding"] = "AAAA"; },
      [](json& a) { a["data"][0]["embedding"][2] = nullptr; },
      [](json& a) { a["data"][0]["embedding"][2] = 1e300; },
  };
  for (std::size_t i = 0; i < faults.size(); ++i) {
    SCOPED_TRACE(i);
    script_.acts = {changed(faults[i])};
    expect_all({"a" + std::to_string(i), "b" + std::to_string(i)});
  }
  script_.acts = {status(200, "{\"data\": [{\"embedding\": [NaN"), status(200, ""), status(200, std::string(100'000, '['))};
  expect_all({"c"});
}

TEST_F(EndpointEmbedderTest, AttemptsHaveAnEndAndAnErrorThatSaysWhy) {
  script_.acts = {status(503), status(503), status(503), status(503, R"({"error": {"message": "no room"}})")};
  const auto got = embed({"a"});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, errc::unavailable);
  EXPECT_EQ(got.error().reason, "embedding_unavailable");
  EXPECT_NE(got.error().message.find("503: no room"), std::string::npos) << got.error().message;
  EXPECT_GT(got.error().retry_after.count(), 0);
  EXPECT_EQ(script_.asked.size(), 4U);
}

TEST_F(EndpointEmbedderTest, ARefusalIsNotRepeated) {
  for (const unsigned code : {400U, 401U, 403U, 404U, 413U, 422U, 302U}) {
    script_.acts = {status(code, R"({"error": {"message": "no such model"}})")};
    script_.asked.clear();
    const auto got = embed({"a"});
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, errc::failed_precondition) << code;
    EXPECT_EQ(got.error().reason, "embedding_refused");
    EXPECT_NE(got.error().message.find("no such model"), std::string::npos);
    EXPECT_EQ(script_.asked.size(), 1U);
  }
}

TEST_F(EndpointEmbedderTest, AnotherDimensionIsAnErrorAndNothingIsKeptOfIt) {
  const auto got = embed({"a"}, {"m", 5});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason, "embedding_dimension");
  EXPECT_EQ(script_.asked.size(), 1U);
}

TEST_F(EndpointEmbedderTest, WhatWasMadeBeforeAFailureIsNotMadeAgain) {
  settings_.batch_texts = 1;
  settings_.attempts = 1;
  script_.acts = {changed([](json&) {}), status(500)};
  ASSERT_FALSE(embed({"a", "b", "c"}));
  EXPECT_EQ(script_.asked.size(), 2U) << "after a failure the rest is not asked for";
  expect_all({"a", "b", "c"});
  EXPECT_EQ(script_.asked.size(), 4U);
}

TEST_F(EndpointEmbedderTest, AnEndpointThatIsDownIsLeftAlone) {
  settings_.attempts = 2;
  for (int i = 0; i < 100; ++i) script_.acts.push_back(broken());
  std::size_t fast = 0;
  for (int i = 0; i < 20; ++i) {
    const auto before = script_.asked.size();
    const auto got = embed({"a"});
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, errc::unavailable);
    if (script_.asked.size() == before) ++fast;
  }
  EXPECT_GE(fast, 15U);
  script_.acts.clear(); // it is back
  result<embeddings> got = error{};
  for (int i = 0; i < 200 && !got; ++i) {
    std::this_thread::sleep_for(milliseconds{25});
    got = embed({"a"});
  }
  EXPECT_TRUE(got);
}

TEST_F(EndpointEmbedderTest, TheDeadlineBoundsAllAttempts) {
  settings_.deadline = milliseconds{200};
  settings_.attempts = 20;
  script_.acts = {status(429, "{}", milliseconds{60'000})};
  const auto began = std::chrono::steady_clock::now();
  const auto got = embed({"a"});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().retry_after, milliseconds{60'000}) << "as the endpoint asked";
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{5});
}

TEST_F(EndpointEmbedderTest, TooManyWaitingRequestsAreRefused) {
  settings_.waiting = 2;
  settings_.batch_texts = 1;
  std::promise<void> go;
  auto opened = go.get_future().share();
  script_.acts.push_back([opened](const json& request) -> result<endpoint_answer> {
    opened.wait();
    return endpoint_answer{200, answer_to(request).dump(), {}};
  });
  std::atomic<int> good{0};
  std::atomic<int> refused{0};
  for (int i = 0; i < 10; ++i)
    embedder().embed(tenant_id{7}, model, {"t" + std::to_string(i)}, [&](const result<embeddings>& r) {
      ++(r ? good : refused);
      EXPECT_TRUE(r || r.error().code == errc::resource_exhausted);
    });
  EXPECT_GE(refused.load(), 7);
  go.set_value();
  while (good + refused < 10) std::this_thread::sleep_for(milliseconds{1});
  EXPECT_GE(good.load(), 2);
}

TEST_F(EndpointEmbedderTest, AStopBreaksOffWhatIsUnderWay) {
  settings_.backoff = milliseconds{60'000};
  settings_.deadline = milliseconds{600'000};
  script_.acts = {broken()};
  std::atomic<bool> called{false};
  embedder().embed(tenant_id{7}, model, {"a"}, [&](const result<embeddings>&) { called = true; });
  while (true) {
    std::lock_guard lock(script_.guard);
    if (!script_.asked.empty()) break;
  }
  const auto began = std::chrono::steady_clock::now();
  embedder_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{5});
  EXPECT_FALSE(called);
}

TEST_F(EndpointEmbedderTest, WithoutAnEndpointTheErrorNamesTheSetting) {
  endpoint_embedder none(settings_, nullptr, 1);
  none.embed(tenant_id{7}, model, {"a"}, [](const result<embeddings>& r) {
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().reason, "no_embedding_endpoint");
    EXPECT_NE(r.error().message.find("embedding.url"), std::string::npos);
  });
}

TEST(EmbeddingCacheTest, TheLeastUsedGoFirstAndBytesAreBounded) {
  embedding_cache cache(4000);
  for (int i = 0; i < 100; ++i) {
    cache.put(model, "t" + std::to_string(i), std::vector<float>(16, static_cast<float>(i)));
    ASSERT_TRUE(cache.find(model, "t0")) << "used again and again";
    EXPECT_LE(cache.bytes(), 4000U);
  }
  EXPECT_FALSE(cache.find(model, "t1"));
  EXPECT_EQ((*cache.find(model, "t99"))[0], 99);
  EXPECT_FALSE(cache.find({"m", 5}, "t99"));
  embedding_cache none(0);
  none.put(model, "a", {1});
  EXPECT_FALSE(none.find(model, "a"));
}

} // namespace
} // namespace hive::actors
