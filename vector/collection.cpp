#include "vector/collection.hpp"

#include "vector/embedding/hashing_embedder.hpp"
#include "vector/lexical/terms.hpp"
#include "vector/parallel.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace hive::vector {
namespace {

/// A growing segment's capacity follows the size of the collection, so that a small one stays small.
constexpr std::uint32_t tail_rows_min = 16;
constexpr std::uint32_t tail_rows_max = 256;

bool same_vector(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// Equal but for what the collection itself sets.
bool same_content(const item& a, const item& b) {
  item x = a;
  x.version = b.version;
  x.created = b.created;
  return x == b;
}

/// One item for two of the same kind and text; nothing when none can be found wherever both would be.
std::optional<item> merge(const item& stored, const item& fresh, const collection_limits& limits) {
  if (fresh.valid_from > stored.valid_to || stored.valid_from > fresh.valid_to) return std::nullopt;
  for (const auto& [key, v] : fresh.meta)
    if (const value* there = find(stored.meta, key); there && *there != v) return std::nullopt;
  const item& more = fresh.trusted > stored.trusted ? fresh : stored;
  const item& less = fresh.trusted > stored.trusted ? stored : fresh;
  item out = stored;
  out.valid_from = std::min(stored.valid_from, fresh.valid_from);
  out.valid_to = std::max(stored.valid_to, fresh.valid_to);
  out.expires_at = std::max(stored.expires_at, fresh.expires_at);
  out.importance = std::max(stored.importance, fresh.importance);
  out.trusted = more.trusted;
  if (!more.source.empty()) out.source = more.source;
  out.meta = more.meta;
  out.links = more.links;
  for (const auto& [key, v] : less.meta) set(out.meta, key, v);
  for (const auto& l : less.links)
    if (std::find(out.links.begin(), out.links.end(), l) == out.links.end()) out.links.push_back(l);
  // What the less trusted one says of itself must not be believed as much as the other.
  if (less.trusted < more.trusted && (out.meta != more.meta || out.links != more.links)) return std::nullopt;
  if (!validate(out, limits)) return std::nullopt;
  return out;
}

error conflict(std::string field, std::string message) { return {errc::conflict, "version_conflict", std::move(message), std::move(field), {}}; }

} // namespace

collection::collection(vector::space space, collection_limits limits) : limits_(limits) { state_.space_ = std::move(space); }

result<put_outcome> collection::put(item fresh, std::vector<float> raw, const put_options& how, wall_time now) {
  if (auto good = validate(fresh, limits_); !good) return good.error();
  if (fresh.expired(now)) return invalid("expires_at", "expires_at has passed already");
  if (raw.empty()) {
    if (fresh.text.empty() && !state_.space_.embedder.empty()) return invalid("text", "text is empty; the vector is made from it");
    if (state_.space_.embedder != hashing_embedder::name)
      return invalid("vector", "vector is missing; this collection does not make it from the text");
    auto made = hashing_embedder(state_.space_.dimension).document(fresh.text);
    if (!made) return made.error();
    raw = *std::move(made);
  }
  std::optional<place> old;
  if (!fresh.id.empty()) old = state_.find_place(fresh.id);
  // One that comes back as it was stored is not scaled once more: its last bits would change.
  const bool as_stored = old && same_vector(raw, state_.vector_at(*old));
  auto prepared = as_stored ? result<std::vector<float>>(std::move(raw)) : prepare(state_.space_, std::move(raw), "vector");
  if (!prepared) return prepared.error();
  const std::vector<float>& vector = *prepared;

  const bool taken = old && !state_.at(*old)->expired(now);
  if (how.expected_version && *how.expected_version != (taken ? state_.at(*old)->version : 0))
    return conflict("expected_version", "the item has version " + std::to_string(taken ? state_.at(*old)->version : 0) + ", not " +
                                          std::to_string(*how.expected_version) + "; read it again");
  std::optional<place> superseded;
  wall_time turning = now;
  if (!how.supersedes.empty()) {
    superseded = state_.find_place(how.supersedes);
    if (!superseded || state_.at(*superseded)->expired(now))
      return error{errc::not_found, "not_found", "there is no item \"" + how.supersedes + "\" to supersede", "supersedes", {}};
    if (how.supersedes == fresh.id) return invalid("supersedes", "an item cannot supersede itself");
    const item& before = *state_.at(*superseded);
    if (!before.superseded_by.empty())
      return conflict("supersedes", "the item is superseded already, by \"" + before.superseded_by + "\"");
    if (fresh.valid_from == always) fresh.valid_from = now;
    turning = fresh.valid_from;
    if (turning <= before.valid_from) return invalid("valid_from", "valid_from must be later than that of the superseded item");
    if (fresh.valid_from >= fresh.valid_to) return invalid("valid_to", "valid_to must be later than valid_from");
  }
  if (fresh.id.empty() && !how.allow_duplicate) {
    if (auto twin = find_duplicate(fresh, vector, now, how.supersedes)) {
      const item& stored = *state_.at(twin->stored);
      put_outcome out{put_status::duplicate, stored.id, stored.version, {}};
      if (twin->merged != stored) {
        ++out.version;
        out.changed.push_back(out.id);
        replace(twin->stored, std::move(twin->merged));
      }
      if (superseded) {
        out.changed.push_back(how.supersedes);
        end_validity(*state_.find_place(how.supersedes), out.id, turning);
      }
      tidy();
      return out;
    }
  }
  if (!taken && state_.live_ >= limits_.items && !old)
    return error{errc::resource_exhausted, "collection_full",
                 "the collection has " + std::to_string(state_.live_) + " items, as many as it may have; delete some or raise its limit", "items", {}};

  fresh.superseded_by.clear();
  fresh.version = (old ? state_.at(*old)->version : versions_used_) + 1;
  if (fresh.id.empty()) fresh.id = free_id(fresh, vector);
  put_outcome out{taken ? put_status::updated : put_status::created, fresh.id, fresh.version, {}};
  if (taken && same_content(fresh, *state_.at(*old)) && same_vector(vector, state_.vector_at(*old))) {
    out.status = put_status::unchanged;
    out.version = state_.at(*old)->version;
    if (!superseded) return out;
  } else {
    fresh.created = taken ? state_.at(*old)->created : fresh.created == wall_time{} ? now : fresh.created;
    if (old) bury(*old);
    out.changed.push_back(fresh.id);
    append(std::make_shared<const item>(std::move(fresh)), vector);
  }
  if (superseded) {
    out.changed.push_back(how.supersedes);
    end_validity(*state_.find_place(how.supersedes), out.id, turning); // it may have moved
  }
  tidy();
  return out;
}

std::optional<collection::known_content> collection::find_duplicate(const item& i, std::span<const float> vector, wall_time now, std::string_view except) const {
  const std::uint64_t hash = content_hash(i, vector);
  for (std::size_t e = 0; e < state_.entries_.size(); ++e) {
    const view_entry& entry = state_.entries_[e];
    std::optional<known_content> found;
    entry.rows->find_content(hash, entry.count, [&](std::uint32_t row) {
      if (entry.dead && entry.dead->test(row)) return false;
      const item& other = *entry.rows->items()[row];
      if (other.id == except || other.kind != i.kind || other.text != i.text || !other.superseded_by.empty()) return false;
      if (other.expired(now) || !other.valid(now)) return false;
      if (i.text.empty() && !same_vector(vector, entry.rows->vector(row))) return false;
      auto merged = merge(other, i, limits_);
      if (merged) found = known_content{{e, row}, std::move(*merged)};
      return found.has_value();
    });
    if (found) return found;
  }
  return std::nullopt;
}

std::string collection::free_id(const item& i, std::span<const float> vector) const {
  char name[24];
  std::snprintf(name, sizeof name, "m%016llx", static_cast<unsigned long long>(content_hash(i, vector)));
  std::string id = name;
  for (int n = 2; state_.find_place(id); ++n) id = std::string{name} + "-" + std::to_string(n);
  return id;
}

void collection::end_validity(place old, const std::string& successor, wall_time at) {
  item ended = *state_.at(old);
  ended.valid_to = std::min(ended.valid_to, at);
  ended.superseded_by = successor;
  replace(old, std::move(ended));
}

/// The same item, changed; its vector stays.
void collection::replace(place old, item with) {
  with.version = state_.at(old)->version + 1;
  const auto stored = state_.vector_at(old);
  const std::vector<float> vector(stored.begin(), stored.end());
  bury(old);
  append(std::make_shared<const item>(std::move(with)), vector);
}

bool collection::remove(std::string_view id, wall_time now) {
  const auto p = state_.find_place(id);
  if (!p || state_.at(*p)->expired(now)) return false;
  versions_used(state_.at(*p)->version);
  bury(*p);
  tidy();
  return true;
}

std::vector<std::string> collection::purge(wall_time now, std::uint32_t count_max) {
  std::vector<std::string> gone;
  for (std::size_t e = 0; e < state_.entries_.size() && gone.size() < count_max; ++e) {
    if (state_.entries_[e].earliest_expiry > now) continue;
    wall_time next = never;
    for (std::uint32_t row = 0; row < state_.entries_[e].count; ++row) {
      const view_entry& entry = state_.entries_[e];
      if (entry.dead && entry.dead->test(row)) continue;
      const wall_time expiry = entry.rows->expiry(row);
      if (expiry <= now && gone.size() < count_max) {
        versions_used(entry.rows->items()[row]->version);
        gone.push_back(entry.rows->items()[row]->id);
        bury({e, row});
      } else {
        next = std::min(next, expiry);
      }
    }
    state_.entries_[e].earliest_expiry = next;
  }
  if (!gone.empty()) tidy();
  return gone;
}

wall_time collection::next_expiry() const {
  wall_time next = never;
  for (const auto& e : state_.entries_) next = std::min(next, e.earliest_expiry);
  return next;
}

std::string collection::row(std::string_view id) const {
  const auto p = state_.find_place(id);
  assert(p);
  return p ? encode(*state_.at(*p), state_.vector_at(*p)) : std::string{};
}

item_ptr collection::find(std::string_view id) const {
  const auto p = state_.find_place(id);
  return p ? state_.at(*p) : nullptr;
}

void collection::changed() {
  ++state_.version_;
  published_.reset();
}

void collection::extend(view_entry& entry, const item& by) {
  ++entry.count;
  ++entry.live;
  entry.latest_from = std::max(entry.latest_from, by.valid_from);
  entry.earliest_end = std::min({entry.earliest_end, by.valid_to, by.expires_at});
  entry.earliest_expiry = std::min(entry.earliest_expiry, by.expires_at);
}

void collection::append(item_ptr content, std::span<const float> vector) {
  changed();
  if (!tail_) {
    tail_ = std::make_shared<segment>(state_.space_, std::clamp(state_.live_, tail_rows_min, tail_rows_max), true);
    view_entry entry;
    entry.rows = tail_;
    entry.words = tail_->words();
    state_.entries_.push_back(std::move(entry));
  }
  const item& by = *content;
  tail_->append(std::move(content), vector);
  extend(state_.entries_.back(), by);
  ++state_.live_;
  if (tail_->rows() == tail_->capacity()) seal_tail();
}

void collection::seal_tail() {
  if (!tail_) return;
  state_.entries_.back().words.reset();
  tail_->seal();
  tail_.reset();
  join_small();
}

/// A word is looked up in every segment, so few large ones are better: the last four small ones become one.
void collection::join_small() {
  constexpr std::size_t together = 4;
  static_assert(together * tail_rows_max <= segment::rows_max);
  auto& entries = state_.entries_;
  if (entries.size() < together) return;
  const auto first = entries.end() - static_cast<std::ptrdiff_t>(together);
  std::uint32_t live = 0;
  for (auto e = first; e != entries.end(); ++e) {
    if (e->count > tail_rows_max) return;
    live += e->live;
  }
  if (live == 0) return; // `tidy` has them
  changed();
  auto joined = std::make_shared<segment>(state_.space_, live, false);
  view_entry entry;
  entry.rows = joined;
  for (auto e = first; e != entries.end(); ++e)
    for (std::uint32_t row = 0; row < e->count; ++row) {
      if (e->dead && e->dead->test(row)) continue;
      const item_ptr& content = e->rows->items()[row];
      joined->append(content, e->rows->vector(row));
      extend(entry, *content);
    }
  entries.erase(first, entries.end());
  entries.push_back(std::move(entry));
}

void collection::bury(place p) {
  changed();
  view_entry& entry = state_.entries_[p.entry];
  // Published views may hold the old set.
  auto dead = entry.dead ? std::make_shared<row_set>(*entry.dead) : std::make_shared<row_set>(entry.rows->capacity());
  dead->set(p.row);
  entry.dead = std::move(dead);
  --entry.live;
  --state_.live_;
}

void collection::tidy() {
  auto& entries = state_.entries_;
  for (std::size_t e = 0; e < entries.size();) {
    const bool growing = tail_ && e + 1 == entries.size();
    if (growing || entries[e].live * 2 >= entries[e].count) {
      ++e;
      continue;
    }
    const view_entry sparse = std::move(entries[e]);
    entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(e));
    state_.live_ -= sparse.live;
    changed();
    for (std::uint32_t row = 0; row < sparse.count; ++row)
      if (!sparse.dead || !sparse.dead->test(row)) append(sparse.rows->items()[row], sparse.rows->vector(row));
  }
}

