// R7: a collection as an entity: what was acknowledged is found, what was not is not, whatever commit the power goes after.
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

json text_item(const std::string& id, const std::string& text) { return {{"id", id}, {"text", text}}; }

std::set<std::string> ids_in(const json& answer) {
  std::set<std::string> ids;
  for (const auto& h : answer.at("hits")) ids.insert(h.at("item").at("id").get<std::string>());
  return ids;
}

/// Remembers, searches and packs as it is told.
class rememberer final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    const json body = m.parse();
    if (m.type == "remember") {
      const json items = body.at("items");
      const auto stored = co_await self.remember("notes", items);
      payload answer =
          stored
              ? *stored
              : json_payload({{"error", stored.error().field}, {"code", std::string(to_string(stored.error().code))}});
      self.reply(std::move(answer));
    } else {
      auto step = m.type == "pack" ? self.pack("notes", body) : self.search("notes", body);
      const auto found = co_await step;
      if (found) self.append("seen", found->bytes);
      const std::chrono::milliseconds pause{10};
      co_await self.sleep(pause);
      payload answer =
          found ? *found : json_payload({{"error", found.error().field}, {"reason", found.error().reason}});
      self.reply(std::move(answer));
    }
  }
};

class ContextTest : public testing::Test {
protected:
  std::unique_ptr<testkit> make(config::settings settings = {}, std::uint64_t seed = 1) {
    dirs_.push_back(std::make_unique<test::scratch_dir>());
    auto kit = std::make_unique<testkit>(
        contexts_, dirs_.back()->path(),
        [](behaviour_registry& b, executor_registry&) { b.add("rememberer", std::make_unique<rememberer>()); },
        std::move(settings), seed);
    kit->add_collection("notes", {{"dimension", 64}});
    kit->add_agent("ann", "rememberer");
    return kit;
  }
  test::test_contexts contexts_;
  std::vector<std::unique_ptr<test::scratch_dir>> dirs_;
};

TEST_F(ContextTest, WhatIsPutIsFoundWhenThePutIsAnswered) {
  auto kit = make();
  const auto put = kit->put_items(
      "notes", {text_item("a", "the fence refuses an older epoch"), text_item("b", "bread is baked at noon")});
  ASSERT_TRUE(put) << to_string(put.error());
  EXPECT_EQ(put->at("results")[0].at("status"), "created");
  const auto found = kit->search("notes", {{"text", "which epoch is refused"}, {"k", 1}});
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(ids_in(*found), std::set<std::string>{"a"});
  EXPECT_EQ(found->at("quality"), "exact");
  EXPECT_GE(found->at("position"), put->at("position"));
}

TEST_F(ContextTest, WhatIsNotOnDiskIsNotFound) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", json::array({text_item("a", "apple")})));
  bool refuse = true;
  kit->refuse_commits([&]() -> std::optional<error> {
    if (!refuse) return std::nullopt;
    return error{errc::unavailable, "no_space", "the disk is full"};
  });
  EXPECT_FALSE(kit->put_items("notes", json::array({text_item("b", "banana")})));
  refuse = false;
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "banana apple"}})), std::set<std::string>{"a"});
  ASSERT_TRUE(kit->put_items("notes", json::array({text_item("b", "banana again")}))) << "and the collection goes on";
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "banana apple"}})), (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(kit->search("notes", {{"text", "banana"}, {"mode", "lexical"}})->at("hits").size(), 1U)
      << "the first one left nothing";
}

