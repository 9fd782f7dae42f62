#include "actors/executors/file_survey.hpp"

#include "actors/executors/json_fields.hpp"
#include "actors/executors/text/structure.hpp"
#include "actors/executors/text/words.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hive::actors {
namespace {

constexpr std::size_t terms_of_a_file = 12;
constexpr std::size_t block_bytes = 256 * 1024;

/// One reading of an open file.
struct reading {
  std::string content; ///< Whole, or its start when the file is huge or binary.
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;
  bool huge = false;
  int why = 0; ///< errno of a read that failed.
};

struct stamp {
  std::int64_t size = 0;
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
  friend bool operator==(const stamp&, const stamp&) = default;
};

stamp stamp_of(int fd) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return {};
  return {facts.st_size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec};
}

/// Keeps up to `bytes_max`; what is beyond it is only counted.
reading read_all(int fd, std::uint64_t bytes_max, const std::atomic<bool>* cancelled) {
  reading r;
  std::string block(block_bytes, '\0');
  for (;;) {
    const auto n = ::pread(fd, block.data(), block.size(), static_cast<off_t>(r.bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) r.why = errno;
    if (n <= 0) return r;
    const std::string_view got(block.data(), static_cast<std::size_t>(n));
    r.bytes += got.size();
    r.lines += text::line_ends(got);
    if (r.bytes > bytes_max) r.huge = true;
    if (!r.huge)
      r.content += got;
    else if (r.content.size() > text::sniffed_bytes)
      r.content.resize(text::sniffed_bytes);
    else if (r.content.size() < text::sniffed_bytes)
      r.content += got.substr(0, text::sniffed_bytes - r.content.size());
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
      r.why = ECANCELED;
      return r;
    }
  }
}

payload not_read(std::string_view status, std::string why) {
  return {json{{"status", status}, {"why", std::move(why)}}.dump(), content_type::json};
}

payload not_opened(int number) {
  if (number == ENOENT || number == ENOTDIR) return not_read("vanished", errno_text(number));
  if (number == ELOOP) return not_read("vanished", "a link took its place");
  return not_read("unreadable", errno_text(number));
}

json describe(const std::string& path, const reading& r) {
  json out{{"status", "ok"}, {"bytes", r.bytes}, {"lines", r.lines}};
  if (text::is_binary(r.content)) {
    out["status"] = "binary";
    out["language"] = text::binary_type(r.content);
    return out;
  }
  const auto& what = text::language_of(path, std::string_view(r.content).substr(0, text::sniffed_bytes));
  out["language"] = what.name;
  if (r.huge) {
    out["status"] = "huge";
    return out;
  }
  const auto found = text::structure_of(what, r.content);
  json definitions = json::object();
  for (const auto& [kind, count] : found.definitions) definitions[std::string(kind)] = count;
  json markers = json::object();
  for (const auto word : text::markers)
    if (const auto lines = text::lines_with_word(r.content, word); lines > 0) markers[std::string(word)] = lines;
  json terms = json::array();
  for (const auto& t : text::top_terms(r.content, terms_of_a_file)) terms.push_back({t.word, t.count});
  out["definitions"] = std::move(definitions);
  out["headings"] = found.headings;
  out["outline"] = found.outline;
  out["markers"] = std::move(markers);
  out["terms"] = std::move(terms);
  return out;
}

} // namespace

result<payload> file_survey::run(const call& c) {
  json_fields fields(c.arguments);
  const std::string root = fields.path("root");
  const std::string path = fields.path("path");
  const auto bytes_max = fields.number_or("bytes_max", 8 * 1024 * 1024, 1024, 256 * 1024 * 1024);
  if (auto wrong = fields.problem()) return *wrong;
  if (auto plain = normal_path("/" + path, "path"); !plain) return plain.error();

  auto directory = readable_.open_directory(root, "root");
  if (!directory)
    return directory.error().code == errc::not_found ? result<payload>(not_opened(ENOENT)) : directory.error();
  const unique_fd file = open_below(directory->fd.get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return errno == ENXIO ? not_read("special", "a socket or a device") : not_opened(errno);
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return not_opened(errno);
  if (S_ISDIR(facts.st_mode)) return not_read("vanished", "a folder took its place");
  if (!S_ISREG(facts.st_mode)) return not_read("special", "not a plain file");

  bool changed = true;
  reading r;
  for (int attempt = 0; attempt < 2 && changed; ++attempt) {
    const stamp before = stamp_of(file.get());
    r = read_all(file.get(), bytes_max, c.cancelled);
    if (r.why == ECANCELED) return error{errc::unavailable, "cancelled", "the reading was cancelled", {}, {}};
    if (r.why != 0) return not_read("unreadable", errno_text(r.why));
    changed = stamp_of(file.get()) != before;
  }
  json out = describe(path, r);
  if (changed) out["status"] = "changed";
  return payload{out.dump(-1, ' ', false, json::error_handler_t::replace), content_type::json};
}

} // namespace hive::actors
