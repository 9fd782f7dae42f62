#include "runtime/cli/http_client.hpp"

#include "runtime/cli/failure.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <limits>
#include <optional>

namespace hive::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using error_code = boost::system::error_code;

constexpr std::uint64_t answer_bytes_max = 256ULL * 1024 * 1024;
constexpr std::chrono::seconds connect_wait{5};

} // namespace

struct http_client::connection {
  asio::io_context io;
  beast::tcp_stream stream{io};
  beast::flat_buffer buffer;
  bool used = false;

  /// Starts an operation and waits for it; `beast::error::timeout` when it takes longer.
  template <class Start> error_code wait_for(std::chrono::milliseconds wait, Start&& start) {
    std::optional<error_code> done;
    stream.expires_after(wait);
    start([&done](error_code problem, auto&&...) { done = problem; });
    io.restart();
    io.run();
    return done.value_or(asio::error::operation_aborted);
  }
};

http_client::http_client(std::string server_url, std::string key)
    : url_(std::move(server_url)), key_(std::move(key)), address_(parse_server(url_)) {}

http_client::~http_client() = default;

std::unique_ptr<http_client::connection> http_client::connect(std::chrono::milliseconds wait) {
  auto c = std::make_unique<connection>();
  tcp::resolver resolver(c->io);
  error_code problem;
  const auto found = resolver.resolve(address_.host, address_.port, problem);
  if (problem)
    throw failure(exit_code::unavailable, "no address found for '" + address_.host + "': " + problem.message(),
                  "Check --server or HIVE_SERVER.");
  problem = c->wait_for(wait, [&](auto done) { c->stream.async_connect(found, done); });
  if (problem == asio::error::connection_refused)
    throw failure(exit_code::unavailable, "no hived answers at " + url_ + " (connection refused)",
                  "Start one: deploy/quickstart, or hived --data DIR. Elsewhere? --server http://HOST:PORT or HIVE_SERVER.");
  if (problem)
    throw failure(exit_code::unavailable, "cannot connect to " + url_ + ": " + problem.message(),
                  "Check --server or HIVE_SERVER, and that hived runs.");
  c->stream.socket().set_option(tcp::no_delay(true), problem);
  return c;
}

namespace {

http::request<http::string_body> make_request(const std::string& method, const std::string& target,
                                              const server_address& to, const std::string& key,
                                              const nlohmann::json* body) {
  http::request<http::string_body> request;
  request.method_string(method);
  request.target(target);
  request.version(11);
  request.set(http::field::host, to.host + ":" + to.port);
  request.set(http::field::user_agent, "hivectl");
  if (!key.empty()) request.set(http::field::authorization, "Bearer " + key);
  if (body) {
    request.set(http::field::content_type, "application/json");
    request.body() = body->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  request.prepare_payload();
  return request;
}

} // namespace

http_answer http_client::send(const std::string& method, const std::string& target, const nlohmann::json* body,
                              std::chrono::milliseconds wait) {
  if (!open_) open_ = connect(connect_wait);
  const auto request = make_request(method, target, address_, key_, body);
  http::response_parser<http::string_body> parser;
  parser.body_limit(answer_bytes_max);

  auto& c = *open_;
  const bool reused = std::exchange(c.used, true);
  auto problem = c.wait_for(wait, [&](auto done) { http::async_write(c.stream, request, done); });
  if (!problem) problem = c.wait_for(wait, [&](auto done) { http::async_read(c.stream, c.buffer, parser, done); });
  if (problem) {
    open_.reset();
    if (reused && method == "GET" && problem != beast::error::timeout) return send(method, target, body, wait);
    if (problem == beast::error::timeout)
      throw outcome_unknown(exit_code::unavailable, "no answer from " + url_ + " in time; it may or may not have been done");
    throw outcome_unknown(exit_code::unavailable, "the connection to " + url_ + " broke (" + problem.message() +
                                                      "); it may or may not have been done");
  }

  auto response = parser.release();
  if (!response.keep_alive()) open_.reset();
  http_answer answer{static_cast<int>(response.result_int()), nullptr, std::move(response.body())};
  if (!answer.text.empty()) answer.body = nlohmann::json::parse(answer.text, nullptr, false);
  if (answer.body.is_discarded()) answer.body = nullptr;
  return answer;
}

nlohmann::json http_client::call(const std::string& method, const std::string& target, const nlohmann::json* body,
                                 std::chrono::milliseconds wait) {
  auto answer = send(method, target, body, wait);
  check(answer);
  return std::move(answer.body);
}

bool http_client::stream(const std::string& target, const std::string& last_id, std::chrono::milliseconds quiet,
                         const std::function<bool(const event&)>& each) {
  const auto connected = connect(connect_wait); // of its own: it is used up by the stream
  auto& c = *connected;
  auto request = make_request("GET", target, address_, key_, nullptr);
  request.set(http::field::accept, "text/event-stream");
  if (!last_id.empty()) request.set("Last-Event-ID", last_id);
  auto problem = c.wait_for(connect_wait, [&](auto done) { http::async_write(c.stream, request, done); });

  http::response_parser<http::buffer_body> parser;
  parser.body_limit(std::numeric_limits<std::uint64_t>::max()); // a stream has no end
  if (!problem)
    problem = c.wait_for(connect_wait, [&](auto done) { http::async_read_header(c.stream, c.buffer, parser, done); });
  if (problem) throw failure(exit_code::unavailable, "the event stream did not start: " + problem.message());

  event_parser events;
  std::string refused;
  char bytes[16384];
  const int status = static_cast<int>(parser.get().result_int());
  while (!parser.is_done()) {
    parser.get().body().data = bytes;
    parser.get().body().size = sizeof(bytes);
    problem = c.wait_for(quiet, [&](auto done) { http::async_read_some(c.stream, c.buffer, parser, done); });
    const std::size_t got = sizeof(bytes) - parser.get().body().size;
    if (status != 200) refused.append(bytes, got);
    else if (!events.feed({bytes, got}, each)) return true;
    if (problem && problem != http::error::need_buffer) break;
  }
  if (status != 200) {
    auto body = nlohmann::json::parse(refused, nullptr, false);
    check({status, body.is_discarded() ? nlohmann::json() : std::move(body), refused});
  }
  return false;
}

} // namespace hive::cli
