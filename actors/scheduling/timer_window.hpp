/// @file
/// The timers of one shard that are due next. The rows are the truth; this holds a window of them, in order, so that a
/// million pending timers cost no more memory than a thousand. Pure: rows are read by whoever owns it.
#pragma once

#include "config/base/clock.hpp"
#include "persistence/turn_record.hpp"

#include <map>
#include <optional>
#include <set>
#include <vector>

namespace hive::actors::scheduling {

/// Confined to one thread.
class timer_window {
public:
  using row = persistence::timer_row;
  struct key {
    wall_time due;
    entity_id entity;
    std::uint64_t number;
    friend bool operator==(const key&, const key&) = default;
    /// As stores order them: numbers are signed there.
    friend auto operator<=>(const key& a, const key& b) noexcept {
      const auto parts = [](const key& k) { return std::tuple(k.due, static_cast<std::int64_t>(k.entity.bits()), static_cast<std::int64_t>(k.number)); };
      return parts(a) <=> parts(b);
    }
  };
  static key key_of(const row& r) noexcept { return {r.due, r.entity, r.number}; }

  /// @param rows read at a time, and at most about twice as many are held.
  explicit timer_window(std::size_t rows) : page_(rows) {}

  /// There may be timers in the store that it does not know.
  void read_again() {
    window_.clear();
    last_ = {};
    complete_ = false;
    if (reading_) stale_ = true;
  }
  /// Whether a page should be read now, after `last()`. Then `page` follows.
  bool wants_page() const noexcept { return !complete_ && !reading_ && window_.size() <= page_ / 2; }
  const row& last() const noexcept { return last_; }
  std::size_t page_size() const noexcept { return page_; }
  void reading() { reading_ = true; }
  /// What was read; `complete`: the store holds none after these.
  void page(std::vector<row>&& rows, bool complete) {
    reading_ = false;
    if (!stale_) {
      if (!rows.empty()) last_ = {rows.back().due, rows.back().number, rows.back().entity, {}, {}, {}};
      complete_ = complete;
      for (auto& r : rows) put(std::move(r));
      for (auto& r : armed_) set(std::move(r));
    }
    stale_ = false;
    armed_.clear();
    gone_while_reading_.clear();
  }
  /// The page could not be read.
  void not_read() {
    reading_ = false;
    stale_ = false;
    complete_ = false;
    armed_.clear();
    read_again();
  }

  /// A timer that is on disk since now.
  void set(row r) {
    if (reading_) return armed_.push_back(std::move(r));
    if (!complete_ && key_of(r) > key_of(last_)) return; // beyond the window: read when its time is near
    put(std::move(r));
    if (window_.size() <= 2 * page_) return;
    while (window_.size() > page_) window_.erase(std::prev(window_.end()));
    const auto& end = std::prev(window_.end())->first;
    last_ = {end.due, end.number, end.entity, {}, {}, {}};
    complete_ = false;
  }

  /// It will be deleted by a commit that is under way: it fires no more. @returns whether it had been fired.
  bool cancel(const key& k) {
    window_.erase(k);
    gone_.insert(k);
    return fired_.erase(k) != 0;
  }
  /// That commit is done.
  void deleted(const key& k) {
    gone_.erase(k);
    if (reading_) gone_while_reading_.insert(k);
  }
  /// That commit failed: the row is still there.
  void not_deleted(const key& k) {
    gone_.erase(k);
    read_again();
  }

  /// The next timer that is due, unless `limit` are fired and not over.
  std::optional<row> fire(wall_time now, std::size_t limit) {
    if (window_.empty() || window_.begin()->first.due > now || fired_.size() >= limit) return std::nullopt;
    auto first = window_.extract(window_.begin());
    fired_.insert(first.key());
    return std::move(first.mapped());
  }
  /// Whether a fired one still counts: it was neither cancelled nor given back since.
  bool counts(const key& k) const { return fired_.contains(k); }
  /// A fired one was not handled: it fires again.
  void give_back(const key& k) {
    if (fired_.erase(k) != 0) read_again();
  }

  /// When the next one is due; empty while nothing is known to be, or while the limit is reached.
  std::optional<wall_time> next(std::size_t limit) const {
    if (window_.empty() || fired_.size() >= limit) return std::nullopt;
    return window_.begin()->first.due;
  }
  std::size_t size() const noexcept { return window_.size(); }
  std::size_t fired() const noexcept { return fired_.size(); }

private:
  void put(row&& r) {
    const auto k = key_of(r);
    if (!gone_.contains(k) && !gone_while_reading_.contains(k) && !fired_.contains(k)) window_.emplace(k, std::move(r));
  }

  std::size_t page_;
  std::map<key, row> window_;
  row last_{};                       ///< Rows up to this one were read.
  bool complete_ = true;             ///< There are none after it.
  bool reading_ = false;
  bool stale_ = false;               ///< The page under way is about an older state.
  std::vector<row> armed_;           ///< While a page was under way.
  std::set<key> fired_;              ///< In a mailbox, a turn, or a commit under way.
  std::set<key> gone_;               ///< Their deletion is under way.
  std::set<key> gone_while_reading_; ///< Deleted since the page began to be read.
};

} // namespace hive::actors::scheduling
