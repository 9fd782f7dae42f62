#include "runtime/api/json_mapping.hpp"
#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"

#include "actors/directory.hpp"

#include <set>

namespace hive::api {
namespace {

using persistence::directory_row;
using persistence::store_reader;

constexpr std::size_t depth_max = 64;

/// Everything of one kind, page by page, until `room` is used up.
result<bool> read_all(store_reader& store, tenant_context who, entity_kind kind, std::size_t& room, std::vector<directory_row>& into) {
  std::string after;
  while (room > 0) {
    const std::size_t wanted = std::min<std::size_t>(room, 1000);
    auto page = store.list(who, kind, after, wanted);
    if (!page) return std::move(page).error();
    if (page->empty()) return true;
    after = page->back().name;
    room -= std::min(room, page->size());
    const bool last = page->size() < wanted;
    std::move(page->begin(), page->end(), std::back_inserter(into));
    if (last) return true;
  }
  auto more = store.list(who, kind, after, 1);
  if (!more) return std::move(more).error();
  return more->empty();
}

class tree_builder {
public:
  tree_builder(tenant_context who, std::vector<directory_row> rows, const std::unordered_map<entity_id, nlohmann::json>& live)
    : who_(who), rows_(std::move(rows)), live_(live) {
    std::set<std::string_view> supervisors;
    for (const auto& row : rows_)
      if (row.kind == entity_kind::supervisor) supervisors.insert(row.name);
    for (const auto& row : rows_) // whose supervisor is not in this answer stands below the root
      children_[supervisors.contains(row.supervisor) ? std::string_view(row.supervisor) : std::string_view{}].push_back(&row);
  }

  v1::Tree build(std::string tenant, bool complete) {
    v1::Tree tree;
    tree.set_tenant(std::move(tenant));
    auto& root = *tree.mutable_root();
    const entity_id id(who_.tenant(), actors::root_supervisor_serial);
    root.set_kind("supervisor");
    root.set_id(to_string(id));
    root.set_strategy(v1::RESTART_STRATEGY_ONE_FOR_ONE);
    fill(*root.mutable_status(), live_status_of(live_, id, entity_kind::supervisor));
    add_children(root, {}, 1);
    tree.set_entities(placed_);
    tree.set_truncated(!complete || placed_ < rows_.size());
    return tree;
  }

private:
  void add_children(v1::TreeNode& above, std::string_view name, std::size_t depth) {
    const auto found = children_.find(name);
    if (found == children_.end() || depth > depth_max) return;
    for (const auto* row : found->second) {
      auto& node = *above.add_children();
      ++placed_;
      node.set_kind(to_string(row->kind));
      node.set_name(row->name);
      node.set_id(to_string(row->id));
      node.set_behaviour(row->behaviour);
      fill(*node.mutable_status(), live_status_of(live_, row->id, row->kind));
      if (row->kind != entity_kind::supervisor) continue;
      v1::SupervisorSpec spec;
      (void)from_json(row->spec, spec, {.depth = 10'000, .ignore_unknown = true});
      node.set_strategy(spec.strategy() == v1::RESTART_STRATEGY_UNSPECIFIED ? v1::RESTART_STRATEGY_ONE_FOR_ONE : spec.strategy());
      add_children(node, row->name, depth + 1);
    }
  }

  tenant_context who_;
  std::vector<directory_row> rows_;
  const std::unordered_map<entity_id, nlohmann::json>& live_;
  std::map<std::string_view, std::vector<const directory_row*>> children_;
  std::uint64_t placed_ = 0;
};

std::optional<entity_kind> kind_from(std::string_view word) {
  if (word == "collection") return entity_kind::context;
  for (const auto kind : {entity_kind::tenant, entity_kind::agent, entity_kind::supervisor, entity_kind::queue})
    if (word == to_string(kind)) return kind;
  return std::nullopt;
}

} // namespace

void swarm_service::tree(const call& c, v1::GetTreeRequest& request, reply<v1::Tree> done) {
  with_.hive.read(c.context.tenant(), [&hive = with_.hive, c, tenant = request.tenant(), limit = request.limit(), done = std::move(done)](store_reader& store) {
    std::size_t room = limit == 0 ? 1000 : limit;
    std::vector<directory_row> rows;
    auto complete = read_all(store, c.context, entity_kind::supervisor, room, rows);
    if (!complete) return done(std::move(complete).error());
    auto agents = read_all(store, c.context, entity_kind::agent, room, rows);
    if (!agents) return done(std::move(agents).error());
    std::vector<actors::status_subject> subjects{{entity_id{c.context.tenant(), actors::root_supervisor_serial}, {}}};
    for (const auto& row : rows) subjects.push_back({row.id, row.supervisor});
    hive.statuses(c.context, std::move(subjects),
                  [c, tenant, rows = std::move(rows), whole = *complete && *agents, done](std::unordered_map<entity_id, nlohmann::json> live) {
                    done(tree_builder(c.context, rows, live).build(tenant, whole));
                  });
  });
}

void swarm_service::explain(const call& c, v1::ExplainRequest& request, reply<v1::ExplainResponse> done) {
  const std::string address = request.kind() + "/" + request.name();
  auto answer = [address, done = std::move(done)](result<actors::explanation> said) {
    if (!said) return done(std::move(said).error());
    if (said->contains("address")) (*said)["address"] = address; // in the caller's words
    v1::ExplainResponse out;
    out.set_explanation(said->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    done(std::move(out));
  };
  if (request.kind() != "queue")
    if (auto ok = actors::check_name(request.name(), "name"); !ok) return answer(std::move(ok).error());
  if (request.kind() == "task") return with_.hive.explain_task(c.context, request.name(), std::move(answer));
  const auto kind = kind_from(request.kind());
  if (!kind) return answer(invalid("kind", "kind must be one of: tenant, agent, supervisor, queue, task, collection"));
  if (*kind == entity_kind::tenant && request.name() != request.tenant()) // it has no name of its own in its directory
    return answer(error{errc::not_found, "not_found", "no " + address, "name", {}});
  actors::destination of{*kind, *kind == entity_kind::tenant ? std::string{} : request.name()};
  with_.hive.explain(c.context, std::move(of), [address, answer = std::move(answer)](result<actors::explanation> said) {
    if (!said && said.error().code == errc::not_found) return answer(error{errc::not_found, "not_found", "no " + address, "name", {}});
    answer(std::move(said));
  });
}

} // namespace hive::api
