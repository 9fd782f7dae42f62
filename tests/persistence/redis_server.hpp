/// @file
/// A private Redis for tests: a unix socket in a directory of its own, nothing on disk. It dies with the test.
#pragma once

#include "persistence/redis/redis_tier.hpp"
#include "tests/persistence/temp_dir.hpp"

#include <sys/types.h>

namespace hive::test {

class redis_server {
public:
  /// Starts. @param password empty: none is wanted.
  explicit redis_server(std::string password = {});
  ~redis_server();
  redis_server(const redis_server&) = delete;
  redis_server& operator=(const redis_server&) = delete;

  /// Until it answers.
  void start();
  void kill();
  void pause() const;
  void go_on() const;
  persistence::redis::connect_options where() const;
  persistence::redis::redis_options options() const;
  /// By a connection of its own. Throws when it fails.
  persistence::redis::reply run(std::initializer_list<std::string_view> words) const;

private:
  temp_dir dir_;
  std::string password_;
  pid_t pid_ = -1;
};

} // namespace hive::test
