/// @file
/// What every store does, whatever it is made of. A backend instantiates the suite with a factory:
///
///   INSTANTIATE_TEST_SUITE_P(Sqlite, StoreContract, testing::Values(hive::test::store_factory{...}));
#pragma once

#include "tests/persistence/turn_maker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hive::test {

/// Data that outlives the stores opened on it. One at a time.
class store_home {
public:
  virtual ~store_home() = default;
  /// @pre no store of this home is open.
  virtual result<std::unique_ptr<turn_store>> open() = 0;
};
using store_factory = std::function<std::unique_ptr<store_home>()>;

class StoreContract : public testing::TestWithParam<store_factory> {
protected:
  void SetUp() override {
    home = GetParam()();
    reopen();
  }
  /// As after a restart of the process: new connection, all shards claimed anew.
  void reopen() {
    reader.reset();
    make.reset();
    store.reset();
    auto opened = home->open();
    ASSERT_TRUE(opened) << to_string(opened.error());
    store = std::move(*opened);
    make.emplace(*store);
    make->claim_all();
    auto r = store->reader();
    ASSERT_TRUE(r) << to_string(r.error());
    reader = std::move(*r);
  }

  template <class... Records> void commit(const Records&... records) {
    const auto done = write(*store, records...);
    ASSERT_EQ(done.what, batch_result::kind::done) << to_string(done.why);
    for (const auto outcome : done.outcomes) ASSERT_EQ(outcome, turn_outcome::committed);
  }
  entity_row loaded(const actor& a) {
    auto row = reader->load_entity(who(a), a.id);
    EXPECT_TRUE(row) << (row ? "" : to_string(row.error()));
    const auto whole = reader->load(who(a), a.id);
    EXPECT_TRUE(whole && row && whole->row.version == row->version && whole->row.state == row->state && whole->row.marks.size() == row->marks.size());
    return row ? std::move(*row) : entity_row{};
  }
  std::vector<outbox_row> outbox(entity_id sender) {
    std::vector<outbox_row> rows;
    EXPECT_TRUE(reader->outbox_of(make->shard(sender), [&](outbox_row&& row) {
      if (row.sender == sender) rows.push_back(std::move(row));
      return true;
    }));
    return rows;
  }
  std::vector<waiting_entity> waiting(entity_id id) {
    std::vector<waiting_entity> rows;
    EXPECT_TRUE(reader->waiting_of(make->shard(id), [&](waiting_entity&& row) {
      if (row.entity == id) rows.push_back(std::move(row));
      return true;
    }));
    return rows;
  }
  std::vector<std::string> log(const actor& a, const std::string& name, std::uint64_t from = 0, std::size_t limit = 1000) {
    auto entries = reader->read_log(who(a), a.id, name, a.log_tail, from, limit);
    EXPECT_TRUE(entries);
    return entries ? *entries : std::vector<std::string>{};
  }
  static tenant_context who(const actor& a) { return context_of(a.id.tenant().value()); }

  std::unique_ptr<store_home> home;
  std::unique_ptr<turn_store> store;
  std::optional<turn_maker> make;
  std::unique_ptr<store_reader> reader;
  actor ann{{tenant_id{3}, 10}};
  actor bob{{tenant_id{3}, 11}};
  actor eve{{tenant_id{4}, 10}}; // another tenant's, with the same serial
};

// -- versions and the fence

TEST_P(StoreContract, UnknownEntityLoadsAsVersionZero) {
  const auto row = loaded(ann);
  EXPECT_EQ(row.version, 0u);
  EXPECT_TRUE(row.state.empty());
}

TEST_P(StoreContract, FirstTurnMakesTheEntityAndLaterOnesBuildOnIt) {
  auto first = make->turn(ann);
  turn_maker::set_state(*first, "one");
  first->life = incarnation{4};
  commit(first);
  EXPECT_EQ(loaded(ann).version, 1u);
  EXPECT_EQ(loaded(ann).state, "one");

  auto second = make->turn(ann);
  second->desired = desired_state::stopped;
  commit(second);
  const auto row = loaded(ann);
  EXPECT_EQ(row.version, 2u);
  EXPECT_EQ(row.state, "one") << "what a turn did not change stays";
  EXPECT_EQ(row.life, incarnation{4});
  EXPECT_EQ(row.desired, desired_state::stopped);
}

TEST_P(StoreContract, EverythingSurvivesAReopen) {
  auto r = make->turn(ann);
  turn_maker::set_state(*r, std::string("nul\0inside", 10));
  turn_maker::answer(ann, *r, "k1", "forty-two");
  turn_maker::append(ann, *r, "ops", "added");
  turn_maker::end_appends(ann, *r);
  r->items.push_back({"i1", "v1"});
  turn_maker::send(ann, *r, bob.id, "hello");
  r->marks.push_back(inbox_mark{bob.id, 2, 9});
  commit(r);
  reopen();

  const auto row = loaded(ann);
  EXPECT_EQ(row.version, 1u);
  EXPECT_EQ(row.state, std::string("nul\0inside", 10));
  EXPECT_EQ(row.sent, 1u);
  EXPECT_EQ(row.last_keyed, ann.last_keyed);
  EXPECT_EQ(row.log_tail, ann.log_tail);
  ASSERT_EQ(row.marks.size(), 1u);
  EXPECT_EQ(row.marks[0].sequence, 9u);
  EXPECT_EQ(reader->answer(who(ann), ann.id, row.last_keyed)->answer.bytes, "forty-two");
  EXPECT_EQ(log(ann, "ops"), std::vector<std::string>{"added"});
  EXPECT_EQ(*reader->item(who(ann), ann.id, "i1"), "v1");
  EXPECT_EQ(outbox(ann.id).size(), 1u);
}

