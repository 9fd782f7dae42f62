#include "vector/view.hpp"

#include "config/base/payload.hpp"
#include "vector/columns.hpp"
#include "vector/embedding/hashing_embedder.hpp"
#include "vector/fusion.hpp"
#include "vector/lexical/terms.hpp"
#include "vector/mmr.hpp"
#include "vector/scan.hpp"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <cmath>

namespace hive::vector {
namespace {

/// Which rows a search may see. `where` null: all that are alive.
std::vector<selection> select(std::span<const view_entry> entries, const filter* where, wall_time now, wall_time as_of) {
  std::optional<compiled_filter> passes;
  if (where && !where->trivial()) passes.emplace(*where);
  std::vector<selection> out;
  out.reserve(entries.size());
  for (const view_entry& e : entries) {
    row_set alive(e.count, true);
    if (e.dead) alive.subtract(*e.dead);
    if (e.latest_from > as_of || e.earliest_end <= std::max(now, as_of)) e.rows->keep_current(alive, now, as_of);
    const std::uint32_t alive_count = alive.count();
    row_set allowed = alive;
    std::uint32_t allowed_count = alive_count;
    if (passes && alive_count > 0) {
      allowed.intersect(passes->rows(*e.rows, e.count, e.words == nullptr));
      allowed_count = allowed.count();
    }
    out.push_back({std::move(alive), std::move(allowed), alive_count, allowed_count});
  }
  return out;
}

std::uint32_t frequency(std::span<const view_entry> entries, std::span<const selection> selected, std::uint64_t term) {
  std::uint32_t n = 0;
  std::vector<posting> growing;
  for (std::size_t e = 0; e < entries.size(); ++e) {
    std::span<const posting> postings;
    if (entries[e].words) {
      growing.clear();
      entries[e].words->fill(entries[e].rows->items(), entries[e].count);
      entries[e].words->find(term, entries[e].count, growing);
      postings = growing;
    } else {
      postings = entries[e].rows->terms(entries[e].count).find(term);
    }
    if (selected[e].alive_count == entries[e].count) {
      n += static_cast<std::uint32_t>(postings.size());
      continue;
    }
    for (const posting& p : postings) n += selected[e].alive.test(p.row);
  }
  return n;
}

result<std::vector<float>> embed(const space& s, std::span<const view_entry> entries, std::span<const selection> selected, std::string_view text) {
  if (s.embedder != hashing_embedder::name)
    return error{errc::failed_precondition, "embedder_elsewhere",
                 s.embedder.empty() ? "this collection has no embedder: give a vector" : "this collection's vectors are made by \"" + s.embedder + "\"",
                 "vector", {}};
  build_terms(entries, selected);
  term_statistics statistics;
  for (const selection& one : selected) statistics.items += one.alive_count;
  statistics.frequency = [&](std::uint64_t term) { return frequency(entries, selected, term); };
  return hashing_embedder(s.dimension).query(text, statistics);
}

std::vector<fused_row> only(const std::vector<found_row>& rows, bool dense) {
  std::vector<fused_row> out;
  out.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto rank = static_cast<std::uint32_t>(i + 1);
    out.push_back(dense ? fused_row{rows[i], rows[i].score, 0, rank, 0} : fused_row{rows[i], 0, rows[i].score, 0, rank});
  }
  return out;
}

std::vector<fused_row> reordered(std::vector<fused_row> pool, std::span<const view_entry> entries, double diversity, std::size_t k) {
  std::vector<mmr_candidate> candidates;
  for (const auto& r : pool) candidates.push_back({r.where.score, entries[r.where.entry].rows->vector(r.where.row)});
  mmr order(candidates, diversity);
  std::vector<fused_row> out;
  while (out.size() < k) {
    const auto i = order.next();
    if (!i) break;
    order.take();
    out.push_back(pool[*i]);
  }
  return out;
}

/// How many candidates may be reordered for the sake of diversity. Error: not even as many as are asked for.
result<std::size_t> pool_of(std::size_t wanted, std::size_t k, std::uint32_t dimension, const search_limits& limits) {
  const std::size_t most = limits.diversity_work / (k * dimension);
  if (most < k)
    return invalid("k", "k is " + std::to_string(k) + "; with diversity, a collection of dimension " + std::to_string(dimension) + " allows " +
                          std::to_string(static_cast<std::uint64_t>(std::sqrt(static_cast<double>(limits.diversity_work) / dimension))));
  return std::min(wanted, most);
}

/// Answers are made of items, and items may be large.
class answer_meter {
public:
  explicit answer_meter(const search_limits& limits) : limits_(limits) {}
  result<void> add(const item& i) {
    bytes_ += heap_bytes(i);
    ++items_;
    if (bytes_ <= limits_.answer_bytes) return {};
    return invalid("k", "the first " + std::to_string(items_) + " items of the answer have more than " + std::to_string(limits_.answer_bytes) +
                          " bytes, which is all that context.answer_bytes allows; ask for fewer, or pack them");
  }

private:
  const search_limits& limits_;
  std::uint64_t bytes_ = 0;
  std::size_t items_ = 0;
};

bool within(double v, double low, double high) { return v >= low && v <= high; } // false for NaN

} // namespace

