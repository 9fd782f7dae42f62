/// @file
/// One connection to a Redis, with a limit in time for everything. hiredis stays behind this header.
#pragma once

#include "config/base/result.hpp"

#include <chrono>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct redisContext;

namespace hive::persistence::redis {

using std::chrono::milliseconds;

struct connect_options {
  std::string socket; ///< Path; empty: host and port.
  std::string host;
  std::uint16_t port = 0;
  std::string user;     ///< Empty: the default one.
  std::string password; ///< Empty: none is wanted.
  milliseconds connect_timeout{500};
  milliseconds command_timeout{50}; ///< For each read and write of a command.
};

struct reply {
  enum class kind : std::uint8_t { nothing, number, text, list };
  kind what = kind::nothing;
  std::int64_t number = 0;
  std::string text;
  std::vector<reply> list;
};

/// Confined to one thread at a time. After an error `unavailable` it is over: make another one.
class redis_connection {
public:
  /// Connects, says who it is, and hears that Redis serves. @returns `unavailable` ("redis_away"), or
  /// `unauthenticated` ("redis_refused") when it does not let this user in.
  static result<std::unique_ptr<redis_connection>> open(const connect_options& where);
  ~redis_connection();
  redis_connection(const redis_connection&) = delete;
  redis_connection& operator=(const redis_connection&) = delete;

  /// @returns `unavailable` ("redis_away"): the connection is over, and the command may have been executed;
  /// `application` ("redis_error"): Redis answered with an error, the connection is good.
  result<reply> call(std::initializer_list<std::string_view> words);

  // -- of a connection that subscribed: what comes without being asked for
  result<void> send(std::initializer_list<std::string_view> words);
  /// What came; nothing when nothing did within `wait`, or when `stop` (a file descriptor) can be read.
  result<std::optional<reply>> receive(milliseconds wait, int stop);

private:
  explicit redis_connection(redisContext* context) noexcept : context_(context) {}
  error away() const;
  redisContext* context_;
};

} // namespace hive::persistence::redis