TEST_P(StoreContract, RowsOfADeletedEntityGoABatchAtATime) {
  const auto fill = [&](actor& a) {
    for (int i = 0; i < 3; ++i) {
      auto r = make->turn(a);
      turn_maker::append(a, *r, "ops", "entry " + std::to_string(i));
      turn_maker::end_appends(a, *r);
      for (int k = 0; k < 2; ++k) r->items.push_back({"i/" + std::to_string(i * 2 + k), "value"});
      commit(r);
    }
  };
  for (auto* a : {&ann, &bob, &eve}) fill(*a);
  const auto purge = [&](std::uint32_t most) {
    auto r = make->turn(ann);
    r->purge = most;
    commit(r);
    return r->purged;
  };
  const auto items_of = [&](const actor& a) { return reader->items(who(a), a.id, "", "", 100)->size(); };
  EXPECT_EQ(purge(100), 0U) << "it is not deleted";
  EXPECT_EQ(items_of(ann), 6U);
  EXPECT_EQ(log(ann, "ops").size(), 3U);

  auto gone = make->turn(ann);
  gone->desired = desired_state::deleted;
  commit(gone);
  EXPECT_EQ(purge(4), 4U);
  EXPECT_EQ(items_of(ann), 2U);
  EXPECT_EQ(purge(3), 3U) << "the last two, and the newest of the log";
  EXPECT_EQ(items_of(ann), 0U);
  ann.log_tail = loaded(ann).log_tail;
  EXPECT_EQ(log(ann, "ops", 0, 2), (std::vector<std::string>{"entry 0", "entry 1"}));
  auto fenced = make->turn(ann);
  fenced->fence = epoch{fenced->fence.value() + 1};
  fenced->purge = 10;
  EXPECT_EQ(write(*store, fenced).outcomes, std::vector{turn_outcome::fenced});
  --ann.version;
  EXPECT_EQ(log(ann, "ops", 0, 2).size(), 2U);
  EXPECT_EQ(purge(3), 2U) << "fewer than there might be: these were the last";
  EXPECT_EQ(loaded(ann).log_tail, journal_position{});
  EXPECT_EQ(purge(3), 0U);
  EXPECT_EQ(loaded(ann).desired, desired_state::deleted);

  for (auto* a : {&bob, &eve}) { // same tenant, and same serial
    EXPECT_EQ(items_of(*a), 6U);
    EXPECT_EQ(log(*a, "ops").size(), 3U);
  }
}

TEST_P(StoreContract, RowsOfSeveralDeletedEntitiesGoInOneBatch) {
  for (auto* a : {&ann, &bob, &eve}) {
    auto r = make->turn(*a);
    r->desired = desired_state::deleted;
    for (int i = 0; i < 5; ++i) r->items.push_back({"i/" + std::to_string(i), "value"});
    turn_maker::append(*a, *r, "ops", "entry");
    turn_maker::end_appends(*a, *r);
    commit(r);
  }
  auto first = make->turn(ann);
  auto second = make->turn(bob);
  auto third = make->turn(eve);
  first->purge = 2;
  second->purge = 50;
  commit(first, second, third);
  EXPECT_EQ(first->purged, 2U);
  EXPECT_EQ(second->purged, 6U);
  EXPECT_FALSE(third->purged);
  EXPECT_EQ(reader->items(who(ann), ann.id, "", "", 100)->size(), 3U);
  EXPECT_EQ(reader->items(who(bob), bob.id, "", "", 100)->size(), 0U);
  EXPECT_EQ(reader->items(who(eve), eve.id, "", "", 100)->size(), 5U);
}

TEST_P(StoreContract, AChainOfTurnsOfOneEntityCommitsInOneBatch) {
  std::vector<std::unique_ptr<turn_record>> chain;
  for (int i = 0; i < 5; ++i) {
    chain.push_back(make->turn(ann));
    turn_maker::set_state(*chain.back(), std::to_string(i));
  }
  const auto done = write(*store, chain);
  EXPECT_EQ(done.what, batch_result::kind::done);
  EXPECT_EQ(loaded(ann).version, 5u);
  EXPECT_EQ(loaded(ann).state, "4");
}

TEST_P(StoreContract, StaleTurnLeavesNothingAndTheRestCommits) {
  commit(make->turn(ann));
  actor second_history = ann;
  second_history.version = 0; // as if it had never loaded the entity
  auto stale = make->turn(second_history);
  turn_maker::set_state(*stale, "wrong");
  turn_maker::answer(second_history, *stale, "k", "wrong");
  turn_maker::append(second_history, *stale, "ops", "wrong");
  turn_maker::send(second_history, *stale, bob.id, "wrong");
  stale->items.push_back({"i", "wrong"});
  stale->events.push_back({"e", "s", "{}"});
  stale->marks.push_back(inbox_mark{bob.id, 2, 1});
  auto good = make->turn(bob);
  turn_maker::set_state(*good, "right");

  const auto done = write(*store, stale, good);
  ASSERT_EQ(done.what, batch_result::kind::done);
  EXPECT_THAT(done.outcomes, testing::ElementsAre(turn_outcome::stale, turn_outcome::committed));
  EXPECT_EQ(loaded(ann).version, 1u);
  EXPECT_TRUE(loaded(ann).state.empty());
  EXPECT_TRUE(loaded(ann).marks.empty());
  EXPECT_EQ(loaded(bob).state, "right");
  EXPECT_FALSE(reader->answer(who(ann), ann.id, stale->position));
  EXPECT_TRUE(reader->read_log(who(ann), ann.id, "ops", stale->position, 0, 10)->empty());
  EXPECT_FALSE(*reader->item(who(ann), ann.id, "i"));
  EXPECT_TRUE(outbox(ann.id).empty());
}

TEST_P(StoreContract, ATurnWhoseBaseNeverCameIsStaleAndSoAreThoseBehindIt) {
  commit(make->turn(ann));
  ++ann.version; // the turn that is missing
  auto a = make->turn(ann);
  auto b = make->turn(ann);
  const auto done = write(*store, a, b);
  EXPECT_THAT(done.outcomes, testing::ElementsAre(turn_outcome::stale, turn_outcome::stale));
  EXPECT_EQ(loaded(ann).version, 1u);
}

TEST_P(StoreContract, AShardTakenByAnotherNodeFencesItsTurnsOnly) {
  commit(make->turn(ann), make->turn(bob));
  ASSERT_NE(make->shard(ann.id), make->shard(bob.id));
  const auto before = make->fence(ann.id);
  const auto taken = store->claim(make->shard(ann.id));
  ASSERT_TRUE(taken);
  EXPECT_GT(taken->fence, before);

  auto late = make->turn(ann);
  turn_maker::set_state(*late, "late");
  const auto done = write(*store, late, make->turn(bob), make->look(ann), make->look(bob));
  ASSERT_EQ(done.what, batch_result::kind::done);
  EXPECT_THAT(done.outcomes, testing::ElementsAre(turn_outcome::fenced, turn_outcome::committed, turn_outcome::fenced, turn_outcome::committed));
  EXPECT_EQ(loaded(ann).version, 1u);
  EXPECT_TRUE(loaded(ann).state.empty());
}

