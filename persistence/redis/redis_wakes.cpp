#include "persistence/redis/redis_wakes.hpp"

#include "config/base/log.hpp"
#include "persistence/redis/circuit.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <stdexcept>

namespace hive::persistence::redis {
namespace {
constexpr auto silence_asked_about = std::chrono::milliseconds{1'000}; // then a PING; after as long without an answer Redis is away
} // namespace

redis_wakes::redis_wakes(redis_options redis, std::string channel, std::function<void(const std::vector<wake_up>&)> heard, std::function<void()> subscribed, std::uint64_t seed)
  : redis_(std::move(redis)), channel_(std::move(channel)), heard_(std::move(heard)), subscribed_(std::move(subscribed)), seed_(seed), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_ < 0) throw std::runtime_error("no event descriptor for Redis's wake-ups");
  thread_ = std::thread([this] { run(); });
}

redis_wakes::~redis_wakes() {
  stopping_ = true;
  ::eventfd_write(wake_, 1);
  thread_.join();
  ::close(wake_);
}

std::size_t redis_wakes::publish(std::span<const wake_up> batch) {
  std::lock_guard lock(guard_);
  if (!publisher_) return 0;
  const auto said = publisher_->call({"PUBLISH", channel_, encode(batch)});
  if (said && said->what == reply::kind::number) return static_cast<std::size_t>(said->number);
  if (!said && said.error().code != errc::application) {
    publisher_.reset();
    ::eventfd_write(wake_, 1);
  }
  return 0;
}

/// Until then, or until something is to be looked at.
void redis_wakes::nap(steady_time until) {
  const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
  pollfd one{wake_, POLLIN, 0};
  if (left.count() > 0) ::poll(&one, 1, static_cast<int>(left.count()));
}

void redis_wakes::run() {
  circuit again(redis_.backoff, redis_.backoff_max, seed_);
  bool told = false;
  while (!stopping()) {
    if (again.next() > std::chrono::steady_clock::now()) {
      nap(again.next());
      if (stopping()) return;
      eventfd_t ignored = 0;
      ::eventfd_read(wake_, &ignored);
      continue;
    }
    auto listener = redis_connection::open(redis_.where);
    auto publisher = listener ? redis_connection::open(redis_.where) : result<std::unique_ptr<redis_connection>>(listener.error());
    auto asked = publisher ? (*listener)->send({"SUBSCRIBE", channel_}) : result<void>(publisher.error());
    if (asked) {
      {
        std::lock_guard lock(guard_);
        publisher_ = std::move(*publisher);
      }
      again.succeeded();
      told = false;
      eventfd_t of_the_last_connection = 0;
      if (!stopping()) ::eventfd_read(wake_, &of_the_last_connection);
      if (!stopping()) listen(**listener);
      up_ = false;
      std::lock_guard lock(guard_);
      publisher_.reset();
    } else if (!std::exchange(told, true)) {
      log::warn("Redis is not reached: wake-ups go by the nodes' links", {{"why", asked.error().message}});
    }
    again.failed(std::chrono::steady_clock::now());
  }
}

/// Until the connection ends, or that of `publish` has.
void redis_wakes::listen(redis_connection& on) {
  bool asked = false; // for a sign of life
  while (!stopping()) {
    auto got = on.receive(silence_asked_about, wake_);
    if (!got) return log::warn("Redis is away: wake-ups go by the nodes' links", {{"why", got.error().message}});
    if (!*got) {
      eventfd_t ignored = 0;
      if (::eventfd_read(wake_, &ignored) == 0) return; // this one stops, or `publish` lost its connection
      if (asked) return log::warn("Redis is silent: wake-ups go by the nodes' links");
      if (auto sent = on.send({"PING"}); !sent) return;
      asked = true;
      continue;
    }
    asked = false;
    const auto& said = **got;
    if (said.what != reply::kind::list || said.list.size() < 3) continue; // the answer to a PING
    if (said.list[0].text == "subscribe") {
      up_ = true;
      log::info("Redis carries wake-ups", {{"channel", channel_}});
      subscribed_();
    } else if (said.list[0].text == "message") {
      if (const auto batch = decode_wake_ups(said.list[2].text); !batch.empty()) heard_(batch);
    }
  }
}

} // namespace hive::persistence::redis
