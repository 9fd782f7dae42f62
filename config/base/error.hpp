/// @file
/// One kind of error for the whole hive: a class that says what the caller does next, a stable word for programs, a
/// sentence for people, and the field at fault.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace hive {

/// What the caller does next. The API maps these one to one onto HTTP and gRPC status.
enum class errc : std::uint8_t {
  invalid_argument = 1, ///< The request is wrong: mend `field` and send it again.
  unauthenticated,      ///< No key, or one that is not valid.
  permission_denied,    ///< The key is valid and may not do this.
  not_found,            ///< No such entity in this tenant (or it belongs to another: the two look the same).
  already_exists,       ///< The name, or the key with another digest, is taken.
  conflict,             ///< Another version is there now: read again.
  failed_precondition,  ///< The thing is in a state that does not allow it, e.g. stopped.
  resource_exhausted,   ///< A bound or a quota is full. Not executed: retry after `retry_after`.
  unavailable,          ///< Not executed for a reason of ours (store away, disk full, shutting down): retry.
  rejected,             ///< Not executed because its deadline had passed: safe to retry with the same key.
  unknown,              ///< May or may not have happened: ask again with the same idempotency key.
  cycle,                ///< The ask would wait for itself.
  application,          ///< The behaviour answered with an error, or crashed; `reason` says which.
  fenced,               ///< Another owner holds a newer epoch: this activation is over. Stays inside the hive.
  internal,             ///< A defect of ours.
  unimplemented,        ///< Known, and not built in this version.
};

std::string_view to_string(errc code) noexcept;

struct error {
  errc code = errc::internal;
  std::string reason;                      ///< Stable and lower case: "mailbox_full", "agent_crashed".
  std::string message;                     ///< One sentence: what is wrong and how to mend it.
  std::string field{};                     ///< Path of the field at fault, as the caller wrote it; may be empty.
  std::chrono::milliseconds retry_after{}; ///< 0: no hint.
};

inline error invalid(std::string field, std::string message) {
  return {errc::invalid_argument, "invalid_argument", std::move(message), std::move(field), {}};
}

/// "invalid_argument (field): message", for logs.
std::string to_string(const error& e);

} // namespace hive
