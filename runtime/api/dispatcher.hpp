/// @file
/// What every transport does with every request, in this order: whose key is it, may its role do this, which tenant is
/// meant, and then the service. Deny by default.
///
/// What is already known (a key and a tenant that were seen before) is answered at once, on the caller's thread;
/// otherwise on a reader thread.
#pragma once

#include "actors/messaging.hpp"
#include "runtime/api/method.hpp"

namespace hive::api {

/// Any thread.
class dispatcher {
public:
  dispatcher(actors::messaging& hive, security::authenticator& auth) noexcept : hive_(hive), auth_(auth) {}

  /// Whose key is it? `unauthenticated`, the same for every reason.
  void authenticate(std::string key, reply<security::caller> done);
  /// `permission_denied` unless the table of roles allows it.
  static result<void> permit(const security::caller& who, const method& m);
  /// The context for `request`. @pre `permit` said yes, `validate` too.
  void enter(const security::caller& who, const method& m, const google::protobuf::Message& request, trace_context trace,
             reply<call> done);

private:
  actors::messaging& hive_;
  security::authenticator& auth_;
};

} // namespace hive::api
