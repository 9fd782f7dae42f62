/// @file
/// A named set of memories, for its owner: puts, deletes, duplicates, expiry. Searches read its views.
///
/// How an owner uses it: a turn calls `put` and `remove`, writes `row(id)` of every id in `changed` and deletes the rows of
/// every id in `removed`, calls `publish`, and lets readers have that view once the commit is acknowledged. When a commit
/// fails, `rewind` to the last view that was acknowledged. After a crash, `load` the rows in any order: equal rows answer
/// every search equally.
#pragma once

#include "config/base/clock.hpp"
#include "vector/limits.hpp"
#include "vector/view.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hive::vector {

struct put_options {
  /// Only if this is the item's version now (0: only if there is no such item); otherwise `conflict`.
  std::optional<std::uint64_t> expected_version;
  /// An item without an id whose kind and text are stored already: store it again nevertheless.
  bool allow_duplicate = false;
  /// An item that this one takes the place of: it stays, valid until this one's `valid_from` (or `now`), and names its successor. Put
  /// again by its own id, it is a new statement: current again, with no successor, beside the one it had.
  std::string supersedes;
};

enum class put_status : std::uint8_t {
  created,
  updated,
  unchanged, ///< The same item is stored already: nothing to write.
  duplicate, ///< The same content is stored under `put_outcome::id`, which now stands for both (see `collection::put`).
};

struct put_outcome {
  put_status status = put_status::created;
  std::string id;            ///< Where the content is: the item's id, a made one, or the duplicate's.
  std::uint64_t version = 0;
  std::vector<std::string> changed; ///< Ids whose rows must be written: this item, and one that it superseded.
};

/// Confined to its owner. Every call is bounded: one put touches one segment, never the collection.
class collection {
public:
  /// @pre `validate(space)` and `limits` are good.
  collection(vector::space space, collection_limits limits);

  /// Checks everything before it changes anything. An item without an id whose kind and text are stored, and true at `now`, is not
  /// stored again: the stored one is found wherever this one would be. It lives as long as both, is valid whenever one of them is, and
  /// carries the metadata and links of both. Where that cannot be (two values for a key, a gap between the two times, too much for one
  /// item, or one is trusted less and says something of its own), both are stored.
  /// @param vector empty only for a collection of the built-in embedder, which then makes it from the text.
  /// @returns errors naming the field:
  ///   - `invalid_argument`: a field of the item or the vector is wrong, or it has expired at `now` already.
  ///   - `conflict`: `expected_version` is not the item's.
  ///   - `not_found`: there is no item `supersedes`.
  ///   - `resource_exhausted`: the collection is full.
  result<put_outcome> put(item fresh, std::vector<float> vector, const put_options& how, wall_time now);

  /// @returns whether it was there and not expired; then its row must be deleted.
  bool remove(std::string_view id, wall_time now);

  /// Removes up to `count_max` expired items. @returns their ids: their rows must be deleted.
  std::vector<std::string> purge(wall_time now, std::uint32_t count_max);
  /// Not later than the next item expires (or expired); `never` when none will. May be early, when that item has gone: a `purge` then
  /// removes nothing and mends it.
  wall_time next_expiry() const;

  /// The item's durable form, as it is now. @pre it is stored
  std::string row(std::string_view id) const;
  /// Now, also what is not published. Null when not there; expired items are found.
  item_ptr find(std::string_view id) const;

  /// The highest version of an item that was removed: one that is new begins above it, so that no version of an id comes twice. Rows do
  /// not tell it, so whoever keeps them keeps it too.
  std::uint64_t versions_used() const noexcept { return versions_used_; }
  void versions_used(std::uint64_t at_least) noexcept { versions_used_ = std::max(versions_used_, at_least); }

  /// Tells how many rows `load` will bring; until `loaded`, views answer `partial`.
  void expect(std::uint64_t rows);
  /// Rows as `row` gave them, each id once. @returns the first damaged one's error; the others are in.
  result<void> load(const std::vector<std::string_view>& rows);
  void loaded();

  /// The collection as it is now: the same view again when nothing has changed. A few microseconds.
  view_ptr publish();
  /// Forgets what was done since that view was published. Views published since stay readable. @pre it is one of this collection's
  void rewind(const view_ptr& to);

  const vector::space& space() const noexcept { return state_.space_; }
  std::uint32_t size() const noexcept { return state_.live_; }
  std::size_t bytes() const noexcept { return state_.bytes(); }

private:
  using place = view::place;
  struct known_content {
    place stored;
    item merged; ///< Stands for both.
  };
  std::optional<known_content> find_duplicate(const item& i, std::span<const float> vector, wall_time now, std::string_view except) const;
  std::string free_id(const item& i, std::span<const float> vector) const;
  void append(item_ptr content, std::span<const float> vector);
  static void extend(view_entry& entry, const item& by);
  void bury(place p);
  /// Moves what is left of segments that are mostly dead to the tail.
  void tidy();
  void seal_tail();
  void join_small();
  void changed();
  void end_validity(place old, const std::string& successor, wall_time at);
  void replace(place old, item with);

  view state_; ///< What `publish` copies.
  std::shared_ptr<segment> tail_; ///< The last entry while it has room; otherwise null.
  view_ptr published_;            ///< Null: something changed since.
  collection_limits limits_;
  std::uint64_t versions_used_ = 0;
};

} // namespace hive::vector
