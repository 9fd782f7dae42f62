/// @file
/// A schedule: a task that is submitted again and again, by interval or by cron. Pure; the queue keeps its row and submits
/// its tasks in the commit that moves it on.
#pragma once

#include "actors/scheduling/cron.hpp"
#include "actors/scheduling/task_rows.hpp"

namespace hive::actors::scheduling {

/// What happens to the times that passed while the hive was away, or the schedule paused.
enum class catch_up : std::uint8_t { once, all, skip };

struct schedule {
  std::optional<cron> by_cron;
  std::string cron_text;
  std::chrono::milliseconds every{};             ///< When not by cron.
  std::string zone = "UTC";
  catch_up missed = catch_up::once;
  std::uint32_t all_max = 10;                    ///< With `all`: so many at most.
  std::chrono::milliseconds jitter{};
  bool paused = false;
  nlohmann::json task;                           ///< As in `task.submit`.
  nlohmann::json spec;                           ///< As it was given.
  std::string principal;

  wall_time made{};
  wall_time slot = wall_time::max();             ///< The next time by the plan; `max`: never again.
  wall_time fire_at = wall_time::max();          ///< The same with its jitter.
  std::uint64_t fired = 0;                       ///< Tasks that were submitted.
  wall_time last_fired{};
  std::string last_task;
  std::uint64_t failed = 0;                      ///< Slots whose task the queue refused.
  wall_time last_failed{};
  task_error last_error;                         ///< Of the last of them.

  /// Checks `spec` and makes a schedule that begins at `now`. Errors name the member.
  static result<schedule> from_spec(const nlohmann::json& spec, wall_time now, random_source& chance);
  /// In place of `old`: its past stays, and when nothing was changed its plan too, so that who puts it often does not put it off.
  void replaces(const schedule& old);

  /// The first slot after `after`.
  wall_time slot_after(wall_time after) const;
  /// Plans the first slot after `after`.
  void plan(wall_time after, random_source& chance);
  /// The slots whose tasks are to be submitted now; the schedule is planned past them, and past what was missed.
  /// @pre `fire_at <= now`
  std::vector<wall_time> take_due(wall_time now, random_source& chance);
  void submitted(std::string task, wall_time now);
  void refused(const error& why, wall_time now);
  /// Its last slot was refused.
  bool failing() const noexcept { return failed != 0 && last_failed >= last_fired; }

  nlohmann::json to_row() const;
  static schedule from_row(const nlohmann::json& row);

private:
  static schedule read(const nlohmann::json& spec);
};

} // namespace hive::actors::scheduling