TEST_P(StoreContract, KnowingTheNewEpochDoesNotHelpAnOldOwner) {
  const auto taken = store->claim(make->shard(ann.id));
  auto r = make->turn(ann);
  r->fence = taken->fence;
  EXPECT_THAT(write(*store, r).outcomes, testing::ElementsAre(turn_outcome::fenced));
}

TEST_P(StoreContract, ATurnOfAnEarlierLifeOfTheNodeIsFenced) {
  auto late = make->turn(ann);
  reopen();
  EXPECT_THAT(write(*store, late).outcomes, testing::ElementsAre(turn_outcome::fenced));
  EXPECT_EQ(loaded(ann).version, 0u);
}

TEST_P(StoreContract, ClaimingRaisesEveryEpochAndTheGeneration) {
  const auto first = store->claim_all();
  const auto second = store->claim_all();
  ASSERT_TRUE(first && second);
  ASSERT_EQ(first->size(), store->shard_count());
  for (std::size_t i = 0; i < first->size(); ++i) {
    EXPECT_EQ((*first)[i].shard.value(), i);
    EXPECT_LT((*first)[i].fence, (*second)[i].fence);
    EXPECT_LT((*first)[i].owner, (*second)[i].owner);
  }
}

TEST_P(StoreContract, ATurnThatWroteNothingChecksOnlyTheFence) {
  auto r = make->look(ann);
  r->base = 77;
  EXPECT_THAT(write(*store, r).outcomes, testing::ElementsAre(turn_outcome::committed));
  EXPECT_EQ(loaded(ann).version, 0u);
}

TEST_P(StoreContract, ARefusedRowLeavesNothingOfItsBatch) {
  auto good = make->turn(bob);
  auto poison = make->turn(ann);
  turn_maker::send(ann, *poison, bob.id, "one");
  poison->outbox.push_back(poison->outbox.front()); // the same sequence twice
  const auto done = write(*store, good, poison);
  EXPECT_EQ(done.what, batch_result::kind::refused);
  EXPECT_FALSE(done.why.reason.empty());
  EXPECT_EQ(loaded(bob).version, 0u);
  EXPECT_EQ(loaded(ann).version, 0u);
  EXPECT_TRUE(outbox(ann.id).empty());
  EXPECT_EQ(reader->totals()->entities, 0u);
  commit(good); // by itself it is fine
}

TEST_P(StoreContract, PositionsAreNeverAllottedTwice) {
  auto r = make->turn(ann);
  commit(r);
  reopen();
  EXPECT_GT(store->allot(r->shard), r->position);
  EXPECT_TRUE(store->trim({at_ms(1'000'000), at_ms(1'000'000)}, 100));
  reopen();
  EXPECT_GT(store->allot(r->shard), r->position) << "though no row is left to show it";
}

// -- keys

TEST_P(StoreContract, KeysWalkTheChainNewestFirst) {
  for (int i = 0; i < 5; ++i) {
    auto r = make->turn(ann, "key:test", at_ms(100 + i));
    turn_maker::answer(ann, *r, "k" + std::to_string(i), "a" + std::to_string(i), 5);
    commit(r, make->turn(bob), make->turn(ann)); // rows without keys lie between
  }
  const auto all = reader->keys(who(ann), ann.id, ann.last_keyed, 100, at_ms(0));
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ((*all)[i].key_hash, key_hash_of("k" + std::to_string(4 - i), 5));
    EXPECT_EQ(reader->answer(who(ann), ann.id, (*all)[i].position)->answer.bytes, "a" + std::to_string(4 - i));
  }
  EXPECT_EQ(reader->keys(who(ann), ann.id, ann.last_keyed, 2, at_ms(0))->size(), 2u);
  EXPECT_EQ(reader->keys(who(ann), ann.id, ann.last_keyed, 100, at_ms(102))->size(), 3u);
  EXPECT_TRUE(reader->keys(who(ann), ann.id, journal_position{}, 100, at_ms(0))->empty());
}

TEST_P(StoreContract, AnswersKeepEverythingThatWasSaid) {
  auto r = make->turn(ann);
  r->keyed = keyed_answer{"key with \0 and \"", 0xFFFF'FFFF'FFFF'FFF1ULL, {0x8000'0000'0000'0001ULL, 3}, true, true, {std::string("\0\1", 2), content_type::binary}};
  commit(r);
  const auto a = reader->answer(who(ann), ann.id, r->position);
  ASSERT_TRUE(a);
  EXPECT_EQ(a->key, r->keyed->key);
  EXPECT_EQ(a->caller, r->keyed->caller);
  EXPECT_EQ(a->digest, r->keyed->digest);
  EXPECT_TRUE(a->generated);
  EXPECT_TRUE(a->failed);
  EXPECT_EQ(a->answer, r->keyed->answer);
  EXPECT_FALSE(reader->answer(who(bob), bob.id, r->position)) << "another entity's row";
}

TEST_P(StoreContract, GeneratedKeysAreAChainOfTheirOwn) {
  journal_position last_generated{};
  for (int i = 0; i < 6; ++i) {
    auto r = make->turn(ann);
    const journal_position before = ann.last_keyed;
    turn_maker::answer(ann, *r, "k" + std::to_string(i), "a");
    if (i % 2 == 1) {
      r->keyed->generated = true;
      r->previous_keyed = std::exchange(last_generated, r->position);
      ann.last_keyed = before;
    }
    commit(r);
  }
  EXPECT_EQ(loaded(ann).last_keyed, ann.last_keyed);
  const auto given = reader->keys(who(ann), ann.id, ann.last_keyed, 100, at_ms(0));
  const auto made = reader->keys(who(ann), ann.id, last_generated, 100, at_ms(0));
  ASSERT_EQ(given->size(), 3u);
  ASSERT_EQ(made->size(), 3u);
  for (const auto& entry : *given) EXPECT_FALSE(entry.generated);
  for (const auto& entry : *made) EXPECT_TRUE(entry.generated);
}

TEST_P(StoreContract, TheSameKeyOfTwoCallersHasTwoHashes) {
  EXPECT_NE(key_hash_of("k", 1), key_hash_of("k", 2));
  EXPECT_NE(key_hash_of("k", 1), key_hash_of("l", 1));
}

