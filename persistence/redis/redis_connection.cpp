#include "persistence/redis/redis_connection.hpp"

#include <hiredis/hiredis.h>
#include <poll.h>

#include <cerrno>

namespace hive::persistence::redis {
namespace {

timeval time_of(milliseconds t) noexcept { return {static_cast<time_t>(t.count() / 1000), static_cast<suseconds_t>(t.count() % 1000 * 1000)}; }

reply reply_from(const redisReply& r) {
  reply out;
  switch (r.type) {
  case REDIS_REPLY_INTEGER:
    out.what = reply::kind::number;
    out.number = r.integer;
    break;
  case REDIS_REPLY_STRING:
  case REDIS_REPLY_STATUS:
    out.what = reply::kind::text;
    out.text.assign(r.str, r.len);
    break;
  case REDIS_REPLY_ARRAY:
    out.what = reply::kind::list;
    for (std::size_t i = 0; i < r.elements; ++i) out.list.push_back(reply_from(*r.element[i]));
    break;
  default: break;
  }
  return out;
}

/// Takes it. An error that Redis answers with begins with a word in capitals.
result<reply> checked(void* raw) {
  const std::unique_ptr<void, void (*)(void*)> held(raw, freeReplyObject);
  const auto& r = *static_cast<const redisReply*>(raw);
  if (r.type != REDIS_REPLY_ERROR) return reply_from(r);
  return error{errc::application, "redis_error", "Redis answered: " + std::string(r.str, r.len)};
}

struct words_of {
  explicit words_of(std::initializer_list<std::string_view> words) {
    for (const auto w : words) {
      texts.push_back(w.data());
      sizes.push_back(w.size());
    }
  }
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
};

} // namespace

result<std::unique_ptr<redis_connection>> redis_connection::open(const connect_options& where) {
  auto* context = where.socket.empty() ? redisConnectWithTimeout(where.host.c_str(), where.port, time_of(where.connect_timeout))
                                       : redisConnectUnixWithTimeout(where.socket.c_str(), time_of(where.connect_timeout));
  if (!context) return error{errc::unavailable, "redis_away", "no memory is left for a connection to Redis"};
  std::unique_ptr<redis_connection> made(new redis_connection(context));
  if (context->err != 0 || redisSetTimeout(context, time_of(where.connect_timeout)) != REDIS_OK) return made->away();
  if (!where.password.empty()) {
    const auto in = where.user.empty() ? made->call({"AUTH", where.password}) : made->call({"AUTH", where.user, where.password});
    if (!in && in.error().code == errc::application)
      return error{errc::unauthenticated, "redis_refused", in.error().message + " (cache.redis.user and cache.redis.password_file say who this node is)", "cache.redis.password_file"};
    if (!in) return in.error();
  }
  auto serves = made->call({"PING"});
  if (!serves && serves.error().code == errc::application) { // e.g. it reads its file, or wants a password
    const bool refused = serves.error().message.find("NOAUTH") != std::string::npos;
    return refused ? error{errc::unauthenticated, "redis_refused", serves.error().message, "cache.redis.password_file"} : error{errc::unavailable, "redis_away", serves.error().message};
  }
  if (!serves) return serves.error();
  if (redisSetTimeout(context, time_of(where.command_timeout)) != REDIS_OK) return made->away();
  return made;
}

redis_connection::~redis_connection() { redisFree(context_); }

error redis_connection::away() const {
  return {errc::unavailable, "redis_away", "Redis is not reached: " + std::string(context_->err != 0 ? context_->errstr : "it did not answer in time")};
}

result<reply> redis_connection::call(std::initializer_list<std::string_view> words) {
  words_of w(words);
  void* raw = redisCommandArgv(context_, static_cast<int>(w.texts.size()), w.texts.data(), w.sizes.data());
  if (!raw) return away();
  return checked(raw);
}

result<void> redis_connection::send(std::initializer_list<std::string_view> words) {
  words_of w(words);
  int done = 0;
  if (redisAppendCommandArgv(context_, static_cast<int>(w.texts.size()), w.texts.data(), w.sizes.data()) != REDIS_OK) return away();
  while (done == 0)
    if (redisBufferWrite(context_, &done) != REDIS_OK) return away();
  return {};
}

result<std::optional<reply>> redis_connection::receive(milliseconds wait, int stop) {
  const auto until = std::chrono::steady_clock::now() + wait;
  for (;;) {
    void* raw = nullptr;
    if (redisGetReplyFromReader(context_, &raw) != REDIS_OK) return away();
    if (raw) {
      auto got = checked(raw);
      if (!got) return got.error();
      return std::optional(std::move(*got));
    }
    const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
    pollfd both[2] = {{context_->fd, POLLIN, 0}, {stop, POLLIN, 0}};
    const int ready = ::poll(both, 2, static_cast<int>(std::max<std::int64_t>(0, left.count())));
    if (ready < 0 && errno != EINTR) return away();
    if (ready == 0 || both[1].revents != 0) return std::optional<reply>();
    if (ready > 0 && redisBufferRead(context_) != REDIS_OK) return away();
  }
}

} // namespace hive::persistence::redis
