#include "runtime/api/http/status.hpp"

#include "hive/v1/common.pb.h"
#include "runtime/api/json_mapping.hpp"

namespace hive::api::http {

unsigned status_of(errc code) noexcept {
  switch (code) {
  case errc::invalid_argument: return 400;
  case errc::unauthenticated: return 401;
  case errc::permission_denied: return 403;
  case errc::not_found: return 404;
  case errc::already_exists:
  case errc::conflict:
  case errc::failed_precondition: return 409;
  case errc::cycle:
  case errc::application: return 422;
  case errc::resource_exhausted: return 429;
  case errc::internal: return 500;
  case errc::unimplemented: return 501;
  case errc::unavailable:
  case errc::rejected:
  case errc::fenced: return 503;
  case errc::unknown: return 504;
  }
  return 500;
}

std::string_view phrase_of(unsigned status) noexcept {
  switch (status) {
  case 200: return "OK";
  case 400: return "Bad Request";
  case 401: return "Unauthorized";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 408: return "Request Timeout";
  case 409: return "Conflict";
  case 413: return "Payload Too Large";
  case 414: return "URI Too Long";
  case 415: return "Unsupported Media Type";
  case 417: return "Expectation Failed";
  case 422: return "Unprocessable Entity";
  case 429: return "Too Many Requests";
  case 431: return "Request Header Fields Too Large";
  case 500: return "Internal Server Error";
  case 501: return "Not Implemented";
  case 503: return "Service Unavailable";
  case 504: return "Gateway Timeout";
  default: return "Error";
  }
}

std::string error_body(const error& why, unsigned status, const std::string& idempotency_key, const trace_context& trace) {
  v1::ErrorResponse body;
  auto& e = *body.mutable_error();
  // What is fenced is retried inside the hive; should one get out, the caller may retry as well.
  e.set_code(std::string(to_string(why.code == errc::fenced ? errc::unavailable : why.code)));
  e.set_status(status);
  e.set_message(why.message);
  e.set_field(why.field);
  e.set_retry_after_ms(static_cast<std::uint64_t>(std::max<std::int64_t>(0, why.retry_after.count())));
  e.mutable_details()->set_reason(why.reason);
  e.mutable_details()->set_idempotency_key(idempotency_key);
  if (trace.valid()) e.mutable_details()->set_trace_id(trace.trace_id());
  return to_json(body);
}

} // namespace hive::api::http
