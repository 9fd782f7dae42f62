/// @file
/// Compiled by a test as it is (that must work) and with each FORGE (that must not): nobody but the authenticator makes a
/// tenant context.
#include "runtime/security/authenticator.hpp"

#include <type_traits>

using hive::tenant_context;

static_assert(!std::is_default_constructible_v<tenant_context>);
static_assert(!std::is_aggregate_v<tenant_context>);
static_assert(std::is_copy_constructible_v<tenant_context>);
static_assert(!std::is_constructible_v<tenant_context, hive::tenant_id>);
static_assert(!std::is_constructible_v<tenant_context, std::nullptr_t>);

tenant_context honest(hive::security::authenticator& auth) { return auth.restore(hive::tenant_id{1}, "key:x"); }

#if FORGE == 1
tenant_context forged() { return {}; }
#elif FORGE == 2
tenant_context forged() { return tenant_context(nullptr); }
#elif FORGE == 3
struct thief : tenant_context {
  thief() : tenant_context(nullptr) {}
};
#elif FORGE == 4
tenant_context::facts forged() { return {hive::tenant_id{1}, "key:x", 0}; }
#elif FORGE == 5
tenant_context forged(hive::security::authenticator& auth) { return auth.intern(hive::tenant_id{1}, "key:x"); }
#endif