TEST_F(ContextTest, ABatchIsAllOrNothingAndNamesTheItemAtFault) {
  auto kit = make();
  struct bad {
    json item;
    std::string field;
    errc code = errc::invalid_argument;
  };
  const std::vector<bad> all{
      {{{"id", "x"}, {"text", ""}}, "items[1].text"},
      {{{"id", "x"}, {"text", "x"}, {"vector", {1, 2, 3}}}, "items[1].vector"},
      {{{"id", "x"}, {"text", "x"}, {"vector", "none"}}, "items[1].vector"},
      {{{"id", "x"}, {"text", "x"}, {"importance", 2}}, "items[1].importance"},
      {{{"id", "x"}, {"text", "x"}, {"trust", "system"}}, "items[1].trust"},
      {{{"id", "x"}, {"text", "x"}, {"trsut", "user"}}, "items[1].trsut"},
      {{{"id", "x"}, {"text", "x"}, {"metadata", {{"$gt", 1}}}}, "items[1].metadata"},
      {{{"id", "x"}, {"text", "x"}, {"expires_at", "tomorrow"}}, "items[1].expires_at"},
      {{{"id", "x"}, {"text", "x"}, {"supersedes", "nobody"}}, "items[1].supersedes", errc::not_found},
      {{{"id", "x"}, {"text", "x"}, {"expected_version", 4}}, "items[1].expected_version", errc::conflict},
  };
  for (const auto& [item, field, code] : all) {
    const auto put = kit->put_items("notes", {text_item("good", "good"), item});
    ASSERT_FALSE(put) << item;
    EXPECT_EQ(put.error().code, code) << item << put.error().message;
    EXPECT_TRUE(put.error().field.starts_with(field)) << item << " " << put.error().field;
    EXPECT_EQ(kit->collection("notes")->view->size(), 0U) << "nothing of it is there";
  }
  ASSERT_TRUE(kit->put_items("notes", json::array({text_item("good", "good")})));
  EXPECT_EQ(kit->collection("notes")->view->size(), 1U);
}

TEST_F(ContextTest, TheSameFactsFromManyWritersAreThereOnce) {
  config::settings settings;
  settings.entity.mailbox_messages = 100'000;
  auto kit = make(settings);
  constexpr int writers = 64;
  constexpr int facts = 1000;
  constexpr int batch = 50;
  for (int w = 0; w < writers; ++w)
    for (int from = 0; from < facts; from += batch) {
      json items = json::array();
      for (int i = from; i < from + batch; ++i)
        items.push_back({{"text", "fact number " + std::to_string((i + w * 37) % facts)}});
      const auto put = kit->put_items("notes", items);
      ASSERT_TRUE(put) << to_string(put.error());
    }
  EXPECT_EQ(kit->collection("notes")->view->size(), 1000U);
  kit->crash();
  EXPECT_EQ(kit->collection("notes")->view->size(), 1000U);
}

TEST_F(ContextTest, VersionsAreComparedAndSupersededItemsEnd) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", json::array({text_item("a", "the sky is green")})));
  ASSERT_TRUE(kit->put_items("notes", {{{"id", "a"}, {"text", "the sky is blue"}, {"expected_version", 1}}}));
  const auto late = kit->put_items("notes", {{{"id", "a"}, {"text", "the sky is red"}, {"expected_version", 1}}});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, errc::conflict);
  kit->advance(std::chrono::seconds{5});
  ASSERT_TRUE(kit->put_items("notes", {{{"id", "b"}, {"text", "the sky is grey today"}, {"supersedes", "a"}}}));
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "sky"}})), std::set<std::string>{"b"});
  kit->crash();
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "sky"}})), std::set<std::string>{"b"});
  EXPECT_EQ(kit->collection("notes")
                ->view->get("a", wall_time{std::chrono::milliseconds{1'700'000'000'000}})
                ->content->superseded_by,
            "b");
}

TEST_F(ContextTest, IdHasNoControlCharacters) {
  auto kit = make();
  const auto refused = kit->put_items("notes", json::array({text_item("a", "the sky is blue"), text_item("b\n", "the sea is too")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid_argument);
  EXPECT_EQ(refused.error().field, "items[1].id");
}

TEST_F(ContextTest, BatchWhoseAnswerWouldBeTooLargeIsRefusedWhole) {
  config::settings few;
  few.entity.payload_bytes = 4096;
  auto kit = make(few);
  json items = json::array();
  for (int i = 0; i < 30; ++i) items.push_back(text_item(std::string(200, 'x') + std::to_string(i), "fact number " + std::to_string(i)));
  const auto refused = kit->put_items("notes", items);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid_argument);
  EXPECT_EQ(refused.error().field, "items");
  EXPECT_EQ(kit->collection("notes")->view->size(), 0U);
  items.erase(items.begin() + 10, items.end());
  EXPECT_TRUE(kit->put_items("notes", items));
  EXPECT_EQ(kit->collection("notes")->view->size(), 10U);
}

TEST_F(ContextTest, TimerOfADeletedCollectionGoesWithoutADeadLetter) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", {{{"id", "short"}, {"text", "gone soon"}, {"ttl_ms", 600'000}}}));
  ASSERT_TRUE(kit->admin("directory.delete", {{"kind", "context"}, {"name", "notes"}}));
  kit->settle();
  EXPECT_NE(kit->timers_set(), 0);
  kit->advance(std::chrono::minutes{11});
  kit->settle();
  EXPECT_TRUE(kit->reader().dead_letters(kit->context(), 0, 10)->empty());
  EXPECT_EQ(kit->timers_set(), 0);
}

