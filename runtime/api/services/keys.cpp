#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"

namespace hive::api {

void key_service::create(const call& c, v1::CreateKeyRequest& request, reply<v1::CreatedKey> done) {
  auto key = security::authenticator::make_key();
  const auto role = request.role() == v1::KEY_ROLE_VIEWER ? v1::KEY_ROLE_VIEWER : v1::KEY_ROLE_TENANT;
  const nlohmann::json body{{"id", key.id}, {"secret_hash", key.secret_hash},
                            {"role", role == v1::KEY_ROLE_VIEWER ? "viewer" : "tenant"}, {"label", request.label()}};
  ask_entity(with_.hive, c, {entity_kind::tenant, ""}, "key.create", body.dump(), {}, {},
             [key = std::move(key), role, done = std::move(done)](result<nlohmann::json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::CreatedKey out;
               out.set_id(key.id);
               out.set_key(key.text);
               out.set_role(role);
               done(std::move(out));
             });
}

void key_service::list(const call& c, v1::ListKeysRequest& request, reply<v1::ListKeysResponse> done) {
  if (auto ok = check_page_token(request.page_token()); !ok) return done(ok.error());
  with_.hive.read(c.context.tenant(), [c, after = request.page_token(), size = page_of(request.page_size()), done = std::move(done)](persistence::store_reader& store) {
    // The tenant's entity keeps a row a key, without its hash.
    const auto entity = entity_id::of_tenant(c.context.tenant());
    auto rows = store.items(c.context, entity, "key/", after.empty() ? std::string{} : "key/" + after, size + 1);
    if (!rows) return done(std::move(rows).error());
    const bool more = rows->size() > size;
    if (more) rows->resize(size);
    v1::ListKeysResponse out;
    for (const auto& [name, text] : *rows) {
      const auto row = nlohmann::json::parse(text, nullptr, false);
      if (!row.is_object()) continue;
      auto& key = *out.add_keys();
      key.set_id(name.substr(4));
      key.set_role(row.value("role", "") == "viewer" ? v1::KEY_ROLE_VIEWER : v1::KEY_ROLE_TENANT);
      key.set_label(row.value("label", ""));
      key.set_created_at(row.value("created_at", std::int64_t{0}));
      if (more && out.keys_size() == static_cast<int>(size)) out.set_next_page_token(key.id());
    }
    done(std::move(out));
  });
}

void key_service::remove(const call& c, v1::DeleteKeyRequest& request, reply<v1::Deleted> done) {
  ask_entity(with_.hive, c, {entity_kind::tenant, ""}, "key.delete", nlohmann::json{{"id", request.id()}}.dump(), {}, {},
             [&auth = with_.auth, id = request.id(), done = std::move(done)](result<nlohmann::json> answer) {
               auth.forget_key(id); // also when we do not know how it ended: the next use reads the store
               if (!answer) return done(std::move(answer).error());
               v1::Deleted out;
               out.set_deleted(true);
               done(std::move(out));
             });
}

} // namespace hive::api
