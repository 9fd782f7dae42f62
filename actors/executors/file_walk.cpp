#include "actors/executors/file_walk.hpp"

#include "actors/executors/glob.hpp"
#include "actors/executors/json_fields.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hive::actors {
namespace {

constexpr std::size_t depth_max = 256; ///< Deeper trees are named, not entered.
constexpr std::uint64_t visits_max =
    20'000; ///< Directories in one page, so that a page ends even where nothing is found.

/// Names of one directory, by bytes.
struct listing {
  std::vector<std::pair<std::string, unsigned char>> others; ///< With their DT_ type.
  std::vector<std::string> folders;
};

unsigned char type_of(int directory, const dirent& entry) {
  if (entry.d_type != DT_UNKNOWN) return entry.d_type;
  struct stat facts {};
  if (::fstatat(directory, entry.d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) return DT_UNKNOWN;
  return static_cast<unsigned char>(IFTODT(facts.st_mode));
}

/// @returns 0, or the errno that ended it.
int read_names(int directory, listing& out) {
  unique_fd own(::fcntl(directory, F_DUPFD_CLOEXEC, 0));
  DIR* stream = own ? ::fdopendir(own.get()) : nullptr;
  if (stream == nullptr) return errno;
  own.release();
  ::rewinddir(stream);
  int why = 0;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream); // the stream is this thread's own
    if (entry == nullptr) {
      why = errno;
      break;
    }
    const std::string_view name(entry->d_name);
    if (name == "." || name == "..") continue;
    const auto type = type_of(directory, *entry);
    if (type == DT_DIR)
      out.folders.emplace_back(name);
    else if (type != DT_UNKNOWN)
      out.others.emplace_back(name, type); // unknown: gone since readdir saw it
  }
  ::closedir(stream);
  std::sort(out.others.begin(), out.others.end());
  std::sort(out.folders.begin(), out.folders.end());
  return why;
}

/// Where the last page ended: after the entry `path`. A folder counts with everything below it.
struct position {
  bool folder = false;
  std::vector<std::string> pieces;
};

std::optional<position> read_cursor(const std::string& text) {
  const auto value = json::parse(text, nullptr, false);
  if (!value.is_object()) return std::nullopt;
  json_fields fields(value);
  position at;
  at.folder = fields.flag_or("folder", false);
  const std::string path = fields.path("after");
  if (fields.problem() || path.empty()) return std::nullopt;
  for (std::size_t from = 0; from <= path.size();) {
    const auto slash = std::min(path.find('/', from), path.size());
    at.pieces.push_back(path.substr(from, slash - from));
    if (at.pieces.back().empty()) return std::nullopt;
    from = slash + 1;
  }
  return at;
}

std::string join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

/// One page of one walk.
class page {
public:
  page(const opened_directory& root, std::size_t limit, std::uint64_t bytes_max, std::vector<std::string> include,
       std::vector<std::string> exclude, position from, const executor::call& c)
      : root_(root), limit_(limit), bytes_max_(bytes_max), include_(std::move(include)), exclude_(std::move(exclude)),
        from_(std::move(from)), call_(c) {}

  json walk() {
    enter(root_.fd.get(), "", 0, !from_.pieces.empty());
    json out{{"root", path_to_json(root_.real_path)},
             {"entries", std::move(entries_)},
             {"folders", folders_},
             {"cursor", nullptr}};
    if (full_) out["cursor"] = json{{"folder", last_folder_}, {"after", path_to_json(last_)}}.dump();
    return out;
  }
  bool cancelled() const { return cancelled_; }

private:
  /// @param resuming this directory lies on the way to where the last page ended.
  void enter(int directory, const std::string& path, std::size_t depth, bool resuming) {
    if (!resuming) ++folders_;
    ++visits_;
    listing names;
    if (const int why = read_names(directory, names); why != 0) return add_unreadable(path, why);
    const bool at_end_of_cursor = resuming && depth + 1 == from_.pieces.size();
    const std::string* piece = resuming ? &from_.pieces[depth] : nullptr;

    if (!resuming || (at_end_of_cursor && !from_.folder))
      for (const auto& [name, type] : names.others) {
        if (piece != nullptr && name <= *piece) continue;
        if (full_) return;
        visit_other(directory, join(path, name), name, type);
      }
    const bool skip_folders = resuming && !(at_end_of_cursor && !from_.folder);
    for (const auto& name : names.folders) {
      if (skip_folders && (at_end_of_cursor ? name <= *piece : name < *piece)) continue;
      if (stop()) return;
      const bool on_the_way = skip_folders && !at_end_of_cursor && name == *piece;
      visit_folder(directory, join(path, name), name, depth + 1, on_the_way);
    }
  }

