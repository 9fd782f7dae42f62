// R7: the embedding endpoint over real sockets, with a server that does what a script says.
#include "actors/context/http/http_endpoint.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace hive::actors {
namespace {

using std::chrono::milliseconds;

/// Reads requests on one thread, and answers each with the next bytes of its script.
class scripted_server {
public:
  struct act {
    std::string bytes{};
    bool close = false;          ///< After the bytes,
    milliseconds before{0};      ///< which come so late.
    bool before_request = false; ///< Closes at once when it was connected.
  };
  scripted_server() {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&here), sizeof here), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    socklen_t size = sizeof here;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &size);
    port_ = ntohs(here.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~scripted_server() {
    stop_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    ::close(listener_);
    thread_.join();
  }
  void will(act a) {
    std::lock_guard lock(guard_);
    acts_.push_back(std::move(a));
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1/embeddings"; }
  std::vector<std::string> requests() {
    std::lock_guard lock(guard_);
    return requests_;
  }
  int connections() const { return connections_; }

private:
  act next() {
    for (;;) {
      {
        std::lock_guard lock(guard_);
        if (!acts_.empty()) {
          auto a = std::move(acts_.front());
          acts_.pop_front();
          return a;
        }
      }
      if (stop_) return {};
      std::this_thread::sleep_for(milliseconds{1});
    }
  }
  void serve() {
    for (;;) {
      const int peer = ::accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      ++connections_;
      timeval wait{5, 0};
      ::setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
      talk(peer);
      ::close(peer);
      if (stop_) return;
    }
  }
  void talk(int peer) {
    for (;;) {
      auto a = next();
      if (stop_ || a.before_request) return;
      std::string got;
      char bytes[4096];
      for (;;) {
        const auto head = got.find("\r\n\r\n");
        if (head != std::string::npos) {
          const auto at = got.find("Content-Length: ");
          const auto length = at == std::string::npos ? 0 : std::stoul(got.substr(at + 16));
          if (got.size() >= head + 4 + length) break;
        }
        const auto n = ::recv(peer, bytes, sizeof bytes, 0);
        if (n <= 0) {
          std::lock_guard lock(guard_);
          acts_.push_front(std::move(a)); // for the next connection
          return;
        }
        got.append(bytes, static_cast<std::size_t>(n));
      }
      {
        std::lock_guard lock(guard_);
        requests_.push_back(got);
      }
      std::this_thread::sleep_for(a.before);
      (void)::send(peer, a.bytes.data(), a.bytes.size(), MSG_NOSIGNAL);
      if (a.close) return;
    }
  }
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0};
  std::mutex guard_;
  std::deque<act> acts_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

std::string http_answer(const std::string& body, const std::string& head = "200 OK", const std::string& more = "") {
  return "HTTP/1.1 " + head + "\r\nContent-Type: application/json\r\n" + more +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class HttpEndpointTest : public testing::Test {
protected:
  std::unique_ptr<endpoint_connection> connect() {
    settings_.url = settings_.url.empty() ? server_.url() : settings_.url;
    auto made = http_endpoint(settings_);
    EXPECT_TRUE(made) << to_string(made.error());
    return (*made)();
  }
  scripted_server server_;
  config::embedding_settings settings_;
  std::atomic<bool> stop_{false};
  milliseconds wait_{5000};
};

TEST_F(HttpEndpointTest, OneConnectionServesManyRequests) {
  const auto key = std::string(testing::TempDir()) + "/embedding.key";
  std::ofstream(key) << "secret-key\n";
  settings_.key_file = key;
  auto c = connect();
  for (int i = 0; i < 3; ++i) {
    server_.will({http_answer("{\"n\": " + std::to_string(i) + "}")});
    const auto got = c->post("{\"input\": []}", wait_, stop_);
    ASSERT_TRUE(got) << to_string(got.error());
    EXPECT_EQ(got->status, 200U);
    EXPECT_EQ(got->body, "{\"n\": " + std::to_string(i) + "}");
  }
  EXPECT_EQ(server_.connections(), 1);
  const auto first = server_.requests().front();
  EXPECT_TRUE(first.starts_with("POST /v1/embeddings HTTP/1.1\r\n")) << first;
  EXPECT_NE(first.find("Authorization: Bearer secret-key\r\n"), std::string::npos);
  EXPECT_NE(first.find("\r\n\r\n{\"input\": []}"), std::string::npos);
}

TEST_F(HttpEndpointTest, StatusBodyAndRetryAfterAreHandedOver) {
  auto c = connect();
  for (const auto& [head, wanted] : {std::pair{"Retry-After: 2\r\n", milliseconds{2000}},
                                     {"retry-after-ms: 150\r\n", milliseconds{150}},
                                     {"Retry-After: 99999999999\r\n", milliseconds{60'000}},
                                     {"Retry-After: -5\r\n", milliseconds{0}},
                                     {"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", milliseconds{0}}}) {
    server_.will({http_answer("busy", "429 Too Many Requests", head)});
    const auto got = c->post("{}", wait_, stop_);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->status, 429U);
    EXPECT_EQ(got->body, "busy");
    EXPECT_EQ(got->retry_after, wanted) << head;
  }
}

TEST_F(HttpEndpointTest, ChunksAndAnswersWithoutALengthAreRead) {
  auto c = connect();
  server_.will({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n"});
  EXPECT_EQ(c->post("{}", wait_, stop_)->body, "abcdef");
  server_.will({"HTTP/1.0 200 OK\r\n\r\nuntil the end", true});
  EXPECT_EQ(c->post("{}", wait_, stop_)->body, "until the end");
}

TEST_F(HttpEndpointTest, AKeptConnectionThatWasClosedIsOpenedAgain) {
  auto c = connect();
  server_.will({http_answer("1"), true});
  ASSERT_TRUE(c->post("{}", wait_, stop_));
  server_.will({http_answer("2")});
  const auto got = c->post("{}", wait_, stop_);
  ASSERT_TRUE(got) << to_string(got.error());
  EXPECT_EQ(got->body, "2");
  EXPECT_EQ(server_.connections(), 2);
}

TEST_F(HttpEndpointTest, WhatBreaksOffIsAnError) {
  auto c = connect();
  for (const auto& act : {scripted_server::act{.before_request = true}, scripted_server::act{"", true}, scripted_server::act{"HTTP/1.1 200", true},
                          scripted_server::act{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", true},
                          scripted_server::act{"\x16\x03\x01 garbage\r\n\r\n", true},
                          scripted_server::act{"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", true}}) {
    server_.will(act);
    const auto got = c->post("{}", wait_, stop_);
    ASSERT_FALSE(got) << act.bytes;
    EXPECT_EQ(got.error().code, errc::unavailable);
    EXPECT_NE(got.error().message.find("127.0.0.1"), std::string::npos) << got.error().message;
  }
  server_.will({http_answer("good")});
  EXPECT_TRUE(c->post("{}", wait_, stop_)) << "the next one is not harmed";
}

TEST_F(HttpEndpointTest, AnAnswerLargerThanTheSettingIsNotRead) {
  settings_.answer_bytes = 1000;
  auto c = connect();
  const std::string large(1001, 'x');
  for (const auto& answer : {http_answer(large), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + large + "\r\n0\r\n\r\n",
                             "HTTP/1.0 200 OK\r\n\r\n" + large}) {
    server_.will({answer, true});
    const auto got = c->post("{}", wait_, stop_);
    ASSERT_FALSE(got) << answer.substr(0, 60);
    EXPECT_EQ(got.error().code, errc::unavailable);
    EXPECT_NE(got.error().message.find("embedding.answer_bytes"), std::string::npos) << got.error().message;
  }
  server_.will({http_answer(std::string(1000, 'x'))});
  const auto fits = c->post("{}", wait_, stop_);
  ASSERT_TRUE(fits) << to_string(fits.error());
  EXPECT_EQ(fits->body.size(), 1000U);
}

TEST_F(HttpEndpointTest, ASlowAnswerEndsAtTheDeadline) {
  auto c = connect();
  server_.will({http_answer("late"), true, milliseconds{400}});
  const auto began = std::chrono::steady_clock::now();
  const auto got = c->post("{}", milliseconds{50}, stop_);
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("no answer in time"), std::string::npos) << got.error().message;
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{3});
  server_.will({http_answer("good")});
  EXPECT_EQ(c->post("{}", wait_, stop_)->body, "good") << "not the late answer";
}

TEST_F(HttpEndpointTest, AStopEndsTheWait) {
  auto c = connect();
  server_.will({http_answer("late"), true, milliseconds{300}});
  std::thread stopper([this] {
    std::this_thread::sleep_for(milliseconds{50});
    stop_ = true;
  });
  EXPECT_FALSE(c->post("{}", milliseconds{60'000}, stop_));
  stopper.join();
}

TEST_F(HttpEndpointTest, NobodyThereIsAnError) {
  settings_.url = "http://127.0.0.1:1/v1/embeddings";
  const auto got = connect()->post("{}", wait_, stop_);
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("cannot be reached"), std::string::npos);
}

TEST(HttpEndpointSettingsTest, MistakesNameTheSetting) {
  for (const char* url : {"ftp://host/", "host:80", "http://", "http://:80/", "http://host:port/", "http://host:0/", "http://host:99999/",
                          "http://user@host/", "http://host/a b", "https://host:/"}) {
    config::embedding_settings s;
    s.url = url;
    const auto made = http_endpoint(s);
    ASSERT_FALSE(made) << url;
    EXPECT_EQ(made.error().field, "embedding.url") << url;
  }
  config::embedding_settings s;
  EXPECT_FALSE(*http_endpoint(s)) << "no URL is no mistake";
  s.url = "https://[::1]:8443";
  EXPECT_TRUE(http_endpoint(s));
  s.ca_file = "/nowhere/ca.pem";
  EXPECT_EQ(http_endpoint(s).error().field, "embedding.ca_file");
  s.key_file = "/nowhere/key";
  EXPECT_EQ(http_endpoint(s).error().field, "embedding.key_file");
}

} // namespace
} // namespace hive::actors
