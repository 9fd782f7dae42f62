#include "tests/persistence/redis_server.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

namespace hive::test {

using namespace std::chrono_literals;
using persistence::redis::redis_connection;

redis_server::redis_server(std::string password) : password_(std::move(password)) {
  std::signal(SIGPIPE, SIG_IGN); // as hived does
  start();
}

redis_server::~redis_server() { kill(); }

void redis_server::start() {
  const auto socket = where().socket;
  std::vector<std::string> words{"redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir_.path().string()};
  if (!password_.empty()) words.insert(words.end(), {"--requirepass", password_});
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open("/dev/null", O_WRONLY);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  for (int i = 0; i < 1000; ++i) {
    if (redis_connection::open(where())) return;
    std::this_thread::sleep_for(10ms);
  }
  throw std::runtime_error("redis-server does not start; deploy/install installs it");
}

void redis_server::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void redis_server::pause() const { ::kill(pid_, SIGSTOP); }
void redis_server::go_on() const { ::kill(pid_, SIGCONT); }

persistence::redis::connect_options redis_server::where() const {
  persistence::redis::connect_options where;
  where.socket = (dir_.path() / "redis.sock").string();
  where.password = password_;
  where.connect_timeout = 1s;
  where.command_timeout = 1s;
  return where;
}

persistence::redis::redis_options redis_server::options() const { return {where(), 10ms, 50ms}; }

persistence::redis::reply redis_server::run(std::initializer_list<std::string_view> words) const {
  auto on = redis_connection::open(where());
  if (!on) throw std::runtime_error(on.error().message);
  auto said = (*on)->call(words);
  if (!said) throw std::runtime_error(said.error().message);
  return *said;
}

} // namespace hive::test