TEST_P(StoreContract, TrimmedAnswersAreNotFoundAndEndTheWalk) {
  std::vector<journal_position> positions;
  for (int i = 0; i < 6; ++i) {
    auto r = make->turn(ann, "key:test", at_ms(100 + i));
    turn_maker::answer(ann, *r, "k" + std::to_string(i), "a");
    commit(r);
    positions.push_back(r->position);
  }
  EXPECT_EQ(*store->trim({at_ms(103), at_ms(0)}, 2), 2u) << "a bounded step";
  EXPECT_EQ(*store->trim({at_ms(103), at_ms(0)}, 2), 1u);
  EXPECT_EQ(*store->trim({at_ms(103), at_ms(0)}, 2), 0u);
  EXPECT_EQ(reader->answer(who(ann), ann.id, positions[2]).error().code, errc::not_found);
  EXPECT_TRUE(reader->answer(who(ann), ann.id, positions[3]));
  EXPECT_EQ(reader->keys(who(ann), ann.id, ann.last_keyed, 100, at_ms(0))->size(), 3u);
  EXPECT_EQ(loaded(ann).version, 6u) << "trimming keys touches no entity";
}

// -- logs

TEST_P(StoreContract, LogsOfOneEntityAreReadEachByItself) {
  for (int i = 0; i < 20; ++i) {
    auto r = make->turn(ann);
    if (i % 3 != 0) turn_maker::append(ann, *r, "a", "a" + std::to_string(ann.log_next["a"]));
    if (i % 3 != 1) turn_maker::append(ann, *r, "b", "b" + std::to_string(ann.log_next["b"]));
    if (i % 5 == 0) turn_maker::append(ann, *r, "b", "b" + std::to_string(ann.log_next["b"]));
    turn_maker::end_appends(ann, *r);
    commit(r);
  }
  for (const std::string name : {"a", "b"}) {
    const auto n = ann.log_next[name];
    const auto all = log(ann, name);
    ASSERT_EQ(all.size(), n);
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(all[i], name + std::to_string(i));
    EXPECT_EQ(log(ann, name, 3, 2), (std::vector{name + "3", name + "4"}));
    EXPECT_EQ(log(ann, name, n - 1, 100).size(), 1u);
    EXPECT_TRUE(log(ann, name, n, 100).empty());
    EXPECT_TRUE(log(ann, name, 0, 0).empty());
  }
  EXPECT_TRUE(log(ann, "no such log").empty());
}

TEST_P(StoreContract, LongLogsArePagedFromTheFrontAndFromAnywhere) {
  constexpr std::size_t n = 3'000;
  const auto grow = [&](std::size_t to) {
    std::vector<std::unique_ptr<turn_record>> batch;
    while (ann.log_next["ops"] < to) {
      auto r = make->turn(ann);
      turn_maker::append(ann, *r, "ops", std::to_string(ann.log_next["ops"]));
      if (ann.log_next["ops"] % 7 == 0) turn_maker::append(ann, *r, "rare", "x");
      turn_maker::end_appends(ann, *r);
      batch.push_back(std::move(r));
    }
    ASSERT_EQ(write(*store, batch).what, batch_result::kind::done);
  };
  const auto check = [&](std::size_t from, std::size_t limit) {
    const auto page = log(ann, "ops", from, limit);
    const std::size_t size = ann.log_next["ops"];
    ASSERT_EQ(page.size(), from >= size ? 0 : std::min(limit, size - from)) << from;
    for (std::size_t i = 0; i < page.size(); ++i) ASSERT_EQ(page[i], std::to_string(from + i));
  };
  grow(n);
  for (std::size_t from = 0; from < n + 100; from += 100) check(from, 100);
  grow(n + 500);
  random_source chance(1);
  for (int i = 0; i < 200; ++i) check(chance.below(n + 600), 1 + chance.below(300));
  check(0, std::numeric_limits<std::size_t>::max());
  check(5, std::numeric_limits<std::size_t>::max());
  EXPECT_EQ(log(ann, "rare").size(), ann.log_next["rare"]);
  const journal_position tail = std::exchange(ann.log_tail, journal_position{1});
  EXPECT_TRUE(log(ann, "ops", n, 10).empty()) << "nothing is seen beyond the tail that was asked for";
  ann.log_tail = tail;
}

TEST_P(StoreContract, LogsOutliveTheJournal) {
  auto r = make->turn(ann);
  turn_maker::append(ann, *r, "ops", "kept");
  turn_maker::end_appends(ann, *r);
  commit(r);
  EXPECT_EQ(*store->trim({at_ms(10'000), at_ms(10'000)}, 100), 1u);
  EXPECT_EQ(log(ann, "ops"), std::vector<std::string>{"kept"});
}

// -- items

TEST_P(StoreContract, ItemsAreListedByPrefixInTheOrderOfBytes) {
  auto r = make->turn(ann);
  for (const std::string key : {"b/2", "b/10", "a", "b/\xFF", "b", "c", "b/"}) r->items.push_back({key, "v:" + key});
  commit(r);
  const auto keys_of = [&](std::string_view prefix, std::string_view after, std::size_t limit) {
    std::vector<std::string> keys;
    const auto found = reader->items(who(ann), ann.id, prefix, after, limit);
    for (const auto& [key, value] : found.value()) {
      EXPECT_EQ(value, "v:" + key);
      keys.push_back(key);
    }
    return keys;
  };
  EXPECT_EQ(keys_of("", "", 100), (std::vector<std::string>{"a", "b", "b/", "b/10", "b/2", "b/\xFF", "c"}));
  EXPECT_EQ(keys_of("b/", "", 100), (std::vector<std::string>{"b/", "b/10", "b/2", "b/\xFF"}));
  EXPECT_EQ(keys_of("b/", "b/10", 1), (std::vector<std::string>{"b/2"}));
  EXPECT_TRUE(keys_of("b/", "c", 100).empty());
  EXPECT_TRUE(keys_of("zz", "", 100).empty());
}

TEST_P(StoreContract, ItemsAreOverwrittenAndDeletedInOrder) {
  auto first = make->turn(ann);
  first->items = {{"k", "1"}, {"gone", "x"}, {"empty", ""}};
  auto second = make->turn(ann);
  second->items = {{"k", "2"}, {"gone", std::nullopt}, {"again", "1"}, {"again", std::nullopt}, {"again", "3"}, {"absent", std::nullopt}};
  commit(first, second);
  EXPECT_EQ(**reader->item(who(ann), ann.id, "k"), "2");
  EXPECT_FALSE(*reader->item(who(ann), ann.id, "gone"));
  EXPECT_EQ(**reader->item(who(ann), ann.id, "again"), "3");
  EXPECT_EQ(**reader->item(who(ann), ann.id, "empty"), "");
}

