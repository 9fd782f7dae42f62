#include "config/base/error.hpp"

namespace hive {

std::string_view to_string(errc code) noexcept {
  switch (code) {
  case errc::invalid_argument: return "invalid_argument";
  case errc::unauthenticated: return "unauthenticated";
  case errc::permission_denied: return "permission_denied";
  case errc::not_found: return "not_found";
  case errc::already_exists: return "already_exists";
  case errc::conflict: return "conflict";
  case errc::failed_precondition: return "failed_precondition";
  case errc::resource_exhausted: return "resource_exhausted";
  case errc::unavailable: return "unavailable";
  case errc::rejected: return "rejected";
  case errc::unknown: return "unknown";
  case errc::cycle: return "cycle";
  case errc::application: return "application";
  case errc::fenced: return "fenced";
  case errc::internal: return "internal";
  case errc::unimplemented: return "unimplemented";
  }
  return "internal";
}

std::string to_string(const error& e) {
  std::string text{to_string(e.code)};
  if (!e.field.empty()) text += " (" + e.field + ")";
  return text + ": " + e.message;
}

} // namespace hive
