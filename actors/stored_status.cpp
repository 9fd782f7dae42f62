#include "actors/stored_status.hpp"

namespace hive::actors {

using persistence::desired_state;

namespace {

constexpr std::size_t depth_max = 256; ///< As the directory allows.

const char* word_of(desired_state desired) noexcept {
  switch (desired) {
  case desired_state::running: return "running";
  case desired_state::stopped: return "stopped";
  case desired_state::quarantined: return "quarantined";
  case desired_state::deleted: return "deleted";
  }
  return "unknown";
}

const char* stored_word(desired_state desired) noexcept { return desired == desired_state::running ? "inactive" : word_of(desired); }

} // namespace

result<std::optional<down_cause>> down_above(persistence::store_reader& reader, tenant_context who, const std::string& name, known_downs& known) {
  std::vector<std::string> way;
  std::optional<down_cause> cause;
  for (std::string at = name; !at.empty() && way.size() < depth_max;) {
    if (const auto before = known.find(at); before != known.end()) {
      cause = before->second;
      break;
    }
    way.push_back(at);
    auto row = reader.find(who, entity_kind::supervisor, at);
    if (!row && row.error().code != errc::not_found) return row.error();
    if (!row) break;
    const auto its = reader.load_entity(who, row->id);
    if (!its) return its.error();
    if (its->desired != desired_state::running) {
      cause = down_cause{at, its->desired};
      break;
    }
    at = std::move(row->supervisor);
  }
  for (auto& on_the_way : way) known.emplace(std::move(on_the_way), cause);
  return cause;
}

void add_stored_statuses(persistence::store_reader& reader, tenant_context who, const std::vector<status_subject>& subjects, std::size_t most,
                         std::unordered_map<entity_id, nlohmann::json>& all) {
  known_downs known;
  for (const auto& subject : subjects) {
    if (const auto live = all.find(subject.id); live != all.end() && live->second.contains("status")) continue;
    auto desired = desired_state::running;
    if (most != 0) {
      --most;
      if (const auto row = reader.load_entity(who, subject.id); row && row->version != 0) {
        desired = row->desired;
        all[subject.id]["incarnation"] = row->life.value();
      }
    }
    const auto above = desired == desired_state::running ? down_above(reader, who, subject.supervisor, known) : std::optional<down_cause>{};
    if (above && *above) {
      all[subject.id]["status"] = "stopped";
      all[subject.id]["stopped_by"] = "supervisor/" + (*above)->supervisor;
    } else if (const auto seen = all.find(subject.id); seen != all.end() || desired != desired_state::running) {
      all[subject.id]["status"] = stored_word(desired);
    }
  }
}

void add_stored_facts(persistence::store_reader& reader, tenant_context who, entity_id id, nlohmann::json& explained) {
  std::string supervisor;
  if (const auto row = reader.find(who, id)) supervisor = row->supervisor;
  std::unordered_map<entity_id, nlohmann::json> status;
  add_stored_statuses(reader, who, {{id, supervisor}}, 1, status);
  explained["status"] = "inactive";
  explained.update(status[id].is_null() ? nlohmann::json::object() : status[id]);
  const auto row = reader.load_entity(who, id);
  if (!row) return;
  explained["desired"] = word_of(row->desired);
  explained["version"] = row->version;
  explained["stored_bytes"] = row->state.size();
  if (row->desired != desired_state::running) explained["waits"] = {{"for", "a person who starts it"}};
  else if (explained.contains("stopped_by")) explained["waits"] = {{"for", explained["stopped_by"].get<std::string>() + ", which does not run"}};
}

} // namespace hive::actors