TEST_P(StoreContract, LargeValuesComeBackWhole) {
  std::string large(8 * 1024 * 1024, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761U >> 13U);
  auto r = make->turn(ann);
  turn_maker::set_state(*r, large);
  r->items.push_back({"big", large});
  turn_maker::send(ann, *r, bob.id, large);
  turn_maker::answer(ann, *r, "k", large);
  turn_maker::append(ann, *r, "ops", large);
  turn_maker::end_appends(ann, *r);
  commit(r);
  EXPECT_TRUE(loaded(ann).state == large);
  EXPECT_TRUE(**reader->item(who(ann), ann.id, "big") == large);
  EXPECT_TRUE(outbox(ann.id).at(0).body.bytes == large);
  EXPECT_TRUE(reader->answer(who(ann), ann.id, r->position)->answer.bytes == large);
  EXPECT_TRUE(log(ann, "ops").at(0) == large);
}

// -- messages between entities

TEST_P(StoreContract, OutboxIsKeptInOrderUntilDelivered) {
  for (int i = 0; i < 3; ++i) {
    auto r = make->turn(ann);
    turn_maker::send(ann, *r, bob.id, "x" + std::to_string(2 * i));
    turn_maker::send(ann, *r, ann.id, "x" + std::to_string(2 * i + 1));
    commit(r);
  }
  auto rows = outbox(ann.id);
  ASSERT_EQ(rows.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(rows[i].sequence, i + 1);
    EXPECT_EQ(rows[i].body.bytes, "x" + std::to_string(i));
    EXPECT_EQ(rows[i].body.type, content_type::text);
    EXPECT_EQ(rows[i].receiver, i % 2 == 0 ? bob.id : ann.id);
    EXPECT_EQ(rows[i].principal, "key:test");
    EXPECT_EQ(rows[i].type, "note");
    EXPECT_EQ(rows[i].envelope, "env");
    EXPECT_EQ(rows[i].lane, 2);
  }
  EXPECT_EQ(*reader->shards_with_work(), std::vector{make->shard(ann.id)});
  EXPECT_EQ(reader->totals()->outbox, 6u);

  auto r = make->turn(ann);
  r->delivered = {1, 3, 2, 99};
  commit(r);
  rows = outbox(ann.id);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].sequence, 4u);
  EXPECT_EQ(reader->totals()->outbox, 3u) << "a row that was not there is not counted";
  EXPECT_EQ(loaded(ann).sent, 6u);

  int seen = 0;
  EXPECT_TRUE(reader->outbox_of(make->shard(ann.id), [&](outbox_row&&) { return ++seen < 2; }));
  EXPECT_EQ(seen, 2) << "the callback can stop";
}

TEST_P(StoreContract, DeliveredRowsGoWithATurnThatWritesNothingElse) {
  auto r = make->turn(ann);
  for (int i = 0; i < 3; ++i) turn_maker::send(ann, *r, bob.id, "x");
  commit(r);
  auto quiet = make->look(ann);
  quiet->delivered = {1, 2};
  commit(quiet);
  ASSERT_EQ(outbox(ann.id).size(), 1u);
  EXPECT_EQ(outbox(ann.id)[0].sequence, 3u);
  EXPECT_EQ(reader->totals()->outbox, 1u);
  EXPECT_EQ(loaded(ann).version, 1u) << "no version of the entity";

  ASSERT_TRUE(store->claim(make->shard(ann.id)));
  auto late = make->look(ann);
  late->delivered = {3};
  EXPECT_THAT(write(*store, late).outcomes, testing::ElementsAre(turn_outcome::fenced));
  EXPECT_EQ(outbox(ann.id).size(), 1u) << "an old owner deletes nothing";
}

TEST_P(StoreContract, MarksRiseForEachSenderAndLane) {
  const auto mark = [&](entity_id sender, std::uint8_t lane, std::uint64_t sequence) {
    auto r = make->turn(ann);
    r->marks.push_back(inbox_mark{sender, lane, sequence});
    commit(r);
  };
  mark(bob.id, 2, 1);
  mark(bob.id, 2, 5);
  mark(bob.id, 1, 2);
  mark(ann.id, 2, 3);
  std::map<std::pair<entity_id, int>, std::uint64_t> marks;
  for (const auto& m : loaded(ann).marks) marks[{m.sender, m.lane}] = m.sequence;
  EXPECT_EQ(marks, (std::map<std::pair<entity_id, int>, std::uint64_t>{{{bob.id, 2}, 5}, {{bob.id, 1}, 2}, {{ann.id, 2}, 3}}));
  EXPECT_TRUE(loaded(bob).marks.empty());
}

TEST_P(StoreContract, WaitingTurnsKeepTheirStepsUntilTheyEnd) {
  auto accept = make->turn(ann, "key:asker");
  accept->accepted = waiting_turn{1, at_ms(5), 0xFFFF'0000'FFFF'0001ULL, "the message"};
  accept->steps = {{1, 0, "ask bob", at_ms(0), std::nullopt}, {1, 1, "timer", at_ms(99), std::nullopt}};
  commit(accept);
  auto ended = make->turn(ann);
  ended->steps = {{1, 0, "ask bob", at_ms(0), "bob said"}};
  commit(ended);

  auto found = waiting(ann.id);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].principal, "key:asker");
  EXPECT_EQ(found[0].turn.turn, 1u);
  EXPECT_EQ(found[0].turn.started, at_ms(5));
  EXPECT_EQ(found[0].turn.seed, 0xFFFF'0000'FFFF'0001ULL);
  EXPECT_EQ(found[0].turn.message, "the message");
  ASSERT_EQ(found[0].steps.size(), 2u);
  EXPECT_EQ(found[0].steps[0].intent, "ask bob");
  EXPECT_EQ(found[0].steps[0].result, "bob said");
  EXPECT_EQ(found[0].steps[1].due, at_ms(99));
  EXPECT_FALSE(found[0].steps[1].result);
  EXPECT_EQ(reader->totals()->waiting, 1u);
  EXPECT_EQ(*reader->shards_with_work(), std::vector{make->shard(ann.id)});

  auto over = make->turn(ann);
  over->steps = {{1, 1, "timer", at_ms(99), "rang"}};
  over->ended = 1;
  commit(over);
  EXPECT_TRUE(waiting(ann.id).empty());
  EXPECT_EQ(reader->totals()->waiting, 0u);
  EXPECT_TRUE(reader->shards_with_work()->empty());

  auto next = make->turn(ann);
  next->accepted = waiting_turn{2, at_ms(6), 1, "m"};
  commit(next);
  EXPECT_TRUE(waiting(ann.id).at(0).steps.empty()) << "steps of the ended turn are gone";
}

