/// @file
/// The RPCs of hive.v1 as the transports see them: what the protos say of each one, and the typed service behind it.
#pragma once

#include "config/base/result.hpp"
#include "config/base/trace.hpp"
#include "runtime/security/authenticator.hpp"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hive::api {

/// Who calls, and for which tenant. What a service gets beside the request; it has been authenticated, its permission
/// checked and its tenant entered.
struct call {
  security::caller who;
  tenant_context context;    ///< Of the tenant that the request names; of the caller's own for scope SELF and HIVE.
  trace_context trace{};
  bool tenant_absent = false; ///< Scope TENANT with `creates`: an administrator named one that is not there yet.
};

/// The end of an RPC: called exactly once, on any thread; must not block. The request lives until then, and a service may
/// leave in it what the caller of a failed RPC should know: the field `idempotency_key` with the key that was made.
template <class Response> using reply = std::function<void(result<Response>)>;
using any_message = std::unique_ptr<google::protobuf::Message>;

enum class scope : std::uint8_t { tenant, hive, self, open };

struct method {
  const google::protobuf::MethodDescriptor* rpc = nullptr;
  std::string permission;
  scope reach = scope::tenant;
  bool creates = false;
  std::string verb;                       ///< "GET"
  std::string path;                       ///< "/v1/tenants/{tenant}"
  std::string body;                       ///< "", "*" or a field.
  std::string response_body;              ///< "" or a field.
  std::vector<std::string> path_fields;
  const google::protobuf::Message* request = nullptr;      ///< Prototype.
  const google::protobuf::FieldDescriptor* tenant = nullptr; ///< Of scope TENANT.
  /// Null for streams, which their transport serves by the service itself. May move from the request.
  std::function<void(const call&, google::protobuf::Message&, reply<any_message>)> invoke;

  /// Of those that only an entity's owner can serve: without asking another node. @see services/at_owner.hpp
  std::function<void(const call&, google::protobuf::Message&, reply<any_message>)> invoke_here;

  any_message make_request() const { return any_message(request->New()); }
  std::string tenant_of(const google::protobuf::Message& m) const;
};

/// Every RPC of the services that were added. Filled at start, then only read.
class method_table {
public:
  /// Adds all RPCs of a service; `bind` must follow for those that do not stream.
  void add(const google::protobuf::ServiceDescriptor& service);

  template <class Request, class Response, class Service>
  void bind(const char* rpc, Service& service, void (Service::*handler)(const call&, Request&, reply<Response>)) {
    method& m = at(rpc, *Request::descriptor(), *Response::descriptor());
    m.invoke = [&service, handler](const call& c, google::protobuf::Message& request, reply<any_message> done) {
      (service.*handler)(c, static_cast<Request&>(request), [done = std::move(done)](result<Response> r) {
        if (!r) return done(std::move(r).error());
        done(any_message(std::make_unique<Response>(std::move(*r))));
      });
    };
  }

  /// Null: there is none of that name ("ContextService.Search").
  method* find(std::string_view rpc) noexcept;
  const std::vector<std::unique_ptr<method>>& methods() const noexcept { return methods_; }

private:
  method& at(const char* rpc, const google::protobuf::Descriptor& request, const google::protobuf::Descriptor& response);
  std::vector<std::unique_ptr<method>> methods_;
};

} // namespace hive::api
