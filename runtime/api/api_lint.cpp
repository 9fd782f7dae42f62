/// @file
/// api_lint FILE: reads a descriptor set and fails unless every RPC of hive.v1 names its permission, its scope and a
/// route, and every field is what the JSON mapping can carry. Part of the build.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include "google/api/annotations.pb.h"
#include "hive/v1/options.pb.h"

#include <fstream>
#include <iostream>
#include <set>

namespace {

using namespace google::protobuf;

class linter {
public:
  int complaints = 0;

  void check(const ServiceDescriptor& service) {
    for (int i = 0; i < service.method_count(); ++i) check(*service.method(i));
  }

private:
  void complain(const std::string& where, const std::string& what) {
    std::cerr << where << ": " << what << '\n';
    ++complaints;
  }

  void check(const MethodDescriptor& rpc) {
    const auto& rule = rpc.options().GetExtension(hive::v1::rule);
    if (rule.permission().empty()) complain(rpc.full_name(), "names no permission: option (hive.v1.rule) = {permission: ...}");
    if (rule.scope() == hive::v1::SCOPE_UNSPECIFIED) complain(rpc.full_name(), "names no scope: option (hive.v1.rule) = {scope: ...}");
    if (rule.scope() == hive::v1::PUBLIC && rule.permission() != "health.read")
      complain(rpc.full_name(), "is PUBLIC: only health is");
    const auto* tenant = rpc.input_type()->FindFieldByName("tenant");
    if (rule.scope() == hive::v1::TENANT && (!tenant || !tenant->options().GetExtension(hive::v1::field).required()))
      complain(rpc.full_name(), "has scope TENANT and no required field `tenant`");
    check_route(rpc);
    check_fields(*rpc.input_type());
    check_fields(*rpc.output_type());
  }

  void check_route(const MethodDescriptor& rpc) {
    const auto& http = rpc.options().GetExtension(google::api::http);
    const std::string path = !http.get().empty() ? http.get() : !http.put().empty() ? http.put()
                           : !http.post().empty() ? http.post() : http.delete_();
    if (path.empty()) return complain(rpc.full_name(), "has no route: option (google.api.http) = {get: ...}");
    if (!routes_.insert(std::to_string(http.pattern_case()) + path).second) complain(rpc.full_name(), "has a route that another RPC has: " + path);
    for (std::size_t at = 0; (at = path.find('{', at)) != std::string::npos; ++at) {
      const auto name = path.substr(at + 1, path.find('}', at) - at - 1);
      const auto* field = rpc.input_type()->FindFieldByName(name);
      if (!field || field->type() != FieldDescriptor::TYPE_STRING)
        complain(rpc.full_name(), "has {" + name + "} in its path and no string field of that name");
      else if (!field->options().GetExtension(hive::v1::field).required())
        complain(field->full_name(), "is in a path and not marked required");
    }
    if (!http.body().empty() && http.body() != "*" && !rpc.input_type()->FindFieldByName(http.body()))
      complain(rpc.full_name(), "has a body field that is not there: " + http.body());
  }

  void check_fields(const Descriptor& message) {
    if (!seen_.insert(&message).second) return;
    if (message.field_count() > 64) complain(message.full_name(), "has more than 64 fields");
    for (int i = 0; i < message.field_count(); ++i) {
      const auto& field = *message.field(i);
      const bool json = field.options().GetExtension(hive::v1::field).json();
      if ((field.type() == FieldDescriptor::TYPE_BYTES) != json)
        complain(field.full_name(), "bytes fields are JSON values and the reverse: [(hive.v1.field) = {json: true}]");
      if (field.is_map()) complain(field.full_name(), "maps are not mapped: use a list with [(hive.v1.field) = {object: true}]");
      if (field.options().GetExtension(hive::v1::field).object() && !is_pair(field.message_type()))
        complain(field.full_name(), "an object is a list of messages with the strings name and value");
      if (field.real_containing_oneof()) complain(field.full_name(), "oneof is not mapped");
      if (field.message_type()) check_fields(*field.message_type());
    }
  }

  static bool is_pair(const Descriptor* message) {
    for (const char* name : {"name", "value"}) {
      const auto* field = message ? message->FindFieldByName(name) : nullptr;
      if (!field || field->type() != FieldDescriptor::TYPE_STRING || field->is_repeated()) return false;
    }
    return true;
  }

  std::set<std::string> routes_;
  std::set<const Descriptor*> seen_;
};

} // namespace

int main(int argc, char** argv) {
  FileDescriptorSet set;
  std::ifstream in(argc == 2 ? argv[1] : "", std::ios::binary);
  if (!in || !set.ParseFromIstream(&in)) {
    std::cerr << "usage: api_lint DESCRIPTOR_SET (as protoc --include_imports --descriptor_set_out writes it)\n";
    return 2;
  }
  DescriptorPool pool;
  linter lint;
  int rpcs = 0;
  for (const auto& file : set.file()) {
    const auto* built = pool.BuildFile(file);
    if (!built) {
      std::cerr << file.name() << ": cannot be read\n";
      return 2;
    }
    for (int i = 0; i < built->service_count(); ++i) {
      lint.check(*built->service(i));
      rpcs += built->service(i)->method_count();
    }
  }
  if (lint.complaints == 0) std::cout << "api_lint: " << rpcs << " RPCs, each with permission, scope and route\n";
  return lint.complaints == 0 ? 0 : 1;
}
