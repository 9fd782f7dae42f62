#include "actors/entity_loader.hpp"

#include "actors/stored_status.hpp"
#include "actors/system/system_turn.hpp"

namespace hive::actors {

result<loaded_entity> entity_loader::load(persistence::store_reader& reader, entity_id id, tenant_context who) {
  auto stored = reader.load(who, id);
  if (!stored) return stored.error();
  loaded_entity found;
  found.row = std::move(stored->row);
  const auto& dir = stored->directory;
  loaded_spec spec;
  if (const char* own = system_behaviour_of(id)) {
    if (id.tenant() != system_tenant)
      if (auto tenant = reader.find_tenant(id.tenant()); !tenant) {
        if (tenant.error().code != errc::not_found) return tenant.error();
        if (id.serial() != tenant_serial) return found; // a deleted tenant's own entity still closes what is left of it
      }
    spec.kind = id.serial() == tenant_serial ? entity_kind::tenant : is_queue(id) ? entity_kind::queue : entity_kind::supervisor;
    spec.behaviour_name = own;
    found.name = spec.kind == entity_kind::queue ? queue_name(partition_of(id)) : "root";
    found.spec = shared(own, std::move(spec));
    return found;
  }
  if (!dir) return found;
  found.name = dir->name;
  spec.kind = dir->kind;
  spec.behaviour_name = dir->behaviour;
  std::string text = std::to_string(id.tenant().value()) + "/" + dir->spec;
  if (dir->kind == entity_kind::agent) {
    auto parsed = agent_spec_from(json::parse(dir->spec, nullptr, false));
    if (!parsed) return parsed.error();
    spec.config = std::move(parsed->config);
    spec.restart = parsed->restart;
    spec.significant = parsed->significant;
    spec.shutdown = parsed->shutdown;
  } else if (dir->kind == entity_kind::supervisor) {
    auto parsed = supervisor_spec_from(json::parse(dir->spec, nullptr, false));
    if (!parsed) return parsed.error();
    spec.restart = parsed->restart;
    spec.significant = parsed->significant;
    spec.shutdown = parsed->shutdown;
    spec.group = std::move(*parsed);
  } else if (dir->kind == entity_kind::context) spec.config = json::parse(dir->spec);
  // Only running entities activate, and below a supervisor that is stopped or quarantined nothing runs.
  known_downs known;
  auto above = down_above(reader, who, dir->supervisor, known);
  if (!above) return above.error();
  found.above = std::move(*above);
  if (!dir->supervisor.empty())
    if (auto supervisor = names_.lookup(reader, who, entity_kind::supervisor, dir->supervisor)) {
      spec.supervisor = *supervisor;
      text += "#" + to_string(*supervisor);
    }
  found.spec = shared(std::move(text), std::move(spec));
  return found;
}

/// Agents with the same spec share one object: a million readers have one config.
std::shared_ptr<const loaded_spec> entity_loader::shared(std::string text, loaded_spec&& spec) {
  std::lock_guard lock(guard_);
  auto& known = specs_[std::move(text)];
  auto one = known.lock();
  if (!one) {
    spec.code = behaviours_.find(spec.behaviour_name);
    one = std::make_shared<const loaded_spec>(std::move(spec));
    known = one;
    if (specs_.size() > 100'000) std::erase_if(specs_, [](const auto& s) { return s.second.expired(); });
  }
  return one;
}

} // namespace hive::actors
