#include "actors/context/http/http_endpoint.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include <charconv>
#include <fstream>

namespace hive::actors {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using error_code = boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds longest_wait{60'000};

struct endpoint_place {
  bool tls = false;
  std::string host, port, target;
  std::string bearer;
  std::shared_ptr<asio::ssl::context> trust; ///< With TLS.
};

/// "http(s)://HOST[:PORT]/PATH"
result<endpoint_place> place_from(const std::string& url) {
  const auto wrong = [&](const std::string& why) {
    return invalid("embedding.url", "embedding.url is \"" + url + "\": " + why + "; for example https://HOST/v1/embeddings");
  };
  endpoint_place p;
  std::string rest;
  if (url.starts_with("https://")) {
    p.tls = true;
    rest = url.substr(8);
  } else if (url.starts_with("http://")) {
    rest = url.substr(7);
  } else {
    return wrong("it must begin with http:// or https://");
  }
  const auto slash = std::min(rest.find('/'), rest.size());
  p.target = slash == rest.size() ? "/v1/embeddings" : rest.substr(slash);
  std::string host = rest.substr(0, slash);
  p.port = p.tls ? "443" : "80";
  const auto bracket = host.rfind(']');
  if (const auto colon = host.rfind(':'); colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    p.port = host.substr(colon + 1);
    host.resize(colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint32_t number = 0;
  const auto [end, bad] = std::from_chars(p.port.data(), p.port.data() + p.port.size(), number);
  if (bad != std::errc{} || end != p.port.data() + p.port.size() || number == 0 || number > 65535) return wrong("its port is none");
  if (host.empty() || host.find('@') != std::string::npos) return wrong("it must name a host, and no user");
  for (const char c : rest)
    if (c <= ' ' || c > '~') return wrong("it has characters that must be written as %XX");
  p.host = std::move(host);
  return p;
}

class connection final : public endpoint_connection {
public:
  connection(std::shared_ptr<const endpoint_place> to, std::uint64_t answer_bytes) : to_(std::move(to)), answer_bytes_(answer_bytes) {}

  result<endpoint_answer> post(const std::string& body, milliseconds wait, const std::atomic<bool>& stop) override {
    until_ = steady_clock::now() + wait;
    stop_ = &stop;
    for (;;) {
      const bool reused = stream_ != nullptr;
      auto answer = once(body);
      if (answer) return answer;
      stream_.reset();
      // A connection that was kept may have been closed meanwhile; asking twice for vectors does no harm.
      if (!reused || timed_out_) return answer;
    }
  }

private:
  /// With TLS the outer one is used.
  struct streams {
    streams(asio::io_context& io, asio::ssl::context* trust) {
      if (trust)
        tls.emplace(io, *trust);
      else
        plain.emplace(io);
    }
    beast::tcp_stream& tcp() { return tls ? beast::get_lowest_layer(*tls) : *plain; }
    std::optional<beast::tcp_stream> plain;
    std::optional<beast::ssl_stream<beast::tcp_stream>> tls;
  };

  /// Runs one operation to its end, the deadline or the stop.
  template <class Start> error_code finish(Start&& start) {
    std::optional<error_code> done;
    start([&done](error_code problem, auto&&...) { done = problem; });
    io_.restart();
    constexpr milliseconds glance{50};
    for (auto now = steady_clock::now(); !done && now < until_ && !*stop_; now = steady_clock::now())
      io_.run_for(std::min<steady_clock::duration>(glance, until_ - now));
    if (done) return *done;
    timed_out_ = true;
    resolver_.cancel();
    if (stream_) stream_->tcp().close();
    io_.restart();
    io_.run(); // what was under way hears that it is over
    return beast::error::timeout;
  }

  result<endpoint_answer> failed(const std::string& at, error_code problem) const {
    const auto where = to_->host + ":" + to_->port;
    return error{errc::unavailable, "embedding_unavailable",
                 "the embedding endpoint " + where + " " + at + ": " +
                     (problem == beast::error::timeout ? std::string("no answer in time") : problem.message()),
                 {}, {}};
  }

  error_code open() {
    tcp::resolver::results_type found;
    auto problem = finish([&](auto done) {
      resolver_.async_resolve(to_->host, to_->port, [&found, done](error_code why, tcp::resolver::results_type all) {
        found = std::move(all);
        done(why);
      });
    });
    if (problem) return problem;
    stream_ = std::make_unique<streams>(io_, to_->trust.get());
    buffer_.clear();
    problem = finish([&](auto done) { stream_->tcp().async_connect(found, done); });
    if (problem) return problem;
    error_code ignored;
    stream_->tcp().socket().set_option(tcp::no_delay(true), ignored);
    if (!stream_->tls) return {};
    error_code is_name;
    asio::ip::make_address(to_->host, is_name);
    if (is_name && SSL_set_tlsext_host_name(stream_->tls->native_handle(), to_->host.c_str()) != 1)
      return asio::error::invalid_argument;
    stream_->tls->set_verify_callback(asio::ssl::host_name_verification(to_->host));
    return finish([&](auto done) { stream_->tls->async_handshake(asio::ssl::stream_base::client, done); });
  }

  result<endpoint_answer> once(const std::string& body) {
    timed_out_ = false;
    if (!stream_)
      if (const auto problem = open()) return failed("cannot be reached", problem);
    http::request<http::string_body> request{http::verb::post, to_->target, 11};
    const bool usual = to_->port == (to_->tls ? "443" : "80");
    request.set(http::field::host, usual ? to_->host : to_->host + ":" + to_->port);
    request.set(http::field::user_agent, "hive");
    request.set(http::field::content_type, "application/json");
    request.set(http::field::accept, "application/json");
    if (!to_->bearer.empty()) request.set(http::field::authorization, "Bearer " + to_->bearer);
    request.body() = body;
    request.prepare_payload();
    http::response_parser<http::string_body> parser;
    parser.body_limit(answer_bytes_);
    const auto exchange = [&](auto& stream) {
      const auto problem = finish([&](auto done) { http::async_write(stream, request, done); });
      if (problem) return problem;
      if (const auto head = finish([&](auto done) { http::async_read_header(stream, buffer_, parser, done); })) return head;
      // Beast 1.74 holds only bodies without a length to the limit.
      if (parser.content_length_remaining().value_or(0) > answer_bytes_) return error_code(http::error::body_limit);
      return finish([&](auto done) { http::async_read(stream, buffer_, parser, done); });
    };
    const auto problem = stream_->tls ? exchange(*stream_->tls) : exchange(*stream_->plain);
    if (problem == http::error::body_limit)
      return error{errc::unavailable, "embedding_unavailable",
                   "the embedding endpoint " + to_->host + ":" + to_->port + " sent more than " + std::to_string(answer_bytes_) +
                       " bytes, which is all that embedding.answer_bytes allows",
                   {}, {}};
    if (problem) return failed("broke off", problem);

    auto response = parser.release();
    if (!response.keep_alive()) stream_.reset();
    endpoint_answer out{response.result_int(), std::move(response.body()), {}};
    for (const auto& [name, unit] : {std::pair{"retry-after-ms", 1}, std::pair{"retry-after", 1000}}) {
      const auto value = response[name];
      double number = 0;
      const auto [end, bad] = std::from_chars(value.data(), value.data() + value.size(), number);
      if (bad != std::errc{} || !(number >= 0)) continue;
      out.retry_after = milliseconds{static_cast<std::int64_t>(std::min<double>(number * unit, static_cast<double>(longest_wait.count())))};
      break;
    }
    return out;
  }

  std::shared_ptr<const endpoint_place> to_;
  const std::uint64_t answer_bytes_;
  asio::io_context io_;
  tcp::resolver resolver_{io_};
  std::unique_ptr<streams> stream_;
  beast::flat_buffer buffer_;
  steady_clock::time_point until_{};
  const std::atomic<bool>* stop_ = nullptr;
  bool timed_out_ = false;
};

} // namespace

result<endpoint_embedder::connect> http_endpoint(const config::embedding_settings& settings) {
  if (settings.url.empty()) return endpoint_embedder::connect{};
  auto parsed = place_from(settings.url);
  if (!parsed) return parsed.error();
  auto place = std::make_shared<endpoint_place>(std::move(*parsed));
  if (!settings.key_file.empty()) {
    std::ifstream in(settings.key_file);
    if (!(in >> place->bearer))
      return invalid("embedding.key_file", "embedding.key_file: no key can be read from " + settings.key_file);
  }
  if (place->tls) {
    place->trust = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
    place->trust->set_verify_mode(asio::ssl::verify_peer);
    error_code problem;
    place->trust->set_options(asio::ssl::context::no_sslv2 | asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                                  asio::ssl::context::no_tlsv1_1,
                              problem);
    if (settings.ca_file.empty())
      place->trust->set_default_verify_paths(problem);
    else
      place->trust->load_verify_file(settings.ca_file, problem);
    if (problem) return invalid("embedding.ca_file", "embedding.ca_file: no certificates can be read: " + problem.message());
  }
  return endpoint_embedder::connect{[place = std::shared_ptr<const endpoint_place>(std::move(place)), answer_bytes = settings.answer_bytes] {
    return std::make_unique<connection>(place, answer_bytes);
  }};
}

} // namespace hive::actors
