#include "cluster/membership.hpp"

#include <algorithm>
#include <cassert>
#include <ctime>

namespace hive::cluster {
namespace {

constexpr milliseconds retry_min{50};        // after a failed call to the store; doubled up to `renew_every`
constexpr milliseconds lapse_slack{10};      // after a lease must have run out, before the tables are read for it
constexpr milliseconds forget_every{60'000};
constexpr std::uint64_t one_move = 1000;     // of `move_tokens_`

template <class... Cases> struct cases : Cases... {
  using Cases::operator()...;
};
template <class... Cases> cases(Cases...) -> cases<Cases...>;

std::string shown(wall_time t) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(t).time_since_epoch().count();
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

error clock_error(const clock_reading& clock, milliseconds allowed) {
  const bool ahead = clock.ahead.count() > 0;
  return {errc::unavailable, "clock_differs",
          "this node's clock says " + shown(clock.store + clock.ahead) + ", the store's " + shown(clock.store) + ": " +
            std::to_string((ahead ? clock.ahead : -clock.ahead).count()) + "ms " + (ahead ? "ahead" : "behind") + ", and cluster.clock_difference allows " +
            std::to_string(allowed.count()) + "ms. Set the clock that is wrong (NTP does); the node goes on by itself",
          {}, milliseconds{1'000}};
}

} // namespace

membership::membership(node_facts self, node_generation former, config::cluster_settings settings, shard_map& map, lease_guard& lease,
                       std::uint64_t seed)
  : facts_(std::move(self)), settings_(std::move(settings)), map_(map), lease_(lease), chance_(seed), former_(former), shards_(map.size()) {}

template <class Body> commands membership::step(boot_time now, Body&& body) {
  now_ = std::max(now_, now);
  if (!gone_) {
    check_lease(); // before anything that this step could answer
    body();
    if (!gone_) call_what_is_due();
  }
  return std::exchange(out_, {});
}

template <class Call> bool membership::under_way() const noexcept {
  return std::any_of(calls_.begin(), calls_.end(), [](const auto& c) { return std::holds_alternative<Call>(c.second.what); });
}

void membership::call(store_call what) {
  const auto number = next_number_++;
  calls_.emplace(number, call_state{what, now_});
  emit(call_store{number, std::move(what)});
}

void membership::call_what_is_due() {
  if (self_.value() == 0) {
    if (now_ >= next_join_ && !under_way<join_call>()) call(join_call{facts_, settings_.lease_ttl, settings_.clock_difference, former_});
    return;
  }
  if (now_ >= next_renew_ && !under_way<renew_call>()) call(renew_call{self_, settings_.lease_ttl});
  if (now_ >= next_read_ && !under_way<read_call>()) {
    read_again_ = false;
    call(read_call{});
  }
}

void membership::read_soon() {
  if (under_way<read_call>()) read_again_ = true; // that one may have looked before the change
  else next_read_ = now_;
}

// -- what comes in

commands membership::start(boot_time now) {
  return step(now, [&] { next_join_ = now_; });
}

commands membership::tick(boot_time now) {
  return step(now, [&] {
    if (leaving_since_ && now_ - *leaving_since_ >= settings_.drain_timeout) return finish_leaving("the time for hand-offs has passed");
    if (self_.value() == 0) return;
    answer_questions();
    for (auto s = suspicions_.begin(); s != suspicions_.end();) s = now_ >= s->second.until ? suspicions_.erase(s) : std::next(s);
    if (tables_) cast_votes();
    start_hand_offs();
    hand_over_ready();
  });
}

commands membership::answered(std::uint64_t number, const store_answer& answer, boot_time now) {
  return step(now, [&] {
    const auto found = calls_.find(number);
    if (found == calls_.end()) return; // of an earlier generation
    const call_state asked = std::move(found->second);
    calls_.erase(found);
    if (std::holds_alternative<store_failed>(answer)) return on_failure(asked);
    retry_after_ = retry_min;
    std::visit(cases{
                 [&](const joined& a) { begin_generation(a, asked.sent); },
                 [&](const clock_differs& a) { on_clock_differs(a.clock); },
                 [&](const name_taken& a) { on_name_taken(a.retry_after); },
                 [&](const renewed& a) { on_renewed(a, asked.sent); },
                 [&](const generation_ended& a) { end_generation(a.why); },
                 [&](const tables_read& a) { on_tables(a.rows, asked.sent); },
                 [&](const owners_changed& a) {
                   if (const auto* c = std::get_if<change_owners_call>(&asked.what)) on_owners(*c, a.rows);
                 },
                 [&](const row_changed& a) { on_row_changed(asked.what, a.done); },
                 [&](const store_refused& a) {
                   if (const auto* c = std::get_if<change_owners_call>(&asked.what)) on_owners(*c, {});
                   next_read_ = std::max(next_read_, now_ + std::min<milliseconds>(a.retry_after, settings_.reconcile_every));
                 },
                 [&](const store_failed&) {},
               },
               answer);
  });
}

commands membership::linked(node_generation who, link_state state, boot_time now) {
  return step(now, [&] {
    if (self_.value() == 0) return;
    auto& p = peers_[who];
    p.link = state;
    if (state == link_state::up) {
      p.unreachable_since.reset();
    } else {
      p.votes.clear();
      if (!p.unreachable_since) p.unreachable_since = now_;
    }
    note_reached();
    answer_questions();
    if (state == link_state::refused) suspect(who);
  });
}

commands membership::heard(node_generation from, const peer_message& message, boot_time now) {
  return step(now, [&] {
    const auto* sender = tables_ ? tables_->find(from) : nullptr;
    if (self_.value() == 0 || sender == nullptr || sender->ended()) return read_soon_if_member();
    std::visit(cases{
                 [&](const agreement_question& q) {
                   questions_.push_back({from, q.number, q.about, now_ + settings_.agreement_window * 3 / 4});
                   answer_questions();
                 },
                 [&](const agreement_answer& a) {
                   for (auto& [about, s] : suspicions_) {
                     if (s.question != a.number) continue;
                     if (!a.agreed) {
                       suspicions_.erase(about);
                       return;
                     }
                     s.missing.erase(from);
                     return judge(about);
                   }
                 },
                 [&](const look_again&) { read_soon(); },
                 [&](const shards_moved& m) {
                   for (const auto& row : m.rows) learn_row(row);
                 },
                 [&](const votes& v) {
                   auto& before = peers_[from].votes;
                   if (before != v.unreachable) read_soon(); // and then vote
                   before = v.unreachable;
                 },
               },
               message);
  });
}

commands membership::hinted(boot_time now) {
  return step(now, [&] { read_soon_if_member(); });
}

commands membership::quiet(shard_id shard, boot_time now) {
  return step(now, [&] {
    auto& s = shards_[shard.value()];
    if (s.phase != shard_phase::releasing) return;
    s.quiet = true;
    hand_over_ready();
  });
}

commands membership::store_forgot(const std::string& lost, boot_time now) {
  return step(now, [&] {
    if (self_.value() == 0) return;
    if (!lost.empty()) emit(report{"store_lost_commits", lost, true});
    end_generation(lost.empty() ? "the store is on another timeline" : "the store lost commits: " + lost);
  });
}

commands membership::drain(boot_time now) {
  return step(now, [&] {
    drain_asked_ = true;
    if (state_ == node_state::active) call(change_state_call{self_, node_state::active, node_state::draining});
  });
}

commands membership::undrain(boot_time now) {
  return step(now, [&] {
    drain_asked_ = false;
    if (state_ == node_state::draining && !leaving_since_) call(change_state_call{self_, node_state::draining, node_state::active});
  });
}

commands membership::leave(boot_time now) {
  return step(now, [&] {
    if (leaving_since_ || self_.value() == 0) return finish_leaving("asked");
    leaving_since_ = now_;
    if (state_ == node_state::active) call(change_state_call{self_, node_state::active, node_state::draining});
    finish_drain();
  });
}

std::size_t membership::owned() const noexcept {
  return static_cast<std::size_t>(
    std::count_if(shards_.begin(), shards_.end(), [](const auto& s) { return s.phase != shard_phase::elsewhere; }));
}

// -- generation and lease

void membership::begin_generation(const joined& j, boot_time sent) {
  self_ = former_ = j.generation;
  timeline_ = j.timeline;
  state_ = node_state::joining;
  name_taken_since_.reset();
  clock_told_ = false;
  told_reason_.clear();
  lease_until_ = sent + settings_.lease_ttl - settings_.lease_margin;
  held_ = true;
  may_go_on_ = true;
  renewed_at_ = now_;
  next_renew_ = sent + settings_.renew_every;
  next_read_ = now_;
  next_votes_ = now_ + settings_.reconcile_every;
  next_forget_ = now_ + forget_every;
  emit(report{"node_joined", facts_.name + " is generation " + std::to_string(self_.value())});
}

void membership::end_generation(const std::string& why) {
  lease_.let_go();
  map_.clear();
  emit(drop_everything{why});
  std::fill(shards_.begin(), shards_.end(), shard_state{});
  calls_.clear();
  voted_.clear();
  peers_.clear();
  told_peers_.clear();
  suspicions_.clear();
  questions_.clear();
  lapsed_since_.clear();
  planned_.clear();
  hand_offs_ = 0;
  claiming_ = 0;
  tables_.reset();
  reached_since_.reset();
  self_ = {};
  state_ = node_state::joining;
  held_ = true;
  may_go_on_ = false;
  read_again_ = false;
  next_join_ = now_;
  if (leaving_since_) finish_leaving(why);
}

void membership::on_name_taken(milliseconds retry_after) {
  if (!name_taken_since_) name_taken_since_ = now_;
  // What is left of a crash ends within one lease; after two, somebody renews it.
  if (now_ - *name_taken_since_ > settings_.lease_ttl * 2) {
    emit(leave_process{"another node runs under the name " + facts_.name, true});
    gone_ = true;
    return;
  }
  next_join_ = now_ + std::clamp<milliseconds>(retry_after, retry_min, settings_.renew_every);
}

/// No generation, or one that ends here: what this node stamps with a wrong time the others would trim at once, and would
/// keep what they should not. Its shards go to nodes whose clocks are right.
void membership::on_clock_differs(const clock_reading& clock) {
  auto why = clock_error(clock, settings_.clock_difference);
  if (!std::exchange(clock_told_, true)) emit(report{"clock_differs", why.message, true});
  if (self_.value() != 0) return end_generation(why.message);
  emit(hold{std::move(why)});
  next_join_ = now_ + settings_.renew_every;
}

/// Whoever lost nothing begins anew, too: he may hold what another node sent him, and the store has forgotten that it did.
bool membership::same_timeline(std::uint64_t now) {
  if (now == timeline_) return true;
  const auto what = "the store is on timeline " + std::to_string(now) + ", and was on " + std::to_string(timeline_);
  emit(report{"store_timeline_changed", what});
  end_generation(what);
  return false;
}

void membership::on_renewed(const renewed& r, boot_time sent) {
  if (!same_timeline(r.timeline)) return;
  if (std::chrono::abs(r.clock.ahead) > settings_.clock_difference) return on_clock_differs(r.clock);
  const auto until = sent + settings_.lease_ttl - settings_.lease_margin;
  if (now_ - renewed_at_ > settings_.outage_after) calm_until_ = now_ + settings_.lease_ttl;
  next_renew_ = sent < clock_moved_at_ ? now_ : std::max(now_, sent + settings_.renew_every);
  if (now_ >= until) {
    next_renew_ = now_; // too late to be of use
    return;
  }
  renewed_at_ = now_;
  lease_until_ = until;
  if (held_) {
    // Somebody may have taken shards meanwhile: nothing is answered before the tables were read once more.
    may_go_on_ = true;
    read_soon();
  } else {
    lease_.hold_until(lease_until_);
    if (!tables_ || r.version != tables_->version) read_soon();
  }
}

void membership::check_lease() {
  if (self_.value() == 0 || now_ < lease_until_) return;
  may_go_on_ = false;
  if (held_) return;
  held_ = true;
  lease_.let_go();
  emit(hold{});
  emit(report{"lease_ran_out", "no renewal was answered in time"});
}

void membership::on_failure(const call_state& asked) {
  const auto again = now_ + retry_after_ + jitter(retry_after_);
  retry_after_ = std::min<milliseconds>(retry_after_ * 2, settings_.renew_every / 2);
  std::visit(cases{
               [&](const join_call&) { next_join_ = again; },
               [&](const renew_call&) { next_renew_ = again; },
               [&](const read_call&) { next_read_ = again; },
               [&](const change_owners_call& c) {
                 for (const auto& item : c.shards) {
                   auto& s = shards_[item.shard.value()];
                   if (s.phase == shard_phase::handing && item.from == self_) s.doubtful_since = now_;
                 }
                 claiming_ = 0;
                 read_soon();
               },
               [&](const change_state_call& c) {
                 if (c.to == node_state::left) return finish_leaving("handed off, and the store is away");
                 read_soon();
               },
               [&](const auto&) { read_soon(); },
             },
             asked.what);
}

void membership::on_row_changed(const store_call& asked, bool done) {
  if (const auto* c = std::get_if<declare_dead_call>(&asked)) {
    if (done) emit(report{"node_declared_dead", std::to_string(c->target.value()) + ": " + c->reason});
    if (done) tell_all(look_again{});
    read_soon();
  } else if (const auto* s = std::get_if<change_state_call>(&asked)) {
    if (s->to == node_state::left) return finish_leaving("asked");
    if (done) emit(report{"node_state", std::to_string(s->target.value()) + " is " + to_string(s->to)});
    if (done) tell_all(look_again{});
    read_soon();
  }
}

// -- what the tables say

void membership::on_tables(const std::shared_ptr<const tables>& rows, boot_time sent) {
  if (!same_timeline(rows->timeline)) return;
  const auto* own = rows->find(self_);
  if (own == nullptr || own->ended()) return end_generation(own == nullptr ? generation_ended{}.why : "this generation has ended: " + own->reason);
  if (own->reason != told_reason_) emit(report{"node_name_wanted", own->reason + ": if it is not about to replace this one, a data directory was copied, or two settings name one node", true});
  told_reason_ = own->reason;
  if (rows->shards.size() != shards_.size()) {
    emit(leave_process{"the store has " + std::to_string(rows->shards.size()) + " shards, this node " + std::to_string(shards_.size()), true});
    gone_ = true;
    return;
  }
  tables_ = rows;
  state_ = own->state;
  follow_peers();
  for (const auto& row : rows->shards) learn_row(row);
  settle_doubts(sent);
  if (held_ && may_go_on_ && sent >= renewed_at_ && now_ < lease_until_) {
    held_ = false;
    may_go_on_ = false;
    lease_.hold_until(lease_until_);
    emit(go_on{});
  }
  for (auto& [who, s] : suspicions_)
    if (const auto* row = rows->find(who); row != nullptr && sent >= s.since) s.renewal = row->renewal;
  std::vector<node_generation> judged;
  for (const auto& [who, s] : suspicions_) judged.push_back(who);
  for (const auto who : judged) judge(who);

  note_reached();
  next_read_ = now_ + settings_.reconcile_every;
  if ((drain_asked_ || leaving_since_) && state_ == node_state::active && !under_way<change_state_call>())
    call(change_state_call{self_, node_state::active, node_state::draining});
  if (own->live() && !held_) {
    become_active();
    vote();
    declare_lapsed();
    claim_orphans();
    plan_moves();
    forget_old_rows();
    for (const auto& [who, p] : peers_)
      if (p.link == link_state::refused) suspect(who);
  }
  finish_drain();
  if (gone_) return;
  for (const auto& n : rows->nodes) // a lease that nobody renews is seen when it ends
    if (n.generation != self_ && n.live()) next_read_ = std::min(next_read_, now_ + n.lease_left + lapse_slack);
  if (read_again_) next_read_ = now_;
}

void membership::learn_row(const shard_owner& row) {
  if (row.shard.value() >= shards_.size()) return;
  auto& s = shards_[row.shard.value()];
  if (row.fence < s.fence || (row.fence == s.fence && row.owner == s.owner)) return;
  map_.learn(row.shard, row.owner, row.fence);
  const bool ours = s.phase != shard_phase::elsewhere;
  const bool moved_as_planned = s.phase == shard_phase::handing && row.owner == s.to;
  if (s.phase == shard_phase::releasing || s.phase == shard_phase::handing) --hand_offs_;
  if (ours && moved_as_planned) {
    emit(forward_shard{row.shard, row.owner, row.fence});
  } else if (ours) {
    // Also when it is ours again: another node may have had it in between.
    emit(stop_serving{row.shard});
  }
  s = shard_state{};
  s.owner = row.owner;
  s.fence = row.fence;
  s.first = row.first;
  if (row.owner != self_) return;
  s.phase = shard_phase::serving;
  map_.serve(row.shard, true, false);
  emit(start_serving{row.shard, row.fence, row.first});
}

/// Hand-overs whose answer is missing: a read that was sent later says what became of them.
void membership::settle_doubts(boot_time sent) {
  for (auto& s : shards_) {
    if (s.phase != shard_phase::handing || !s.doubtful_since || sent < *s.doubtful_since) continue;
    s.doubtful_since.reset();
    s.phase = shard_phase::releasing; // the row is ours as before: once more
  }
}

void membership::follow_peers() {
  std::vector<node_row> now;
  for (const auto& n : tables_->nodes) {
    // One of another timeline has yet to notice: what it would send, the store may not know.
    if (!n.ended() && n.generation != self_ && n.facts.name != facts_.name && timeline_of(n.generation) == timeline_of(self_)) now.push_back(n);
  }
  for (auto p = peers_.begin(); p != peers_.end();) {
    const auto* row = tables_->find(p->first);
    p = row == nullptr || row->ended() ? peers_.erase(p) : std::next(p);
  }
  for (const auto& n : now)
    if (auto [p, added] = peers_.try_emplace(n.generation); added) p->second.unreachable_since = now_;
  std::vector<node_generation> names;
  for (const auto& n : now) names.push_back(n.generation);
  if (names == told_peers_) return;
  told_peers_ = std::move(names);
  emit(set_peers{std::move(now)});
}

std::vector<node_generation> membership::voting_peers() const {
  std::vector<node_generation> peers;
  for (const auto& n : tables_->nodes)
    if (n.state == node_state::active && n.live() && n.generation != self_) peers.push_back(n.generation);
  return peers;
}

bool membership::is_up(node_generation who) const noexcept {
  const auto p = peers_.find(who);
  return p != peers_.end() && p->second.link == link_state::up;
}

std::vector<node_generation> membership::unreachable_peers() const {
  std::vector<node_generation> all;
  for (const auto who : voting_peers())
    if (const auto p = peers_.find(who);
        p != peers_.end() && p->second.unreachable_since && now_ - *p->second.unreachable_since >= settings_.unreachable_after)
      all.push_back(who);
  return all;
}

/// Whether most active peers are linked both ways, and since when.
void membership::note_reached() {
  if (!tables_) return;
  std::size_t others = 0;
  std::size_t up = 0;
  for (const auto who : voting_peers()) {
    ++others;
    up += is_up(who) ? 1 : 0;
  }
  const bool reached = others == 0 || up * 2 > others;
  if (!reached) reached_since_.reset();
  else if (!reached_since_) reached_since_ = now_;
}

std::string membership::why_joining() const {
  if (self_.value() == 0) return "it has not joined the hive yet: its name is taken by a life whose lease has not ended, or the store does not answer";
  std::string away;
  if (tables_)
    for (const auto who : voting_peers())
      if (!is_up(who)) away += (away.empty() ? "" : ", ") + tables_->find(who)->facts.name;
  if (away.empty()) return "it has joined the hive and takes its place in a moment";
  return "it has joined the hive, but its links with most of the active nodes are not up both ways; not with " + away;
}

void membership::become_active() {
  if (!reached_since_ || drain_asked_ || leaving_since_ || under_way<change_state_call>()) return;
  if (state_ == node_state::joining) {
    call(change_state_call{self_, node_state::joining, node_state::active});
  } else if (state_ == node_state::draining && owned() == 0 && now_ - *reached_since_ >= settings_.rejoin_after) {
    call(change_state_call{self_, node_state::draining, node_state::active}); // voted out, and well again
  }
}

/// A change is told at once: the agents of the one that is voted out wait for it.
void membership::cast_votes() {
  auto unreachable = unreachable_peers();
  const bool changed = unreachable != voted_;
  if (!changed && (unreachable.empty() || now_ < next_votes_)) return;
  next_votes_ = now_ + settings_.reconcile_every;
  if (changed) read_soon();
  voted_ = unreachable;
  tell_all(votes{std::move(unreachable)});
}

/// A node that renews its lease, but that most others cannot reach, is drained. Only the larger side of a partition votes,
/// of two halves the one with the oldest node: so the sides do not drain each other.
void membership::vote() {
  if (state_ != node_state::active || under_way<change_state_call>()) return;
  const auto accused = unreachable_peers();
  if (accused.empty()) return;
  const auto others = voting_peers();
  std::size_t side = 1;
  node_generation oldest_here = self_;
  node_generation oldest = self_;
  for (const auto who : others) {
    oldest = std::min(oldest, who);
    if (!is_up(who)) continue;
    ++side;
    oldest_here = std::min(oldest_here, who);
  }
  const std::size_t all = others.size() + 1;
  if (side * 2 < all || (side * 2 == all && oldest_here != oldest)) return;

  std::pair<std::size_t, node_generation> worst{};
  for (const auto target : accused) {
    std::size_t votes_against = 1;
    for (const auto who : others) {
      if (who == target || !is_up(who)) continue;
      const auto& theirs = peers_.at(who).votes;
      votes_against += std::find(theirs.begin(), theirs.end(), target) != theirs.end() ? 1 : 0;
    }
    if (votes_against * 2 > others.size()) worst = std::max(worst, {votes_against, target});
  }
  if (worst.first == 0) return;
  emit(report{"node_voted_out", std::to_string(worst.second.value()) + " is unreachable for " + std::to_string(worst.first) + " of " +
                                  std::to_string(others.size()) + " others"});
  call(change_state_call{worst.second, node_state::active, node_state::draining});
}

/// Leases that ran out. After an outage nobody is replaced before everybody had one lease's time to come back.
void membership::declare_lapsed() {
  const auto others = voting_peers();
  // One that is not active leaves it to those that are, while any of them has a lease.
  const bool alone = std::none_of(others.begin(), others.end(), [&](const auto who) { return tables_->find(who)->lease_left.count() > 0; });
  if ((state_ != node_state::active && !alone) || tables_->grace_left.count() > 0 || now_ < calm_until_) return lapsed_since_.clear();
  const bool first = others.empty() || self_ < others.front();
  for (const auto& n : tables_->nodes) {
    if (n.ended() || n.lease_left.count() > 0 || n.generation == self_) continue;
    const auto [since, added] = lapsed_since_.try_emplace(n.generation, now_);
    // One does it; the others only when he does not.
    if (!first && now_ - since->second < settings_.reconcile_every) continue;
    if (declaring(n.generation)) continue;
    call(declare_dead_call{n.generation, n.renewal, false, "its lease has ended"});
  }
  for (auto l = lapsed_since_.begin(); l != lapsed_since_.end();) {
    const auto* row = tables_->find(l->first);
    l = row == nullptr || row->ended() || row->lease_left.count() > 0 ? lapsed_since_.erase(l) : std::next(l);
  }
}

bool membership::declaring(node_generation who) const noexcept {
  return std::any_of(calls_.begin(), calls_.end(), [&](const auto& c) {
    const auto* d = std::get_if<declare_dead_call>(&c.second.what);
    return d != nullptr && d->target == who;
  });
}

void membership::claim_orphans() {
  std::vector<shard_id> orphans;
  for (const auto& row : tables_->shards) {
    auto& s = shards_[row.shard.value()];
    // What we know may be newer than the tables.
    const bool orphan = !has_live_owner(*tables_, row) && s.fence == row.fence && s.owner == row.owner &&
                        (tables_->grace_left.count() <= 0 || row.owner.value() == 0);
    if (!orphan) {
      s.orphan_since.reset();
      continue;
    }
    if (!s.orphan_since) s.orphan_since = now_;
    orphans.push_back(row.shard);
  }
  if (orphans.empty() || state_ != node_state::active || claiming_ != 0) return;
  placement places(*tables_, {settings_.pool, settings_.balance_tolerance});
  change_owners_call claim{self_, {}};
  const auto add = [&](shard_id shard) {
    const auto& row = tables_->shards[shard.value()];
    claim.shards.push_back({shard, row.owner, row.fence, self_});
  };
  std::set<shard_id> mine;
  for (const auto& p : places.place(orphans))
    if (p.to == self_) mine.insert(p.shard);
  for (const auto shard : orphans) {
    // The chosen one is alive and does not come: the next one in the order of preference, then the one after.
    const auto rounds = static_cast<std::size_t>((now_ - *shards_[shard.value()].orphan_since) / settings_.orphan_patience);
    if (rounds == 0) continue;
    const auto order = places.preference(shard);
    if (!order.empty() && order[rounds % order.size()]->generation == self_) mine.insert(shard);
  }
  if (mine.empty()) return;
  for (const auto shard : mine) add(shard);
  claiming_ = next_number_;
  call(std::move(claim));
}

void membership::plan_moves() {
  planned_.clear();
  if (state_ != node_state::active && state_ != node_state::draining) return;
  if (state_ == node_state::active) {
    // While versions are mixed, a node that comes back empty is filled by the next one that drains, not by everybody.
    for (const auto& n : tables_->nodes)
      if (n.live() && n.facts.version != facts_.version) return;
  }
  planned_ = placement(*tables_, {settings_.pool, settings_.balance_tolerance}).moves(self_, heat_);
  const auto all = planned_.size();
  std::erase_if(planned_, [&](const auto& p) { return shards_[p.shard.value()].phase != shard_phase::serving; });
  planned_.resize(std::min(planned_.size(), all - std::min(all, hand_offs_)));
  start_hand_offs();
}

void membership::forget_old_rows() {
  const auto others = voting_peers();
  if (state_ != node_state::active || now_ < next_forget_ || (!others.empty() && others.front() < self_)) return;
  next_forget_ = now_ + forget_every;
  call(forget_call{settings_.forget_after});
}

// -- early death

void membership::suspect(node_generation who) {
  if (held_ || state_ != node_state::active || !tables_ || suspicions_.contains(who) || declaring(who)) return;
  const auto* row = tables_->find(who);
  if (row == nullptr || !row->live()) return;
  suspicion s;
  s.question = next_question_++;
  s.since = now_;
  s.until = now_ + settings_.agreement_window;
  for (const auto other : voting_peers())
    if (other != who) s.missing.insert(other);
  for (const auto other : s.missing) emit(send_peer{other, agreement_question{s.question, who}});
  suspicions_.emplace(who, std::move(s));
  read_soon(); // the renewal number that the decision names must be younger than the evidence
}

void membership::judge(node_generation who) {
  const auto found = suspicions_.find(who);
  if (found == suspicions_.end() || !found->second.missing.empty() || !found->second.renewal) return;
  const auto renewal = *found->second.renewal;
  suspicions_.erase(found);
  if (held_ || !agrees(who)) return;
  call(declare_dead_call{who, renewal, true, "its connection is closed and refused for all its peers"});
}

bool membership::agrees(node_generation about) const noexcept {
  const auto p = peers_.find(about);
  return p != peers_.end() && p->second.link == link_state::refused;
}

void membership::answer_questions() {
  std::erase_if(questions_, [&](const open_question& q) {
    const bool agreed = agrees(q.about);
    const bool known = peers_.contains(q.about);
    if (!agreed && known && now_ < q.until) return false; // it may show in a moment
    emit(send_peer{q.asker, agreement_answer{q.number, agreed}});
    return true;
  });
}

// -- hand-off

void membership::start_hand_offs() {
  const auto passed = std::chrono::duration_cast<milliseconds>(now_ - tokens_at_);
  tokens_at_ += passed;
  const std::uint64_t most = std::uint64_t{settings_.moves_per_second} * one_move;
  move_tokens_ = passed >= milliseconds{1000} ? most
                                              : std::min(most, move_tokens_ + static_cast<std::uint64_t>(passed.count()) * settings_.moves_per_second);
  if (held_) return;
  // Moves are bounded for the sake of those who use the shards; nobody can where most peers do not reach the node.
  const bool bounded = state_ != node_state::draining || reached_since_;
  std::size_t taken = 0;
  for (const auto& p : planned_) {
    if (bounded && (hand_offs_ >= settings_.hand_offs || move_tokens_ < one_move)) break;
    ++taken;
    auto& s = shards_[p.shard.value()];
    if (s.phase != shard_phase::serving) continue;
    move_tokens_ -= std::min(move_tokens_, one_move);
    ++hand_offs_;
    s.phase = shard_phase::releasing;
    s.to = p.to;
    s.quiet = false;
    s.until = now_ + settings_.hand_off_grace;
    map_.serve(p.shard, true, true);
    emit(release_shard{p.shard, p.to});
  }
  planned_.erase(planned_.begin(), planned_.begin() + static_cast<std::ptrdiff_t>(taken));
}

void membership::hand_over_ready() {
  if (held_ || hand_offs_ == 0) return;
  change_owners_call give{self_, {}};
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto& s = shards_[i];
    if (s.phase != shard_phase::releasing || (!s.quiet && now_ < s.until)) continue;
    s.phase = shard_phase::handing;
    s.doubtful_since.reset();
    give.shards.push_back({shard_id{static_cast<std::uint16_t>(i)}, self_, s.fence, s.to});
  }
  if (!give.shards.empty()) call(std::move(give));
}

void membership::on_owners(const change_owners_call& asked, const std::vector<shard_owner>& rows) {
  for (const auto& row : rows) learn_row(row);
  bool refused = false;
  for (const auto& item : asked.shards) {
    if (std::any_of(rows.begin(), rows.end(), [&](const auto& r) { return r.shard == item.shard; })) continue;
    refused = true;
    auto& s = shards_[item.shard.value()];
    if (item.from != self_ || s.phase != shard_phase::handing || s.fence < item.fence) continue;
    s.phase = shard_phase::serving; // its receiver is gone
    --hand_offs_;
    map_.serve(item.shard, true, false);
    emit(resume_shard{item.shard});
  }
  if (asked.shards.empty() || asked.shards.front().from != self_) claiming_ = 0;
  if (refused) read_soon();
  if (!rows.empty()) tell_all(shards_moved{rows});
}

void membership::finish_drain() {
  if (!leaving_since_ || gone_ || self_.value() == 0) return;
  if (owned() == 0 && !under_way<change_state_call>()) {
    if (state_ == node_state::active) return; // its change to draining is yet to be read
    call(change_state_call{self_, state_, node_state::left});
  } else if (tables_ && owned() != 0 && voting_peers().empty()) {
    finish_leaving("nobody is there to take the shards");
  }
}

void membership::finish_leaving(const std::string& why) {
  if (gone_) return;
  gone_ = true;
  lease_.let_go();
  emit(leave_process{why, false});
}

void membership::tell_all(const peer_message& message) {
  for (const auto& [who, p] : peers_)
    if (p.link == link_state::up) emit(send_peer{who, message});
}

void membership::read_soon_if_member() {
  if (self_.value() != 0) read_soon();
}

} // namespace hive::cluster
