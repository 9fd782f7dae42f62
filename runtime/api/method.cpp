#include "runtime/api/method.hpp"

#include "google/api/annotations.pb.h"
#include "hive/v1/options.pb.h"

#include <cstdio>
#include <cstdlib>

namespace hive::api {
namespace {

[[noreturn]] void broken(const std::string& what) { // the build's lint should have seen it
  std::fprintf(stderr, "the protos and the services disagree: %s\n", what.c_str());
  std::abort();
}

scope scope_of(const google::protobuf::MethodDescriptor& rpc, const hive::v1::Rule& rule) {
  switch (rule.scope()) {
  case hive::v1::TENANT: return scope::tenant;
  case hive::v1::HIVE: return scope::hive;
  case hive::v1::SELF: return scope::self;
  case hive::v1::PUBLIC: return scope::open;
  default: broken(rpc.full_name() + " has no scope");
  }
}

void read_route(method& m) {
  const auto& http = m.rpc->options().GetExtension(google::api::http);
  switch (http.pattern_case()) {
  case google::api::HttpRule::kGet: m.verb = "GET", m.path = http.get(); break;
  case google::api::HttpRule::kPut: m.verb = "PUT", m.path = http.put(); break;
  case google::api::HttpRule::kPost: m.verb = "POST", m.path = http.post(); break;
  case google::api::HttpRule::kDelete: m.verb = "DELETE", m.path = http.delete_(); break;
  default: broken(m.rpc->full_name() + " has no route");
  }
  m.body = http.body();
  m.response_body = http.response_body();
  for (std::size_t at = 0; (at = m.path.find('{', at)) != std::string::npos; ++at)
    m.path_fields.push_back(m.path.substr(at + 1, m.path.find('}', at) - at - 1));
}

} // namespace

std::string method::tenant_of(const google::protobuf::Message& m) const {
  return tenant ? m.GetReflection()->GetString(m, tenant) : std::string{};
}

void method_table::add(const google::protobuf::ServiceDescriptor& service) {
  for (int i = 0; i < service.method_count(); ++i) {
    auto m = std::make_unique<method>();
    m->rpc = service.method(i);
    const auto& rule = m->rpc->options().GetExtension(hive::v1::rule);
    m->permission = rule.permission();
    m->reach = scope_of(*m->rpc, rule);
    m->creates = rule.creates();
    m->request = google::protobuf::MessageFactory::generated_factory()->GetPrototype(m->rpc->input_type());
    if (m->reach == scope::tenant) m->tenant = m->rpc->input_type()->FindFieldByName("tenant");
    read_route(*m);
    methods_.push_back(std::move(m));
  }
}

method* method_table::find(std::string_view rpc) noexcept {
  for (const auto& m : methods_)
    if (m->rpc->full_name() == std::string("hive.v1.").append(rpc)) return m.get();
  return nullptr;
}

method& method_table::at(const char* rpc, const google::protobuf::Descriptor& request, const google::protobuf::Descriptor& response) {
  method* m = find(rpc);
  if (!m) broken(std::string(rpc) + " is not in the protos");
  if (m->rpc->input_type() != &request || m->rpc->output_type() != &response) broken(std::string(rpc) + " has other messages");
  return *m;
}

} // namespace hive::api
