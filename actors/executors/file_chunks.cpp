#include "actors/executors/file_chunks.hpp"

#include "actors/executors/json_fields.hpp"
#include "actors/executors/text/chunks.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hive::actors {
namespace {

constexpr std::uint64_t usual_bytes = 256 * 1024;
constexpr std::size_t chunks_max = 1000; // as many as one put of a collection takes

/// Up to `bytes_max` and one more, which tells that there is more.
std::string read_start(int fd, std::uint64_t bytes_max) {
  std::string content(bytes_max + 1, '\0');
  std::size_t have = 0;
  while (have < content.size()) {
    const auto n = ::pread(fd, content.data() + have, content.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  content.resize(have);
  return content;
}

} // namespace

result<payload> file_chunks::run(const call& c) {
  json_fields fields(c.arguments);
  const std::string root = fields.path("root");
  const std::string path = fields.path("path");
  const auto bytes_max = fields.number_or("bytes_max", usual_bytes, 1024, usual_bytes);
  if (auto wrong = fields.problem()) return *wrong;
  if (auto plain = normal_path("/" + path, "path"); !plain) return plain.error();

  json out{{"language", ""}, {"chunks", json::array()}, {"cut", false}};
  auto directory = readable_.open_directory(root, "root");
  if (!directory && directory.error().code != errc::not_found) return directory.error();
  unique_fd file;
  if (directory) file = open_below(directory->fd.get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat facts {};
  if (file && ::fstat(file.get(), &facts) == 0 && S_ISREG(facts.st_mode)) {
    std::string content = read_start(file.get(), bytes_max);
    if (!text::is_binary(content)) {
      if (content.size() > bytes_max) { // whole lines only
        const auto end = content.rfind('\n', bytes_max - 1);
        content.resize(end == std::string::npos ? bytes_max : end + 1);
        out["cut"] = true;
      }
      const auto& what = text::language_of(path, std::string_view(content).substr(0, text::sniffed_bytes));
      out["language"] = what.name;
      for (const auto& one : text::chunks_of(what, content)) {
        if (out["chunks"].size() == chunks_max) {
          out["cut"] = true;
          break;
        }
        out["chunks"].push_back(
            {{"line", one.line}, {"last_line", one.last_line}, {"heading", one.heading}, {"text", one.content}});
      }
    }
  }
  return payload{out.dump(-1, ' ', false, json::error_handler_t::replace), content_type::json};
}

} // namespace hive::actors
