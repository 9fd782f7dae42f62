#include "persistence/postgres/reader_pool.hpp"

namespace hive::persistence::postgres {
namespace {

constexpr std::chrono::milliseconds leave_alone{200};

struct busy {};

constexpr const char* set_scope =
  "select set_config('transaction_read_only', 'on', true), set_config('hive.tenants', $1, true), set_config('hive.shards', $2, true),"
  " set_config('hive.api_key', $3, true), set_config('hive.trim_before', '', true), set_config('statement_timeout', $4, true)";

std::unique_ptr<connection> connected(const connect_options& how) {
  auto one = std::make_unique<connection>(how);
  // A plan that is kept must be right for tables that have grown since.
  if (how.direct) one->query("select set_config('enable_seqscan', 'off', false)");
  return one;
}

} // namespace

reader_pool::reader_pool(connect_options how, std::size_t limit, std::chrono::milliseconds wait)
    : how_(std::move(how)), limit_(limit), wait_(wait) {}

result<rows> reader_pool::read(const read_scope& scope, const char* sql, const arguments& with) {
  const auto timeout = std::to_string(wait_.count());
  for (int attempt = 0;; ++attempt) {
    std::unique_ptr<connection> on;
    try {
      on = take(connection::clock::now() + wait_, attempt > 0);
      arguments set;
      set.text(scope.tenants).text(scope.shards).text(scope.api_key).text(timeout);
      const char* scoped = how_.direct ? on->kept(set_scope, set) : nullptr;
      const char* asked = how_.direct ? on->kept(sql, with) : nullptr;
      if (scoped) on->send_prepared(scoped, set);
      else on->send(set_scope, set);
      if (asked) on->send_prepared(asked, with);
      else on->send(sql, with);
      auto answers = on->finish(connection::clock::now() + wait_ + std::chrono::seconds{1});
      put_back(std::move(on));
      return std::move(answers.at(1));
    } catch (const pg_error& e) {
      const bool had_one = on != nullptr;
      if (had_one) put_back(std::move(on));
      if (!e.lost() || !had_one || attempt > 0) return to_error(e);
    } catch (const busy&) {
      return error{errc::unavailable,
                   "readers_busy",
                   "all connections to PostgreSQL for reading are in use: raise store.postgres.readers",
                   {},
                   std::chrono::milliseconds{100}};
    }
  }
}

/// @param fresh the last one was gone, and so are its idle neighbours.
std::unique_ptr<connection> reader_pool::take(connection::clock::time_point until, bool fresh) {
  std::unique_lock lock(guard_);
  if (fresh) {
    made_ -= idle_.size();
    idle_.clear();
  }
  if (!free_.wait_until(lock, until, [&] { return !idle_.empty() || made_ < limit_; })) throw busy{};
  if (!idle_.empty()) {
    auto one = std::move(idle_.back());
    idle_.pop_back();
    return one;
  }
  if (connection::clock::now() < not_before_) throw pg_error("tried a moment ago", "08001", true, false);
  ++made_;
  lock.unlock();
  try {
    return connected(how_);
  } catch (...) {
    lock.lock();
    --made_;
    not_before_ = connection::clock::now() + leave_alone;
    lock.unlock();
    free_.notify_one();
    throw;
  }
}

void reader_pool::put_back(std::unique_ptr<connection> used) {
  {
    std::lock_guard lock(guard_);
    if (used->usable()) {
      idle_.push_back(std::move(used));
    } else {
      --made_;
    }
  }
  free_.notify_one();
}

} // namespace hive::persistence::postgres