// -- names

TEST_P(StoreContract, NamesAreFoundByNameAndById) {
  actor tenant{entity_id::of_tenant(tenant_id{3})};
  auto r = make->turn(tenant);
  for (const std::string name : {"zoe", "ann", "bob"})
    r->directory.push_back({{entity_kind::agent, name, {tenant_id{3}, 100 + static_cast<std::uint64_t>(name[0])}, "ledger", name == "zoe" ? "boss" : "", 1, "spec"}, false});
  r->directory.push_back({{entity_kind::supervisor, "ann", {tenant_id{3}, 5}, "", "", 1, ""}, false});
  commit(r);

  const auto found = reader->find(who(ann), entity_kind::agent, "ann");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, entity_id(tenant_id{3}, 100 + 'a'));
  EXPECT_EQ(found->behaviour, "ledger");
  EXPECT_EQ(found->spec, "spec");
  EXPECT_EQ(reader->find(who(ann), found->id)->name, "ann");
  EXPECT_EQ(reader->find(who(ann), entity_kind::supervisor, "ann")->id.serial(), 5u);
  EXPECT_EQ(reader->find(who(ann), entity_kind::queue, "ann").error().code, errc::not_found);

  const auto unborn = reader->load(who(ann), entity_id(tenant_id{3}, 100 + 'z'));
  ASSERT_TRUE(unborn && unborn->directory) << "it is in the directory, and has not done anything";
  EXPECT_EQ(unborn->row.version, 0u);
  EXPECT_EQ(unborn->directory->name, "zoe");
  EXPECT_EQ(unborn->directory->kind, entity_kind::agent);
  EXPECT_EQ(unborn->directory->supervisor, "boss");
  EXPECT_EQ(unborn->directory->revision, 1u);
  EXPECT_EQ(unborn->directory->spec, "spec");
  EXPECT_EQ(unborn->directory->id, entity_id(tenant_id{3}, 100 + 'z'));
  const auto unnamed = reader->load(who(ann), tenant.id);
  ASSERT_TRUE(unnamed);
  EXPECT_EQ(unnamed->row.version, 1u);
  EXPECT_FALSE(unnamed->directory);

  const auto names = [&](std::string_view after, std::size_t limit, const std::string* supervisor = nullptr) {
    std::vector<std::string> list;
    const auto rows = reader->list(who(ann), entity_kind::agent, after, limit, supervisor);
    for (const auto& row : rows.value()) list.push_back(row.name);
    return list;
  };
  const std::string boss = "boss";
  const std::string root;
  EXPECT_THAT(names("", 10), testing::ElementsAre("ann", "bob", "zoe"));
  EXPECT_THAT(names("ann", 1), testing::ElementsAre("bob"));
  EXPECT_THAT(names("", 10, &boss), testing::ElementsAre("zoe"));
  EXPECT_THAT(names("", 10, &root), testing::ElementsAre("ann", "bob"));
}

TEST_P(StoreContract, ANameCanBeUsedAgainByANewEntityOnceItIsFree) {
  actor tenant{entity_id::of_tenant(tenant_id{3})};
  const directory_row old_row{entity_kind::agent, "a", {tenant_id{3}, 7}, "b", "", 1, ""};
  directory_row new_row = old_row;
  new_row.id = {tenant_id{3}, 8};
  auto first = make->turn(tenant);
  first->directory.push_back({old_row, false});
  commit(first);

  actor again = tenant;
  auto taken = make->turn(again);
  taken->directory.push_back({new_row, false});
  EXPECT_EQ(write(*store, taken).what, batch_result::kind::refused) << "the name is taken";
  EXPECT_EQ(reader->find(who(ann), entity_kind::agent, "a")->id.serial(), 7u);

  auto swap = make->turn(tenant);
  swap->directory = {{old_row, true}, {new_row, false}};
  commit(swap);
  EXPECT_EQ(reader->find(who(ann), entity_kind::agent, "a")->id.serial(), 8u);
  EXPECT_FALSE(reader->find(who(ann), old_row.id));

  auto late = make->turn(tenant);
  late->directory = {{old_row, true}};
  commit(late);
  EXPECT_TRUE(reader->find(who(ann), entity_kind::agent, "a")) << "removing the old entity leaves the new one's name";
}

TEST_P(StoreContract, RemovedTenantsGiveBackTheirNameButNeverTheirId) {
  actor system{entity_id::of_tenant(system_tenant)};
  system.id = entity_id{system_tenant, 1};
  auto r = make->turn(system);
  r->tenants = {{tenant_id{3}, "acme", "s3", false}, {tenant_id{4}, "zeta", "s4", false}};
  commit(r);
  EXPECT_EQ(reader->find_tenant("acme")->id, tenant_id{3});
  EXPECT_EQ(reader->find_tenant(tenant_id{4})->name, "zeta");
  EXPECT_EQ(reader->tenants("", 10)->size(), 2u);
  EXPECT_EQ(reader->tenants("acme", 10)->at(0).name, "zeta");

  auto swap = make->turn(system);
  swap->tenants = {{tenant_id{3}, "acme", "", true}, {tenant_id{9}, "acme", "s9", false}};
  commit(swap);
  EXPECT_EQ(reader->find_tenant("acme")->id, tenant_id{9});
  EXPECT_FALSE(reader->find_tenant(tenant_id{3}));

  auto reuse = make->turn(system);
  reuse->tenants = {{tenant_id{3}, "other", "", false}};
  EXPECT_EQ(write(*store, reuse).what, batch_result::kind::refused);
}

