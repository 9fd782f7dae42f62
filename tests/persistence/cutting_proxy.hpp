/// @file
/// A TCP proxy between a store and its PostgreSQL that cuts connections at the moment a COMMIT is sent.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace hive::test {

/// What happens to the next connection whose client ends a transaction (sends Sync); the others pass.
enum class cut {
  nothing,
  after_commit,  ///< The Sync reaches the server, its answer nobody.
  before_commit, ///< Everything but the Sync reaches the server; both sides are closed.
  half_sent,     ///< The same, but the server's side stays open: it waits for a client that says no more.
};

/// Its own threads; `arm` from any.
class cutting_proxy {
public:
  explicit cutting_proxy(int server_port);
  ~cutting_proxy();
  int port() const noexcept { return port_; }
  void arm(cut how) { armed_ = how; }
  /// Whether what was armed has happened.
  bool fired() const { return armed_ == cut::nothing; }
  /// Closes every connection and refuses new ones, or lets them in again.
  void refuse(bool all);

private:
  void accept_loop();
  void serve(int client);
  bool cut_now(int client, int server, const std::string& chunk);

  int server_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<cut> armed_{cut::nothing};
  std::atomic<bool> refusing_{false};
  std::atomic<bool> stopping_{false};
  std::mutex guard_;
  std::vector<int> held_; ///< Server's sides of half-sent transactions.
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

} // namespace hive::test
