#include "persistence/redis/redis_tier.hpp"

#include "config/base/log.hpp"
#include "config/base/payload.hpp"
#include "persistence/redis/circuit.hpp"

#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

namespace hive::persistence::redis {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::size_t position_digits = 20;
constexpr std::size_t head_bytes = position_digits + 16;

/// A newer value stays. Positions are texts of one length: as texts they compare as numbers do, in any locale.
constexpr std::string_view set_if_newer = "local old = redis.call('GETRANGE', KEYS[1], 0, 19)\n"
                                          "if #old == 20 and old >= string.sub(ARGV[1], 1, 20) then return 0 end\n"
                                          "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
                                          "return 1";

/// What the sum covers: the key too, so that a value under another's key is not taken for its own.
std::uint64_t sum_of(const std::string& key, std::string_view position, std::string_view body) {
  std::string all;
  all.reserve(key.size() + position.size() + body.size() + 1);
  all.append(key).append(1, '\0').append(position).append(body);
  return hash_of(all);
}

/// Position in 20 decimal digits, sum in 16 hexadecimal ones, the bytes.
std::string seal(const std::string& key, const cached_value& value) {
  char head[head_bytes + 1];
  std::snprintf(head, sizeof head, "%020llu", static_cast<unsigned long long>(value.position));
  std::snprintf(head + position_digits, sizeof head - position_digits, "%016llx",
                static_cast<unsigned long long>(sum_of(key, std::string_view(head, position_digits), *value.bytes)));
  return std::string(head, head_bytes) + *value.bytes;
}

std::optional<cached_value> open(const std::string& key, const std::string& sealed) {
  if (sealed.size() < head_bytes) return std::nullopt;
  const std::string_view all(sealed);
  const auto body = all.substr(head_bytes);
  std::uint64_t sum = 0;
  cached_value value;
  const auto* const middle = all.data() + position_digits;
  const auto position = std::from_chars(all.data(), middle, value.position);
  const auto said = std::from_chars(middle, middle + 16, sum, 16);
  if (position.ec != std::errc{} || position.ptr != middle || said.ptr != middle + 16 || sum != sum_of(key, all.substr(0, position_digits), body)) return std::nullopt;
  value.bytes = std::make_shared<const std::string>(body);
  return value;
}

class redis_tier final : public cache_tier {
public:
  redis_tier(const redis_options& redis, const tier_options& tier, std::uint64_t seed)
    : redis_(redis), tier_(tier), ttl_(std::to_string(tier.ttl.count())), circuit_(redis.backoff, redis.backoff_max, seed) {
    counters_.up.store(false, relaxed);
    keeper_ = std::thread([this] { keep_connected(); });
  }

  ~redis_tier() override {
    {
      std::lock_guard lock(guard_);
      stopping_ = true;
    }
    changed_.notify_all();
    keeper_.join();
  }

  std::string_view name() const noexcept override { return "redis"; }

  std::optional<cached_value> get(const std::string& key, std::uint64_t at_least) override {
    if (const auto r = call({"GET", key}); r && r->what == reply::kind::text) {
      auto value = open(key, r->text);
      if (value && value->position >= at_least) {
        counters_.hits.fetch_add(1, relaxed);
        return value;
      }
      if (!value) counters_.errors.fetch_add(1, relaxed);
    }
    counters_.misses.fetch_add(1, relaxed);
    return std::nullopt;
  }

  bool put(const std::string& key, const cached_value& value) override {
    if (value.bytes->size() > tier_.value_bytes) {
      counters_.refused.fetch_add(1, relaxed);
      return false;
    }
    if (!counters_.up.load(relaxed)) return false;
    const auto r = call({"EVAL", set_if_newer, "1", key, seal(key, value), ttl_});
    if (!r) return false;
    const bool kept = r->what == reply::kind::number && r->number == 1;
    (kept ? counters_.stored : counters_.refused).fetch_add(1, relaxed);
    return kept;
  }

private:
  std::optional<reply> call(std::initializer_list<std::string_view> words) {
    auto by = take();
    if (!by) return std::nullopt;
    auto r = by->call(words);
    if (r || r.error().code == errc::application) give_back(std::move(by));
    else lost(r.error());
    if (r) return std::move(*r);
    counters_.errors.fetch_add(1, relaxed);
    return std::nullopt;
  }

  std::unique_ptr<redis_connection> take() {
    std::lock_guard lock(guard_);
    if (free_.empty()) return nullptr;
    auto one = std::move(free_.back());
    free_.pop_back();
    return one;
  }

  void give_back(std::unique_ptr<redis_connection> one) {
    std::lock_guard lock(guard_);
    free_.push_back(std::move(one));
  }

  /// One connection is over. The others are most likely, too: nobody shall wait for each of them to find out.
  void lost(const error& why) {
    std::vector<std::unique_ptr<redis_connection>> old;
    {
      std::lock_guard lock(guard_);
      open_ -= 1 + static_cast<std::uint32_t>(free_.size());
      old.swap(free_);
      if (counters_.up.exchange(false, relaxed)) {
        circuit_.failed(std::chrono::steady_clock::now());
        log::warn("Redis is away: reads go to the store", {{"why", why.message}});
      }
    }
    changed_.notify_all();
  }

  void keep_connected() {
    std::unique_lock lock(guard_);
    bool told = false;
    while (!stopping_) {
      if (open_ >= tier_.connections) {
        changed_.wait(lock);
        continue;
      }
      if (const auto at = circuit_.next(); at > std::chrono::steady_clock::now()) {
        changed_.wait_until(lock, at);
        continue;
      }
      lock.unlock();
      auto made = redis_connection::open(redis_.where);
      lock.lock();
      if (!made) {
        circuit_.failed(std::chrono::steady_clock::now());
        if (!std::exchange(told, true)) log::warn("Redis is not reached: reads go to the store", {{"why", made.error().message}});
        continue;
      }
      told = false;
      circuit_.succeeded();
      open_ += 1;
      free_.push_back(std::move(*made));
      if (!counters_.up.exchange(true, relaxed)) log::info("Redis serves cached reads");
    }
  }

  redis_options redis_;
  tier_options tier_;
  std::string ttl_;
  std::mutex guard_;
  std::condition_variable changed_;
  circuit circuit_;
  std::vector<std::unique_ptr<redis_connection>> free_;
  std::uint32_t open_ = 0; // free, or with a call
  bool stopping_ = false;
  std::thread keeper_; // last: it runs on all of the above
};

} // namespace

std::unique_ptr<cache_tier> make_redis_tier(const redis_options& redis, const tier_options& tier, std::uint64_t seed) {
  return std::make_unique<redis_tier>(redis, tier, seed);
}

} // namespace hive::persistence::redis
