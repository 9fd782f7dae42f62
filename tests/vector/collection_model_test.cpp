// R7: a million random operations against a model: no deleted, expired or missing item in any answer, exact scores, and a
// rebuild from rows that answers every search equally. A failure prints its seed.
#include "tests/vector/kit.hpp"
#include "vector/embedding/hashing_embedder.hpp"
#include "vector/lexical/tokenizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace hive::vector {
namespace {

using test::at;

constexpr std::uint32_t dimension = 8;

struct modelled {
  item content;
  std::vector<float> vector; ///< As stored.
};

class world {
public:
  explicit world(std::uint64_t seed)
    : chance_(seed), space_(test::in_space(static_cast<metric>(seed % 3), dimension)), real_(space_, {}),
      ids_(20 + chance_.below(400)) {}

  void run(std::uint64_t operations) {
    for (std::uint64_t n = 0; n < operations && !testing::Test::HasFatalFailure(); ++n) {
      switch (const auto draw = chance_.below(1000)) {
      default:
        if (draw < 450) put();
        else if (draw < 600) remove();
        else if (draw < 900) get();
        else if (draw < 950) now_ += static_cast<std::int64_t>(chance_.below(30));
        else if (draw < 960) purge();
        else if (draw < 964) rewind();
        else if (draw < 966) keep();
        else search();
        break;
      case 999: rebuild(); break;
      }
    }
    rebuild();
  }

private:
  /// Sometimes one that the collection made.
  std::string any_id() {
    const auto id = "i" + std::to_string(chance_.below(ids_));
    if (!chance_.one_in(8)) return id;
    const auto made = model_.lower_bound(chance_.one_in(2) ? "m8" : "m");
    return made == model_.end() ? id : made->first;
  }
  std::string any_text() {
    std::string text;
    for (std::uint64_t n = 1 + chance_.below(4); n > 0; --n) text += "w" + std::to_string(chance_.below(9)) + " ";
    return text;
  }
  std::vector<float> any_vector() {
    std::vector<float> v(dimension);
    // Few values: many equal scores, which ids must order.
    for (float& x : v) x = static_cast<float>(static_cast<int>(chance_.below(5)) - 2);
    v[0] = 1;
    return v;
  }
  bool alive(const modelled& m) const { return !m.content.expired(at(now_)); }

  void put() {
    item i = test::text_item(chance_.one_in(4) ? "" : any_id(), any_text());
    i.kind = chance_.one_in(2) ? "fact" : "";
    if (!chance_.one_in(3)) set(i.meta, "n", static_cast<std::int64_t>(chance_.below(10)));
    i.trusted = chance_.one_in(4) ? trust::untrusted : trust::user;
    if (chance_.one_in(4)) i.expires_at = at(now_ + 1 + static_cast<std::int64_t>(chance_.below(200)));
    if (chance_.one_in(8)) i.valid_from = at(now_ + static_cast<std::int64_t>(chance_.below(50)));
    put_options how;
    how.allow_duplicate = chance_.one_in(3);
    if (chance_.one_in(10)) how.supersedes = any_id();
    if (chance_.one_in(10)) how.expected_version = chance_.below(3);
    const auto vector = any_vector();
    const auto done = real_.put(i, vector, how, at(now_));

    // The same by the rules, over the map.
    const auto old = i.id.empty() ? model_.end() : model_.find(i.id);
    const bool taken = old != model_.end() && alive(old->second);
    if (how.expected_version && *how.expected_version != (taken ? old->second.content.version : 0)) {
      ASSERT_EQ(done.error().code, errc::conflict);
      return;
    }
    auto before = model_.end();
    std::int64_t turning = now_;
    if (!how.supersedes.empty()) {
      before = model_.find(how.supersedes);
      if (before == model_.end() || !alive(before->second)) {
        ASSERT_EQ(done.error().code, errc::not_found);
        return;
      }
      if (how.supersedes == i.id) {
        ASSERT_EQ(done.error().code, errc::invalid_argument);
        return;
      }
      if (!before->second.content.superseded_by.empty()) {
        ASSERT_EQ(done.error().code, errc::conflict);
        return;
      }
      if (i.valid_from == always) i.valid_from = at(now_);
      turning = i.valid_from.time_since_epoch().count();
      if (i.valid_from <= before->second.content.valid_from) {
        ASSERT_EQ(done.error().code, errc::invalid_argument);
        return;
      }
    }
    ASSERT_TRUE(done) << to_string(done.error());
    if (i.id.empty()) {
      const bool twin = !how.allow_duplicate && std::any_of(model_.begin(), model_.end(), [&](const auto& entry) {
        return entry.second.content.id != how.supersedes && alive(entry.second) && stands_for_both(entry.second.content, i);
      });
      ASSERT_EQ(done->status == put_status::duplicate, twin);
      if (twin) {
        modelled& m = model_.at(done->id);
        ASSERT_TRUE(stands_for_both(m.content, i));
        ASSERT_TRUE(alive(m));
        item both = m.content;
        both.valid_from = std::min(both.valid_from, i.valid_from);
        both.expires_at = std::max(both.expires_at, i.expires_at);
        both.trusted = std::max(both.trusted, i.trusted);
        if (const value* n = find(i.meta, "n")) set(both.meta, "n", *n);
        ASSERT_EQ(done->changed.empty(), both == m.content && before == model_.end());
        if (both != m.content) ++both.version;
        ASSERT_EQ(done->version, both.version);
        m.content = both;
        if (before != model_.end()) end_validity(before->second, done->id, turning);
        return;
      }
      ASSERT_FALSE(model_.contains(done->id)) << "a made id is a new one";
      i.id = done->id;
    }
    const auto stored = *prepare(space_, vector, "vector");
    i.version = (old == model_.end() ? versions_used_ : old->second.content.version) + 1;
    i.created = taken ? old->second.content.created : at(now_);
    bool same = false;
    if (taken) {
      item x = i;
      x.version = old->second.content.version;
      same = x == old->second.content && stored == old->second.vector;
    }
    ASSERT_EQ(done->status, same ? put_status::unchanged : taken ? put_status::updated : put_status::created);
    if (!same) model_[i.id] = {i, stored};
    if (before != model_.end()) end_validity(before->second, i.id, turning);
  }