TEST_F(ContextTest, ExpiredItemsAreGoneToTheSecondAndThenFromTheDisk) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", {{{"id", "short"}, {"text", "gone soon"}, {"ttl_ms", 5000}},
                                       {{"id", "long"}, {"text", "gone later"}, {"ttl_ms", 60'000}},
                                       text_item("kept", "gone never")}));
  kit->advance(std::chrono::milliseconds{4900});
  EXPECT_EQ(kit->search("notes", {{"text", "gone"}})->at("hits").size(), 3U);
  kit->advance(std::chrono::milliseconds{200});
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "gone"}})), (std::set<std::string>{"long", "kept"}));
  kit->settle(std::chrono::seconds{5});
  const auto id = kit->reader().find(kit->context(), entity_kind::context, "notes")->id;
  EXPECT_EQ(kit->reader().items(kit->context(), id, "i/", "", 10)->size(), 2U) << "purged by the timer";
  kit->crash(); // the next expiry is still known
  kit->advance(std::chrono::seconds{70});
  kit->settle(std::chrono::seconds{5});
  EXPECT_EQ(kit->reader().items(kit->context(), id, "i/", "", 10)->size(), 1U);
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "gone"}})), std::set<std::string>{"kept"});
}

TEST_F(ContextTest, DeletedItemsAreGone) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", {text_item("a", "one"), text_item("b", "one two")}));
  const auto gone = kit->ask_collection("notes", "items.delete", json_payload({{"ids", {"a", "nobody"}}}));
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->at("deleted"), 1);
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "one"}})), std::set<std::string>{"b"});
  kit->crash();
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "one"}})), std::set<std::string>{"b"});
}

TEST_F(ContextTest, AfterACrashAtAnyCommitTheIndexIsWhatTheRowsSay) {
  const std::vector<json> texts{"a lease ends unless it is renewed", "an epoch rises and is never reused",
                                "the journal is bounded", "a shard has one owner"};
  const auto scenario = [&](testkit& kit) {
    for (std::size_t i = 0; i < texts.size(); ++i)
      for (int attempt = 0; attempt < 20; ++attempt) {
        const auto put =
            kit.put_items("notes", {{{"id", "n" + std::to_string(i)}, {"text", texts[i]}, {"ttl_ms", 1000 * (i + 60)}}},
                          "put-" + std::to_string(i));
        if (put) {
          EXPECT_EQ(put->at("results")[0].at("status"), "created") << "the repeat hears what the first one did";
          break;
        }
      }
    for (int attempt = 0; attempt < 20; ++attempt)
      if (kit.ask_collection("notes", "items.delete", json_payload({{"ids", {"n2"}}}), "delete")) break;
  };
  const auto check = [&](testkit& kit) {
    const json query{{"text", "epoch owner lease journal"}, {"k", 10}};
    const auto before = kit.search("notes", query);
    ASSERT_TRUE(before) << to_string(before.error());
    EXPECT_EQ(before->at("hits").size(), 3U);
    kit.crash();
    const auto after = kit.search("notes", query);
    ASSERT_TRUE(after);
    EXPECT_EQ(before->at("hits"), after->at("hits"));
    EXPECT_EQ(before->at("position"), after->at("position"));
  };
  crash_at_every_commit([this] { return make(); }, scenario, check);
}

TEST_F(ContextTest, AgentsRememberSearchAndPackInSteps) {
  auto kit = make();
  const auto stored = kit->ask("ann", "remember",
                               {{"items",
                                 {{{"id", "a"},
                                   {"text", "the coordinator starts the readers"},
                                   {"metadata", {{"file", "x.cpp"}, {"line", 7}}}}}}});
  ASSERT_TRUE(stored) << to_string(stored.error());
  EXPECT_EQ(stored->at("results")[0].at("status"), "created");
  const auto found = kit->ask("ann", "search", {{"text", "who starts readers"}});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->at("hits").size(), 1U) << *found;
  const auto& item = found->at("hits")[0].at("item");
  EXPECT_EQ(item.at("source"), "agent/ann");
  EXPECT_EQ(item.at("trust"), "agent");
  EXPECT_EQ(item.at("metadata").at("line"), 7);
  EXPECT_EQ(kit->ask("ann", "pack", {{"text", "readers"}, {"tokens", 50}})->at("passages").size(), 1U);
  EXPECT_EQ(kit->ask("ann", "search", {{"text", "x"}, {"filter", {{"line", {{"$near", 3}}}}}})->at("error"),
            "filter.line.$near");
  const auto wrong = kit->ask("ann", "remember", {{"items", {{{"text", "x"}, {"trust", "user"}}}}});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().field, "items[0].trust") << "an agent cannot say that a person said it";
}

