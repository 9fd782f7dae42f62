/// @file
/// One connection: read a request, hand it to its service, write the answer, again. Pipelined requests wait in the buffer
/// and are answered in order. Include it in http/ only.
///
/// ```
/// reading head -> (who? may it?) -> reading body -> handling -> writing -> reading head ...
///      |                |                |             |-> streaming (events) until either side closes
///      `----- an error is answered at once; what is left of the request unread closes the connection afterwards
/// ```
/// session.cpp holds the life of the connection and the writing; session_head.cpp, session_request.cpp and
/// event_stream.cpp the other steps.
#pragma once

#include "runtime/api/http/server.hpp"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <optional>

namespace hive::api {
class event_feed;
struct event_batch;
} // namespace hive::api

namespace hive::api::http {

namespace beast = boost::beast;

constexpr std::uint32_t header_bytes_max = 16 * 1024;
constexpr std::size_t buffer_bytes_max = 128 * 1024; ///< Of what was read and not parsed.
constexpr auto never = steady_time::max();

/// The key behind "Bearer "; empty when there is none.
std::string_view key_in(std::string_view header) noexcept;

inline std::string_view view(beast::string_view s) noexcept { return {s.data(), s.size()}; }

/// Used on the loop's thread only.
class session final : public std::enable_shared_from_this<session> {
public:
  session(server& owner, tcp::socket socket);
  ~session();

  void start();
  /// Too many connections: says so and closes.
  void turn_away();
  bool needs_attention(steady_time now) const noexcept;
  /// Nothing of it is being handled.
  bool between_requests() const noexcept { return state_ == state::idle || state_ == state::reading; }
  /// A deadline has passed, or a stream has been silent for long.
  void attend(steady_time now);
  /// Closes when idle; otherwise after the request under way.
  void wind_down();
  void close();

private:
  enum class state : std::uint8_t { idle, reading, checking, handling, writing, streaming, lingering, closed };
  using parser = beast::http::request_parser<beast::http::string_body>;

  // -- reading
  void next_request();
  void read();
  void advance();
  std::optional<error> fault_of_head(unsigned& status);
  void on_head();
  void looked_up(bool right);
  void fail_too_many_wrong_keys(std::chrono::milliseconds wait);
  void on_caller(result<security::caller> who);
  void on_permitted();
  void refuse(const beast::error_code& ec);

  // -- handling
  void on_request();
  result<void> fill_request();
  result<void> fill_query();
  result<void> fill_idempotency_key();
  void on_entered(result<call> entered);
  void on_outcome(result<any_message> outcome);
  friend struct outcome_job;

  // -- writing
  void no_more_under_way();
  void answer(const google::protobuf::Message& response);
  void fail(const error& why, unsigned status = 0);
  void respond(unsigned status, std::string_view content_type, std::string_view body, std::string_view more_headers = {});
  void write();
  /// Before each part of what is written: only a reader that takes nothing is late. @returns bytes of the next part.
  std::size_t write_on(const beast::error_code& ec);
  void written();
  void no_longer_unsent();
  void linger();
  void read_to_end();

  // -- events
  void start_stream(const call& c);
  void next_events();
  void on_events(result<event_batch> batch);
  bool still_allowed() const noexcept;
  void check_again(std::function<void()> then);
  void write_stream(std::string text);
  void watch_for_end();

  const std::shared_ptr<io_loop> home_;  ///< A reply may hold the session longer than the gateway lives: its socket needs this.
  server& server_;                       ///< Not touched once `closed`.
  tcp::socket socket_;
  state state_ = state::idle;
  security::wrong_keys::address from_{};
  bool has_tenant_ = false;              ///< It has shown a key: until then it may not idle for long.
  beast::flat_buffer buffer_;
  std::optional<parser> parser_;
  std::string out_;
  steady_time deadline_{};
  bool head_seen_ = false;
  std::optional<security::wrong_keys::verdict> shown_; ///< Its key counts as wrong until it is found.
  bool close_after_ = false;
  bool counted_ = false;                 ///< Is one of `server::in_flight`,
  std::optional<tenant_id> request_of_;  ///< and of this tenant's requests.
  std::optional<std::pair<tenant_id, std::uint64_t>> unsent_; ///< Its answer waits to be written.
  std::optional<tenant_id> stream_of_;   ///< Is one of this tenant's streams.

  // -- this request
  route route_;
  std::string_view query_;               ///< Within the parser's target.
  std::optional<security::caller> who_;
  trace_context trace_;
  steady_time began_{};
  any_message request_;
  std::string key_;                      ///< Its idempotency key, for an error that names it.

  // -- the key that this connection used last
  std::string known_header_;
  std::optional<security::caller> known_;
  std::uint64_t known_generation_ = 0;

  // -- a stream
  std::shared_ptr<event_feed> feed_;
  std::string stream_key_;
  std::uint64_t stream_generation_ = 0;  ///< Of the authenticator, when the key was last checked;
  steady_time stream_until_{};           ///< and until when that will do.
  bool stream_writing_ = false;
  std::string stream_pending_;           ///< Came while a heartbeat was being written.
  bool stream_begun_ = false;
  steady_time last_sent_{};
  char discarded_[512];
};

} // namespace hive::api::http
