#include "runtime/api/services/at_owner.hpp"

#include "config/base/bytes.hpp"

namespace hive::api {

void serve_at_owner(method& m, actors::messaging& hive) {
  m.invoke_here = m.invoke;
  const auto* response = google::protobuf::MessageFactory::generated_factory()->GetPrototype(m.rpc->output_type());
  m.invoke = [&m, &hive, response](const call& c, google::protobuf::Message& request, reply<any_message> done) {
    if (!hive.clustered()) return m.invoke_here(c, request, std::move(done));
    byte_writer carried; // before the service moves from the request
    carried.text(m.rpc->full_name()).text(request.SerializeAsString());
    m.invoke_here(c, request, [&hive, c, response, body = carried.take(), done = std::move(done)](result<any_message> r) mutable {
      if (r || r.error().reason != "elsewhere") return done(std::move(r));
      hive.call_node(r.error().field, carried_request, c.context, std::move(body), [response, done = std::move(done)](result<std::string> said) {
        if (!said) return done(std::move(said).error());
        any_message out(response->New());
        if (!out->ParseFromString(*said)) return done(error{errc::unknown, "malformed", "the answer of another node cannot be read"});
        done(std::move(out));
      });
    });
  };
}

void answer_carried(const method_table& table, tenant_context who, const std::string& body, std::function<void(result<std::string>)> done) {
  byte_reader in(body);
  const auto name = in.text();
  const auto bytes = in.text();
  const auto& all = table.methods();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& m) { return m->rpc->full_name() == name; });
  if (!in.ok() || found == all.end() || !(*found)->invoke_here) return done(error{errc::unimplemented, "unknown_call", "this node does not know that request"});
  std::shared_ptr<google::protobuf::Message> request((*found)->make_request());
  if (!request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return done(error{errc::invalid_argument, "malformed", "the request cannot be read"});
  const call c{{who, security::role::tenant, {}}, who};
  (*found)->invoke_here(c, *request, [request, done = std::move(done)](result<any_message> r) {
    if (!r) return done(std::move(r).error());
    done((*r)->SerializeAsString());
  });
}

} // namespace hive::api
