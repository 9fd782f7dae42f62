#include "actors/executors/roots.hpp"

#include "actors/executors/json_fields.hpp"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace hive::actors {
namespace {

constexpr int directory_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

std::optional<std::string> real_path(const std::string& path) {
  char* raw = ::realpath(path.c_str(), nullptr);
  if (raw == nullptr) return std::nullopt;
  std::string out(raw);
  std::free(raw);
  return out;
}

error outside(const std::string& path, const std::string& setting, const std::string& field) {
  return {errc::permission_denied,
          "outside_roots",
          path_for_people(path) + " is not below a directory that " + setting + " allows",
          field,
          {}};
}

error failed(int number, const std::string& path, const std::string& field) {
  const std::string text = path_for_people(path) + ": " + errno_text(number);
  if (number == ENOENT) return {errc::not_found, "no_such_file", text, field, {}};
  if (number == ENOTDIR || number == ELOOP)
    return {errc::failed_precondition, "not_a_directory", text + " (links are not followed)", field, {}};
  if (number == EACCES || number == EPERM || number == EROFS)
    return {errc::permission_denied, "not_permitted", text, field, {}};
  if (number == ENOSPC || number == EDQUOT) return {errc::unavailable, "disk_full", text, field, {}};
  return {errc::unavailable, "io_error", text, field, {}};
}

/// The piece after `relative`'s first slash, and the one before it.
std::string_view next_piece(std::string_view& relative) {
  const auto slash = relative.find('/');
  const auto piece = relative.substr(0, slash);
  relative = slash == std::string_view::npos ? std::string_view{} : relative.substr(slash + 1);
  return piece;
}

std::string_view relative_to(std::string_view path, std::string_view root) {
  if (path.size() == root.size()) return {};
  return path.substr(root == "/" ? 1 : root.size() + 1);
}

} // namespace

unique_fd::~unique_fd() {
  if (fd_ >= 0) ::close(fd_);
}

std::string errno_text(int number) {
  char buffer[128];
  return ::strerror_r(number, buffer, sizeof buffer); // the GNU one: returns the text
}

bool is_below(std::string_view path, std::string_view root) noexcept {
  if (root == "/") return path.starts_with('/');
  return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

result<std::string> normal_path(std::string_view path, const std::string& field) {
  if (path.find('\0') != std::string_view::npos) return invalid(field, "the path contains NUL");
  if (path.size() >= PATH_MAX)
    return invalid(field, "the path is longer than " + std::to_string(PATH_MAX - 1) + " bytes");
  if (!path.starts_with('/')) return invalid(field, "the path must be absolute");
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  for (std::string_view rest = path.substr(1); !rest.empty();) {
    const auto piece = next_piece(rest);
    if (piece.empty() || piece == "." || piece == "..")
      return invalid(field, "the path must be plain: no empty, \".\" or \"..\" pieces");
  }
  return std::string(path);
}

unique_fd open_below(int directory, std::string_view relative, int flags) noexcept {
  unique_fd at(::fcntl(directory, F_DUPFD_CLOEXEC, 0));
  while (at && !relative.empty()) {
    const auto piece = next_piece(relative);
    if (piece.empty() || piece == "." || piece == ".." || piece.size() > NAME_MAX) {
      errno = EINVAL;
      return unique_fd{};
    }
    char name[NAME_MAX + 1];
    std::memcpy(name, piece.data(), piece.size());
    name[piece.size()] = '\0';
    const int how = relative.empty() ? flags : (O_PATH | O_DIRECTORY);
    unique_fd next(::openat(at.get(), name, how | O_NOFOLLOW | O_CLOEXEC));
    const int why = errno;
    at = std::move(next);
    errno = why;
  }
  return at;
}

roots::roots(std::vector<std::string> allowed, std::string setting)
    : allowed_(std::move(allowed)), setting_(std::move(setting)) {
  for (auto& path : allowed_)
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
}

result<opened_directory> roots::open_directory(const std::string& path, const std::string& field) const {
  const auto normal = normal_path(path, field);
  if (!normal) return normal.error();
  const auto real = real_path(*normal);
  const int why = errno;
  for (const auto& root : allowed_) {
    if (!real) {
      // Whether something exists is told only of what may be read.
      if (is_below(*normal, root)) return failed(why, path, field);
      continue;
    }
    const auto real_root = real_path(root);
    if (!real_root || !is_below(*real, *real_root)) continue;
    unique_fd base(::open(real_root->c_str(), directory_flags));
    if (!base) return failed(errno, root, field);
    const auto relative = relative_to(*real, *real_root);
    unique_fd found = relative.empty() ? std::move(base) : open_below(base.get(), relative, O_RDONLY | O_DIRECTORY);
    if (!found) return failed(errno, path, field);
    return opened_directory{std::move(found), *real};
  }
  return outside(path, setting_, field);
}

result<std::pair<opened_directory, std::string>> roots::open_parent(const std::string& path, const std::string& field,
                                                                    bool create) const {
  const auto normal = normal_path(path, field);
  if (!normal) return normal.error();
  for (const auto& root : allowed_) {
    const auto real_root = real_path(root);
    const std::string* base_path = is_below(*normal, root)                      ? &root
                                   : real_root && is_below(*normal, *real_root) ? &*real_root
                                                                                : nullptr;
    if (base_path == nullptr || base_path->size() == normal->size()) continue;
    unique_fd at(::open(base_path->c_str(), directory_flags));
    if (!at) return failed(errno, root, field);
    std::string_view rest = relative_to(*normal, *base_path);
    std::string real = real_root.value_or(root);
    while (rest.find('/') != std::string_view::npos) {
      const std::string piece(next_piece(rest));
      unique_fd next = open_below(at.get(), piece, O_RDONLY | O_DIRECTORY);
      if (!next && errno == ENOENT && create) {
        if (::mkdirat(at.get(), piece.c_str(), 0755) != 0 && errno != EEXIST) return failed(errno, path, field);
        if (::fsync(at.get()) != 0) return failed(errno, path, field);
        next = open_below(at.get(), piece, O_RDONLY | O_DIRECTORY);
      }
      if (!next) return failed(errno, path, field);
      at = std::move(next);
      real += (real.ends_with('/') ? "" : "/") + piece;
    }
    return std::pair{opened_directory{std::move(at), std::move(real)}, std::string(rest)};
  }
  return outside(path, setting_, field);
}

} // namespace hive::actors
