/// @file
/// Server-Sent Events on a session.
#include "runtime/api/http/session.hpp"
#include "runtime/api/json_mapping.hpp"
#include "runtime/api/services/event_feed.hpp"

#include <boost/asio/write.hpp>

namespace hive::api::http {
namespace {

/// One line: a hostile type or cursor cannot forge another.
void append_line(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  for (const char c : value)
    if (c != '\n' && c != '\r' && c != '\0') out.push_back(c);
  out.push_back('\n');
}

std::string text_of(const event_batch& batch) {
  std::string out;
  for (const auto& e : batch.events) {
    if (!e.cursor().empty()) append_line(out, "id", e.cursor());
    append_line(out, "event", e.type());
    append_line(out, "data", to_json(e)); // a raw value may be written over several lines; JSON does not mind
    out.push_back('\n');
  }
  const bool stands_behind = batch.events.empty() || batch.events.back().cursor() != batch.cursor;
  if (stands_behind && !batch.cursor.empty()) { // an id without data moves the reader's place and dispatches nothing
    append_line(out, "id", batch.cursor);
    out.push_back('\n');
  }
  return out;
}

} // namespace

void session::start_stream(const call& c) {
  if (server_.winding_down) return fail({errc::unavailable, "stopping", "this node is stopping", {}, std::chrono::seconds(1)});
  if (!server_.begin_stream(c.who.context.tenant()))
    return fail({errc::resource_exhausted, "too_many_subscribers",
                 "this node, or the tenant, has as many event streams as api.subscribers and api.subscribers_per_tenant allow", {}, std::chrono::seconds(5)});
  stream_of_ = c.who.context.tenant();
  stream_key_ = std::string(key_in(view(parser_->get()[beast::http::field::authorization])));
  stream_generation_ = server_.auth.generation();
  stream_until_ = c.who.good_until;
  feed_ = std::make_shared<event_feed>(server_.hive, server_.home, c, static_cast<const v1::WatchRequest&>(*request_), server_.cache);
  next_events();
}

void session::next_events() {
  feed_->next([weak = weak_from_this()](result<event_batch> batch) {
    if (const auto self = weak.lock()) self->on_events(std::move(batch));
  });
}

void session::on_events(result<event_batch> batch) {
  if (state_ == state::closed) return;
  if (!batch) {
    if (stream_begun_) return close();
    feed_->stop();
    feed_.reset();
    return fail(batch.error());
  }
  if (!still_allowed())
    return check_again([self = shared_from_this(), batch = std::make_shared<result<event_batch>>(std::move(batch))] { self->on_events(std::move(*batch)); });
  std::string text;
  if (!stream_begun_) {
    stream_begun_ = true;
    state_ = state::streaming;
    no_more_under_way(); // it is a stream from here on
    server_.counters->count(route_.number, 200, std::chrono::microseconds(0));
    text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\ntraceparent: " +
           trace_.traceparent() + "\r\n\r\nretry: 1000\n\n";
    watch_for_end();
  }
  text += text_of(*batch);
  if (text.empty()) return next_events();
  write_stream(std::move(text));
}

/// As far as is known: nothing was removed since the key was looked at, and that is not too long ago.
bool session::still_allowed() const noexcept {
  return stream_generation_ == server_.auth.generation() && std::chrono::steady_clock::now() < stream_until_;
}

/// A key or a tenant was removed since this stream began, or may have been: is it still allowed? If not, it ends here.
void session::check_again(std::function<void()> then) {
  const auto generation = server_.auth.generation();
  const auto answered = [self = shared_from_this(), home = server_.home](auto&& go_on) {
    return [self, home, go_on](auto what) {
      home->run_or_post([self, go_on, what = std::move(what)]() mutable {
        if (self->state_ == state::closed) return;
        if (what) go_on(*what);
        else self->close();
      });
    };
  };
  const auto entered = answered([self = shared_from_this(), generation, then = std::move(then)](const call&) {
    self->stream_generation_ = generation;
    then();
  });
  server_.gate.authenticate(stream_key_, answered([self = shared_from_this(), entered](const security::caller& who) {
    if (!dispatcher::permit(who, *self->route_.to)) return self->close();
    // A little longer when another one is about to read the key again: what is known of it until then is as old as before.
    self->stream_until_ = std::max(who.good_until, std::chrono::steady_clock::now() + std::chrono::seconds(1));
    self->server_.gate.enter(who, *self->route_.to, *self->request_, self->trace_, entered);
  }));
}

void session::write_stream(std::string text) {
  if (stream_writing_) {
    stream_pending_ = std::move(text);
    return;
  }
  const bool heartbeat = text == ":\n\n";
  out_ = std::move(text);
  stream_writing_ = true;
  // A stream whose reader takes nothing is closed; it resumes from its last id and loses nothing.
  const auto go_on = [self = shared_from_this()](const beast::error_code& ec, std::size_t) { return self->write_on(ec); };
  net::async_write(socket_, net::buffer(out_), go_on, [self = shared_from_this(), heartbeat](const beast::error_code& ec, std::size_t) {
    if (self->state_ == state::closed) return;
    if (ec) return self->close();
    self->stream_writing_ = false;
    self->deadline_ = steady_time::max();
    self->last_sent_ = std::chrono::steady_clock::now();
    if (!self->stream_pending_.empty()) return self->write_stream(std::exchange(self->stream_pending_, {}));
    if (!heartbeat) self->next_events();
  });
}

/// Readers say nothing; what arrives is their end.
void session::watch_for_end() {
  socket_.async_read_some(net::buffer(discarded_), [self = shared_from_this()](const beast::error_code& ec, std::size_t) {
    if (self->state_ == state::closed) return;
    if (ec) return self->close();
    self->watch_for_end();
  });
}

} // namespace hive::api::http
