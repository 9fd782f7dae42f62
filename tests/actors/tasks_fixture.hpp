/// @file
/// Fixture of the tests of tasks: agents that take their time, crash, have their work done by others, and note in a ledger what they did.
#pragma once

#include "actors/directory.hpp"
#include "actors/scheduling/task_rows.hpp"
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {

/// Makes a task that waits for `gate` before it writes to a ledger.
class slow_worker final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    if (m.type == "sleep") {
      co_await self.sleep(std::chrono::milliseconds{1'000});
    } else if (m.type == "ask") {
      payload inner = json_payload(nullptr);
      (void)co_await self.ask("inner", "sleep", std::move(inner));
    } else if (m.type == "ask_later") {
      payload work = json_payload(nullptr);
      (void)co_await self.ask("later", "work", std::move(work));
    } else if (m.type == "no") {
      throw std::runtime_error("told to");
    }
    self.append("done", m.type);
    self.send("ledger", "append", json_payload({{"op", self.name() + "." + m.type}}));
    self.reply(json_payload({{"by", self.name()}}));
  }
};

/// Puts its answers off: each work is done a second later, in a turn of its own, unless it was cancelled. "deaf" work is not told.
class later_worker final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    if (m.type == "work" || m.type == "deaf") {
      const auto token = self.defer_reply(m.type == "work" ? "drop" : "");
      self.put_row(token, "");
      self.after(std::chrono::milliseconds{1'000}, "more", json_payload({{"token", token}}));
      co_return;
    }
    const std::string token = m.parse().at("token");
    const auto wanted = co_await self.row(token);
    if (!wanted) co_return; // dropped, or it was done when the cancel came
    self.erase_row(token);
    if (m.type == "drop") {
      self.finish_failed(token, "dropped", "it was cancelled");
      co_return;
    }
    self.send("ledger", "append", json_payload({{"op", self.name() + ".more"}}));
    self.finish(token, json_payload({{"by", self.name()}}));
  }
};

/// Has its work done by others: its payload is what it hands to `task`, or to `submit` when the type says so.
class boss final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    auto work = m.parse();
    if (m.type == "submit") {
      self.submit(std::move(work));
      self.append("done", m.type);
      co_return;
    }
    step_options options;
    options.deadline = std::chrono::milliseconds{5'000};
    const auto r = co_await self.task(std::move(work), options);
    self.append("done", m.type);
    self.send("ledger", "append", json_payload({{"op", self.name()}}));
    if (r) self.reply(*r);
    else self.fail(r.error().reason, r.error().message);
  }
};

class TasksFixture : public KitTest {
protected:
  std::unique_ptr<testkit> make_workers(config::settings settings = {}) {
    dirs_.push_back(std::make_unique<test::scratch_dir>());
    auto kit = std::make_unique<testkit>(contexts_, dirs_.back()->path(), [](behaviour_registry& b, executor_registry&) {
      add_builtin_behaviours(b);
      b.add("slow", std::make_unique<slow_worker>());
      b.add("later", std::make_unique<later_worker>());
      b.add("boss", std::make_unique<boss>());
    }, std::move(settings), seed_);
    for (const char* name : {"w", "v", "inner"}) kit->add_agent(name, "slow");
    kit->add_agent("ledger", "ledger");
    kit->add_agent("later", "later");
    kit->add_agent("boss", "boss");
    kit->add_agent("boss-2", "boss");
    return kit;
  }
  static std::string submit(testkit& kit, json body) {
    const auto made = kit.submit_task(body);
    EXPECT_TRUE(made) << (made ? "" : to_string(made.error()));
    return made ? made->at("id").get<std::string>() : "";
  }
  /// Of all partitions, by id, as people see them.
  static std::vector<scheduling::stored_task> tasks_of(testkit& kit) {
    std::vector<scheduling::stored_task> all;
    for (std::uint32_t p = 0; p < kit.partitions(); ++p) {
      auto some = scheduling::list_tasks(kit.reader(), kit.context(), queue_of(kit.context().tenant(), p), {}, 100'000);
      EXPECT_TRUE(some);
      for (auto& t : *some)
        if (t.record.lent_by == scheduling::task_id{}) all.push_back(std::move(t));
    }
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.record.spec.id < b.record.spec.id; });
    return all;
  }
  static std::string state(testkit& kit, const std::string& id) { return kit.read_task(id)->at("state"); }
  /// However often the node dies meanwhile.
  static std::size_t effects(testkit& kit) {
    for (;;)
      if (const auto r = kit.ask("ledger", "list", nullptr)) return r->at("ops").size();
  }
  static void pass(testkit& kit, int ms) { kit.advance(std::chrono::milliseconds{ms}); }
};

} // namespace hive::actors