result<void> check(const search_request& r, const search_limits& limits) {
  if (r.k < 1 || r.k > limits.k) return invalid("k", "k is " + std::to_string(r.k) + "; allowed: 1.." + std::to_string(limits.k));
  if (r.text.size() > limits.query_bytes)
    return invalid("text", "text has " + std::to_string(r.text.size()) + " bytes; a search may have " + std::to_string(limits.query_bytes));
  if (r.mode != search_mode::dense && r.text.empty()) return invalid("text", "text is empty; " + std::string{to_string(r.mode)} + " search needs one");
  if (r.mode == search_mode::dense && r.text.empty() && r.vector.empty()) return invalid("vector", "dense search needs a vector or a text");
  if (r.min_score && !std::isfinite(*r.min_score)) return invalid("min_score", "min_score is not a finite number");
  if (r.diversity && !within(*r.diversity, 0, 1)) return invalid("diversity", "diversity must be within 0..1");
  for (const auto& [weight, field] : {std::pair{r.dense_weight.value_or(dense_weight_default), "dense_weight"}, std::pair{r.lexical_weight, "lexical_weight"}})
    if (!within(weight, 0, 1e6)) return invalid(field, std::string{field} + " must be within 0..1,000,000");
  if (r.mode == search_mode::hybrid && r.dense_weight == 0 && r.lexical_weight == 0)
    return invalid("dense_weight", "dense_weight and lexical_weight are both 0");
  if (r.hops > limits.hops) return invalid("hops", "hops is " + std::to_string(r.hops) + "; allowed: 0.." + std::to_string(limits.hops));
  return validate(r.where, limits, "filter");
}

std::size_t view::bytes() const noexcept {
  std::size_t bytes = sizeof(view) + entries_.capacity() * sizeof(view_entry);
  for (const auto& e : entries_)
    bytes += e.rows->bytes() + (e.words ? e.words->bytes() : 0) + (e.dead ? sizeof(row_set) + e.dead->words().size_bytes() : 0);
  return bytes;
}

std::optional<view::place> view::find_place(std::string_view id) const {
  const std::uint64_t hash = hash_of(id);
  for (std::size_t e = entries_.size(); e-- > 0;)
    if (const auto row = entries_[e].rows->find_id(id, hash, entries_[e].count, entries_[e].dead.get())) return place{e, *row};
  return std::nullopt;
}

