#include "actors/executors/file_write.hpp"

#include "actors/executors/json_fields.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hive::actors {
namespace {

error failed(int number, const std::string& doing) {
  if (number == ENOSPC || number == EDQUOT)
    return {errc::unavailable, "disk_full", doing + ": " + errno_text(number), {}, {}};
  if (number == EACCES || number == EPERM || number == EROFS)
    return {errc::permission_denied, "not_permitted", doing + ": " + errno_text(number), "path", {}};
  if (number == ELOOP || number == ENOTDIR || number == EISDIR)
    return {errc::failed_precondition, "not_a_file", doing + ": " + errno_text(number), "path", {}};
  return {errc::unavailable, "io_error", doing + ": " + errno_text(number), {}, {}};
}

result<void> write_at(int fd, std::string_view bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const auto n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(errno, "write");
    bytes.remove_prefix(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

struct target {
  opened_directory folder;
  std::string name;
  std::string beside; ///< Name of the file that will become it.
};

std::uint64_t size_of(int fd) {
  struct stat facts {};
  return ::fstat(fd, &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
}

result<void> put_in_place(const target& t) {
  if (::renameat(t.folder.fd.get(), t.beside.c_str(), t.folder.fd.get(), t.name.c_str()) != 0)
    return failed(errno, "rename");
  if (::fsync(t.folder.fd.get()) != 0) return failed(errno, "sync");
  return {};
}

result<unique_fd> open_beside(const target& t) {
  unique_fd fd(
      ::openat(t.folder.fd.get(), t.beside.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644));
  if (!fd) return failed(errno, "open");
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) return failed(errno, "stat");
  if (!S_ISREG(facts.st_mode))
    return error{errc::failed_precondition, "not_a_file", t.beside + " is not a plain file", "path", {}};
  return fd;
}

result<void> write_whole(const target& t, std::string_view content) {
  auto fd = open_beside(t);
  if (!fd) return fd.error();
  if (::ftruncate(fd->get(), 0) != 0) return failed(errno, "truncate");
  if (auto ok = write_at(fd->get(), content, 0); !ok) {
    ::unlinkat(t.folder.fd.get(), t.beside.c_str(), 0);
    return ok;
  }
  if (::fsync(fd->get()) != 0) return failed(errno, "sync");
  return put_in_place(t);
}

result<void> write_part(const target& t, std::string_view content, std::uint64_t at) {
  auto fd = open_beside(t);
  if (!fd) return fd.error();
  if (size_of(fd->get()) < at)
    return error{errc::failed_precondition, "part_missing", "earlier parts of " + t.name + " are gone", "at", {}};
  if (::ftruncate(fd->get(), static_cast<off_t>(at)) != 0) return failed(errno, "truncate");
  if (auto ok = write_at(fd->get(), content, at); !ok) return ok;
  // The answer is remembered for good, so the bytes and the name they are found by must be on the disk before it.
  if (::fsync(fd->get()) != 0 || (at == 0 && ::fsync(t.folder.fd.get()) != 0)) return failed(errno, "sync");
  return {};
}

result<void> discard_parts(const target& t) {
  if (::unlinkat(t.folder.fd.get(), t.beside.c_str(), 0) != 0 && errno != ENOENT) return failed(errno, "remove");
  if (::fsync(t.folder.fd.get()) != 0) return failed(errno, "sync");
  return {};
}

result<void> commit_parts(const target& t, std::uint64_t bytes) {
  struct stat facts {};
  if (::fstatat(t.folder.fd.get(), t.beside.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) {
    // Tried again after a crash between the rename and the record of it: the target is the part file already.
    const bool done = ::fstatat(t.folder.fd.get(), t.name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
                      S_ISREG(facts.st_mode) && static_cast<std::uint64_t>(facts.st_size) == bytes;
    if (done) return {};
    return error{errc::failed_precondition, "part_missing", "the parts of " + t.name + " are gone", "commit", {}};
  }
  if (!S_ISREG(facts.st_mode) || static_cast<std::uint64_t>(facts.st_size) != bytes)
    return error{errc::failed_precondition, "part_missing", "the parts of " + t.name + " do not add up", "commit", {}};
  return put_in_place(t);
}

} // namespace

payload with_content(const json& arguments, std::string_view content) {
  payload p{arguments.dump(), content_type::binary};
  p.bytes += '\n';
  p.bytes += content;
  return p;
}

result<payload> file_write::run(const call& c) {
  const bool framed = c.arguments.type == content_type::binary;
  const std::string_view all = c.arguments.bytes;
  const auto newline = framed ? all.find('\n') : std::string_view::npos;
  if (framed && newline == std::string_view::npos)
    return invalid("", "arguments, a newline and the content are needed");
  json_fields fields(json::parse(all.substr(0, newline), nullptr, false));
  const std::string path = fields.path("path");
  const std::string part = fields.text_if("part", 64).value_or("");
  const bool commit = fields.has("commit");
  const std::uint64_t bytes = fields.number_or("commit", 0, 0, std::uint64_t{1} << 62U);
  const std::uint64_t at = fields.number_or("at", 0, 0, std::uint64_t{1} << 62U);
  const bool discard = fields.flag_or("discard", false);
  const bool create = fields.flag_or("make_folders", false);
  std::string content =
      framed ? std::string(all.substr(newline + 1)) : fields.text_if("content", std::size_t{1} << 30U).value_or("");
  if (auto wrong = fields.problem()) return *wrong;
  if (!framed && !commit && !discard && !fields.has("content")) return invalid("content", "content is missing");
  if (part.empty() && (commit || discard || at != 0)) return invalid("part", "part names the file that the parts grow in");
  for (const char ch : part)
    if (std::string_view("abcdefghijklmnopqrstuvwxyz0123456789-_").find(ch) == std::string_view::npos)
      return invalid("part", "part is made of a-z, 0-9, - and _");

  auto parent = writable_.open_parent(path, "path", create);
  if (!parent) return parent.error();
  target t{std::move(parent->first), std::move(parent->second), {}};
  // A name of its own for each step, the same when the step is tried again.
  t.beside = "." + t.name + "." + (part.empty() ? std::to_string(hash_of(c.step_key)) : part) + ".part";
  const result<void> done = discard        ? discard_parts(t)
                            : commit       ? commit_parts(t, bytes)
                            : part.empty() ? write_whole(t, content)
                                           : write_part(t, content, at);
  if (!done) return done.error();
  return payload{json{{"bytes", commit ? bytes : content.size()}}.dump(), content_type::json};
}

} // namespace hive::actors
