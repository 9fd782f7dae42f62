#include "cluster/membership_thread.hpp"

#include "cluster/peer_codec.hpp"
#include "config/base/log.hpp"
#include "config/base/overloaded.hpp"

namespace hive::cluster {

using namespace std::chrono_literals;

namespace {

constexpr auto tick_every = 25ms;

node_state from_store(persistence::node_state s) noexcept {
  switch (s) {
  case persistence::node_state::joining: return node_state::joining;
  case persistence::node_state::active: return node_state::active;
  case persistence::node_state::draining: return node_state::draining;
  case persistence::node_state::left: return node_state::left;
  case persistence::node_state::dead: return node_state::dead;
  }
  return node_state::dead;
}

persistence::node_state to_store(node_state s) noexcept {
  switch (s) {
  case node_state::joining: return persistence::node_state::joining;
  case node_state::active: return persistence::node_state::active;
  case node_state::draining: return persistence::node_state::draining;
  case node_state::left: return persistence::node_state::left;
  case node_state::dead: return persistence::node_state::dead;
  }
  return persistence::node_state::dead;
}

std::shared_ptr<const tables> from_store(const persistence::ownership_view& view) {
  auto t = std::make_shared<tables>();
  t->version = view.version;
  t->timeline = view.timeline;
  t->grace_left = view.grace_left;
  for (const auto& n : view.nodes) {
    node_row row;
    row.generation = n.generation;
    row.facts = {n.what.name, n.what.link, n.what.http, n.what.pool, n.what.zone, n.what.version, n.what.capacity};
    row.state = from_store(n.state);
    row.renewal = n.renewal;
    row.lease_left = n.lease_left;
    row.reason = n.reason;
    t->nodes.push_back(std::move(row));
  }
  for (const auto& s : view.shards) t->shards.push_back({s.shard, s.owner, s.fence, {}});
  return t;
}

milliseconds retry_of(const error& e) { return e.retry_after.count() > 0 ? e.retry_after : milliseconds{100}; }

/// One call, by cluster/README.md's table. @pre `store` is there
store_answer make_call(persistence::ownership_store& store, const store_call& what, const clock_source& clock) {
  const auto asked = clock.wall_now();
  const auto failed = [](const error& why) { return store_answer{store_failed{why}}; };
  return std::visit(
    overloaded{
      [&](const join_call& c) -> store_answer {
        const auto there = store.clock();
        if (!there) return failed(there.error());
        const auto both = compare_clocks(asked, *there, clock.wall_now());
        if (std::chrono::abs(both.ahead) > c.clock_difference) return clock_differs{both};
        const auto& f = c.facts;
        auto r = store.join({f.name, f.links, f.http, f.pool, f.zone, f.version, f.capacity}, c.lease_ttl, c.former);
        if (r) return joined{r->generation, r->timeline};
        if (r.error().code == errc::already_exists) return name_taken{retry_of(r.error())};
        return failed(r.error());
      },
      [&](const renew_call& c) -> store_answer {
        auto r = store.renew(c.self, c.lease_ttl);
        if (r) return renewed{r->renewal, r->version, compare_clocks(asked, r->now, clock.wall_now()), r->timeline};
        if (r.error().code == errc::fenced) return generation_ended{r.error().message};
        return failed(r.error());
      },
      [&](const read_call&) -> store_answer {
        auto r = store.read();
        if (!r) return failed(r.error());
        return tables_read{from_store(*r)};
      },
      [&](const change_owners_call& c) -> store_answer {
        std::vector<persistence::owner_change> changes;
        for (const auto& s : c.shards) changes.push_back({s.shard, s.from, s.fence, s.to});
        auto r = store.change_owners(c.by, changes);
        if (r) {
          owners_changed done;
          for (const auto& s : *r) done.rows.push_back({s.now.shard, s.now.owner, s.now.fence, s.first});
          return done;
        }
        if (r.error().code == errc::fenced || r.error().reason == "grace") return store_refused{retry_of(r.error())};
        return failed(r.error());
      },
      [&](const declare_dead_call& c) -> store_answer {
        auto r = store.declare_dead(c.target, c.renewal, c.agreed, c.reason);
        if (r) return row_changed{true};
        const auto code = r.error().code;
        if (code == errc::conflict || code == errc::failed_precondition || code == errc::not_found) return row_changed{false};
        return failed(r.error());
      },
      [&](const change_state_call& c) -> store_answer {
        auto r = store.change_state(c.target, to_store(c.from), to_store(c.to));
        if (r) return row_changed{true};
        const auto code = r.error().code;
        if (code == errc::conflict || code == errc::failed_precondition || code == errc::fenced) return row_changed{false};
        return failed(r.error());
      },
      [&](const forget_call& c) -> store_answer {
        auto r = store.forget(c.age);
        if (!r) return failed(r.error());
        return row_changed{true};
      },
    },
    what);
}

} // namespace

/// One connection to the store, and the thread that waits for its answers.
struct membership_thread::store_lane {
  explicit store_lane(membership_thread& o) : owner(o), thread([this] { run(); }) {}
  ~store_lane() {
    {
      std::lock_guard lock(guard);
      stopping = true;
    }
    wake.notify_one();
    thread.join();
  }

