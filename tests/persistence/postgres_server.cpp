#include "tests/persistence/postgres_server.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <netinet/in.h>
#include <random>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace hive::test {
namespace {

const std::string programs = "/usr/lib/postgresql/15/bin/";

bool nobody_has(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  const bool free = ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  ::close(fd);
  return free;
}

} // namespace

int free_port() {
  // Below the range the kernel takes ports of outgoing connections from: one of those could take it before its server.
  std::random_device chance;
  std::uniform_int_distribution<int> ports(15'000, 32'000);
  for (int i = 0; i < 100; ++i)
    if (const int port = ports(chance); nobody_has(port)) return port;
  throw std::runtime_error("no free port");
}

pid_t start_as_postgres(std::vector<std::string> command, const std::string& log) {
  if (::geteuid() == 0) {
    const std::vector<std::string> as{
        "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "QUIT", "--"};
    command.insert(command.begin(), as.begin(), as.end());
  }
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::setpgid(0, 0); // a Ctrl-C at the test is the test's to pass on
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

void run_as_postgres(const std::vector<std::string>& command) {
  int status = 0;
  const pid_t pid = start_as_postgres(command, "/dev/null");
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0)
    throw std::runtime_error(command.front() + " failed with " + std::to_string(WEXITSTATUS(status)));
}

postgres_server::postgres_server(const postgres_server* of, const std::string& settings) : port_(free_port()) {
  const std::string data = dir_.path() / "data";
  std::filesystem::permissions(dir_.path(), std::filesystem::perms::all);
  if (of) {
    run_as_postgres({programs + "pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1",
                     "-p", std::to_string(of->port_), "-U", "super"});
  } else {
    run_as_postgres({programs + "initdb", "-D", data, "-A", "trust", "-U", "super", "-E", "UTF8", "--no-locale", "-N"});
  }
  std::ofstream conf(data + "/postgresql.conf", std::ios::app);
  conf << "\nport = " << port_ << "\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '"
       << dir_.path().string()
       << "'\nmax_connections = 60\nshared_buffers = 64MB\nautovacuum_naptime = '1h'\nmax_wal_size = 1GB\n"
       << settings << "\n";
  conf.close();
  start();
  if (!of) {
    run("postgres", "create role hive_owner login");
    run("postgres", "create role hive_app login");
  }
}

postgres_server::~postgres_server() {
  try {
    if (pid_ > 0) stop(SIGQUIT);
  } catch (...) { // the directory goes anyway
  }
}

postgres_server& postgres_server::shared() {
  static postgres_server one;
  return one;
}

void postgres_server::start() {
  pid_ = start_as_postgres({programs + "postgres", "-D", dir_.path() / "data"}, dir_.path() / "log");
  wait_until_ready();
}

void postgres_server::stop(int how) {
  ::kill(pid_, how);
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
}

void postgres_server::promote() { run("postgres", "select pg_promote(true, 60)::int"); }

void postgres_server::wait_until_ready() const {
  for (int i = 0; i < 600; ++i) {
    try {
      run("postgres", "select 1");
      return;
    } catch (const persistence::postgres::pg_error&) {
      ::usleep(100'000);
    }
  }
  std::ifstream log(dir_.path() / "log");
  throw std::runtime_error("PostgreSQL did not start: " + std::string(std::istreambuf_iterator<char>(log), {}));
}

persistence::postgres::rows postgres_server::run(const std::string& database, const std::string& sql) const {
  persistence::postgres::connection on(
      {url("super", database) + "?target_session_attrs=any", "test", std::chrono::milliseconds{3000}, false});
  on.wait = std::chrono::seconds{60};
  return on.query(sql.c_str());
}

std::string postgres_server::new_database() {
  static int number = 0;
  const std::string name = "hive_" + std::to_string(::getpid()) + "_" + std::to_string(++number);
  run("postgres", "create database " + name + " owner hive_owner");
  return name;
}

persistence::postgres_options postgres_server::options(const std::string& database) const {
  persistence::postgres_options o;
  o.url = url("hive_app", database);
  o.admin = url("hive_owner", database);
  o.shard_count = 256;
  return o;
}

} // namespace hive::test
