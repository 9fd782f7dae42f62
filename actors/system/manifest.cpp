#include "actors/system/manifest.hpp"

namespace hive::actors {
namespace {

void insist(result<void> r) {
  if (!r) throw bad_message(r.error().field, r.error().message);
}

/// What a supervisor asks of its children. @throws bad_message at the child's path.
void check_child(const wanted& child, const supervisor_spec& above) {
  if (child.significant && above.ends_with == auto_shutdown::never)
    throw bad_message(child.path + ".spec.significant", "the supervisor's auto_shutdown is never: no child of it is significant");
  if (above.strategy != restart_strategy::simple_one_for_one) return;
  if (child.kind != entity_kind::agent || child.behaviour != above.behaviour)
    throw bad_message(child.path + ".spec.behaviour", "all children of a simple_one_for_one supervisor are agents with its behaviour, \"" + above.behaviour + "\"");
}

/// The behaviour is known, and takes the config.
result<void> check(const agent_spec& spec, const behaviour_registry& agents, const std::string& path) {
  const auto* code = agents.find(spec.behaviour);
  if (!code || spec.behaviour.starts_with("hive.")) {
    std::string known;
    for (const auto& n : agents.names()) known += (known.empty() ? "" : ", ") + n;
    return invalid(path + ".behaviour", "no behaviour named \"" + spec.behaviour + "\"; this node has: " + known);
  }
  if (auto ok = code->check(spec.config); !ok) {
    auto e = ok.error();
    e.field = path + ".config" + (e.field.empty() ? "" : "." + e.field);
    return e;
  }
  return {};
}

} // namespace

manifest read_manifest(const json& body, const behaviour_registry& agents, const config::settings& settings) {
  manifest m;
  auto& all = m.all;
  const auto read_list = [&](const char* list, entity_kind kind) {
    const auto found = body.find(list);
    if (found == body.end()) return;
    if (!found->is_array()) throw bad_message(list, std::string(list) + " must be a list");
    std::size_t i = 0;
    for (const auto& entry : *found) {
      wanted w{kind, {}, std::string(list) + "[" + std::to_string(i++) + "]", {}, {}, {}};
      if (!entry.is_object()) throw bad_message(w.path, w.path + " must be an object");
      const auto name = entry.find("name");
      w.name = name != entry.end() && name->is_string() ? name->get<std::string>() : "";
      insist(check_name(w.name, w.path + ".name"));
      const auto spec = entry.find("spec");
      const json given = spec == entry.end() ? json::object() : *spec;
      const auto prefixed = [&](const error& e) { throw bad_message(e.field.empty() ? w.path + ".spec" : w.path + ".spec." + e.field, e.message); };
      if (kind == entity_kind::agent) {
        auto s = agent_spec_from(given);
        if (!s) prefixed(s.error());
        insist(check(*s, agents, w.path + ".spec"));
        w.behaviour = s->behaviour;
        w.supervisor = s->supervisor;
        w.significant = s->significant;
        w.spec = to_json(*s).dump();
      } else if (kind == entity_kind::context) {
        auto s = collection_spec_from(given);
        if (!s) prefixed(s.error());
        w.behaviour = "hive.context";
        w.spec = to_json(*s).dump();
      } else {
        auto s = supervisor_spec_from(given);
        if (!s) prefixed(s.error());
        w.supervisor = s->supervisor;
        w.significant = s->significant;
        w.spec = to_json(*s).dump();
      }
      all.push_back(std::move(w));
    }
  };
  read_list("supervisors", entity_kind::supervisor);
  read_list("agents", entity_kind::agent);
  read_list("collections", entity_kind::context);
  if (all.size() > settings.api.manifest_entities)
    throw bad_message("agents", "a manifest has at most api.manifest_entities (" + std::to_string(settings.api.manifest_entities) + ") entities");

  // Names may come once only, and the supervisors they mention must be there or in this manifest.
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!m.given.emplace(std::pair{all[i].kind, all[i].name}, i).second) throw bad_message(all[i].path + ".name", "\"" + all[i].name + "\" comes twice");
    m.asked.emplace_back(all[i].kind, all[i].name);
  }
  for (const auto& w : all)
    if (!w.supervisor.empty() && !m.given.contains({entity_kind::supervisor, w.supervisor}) && m.others.emplace(w.supervisor, m.asked.size()).second)
      m.asked.emplace_back(entity_kind::supervisor, w.supervisor);
  return m;
}

result<void> check_cycles(const manifest& m, const std::function<std::optional<std::string>(const std::string&)>& above_of) {
  constexpr std::size_t deepest = 256;
  for (const auto& w : m.all) {
    if (w.kind != entity_kind::supervisor) continue;
    std::string above = w.supervisor;
    for (std::size_t depth = 0; !above.empty(); ++depth) {
      if (above == w.name) return invalid(w.path + ".spec.supervisor", "\"" + w.name + "\" would supervise itself");
      if (depth > deepest) return invalid(w.path + ".spec.supervisor", "\"" + w.name + "\" would stand below more than 256 supervisors");
      if (const auto here = m.given.find({entity_kind::supervisor, above}); here != m.given.end()) above = m.all[here->second].supervisor;
      else if (auto next = above_of(above)) above = std::move(*next);
      else break;
    }
  }
  return {};
}

void check_supervisors(const manifest& m, const std::vector<std::optional<persistence::directory_row>>& found) {
  for (const auto& w : m.all)
    if (const auto other = m.others.find(w.supervisor); other != m.others.end() && !found[other->second])
      throw bad_message(w.path + ".spec.supervisor", "no supervisor named \"" + w.supervisor + "\"");
  std::map<std::string, supervisor_spec> above_of; // each is read once, however many children the manifest has
  for (const auto& w : m.all) {
    auto known = above_of.find(w.supervisor);
    if (known == above_of.end()) {
      supervisor_spec above;
      if (!w.supervisor.empty()) {
        const auto here = m.given.find({entity_kind::supervisor, w.supervisor});
        const std::string& text = here != m.given.end() ? m.all[here->second].spec : found[m.others.at(w.supervisor)]->spec;
        if (auto parsed = supervisor_spec_from(json::parse(text, nullptr, false))) above = std::move(*parsed);
      }
      known = above_of.emplace(w.supervisor, std::move(above)).first;
    }
    check_child(w, known->second);
  }
}

} // namespace hive::actors
