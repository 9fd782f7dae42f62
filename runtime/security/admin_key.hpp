/// @file
/// The key that a hive is born with.
#pragma once

#include "actors/messaging.hpp"
#include "runtime/security/authenticator.hpp"

#include <filesystem>

namespace hive::security {

/// What the start found of the key in `data_dir`/admin.key.
enum class admin_key {
  known,     ///< It opens the hive.
  made,      ///< There was none, or one without a use: it is new.
  foreign,   ///< It is not a key of this store, which has others: whoever uses it is refused.
  unchecked, ///< The store could not be read.
};

/// Makes an administrator's key when there is no file, or the store has no administrator's key at all (its files were
/// removed): stores its hash and writes the file, mode 0600. Blocks until both are on disk. A crash in between is mended by
/// the next start; who lost all keys deletes the file and starts again. A key that the store does not know is never stored:
/// it may have been deleted for a reason. Call once the node takes asks and before the API listens.
result<admin_key> ensure_admin_key(const std::filesystem::path& data_dir, actors::messaging& hive, authenticator& auth);

} // namespace hive::security
