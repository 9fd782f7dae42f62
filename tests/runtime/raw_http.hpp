/// @file
/// A client that sends exactly the bytes it is given, so that tests can be as rude as attackers are.
#pragma once

#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string>

namespace hive::test {

struct http_answer {
  int status = 0;                            ///< 0: the connection ended without an answer.
  std::map<std::string, std::string> headers; ///< Names in lower case.
  std::string body;
  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
  /// Of the error; "" when there is none.
  std::string code() const { return part("/error/code"); }
  std::string field() const { return part("/error/field"); }
  std::string message() const { return part("/error/message"); }
  std::string reason() const { return part("/error/details/reason"); }

private:
  std::string part(const char* pointer) const {
    const auto all = json();
    const nlohmann::json::json_pointer at(pointer);
    return all.contains(at) && all[at].is_string() ? all[at].get<std::string>() : "";
  }
};

class raw_http {
public:
  explicit raw_http(std::uint16_t port, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    timeval tv{static_cast<time_t>(patience.count() / 1000), static_cast<suseconds_t>(patience.count() % 1000 * 1000)};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error("cannot connect");
  }
  ~raw_http() { ::close(fd_); }
  raw_http(const raw_http&) = delete;
  raw_http& operator=(const raw_http&) = delete;

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return; // the other side has closed: the answer will tell
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void finish_sending() { ::shutdown(fd_, SHUT_WR); }

  /// Until `mark` is in what was received (kept for the next call), or the end.
  bool read_until(std::string_view mark) {
    while (in_.find(mark) == std::string::npos)
      if (!more()) return false;
    return true;
  }
  std::string take_until(std::string_view mark) {
    if (!read_until(mark)) return std::exchange(in_, {});
    const auto end = in_.find(mark) + mark.size();
    auto out = in_.substr(0, end);
    in_.erase(0, end);
    return out;
  }
  /// Takes up to so many bytes and drops them. @returns how many; 0: there are no more.
  std::size_t drop(std::size_t most) {
    while (in_.size() < most && more()) {}
    const auto n = std::min(most, in_.size());
    in_.erase(0, n);
    return n;
  }
  bool at_end() {
    while (more()) {}
    return ended_;
  }

  http_answer answer() {
    http_answer a;
    auto head = take_until("\r\n\r\n");
    if (head.empty()) return a;
    a.status = std::stoi(head.substr(9, 3));
    for (std::size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
      const auto end = head.find("\r\n", at);
      const auto colon = head.find(':', at);
      std::string name = head.substr(at, colon - at);
      for (char& c : name) c = static_cast<char>(::tolower(c));
      a.headers[name] = head.substr(std::min(colon + 2, end), end - std::min(colon + 2, end));
      at = end + 2;
    }
    if (a.status == 100) return answer();
    if (a.headers.contains("content-length")) {
      const auto size = std::stoul(a.headers["content-length"]);
      while (in_.size() < size && more()) {}
      a.body = in_.substr(0, size);
      in_.erase(0, a.body.size());
    }
    return a;
  }

private:
  bool more() {
    char room[65536];
    const auto n = ::recv(fd_, room, sizeof room, 0);
    ended_ = n == 0 || (n < 0 && errno == ECONNRESET);
    if (n <= 0) return false;
    in_.append(room, static_cast<std::size_t>(n));
    return true;
  }
  int fd_;
  std::string in_;
  bool ended_ = false;
};

} // namespace hive::test
