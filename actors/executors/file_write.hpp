/// @file
/// Executor "file.write": puts a file in place whole or not at all, and safely so when it is run twice.
///
/// Small files: `{"path":"/abs/file", "content":"...", "make_folders"?: false}`: written beside the target, synced,
/// renamed. Large files grow in a part file beside the target and take its place at the end:
///   - `{"path", "part":"NAME", "at":OFFSET}` and the bytes: writes them at that offset and syncs. What lies beyond is
///   cut off;
///     what lies before must be there, else `failed_precondition`.
///   - `{"path", "part":"NAME", "commit":BYTES}`: checks the length, renames, syncs the directory.
///   - `{"path", "part":"NAME", "discard":true}`: removes the part file, if it is there.
/// Content too large or too odd for a JSON string comes as a binary payload: the JSON, one newline, then the bytes.
/// Answer: `{"bytes":n}`. Links below a root are refused, and a target that is a link is replaced, not followed.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/executors/roots.hpp"

namespace hive::actors {

class file_write final : public executor {
public:
  explicit file_write(roots writable) : writable_(std::move(writable)) {}
  result<payload> run(const call& c) override;

private:
  roots writable_;
};

/// Arguments with content that follows them as it is.
payload with_content(const json& arguments, std::string_view content);

} // namespace hive::actors