  /// By the promise: it can be found wherever `fresh` would be, once it is changed for that.
  bool stands_for_both(const item& o, const item& fresh) const {
    if (o.kind != fresh.kind || o.text != fresh.text || !o.valid(at(now_)) || !o.superseded_by.empty() || o.valid_to < fresh.valid_from) return false;
    const value* a = find(o.meta, "n");
    const value* b = find(fresh.meta, "n");
    if (a && b && *a != *b) return false;
    if (o.trusted == fresh.trusted) return true;
    return o.trusted > fresh.trusted ? a || !b : b || !a;
  }

  void end_validity(modelled& old, const std::string& successor, std::int64_t turning) {
    old.content.valid_to = std::min(old.content.valid_to, at(turning));
    old.content.superseded_by = successor;
    ++old.content.version;
  }

  void remove() {
    const auto id = any_id();
    const auto found = model_.find(id);
    const bool there = found != model_.end() && alive(found->second);
    ASSERT_EQ(real_.remove(id, at(now_)), there);
    if (there) versions_used_ = std::max(versions_used_, found->second.content.version);
    if (there) model_.erase(found);
  }

  void get() {
    const auto id = any_id();
    const auto found = model_.find(id);
    const auto got = real_.publish()->get(id, at(now_));
    ASSERT_EQ(got.has_value(), found != model_.end() && alive(found->second)) << id;
    if (!got) return;
    ASSERT_TRUE(*got->content == found->second.content) << id;
    ASSERT_TRUE(std::equal(got->vector.begin(), got->vector.end(), found->second.vector.begin(), found->second.vector.end()));
  }

  void purge() {
    std::set<std::string> due;
    for (const auto& [id, m] : model_)
      if (!alive(m)) due.insert(id);
    ASSERT_EQ(due.empty(), real_.next_expiry() > at(now_) || due.empty());
    for (;;) {
      const auto gone = real_.purge(at(now_), 5);
      for (const auto& id : gone) {
        ASSERT_TRUE(due.erase(id)) << id;
        versions_used_ = std::max(versions_used_, model_.at(id).content.version);
        model_.erase(id);
      }
      if (gone.size() < 5) break;
    }
    ASSERT_TRUE(due.empty());
    ASSERT_GT(real_.next_expiry(), at(now_));
  }

  void keep() {
    kept_ = real_.publish();
    kept_model_ = model_;
  }
  void rewind() {
    if (!kept_) return;
    real_.rewind(kept_);
    model_ = kept_model_;
  }

  search_request any_search() {
    search_request r;
    r.mode = static_cast<search_mode>(chance_.below(3));
    r.text = any_text();
    r.vector = any_vector();
    r.k = static_cast<std::uint32_t>(1 + chance_.below(30));
    r.now = at(now_);
    r.highlights = false;
    if (chance_.one_in(3)) r.as_of = at(now_ - static_cast<std::int64_t>(chance_.below(100)));
    if (chance_.one_in(2)) r.where = filter::between("n", value{static_cast<std::int64_t>(chance_.below(10))}, std::nullopt);
    if (chance_.one_in(4)) r.where = filter::all_of({std::move(r.where), filter::equal("@kind", std::string{"fact"})});
    return r;
  }