TEST_F(ContextTest, AReplayedTurnSeesTheHitsThatItSawFirst) {
  const auto scenario = [](testkit& kit) {
    for (int attempt = 0; attempt < 20; ++attempt)
      if (kit.put_items("notes", json::array({text_item("a", "alpha")}), "first")) break;
    const auto seen = kit.ask_until_answered("ann", "search", {{"text", "alpha"}}, "look");
    ASSERT_TRUE(seen) << to_string(seen.error());
    EXPECT_EQ(seen->at("hits").size(), 1U);
  };
  crash_at_every_commit([this] { return make(); }, scenario, [](testkit&) {});
}

TEST_F(ContextTest, AColdCollectionIsUnloadedAndAnswersAgain) {
  config::settings settings;
  settings.context.memory_bytes = 1024 * 1024;
  auto kit = make(settings);
  for (const char* name : {"c1", "c2", "c3"}) {
    kit->add_collection(name, {{"dimension", 384}});
    json items = json::array();
    for (int i = 0; i < 300; ++i) items.push_back({{"text", std::string(name) + " item " + std::to_string(i)}});
    ASSERT_TRUE(kit->put_items(name, items));
    kit->run();
  }
  EXPECT_LT(kit->views().count(), 3U) << "together they are over the budget";
  for (const char* name : {"c1", "c2", "c3"}) {
    const auto found = kit->search(name, {{"text", std::string(name) + " item 17"}, {"k", 1}});
    ASSERT_TRUE(found) << to_string(found.error());
    EXPECT_EQ(found->at("hits")[0].at("item").at("text"), std::string(name) + " item 17");
    kit->run();
  }
}

TEST_F(ContextTest, AnIdleCollectionStaysWhileItIsSearched) {
  config::settings settings;
  settings.passivation.idle = std::chrono::milliseconds{1000};
  auto kit = make(settings);
  ASSERT_TRUE(kit->put_items("notes", json::array({text_item("a", "alpha")})));
  const auto id = kit->reader().find(kit->context(), entity_kind::context, "notes")->id;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(kit->views().find(id)) << "searched a moment ago, at step " << i;
    kit->advance(std::chrono::milliseconds{400});
  }
  kit->advance(std::chrono::seconds{10});
  EXPECT_EQ(kit->views().count(), 0U);
  EXPECT_EQ(ids_in(*kit->search("notes", {{"text", "alpha"}})), std::set<std::string>{"a"});
}

TEST_F(ContextTest, WhatACollectionMeasuresWithIsFixed) {
  auto kit = make();
  const auto change = [&](json spec) {
    return kit->admin("directory.apply", {{"collections", {{{"name", "notes"}, {"spec", std::move(spec)}}}}});
  };
  EXPECT_EQ(change({{"dimension", 64}})->at("unchanged"), 1);
  const auto other = change({{"dimension", 128}});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, errc::failed_precondition);
  EXPECT_EQ(other.error().field, "collections[0].spec");
  for (const auto& [spec, field] : std::vector<std::pair<json, std::string>>{{{{"dimension", 7}}, "dimension"},
                                                                             {{{"dimension", 5000}}, "dimension"},
                                                                             {{{"metric", "manhattan"}}, "metric"},
                                                                             {{{"embedder", "magic"}}, "embedder"},
                                                                             {{{"embedder", "endpoint"}}, "model"}, {{{"model", "m"}}, "model"}, {{{"embedder", "endpoint"}, {"model", "a b"}}, "model"},
                                                                             {{{"dim", 8}}, "dim"}}) {
    const auto refused = kit->admin("directory.apply", {{"collections", {{{"name", "other"}, {"spec", spec}}}}});
    ASSERT_FALSE(refused) << spec;
    EXPECT_EQ(refused.error().field, "collections[0].spec." + field);
  }
}

