#include "actors/specs.hpp"

#include <algorithm>

namespace hive::actors {
namespace {

using json = nlohmann::json;

/// Reads the members of one JSON object and remembers the first thing that is wrong.
class object_reader {
public:
  explicit object_reader(const json& value) : value_(value) {
    if (!value.is_object()) fail("", "must be an object");
  }
  const json* member(const char* name) {
    known_.emplace_back(name);
    if (problem_ || !value_.is_object()) return nullptr;
    const auto found = value_.find(name);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
  }
  void text(const char* name, std::string& into) {
    if (const auto* v = member(name)) {
      if (v->is_string()) into = v->get<std::string>();
      else fail(name, "must be a string");
    }
  }
  template <class T> void number(const char* name, T& into, std::uint64_t low, std::uint64_t high) {
    if (const auto* v = member(name)) {
      if (!v->is_number_integer() || (v->is_number_integer() && !v->is_number_unsigned() && v->get<std::int64_t>() < 0) ||
          v->get<std::uint64_t>() < low || v->get<std::uint64_t>() > high)
        fail(name, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
      else into = static_cast<T>(v->get<std::uint64_t>());
    }
  }
  template <class E> void choice(const char* name, E& into, const std::vector<std::pair<const char*, E>>& allowed) {
    const auto* v = member(name);
    if (!v) return;
    std::string all;
    for (const auto& [word, value] : allowed) {
      if (v->is_string() && v->get_ref<const std::string&>() == word) return void(into = value);
      all += (all.empty() ? "" : ", ") + std::string(word);
    }
    fail(name, "must be one of " + all);
  }
  void fail(const std::string& name, const std::string& why) {
    if (!problem_) problem_ = invalid(name, (name.empty() ? "the spec" : name) + " " + why);
  }
  std::optional<error> finish() {
    if (!problem_ && value_.is_object())
      for (const auto& [name, v] : value_.items())
        if (std::find(known_.begin(), known_.end(), name) == known_.end()) fail(name, "is not a member of this spec");
    return problem_;
  }

private:
  const json& value_;
  std::vector<std::string> known_;
  std::optional<error> problem_;
};

const std::vector<std::pair<const char*, restart_type>> restarts{
  {"permanent", restart_type::permanent}, {"transient", restart_type::transient}, {"temporary", restart_type::temporary}};
const std::vector<std::pair<const char*, restart_strategy>> strategies{{"one_for_one", restart_strategy::one_for_one}};

} // namespace

json to_json(const agent_spec& spec) {
  json j{{"behaviour", spec.behaviour}};
  if (!spec.config.empty()) j["config"] = spec.config;
  if (!spec.capabilities.empty()) j["capabilities"] = spec.capabilities;
  if (spec.weight != 1) j["weight"] = spec.weight;
  if (!spec.supervisor.empty()) j["supervisor"] = spec.supervisor;
  if (spec.restart != restart_type::permanent) j["restart"] = spec.restart == restart_type::transient ? "transient" : "temporary";
  return j;
}

json to_json(const supervisor_spec& spec) {
  json j{{"strategy", "one_for_one"}, {"intensity", spec.intensity}, {"period_ms", spec.period.count()}};
  if (!spec.supervisor.empty()) j["supervisor"] = spec.supervisor;
  return j;
}

result<agent_spec> agent_spec_from(const json& value) {
  agent_spec s;
  object_reader in(value);
  in.text("behaviour", s.behaviour);
  in.text("supervisor", s.supervisor);
  in.number("weight", s.weight, 1, 1000);
  in.choice("restart", s.restart, restarts);
  if (const auto* config = in.member("config")) {
    if (config->is_object()) s.config = *config;
    else in.fail("config", "must be an object");
  }
  if (const auto* list = in.member("capabilities")) {
    if (!list->is_array() || list->size() > 64) in.fail("capabilities", "must be a list of at most 64 words");
    else
      for (const auto& c : *list) {
        if (c.is_string() && !c.get_ref<const std::string&>().empty() && c.get_ref<const std::string&>().size() <= 64) s.capabilities.push_back(c);
        else in.fail("capabilities", "must hold words of 1 to 64 characters");
      }
  }
  if (s.behaviour.empty()) in.fail("behaviour", "is required");
  if (auto problem = in.finish()) return *problem;
  return s;
}

result<supervisor_spec> supervisor_spec_from(const json& value) {
  supervisor_spec s;
  object_reader in(value);
  std::uint64_t period = static_cast<std::uint64_t>(s.period.count());
  in.choice("strategy", s.strategy, strategies);
  in.number("intensity", s.intensity, 0, 1000);
  in.number("period_ms", period, 1, 86'400'000);
  in.text("supervisor", s.supervisor);
  s.period = std::chrono::milliseconds{static_cast<std::int64_t>(period)};
  if (auto problem = in.finish()) return *problem;
  return s;
}

result<void> check_name(std::string_view name, std::string_view field) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const bool good = !name.empty() && name.size() <= 128 && alnum(name.front()) &&
                    std::all_of(name.begin(), name.end(), [&](char c) { return alnum(c) || c == '.' || c == '_' || c == '-'; });
  if (good) return {};
  return invalid(std::string(field), "a name has 1 to 128 of a-z A-Z 0-9 . _ - and starts with a letter or digit");
}

} // namespace hive::actors
