/// @file
/// The tier that nodes of one hive share. While Redis is away, every call fails at once; a thread of its own dials it again.
#pragma once

#include "persistence/read_cache.hpp"
#include "persistence/redis/redis_connection.hpp"

namespace hive::persistence::redis {

struct redis_options {
  connect_options where;
  milliseconds backoff{100};       ///< Before Redis is dialled again; doubled each time up to
  milliseconds backoff_max{5'000}; ///< this, with jitter.
};

struct tier_options {
  std::uint32_t connections = 2;            ///< A call that finds none free does without.
  std::uint64_t value_bytes = 1024 * 1024;  ///< A larger one is not kept.
  milliseconds ttl{300'000};
};

/// Never fails: a Redis that is away is one that knows nothing.
std::unique_ptr<cache_tier> make_redis_tier(const redis_options& redis, const tier_options& tier, std::uint64_t seed);

} // namespace hive::persistence::redis
