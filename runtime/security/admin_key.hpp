/// @file
/// The key that a hive is born with.
#pragma once

#include "actors/messaging.hpp"
#include "runtime/security/authenticator.hpp"

#include <filesystem>

namespace hive::security {

/// Makes the first administrator's key, unless `data_dir`/admin.key exists: stores its hash and writes the file, mode
/// 0600. Blocks until both are on disk. A crash in between is mended by the next start; who lost all keys deletes the
/// file and starts again. Call once the node takes asks and before the API listens.
/// @returns true when a key was made now.
result<bool> ensure_admin_key(const std::filesystem::path& data_dir, actors::messaging& hive, authenticator& auth);

} // namespace hive::security
