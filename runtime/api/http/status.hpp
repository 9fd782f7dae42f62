/// @file
/// Errors as HTTP says them.
#pragma once

#include "config/base/error.hpp"
#include "config/base/trace.hpp"

#include <string>

namespace hive::api::http {

/// The table in hive/v1/common.proto (message Error).
unsigned status_of(errc code) noexcept;
std::string_view phrase_of(unsigned status) noexcept;

/// `invalid_argument` for HTTP that we do not take.
inline error bad_request(std::string reason, std::string message) { return {errc::invalid_argument, std::move(reason), std::move(message), {}, {}}; }

/// The body {"error":{...}}.
std::string error_body(const error& why, unsigned status, const std::string& idempotency_key, const trace_context& trace);

} // namespace hive::api::http
