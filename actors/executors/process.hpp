/// @file
/// Executor "process": runs one of the programs that `files.programs` allows. No shell in between.
///
/// Arguments: `{"argv":["/usr/bin/git","log"], "stdin"?: "", "env"?: {"LANG":"C"}, "cwd"?: "/abs", "output_bytes"? (64
/// KiB)}`. Answer: `{"exit_code":0, "signal":null, "stdout":"...", "stderr":"...", "truncated":false}`. A program that
/// fails is an answer, not an error. Errors: `invalid_argument`; `permission_denied` (program, directory or variable
/// not allowed); `unknown` with reason "process_timeout" (killed with its whole process group; what it did until then
/// may stand).
///
/// The environment is PATH, LANG and HIVE_STEP_KEY (the same when the step is tried again), and what `env` adds of:
/// LANG, LC_*, TZ, TERM, COLUMNS, HIVE_*. `cwd` lies below a directory that agents may read or write; without it, "/".
#pragma once

#include "actors/behaviour.hpp"
#include "actors/executors/roots.hpp"

namespace hive::actors {

class process final : public executor {
public:
  process(std::vector<std::string> programs, roots folders, std::uint64_t answer_bytes)
      : programs_(std::move(programs)), folders_(std::move(folders)), answer_bytes_(answer_bytes) {}
  result<payload> run(const call& c) override;

private:
  std::vector<std::string> programs_;
  roots folders_;
  std::uint64_t answer_bytes_;
};

} // namespace hive::actors
