#include "actors/specs.hpp"

#include <algorithm>

namespace hive::actors {
namespace {

using json = nlohmann::json;

constexpr std::uint64_t day_ms = 86'400'000;

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
  void flag(const char* name, bool& into) {
    if (const auto* v = member(name)) {
      if (v->is_boolean()) into = v->get<bool>();
      else fail(name, "must be true or false");
    }
  }
  void time(const char* name, std::chrono::milliseconds& into, std::uint64_t low) {
    auto ms = static_cast<std::uint64_t>(into.count());
    number(name, ms, low, day_ms);
    into = std::chrono::milliseconds{static_cast<std::int64_t>(ms)};
  }
  bool has(const char* name) const {
    const auto found = value_.is_object() ? value_.find(name) : value_.end();
    return found != value_.end() && !found->is_null();
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
const std::vector<std::pair<const char*, restart_strategy>> strategies{
  {"one_for_one", restart_strategy::one_for_one}, {"one_for_all", restart_strategy::one_for_all},
  {"rest_for_one", restart_strategy::rest_for_one}, {"simple_one_for_one", restart_strategy::simple_one_for_one}};
const std::vector<std::pair<const char*, enum auto_shutdown>> shutdowns{
  {"never", auto_shutdown::never}, {"any_significant", auto_shutdown::any_significant}, {"all_significant", auto_shutdown::all_significant}};

template <class E> const char* word_of(const std::vector<std::pair<const char*, E>>& words, E value) {
  for (const auto& [word, is] : words)
    if (is == value) return word;
  return "";
}

} // namespace

json to_json(const agent_spec& spec) {
  json j{{"behaviour", spec.behaviour}};
  if (!spec.config.empty()) j["config"] = spec.config;
  if (!spec.capabilities.empty()) j["capabilities"] = spec.capabilities;
  if (spec.weight != 1) j["weight"] = spec.weight;
  if (!spec.supervisor.empty()) j["supervisor"] = spec.supervisor;
  if (spec.restart != restart_type::permanent) j["restart"] = word_of(restarts, spec.restart);
  if (spec.shutdown != agent_spec{}.shutdown) j["shutdown_ms"] = spec.shutdown.count();
  if (spec.significant) j["significant"] = true;
  return j;
}

json to_json(const supervisor_spec& spec) {
  const supervisor_spec usual;
  json j{{"strategy", word_of(strategies, spec.strategy)}, {"intensity", spec.intensity}, {"period_ms", spec.period.count()}};
  if (!spec.supervisor.empty()) j["supervisor"] = spec.supervisor;
  if (spec.restart != usual.restart) j["restart"] = word_of(restarts, spec.restart);
  if (spec.shutdown) j["shutdown_ms"] = spec.shutdown->count();
  if (spec.significant) j["significant"] = true;
  if (spec.ends_with != usual.ends_with) j["auto_shutdown"] = word_of(shutdowns, spec.ends_with);
  if (spec.backoff != usual.backoff) j["backoff_ms"] = spec.backoff.count();
  if (spec.backoff_max != usual.backoff_max) j["backoff_max_ms"] = spec.backoff_max.count();
  if (spec.backoff_reset != usual.backoff_reset) j["backoff_reset_ms"] = spec.backoff_reset.count();
  if (!spec.behaviour.empty()) j["behaviour"] = spec.behaviour;
  return j;
}

json to_json(const collection_spec& spec) {
  json j{{"dimension", spec.dimension}, {"metric", spec.metric}, {"embedder", spec.embedder}};
  if (!spec.model.empty()) j["model"] = spec.model;
  return j;
}

result<collection_spec> collection_spec_from(const json& value) {
  collection_spec s;
  object_reader in(value);
  in.number("dimension", s.dimension, 8, 4096);
  in.choice<std::string>("metric", s.metric, {{"cosine", "cosine"}, {"inner_product", "inner_product"}, {"l2", "l2"}});
  in.choice<std::string>("embedder", s.embedder, {{"hashing-1", "hashing-1"}, {"none", "none"}, {"endpoint", "endpoint"}});
  in.text("model", s.model);
  if ((s.embedder == "endpoint") == s.model.empty())
    in.fail("model", s.model.empty() ? "is required with the embedder \"endpoint\"" : "is for the embedder \"endpoint\" only");
  if (s.model.size() > 128 || std::any_of(s.model.begin(), s.model.end(), [](char c) { return c <= ' ' || c > '~'; }))
    in.fail("model", "must have at most 128 visible characters");
  if (auto problem = in.finish()) return *problem;
  return s;
}

result<agent_spec> agent_spec_from(const json& value) {
  agent_spec s;
  object_reader in(value);
  in.text("behaviour", s.behaviour);
  in.text("supervisor", s.supervisor);
  in.number("weight", s.weight, 1, 1000);
  in.choice("restart", s.restart, restarts);
  in.time("shutdown_ms", s.shutdown, 0);
  in.flag("significant", s.significant);
  if (s.significant && s.restart == restart_type::permanent) in.fail("significant", "is for transient and temporary children: a permanent one does not end");
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
  in.choice("strategy", s.strategy, strategies);
  in.number("intensity", s.intensity, 0, 1000);
  in.time("period_ms", s.period, 1);
  in.text("supervisor", s.supervisor);
  in.choice("restart", s.restart, restarts);
  std::chrono::milliseconds shutdown{0};
  in.time("shutdown_ms", shutdown, 0);
  if (in.has("shutdown_ms")) s.shutdown = shutdown;
  in.flag("significant", s.significant);
  if (s.significant && s.restart == restart_type::permanent) in.fail("significant", "is for transient and temporary children: a permanent one does not end");
  in.choice("auto_shutdown", s.ends_with, shutdowns);
  in.time("backoff_ms", s.backoff, 0);
  in.time("backoff_max_ms", s.backoff_max, 1);
  in.time("backoff_reset_ms", s.backoff_reset, 1);
  if (s.backoff > s.backoff_max) in.fail("backoff_ms", "must not be above backoff_max_ms");
  in.text("behaviour", s.behaviour);
  if ((s.strategy == restart_strategy::simple_one_for_one) == s.behaviour.empty())
    in.fail("behaviour", s.behaviour.empty() ? "is required by simple_one_for_one: all its children have it" : "is for simple_one_for_one only");
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