TEST_F(ContextTest, ADeletedCollectionIsGoneAndItsSuccessorIsEmpty) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", json::array({text_item("a", "alpha")})));
  ASSERT_TRUE(kit->search("notes", {{"text", "alpha"}}));
  ASSERT_TRUE(kit->admin("directory.delete", {{"kind", "context"}, {"name", "notes"}}));
  kit->settle();
  EXPECT_EQ(kit->search("notes", {{"text", "alpha"}}).error().code, errc::not_found);
  EXPECT_EQ(kit->put_items("notes", json::array({text_item("a", "alpha")})).error().code, errc::not_found);
  EXPECT_EQ(kit->views().count(), 0U);
  kit->add_collection("notes", {{"dimension", 64}});
  EXPECT_EQ(kit->collection("notes")->view->size(), 0U);
}

TEST_F(ContextTest, VectorsAreNotMadeInTheOwnersTurn) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", {text_item("a", "alpha"), text_item("b", "beta"), {{"text", "own"}, {"vector", json(std::vector<float>(64, 1))}}}));
  EXPECT_EQ(kit->built_in_texts(), 2U);
  ASSERT_TRUE(kit->put_items("notes", {text_item("a", "alpha"), text_item("b", "gamma")}));
  EXPECT_EQ(kit->built_in_texts(), 3U) << "what is stored keeps its vector";
  EXPECT_EQ(kit->put_items("notes", {text_item("a", "alpha"), text_item("c", "")}).error().field, "items[1].text");
}

TEST_F(ContextTest, NoVersionOfAnIdComesTwice) {
  auto kit = make();
  const auto version = [&](const std::string& text) {
    const auto put = kit->put_items("notes", json::array({text_item("a", text)}));
    EXPECT_TRUE(put) << to_string(put.error());
    return put->at("results")[0].at("version").get<int>();
  };
  const auto remove = [&] { ASSERT_TRUE(kit->ask_collection("notes", "items.delete", json_payload({{"ids", {"a"}}}))); };
  EXPECT_EQ(version("one"), 1);
  EXPECT_EQ(version("two"), 2);
  remove();
  kit->crash();
  EXPECT_EQ(version("three"), 3) << "rows do not tell, so it is kept beside them";
  remove();
  const auto late = kit->put_items("notes", {{{"id", "a"}, {"text", "late"}, {"expected_version", 1}}});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, errc::conflict);
}

TEST_F(ContextTest, ADuplicateThatLastsLongerMakesTheStoredOneLast) {
  auto kit = make();
  ASSERT_TRUE(kit->put_items("notes", {{{"text", "the sky is blue"}, {"ttl_ms", 1000}}}));
  const auto again = kit->put_items("notes", {{{"text", "the sky is blue"}, {"metadata", {{"lang", "en"}}}}});
  ASSERT_TRUE(again) << to_string(again.error());
  EXPECT_EQ(again->at("results")[0].at("status"), "duplicate");
  kit->advance(std::chrono::seconds{2});
  kit->settle();
  EXPECT_EQ(kit->search("notes", {{"text", "sky"}, {"filter", {{"lang", "en"}}}})->at("hits").size(), 1U);
  kit->crash();
  EXPECT_EQ(kit->search("notes", {{"text", "sky"}, {"filter", {{"lang", "en"}}}})->at("hits").size(), 1U) << "on disk too";
}

/// A collection and an agent with rows and a log; both are deleted, and made again under their names.
class PurgeTest : public ContextTest {
protected:
  static constexpr int item_count = 40;
  static config::settings few_at_once() {
    config::settings s;
    s.purge.rows = 7;
    return s;
  }
  struct left_rows {
    std::size_t items = 0;
    journal_position log_tail;
  };
  static left_rows rows_of(testkit& kit, entity_id id) {
    return {kit.reader().items(kit.context(), id, "", "", 1000)->size(), kit.reader().load_entity(kit.context(), id)->log_tail};
  }
  static void put(testkit& kit, const std::string& prefix, const std::string& key) {
    json items = json::array();
    for (int i = 0; i < item_count; ++i) items.push_back(text_item(prefix + std::to_string(i), "fact number " + std::to_string(i)));
    result<json> done = kit.put_items("notes", items, key);
    for (int tries = 0; !done && tries < 20; ++tries) done = kit.put_items("notes", items, key); // it may have crashed meanwhile
    ASSERT_TRUE(done) << to_string(done.error());
  }
  static void remove(testkit& kit, const std::string& kind, const std::string& name) {
    for (int tries = 0; tries < 20; ++tries) {
      const auto done = kit.admin("directory.delete", {{"kind", kind}, {"name", name}});
      if (done || done.error().code == errc::not_found) return;
    }
    FAIL() << name;
  }
  static entity_id collection_id(testkit& kit) { return kit.reader().find(kit.context(), entity_kind::context, "notes")->id; }
};

