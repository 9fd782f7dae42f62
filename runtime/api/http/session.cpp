#include "runtime/api/http/session.hpp"

#include "config/base/log.hpp"
#include "runtime/api/http/status.hpp"
#include "runtime/api/json_mapping.hpp"
#include "runtime/api/services/event_feed.hpp"

#include <boost/asio/write.hpp>

namespace hive::api::http {
namespace {

security::wrong_keys::address bytes_of(const net::ip::address& a) {
  return a.is_v6() ? a.to_v6().to_bytes() : net::ip::make_address_v6(net::ip::v4_mapped, a.to_v4()).to_bytes();
}

/// Of a request or an answer; empty when it has none.
std::string key_of(const google::protobuf::Message& m) {
  const auto* slot = m.GetDescriptor()->FindFieldByName("idempotency_key");
  return slot ? m.GetReflection()->GetString(m, slot) : std::string();
}

constexpr auto linger_time = std::chrono::milliseconds(2000);
constexpr auto linger_time_at_end = std::chrono::milliseconds(200); // when the whole gateway stops

} // namespace

session::session(server& owner, tcp::socket socket)
  : home_(owner.home), server_(owner), socket_(std::move(socket)), buffer_(buffer_bytes_max) {
  beast::error_code gone;
  if (const auto remote = socket_.remote_endpoint(gone); !gone) from_ = bytes_of(remote.address());
}
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

void session::next_request() {
  if (state_ == state::closed) return;
  parser_.emplace();
  parser_->header_limit(header_bytes_max);
  parser_->body_limit(server_.limits.body_bytes);
  head_seen_ = false;
  request_.reset();
  key_.clear();
  who_.reset();
  route_ = route{server_.no_route, nullptr, {}};
  state_ = state::idle;
  const auto now = std::chrono::steady_clock::now();
  deadline_ = now + (has_tenant_ ? server_.limits.idle_timeout : std::min(server_.limits.idle_timeout, server_.limits.header_timeout));
  if (close_after_) return; // only answers
  if (buffer_.size() != 0) {
    state_ = state::reading;
    began_ = now;
    deadline_ = now + server_.limits.header_timeout;
    return advance();
  }
  read();
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
  if (who_) {
    const auto tenant = who_->context.tenant();
    if (!server_.begin_answer(tenant, body.size())) {
      if (auto key = key_of(response); !key.empty()) key_ = std::move(key);
      return fail({errc::unknown, "answer_dropped",
                   "the request was handled and its answer is dropped: answers of this tenant that wait to be read have as many bytes as"
                   " api.unsent_bytes_per_tenant allows; read them, then ask again, with the same idempotency key if there is one",
                   {}, std::chrono::seconds(1)});
    }
    unsent_.emplace(tenant, body.size());
  }
  const auto* repeated = type.FindFieldByName("repeated");
  respond(200, "application/json", body, repeated && reflection.GetBool(response, repeated) ? "Idempotency-Replayed: true\r\n" : "");
}

void session::fail(const error& why, unsigned status) {
  if (state_ == state::closed || state_ == state::writing || state_ == state::lingering) return;
  if (status == 0) status = status_of(why.code);
  if (request_ && key_.empty()) key_ = key_of(*request_);
  std::string headers;
  if (why.retry_after.count() > 0 || status == 429 || status == 503)
    headers += "Retry-After: " + std::to_string(std::max<std::int64_t>(1, (why.retry_after.count() + 999) / 1000)) + "\r\n";
  if (status == 401) headers += "WWW-Authenticate: Bearer\r\n";
  if (status == 405) headers += "Allow: " + why.message.substr(why.message.find(':') + 2) + "\r\n";
  if (!parser_->is_done()) close_after_ = true; // the rest of this request is still to come
  if (status >= 500 && why.code == errc::internal)
    log::write(log::level::error, "a request failed", {{"reason", why.reason}, {"message", why.message}}, trace_);
  respond(status, "application/json", error_body(why, status, key_, trace_), headers);
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
  no_more_under_way();
  write();
}

/// The request does not count any more.
void session::no_more_under_way() {
  if (std::exchange(counted_, false)) server_.counters->in_flight.store(--server_.in_flight, std::memory_order_relaxed);
  if (const auto of = std::exchange(request_of_, std::nullopt)) server_.request_over(*of);
  if (const auto of = state_ == state::streaming ? std::nullopt : std::exchange(stream_of_, std::nullopt)) server_.stream_over(*of);
}

std::size_t session::write_on(const beast::error_code& ec) {
  if (ec || state_ == state::closed) return 0;
  constexpr std::size_t part = 64 * 1024;
  deadline_ = std::chrono::steady_clock::now() + server_.limits.write_timeout;
  return part;
}

void session::write() {
  state_ = state::writing;
  const auto go_on = [self = shared_from_this()](const beast::error_code& ec, std::size_t) { return self->write_on(ec); };
  net::async_write(socket_, net::buffer(out_), go_on, [self = shared_from_this()](const beast::error_code& ec, std::size_t) {
    if (self->state_ == state::closed) return;
    self->written();
    if (ec) return self->close();
    if (self->close_after_) return self->linger();
    self->next_request();
  });
}

void session::no_longer_unsent() {
  if (const auto of = std::exchange(unsent_, std::nullopt)) server_.answer_over(of->first, of->second);
}

void session::written() {
  no_longer_unsent();
  constexpr std::size_t kept = 64 * 1024; // for the next answer; a large one is not held until then
  if (out_.capacity() > kept) std::string().swap(out_);
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
  return now >= deadline_ || (state_ == state::streaming && !still_allowed()) || (state_ == state::streaming && !stream_writing_ && now - last_sent_ >= std::chrono::seconds(15));
}

void session::attend(steady_time now) {
  if (state_ == state::streaming && !still_allowed()) return check_again([] {});
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
  state_ = state::closed;
  no_more_under_way();
  looked_up(true); // or nobody can tell
  no_longer_unsent(); // but the text is kept: its write may be under way
  if (feed_) feed_->stop();
  feed_.reset();
  beast::error_code ignored;
  socket_.close(ignored);
  const auto self = shared_from_this();
  server_.remove(*this);
}

} // namespace hive::api::http