result<search_answer> view::search(const search_request& request, const search_limits& limits) const {
  if (auto good = check(request, limits); !good) return good.error();
  const wall_time as_of = request.as_of.value_or(request.now);
  std::vector<query_term> terms;
  if (request.mode != search_mode::dense) {
    terms = query_terms(request.text);
    if (terms.size() > limits.query_terms)
      return invalid("text", "text has " + std::to_string(terms.size()) + " different words; allowed: " + std::to_string(limits.query_terms));
  }
  const auto selected = select(entries_, &request.where, request.now, as_of);

  search_answer answer;
  answer.version = version_;
  for (const auto& s : selected) answer.candidates += s.allowed_count;
  std::size_t pool_size = request.k;
  if (request.diversity) {
    const auto pool = pool_of(std::max<std::size_t>(std::size_t{request.k} * 4, 50), request.k, space_.dimension, limits);
    if (!pool) return pool.error();
    pool_size = *pool;
  }
  std::vector<found_row> dense, lexical;
  if (request.mode != search_mode::lexical) {
    auto raw = request.vector.empty() ? embed(space_, entries_, selected, request.text) : result<std::vector<float>>{request.vector};
    if (!raw) return raw.error();
    auto query = prepare(space_, *std::move(raw), "vector");
    if (!query) return query.error();
    const std::size_t depth = request.mode == search_mode::hybrid ? std::max<std::size_t>(pool_size, fusion_depth) : pool_size;
    dense = scan_dense(entries_, selected, space_, *query, depth);
  }
  if (request.mode != search_mode::dense)
    lexical = scan_lexical(entries_, selected, terms, request.mode == search_mode::hybrid ? std::size_t{fusion_depth} : pool_size);

  auto ranked = request.mode == search_mode::hybrid ? fuse(dense, request.dense_weight.value_or(dense_weight_default), lexical, request.lexical_weight, entries_)
                                                    : only(request.mode == search_mode::dense ? dense : lexical, request.mode == search_mode::dense);
  if (request.min_score) std::erase_if(ranked, [&](const fused_row& r) { return r.where.score < *request.min_score; });
  if (ranked.size() > pool_size) ranked.resize(pool_size);
  if (request.diversity) ranked = reordered(std::move(ranked), entries_, *request.diversity, request.k);

  answer_meter meter(limits);
  for (const auto& r : ranked) {
    hit h;
    h.content = entries_[r.where.entry].rows->items()[r.where.row];
    if (auto room = meter.add(*h.content); !room) return room.error();
    h.score = r.where.score;
    h.dense = {r.dense_score, r.dense_rank};
    h.lexical = {r.lexical_score, r.lexical_rank};
    if (request.highlights && !request.text.empty()) h.highlights = highlight(h.content->text, request.text);
    answer.hits.push_back(std::move(h));
  }

  if (request.hops > 0) {
    absl::flat_hash_set<std::string_view> seen;
    std::vector<item_ptr> frontier;
    for (const auto& h : answer.hits) seen.insert(h.content->id), frontier.push_back(h.content);
    for (std::uint32_t hop = 1; hop <= request.hops && !frontier.empty(); ++hop) {
      std::vector<item_ptr> next;
      for (const auto& from : frontier)
        for (const auto& l : from->links) {
          if (answer.related.size() >= limits.related || seen.contains(l.to)) continue;
          const auto there = find_place(l.to);
          if (!there || !selected[there->entry].allowed.test(there->row)) continue;
          const item_ptr& found = at(*there);
          if (auto room = meter.add(*found); !room) return room.error();
          seen.insert(found->id);
          answer.related.push_back({found, hop, from->id, l.relation});
          next.push_back(found);
        }
      frontier = std::move(next);
    }
  }
  if (expected_ > 0) {
    answer.quality = completeness::partial;
    answer.reason = std::to_string(live_) + " of " + std::to_string(expected_) + " items are loaded";
  }
  return answer;
}

std::optional<stored_item> view::get(std::string_view id, wall_time now) const {
  const auto p = find_place(id);
  if (!p || at(*p)->expired(now)) return std::nullopt;
  return stored_item{at(*p), vector_at(*p)};
}

std::vector<item_ptr> view::list(std::string_view after, std::uint32_t count_max, std::uint64_t bytes_max, const filter& where, wall_time now) const {
  std::vector<item_ptr> out;
  for (const auto& e : entries_)
    for (std::uint32_t row = 0; row < e.count; ++row) {
      const item_ptr& i = e.rows->items()[row];
      if (e.dead && e.dead->test(row)) continue;
      if (i->id > after && !i->expired(now) && matches(where, *i)) out.push_back(i);
    }
  const std::size_t n = std::min<std::size_t>(count_max, out.size());
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n), out.end(),
                    [](const item_ptr& a, const item_ptr& b) { return a->id < b->id; });
  out.resize(n);
  std::uint64_t bytes = 0;
  const auto beyond = std::find_if(out.begin(), out.end(), [&](const item_ptr& i) { return (bytes += heap_bytes(*i)) > bytes_max; });
  if (beyond != out.end()) out.erase(std::max(beyond, out.begin() + 1), out.end());
  return out;
}

result<std::vector<float>> view::embed_query(std::string_view text, wall_time now) const {
  return embed(space_, entries_, select(entries_, nullptr, now, now), text);
}

void view::warm() const {
  for (const auto& e : entries_) {
    if (e.words) {
      e.words->fill(e.rows->items(), e.count);
      continue;
    }
    e.rows->terms(e.count);
    e.rows->columns(e.count);
  }
}

} // namespace hive::vector