TEST_F(PurgeTest, NothingOfADeletedCollectionOrAgentStaysButItsName) {
  auto kit = make(few_at_once());
  put(*kit, "old", "k1");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(kit->ask("ann", "search", {{"text", "fact"}, {"k", 1}}));
  const auto notes = collection_id(*kit);
  const auto ann = kit->id_of("ann");
  const auto timers = kit->timers_set();
  EXPECT_EQ(rows_of(*kit, notes).items, static_cast<std::size_t>(item_count));
  EXPECT_NE(rows_of(*kit, ann).log_tail, journal_position{});
  const auto held = kit->collection("notes"); // a search that is under way
  remove(*kit, "context", "notes");
  remove(*kit, "agent", "ann");
  kit->run();
  EXPECT_EQ(rows_of(*kit, notes).items, static_cast<std::size_t>(item_count)) << "purge.after has not passed";
  kit->add_collection("notes", {{"dimension", 64}});
  put(*kit, "new", "k2");
  const auto before = kit->commits();
  kit->advance(few_at_once().purge.after);
  kit->advance(std::chrono::milliseconds{1});
  EXPECT_GE(rows_of(*kit, notes).items, static_cast<std::size_t>(item_count) - 2 * 7) << "a few at a time";
  kit->settle();
  kit->advance(std::chrono::seconds{60});
  EXPECT_EQ(rows_of(*kit, notes).items, 0U);
  EXPECT_EQ(rows_of(*kit, ann).items, 0U);
  EXPECT_EQ(rows_of(*kit, ann).log_tail, journal_position{});
  EXPECT_EQ(kit->timers_set(), timers) << "and then no more";
  EXPECT_LT(kit->commits() - before, 60U);
  EXPECT_EQ(held->view->size(), static_cast<std::uint32_t>(item_count)) << "a view is whole while it is held";
  EXPECT_NE(collection_id(*kit), notes);
  EXPECT_EQ(rows_of(*kit, collection_id(*kit)).items, static_cast<std::size_t>(item_count));
  EXPECT_EQ(kit->search("notes", {{"text", "fact"}, {"k", 1000}})->at("hits").size(), static_cast<std::size_t>(item_count));
  kit->crash();
  EXPECT_TRUE(kit->search("notes", {{"text", "fact"}, {"k", 1000}})->at("hits")[0].at("item").at("id").get<std::string>().starts_with("new"));
}

TEST_F(PurgeTest, GoesOnAfterACrashAtAnyCommit) {
  for (std::uint64_t cut = 1;; ++cut) {
    auto kit = make(few_at_once(), cut);
    put(*kit, "old", "k1");
    const auto notes = collection_id(*kit);
    kit->crash_after_commits(cut);
    remove(*kit, "context", "notes");
    kit->settle();
    kit->advance(std::chrono::seconds{60});
    EXPECT_EQ(rows_of(*kit, notes).items, 0U) << cut;
    EXPECT_EQ(kit->timers_set(), 0) << cut;
    if (kit->crashes() != 0) continue;
    EXPECT_GT(cut, 8U) << "six commits of rows, and those of the deletion";
    break;
  }
}

TEST_F(PurgeTest, LeavesAnAgentThatWasMadeAgainAlone) {
  auto kit = make(few_at_once());
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(kit->ask("ann", "search", {{"text", "fact"}, {"k", 1}}));
  const auto ann = kit->id_of("ann");
  remove(*kit, "agent", "ann");
  kit->advance(few_at_once().purge.after);
  kit->add_agent("ann", "rememberer"); // another one of that name
  ASSERT_TRUE(kit->ask("ann", "search", {{"text", "fact"}, {"k", 1}}));
  const auto other = kit->id_of("ann");
  EXPECT_NE(other, ann);
  kit->settle();
  kit->advance(std::chrono::seconds{60});
  EXPECT_EQ(rows_of(*kit, ann).log_tail, journal_position{});
  EXPECT_NE(rows_of(*kit, other).log_tail, journal_position{});
}

} // namespace
} // namespace hive::actors
