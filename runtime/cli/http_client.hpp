/// @file
/// Requests to one hived, one at a time over one kept-alive connection, every wait with a deadline.
#pragma once

#include <nlohmann/json.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace hive::cli {

/// "http://HOST[:PORT]" taken apart. Throws `failure` (usage).
struct server_address {
  std::string host;
  std::string port = "7070";
};
server_address parse_server(const std::string& url);

/// One path segment or query value with everything but unreserved characters as %XX.
std::string url_encode(const std::string& text);

struct http_answer {
  int status = 0;
  nlohmann::json body; ///< Null when empty.
  std::string text;    ///< As received.
};


class http_client {
public:
  /// @param key sent as bearer token; empty: none.
  http_client(std::string server_url, std::string key);
  ~http_client();
  http_client(const http_client&) = delete;
  http_client& operator=(const http_client&) = delete;

  /// Any status. Throws `failure` (unavailable) when the server is not reached, `outcome_unknown` when no answer came.
  /// A GET is sent a second time when a kept-alive connection turns out to be closed; others only if nothing was sent.
  http_answer send(const std::string& method, const std::string& target, const nlohmann::json* body,
                   std::chrono::milliseconds wait);

  /// The answer's body when it is a success; throws `failure` otherwise (see `check`).
  nlohmann::json call(const std::string& method, const std::string& target, const nlohmann::json* body = nullptr,
                      std::chrono::milliseconds wait = std::chrono::seconds(30));

  struct event {
    std::string id;
    std::string type;
    std::string data;
  };
  /// Reads a server-sent event stream until it ends, `each` returns false, or nothing (not even a comment) came for
  /// `quiet`. @returns whether `each` ended it. `last_id` is sent as Last-Event-ID when it is not empty.
  bool stream(const std::string& target, const std::string& last_id, std::chrono::milliseconds quiet,
              const std::function<bool(const event&)>& each);

  const std::string& server() const noexcept { return url_; }

private:
  struct connection;
  std::unique_ptr<connection> connect(std::chrono::milliseconds wait);
  std::string url_;
  std::string key_;
  server_address address_;
  std::unique_ptr<connection> open_;
};

/// Throws the `failure` that the answer stands for, unless it is a success.
void check(const http_answer& answer);

/// Splits a byte stream into server-sent events (fields id, event, data; comments skipped).
class event_parser {
public:
  /// Calls `each` for every event completed by these bytes; stops and returns false when it does.
  bool feed(std::string_view bytes, const std::function<bool(const http_client::event&)>& each);

private:
  std::string line_;
  http_client::event next_;
  bool any_ = false;
  bool after_cr_ = false;
};

} // namespace hive::cli