  /// Null: the store is not reached, and why.
  using work = std::function<void(persistence::ownership_store* store, const error& why)>;

  void post(work w) {
    {
      std::lock_guard lock(guard);
      queue.push_back(std::move(w));
    }
    wake.notify_one();
  }

  void post(call_store c) {
    post([this, c = std::move(c)](persistence::ownership_store* reached, const error& why) {
      store_answer answer = reached ? make_call(*reached, c.what, owner.parts_.clock) : store_answer{store_failed{why}};
      owner.post([this, number = c.number, answer = std::move(answer)] {
        if (!owner.over_) owner.obey(owner.core_.answered(number, answer, owner.now()));
      });
    });
  }

  void run() {
    for (;;) {
      work w;
      {
        std::unique_lock lock(guard);
        wake.wait(lock, [this] { return stopping || !queue.empty(); });
        if (stopping) return;
        w = std::move(queue.front());
        queue.pop_front();
      }
      error why;
      if (!store) {
        auto opened = owner.parts_.open_store();
        if (opened) store = std::move(*opened);
        else why = opened.error();
      }
      w(store.get(), why);
    }
  }

  membership_thread& owner;
  std::unique_ptr<persistence::ownership_store> store; // this thread's
  std::mutex guard;
  std::condition_variable wake;
  std::deque<work> queue;
  bool stopping = false;
  std::thread thread;
};

membership_thread::membership_thread(membership_parts parts)
  : parts_(std::move(parts)), core_(parts_.facts, parts_.former, parts_.settings, parts_.map, parts_.lease, parts_.seed),
    owners_(parts_.map.size()) {}

membership_thread::~membership_thread() { stop(); }

void membership_thread::start() {
  renewals_ = std::make_unique<store_lane>(*this);
  changes_ = std::make_unique<store_lane>(*this);
  thread_ = std::thread([this] { run(); });
}

void membership_thread::stop() {
  {
    std::lock_guard lock(guard_);
    if (stopping_) return;
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (const auto& w : std::exchange(undrains_, {})) w.done(error{errc::unavailable, "stopping", "the node is stopping"});
  links_published_ = nullptr;
  if (links_) links_->stop();
  renewals_.reset();
  changes_.reset();
  parts_.lease.let_go();
}

void membership_thread::leave() {
  post([this] {
    if (!over_) obey(core_.leave(now()));
  });
}

void membership_thread::store_forgot(std::string lost) {
  post([this, lost = std::move(lost)] {
    if (!over_) obey(core_.store_forgot(lost, now()));
  });
}

void membership_thread::post(std::function<void()> job) {
  {
    std::lock_guard lock(guard_);
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void membership_thread::run() {
  obey(core_.start(now()));
  const auto wall_ahead = [this] { return std::chrono::nanoseconds(parts_.clock.wall_now().time_since_epoch()) - now().time_since_epoch(); };
  auto set = wall_ahead();
  auto next = std::chrono::steady_clock::now() + tick_every;
  for (;;) {
    std::deque<std::function<void()>> due;
    {
      std::unique_lock lock(guard_);
      wake_.wait_until(lock, next, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      due.swap(jobs_);
    }
    for (auto& job : due) job();
    if (!undrains_.empty()) answer_undrains();
    state_seen_.store(core_.state(), std::memory_order_relaxed);
    handing_off_seen_.store(core_.handing_off(), std::memory_order_relaxed);
    if (std::chrono::steady_clock::now() < next) continue;
    next = std::chrono::steady_clock::now() + tick_every;
    if (const auto by = wall_ahead() - set; std::chrono::abs(by) > parts_.settings.clock_difference) {
      set += by;
      core_.clock_moved(now());
    }
    if (!over_) obey(core_.tick(now()));
    if (!over_) parts_.body.each_tick(core_.state() == node_state::joining ? core_.why_joining() : std::string());
  }
}

void membership_thread::obey(commands list) {
  if (core_.self() != known_self_ && core_.self().value() != 0) begin_life();
  for (auto& c : list) {
    if (over_) return;
    carry_out(c);
  }
  note_owners();
}

/// Joined: from here on there is a generation to speak and to commit in the name of.
void membership_thread::begin_life() {
  known_self_ = core_.self();
  if (auto begun = parts_.body.generation_begins(known_self_); !begun) {
    over_ = true;
    return parts_.body.over(begun.error().message, false, true);
  }
  links_ = std::make_unique<links::node_links>(links::node_link_parts{
    parts_.links, parts_.clock, *this, {parts_.hive, parts_.cell, parts_.facts.name, known_self_, parts_.store}, parts_.seed});
  if (auto started = links_->start(); !started) {
    over_ = true;
    return parts_.body.over(started.error().message + (started.error().field.empty() ? "" : " [" + started.error().field + "]"), parts_.first_life, true);
  }
  links_published_ = links_.get();
}

void membership_thread::carry_out(command& what) {
  std::visit(overloaded{
               [&](call_store& c) {
                 const bool own = std::holds_alternative<renew_call>(c.what) || std::holds_alternative<join_call>(c.what);
                 (own ? *renewals_ : *changes_).post(std::move(c));
               },
               [&](send_peer& s) {
                 if (!links_ || !core_.known()) return;
                 if (const auto* row = core_.known()->find(s.to))
                   (void)links_->tell(row->facts.name, links::lane::control, {system_tenant, encode(s.what)});
               },
               [&](set_peers& p) {
                 std::vector<links::peer> peers;
                 for (const auto& n : p.peers) peers.push_back({n.facts.name, n.generation, n.facts.links});
                 if (links_) links_->set_peers(std::move(peers));
                 parts_.body.peers(p.peers, core_.self());
               },
               [&](start_serving& s) {
                 if (s.first.value() != 0) parts_.body.start_serving(s.shard, s.fence, s.first);
                 else find_positions(s);
               },
               [&](stop_serving& s) { parts_.body.stop_serving(s.shard); },
               [&](release_shard& s) {
                 parts_.body.release(s.shard, [this, shard = s.shard] {
                   post([this, shard] {
                     if (!over_) obey(core_.quiet(shard, now()));
                   });
                 });
               },
               [&](resume_shard& s) { parts_.body.resume(s.shard); },
               [&](forward_shard& s) { parts_.body.stop_serving(s.shard); },
               [&](hold& h) { parts_.body.hold(std::move(h.why)); },
               [&](go_on&) { parts_.body.go_on(); },
               [&](drop_everything& d) {
                 over_ = true;
                 parts_.lease.let_go();
                 parts_.body.over(d.why, false, false);
               },
               [&](leave_process& l) {
                 over_ = true;
                 parts_.lease.let_go();
                 parts_.body.over(l.why, true, l.failed);
               },
               [&](cluster::report& r) {
                 log::write(r.trouble ? log::level::error : log::level::info, r.event, {{"detail", r.detail}, {"node", parts_.facts.name}});
               },
             },
             what);
}

/// The word of the change was lost, and a read told: without `first`. Positions of another owner's block could be below those
/// that are in the shard already, and what is chained by them would lose its beginning.
void membership_thread::find_positions(const start_serving& s) {
  changes_->post([this, s](persistence::ownership_store* reached, const error& why) {
    auto found = reached ? reached->fresh_positions() : result<journal_position>(why);
    if (!found) std::this_thread::sleep_for(100ms);
    post([this, s, found] {
      const auto at = parts_.map.find(s.shard);
      if (over_ || !at.here || at.owner != core_.self() || at.fence != s.fence) return; // gone again
      if (found) parts_.body.start_serving(s.shard, s.fence, *found);
      else find_positions(s);
    });
  });
}

/// Senders must hear which shards have somebody else now.
void membership_thread::note_owners() {
  const auto version = parts_.map.version();
  if (version == map_version_) return;
  map_version_ = version;
  std::vector<shard_id> changed;
  for (std::uint16_t i = 0; i < parts_.map.size(); ++i) {
    const auto owner = parts_.map.find(shard_id{i}).owner;
    if (owner != owners_[i]) changed.emplace_back(i);
    owners_[i] = owner;
  }
  if (!changed.empty()) parts_.body.owners_changed(changed);
}

// -- links

void membership_thread::received(std::shared_ptr<const links::received_batch> batch) {
  if (batch->by != links::lane::control) return parts_.body.received(std::move(batch));
  post([this, batch = std::move(batch)] { on_control(*batch); });
}

void membership_thread::on_control(const links::received_batch& batch) {
  for (const auto& f : batch.frames) {
    auto m = decode_peer_message(f.body);
    if (!m) log::warn("a peer said what cannot be read", {{"node", batch.from}});
    else if (!over_) obey(core_.heard(batch.generation, *m, now()));
  }
}

void membership_thread::event(const links::link_event& e) {
  if (e.what == links::link_event::kind::round_trip) return;
  post([this, e] { on_link(e); });
}

void membership_thread::on_link(const links::link_event& e) {
  using kind = links::link_event::kind;
  if (over_) return;
  if (e.what == kind::refused && e.reason == "superseded") return; // the next renewal says so for certain
  if (e.what == kind::incoming_refused) return obey(core_.hinted(now()));
  const auto n = links_seen_.hear(e);
  if (n.reached) parts_.body.linked(e.node, *n.reached);
  if (n.heard) parts_.body.heard(e.node, *n.heard);
  if (n.state) obey(core_.linked(n.peer, *n.state, now()));
}

// -- what people and programs ask

cluster_gauges membership_thread::read_gauges() const {
  cluster_gauges g;
  g.serving = parts_.lease.held(now());
  g.state = state_seen_.load(std::memory_order_relaxed);
  g.handing_off = handing_off_seen_.load(std::memory_order_relaxed);
  for (std::uint16_t i = 0; i < parts_.map.size(); ++i) g.shards += parts_.map.find(shard_id{i}).here ? 1 : 0;
  if (const auto* l = links()) {
    g.peers = l->status();
    g.links = l->counters();
  }
  return g;
}

void membership_thread::report(std::function<void(result<hive_report>)> done) {
  post([this, done = std::move(done)] { done(make_report()); });
}

hive_report membership_thread::make_report() {
  hive_report r;
  r.hive = parts_.hive;
  r.self = parts_.facts.name;
  r.serving = core_.serving();
  const auto known = core_.known();
  if (!known) return r;
  r.version = known->version;
  std::map<std::string, links::link_status> by_name;
  if (links_)
    for (auto& s : links_->status()) by_name.emplace(s.node, s);
  for (std::uint16_t i = 0; i < parts_.map.size(); ++i) {
    const auto at = parts_.map.find(shard_id{i});
    r.shards.push_back({shard_id{i}, at.owner, at.fence, {}});
  }
  for (const auto& row : known->nodes) {
    if (row.ended()) continue;
    node_report n;
    n.row = row;
    n.self = row.generation == core_.self();
    n.shards = static_cast<std::size_t>(std::count_if(r.shards.begin(), r.shards.end(), [&](const auto& s) { return s.owner == row.generation; }));
    if (const auto link = by_name.find(row.facts.name); link != by_name.end() && !n.self) {
      using state = links::link_status::state;
      n.link = link->second.now == state::up ? "up" : link->second.now == state::connecting ? "connecting" : "waiting";
      n.rtt = link->second.rtt;
      n.last_error = link->second.last_error;
    }
    r.nodes.push_back(std::move(n));
  }
  std::sort(r.nodes.begin(), r.nodes.end(), [](const node_report& a, const node_report& b) {
    return std::tie(a.row.facts.name, a.row.generation) < std::tie(b.row.facts.name, b.row.generation);
  });
  return r;
}

result<drain_report> membership_thread::drain_state(const std::string& node) {
  const auto known = core_.known();
  if (!known) return error{errc::unavailable, "starting", "this node has not read the hive's tables yet", {}, 200ms};
  const auto row = std::find_if(known->nodes.begin(), known->nodes.end(), [&](const node_row& n) { return n.facts.name == node && !n.ended(); });
  if (row == known->nodes.end()) return error{errc::not_found, "not_found", "no node named \"" + node + "\" is in the hive", "node"};
  drain_report r;
  r.node = node;
  r.state = row->generation == core_.self() ? core_.state() : row->state;
  tables now_known = *known; // the map is ahead of what was read: plan and count are of one moment
  for (auto& s : now_known.shards) {
    const auto at = parts_.map.find(s.shard);
    s.owner = at.owner;
    s.fence = at.fence;
    r.shards_left += at.owner == row->generation ? 1 : 0;
  }
  std::map<node_generation, std::string> names;
  for (const auto& n : known->nodes) names[n.generation] = n.facts.name;
  for (const auto& m : drain_plan(now_known, row->generation, {parts_.settings.pool, parts_.settings.balance_tolerance})) r.plan.push_back({m.shard, names[m.to]});
  if (row->generation == core_.self()) r.handing_off = core_.handing_off();
  if (r.shards_left != 0 && r.plan.empty())
    return error{errc::failed_precondition, "no_other_node", "no other node of the pool is active: there is nobody to take the shards of \"" + node + "\"", "node"};
  return r;
}

void membership_thread::drain(std::string node, bool plan_only, std::function<void(result<drain_report>)> done) {
  post([this, node = std::move(node), plan_only, done = std::move(done)] {
    auto state = drain_state(node);
    if (!state || plan_only) return done(std::move(state));
    if (node != parts_.facts.name) return parts_.ask_node(node, false, plan_only, done);
    obey(core_.drain(now())); // also of one that was voted out: it stays so when it is reached again
    done(drain_state(node));
  });
}

void membership_thread::undrain(std::string node, std::function<void(result<drain_report>)> done) {
  post([this, node = std::move(node), done = std::move(done)] {
    if (node != parts_.facts.name) {
      auto state = drain_state(node);
      if (!state && state.error().code == errc::not_found) return done(std::move(state));
      return parts_.ask_node(node, true, false, done);
    }
    obey(core_.undrain(now()));
    undrains_.push_back({std::chrono::steady_clock::now() + 2 * parts_.settings.store_timeout, std::move(done)});
    answer_undrains();
  });
}

/// It takes shards again when the store says so: until then, or until that is late, whoever asked waits.
void membership_thread::answer_undrains() {
  std::erase_if(undrains_, [&](const waiting_undrain& w) {
    if (core_.state() == node_state::draining && !over_ && std::chrono::steady_clock::now() < w.until) return false;
    drain_report r;
    r.node = parts_.facts.name;
    r.state = core_.state();
    r.shards_left = core_.owned();
    w.done(std::move(r));
    return true;
  });
}

} // namespace hive::cluster
