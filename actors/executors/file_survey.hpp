/// @file
/// Executor "file.survey": reads one file and says what is in it.
///
/// Arguments: `{"root":"/abs", "path":"below/it", "bytes_max"? (8 MiB)}`. Answer:
/// ```
/// {"status":"ok", "language":"C++", "bytes":n, "lines":n, "definitions":{"function":n}, "headings":n,
///  "outline":["function main", ...], "markers":{"TODO":n}, "terms":[["word",n], ...]}
/// ```
/// `status` is "ok"; "binary" (a NUL among the first 8,000 bytes; `language` says which kind); "huge" (beyond
/// `bytes_max`: lines counted, content not examined); "changed" (it changed twice while it was read: the counts are of
/// one reading); or, with `why` and no counts, "unreadable", "vanished", "special". `lines` is what `wc -l` says,
/// `markers` what `LC_ALL=C grep -cw` says. A file that cannot be read is an answer, not an error: only bad arguments
/// and roots that are not allowed are errors.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/executors/roots.hpp"

namespace hive::actors {

class file_survey final : public executor {
public:
  explicit file_survey(roots readable) : readable_(std::move(readable)) {}
  result<payload> run(const call& c) override;

private:
  roots readable_;
};

} // namespace hive::actors
