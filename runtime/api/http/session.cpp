#include "runtime/api/http/session.hpp"

#include "config/base/log.hpp"
#include "runtime/api/http/status.hpp"
#include "runtime/api/json_mapping.hpp"
#include "runtime/api/services/event_feed.hpp"

#include <boost/asio/write.hpp>
#include <boost/beast/http/rfc7230.hpp>

namespace hive::api::http {
namespace {

constexpr std::uint32_t header_bytes_max = 16 * 1024;
constexpr std::size_t target_bytes_max = 8 * 1024;
constexpr std::size_t buffer_bytes_max = 128 * 1024;
constexpr auto write_timeout = std::chrono::seconds(30);
constexpr auto linger_time = std::chrono::milliseconds(2000);
constexpr auto linger_time_at_end = std::chrono::milliseconds(200); // when the whole gateway stops
constexpr auto never = steady_time::max();

using beast::http::field;

std::string_view view(beast::string_view s) noexcept { return {s.data(), s.size()}; }

bool same_word(std::string_view a, std::string_view b) noexcept { return beast::iequals({a.data(), a.size()}, {b.data(), b.size()}); }

error bad_request(std::string reason, std::string message) { return {errc::invalid_argument, std::move(reason), std::move(message), {}, {}}; }

/// The key behind "Bearer ".
std::string_view key_in(std::string_view header) noexcept {
  constexpr std::string_view scheme = "Bearer ";
  if (header.size() <= scheme.size() || !same_word(header.substr(0, scheme.size()), scheme)) return {};
  header.remove_prefix(scheme.size());
  while (header.starts_with(' ')) header.remove_prefix(1);
  return header;
}

} // namespace

/// The end of an RPC on its way to the loop.
struct outcome_job final : job {
  outcome_job(std::shared_ptr<session> s, result<any_message> o) : to(std::move(s)), outcome(std::move(o)) {}
  void run() override { to->on_outcome(std::move(outcome)); }
  std::shared_ptr<session> to;
  result<any_message> outcome;
};

session::session(server& owner, tcp::socket socket)
  : home_(owner.home), server_(owner), socket_(std::move(socket)), buffer_(buffer_bytes_max) {}
session::~session() = default;

void session::start() {
  next_request();
  deadline_ = std::chrono::steady_clock::now() + server_.limits.header_timeout; // a new connection has something to say
}

void session::turn_away() {
  next_request();
  close_after_ = true;
  fail({errc::unavailable, "too_many_connections", "this node has as many connections as api.connections allows; try again", {}, std::chrono::seconds(1)});
}

// -- reading

void session::next_request() {
  if (state_ == state::closed) return;
  parser_.emplace();
  parser_->header_limit(header_bytes_max);
  parser_->body_limit(server_.limits.body_bytes);
  head_seen_ = false;
  request_.reset();
  who_.reset();
  route_ = route{server_.no_route, nullptr, {}};
  state_ = state::idle;
  const auto now = std::chrono::steady_clock::now();
  deadline_ = now + server_.limits.idle_timeout;
  if (close_after_) return; // only answers
  if (buffer_.size() != 0) {
    state_ = state::reading;
    began_ = now;
    deadline_ = now + server_.limits.header_timeout;
    return advance();
  }
  read();
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
  if (known_ && header == known_header_ && known_generation_ == server_.auth.generation()) return on_caller(*known_);
  const auto key = key_in(header);
  if (key.empty())
    return fail({errc::unauthenticated, "unauthenticated", "this needs a key: send \"Authorization: Bearer KEY\"", {}, {}});
  state_ = state::checking;
  deadline_ = never; // the store has its own
  server_.gate.authenticate(std::string(key), [self = shared_from_this(), home = server_.home](result<security::caller> who) {
    home->run_or_post([self, who = std::move(who)]() mutable { self->on_caller(std::move(who)); });
  });
}

void session::on_caller(result<security::caller> who) {
  if (state_ == state::closed) return;
  if (!who) {
    known_.reset();
    return fail(who.error());
  }
  if (!known_ || state_ == state::checking) {
    known_generation_ = server_.auth.generation();
    // Remember only what is still so: a key that was removed during the check is not in the cache.
    if (server_.auth.cached(key_in(view(parser_->get()[field::authorization])))) {
      known_header_ = std::string(view(parser_->get()[field::authorization]));
      known_ = *who;
    }
  }
  if (state_ == state::checking) {
    state_ = state::reading;
    deadline_ = std::chrono::steady_clock::now() + server_.limits.header_timeout;
  }
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

// -- handling

result<void> session::fill_query() {
  std::string name, value;
  std::vector<std::string> seen;
  for (std::string_view rest = query_; !rest.empty();) {
    const auto end = std::min(rest.find('&'), rest.size());
    const auto pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    if (!percent_decode(pair.substr(0, equals), name, true) || !percent_decode(pair.substr(std::min(equals + 1, pair.size())), value, true))
      return invalid(std::string(pair.substr(0, equals)), "the query has a broken %-escape");
    const auto& fixed = route_.to->path_fields;
    if (std::find(fixed.begin(), fixed.end(), name) != fixed.end()) return invalid(name, name + " is given by the path: leave it out of the query");
    if (route_.to->body == "*") return invalid(name, name + " belongs into the body");
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) return invalid(name, name + " is there twice");
    if (auto set = set_from_text(*request_, name, value); !set) return set;
    seen.push_back(name);
  }
  return {};
}

/// The header and the field mean the same; two different ones mean nothing.
result<void> session::fill_idempotency_key() {
  const auto& head = parser_->get();
  const auto header = head.find("Idempotency-Key");
  if (header == head.end()) return {};
  const auto* slot = request_->GetDescriptor()->FindFieldByName("idempotency_key");
  if (!slot) return {}; // puts and deletes may be repeated without
  const auto& reflection = *request_->GetReflection();
  const auto in_body = reflection.GetString(*request_, slot);
  const std::string value(view(header->value()));
  if (!in_body.empty() && in_body != value)
    return invalid("idempotency_key", "idempotency_key and the header Idempotency-Key differ");
  reflection.SetString(request_.get(), slot, value);
  return {};
}

result<void> session::fill_request() {
  const method& m = *route_.to;
  request_ = m.make_request();
  const std::string& body = parser_->get().body();
  const json_rules rules{.depth = server_.limits.json_depth};
  if (m.body == "*") {
    if (!body.empty())
      if (auto read = from_json(body, *request_, rules, m.path_fields); !read) return read;
  } else if (!m.body.empty()) {
    const auto* into = request_->GetDescriptor()->FindFieldByName(m.body);
    auto& inner = *request_->GetReflection()->MutableMessage(request_.get(), into);
    if (!body.empty())
      if (auto read = from_json(body, inner, rules); !read) return read;
  } else if (!body.empty()) {
    return invalid("", "this takes no body");
  }
  for (std::size_t i = 0; i < m.path_fields.size(); ++i)
    if (auto set = set_from_text(*request_, m.path_fields[i], route_.values[i]); !set) return set;
  if (auto query = fill_query(); !query) return query;
  if (route_.to->rpc->server_streaming())
    if (const auto last = view(parser_->get()["Last-Event-ID"]); !last.empty())
      if (auto set = set_from_text(*request_, "after", last); !set) return set;
  if (auto key = fill_idempotency_key(); !key) return key;
  return validate(*request_);
}

void session::on_request() {
  state_ = state::handling;
  deadline_ = never; // a request that was read ends by its own deadline
  if (auto filled = fill_request(); !filled) {
    auto why = std::move(filled).error();
    const std::string outer = route_.to->body + ".";
    if (outer.size() > 1 && outer != "*." && why.field.starts_with(outer)) { // the caller sent only what is inside
      if (why.message.starts_with(outer)) why.message.erase(0, outer.size());
      why.field.erase(0, outer.size());
    }
    return fail(why);
  }
  if (route_.to->reach == scope::open) {
    // Health belongs to nobody; its services look at no context.
    return on_entered(call{{server_.auth.system(), security::role::viewer, {}}, server_.auth.system(), trace_});
  }
  server_.gate.enter(*who_, *route_.to, *request_, trace_, [self = shared_from_this(), home = server_.home](result<call> entered) {
    home->run_or_post([self, entered = std::move(entered)]() mutable { self->on_entered(std::move(entered)); });
  });
}

void session::on_entered(result<call> entered) {
  if (state_ == state::closed) return;
  if (!entered) return fail(entered.error());
  if (!route_.to->invoke) return start_stream(*entered);
  route_.to->invoke(*entered, *request_, [self = shared_from_this(), home = server_.home](result<any_message> outcome) {
    home->post(std::unique_ptr<job>(std::make_unique<outcome_job>(self, std::move(outcome))));
  });
}

void session::on_outcome(result<any_message> outcome) {
  if (state_ != state::handling) return;
  if (!outcome) return fail(outcome.error());
  answer(**outcome);
}

// -- writing

void session::answer(const google::protobuf::Message& response) {
  const method& m = *route_.to;
  const auto& type = *response.GetDescriptor();
  const auto& reflection = *response.GetReflection();
  if (m.response_body == "text")
    return respond(200, "text/plain; version=0.0.4; charset=utf-8", reflection.GetString(response, type.FindFieldByName("text")));
  std::string body;
  if (m.response_body.empty()) append_json(body, response);
  else append_json_field(body, response, m.response_body);
  const auto* repeated = type.FindFieldByName("repeated");
  respond(200, "application/json", body, repeated && reflection.GetBool(response, repeated) ? "Idempotency-Replayed: true\r\n" : "");
}

void session::fail(const error& why, unsigned status) {
  if (state_ == state::closed || state_ == state::writing || state_ == state::lingering) return;
  if (status == 0) status = status_of(why.code);
  std::string key;
  if (request_)
    if (const auto* slot = request_->GetDescriptor()->FindFieldByName("idempotency_key")) key = request_->GetReflection()->GetString(*request_, slot);
  std::string headers;
  if (why.retry_after.count() > 0 || status == 429 || status == 503)
    headers += "Retry-After: " + std::to_string(std::max<std::int64_t>(1, (why.retry_after.count() + 999) / 1000)) + "\r\n";
  if (status == 401) headers += "WWW-Authenticate: Bearer\r\n";
  if (status == 405) headers += "Allow: " + why.message.substr(why.message.find(':') + 2) + "\r\n";
  if (!parser_->is_done()) close_after_ = true; // the rest of this request is still to come
  if (status >= 500 && why.code == errc::internal)
    log::write(log::level::error, "a request failed", {{"reason", why.reason}, {"message", why.message}}, trace_);
  respond(status, "application/json", error_body(why, status, key, trace_), headers);
}

void session::respond(unsigned status, std::string_view content_type, std::string_view body, std::string_view more_headers) {
  close_after_ = close_after_ || server_.winding_down;
  out_.clear();
  out_.reserve(256 + more_headers.size() + body.size());
  out_.append("HTTP/1.1 ").append(std::to_string(status)).append(" ").append(phrase_of(status));
  out_.append("\r\nContent-Type: ").append(content_type);
  out_.append("\r\nContent-Length: ").append(std::to_string(body.size()));
  out_.append("\r\nCache-Control: no-store\r\n").append(more_headers);
  if (trace_.valid()) out_.append("traceparent: ").append(trace_.traceparent()).append("\r\n");
  if (close_after_) out_.append("Connection: close\r\n");
  out_.append("\r\n").append(body);
  const auto took = std::chrono::steady_clock::now() - began_;
  server_.counters->count(route_.number, status, std::chrono::duration_cast<std::chrono::microseconds>(took));
  if (std::exchange(counted_, false)) server_.counters->in_flight.store(--server_.in_flight, std::memory_order_relaxed);
  write();
}

void session::write() {
  state_ = state::writing;
  deadline_ = std::chrono::steady_clock::now() + write_timeout;
  net::async_write(socket_, net::buffer(out_), [self = shared_from_this()](const beast::error_code& ec, std::size_t) {
    if (self->state_ == state::closed) return;
    if (ec) return self->close();
    if (self->close_after_) return self->linger();
    self->next_request();
  });
}

/// Closing with unread input would reset the connection, and the answer could be lost on its way.
void session::linger() {
  state_ = state::lingering;
  deadline_ = std::chrono::steady_clock::now() + (server_.winding_down ? linger_time_at_end : linger_time);
  beast::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  read_to_end();
}

void session::read_to_end() {
  socket_.async_read_some(net::buffer(discarded_), [self = shared_from_this()](const beast::error_code& ec, std::size_t) {
    if (self->state_ == state::closed) return;
    if (ec) return self->close();
    self->read_to_end();
  });
}

// -- time and end

bool session::needs_attention(steady_time now) const noexcept {
  return now >= deadline_ || (state_ == state::streaming && !stream_writing_ && now - last_sent_ >= std::chrono::seconds(15));
}

void session::attend(steady_time now) {
  if (state_ == state::streaming && now < deadline_) return write_stream(":\n\n");
  if (state_ != state::reading) return close();
  trace_ = trace_context::start(server_.random);
  close_after_ = true;
  server_.counters->refused.fetch_add(1, std::memory_order_relaxed);
  fail(bad_request("request_timeout", "the request did not arrive within api.header_timeout"), 408);
}

void session::wind_down() {
  close_after_ = true;
  if (state_ == state::idle || state_ == state::streaming || state_ == state::lingering) close();
}

void session::close() {
  if (state_ == state::closed) return;
  if (state_ == state::streaming) server_.counters->streams.store(--server_.streams, std::memory_order_relaxed);
  if (std::exchange(counted_, false)) server_.counters->in_flight.store(--server_.in_flight, std::memory_order_relaxed);
  state_ = state::closed;
  if (feed_) feed_->stop();
  feed_.reset();
  beast::error_code ignored;
  socket_.close(ignored);
  const auto self = shared_from_this();
  server_.remove(*this);
}

} // namespace hive::api::http