void collection::expect(std::uint64_t rows) { state_.expected_ = rows; }

result<void> collection::load(const std::vector<std::string_view>& rows) {
  seal_tail();
  // A segment of each run of rows; runs know nothing of each other.
  struct run {
    view_entry entry;
    std::optional<error> first_error;
  };
  std::vector<run> runs((rows.size() + segment::rows_max - 1) / segment::rows_max);
  in_parallel(runs.size(), [&](std::size_t r) {
    const std::size_t begin = r * segment::rows_max;
    const std::size_t end = std::min<std::size_t>(rows.size(), begin + segment::rows_max);
    auto& [entry, first_error] = runs[r];
    const auto to = std::make_shared<segment>(state_.space_, static_cast<std::uint32_t>(end - begin), false);
    entry.rows = to;
    for (std::size_t i = begin; i < end; ++i) {
      auto content = std::make_shared<item>();
      const auto raw = decode_item(rows[i], *content);
      bool good = raw && raw->size() == to->next_vector().size_bytes();
      if (good) {
        std::memcpy(to->next_vector().data(), raw->data(), raw->size());
        good = all_finite(to->next_vector());
      }
      if (!good) {
        if (!first_error)
          first_error = raw ? error{errc::internal, "damaged_item", "the row of item \"" + content->id + "\" has a damaged vector", {}, {}} : raw.error();
        continue;
      }
      const item& by = *content;
      to->append_written(std::move(content));
      extend(entry, by);
    }
  });
  std::optional<error> first_error;
  for (auto& [entry, why] : runs) {
    if (why && !first_error) first_error = std::move(why);
    if (entry.count == 0) continue;
    state_.live_ += entry.live;
    state_.entries_.push_back(std::move(entry));
  }
  changed();
  if (first_error) return *first_error;
  return {};
}

void collection::loaded() {
  state_.expected_ = 0;
  changed();
}

view_ptr collection::publish() {
  if (!published_) published_ = std::make_shared<const view>(state_);
  return published_;
}

void collection::rewind(const view_ptr& to) {
  const std::uint64_t version = state_.version_;
  state_ = *to;
  state_.version_ = version;
  // Rows beyond that view's count may be read by views published since: only when there are none may the tail go on.
  const bool same_tail = tail_ && !state_.entries_.empty() && state_.entries_.back().rows == tail_ && state_.entries_.back().count == tail_->rows();
  if (!same_tail) tail_.reset();
  changed();
}

} // namespace hive::vector
