/// @file
/// What no turn may write, whatever the store: rows that would cross tenants. Checked before a batch is written.
#pragma once

#include "persistence/turn_record.hpp"

namespace hive::persistence {

/// Thrown for a row that can never be written: the batch is `refused`.
struct refusal {
  error why;
};
[[noreturn]] void refuse(std::string message);

/// Rows of one tenant only, except where the hive itself is on one side. Throws `refusal`.
void check_tenants(const turn_record& r);

/// Of a keyed answer, as stored: 1 generated key, 2 the answer is an error, 4* content type.
std::int64_t flags_of(const keyed_answer& k) noexcept;
/// As stored: 16 bytes.
std::string_view raw(const request_digest& d) noexcept;

} // namespace hive::persistence