TEST_P(StoreContract, ApiKeysAreFoundUntilTheyAreRemoved) {
  actor tenant{entity_id::of_tenant(tenant_id{3})};
  const api_key_row key{"K1", tenant_id{3}, "hash", "tenant", "laptop", at_ms(77), false};
  auto r = make->turn(tenant);
  r->api_keys = {key};
  commit(r);
  const auto found = reader->find_api_key("K1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->tenant, tenant_id{3});
  EXPECT_EQ(found->secret_hash, "hash");
  EXPECT_EQ(found->role, "tenant");
  EXPECT_EQ(found->label, "laptop");
  EXPECT_EQ(found->created, at_ms(77));
  EXPECT_EQ(reader->find_api_key("k1").error().code, errc::not_found);

  auto gone = make->turn(tenant);
  gone->api_keys = {key};
  gone->api_keys[0].removed = true;
  commit(gone);
  EXPECT_FALSE(reader->find_api_key("K1"));
}

// -- tenants apart

TEST_P(StoreContract, NoReadCrossesTenants) {
  actor tenant{entity_id::of_tenant(tenant_id{3})};
  auto r = make->turn(tenant);
  r->directory.push_back({{entity_kind::agent, "ann", ann.id, "b", "", 1, ""}, false});
  auto s = make->turn(ann);
  turn_maker::set_state(*s, "secret");
  turn_maker::answer(ann, *s, "k", "secret");
  turn_maker::append(ann, *s, "ops", "secret");
  turn_maker::end_appends(ann, *s);
  s->items.push_back({"i", "secret"});
  s->events.push_back({"e", "agent/ann", "secret"});
  s->audit.push_back({"agent.put", "t", "secret"});
  s->dead_letters.push_back({"r", "secret", "{}"});
  commit(r, s);

  const auto other = who(eve);
  const auto hidden = [](const auto& got) { return !got && got.error().code == errc::not_found; };
  EXPECT_TRUE(hidden(reader->load_entity(other, ann.id)));
  EXPECT_TRUE(hidden(reader->load(other, ann.id)));
  EXPECT_TRUE(hidden(reader->find(other, entity_kind::agent, "ann")));
  EXPECT_TRUE(hidden(reader->find(other, ann.id)));
  EXPECT_TRUE(hidden(reader->keys(other, ann.id, s->position, 10, at_ms(0))));
  EXPECT_TRUE(hidden(reader->answer(other, ann.id, s->position)));
  EXPECT_TRUE(hidden(reader->read_log(other, ann.id, "ops", s->position, 0, 10)));
  EXPECT_TRUE(hidden(reader->item(other, ann.id, "i")));
  EXPECT_TRUE(hidden(reader->items(other, ann.id, "", "", 10)));
  EXPECT_TRUE(reader->list(other, entity_kind::agent, "", 10)->empty());
  EXPECT_TRUE(reader->audit(other, 10)->empty());
  EXPECT_TRUE(reader->dead_letters(other, 0, 10)->empty());
  EXPECT_TRUE(reader->events(other, "10000000000000000", 10)->events.empty());
  // Its own entity of the same serial, and positions of another's rows.
  EXPECT_FALSE(reader->answer(other, eve.id, s->position));
  EXPECT_TRUE(reader->keys(other, eve.id, s->position, 10, at_ms(0))->empty());
  EXPECT_TRUE(reader->read_log(other, eve.id, "ops", s->position, 0, 10)->empty());
}

TEST_P(StoreContract, NoWriteCrossesTenants) {
  const auto refused = [&](const std::unique_ptr<turn_record>& r) { return write(*store, r).what == batch_result::kind::refused; };
  {
    actor a = ann;
    auto r = make->turn(a);
    turn_maker::send(a, *r, eve.id, "x");
    EXPECT_TRUE(refused(r));
  }
  {
    actor a = ann;
    auto r = make->turn(a);
    turn_maker::send(a, *r, bob.id, "x");
    r->outbox[0].sender = bob.id;
    EXPECT_TRUE(refused(r));
  }
  {
    actor a = ann;
    auto r = make->turn(a);
    r->who = context_of(4);
    EXPECT_TRUE(refused(r));
  }
  {
    actor tenant{entity_id::of_tenant(tenant_id{3})};
    auto r = make->turn(tenant);
    r->directory.push_back({{entity_kind::agent, "eve", eve.id, "b", "", 1, ""}, false});
    EXPECT_TRUE(refused(r));
  }
  {
    actor tenant{entity_id::of_tenant(tenant_id{3})};
    auto r = make->turn(tenant);
    r->api_keys = {{"K", tenant_id{4}, "h", "tenant", "", at_ms(0), false}};
    EXPECT_TRUE(refused(r));
  }
  {
    actor tenant{entity_id::of_tenant(tenant_id{3})};
    auto r = make->turn(tenant);
    r->tenants = {{tenant_id{5}, "x", "", false}};
    EXPECT_TRUE(refused(r));
  }
}

// -- reports

TEST_P(StoreContract, EventsAreReadOnceEachByCursor) {
  const auto start = reader->events(who(ann), "", 10);
  ASSERT_TRUE(start);
  EXPECT_TRUE(start->events.empty()) << "without a cursor: from now on";
  for (int i = 0; i < 5; ++i) {
    auto r = make->turn(i % 2 == 0 ? ann : bob, "key:test", at_ms(10 + i));
    r->events = {{"t" + std::to_string(i), "agent/a", "{}"}};
    auto noise = make->turn(eve);
    noise->events = {{"other tenant", "x", "{}"}};
    commit(r, noise);
  }
  const auto page = reader->events(who(ann), start->end, 3);
  ASSERT_EQ(page->events.size(), 3u);
  EXPECT_FALSE(page->gap);
  EXPECT_EQ(page->events[0].event.type, "t0");
  EXPECT_EQ(page->events[0].event.source, "agent/a");
  EXPECT_EQ(page->events[0].event.data, "{}");
  EXPECT_EQ(page->events[0].at, at_ms(10));
  EXPECT_EQ(page->end, page->events.back().cursor);
  const auto rest = reader->events(who(ann), page->end, 10);
  ASSERT_EQ(rest->events.size(), 2u);
  EXPECT_EQ(rest->events[1].event.type, "t4");
  EXPECT_TRUE(reader->events(who(ann), rest->end, 10)->events.empty());
  reopen();
  EXPECT_EQ(reader->events(who(ann), page->end, 10)->events.size(), 2u) << "cursors outlive the process";
}

TEST_P(StoreContract, EventsThatWereTrimmedAreAGap) {
  const auto start = reader->events(who(ann), "", 10)->end;
  const auto start_of_other = reader->events(who(eve), "", 10)->end;
  for (int i = 0; i < 4; ++i) {
    auto r = make->turn(ann, "key:test", at_ms(10 + i));
    r->events = {{"t" + std::to_string(i), "s", "{}"}};
    commit(r);
  }
  EXPECT_GE(*store->trim({at_ms(0), at_ms(12)}, 100), 2u);
  const auto page = reader->events(who(ann), start, 10);
  EXPECT_TRUE(page->gap);
  ASSERT_EQ(page->events.size(), 2u);
  EXPECT_EQ(page->events[0].event.type, "t2");
  EXPECT_FALSE(reader->events(who(ann), page->events[0].cursor, 10)->gap);
  EXPECT_FALSE(reader->events(who(eve), start_of_other, 10)->gap) << "no event of this tenant is gone";

  EXPECT_GE(*store->trim({at_ms(0), at_ms(100)}, 100), 2u);
  reopen();
  const auto end = reader->events(who(ann), start, 10);
  EXPECT_TRUE(end->gap);
  EXPECT_TRUE(end->events.empty());
  EXPECT_FALSE(reader->events(who(ann), end->end, 10)->gap);
  auto r = make->turn(ann);
  r->events = {{"later", "s", "{}"}};
  commit(r);
  EXPECT_EQ(reader->events(who(ann), end->end, 10)->events.size(), 1u) << "numbers go on after the trimmed ones";
}

TEST_P(StoreContract, ABadCursorNamesItsField) {
  for (const std::string bad : {"x", "0", "1", "1zzzzzzzzzzzzzzzz", "100000000000000000", "1FFFFFFFFFFFFFFFF", "1ffffffffffffffff", "' or 1=1 --"}) {
    const auto page = reader->events(who(ann), bad, 10);
    ASSERT_FALSE(page) << bad;
    EXPECT_EQ(page.error().code, errc::invalid_argument);
    EXPECT_EQ(page.error().field, "Last-Event-ID");
  }
}

TEST_P(StoreContract, ACursorFromTheFutureIsAGap) {
  const auto page = reader->events(who(ann), "10000000000ffffff", 10);
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->gap);
}

