#include "runtime/api/dispatcher.hpp"

namespace hive::api {

void dispatcher::authenticate(std::string key, reply<security::caller> done) {
  if (auto known = auth_.cached(key)) return done(std::move(*known));
  hive_.read(system_tenant, [&auth = auth_, key = std::move(key), done = std::move(done)](persistence::store_reader& store) { done(auth.check(key, store)); });
}

result<void> dispatcher::permit(const security::caller& who, const method& m) {
  const bool in_reach = m.reach != scope::hive || who.as == security::role::admin;
  if (in_reach && security::allowed(who.as, m.permission)) return {};
  return error{errc::permission_denied, "permission_denied",
               "this needs the permission " + m.permission + (in_reach ? "" : " over the whole hive") + ", which a key with the role \"" +
                   std::string(security::to_string(who.as)) + "\" does not have", {}, {}};
}

void dispatcher::enter(const security::caller& who, const method& m, const google::protobuf::Message& request, trace_context trace,
                       reply<call> done) {
  if (m.reach != scope::tenant) return done(call{who, who.context, trace});
  const auto name = m.tenant_of(request);
  if (const auto known = auth_.cached_entry(who, name)) return done(call{who, *known, trace});
  const bool may_create = m.creates && who.as == security::role::admin;
  hive_.read(who.context.tenant(), [&auth = auth_, who, name, trace, may_create, done = std::move(done)](persistence::store_reader& store) {
    auto entered = auth.enter(who, name, store);
    if (entered) return done(call{who, *entered, trace});
    if (may_create && entered.error().code == errc::not_found) return done(call{who, who.context, trace, true});
    done(std::move(entered).error());
  });
}

} // namespace hive::api
