/// @file
/// Executor "file.chunks": reads one text file and cuts it into passages, to be remembered.
///
/// Arguments: `{"root":"/abs", "path":"below/it", "bytes_max"? (256 KiB)}`: what is beyond it is left out, and said so.
/// Answer: `{"language":"C++", "chunks":[{"line":n, "last_line":n, "heading":"...", "text":"..."}], "cut":bool}`. A
/// file that is not there, cannot be read or is no text has no chunks. Text that is not UTF-8 has its bytes replaced.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/executors/roots.hpp"

namespace hive::actors {

class file_chunks final : public executor {
public:
  explicit file_chunks(roots readable) : readable_(std::move(readable)) {}
  result<payload> run(const call& c) override;

private:
  roots readable_;
};

} // namespace hive::actors
