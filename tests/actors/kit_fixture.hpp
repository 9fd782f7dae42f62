/// @file
/// Fixture of the shard tests: a kit with the builtin behaviours and a few that misbehave.
#pragma once

#include "actors/behaviours/builtin.hpp"
#include "actors/executors/builtin.hpp"
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

namespace hive::actors {

/// Does what the message says: {"set":n} {"fail":"reason"} {"throw":true} {"send":["agent","op"]} ...
class puppet final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    const json body = m.parse();
    if (m.type == "set") {
      self.set_state_bytes(body.at("value").get<std::string>());
      if (body.value("throw", false)) throw std::runtime_error("told to");
      self.reply(json_payload({{"was_set", true}}));
    } else if (m.type == "get") {
      self.reply(json_payload({{"value", self.state_bytes()}}));
    } else if (m.type == "fail") {
      self.set_state_bytes("failed but kept");
      self.fail("said_no", "told to fail");
    } else if (m.type == "rows") {
      self.put_row(body.at("key").get<std::string>(), body.at("value").get<std::string>());
      const auto page = co_await self.rows("", "", 100);
      json all = json::object();
      for (const auto& [k, v] : page) all[k] = v;
      payload answer = json_payload(all);
      self.reply(std::move(answer));
    } else if (m.type == "fill") {
      for (int i = 0; i < body.at("rows").get<int>(); ++i) self.put_row("row/" + std::to_string(i), "x");
    } else if (m.type == "ask") {
      payload inner = json_payload(body.at("body"));
      const std::string to = body.at("to");
      const std::string type = body.at("type");
      const auto r = co_await self.ask(to, type, std::move(inner));
      self.append("asked", to);
      payload answer = r ? *r : json_payload({{"error", r.error().reason}, {"code", std::string(to_string(r.error().code))}, {"message", r.error().message}});
      self.reply(std::move(answer));
    } else if (m.type == "sleep") {
      co_await self.sleep(std::chrono::milliseconds{body.at("ms").get<int>()});
      self.set_state_bytes("slept");
      self.reply(json_payload({{"slept", true}, {"now", self.now().time_since_epoch().count()}}));
    } else if (m.type == "run") {
      payload arguments = json_payload(body);
      const auto r = co_await self.run("count", std::move(arguments));
      if (r) self.append("ran", r->bytes);
      if (const int ms = body.value("then_sleep", 0); ms > 0) co_await self.sleep(std::chrono::milliseconds{ms});
      payload answer = r ? *r : json_payload({{"error", r.error().reason}});
      self.reply(std::move(answer));
    } else if (m.type == "send") {
      for (const auto& op : body.at("ops")) self.send(body.at("to").get<std::string>(), body.value("type", "append"), json_payload({{"op", op}}));
      self.reply(json_payload({{"sent", body.at("ops").size()}}));
    } else if (m.type == "send_poison") {
      self.send(body.at("to").get<std::string>(), "poison", json_payload(nullptr));
      self.reply(json_payload({{"sent", 1}}));
    } else if (m.type == "work") { // a task that is finished by a later turn
      self.set_state_bytes(self.defer_reply());
      self.progress(1, 2, "half way");
      self.send(self.name(), "finish", json_payload(nullptr));
    } else if (m.type == "finish") {
      self.finish(self.state_bytes(), json_payload({{"done", true}}));
    } else if (m.type == "stop") {
      self.stop();
      self.reply(json_payload({{"stopped", true}}));
    } else if (m.type == "poison") {
      throw std::runtime_error("poison");
    } else throw bad_message("type", "unknown");
  }
};

/// Counts how often it was run, outside of any turn.
class counting_executor final : public executor {
public:
  explicit counting_executor(int& runs) : runs_(runs) {}
  result<payload> run(const call&) override { return json_payload({{"run", ++runs_}}); }

private:
  int& runs_;
};

class KitTest : public ::testing::Test {
protected:
  std::unique_ptr<testkit> make(config::settings settings = {}) {
    dirs_.push_back(std::make_unique<test::scratch_dir>());
    auto kit = std::make_unique<testkit>(contexts_, dirs_.back()->path(), [this](behaviour_registry& b, executor_registry& e) {
      add_builtin_behaviours(b);
      b.add("puppet", std::make_unique<puppet>());
      e.add("count", std::make_unique<counting_executor>(runs_));
    }, std::move(settings), seed_);
    return kit;
  }
  static json ops_of(testkit& kit, const std::string& ledger) {
    auto r = kit.ask(ledger, "list", nullptr);
    return r ? r->at("ops") : json(to_string(r.error()));
  }

  test::test_contexts contexts_;
  std::vector<std::unique_ptr<test::scratch_dir>> dirs_;
  int runs_ = 0;
  std::uint64_t seed_ = 1;
};

} // namespace hive::actors
