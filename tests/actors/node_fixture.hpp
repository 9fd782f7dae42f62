/// @file
/// A whole node in the process: real threads, the embedded store, one tenant.
#pragma once

#include "actors/node_host.hpp"
#include "persistence/sqlite/sqlite_store.hpp"
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

#include <future>

namespace hive::actors {

class NodeFixture : public ::testing::Test {
protected:
  void open_store() {
    persistence::sqlite_options where;
    where.directory = dir.path() / "data";
    where.shard_count = settings.node.shards;
    store = std::move(*persistence::open_sqlite(where));
  }
  /// @pre the host has started, and has all shards
  void make_tenant() {
    const auto made = begin(contexts.restore(system_tenant, "system"), {entity_kind::tenant, ""}, "tenant.put", {{"name", "t"}}).get();
    ASSERT_TRUE(made) << to_string(made.error());
    who = contexts.restore(tenant_id{made->at("id").get<std::uint32_t>()}, "key:test");
  }
  std::future<result<json>> begin(tenant_context as, destination to, const std::string& type, const json& body) {
    auto done = std::make_shared<std::promise<result<json>>>();
    host->ask(as, {std::move(to), type, json_payload(body), {}, std::chrono::seconds{20}, false, {}}, on_reply([done](result<ask_answer> r) {
      if (r) done->set_value(json::parse(r->body.bytes));
      else done->set_value(r.error());
    }));
    return done->get_future();
  }

  test::scratch_dir dir;
  test::test_contexts contexts;
  system_clock_source clock;
  config::settings settings;
  std::unique_ptr<persistence::turn_store> store;
  behaviour_registry behaviours;
  executor_registry executors;
  std::unique_ptr<node_host> host;
  std::optional<tenant_context> who;
};

} // namespace hive::actors
