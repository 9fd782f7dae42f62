/// @file
/// Where the walk of a log's chain has been: rows never change, so a later page of an old part starts near it instead of at the
/// tail.
#pragma once

#include "config/base/ids.hpp"

#include <map>
#include <string>
#include <string_view>

namespace hive::persistence {

/// Confined to one thread, as the reader that has it.
class log_signposts {
public:
  /// Of one log: the highest index in a row -> the row's position.
  using of_log = std::map<std::uint64_t, std::uint64_t>;
  static constexpr std::size_t rows_apart = 64;

  /// Valid until the next call.
  of_log& of(entity_id id, std::string_view log) {
    if (count_ + logs_.size() > kept) {
      logs_.clear();
      count_ = 0;
    }
    return logs_[{id, std::string(log)}];
  }
  /// The row to start at in order to see entry `last` and what lies before it.
  static std::uint64_t start_of(const of_log& known, std::uint64_t last, std::uint64_t tail) {
    const auto after = known.lower_bound(last);
    return after != known.end() && after->second < tail ? after->second : tail;
  }
  void put(of_log& known, std::uint64_t index, std::uint64_t position) {
    if (known.emplace(index, position).second) ++count_;
  }

private:
  static constexpr std::size_t kept = 16'384; // of all logs together
  std::map<std::pair<entity_id, std::string>, of_log> logs_;
  std::size_t count_ = 0;
};

} // namespace hive::persistence
