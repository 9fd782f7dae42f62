#include "actors/executors/builtin.hpp"

#include "actors/executors/file_chunks.hpp"
#include "actors/executors/file_survey.hpp"
#include "actors/executors/file_walk.hpp"
#include "actors/executors/file_write.hpp"
#include "actors/executors/process.hpp"

namespace hive::actors {

void add_builtin_executors(executor_registry& executors, const config::file_access& files,
                           std::uint64_t payload_bytes) {
  const roots readable(files.read_roots, "files.read_roots");
  const roots writable(files.write_roots, "files.write_roots");
  std::vector<std::string> either = files.read_roots;
  either.insert(either.end(), files.write_roots.begin(), files.write_roots.end());
  executors.add("file.walk", std::make_unique<file_walk>(readable, payload_bytes));
  executors.add("file.chunks", std::make_unique<file_chunks>(readable));
  executors.add("file.survey", std::make_unique<file_survey>(readable));
  executors.add("file.write", std::make_unique<file_write>(writable));
  executors.add("process", std::make_unique<process>(
                               files.programs, roots(either, "files.read_roots or files.write_roots"), payload_bytes));
}

} // namespace hive::actors
