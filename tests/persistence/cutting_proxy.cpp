#include "tests/persistence/cutting_proxy.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace hive::test {
namespace {

constexpr std::string_view sync_message{"S\0\0\0\4", 5};

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

sockaddr_in loopback(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  return at;
}

} // namespace

cutting_proxy::cutting_proxy(int server_port)
    : server_port_(server_port), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  auto at = loopback(0);
  socklen_t length = sizeof at;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &length) != 0)
    throw std::runtime_error("no port for the proxy");
  port_ = ntohs(at.sin_port);
  acceptor_ = std::thread([this] { accept_loop(); });
}

cutting_proxy::~cutting_proxy() {
  stopping_ = true;
  acceptor_.join();
  for (auto& t : threads_) t.join();
  ::close(listener_);
  for (const int fd : held_) ::close(fd);
}

void cutting_proxy::refuse(bool all) { refusing_ = all; }

void cutting_proxy::accept_loop() {
  while (!stopping_) {
    pollfd ready{listener_, POLLIN, 0};
    if (::poll(&ready, 1, 20) <= 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    if (refusing_) {
      ::close(client);
      continue;
    }
    threads_.emplace_back([this, client] { serve(client); });
  }
}

void cutting_proxy::serve(int client) {
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto at = loopback(server_port_);
  bool keep_server = false;
  if (::connect(server, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) {
    std::string buffer(1 << 16, '\0');
    while (!stopping_ && !refusing_) {
      pollfd ready[2]{{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (::poll(ready, 2, 20) < 0) break;
      if (ready[0].revents != 0) {
        const auto n = ::recv(client, buffer.data(), buffer.size(), 0);
        if (n <= 0) break;
        const std::string chunk = buffer.substr(0, static_cast<std::size_t>(n));
        if (armed_ != cut::nothing && chunk.ends_with(sync_message)) {
          keep_server = cut_now(client, server, chunk);
          break;
        }
        if (!send_all(server, chunk)) break;
      }
      if (ready[1].revents != 0) {
        const auto n = ::recv(server, buffer.data(), buffer.size(), 0);
        if (n <= 0 || !send_all(client, {buffer.data(), static_cast<std::size_t>(n)})) break;
      }
    }
  }
  ::close(client);
  if (!keep_server) ::close(server);
}

/// @returns whether the server's side stays open.
bool cutting_proxy::cut_now(int client, int server, const std::string& chunk) {
  const cut how = armed_.exchange(cut::nothing);
  const std::string_view all = chunk;
  send_all(server, how == cut::after_commit ? all : all.substr(0, all.size() - sync_message.size()));
  linger reset{1, 0};
  ::setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (how == cut::before_commit) return false;
  // The server goes on by itself with what it has.
  std::lock_guard lock(guard_);
  held_.push_back(server);
  return true;
}

} // namespace hive::test