  void search() {
    const auto r = any_search();
    const auto answer = real_.publish()->search(r, {});
    ASSERT_TRUE(answer) << to_string(answer.error());
    const auto query = *prepare(space_, r.vector, "vector");
    std::vector<std::pair<double, std::string>> dense; // minus the score, id
    std::set<std::string> lexical;
    const auto terms = query_terms(r.text);
    for (const auto& [id, m] : model_) {
      if (!alive(m) || !m.content.valid(r.as_of.value_or(r.now)) || !matches(r.where, m.content)) continue;
      std::vector<float> a(32), b(32);
      std::copy(query.begin(), query.end(), a.begin());
      std::copy(m.vector.begin(), m.vector.end(), b.begin());
      const auto& k = *kernels::available().back();
      dense.emplace_back(space_.measure == metric::l2 ? k.l2(a.data(), b.data(), 32) : -k.dot(a.data(), b.data(), 32), id);
      for (const auto& w : query_terms(m.content.text))
        if (std::any_of(terms.begin(), terms.end(), [&](const query_term& t) { return t.term == w.term; })) lexical.insert(id);
    }
    std::sort(dense.begin(), dense.end());
    ASSERT_EQ(answer->candidates, dense.size());
    const std::size_t matching = r.mode == search_mode::lexical ? lexical.size() : dense.size();
    ASSERT_EQ(answer->hits.size(), std::min<std::size_t>(r.k, matching));
    if (r.mode == search_mode::hybrid) { // exact: as the ranks of a search in each way say
      auto longer = r;
      longer.k = 1000;
      const auto all = real_.publish()->search(longer, {});
      ASSERT_TRUE(all);
      for (std::size_t i = 0; i < answer->hits.size(); ++i) {
        ASSERT_EQ(answer->hits[i].content->id, all->hits[i].content->id) << "the beginning does not depend on the length";
        ASSERT_EQ(answer->hits[i].score, all->hits[i].score);
      }
    }
    std::set<std::string> different;
    for (std::size_t i = 0; i < answer->hits.size(); ++i) {
      const hit& h = answer->hits[i];
      const auto& id = h.content->id;
      ASSERT_TRUE(different.insert(id).second);
      ASSERT_TRUE(model_.contains(id));
      ASSERT_TRUE(*h.content == model_.at(id).content);
      if (i > 0) {
        const hit& p = answer->hits[i - 1];
        ASSERT_TRUE(p.score > h.score || (p.score == h.score && p.content->id < id));
      }
      if (r.mode == search_mode::dense) {
        ASSERT_EQ(id, dense[i].second);
        ASSERT_EQ(h.score, -dense[i].first);
      }
      if (r.mode == search_mode::lexical) {
        ASSERT_TRUE(lexical.contains(id));
      }
      if (h.dense.rank > 0) {
        ASSERT_EQ(id, dense[h.dense.rank - 1].second);
      }
    }
  }

  /// The rows alone, in any order, make a collection that answers as this one does.
  void rebuild() {
    std::vector<std::string> rows;
    for (const auto& [id, m] : model_) rows.push_back(real_.row(id));
    ASSERT_EQ(rows.size(), real_.size());
    for (std::size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[chance_.below(i)]);
    collection again(space_, {});
    const auto half = static_cast<std::ptrdiff_t>(rows.size() / 2);
    ASSERT_TRUE(again.load({rows.begin(), rows.begin() + half}));
    ASSERT_TRUE(again.load({rows.begin() + half, rows.end()}));
    for (int n = 0; n < 5; ++n) {
      const auto r = any_search();
      const auto a = real_.publish()->search(r, {});
      const auto b = again.publish()->search(r, {});
      ASSERT_TRUE(a && b);
      ASSERT_EQ(a->hits.size(), b->hits.size());
      for (std::size_t i = 0; i < a->hits.size(); ++i) {
        ASSERT_TRUE(*a->hits[i].content == *b->hits[i].content);
        ASSERT_EQ(a->hits[i].score, b->hits[i].score);
        ASSERT_EQ(a->hits[i].dense.score, b->hits[i].dense.score);
        ASSERT_EQ(a->hits[i].lexical.score, b->hits[i].lexical.score);
      }
    }
    // Sometimes life goes on in the rebuilt one.
    if (chance_.one_in(3)) {
      real_ = std::move(again);
      real_.versions_used(versions_used_);
      kept_.reset();
    }
  }

  random_source chance_;
  space space_;
  collection real_;
  std::uint64_t ids_;
  std::map<std::string, modelled> model_, kept_model_;
  view_ptr kept_;
  std::uint64_t versions_used_ = 0;
  std::int64_t now_ = 1000;
};

TEST(CollectionModelTest, AMillionRandomOperations) {
  const std::uint64_t seeds = test::sanitized ? 8 : 100;
  const std::uint64_t operations = test::sanitized ? 2'500 : 10'000;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    world(seed).run(operations);
    if (HasFatalFailure()) return;
  }
}

} // namespace
} // namespace hive::vector
