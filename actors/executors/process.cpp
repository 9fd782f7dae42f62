#include "actors/executors/process.hpp"

#include "actors/executors/json_fields.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace hive::actors {
namespace {

using std::chrono::steady_clock;

struct pipe_pair {
  unique_fd read;
  unique_fd write;
};

std::optional<pipe_pair> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  return pipe_pair{unique_fd(ends[0]), unique_fd(ends[1])};
}

bool may_set(std::string_view name) {
  static constexpr std::string_view exact[] = {"LANG", "TZ", "TERM", "COLUMNS"};
  if (name.find('=') != std::string_view::npos) return false;
  return std::find(std::begin(exact), std::end(exact), name) != std::end(exact) || name.starts_with("LC_") ||
         (name.starts_with("HIVE_") && name != "HIVE_STEP_KEY");
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

/// What one of the program's outputs said, as far as it is kept.
struct capture {
  unique_fd from;
  std::string text;
  std::size_t bytes_max;
  bool truncated = false;

  /// Reads once what is there. Closes at its end.
  void drain() {
    char buffer[16'384];
    const auto n = ::read(from.get(), buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
      from = unique_fd{};
      return;
    }
    const auto got = static_cast<std::size_t>(n);
    const auto kept = std::min(got, bytes_max - text.size());
    text.append(buffer, kept);
    truncated = truncated || kept < got;
  }
};

/// Owns a started program: nothing of its process group outlives this object.
class child {
public:
  explicit child(pid_t id) : id_(id), exit_fd_(static_cast<int>(::syscall(SYS_pidfd_open, id, 0))) {}
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() { end(); }
  /// Leaves it unreaped: until `end`, nobody else can get its number.
  bool ended() const {
    siginfo_t facts{};
    return ::waitid(P_PID, static_cast<id_t>(id_), &facts, WEXITED | WNOHANG | WNOWAIT) != 0 || facts.si_pid == id_;
  }
  /// Kills what is left of the group. @returns the program's wait status.
  int end() {
    if (!reaped_) {
      ::kill(-id_, SIGKILL);
      while (::waitpid(id_, &status_, 0) < 0 && errno == EINTR) {
      }
      reaped_ = true;
    }
    return status_;
  }
  /// Readable when the program has ended; -1 where the kernel cannot say.
  int exit_fd() const { return exit_fd_.get(); }

private:
  pid_t id_;
  unique_fd exit_fd_;
  int status_ = 0;
  bool reaped_ = false;
};

/// Everything posix_spawn wants, released when it goes.
struct spawn_plan {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};

  spawn_plan(const unique_fd& in, const unique_fd& out, const unique_fd& err, const unique_fd& cwd) {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addfchdir_np(&actions, cwd.get());
    ::posix_spawn_file_actions_adddup2(&actions, in.get(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
    ::posix_spawn_file_actions_adddup2(&actions, err.get(), 2);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  spawn_plan(const spawn_plan&) = delete;
  spawn_plan& operator=(const spawn_plan&) = delete;
  ~spawn_plan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
};

/// Feeds `input` and reads the outputs until the program ends. @returns false when `deadline` or the caller's cancel
/// came first.
bool attend(child& program, unique_fd input, std::string_view feed, capture& out, capture& err,
            steady_clock::time_point deadline, const std::atomic<bool>* cancelled) {
  // A program that closes its input must not end this process; executor threads have no use for the signal.
  sigset_t broken_pipe;
  ::sigemptyset(&broken_pipe);
  ::sigaddset(&broken_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  ::fcntl(input.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(out.from.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(err.from.get(), F_SETFL, O_NONBLOCK);
  if (feed.empty()) input = unique_fd{};
  while (!program.ended()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
    if (left <= 0 || (cancelled != nullptr && cancelled->load(std::memory_order_relaxed))) return false;
    const bool open = out.from || err.from;
    pollfd wanted[] = {{out.from.get(), POLLIN, 0},
                       {err.from.get(), POLLIN, 0},
                       {input.get(), POLLOUT, 0},
                       {program.exit_fd(), POLLIN, 0}};
    const auto nap = program.exit_fd() < 0 && !open ? 5 : 50; // without a pidfd the end is found by asking
    ::poll(wanted, std::size(wanted), static_cast<int>(std::min<std::int64_t>(left, nap)));
    if (wanted[0].revents != 0) out.drain();
    if (wanted[1].revents != 0) err.drain();
    if (wanted[2].revents != 0) {
      const auto n = ::write(input.get(), feed.data(), feed.size());
      if (n > 0) feed.remove_prefix(static_cast<std::size_t>(n));
      if (feed.empty() || (n < 0 && errno != EAGAIN && errno != EINTR)) input = unique_fd{};
    }
  }
  // What it wrote before it ended; what its own children may still write is theirs.
  for (capture* c : {&out, &err})
    while (c->from) {
      pollfd ready{c->from.get(), POLLIN, 0};
      if (::poll(&ready, 1, 0) <= 0) break;
      c->drain();
    }
  return true;
}

std::string as_text(const std::string& bytes) {
  return json(bytes).dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace

result<payload> process::run(const call& c) {
  json_fields fields(c.arguments);
  auto argv = fields.texts("argv", 1000, 128 * 1024);
  const std::string feed = fields.text_if("stdin", std::size_t{1} << 30U).value_or("");
  const json env = fields.value("env");
  const auto cwd = fields.path_if("cwd");
  const auto output_bytes = fields.number_or("output_bytes", 65'536, 0, answer_bytes_ / 4);
  if (auto wrong = fields.problem()) return *wrong;
  if (argv.empty()) return invalid("argv", "argv names the program and its arguments");
  if (std::find(programs_.begin(), programs_.end(), argv[0]) == programs_.end())
    return error{
        errc::permission_denied, "program_not_allowed", argv[0] + " is not among files.programs", "argv[0]", {}};

  std::vector<std::string> environment{"PATH=/usr/local/bin:/usr/bin:/bin", "HIVE_STEP_KEY=" + c.step_key};
  if (!env.is_null() && !env.is_object()) return invalid("env", "env must be an object of strings");
  bool has_lang = false;
  for (const auto& [name, value] : env.items()) {
    const std::string at = "env." + name;
    if (!value.is_string() || value.get_ref<const std::string&>().find('\0') != std::string::npos)
      return invalid(at, at + " must be a string without NUL");
    if (!may_set(name)) return error{errc::permission_denied, "variable_not_allowed", name + " may not be set", at, {}};
    has_lang = has_lang || name == "LANG";
    environment.push_back(name + "=" + value.get<std::string>());
  }
  if (!has_lang) environment.emplace_back("LANG=C.UTF-8");

  unique_fd folder;
  if (cwd) {
    auto opened = folders_.open_directory(*cwd, "cwd");
    if (!opened) return opened.error();
    folder = std::move(opened->fd);
  } else {
    folder = unique_fd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

  auto in = make_pipe();
  auto out = make_pipe();
  auto err = make_pipe();
  if (!in || !out || !err)
    return error{errc::unavailable, "io_error", "no pipe: " + errno_text(errno), {}, std::chrono::seconds{1}};
  const spawn_plan plan(in->read, out->write, err->write, folder);
  auto arguments = pointers(argv);
  auto variables = pointers(environment);
  pid_t id = 0;
  const int why =
      ::posix_spawn(&id, argv[0].c_str(), &plan.actions, &plan.attributes, arguments.data(), variables.data());
  if (why == ENOENT || why == EACCES || why == ENOEXEC)
    return error{errc::failed_precondition, "program_not_started", argv[0] + ": " + errno_text(why), "argv[0]", {}};
  if (why != 0)
    return error{
        errc::unavailable, "program_not_started", argv[0] + ": " + errno_text(why), {}, std::chrono::seconds{1}};

  child program(id);
  in->read = unique_fd{};
  out->write = unique_fd{};
  err->write = unique_fd{};
  capture said{std::move(out->read), {}, output_bytes};
  capture complained{std::move(err->read), {}, output_bytes};
  if (!attend(program, std::move(in->write), feed, said, complained, steady_clock::now() + c.deadline, c.cancelled))
    return error{errc::unknown, "process_timeout", argv[0] + " did not end in time and was killed", {}, {}};

  const int status = program.end();
  const bool killed = WIFSIGNALED(status);
  std::string answer = R"({"exit_code":)" + (killed ? "null" : std::to_string(WEXITSTATUS(status))) + R"(,"signal":)" +
                       (killed ? std::to_string(WTERMSIG(status)) : "null");
  std::string out_text = as_text(said.text);
  std::string err_text = as_text(complained.text);
  bool truncated = said.truncated || complained.truncated;
  // Bytes that JSON must escape grow up to six times: rather cut than exceed what a step may answer.
  for (std::string* text : {&out_text, &err_text}) {
    auto& from = text == &out_text ? said.text : complained.text;
    while (text->size() > answer_bytes_ * 2 / 5) {
      from.resize(from.size() / 2);
      *text = as_text(from);
      truncated = true;
    }
  }
  answer +=
      R"(,"stdout":)" + out_text + R"(,"stderr":)" + err_text + R"(,"truncated":)" + (truncated ? "true}" : "false}");
  return payload{std::move(answer), content_type::json};
}

} // namespace hive::actors
