/// @file
/// Executor "file.walk": lists what is below a directory, in pages and in an order that depends on the names only.
///
/// Arguments: `{"root":"/abs", "cursor"?, "limit"? (1..10,000; 1,000), "include"?: [globs], "exclude"?: [globs]}`.
/// Answer: `{"root":"/real/path", "entries":[{"path","kind",...}], "folders":n, "cursor": string or null}`.
///
/// In each directory first everything that is no directory, by name, then the directories, by name and depth first.
/// `kind` is "file"; or, for what a person may have to know of: "link" (with `to`: its text, and `state`: "file",
/// "folder", "dangling", "loop", "outside"), "special" (socket, pipe, device), "unreadable" (a directory, with `why`),
/// "too_deep", "excluded" (a directory). Links are never followed. `include` chooses files, `exclude` drops files and
/// whole directories. `folders` counts the directories that this page entered first.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/executors/roots.hpp"

namespace hive::actors {

class file_walk final : public executor {
public:
  /// @param answer_bytes a page ends early rather than grow beyond it.
  file_walk(roots readable, std::uint64_t answer_bytes) : readable_(std::move(readable)), answer_bytes_(answer_bytes) {}
  result<payload> run(const call& c) override;

private:
  roots readable_;
  std::uint64_t answer_bytes_;
};

} // namespace hive::actors
