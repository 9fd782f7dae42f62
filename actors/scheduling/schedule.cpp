#include "actors/scheduling/schedule.hpp"

namespace hive::actors::scheduling {
namespace {

using json = nlohmann::json;
using std::chrono::milliseconds;

/// A firing that is later than its jitter and this by the clock was missed: the hive was away, or busy beyond measure.
constexpr milliseconds on_time{5'000};

wall_time time_from(const json& row, const char* name) { return wall_time{milliseconds{row.value(name, std::int64_t{0})}}; }

std::uint64_t number(const json& spec, const char* name, std::uint64_t otherwise, std::uint64_t low, std::uint64_t high) {
  const auto found = spec.find(name);
  if (found == spec.end() || found->is_null()) return otherwise;
  if (!found->is_number_integer() || *found < 0 || found->get<std::uint64_t>() < low || found->get<std::uint64_t>() > high)
    throw invalid(name, std::string(name) + " must be from " + std::to_string(low) + " to " + std::to_string(high));
  return found->get<std::uint64_t>();
}

std::string text(const json& spec, const char* name, const std::string& otherwise) {
  const auto found = spec.find(name);
  if (found == spec.end() || found->is_null()) return otherwise;
  if (!found->is_string()) throw invalid(name, std::string(name) + " must be a string");
  return found->get<std::string>();
}

} // namespace

/// What can be read is read: rows of earlier versions too. @throws error
schedule schedule::read(const json& spec) {
  if (!spec.is_object()) throw invalid("", "a schedule is an object");
  for (const auto& [name, value] : spec.items()) {
    static const std::set<std::string> known{"cron", "every_ms", "zone", "catch_up", "catch_up_max", "jitter_ms", "paused", "task"};
    if (!known.contains(name)) throw invalid(name, name + " is not a member of a schedule");
  }
  schedule s;
  s.spec = spec;
  s.cron_text = text(spec, "cron", "");
  s.every = milliseconds{static_cast<std::int64_t>(number(spec, "every_ms", 0, 100, 366ULL * 86'400'000))};
  if (s.cron_text.empty() == (s.every.count() == 0)) throw invalid("cron", "a schedule has either cron or every_ms");
  if (!s.cron_text.empty()) {
    auto parsed = cron::parse(s.cron_text);
    if (!parsed) throw parsed.error();
    s.by_cron = *parsed;
  }
  s.zone = text(spec, "zone", "UTC");
  if (auto ok = check_zone(s.zone, "zone"); !ok) throw ok.error();
  const auto policy = text(spec, "catch_up", "once");
  if (policy != "once" && policy != "all" && policy != "skip") throw invalid("catch_up", "catch_up must be once, all or skip");
  s.missed = policy == "once" ? catch_up::once : policy == "all" ? catch_up::all : catch_up::skip;
  s.all_max = static_cast<std::uint32_t>(number(spec, "catch_up_max", 10, 1, 1000));
  s.jitter = milliseconds{static_cast<std::int64_t>(number(spec, "jitter_ms", 0, 0, 86'400'000))};
  if (const auto paused = spec.find("paused"); paused != spec.end()) {
    if (!paused->is_boolean()) throw invalid("paused", "paused must be true or false");
    s.paused = paused->get<bool>();
  }
  const auto task = spec.find("task");
  if (task == spec.end()) throw invalid("task", "task is required");
  auto request = submit_from_json(*task);
  if (!request) {
    auto why = request.error();
    why.field = why.field.empty() ? "task" : "task." + why.field;
    throw why;
  }
  s.task = *task;
  return s;
}

result<schedule> schedule::from_spec(const json& spec, wall_time now, random_source& chance) {
  try {
    if (const auto task = spec.find("task"); spec.is_object() && task != spec.end() && task->is_object())
      for (const char* one_time : {"parent", "name", "depends_on", "undo"})
        if (task->contains(one_time)) throw invalid(std::string("task.") + one_time, std::string("a task that comes again and again has no ") + one_time);
    auto s = read(spec);
    if (!s.by_cron && s.jitter > s.every) throw invalid("jitter_ms", "jitter_ms is at most every_ms");
    s.made = now;
    s.plan(now, chance);
    if (s.slot == wall_time::max()) throw invalid("cron", "no time of the next ten years matches this cron expression");
    return s;
  } catch (const error& e) {
    return e;
  }
}

void schedule::replaces(const schedule& old) {
  fired = old.fired;
  last_fired = old.last_fired;
  last_task = old.last_task;
  failed = old.failed;
  last_failed = old.last_failed;
  last_error = old.last_error;
  if (spec != old.spec) return;
  made = old.made;
  slot = old.slot;
  fire_at = old.fire_at;
}

wall_time schedule::slot_after(wall_time after) const {
  if (by_cron) return by_cron->next(after, zone).value_or(wall_time::max());
  const auto passed = std::max<std::int64_t>(0, (after - made).count()) / every.count();
  return made + every * (passed + 1);
}

void schedule::plan(wall_time after, random_source& chance) {
  slot = slot_after(after);
  fire_at = slot == wall_time::max() ? slot : slot + milliseconds{static_cast<std::int64_t>(chance.below(static_cast<std::uint64_t>(jitter.count()) + 1))};
}

std::vector<wall_time> schedule::take_due(wall_time now, random_source& chance) {
  const auto reached = now - jitter; // later slots may still wait for their chance
  std::vector<wall_time> slots;
  if (!paused) {
    if (missed == catch_up::all) {
      for (auto at = slot; (at <= reached || slots.empty()) && slots.size() < all_max; at = slot_after(at)) slots.push_back(at);
    } else if (missed == catch_up::once || reached - slot <= on_time) slots.push_back(slot);
    else { // the missed ones are left out, but the last of them may be on time
      for (auto at = slot_after(std::max(slot, reached - on_time - milliseconds{1})); at <= reached; at = slot_after(at)) slots = {at};
    }
  }
  plan(std::max(slot, reached), chance);
  return slots;
}

void schedule::submitted(std::string first, wall_time now) {
  fired += 1;
  last_fired = now;
  last_task = std::move(first);
}

void schedule::refused(const error& why, wall_time now) {
  failed += 1;
  last_failed = now;
  last_error = {why.reason, why.message, why.field};
}

json schedule::to_row() const {
  json row{{"spec", spec}, {"principal", principal}, {"made", millis(made)}, {"slot", millis(slot)}, {"fire_at", millis(fire_at)},
           {"fired", fired}, {"last_fired", millis(last_fired)}, {"last_task", last_task}};
  if (failed != 0) {
    row["failed"] = failed;
    row["last_failed"] = millis(last_failed);
    row["last_error"] = {{"reason", last_error.reason}, {"message", last_error.message}, {"field", last_error.field}};
  }
  return row;
}

schedule schedule::from_row(const json& row) {
  schedule s;
  try {
    s = read(row.at("spec"));
  } catch (const error& e) {
    throw std::runtime_error("the stored schedule cannot be read: " + e.message);
  }
  s.made = time_from(row, "made");
  s.principal = row.value("principal", "");
  s.slot = time_from(row, "slot");
  s.fire_at = time_from(row, "fire_at");
  s.fired = row.value("fired", std::uint64_t{0});
  s.last_fired = time_from(row, "last_fired");
  s.last_task = row.value("last_task", "");
  s.failed = row.value("failed", std::uint64_t{0});
  s.last_failed = time_from(row, "last_failed");
  if (const auto why = row.find("last_error"); why != row.end()) s.last_error = {why->value("reason", ""), why->value("message", ""), why->value("field", "")};
  return s;
}

} // namespace hive::actors::scheduling