TEST_P(StoreContract, AuditAndDeadLettersAreListedNewestFirst) {
  for (int i = 0; i < 3; ++i) {
    auto r = make->turn(ann, "key:admin", at_ms(i));
    r->audit = {{"agent.put", "acme/agent/a" + std::to_string(i), "{}"}};
    r->dead_letters = {{"attempts_exhausted", "m" + std::to_string(i), "[]"}};
    commit(r);
  }
  const auto audit = reader->audit(who(ann), 2);
  ASSERT_EQ(audit->size(), 2u);
  EXPECT_EQ((*audit)[0].second.target, "acme/agent/a2");
  EXPECT_EQ((*audit)[0].first, at_ms(2));
  const auto dead = reader->dead_letters(who(ann), 0, 10);
  ASSERT_EQ(dead->size(), 3u);
  EXPECT_EQ((*dead)[0].letter.message, "m2");
  EXPECT_EQ((*dead)[0].letter.reason, "attempts_exhausted");
  EXPECT_EQ((*dead)[0].receiver, ann.id);
  EXPECT_EQ((*dead)[0].principal, "key:admin");
  EXPECT_EQ((*dead)[0].at, at_ms(2));
  const auto older = reader->dead_letters(who(ann), (*dead)[0].number, 10);
  ASSERT_EQ(older->size(), 2u);
  EXPECT_EQ((*older)[0].letter.message, "m1");
}

TEST_P(StoreContract, DeadLettersGoWhenTheyAreSettledAndOnlyTheTenantsOwn) {
  for (auto* of : {&ann, &eve}) {
    auto r = make->turn(*of);
    r->dead_letters = {{"r", "m", "{}"}};
    commit(r);
  }
  const auto mine = reader->dead_letters(who(ann), 0, 10)->front().number;
  const auto foreign = reader->dead_letters(who(eve), 0, 10)->front().number;
  auto r = make->turn(ann);
  r->letters_gone = {mine, foreign};
  commit(r);
  EXPECT_TRUE(reader->dead_letters(who(ann), 0, 10)->empty());
  EXPECT_EQ(reader->dead_letters(who(eve), 0, 10)->size(), 1u) << "another tenant's stays";
}

TEST_P(StoreContract, OldAuditAndDeadLettersAreTrimmedInBoundedSteps) {
  for (int i = 0; i < 4; ++i) {
    auto r = make->turn(ann, "key:admin", at_ms(100 + i));
    r->audit = {{"agent.put", "a", "{}"}};
    r->dead_letters = {{"r", "m", "{}"}};
    commit(r);
  }
  const trim_horizon before{at_ms(0), at_ms(0), at_ms(103), at_ms(102)};
  EXPECT_EQ(*store->trim(before, 2), 2u);
  EXPECT_EQ(*store->trim(before, 100), 3u);
  EXPECT_EQ(*store->trim(before, 100), 0u);
  EXPECT_EQ(reader->dead_letters(who(ann), 0, 10)->size(), 1u);
  EXPECT_EQ(reader->audit(who(ann), 10)->size(), 2u);
}

TEST_P(StoreContract, TotalsCountWhatIsThere) {
  for (std::uint64_t i = 0; i < 10; ++i) {
    actor a{{tenant_id{3}, 1000 + i}};
    auto r = make->turn(a);
    turn_maker::send(a, *r, bob.id, "x");
    commit(r, make->turn(a));
  }
  reopen();
  EXPECT_EQ(reader->totals()->entities, 10u);
  EXPECT_EQ(reader->totals()->outbox, 10u);
  EXPECT_EQ(reader->totals()->waiting, 0u);
}

TEST_P(StoreContract, ReadersOnOtherThreadsSeeWholeBatches) {
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      auto own = std::move(store->reader().value());
      while (!stop) {
        const auto row = own->load_entity(who(ann), ann.id);
        const auto tail = row ? row->log_tail : journal_position{};
        if (!row || row->version == 0) continue;
        const auto entries = own->read_log(who(ann), ann.id, "ops", tail, 0, 10'000);
        if (!entries || entries->size() != row->version || row->state != std::to_string(row->version)) ++torn;
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    std::vector<std::unique_ptr<turn_record>> batch;
    for (int j = 0; j < 3; ++j) {
      auto r = make->turn(ann);
      turn_maker::set_state(*r, std::to_string(ann.version));
      turn_maker::append(ann, *r, "ops", "x");
      turn_maker::end_appends(ann, *r);
      batch.push_back(std::move(r));
    }
    ASSERT_EQ(write(*store, batch).what, batch_result::kind::done);
    store->maintain();
  }
  stop = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(torn, 0);
}

} // namespace hive::test