  void visit_folder(int parent, const std::string& path, const std::string& name, std::size_t depth, bool resuming) {
    if (any_glob_matches(exclude_, path)) return add(path, true, {{"path", path_to_json(path)}, {"kind", "excluded"}});
    if (depth >= depth_max) return add(path, true, {{"path", path_to_json(path)}, {"kind", "too_deep"}});
    const unique_fd folder = open_below(parent, name, O_RDONLY | O_DIRECTORY);
    if (!folder) {
      // Swapped for a link, or gone, since it was listed: there is no such directory any more.
      if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR) return;
      return add_unreadable(path, errno);
    }
    enter(folder.get(), path, depth, resuming);
    if (full_) return;
    last_ = path;
    last_folder_ = true;
    full_ = visits_ >= visits_max;
  }

  void visit_other(int directory, const std::string& path, const std::string& name, unsigned char type) {
    if (any_glob_matches(exclude_, path)) return;
    if (type == DT_REG) {
      if (include_.empty() || any_glob_matches(include_, path))
        add(path, false, {{"path", path_to_json(path)}, {"kind", "file"}});
    } else if (type == DT_LNK) {
      add_link(directory, path, name);
    } else {
      add(path, false, {{"path", path_to_json(path)}, {"kind", "special"}});
    }
  }

  void add_link(int directory, const std::string& path, const std::string& name) {
    char text[PATH_MAX];
    const auto length = ::readlinkat(directory, name.c_str(), text, sizeof text);
    if (length < 0) return;
    const std::string_view to(text, static_cast<std::size_t>(length));
    add(path, false,
        {{"path", path_to_json(path)}, {"kind", "link"}, {"to", path_to_json(to)}, {"state", link_state(path)}});
  }

  const char* link_state(const std::string& path) const {
    const std::string here = root_.real_path + "/" + path;
    char* raw = ::realpath(here.c_str(), nullptr);
    if (raw == nullptr) return errno == ELOOP ? "loop" : "dangling";
    const std::string target(raw);
    std::free(raw);
    if (is_below(here, target)) return "loop"; // leads back to a directory that it lies in
    if (!is_below(target, root_.real_path)) return "outside";
    struct stat facts {};
    if (::stat(target.c_str(), &facts) != 0) return "dangling";
    return S_ISDIR(facts.st_mode) ? "folder" : "file";
  }

  void add_unreadable(const std::string& path, int why) {
    add(path.empty() ? "." : path, true,
        {{"path", path_to_json(path.empty() ? "." : path)}, {"kind", "unreadable"}, {"why", errno_text(why)}});
  }

  void add(const std::string& path, bool folder, json entry) {
    bytes_ += entry.dump().size() + 1;
    entries_.push_back(std::move(entry));
    last_ = path;
    last_folder_ = folder;
    full_ = entries_.size() >= limit_ || bytes_ >= bytes_max_;
  }

  bool stop() {
    if (call_.cancelled != nullptr && call_.cancelled->load(std::memory_order_relaxed)) cancelled_ = full_ = true;
    return full_;
  }

  const opened_directory& root_;
  std::size_t limit_;
  std::uint64_t bytes_max_;
  std::vector<std::string> include_;
  std::vector<std::string> exclude_;
  position from_;
  const executor::call& call_;

  json entries_ = json::array();
  std::uint64_t folders_ = 0;
  std::uint64_t visits_ = 0;
  std::uint64_t bytes_ = 0;
  std::string last_;
  bool last_folder_ = false;
  bool full_ = false;
  bool cancelled_ = false;
};

} // namespace

result<payload> file_walk::run(const call& c) {
  json_fields fields(c.arguments);
  const std::string root = fields.path("root");
  const auto cursor = fields.text_if("cursor", 64 * 1024);
  const auto limit = fields.number_or("limit", 1000, 1, 10'000);
  auto include = fields.texts("include", 100);
  auto exclude = fields.texts("exclude", 100);
  if (auto wrong = fields.problem()) return *wrong;
  position from;
  if (cursor) {
    auto read = read_cursor(*cursor);
    if (!read) return invalid("cursor", "the cursor is not one that file.walk gave");
    from = std::move(*read);
  }
  auto directory = readable_.open_directory(root, "root");
  if (!directory) return directory.error();
  page p(*directory, limit, answer_bytes_ / 2, std::move(include), std::move(exclude), std::move(from), c);
  const json answer = p.walk();
  if (p.cancelled()) return error{errc::unavailable, "cancelled", "the walk was cancelled", {}, {}};
  return payload{answer.dump(), content_type::json};
}

} // namespace hive::actors
