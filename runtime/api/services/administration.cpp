#include "runtime/api/json_mapping.hpp"
#include "runtime/api/json_reader.hpp"
#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"

namespace hive::api {
namespace {

using persistence::store_reader;

std::string as_json(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

/// One entry of `directory.apply`.
std::string entry(std::string_view name, const google::protobuf::Message& spec) {
  return "{\"name\":" + as_json(name) + ",\"spec\":" + to_json(spec, {.omit_defaults = true}) + "}";
}

void fill_change(v1::Change& out, const nlohmann::json& in) {
  out.set_kind(in.value("kind", ""));
  if (out.kind() == to_string(entity_kind::context)) out.set_kind("collection");
  out.set_name(in.value("name", ""));
  out.set_revision(in.value("revision", std::uint64_t{0}));
  out.set_change(in.value("change", ""));
}

/// A single put is an apply of one.
void put_one(const collaborators& with, const call& c, const char* list, std::string_view name, const google::protobuf::Message& spec,
             reply<v1::Change> done) {
  const std::string body = std::string("{\"") + list + "\":[" + entry(name, spec) + "]}";
  ask_entity(with.hive, c, {entity_kind::tenant, ""}, "directory.apply", body, {}, std::string(list) + "[0].spec.",
             [done = std::move(done)](result<nlohmann::json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::Change change;
               const auto entities = answer->find("entities");
               if (entities != answer->end() && entities->is_array() && !entities->empty()) fill_change(change, entities->front());
               done(std::move(change));
             });
}

void delete_one(const collaborators& with, const call& c, const char* kind, std::string_view name, reply<v1::Deleted> done) {
  const std::string body = std::string("{\"kind\":\"") + kind + "\",\"name\":" + as_json(name) + "}";
  ask_entity(with.hive, c, {entity_kind::tenant, ""}, "directory.delete", body, {}, {}, [done = std::move(done)](result<nlohmann::json> answer) {
    if (!answer) return done(std::move(answer).error());
    v1::Deleted out;
    out.set_deleted(true);
    done(std::move(out));
  });
}

/// Stop, start or restart: committed when it is answered, acted on a moment later.
void command_one(const collaborators& with, const call& c, const char* kind, std::string_view name, const char* verb, bool reset, reply<v1::Change> done) {
  const std::string body = std::string("{\"kind\":\"") + kind + "\",\"name\":" + as_json(name) + ",\"reset\":" + (reset ? "true}" : "false}");
  ask_entity(with.hive, c, {entity_kind::tenant, ""}, std::string("entity.") + verb, body, {}, {}, [done = std::move(done)](result<nlohmann::json> answer) {
    if (!answer) return done(std::move(answer).error());
    v1::Change change;
    fill_change(change, *answer);
    done(std::move(change));
  });
}

template <class Resource> Resource resource_from(const persistence::directory_row& row) {
  Resource out;
  out.set_name(row.name);
  out.set_id(to_string(row.id));
  out.set_revision(row.revision);
  // What was stored passed the checks when it was stored: what a newer version added is left out.
  (void)from_json(row.spec, *out.mutable_spec(), {.depth = 10'000, .ignore_unknown = true});
  return out;
}

template <class Resource> void get_one(const collaborators& with, const call& c, entity_kind kind, std::string name, reply<Resource> done) {
  with.hive.read(c.context.tenant(), [&hive = with.hive, c, kind, name = std::move(name), done = std::move(done)](store_reader& store) {
    auto row = store.find(c.context, kind, name);
    if (!row) return done(std::move(row).error());
    std::vector<actors::status_subject> subject{{row->id, row->supervisor}};
    hive.statuses(c.context, std::move(subject), [row = std::move(*row), done](std::unordered_map<entity_id, nlohmann::json> live) {
      auto out = resource_from<Resource>(row);
      fill(*out.mutable_status(), live_status_of(live, row.id, row.kind));
      done(std::move(out));
    });
  });
}

template <class Resource, class Response, class Member>
void list_page(const collaborators& with, const call& c, entity_kind kind, std::string after, std::size_t size, std::string supervisor,
               Member member, reply<Response> done) {
  if (auto ok = check_page_token(after); !ok) return done(ok.error());
  with.hive.read(c.context.tenant(), [&hive = with.hive, c, kind, after = std::move(after), size, supervisor = std::move(supervisor), member,
                  done = std::move(done)](store_reader& store) {
    auto rows = store.list(c.context, kind, after, size + 1, supervisor.empty() ? nullptr : &supervisor);
    if (!rows) return done(std::move(rows).error());
    const bool more = rows->size() > size;
    if (more) rows->resize(size);
    std::vector<actors::status_subject> subjects;
    for (const auto& row : *rows) subjects.push_back({row.id, row.supervisor});
    hive.statuses(c.context, std::move(subjects), [rows = std::move(*rows), more, member, done](std::unordered_map<entity_id, nlohmann::json> live) {
      Response out;
      for (const auto& row : rows) {
        auto* added = (out.*member)();
        *added = resource_from<Resource>(row);
        fill(*added->mutable_status(), live_status_of(live, row.id, row.kind));
      }
      if (more) out.set_next_page_token(rows.back().name);
      done(std::move(out));
    });
  });
}

v1::Tenant tenant_from(const persistence::tenant_row& row) {
  v1::Tenant out;
  out.set_name(row.name);
  out.set_id(row.id.value());
  (void)from_json(row.spec, *out.mutable_spec(), {.depth = 10'000, .ignore_unknown = true});
  return out;
}

/// @param manifest what is to be applied to it, checked before it is made; empty: nothing.
std::string tenant_body(std::string_view name, const v1::TenantSpec& spec, std::string_view manifest = {}) {
  std::string body = "{\"name\":" + as_json(name) + ",\"spec\":" + to_json(spec, {.omit_defaults = true});
  if (!manifest.empty()) body.append(",\"manifest\":").append(manifest);
  return body + "}";
}

} // namespace

// -- tenants

void tenant_service::put(const call& c, v1::PutTenantRequest& request, reply<v1::Tenant> done) {
  ask_entity(with_.hive, c, {entity_kind::tenant, ""}, "tenant.put", tenant_body(request.tenant(), request.spec()), {}, "spec.",
             [spec = request.spec(), done = std::move(done)](result<nlohmann::json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::Tenant out;
               out.set_name(answer->value("name", ""));
               out.set_id(answer->value("id", std::uint64_t{0}));
               out.set_created(answer->value("created", false));
               *out.mutable_spec() = spec;
               if (const auto stored = answer->find("spec"); stored != answer->end()) out.mutable_spec()->set_queue_partitions(stored->value("queue_partitions", 0U));
               done(std::move(out));
             });
}

void tenant_service::get(const call& c, v1::GetTenantRequest&, reply<v1::Tenant> done) {
  with_.hive.read(c.context.tenant(), [c, done = std::move(done)](store_reader& store) {
    auto row = store.find_tenant(c.context.tenant());
    if (!row) return done(std::move(row).error());
    done(tenant_from(*row));
  });
}

void tenant_service::list(const call& c, v1::ListTenantsRequest& request, reply<v1::ListTenantsResponse> done) {
  if (auto ok = check_page_token(request.page_token()); !ok) return done(ok.error());
  with_.hive.read(c.context.tenant(), [c, after = request.page_token(), size = page_of(request.page_size()), done = std::move(done)](store_reader& store) {
    v1::ListTenantsResponse out;
    if (c.who.as != security::role::admin) { // sees itself and nobody else
      auto own = store.find_tenant(c.context.tenant());
      if (!own) return done(std::move(own).error());
      if (after.empty()) *out.add_tenants() = tenant_from(*own);
      return done(std::move(out));
    }
    auto rows = store.tenants(after, size + 1);
    if (!rows) return done(std::move(rows).error());
    const bool more = rows->size() > size;
    if (more) rows->resize(size);
    for (const auto& row : *rows)
      if (row.id != system_tenant && !row.removed) *out.add_tenants() = tenant_from(row);
    if (more) out.set_next_page_token(rows->back().name);
    done(std::move(out));
  });
}

void tenant_service::remove(const call& c, v1::DeleteTenantRequest& request, reply<v1::Deleted> done) {
  with_.hive.read(c.context.tenant(), [with = with_, c, name = request.tenant(), done = std::move(done)](store_reader& store) {
    auto row = store.find_tenant(name);
    if (!row) return done(std::move(row).error());
    ask_entity(with.hive, c, {entity_kind::tenant, ""}, "tenant.delete", "{\"name\":" + as_json(name) + "}", {}, {},
               [with, name, id = row->id, done](result<nlohmann::json> answer) {
                 with.auth.forget_tenant(name, id); // also when we do not know how it ended
                 if (!answer) return done(std::move(answer).error());
                 v1::Deleted out;
                 out.set_deleted(true);
                 done(std::move(out));
               });
  });
}

// -- agents and supervisors

void agent_service::put(const call& c, v1::PutAgentRequest& request, reply<v1::Change> done) {
  put_one(with_, c, "agents", request.agent(), request.spec(), std::move(done));
}
void agent_service::get(const call& c, v1::GetAgentRequest& request, reply<v1::Agent> done) {
  get_one(with_, c, entity_kind::agent, request.agent(), std::move(done));
}
void agent_service::list(const call& c, v1::ListAgentsRequest& request, reply<v1::ListAgentsResponse> done) {
  list_page<v1::Agent>(with_, c, entity_kind::agent, request.page_token(), page_of(request.page_size()), request.supervisor(),
                       &v1::ListAgentsResponse::add_agents, std::move(done));
}
void agent_service::remove(const call& c, v1::DeleteAgentRequest& request, reply<v1::Deleted> done) {
  delete_one(with_, c, "agent", request.agent(), std::move(done));
}

void agent_service::stop(const call& c, v1::StopAgentRequest& request, reply<v1::Change> done) {
  command_one(with_, c, "agent", request.agent(), "stop", false, std::move(done));
}
void agent_service::start(const call& c, v1::StartAgentRequest& request, reply<v1::Change> done) {
  command_one(with_, c, "agent", request.agent(), "start", false, std::move(done));
}
void agent_service::restart(const call& c, v1::RestartAgentRequest& request, reply<v1::Change> done) {
  command_one(with_, c, "agent", request.agent(), "restart", request.reset(), std::move(done));
}

void supervisor_service::put(const call& c, v1::PutSupervisorRequest& request, reply<v1::Change> done) {
  put_one(with_, c, "supervisors", request.supervisor(), request.spec(), std::move(done));
}
void supervisor_service::get(const call& c, v1::GetSupervisorRequest& request, reply<v1::Supervisor> done) {
  get_one(with_, c, entity_kind::supervisor, request.supervisor(), std::move(done));
}
void supervisor_service::list(const call& c, v1::ListSupervisorsRequest& request, reply<v1::ListSupervisorsResponse> done) {
  list_page<v1::Supervisor>(with_, c, entity_kind::supervisor, request.page_token(), page_of(request.page_size()), {},
                            &v1::ListSupervisorsResponse::add_supervisors, std::move(done));
}
void supervisor_service::remove(const call& c, v1::DeleteSupervisorRequest& request, reply<v1::Deleted> done) {
  delete_one(with_, c, "supervisor", request.supervisor(), std::move(done));
}

void supervisor_service::stop(const call& c, v1::StopSupervisorRequest& request, reply<v1::Change> done) {
  command_one(with_, c, "supervisor", request.supervisor(), "stop", false, std::move(done));
}
void supervisor_service::start(const call& c, v1::StartSupervisorRequest& request, reply<v1::Change> done) {
  command_one(with_, c, "supervisor", request.supervisor(), "start", false, std::move(done));
}
void supervisor_service::restart(const call& c, v1::RestartSupervisorRequest& request, reply<v1::Change> done) {
  command_one(with_, c, "supervisor", request.supervisor(), "restart", false, std::move(done));
}

// -- a whole swarm

namespace {

void apply_directory(const collaborators& with, const call& c, std::string body, reply<v1::ApplyResponse> done) {
  ask_entity(with.hive, c, {entity_kind::tenant, ""}, "directory.apply", std::move(body), {}, {},
             [done = std::move(done)](result<nlohmann::json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::ApplyResponse out;
               out.set_created(answer->value("created", std::uint64_t{0}));
               out.set_updated(answer->value("updated", std::uint64_t{0}));
               out.set_unchanged(answer->value("unchanged", std::uint64_t{0}));
               if (const auto all = answer->find("entities"); all != answer->end() && all->is_array())
                 for (const auto& one : *all) fill_change(*out.add_entities(), one);
               done(std::move(out));
             });
}

template <class List> void append_entries(std::string& out, const char* name, const List& list) {
  out.append("\"").append(name).append("\":[");
  for (int i = 0; i < list.size(); ++i) {
    if (i != 0) out.push_back(',');
    out.append(entry(list[i].name(), list[i].spec()));
  }
  out.push_back(']');
}

/// @param only_check nothing is to change.
std::string directory_body(const v1::ApplyRequest& request, bool only_check = false) {
  std::string body = only_check ? "{\"check\":true," : "{";
  append_entries(body, "supervisors", request.supervisors());
  body.push_back(',');
  append_entries(body, "agents", request.agents());
  body.push_back(',');
  append_entries(body, "collections", request.collections());
  body.push_back('}');
  return body;
}

/// Makes the tenant or changes it, then applies the manifest to it. @param tenant the body of `tenant.put`.
void apply_with_tenant(const collaborators& with, const call& c, std::string name, std::string tenant, std::string manifest, reply<v1::ApplyResponse> done) {
  call as_hive = c;
  as_hive.context = c.who.context;
  ask_entity(with.hive, as_hive, {entity_kind::tenant, ""}, "tenant.put", std::move(tenant), {}, {},
             [with, c, name = std::move(name), manifest = std::move(manifest), done = std::move(done)](result<nlohmann::json> put) mutable {
               if (!put) {
                 auto why = std::move(put).error();
                 if (why.field.starts_with("spec")) why.field.insert(0, "tenant_");
                 return done(std::move(why));
               }
               with.hive.read(c.context.tenant(), [with, c, name = std::move(name), manifest = std::move(manifest), done = std::move(done)](store_reader& store) {
                 auto entered = with.auth.enter(c.who, name, store);
                 if (!entered) return done(std::move(entered).error());
                 call inside = c;
                 inside.context = *entered;
                 apply_directory(with, inside, manifest, done);
               });
             });
}

} // namespace

void swarm_service::apply(const call& c, v1::ApplyRequest& request, reply<v1::ApplyResponse> done) {
  const auto count = static_cast<std::uint64_t>(request.agents_size()) + static_cast<std::uint64_t>(request.supervisors_size()) +
                     static_cast<std::uint64_t>(request.collections_size());
  if (count > with_.limits.manifest_entities)
    return done(invalid("agents", "the manifest has " + std::to_string(count) + " entities; api.manifest_entities allows " +
                                      std::to_string(with_.limits.manifest_entities)));
  const bool admin = c.who.as == security::role::admin;
  if (request.has_tenant_spec() && !admin)
    return done(error{errc::permission_denied, "permission_denied", "only administrators change the tenant itself: leave tenant_spec out", "tenant_spec", {}});

  std::string manifest = directory_body(request);
  if (!c.tenant_absent && !request.has_tenant_spec()) return apply_directory(with_, c, std::move(manifest), std::move(done));
  if (c.tenant_absent) {
    std::string tenant = tenant_body(request.tenant(), request.tenant_spec(), manifest);
    return apply_with_tenant(with_, c, request.tenant(), std::move(tenant), std::move(manifest), std::move(done));
  }
  ask_entity(with_.hive, c, {entity_kind::tenant, ""}, "directory.apply", directory_body(request, true), {}, {},
             [with = with_, c, name = request.tenant(), tenant = tenant_body(request.tenant(), request.tenant_spec()), manifest = std::move(manifest),
              done = std::move(done)](result<nlohmann::json> good) mutable {
               if (!good) return done(std::move(good).error());
               apply_with_tenant(with, c, std::move(name), std::move(tenant), std::move(manifest), std::move(done));
             });
}

} // namespace hive::api
