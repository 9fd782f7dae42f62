/// @file
/// A private PostgreSQL for tests: its own directory, unix socket and loopback port, fsync on. It dies with the test.
#pragma once

#include "persistence/postgres/connection.hpp"
#include "persistence/postgres/postgres_store.hpp"
#include "tests/persistence/temp_dir.hpp"

#include <sys/types.h>

namespace hive::test {

/// Roles: `super` (superuser), `hive_owner` (owns the databases and tables), `hive_app` (owns nothing). No passwords.
class postgres_server {
public:
  /// Makes the directory and starts. @param of the primary to follow; null: a primary of its own.
  explicit postgres_server(const postgres_server* of = nullptr, const std::string& settings = "");
  ~postgres_server();
  postgres_server(const postgres_server&) = delete;
  postgres_server& operator=(const postgres_server&) = delete;

  /// One for all tests of the program.
  static postgres_server& shared();

  void start();
  /// @param how SIGINT: connections are cut, all is written. SIGQUIT: as after a power cut.
  void stop(int how);
  void promote();

  /// @returns the name of a new, empty database.
  std::string new_database();
  /// Over TCP.
  std::string url(const std::string& role, const std::string& database) const {
    return url_at("127.0.0.1:" + std::to_string(port_), role, database);
  }
  static std::string url_at(const std::string& hosts, const std::string& role, const std::string& database) {
    return "postgres://" + role + "@" + hosts + "/" + database;
  }
  int port() const noexcept { return port_; }
  /// As the superuser, in `database`. Throws `pg_error`.
  persistence::postgres::rows run(const std::string& database, const std::string& sql) const;

  persistence::postgres_options options(const std::string& database) const;

private:
  void wait_until_ready() const;
  temp_dir dir_;
  int port_ = 0;
  pid_t pid_ = -1;
};

/// A loopback port nobody has, and no outgoing connection will be given.
int free_port();
/// Starts a program as the user that may run PostgreSQL; it ends when the test does, however that ends.
pid_t start_as_postgres(std::vector<std::string> command, const std::string& log);
/// Runs a program as the user that may run PostgreSQL, and waits. Throws when it fails.
void run_as_postgres(const std::vector<std::string>& command);

} // namespace hive::test
