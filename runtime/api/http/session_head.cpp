/// @file
/// Reading a request: its head is judged, its key and permission checked, and only then its body is read.
#include "runtime/api/http/session.hpp"
#include "runtime/api/http/status.hpp"

#include <boost/asio/write.hpp>
#include <boost/beast/http/rfc7230.hpp>

namespace hive::api::http {
namespace {

constexpr std::size_t target_bytes_max = 8 * 1024;

using beast::http::field;

bool same_word(std::string_view a, std::string_view b) noexcept { return beast::iequals({a.data(), a.size()}, {b.data(), b.size()}); }

} // namespace

std::string_view key_in(std::string_view header) noexcept {
  constexpr std::string_view scheme = "Bearer ";
  if (header.size() <= scheme.size() || !same_word(header.substr(0, scheme.size()), scheme)) return {};
  header.remove_prefix(scheme.size());
  while (header.starts_with(' ')) header.remove_prefix(1);
  return header;
}

void session::read() {
  const std::size_t room = std::min(buffer_bytes_max - buffer_.size(), head_seen_ ? std::size_t{64 * 1024} : std::size_t{4 * 1024});
  if (room == 0) return fail(bad_request("bad_http", "a line of the request is too long"), 400);
  socket_.async_read_some(buffer_.prepare(room), [self = shared_from_this()](const beast::error_code& ec, std::size_t n) {
    if (self->state_ != state::idle && self->state_ != state::reading) return;
    if (ec) return self->close();
    self->buffer_.commit(n);
    if (self->state_ == state::idle) { // the first byte of a request
      self->state_ = state::reading;
      self->began_ = std::chrono::steady_clock::now();
      self->deadline_ = self->began_ + self->server_.limits.header_timeout;
    }
    self->advance();
  });
}

void session::advance() {
  for (;;) {
    if (parser_->is_done()) return on_request();
    if (buffer_.size() == 0) return read();
    beast::error_code ec;
    const std::size_t used = parser_->put(buffer_.data(), ec);
    buffer_.consume(used);
    if (ec == beast::http::error::need_more) return read();
    if (ec) return refuse(ec);
    if (!head_seen_ && parser_->is_header_done()) {
      head_seen_ = true;
      return on_head();
    }
  }
}

void session::refuse(const beast::error_code& ec) {
  server_.counters->refused.fetch_add(1, std::memory_order_relaxed);
  close_after_ = true;
  trace_ = trace_context::start(server_.random);
  if (ec == beast::http::error::header_limit)
    return fail(bad_request("header_too_large", "the request's head is larger than " + std::to_string(header_bytes_max) + " bytes"), 431);
  if (ec == beast::http::error::body_limit)
    return fail(bad_request("body_too_large", "the body is larger than api.body_bytes: " + std::to_string(server_.limits.body_bytes) + " bytes"), 413);
  fail(bad_request("bad_http", "this is not a valid HTTP request: " + ec.message()), 400);
}

/// What HTTP allows and we do not take: above all what two parsers could read in two ways.
std::optional<error> session::fault_of_head(unsigned& status) {
  const auto& head = parser_->get();
  status = 400;
  if (head.count(field::content_length) > 1) return bad_request("bad_http", "Content-Length is there twice");
  const auto length = view(head[field::content_length]);
  if (length.find_first_not_of("0123456789") != std::string_view::npos) return bad_request("bad_http", "Content-Length must be one number");
  if (head.count(field::transfer_encoding) != 0) {
    if (head.count(field::transfer_encoding) > 1 || head.count(field::content_length) != 0 || head.version() < 11)
      return bad_request("bad_http", "Transfer-Encoding must be there once, alone and in HTTP/1.1");
    if (!same_word(view(head[field::transfer_encoding]), "chunked")) {
      status = 501;
      return error{errc::unimplemented, "transfer_encoding", "the only Transfer-Encoding taken is chunked", {}, {}};
    }
  }
  if (head.count(field::host) > 1) return bad_request("bad_http", "Host is there twice");
  if (head.count(field::authorization) > 1) return bad_request("bad_http", "Authorization is there twice");
  if (head.count("Idempotency-Key") > 1) return bad_request("bad_http", "Idempotency-Key is there twice");
  if (head.target().size() > target_bytes_max) return (status = 414, bad_request("uri_too_long", "the path and query are longer than 8 KiB"));
  if (const auto coding = view(head[field::content_encoding]); !coding.empty() && !same_word(coding, "identity"))
    return (status = 415, bad_request("content_encoding", "compressed bodies are not taken"));
  if (const auto expect = view(head[field::expect]); !expect.empty() && !same_word(expect, "100-continue"))
    return (status = 417, bad_request("expectation", "the only Expect taken is 100-continue"));
  return std::nullopt;
}

void session::on_head() {
  const auto& head = parser_->get();
  if (const auto parsed = trace_context::parse(view(head["traceparent"]))) trace_ = parsed->child(server_.random);
  else trace_ = trace_context::start(server_.random);
  close_after_ = close_after_ || !head.keep_alive();
  unsigned status = 0;
  if (const auto fault = fault_of_head(status)) {
    close_after_ = true; // where the next request begins is not certain
    return fail(*fault, status);
  }
  if (server_.in_flight >= server_.limits.connections_in_flight)
    return fail({errc::resource_exhausted, "too_many_requests", "this node handles as many requests as api.connections_in_flight allows", {}, std::chrono::milliseconds(100)});
  ++server_.in_flight;
  counted_ = true;
  server_.counters->in_flight.store(server_.in_flight, std::memory_order_relaxed);

  const auto target = view(head.target());
  const auto question = std::min(target.find('?'), target.size());
  query_ = target.substr(std::min(question + 1, target.size()));
  auto found = server_.routes.find(view(head.method_string()), target.substr(0, question));
  if (!found) return fail(found.error(), found.error().reason == "method_not_allowed" ? 405 : 0);
  route_ = std::move(*found);
  if (route_.to->reach == scope::open) return on_permitted();

  const auto header = view(head[field::authorization]);
  if (known_ && header == known_header_ && known_generation_ == server_.auth.generation() && server_.auth.in_time(*known_)) return on_caller(*known_);
  const auto key = key_in(header);
  if (key.empty())
    return fail({errc::unauthenticated, "unauthenticated", "this needs a key: send \"Authorization: Bearer KEY\"", {}, {}});
  if (!server_.auth.remembers(key)) { // keys that were seen to be right are not held up by others from the same address
    const auto verdict = server_.wrong_keys.begin(from_, security::authenticator::id_of(key), std::chrono::steady_clock::now());
    if (!verdict.look_up) return fail_too_many_wrong_keys(verdict.wait);
    shown_ = verdict;
  }
  state_ = state::checking;
  deadline_ = never; // the store has its own
  server_.gate.authenticate(std::string(key), [self = shared_from_this(), home = server_.home](result<security::caller> who) {
    home->run_or_post([self, who = std::move(who)]() mutable { self->on_caller(std::move(who)); });
  });
}

void session::looked_up(bool right) {
  if (const auto verdict = std::exchange(shown_, std::nullopt)) server_.wrong_keys.ended(from_, *verdict, right);
}

void session::fail_too_many_wrong_keys(std::chrono::milliseconds wait) {
  server_.counters->refused.fetch_add(1, std::memory_order_relaxed);
  close_after_ = true;
  fail({errc::resource_exhausted, "too_many_wrong_keys",
        "as many wrong keys came from this address within a minute as api.wrong_keys_per_minute allows, and this one is not known to be valid; wait, or use one that is", {}, wait});
}

void session::on_caller(result<security::caller> who) {
  if (state_ == state::closed) return;
  const bool wrong = !who && who.error().code == errc::unauthenticated;
  const auto wait = shown_ ? shown_->wait : std::chrono::milliseconds{0};
  looked_up(!wrong);
  if (!who) {
    known_.reset();
    return wrong && wait.count() > 0 ? fail_too_many_wrong_keys(wait) : fail(who.error());
  }
  has_tenant_ = server_.belongs_to(*this, who->context.tenant());
  if (!has_tenant_) {
    server_.counters->refused.fetch_add(1, std::memory_order_relaxed);
    close_after_ = true;
    return fail({errc::resource_exhausted, "too_many_tenant_connections",
                 "the tenant has as many connections as api.connections_per_tenant allows; close some, or use those that are open", {}, std::chrono::seconds(1)});
  }
  if (!known_ || state_ == state::checking) {
    known_generation_ = server_.auth.generation();
    // Remember only what is still so: a key that was removed during the check is not in the cache.
    if (server_.auth.remembers(key_in(view(parser_->get()[field::authorization])))) {
      known_header_ = std::string(view(parser_->get()[field::authorization]));
      known_ = *who;
    }
  }
  if (state_ == state::checking) {
    state_ = state::reading;
    deadline_ = std::chrono::steady_clock::now() + server_.limits.header_timeout;
  }
  if (!server_.begin_request(who->context.tenant()))
    return fail({errc::resource_exhausted, "too_many_requests",
                 "this node handles as many requests, or as many of this tenant, as api.connections_in_flight and api.in_flight_per_tenant allow", {},
                 std::chrono::milliseconds(100)});
  request_of_ = who->context.tenant();
  if (!server_.takes_answers(*request_of_))
    return fail({errc::resource_exhausted, "unsent_answers",
                 "answers of this tenant that wait to be read have as many bytes as api.unsent_bytes_per_tenant allows; read them first. Nothing was done", {},
                 std::chrono::seconds(1)});
  who_ = std::move(*who);
  if (auto allowed = dispatcher::permit(*who_, *route_.to); !allowed) return fail(allowed.error());
  on_permitted();
}

void session::on_permitted() {
  parser_->eager(true);
  if (!parser_->is_done() && !view(parser_->get()[field::expect]).empty()) {
    static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    return net::async_write(socket_, net::buffer(go_on), [self = shared_from_this()](const beast::error_code& ec, std::size_t) {
      if (self->state_ == state::closed) return;
      if (ec) return self->close();
      self->advance();
    });
  }
  advance();
}

} // namespace hive::api::http
