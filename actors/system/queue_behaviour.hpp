/// @file
/// The tenant's queue of tasks and its schedules. actors/directory.hpp says what it takes; scheduling/ decides,
/// scheduling/task_rows.hpp says how a task is kept.
#pragma once

#include "actors/system/queue_memory.hpp"
#include "actors/system/system_turn.hpp"

namespace hive::actors {

/// What the queue whose turn it is keeps in memory; after `queue_behaviour::load`.
inline queue_memory& memory_of(turn& self) { return static_cast<queue_memory&>(*system_turn::memory(self)); }

class queue_behaviour final : public behaviour {
public:
  explicit queue_behaviour(const config::settings& settings) : settings_(settings) {}
  task<> handle(turn& self, message m) const override;

private:
  task<> load(turn& self) const;
  task<> know_able(turn& self) const;
  task<> submit(turn& self, payload body) const;
  task<> run(turn& self, payload body) const;
  void recall(turn& self, const payload& body) const;
  bool met_elsewhere(turn& self, const scheduling::submit_request& request) const;
  task<> answer_group(turn& self, json body) const;
  task<std::vector<scheduling::task_id>> add(turn& self, scheduling::submit_request request, std::string waiter = {}) const;
  task<> cancel(turn& self, json body) const;
  void done(turn& self, payload body) const;
  void progress(turn& self, const json& body) const;
  void agents_changed(turn& self, const json& body) const;
  task<> control(turn& self, json body) const;
  task<> put_schedule(turn& self, json body) const;
  task<> delete_schedule(turn& self, json body) const;
  task<> run_schedules(turn& self) const;
  task<> sweep(turn& self, json from) const;
  void sweep_after(turn& self, std::chrono::milliseconds wait) const;

  // Among the partitions (queue_partitions.cpp).
  task<bool> handle_partition(turn& self, const message& m) const;
  void claim(turn& self) const;
  void give_up(turn& self, const json& body) const;
  task<> take_over(turn& self, json body) const;
  void freed(turn& self, const json& body) const;
  task<> borrow(turn& self, payload body) const;
  void placed(turn& self, const json& body) const;
  task<> watch(turn& self, json body) const;
  void send_lent(turn& self, const scheduling::queue_effects::assignment& m, queue_memory::work&& work, reply_address to) const;
  /// What the turn led to that other partitions must hear.
  void tell_partitions(turn& self, const scheduling::queue_effects& out) const;
  /// Writes and sends what the turn led to. The last thing in each turn.
  task<> flush(turn& self) const;

  const config::settings& settings_;
};

} // namespace hive::actors
