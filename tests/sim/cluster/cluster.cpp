#include "tests/sim/cluster/cluster.hpp"

#include "tests/support/test_context.hpp"

namespace hive::sim {

using namespace hive::cluster;
using persistence::batch_result;
using persistence::settlement;
using persistence::turn_outcome;

namespace {

constexpr std::uint64_t main_work = 0; // what an operation adds to its entity
constexpr std::uint64_t sent_work = 1; // to the one that it sends to
constexpr std::uint64_t timer_work = 2;
constexpr std::uint64_t call_work = 3;
constexpr std::uint64_t delete_work = 4;
constexpr std::uint64_t work_of(std::uint64_t op, std::uint64_t what) noexcept { return op * 8 + what; }

constexpr std::size_t run_ahead_turns = 8;
constexpr microseconds tick_every{50'000};
constexpr microseconds ask_timeout{1'000'000};
constexpr microseconds gateway_patience{900'000};
constexpr microseconds resend_every{400'000};
constexpr microseconds silent_after{1'500'000};
constexpr std::size_t buffered_messages = 1'000;

constexpr wall_time right_time{seconds{1'700'000'000}}; // when the simulation begins
constexpr milliseconds clock_difference = config::cluster_settings{}.clock_difference;
constexpr microseconds clock_compared{500'000};         // a wrong clock is found out within

/// Defects of settings. The grace is a whole: the store's, and the one that a node gives the others after an outage that it saw.
scenario with_defect(scenario s, mutation defect) {
  if (defect == mutation::no_grace) s.cluster.outage_after = seconds{60};
  if (defect == mutation::any_clock) s.cluster.clock_difference = std::chrono::hours{1'000};
  return s;
}

} // namespace

struct sim_hive::running_turn {
  std::uint64_t serial = 0;
  message in;
  bool writes = false;
  std::shared_ptr<const effects> what;
  std::shared_ptr<const std::vector<std::uint64_t>> seen; // of a read
};

struct sim_hive::activation {
  entity_id id;
  shard_id shard;
  std::uint64_t number = 0;
  entity_data data; // runs ahead of the disk
  bool loaded = false;
  bool failed = false;
  std::uint64_t committed_sent = 0;
  std::deque<message> lane;
  std::deque<running_turn> running;
  std::vector<message> returned;                          // of turns that were dropped, in order
  std::map<std::uint64_t, std::vector<message>> waiters;  // for a call, by operation
  std::map<entity_id, std::uint64_t> sending;             // sequence under way, by receiver
};

struct sim_hive::process {
  process(node& of, std::uint64_t number, std::uint16_t shard_count, node_facts facts, node_generation former,
          const config::cluster_settings& settings, std::uint64_t seed, persistence::batch_limits limits)
    : home(of), life(number), map(shard_count), member(std::move(facts), former, settings, map, lease, seed), limits_of_batch(limits),
      pipeline(std::make_unique<persistence::commit_pipeline>(limits)) {}

  struct served {
    epoch fence;
    bool closing = false;
    bool said_quiet = false;
    std::deque<message> buffer;
  };
  struct link {
    link_state wanted = link_state::silent;
    std::uint64_t version = 0;
  };

  node& home;
  std::uint64_t life;
  shard_map map;
  lease_guard lease;
  membership member;
  std::set<std::uint64_t> calls; // to the store
  std::map<node_generation, link> links;
  std::map<shard_id, served> shards;
  std::map<entity_id, activation> entities;
  std::set<std::uint64_t> executing; // calls of turns
  std::map<std::uint64_t, entity_id> ended_calls; // nobody has taken the result
  persistence::batch_limits limits_of_batch;
  std::unique_ptr<persistence::commit_pipeline> pipeline;
  std::uint64_t pipeline_number = 1; // results for an earlier one are void
  bool batch_out = false;
  std::uint64_t batches = 0;
  std::uint64_t last_answered = 0;
  std::uint64_t finding = 0; // attempt
  std::uint32_t timeline = 0;
  std::uint64_t connected = 0; // to which life of the store's server
  std::uint64_t session = 0;   // of this generation's row there
};

struct sim_hive::node {
  std::size_t index = 0;
  std::string name;
  std::unique_ptr<process> running;
  bool paused = false;
  std::vector<std::pair<std::uint64_t, std::function<void(process&)>>> kept; // while it is paused, by life
  bool no_store = false;
  bool reset = false;
  std::set<std::size_t> deaf_to; // what these send does not arrive here
  node_generation former;        // in its data directory
  double rate = 1;               // of its clock
  microseconds offset{};
  microseconds wall{};           // how far its wall clock is ahead
  std::optional<microseconds> wrong_since;
  wall_time wall_clock(microseconds now) const { return right_time + std::chrono::floor<milliseconds>(now + wall); }
  boot_time clock(microseconds now) const {
    return boot_time{std::chrono::nanoseconds{static_cast<std::int64_t>(static_cast<double>((now + offset).count()) * rate * 1000.0)}};
  }
};

sim_hive::sim_hive(std::uint64_t seed, const scenario& s, mutation defect)
  : world_(seed), scenario_(with_defect(s, defect)), defect_(defect),
    store_(world_, s.shards, s.cluster.lease_ttl, s.times, defect), directory_(tenant_id{9}, 1) {
  if (s.forgets_at) store_.remember();
  for (std::uint64_t i = 0; i < s.asks.entities; ++i)
    store_.name(i, entity_id{tenant_id{static_cast<std::uint32_t>(1 + i % 3)}, next_entity_++});
  for (unsigned i = 0; i < s.nodes + s.late_nodes; ++i) {
    auto& n = *nodes_.emplace_back(std::make_unique<node>());
    n.index = i;
    n.name = "node-" + std::to_string(i + 1);
    n.rate = 1.0 + (static_cast<double>(world_.chance.below(2001)) - 1000.0) / 100'000.0; // within one percent
    n.offset = world_.between(microseconds{0}, seconds{1'000});
    const auto when = i < s.nodes ? world_.between(milliseconds{0}, milliseconds{300}) : microseconds{s.trouble_from} + seconds{i - s.nodes};
    world_.at(when, [this, &n] { start(n); });
  }
}

sim_hive::~sim_hive() = default;

void sim_hive::fail(std::string what) {
  world_.trace(word::violation);
  if (!wrong_) wrong_ = std::move(what) + " (at " + std::to_string(world_.now().count() / 1000) + " ms)";
}

// -- nodes

void sim_hive::start(node& n) {
  if (n.running) return;
  n.paused = false;
  n.kept.clear();
  node_facts facts;
  facts.name = n.name;
  const std::uint64_t life = next_life_++;
  const persistence::batch_limits limits{8 + world_.chance.below(40), 2'000 + world_.chance.below(20'000)};
  n.running = std::make_unique<process>(n, life, scenario_.shards, facts, n.former, scenario_.cluster, world_.chance.next(), limits);
  world_.trace(word::start, n.index, life);
  obey(*n.running, n.running->member.start(n.clock(world_.now())));
  tick(*n.running);
}

void sim_hive::kill(node& n) {
  if (!n.running) return;
  world_.trace(word::crash, n.index);
  ++counts_.crashes;
  n.running.reset();
  n.paused = false;
  n.kept.clear();
  look_at_links(n);
}

void sim_hive::pause(node& n, microseconds how_long) {
  if (!n.running || n.paused) return;
  n.paused = true;
  world_.trace(word::pause, n.index, static_cast<std::uint64_t>(how_long.count()));
  look_at_links(n);
  world_.after(how_long, [this, &n, life = n.running->life] {
    if (!n.running || n.running->life != life || !n.paused) return;
    n.paused = false;
    world_.trace(word::wake, n.index);
    look_at_links(n);
    auto kept = std::move(n.kept);
    n.kept.clear();
    for (auto& [whose, what] : kept)
      if (n.running && n.running->life == whose) what(*n.running);
  });
}

/// Something happens on a node after a while: not when its process has ended, later when it is paused.
void sim_hive::post(node& n, microseconds delay, std::function<void(process&)> what) {
  if (!n.running) return;
  world_.after(delay, [&n, life = n.running->life, what = std::move(what)]() mutable {
    if (!n.running || n.running->life != life) return;
    if (n.paused) n.kept.emplace_back(life, std::move(what));
    else what(*n.running);
  });
}

void sim_hive::tick(process& p) {
  post(p.home, tick_every, [this](process& q) {
    node& n = q.home; // the process may end here
    const auto life = q.life;
    obey(q, q.member.tick(n.clock(world_.now())));
    if (n.running && n.running->life == life) tick(*n.running);
  });
}

void sim_hive::obey(process& p, commands&& orders) {
  node& n = p.home;
  const auto life = p.life;
  for (auto& order : orders) {
    if (!n.running || n.running->life != life) return; // it ended
    if (const auto* call = std::get_if<call_store>(&order)) {
      obey(p, *call);
    } else if (const auto* say = std::get_if<send_peer>(&order)) {
      send(p, say->to, [this, from = p.member.self(), what = say->what](process& q) {
        obey(q, q.member.heard(from, what, q.home.clock(world_.now())));
      });
    } else if (const auto* peers = std::get_if<set_peers>(&order)) {
      std::set<node_generation> named;
      for (const auto& row : peers->peers) {
        named.insert(row.generation);
        for (const auto& other : nodes_)
          if (other->name == row.facts.name) generations_[row.generation] = other->index;
      }
      std::erase_if(p.links, [&](const auto& l) { return !named.contains(l.first); });
      for (const auto g : named) {
        if (!p.links.contains(g)) p.links[g].version = next_serial_++;
        look_at_link(p, g);
      }
    } else if (const auto* begin = std::get_if<start_serving>(&order)) {
      serve(p, *begin);
    } else if (const auto* stop = std::get_if<stop_serving>(&order)) {
      world_.trace(word::stopped, n.index, stop->shard.value());
      drop_shard(p, stop->shard);
    } else if (const auto* r = std::get_if<release_shard>(&order)) {
      world_.trace(word::released, n.index, r->shard.value());
      if (const auto found = p.shards.find(r->shard); found != p.shards.end()) {
        found->second.closing = true;
        found->second.said_quiet = false;
        say_quiet(p, r->shard);
      }
    } else if (const auto* back = std::get_if<resume_shard>(&order)) {
      if (const auto found = p.shards.find(back->shard); found != p.shards.end()) {
        found->second.closing = false;
        auto buffer = std::move(found->second.buffer);
        found->second.buffer.clear();
        for (auto& m : buffer) accept(p, std::move(m));
        for (auto& [id, a] : p.entities)
          if (a.shard == back->shard) work(p, a);
      }
    } else if (const auto* f = std::get_if<forward_shard>(&order)) {
      world_.trace(word::forwarded, n.index, f->shard.value());
      std::deque<message> buffer;
      if (const auto found = p.shards.find(f->shard); found != p.shards.end()) buffer = std::move(found->second.buffer);
      for (auto& [id, a] : p.entities)
        if (a.shard == f->shard) {
          buffer.insert(buffer.end(), a.lane.begin(), a.lane.end());
          a.lane.clear();
        }
      drop_shard(p, f->shard);
      for (auto& m : buffer) send(p, f->to, [this, m](process& q) { accept(q, m); });
    } else if (std::holds_alternative<hold>(order)) {
      world_.trace(word::held, n.index);
    } else if (std::holds_alternative<go_on>(order)) {
      world_.trace(word::went_on, n.index);
      pump(p);
      for (auto& [id, a] : p.entities) work(p, a);
    } else if (std::holds_alternative<drop_everything>(order)) {
      world_.trace(word::dropped, n.index);
      drop_all(p);
    } else if (std::holds_alternative<leave_process>(order)) {
      world_.trace(word::crash, n.index, 1);
      n.running.reset();
      look_at_links(n);
      world_.after(world_.between(milliseconds{100}, milliseconds{800}), [this, &n] { start(n); });
      return;
    } else if (const auto* said = std::get_if<report>(&order)) {
      if (said->event == "store_lost_commits") ++counts_.reports_lost;
    }
  }
}

/// A call of the membership: one answer, or a failure after its time limit.
void sim_hive::obey(process& p, const call_store& c) {
  p.calls.insert(c.number);
  post(p.home, scenario_.cluster.store_timeout, [this, number = c.number](process& q) {
    if (q.calls.erase(number) != 0)
      obey(q, q.member.answered(number, store_failed{{errc::unavailable, "store_away", "", {}, {}}}, q.home.clock(world_.now())));
  });
  if (p.home.no_store) return;
  const auto asked = p.home.wall_clock(world_.now());
  if (const auto* j = std::get_if<join_call>(&c.what)) {
    const auto both = compare_clocks(asked, right_time + std::chrono::floor<milliseconds>(world_.now()), asked);
    if (std::chrono::abs(both.ahead) > j->clock_difference)
      return post(p.home, milliseconds{1}, [this, number = c.number, both](process& q) {
        if (q.calls.erase(number) != 0) obey(q, q.member.answered(number, clock_differs{both}, q.home.clock(world_.now())));
      });
  }
  store_.call(c.what, [this, &n = p.home, life = p.life, number = c.number, asked](store_answer said) {
    if (!n.running || n.running->life != life || n.no_store) return;
    if (auto* r = std::get_if<renewed>(&said))
      r->clock = compare_clocks(asked, right_time + std::chrono::floor<milliseconds>(world_.now()), n.wall_clock(world_.now()));
    post(n, microseconds{0}, [this, number, said = std::move(said)](process& q) {
      if (q.calls.erase(number) == 0) return;
      node& home = q.home; // the process may end here
      const auto before = q.member.self();
      if (const auto* j = std::get_if<joined>(&said)) {
        q.home.former = j->generation;
        q.timeline = store_.timeline();
        q.session = 0;
        q.connected = store_.boot();
        generations_[j->generation] = q.home.index;
      }
      obey(q, q.member.answered(number, said, home.clock(world_.now())));
      if (home.running && home.running->member.self() != before) look_at_links(home);
    });
  });
}

void sim_hive::serve(process& p, const start_serving& c) {
  world_.trace(word::serving, p.home.index, c.shard.value(), c.fence.value());
  p.shards[c.shard] = {c.fence, false, false, {}};
  recover(p, c.shard, c.fence);
}

/// Wakes the entities of a shard that have something to do.
void sim_hive::recover(process& p, shard_id shard, epoch fence) {
  post(p.home, world_.between(microseconds{300}, milliseconds{2}), [this, shard, fence](process& q) {
    const auto found = q.shards.find(shard);
    if (found == q.shards.end() || found->second.fence < fence) return;
    if (q.home.no_store || store_.away()) return post(q.home, milliseconds{100}, [this, shard, fence](process& r) { recover(r, shard, fence); });
    for (const auto id : store_.with_work(shard)) activate(q, id);
  });
}

void sim_hive::drop_shard(process& p, shard_id shard) {
  p.shards.erase(shard);
  for (auto a = p.entities.begin(); a != p.entities.end();) {
    if (a->second.shard != shard) {
      ++a;
      continue;
    }
    auto lane = std::move(a->second.lane);
    for (const auto& m : a->second.returned) lane.push_back(m);
    a = p.entities.erase(a);
    for (const auto& m : lane) bounce(p, m);
  }
}

void sim_hive::drop_all(process& p) {
  p.shards.clear();
  p.entities.clear();
  p.links.clear();
  p.calls.clear();
  p.executing.clear();
  p.ended_calls.clear();
  p.pipeline = std::make_unique<persistence::commit_pipeline>(p.limits_of_batch);
  ++p.pipeline_number;
  p.batch_out = false;
  p.finding = 0;
  p.last_answered = 0;
}

// -- network

bool sim_hive::cut(const node& a, const node& b) const { return b.deaf_to.contains(a.index); }

void sim_hive::send(process& from, node_generation to, std::function<void(process&)> what) {
  const auto found = generations_.find(to);
  if (found == generations_.end()) return;
  node& a = from.home;
  node& b = *nodes_[found->second];
  if (&a == &b) return post(b, microseconds{1}, std::move(what));
  unsigned copies = 1;
  if (lossy_ && scenario_.drop_one_in != 0 && world_.chance.one_in(scenario_.drop_one_in)) copies = 0;
  else if (lossy_ && scenario_.twice_one_in != 0 && world_.chance.one_in(scenario_.twice_one_in)) copies = 2;
  for (unsigned i = 0; i < copies; ++i)
    world_.after(world_.between(microseconds{50}, scenario_.delay_high), [this, &a, &b, to, what] {
      if (cut(a, b) || b.reset || !b.running || b.running->member.self() != to) return;
      post(b, microseconds{0}, what);
    });
}

void sim_hive::look_at_links(node& n) {
  for (auto& other : nodes_) {
    if (other->index == n.index) continue;
    if (other->running)
      for (const auto& [g, l] : std::map<node_generation, process::link>(other->running->links))
        if (generations_.at(g) == n.index) look_at_link(*other->running, g);
  }
  if (!n.running) return;
  std::vector<node_generation> all;
  for (const auto& [g, l] : n.running->links) all.push_back(g);
  for (const auto g : all) look_at_link(*n.running, g);
}

/// What a node sees of a link to a peer changes a while after what the peer and the network do.
void sim_hive::look_at_link(process& from, node_generation to) {
  auto& l = from.links[to];
  const node& a = from.home;
  const node& b = *nodes_[generations_.at(to)];
  const bool there = b.running && b.running->member.self() == to && !b.reset;
  const bool open = !cut(a, b) && !cut(b, a);
  link_state wanted = link_state::silent;
  if (open && there && !b.paused) wanted = link_state::up;
  else if (open && !there) wanted = link_state::refused;
  if (wanted == l.wanted) return;
  l.wanted = wanted;
  const auto version = l.version = next_serial_++;
  const auto see = [&](microseconds delay, link_state state) {
    post(from.home, delay, [this, to, version, state](process& p) {
      const auto found = p.links.find(to);
      if (found == p.links.end() || found->second.version != version) return;
      world_.trace(word::linked, p.home.index, to.value(), static_cast<std::uint64_t>(state));
      obey(p, p.member.linked(to, state, p.home.clock(world_.now())));
    });
  };
  if (wanted == link_state::up) see(world_.between(milliseconds{5}, milliseconds{30}), link_state::up);
  else if (wanted == link_state::silent) see(silent_after, link_state::silent);
  else {
    see(world_.between(milliseconds{1}, milliseconds{3}), link_state::closed);
    see(world_.between(milliseconds{50}, milliseconds{70}), link_state::refused);
  }
}

// -- messages

void sim_hive::route(process& p, message m) {
  const auto shard = shard_of(m.to, scenario_.shards);
  const auto r = p.map.find(shard);
  if (r.here) return accept(p, std::move(m));
  if (r.owner.value() == 0 || !p.links.contains(r.owner)) return bounce(p, m);
  send(p, r.owner, [this, m](process& q) { accept(q, m); });
}

void sim_hive::accept(process& p, message m) {
  const auto shard = shard_of(m.to, scenario_.shards);
  const auto found = p.shards.find(shard);
  if (found == p.shards.end() || !p.lease.held(p.home.clock(world_.now()))) return bounce(p, m);
  if (found->second.closing) {
    if (found->second.buffer.size() < buffered_messages) found->second.buffer.push_back(std::move(m));
    return;
  }
  auto& a = activate(p, m.to);
  a.lane.push_back(std::move(m));
  work(p, a);
}

/// Not here: an ask goes back to its gateway, which looks for the owner again; everything else is sent again by itself.
void sim_hive::bounce(process& p, const message& m) {
  if (m.kind != message_kind::ask) return;
  node& g = *nodes_[m.gateway];
  const auto again = [this, m](process& q) {
    if (q.life != m.life || world_.now() - m.started > gateway_patience) return;
    post(q.home, world_.between(milliseconds{20}, milliseconds{80}), [this, m](process& r) { route(r, m); });
  };
  if (&g == &p.home) return again(p);
  if (g.running && g.running->life == m.life) send(p, g.running->member.self(), again);
}

sim_hive::activation& sim_hive::activate(process& p, entity_id id) {
  const auto [found, added] = p.entities.try_emplace(id);
  auto& a = found->second;
  if (!added) return a;
  a.id = id;
  a.shard = shard_of(id, scenario_.shards);
  a.number = next_activation_++;
  load(p, a);
  return a;
}

void sim_hive::load(process& p, activation& a) {
  post(p.home, world_.between(microseconds{200}, milliseconds{2}), [this, id = a.id, number = a.number](process& q) {
    const auto found = q.entities.find(id);
    if (found == q.entities.end() || found->second.number != number || found->second.loaded) return;
    auto& b = found->second;
    const auto* rows = q.home.no_store ? nullptr : store_.load(id);
    if (rows == nullptr)
      return post(q.home, milliseconds{100}, [this, id, number](process& r) {
        if (const auto again = r.entities.find(id); again != r.entities.end() && again->second.number == number && !again->second.loaded)
          load(r, again->second);
      });
    b.data = *rows;
    b.loaded = true;
    b.failed = false;
    b.committed_sent = b.data.sent;
    b.sending.clear();
    for (const auto& [op, t] : b.data.timers) arm_timer(q, b, t);
    look_after_calls(q, b);
    deliver(q, b);
    work(q, b);
  });
}

void sim_hive::work(process& p, activation& a) {
  const auto found = p.shards.find(a.shard);
  if (found == p.shards.end() || found->second.closing || !p.lease.held(p.home.clock(world_.now()))) return;
  while (a.loaded && !a.failed && !a.lane.empty() && a.running.size() < run_ahead_turns) {
    auto m = std::move(a.lane.front());
    a.lane.pop_front();
    handle(p, a, std::move(m));
  }
  pump(p);
}

/// One turn: what it changes, on top of what runs ahead.
bool sim_hive::handle(process& p, activation& a, message m) {
  auto e = std::make_shared<effects>();
  bool writes = false;
  bool poison = false;
  const auto slot_of = [&](std::uint64_t op) { return operations_[op].slot; };
  switch (m.kind) {
  case message_kind::ask: {
    const auto& op = operations_[m.op];
    if (a.data.deleted || a.data.keys.contains(m.op)) break; // known: answered when what it rests on is committed
    if (a.data.waiting.contains(m.op)) {
      a.waiters[m.op].push_back(std::move(m));
      return true;
    }
    if (op.kind == ask_kind::read) break;
    writes = true;
    if (op.kind == ask_kind::call) {
      e->accepted.push_back({m.op, p.member.self()});
      break;
    }
    e->append.push_back(work_of(m.op, main_work));
    e->keys.push_back(m.op);
    poison = op.kind == ask_kind::poison;
    if (op.kind == ask_kind::send) e->send.push_back({a.data.sent + 1, op.target, work_of(m.op, sent_work)});
    if (op.kind == ask_kind::timer) e->timers.push_back({work_of(m.op, timer_work), op.due, slot_of(m.op)});
    if (op.kind == ask_kind::recreate) {
      e->names.emplace_back(op.slot, op.target);
      e->send.push_back({a.data.sent + 1, op.entity, work_of(m.op, delete_work)});
    }
    break;
  }
  case message_kind::deliver: {
    const auto mark = a.data.marks.find(m.from);
    if (mark != a.data.marks.end() && m.sequence <= mark->second && defect_ != mutation::no_dedup) break; // heard before
    writes = true;
    e->marks.emplace_back(m.from, m.sequence);
    if (m.op % 8 == delete_work) e->deleted = true;
    else if (!a.data.deleted) e->append.push_back(m.op); // else a dead letter
    break;
  }
  case message_kind::delivered:
    if (!a.data.outbox.contains(m.sequence)) return false;
    writes = true;
    e->delivered.push_back(m.sequence);
    break;
  case message_kind::fired: {
    const auto t = a.data.timers.find(m.op);
    if (t != a.data.timers.end() && defect_ == mutation::timers_by_name && store_.named(t->second.slot) != a.id) {
      message lost_its_way = m;
      lost_its_way.to = store_.named(t->second.slot);
      lost_its_way.from = a.id;
      route(p, lost_its_way);
      writes = true;
      e->timers_gone.push_back(m.op);
      break;
    }
    if (t == a.data.timers.end() && !(defect_ == mutation::timers_by_name && m.from && m.from != a.id)) return false;
    if (t != a.data.timers.end() && world_.now() < t->second.due) fail("a timer fired early");
    writes = true;
    e->append.push_back(m.op);
    e->timers_gone.push_back(m.op);
    break;
  }
  case message_kind::call_ended:
    if (a.data.waiting.contains(m.op)) {
      writes = true;
      e->append.push_back(work_of(m.op, call_work));
      e->keys.push_back(m.op);
      e->ended.push_back(m.op);
    }
    break;
  case message_kind::call_taken: return false;
  }
  submit(p, a, std::move(m), std::move(e), writes, poison);
  return true;
}

void sim_hive::submit(process& p, activation& a, message m, std::shared_ptr<effects> e, bool writes, bool poison) {
  const auto& shard = p.shards.at(a.shard);
  auto r = std::make_unique<sim_turn>(test::context_of(a.id.tenant().value()), a.id, a.shard, shard.fence);
  r->serial = next_serial_++;
  r->activation = a.number;
  r->base = a.data.version;
  r->writes = writes;
  r->poison = poison;
  r->what = e;
  r->bytes = 100 + 40 * (e->append.size() + e->send.size());
  world_.trace(word::submitted, r->serial, a.id.bits(), r->base);
  if (writes) {
    ++a.data.version;
    apply(*e, a.data);
  }
  running_turn t{r->serial, std::move(m), writes, std::move(e), {}};
  const bool reads = t.in.kind == message_kind::ask && operations_[t.in.op].kind == ask_kind::read;
  if (reads) t.seen = std::make_shared<const std::vector<std::uint64_t>>(a.data.ledger);
  if (reads && defect_ == mutation::reads_without_fence) return answer(p, t.in, outcome::ok, t.seen);
  a.running.push_back(std::move(t));
  p.pipeline->submit(std::move(r));
}

// -- the shell of the commit pipeline

void sim_hive::pump(process& p) {
  if (p.batch_out || p.finding != 0 || !p.lease.held(p.home.clock(world_.now()))) return;
  const auto batch = p.pipeline->next_batch();
  if (batch.empty()) return;
  p.batch_out = true;
  std::vector<statement_turn> turns;
  for (const auto* r : batch) {
    const auto& t = static_cast<const sim_turn&>(*r);
    turns.push_back({t.serial, t.entity, t.shard, t.fence, t.base, t.writes, t.poison, t.what});
  }
  const auto number = ++p.batches;
  const auto current = [&n = p.home, life = p.life, era = p.pipeline_number] {
    return n.running && n.running->life == life && n.running->pipeline_number == era;
  };
  const auto lost = [this, &n = p.home, current] {
    if (current()) post(n, microseconds{0}, [this, current](process& q) {
      if (current() && q.batch_out && q.finding == 0) batch_unknown(q);
    });
  };
  if (p.connected != store_.boot()) { // the connection broke when nobody used it: first look what is on the other side
    world_.after(world_.between(microseconds{100}, milliseconds{1}), lost);
    return;
  }
  if (p.home.no_store) { // nothing arrives, and after a while the connection is given up
    world_.after(milliseconds{500}, lost);
    return;
  }
  if (p.home.wrong_since && world_.now() - *p.home.wrong_since > clock_compared)
    fail("a node commits whose clock is " + std::to_string(p.home.wall.count() / 1000) + " ms wrong");
  store_.write(
    p.member.self(), p.session, number, std::move(turns),
    [this, &n = p.home, current, lost, number](batch_result r) {
      if (!current()) return;
      if (n.no_store) return world_.after(milliseconds{500}, lost);
      post(n, microseconds{0}, [this, current, number, r = std::move(r)](process& q) mutable {
        if (!current() || !q.batch_out || q.finding != 0) return;
        if (r.why.reason == "session_taken") return batch_unknown(q); // by an earlier attempt to find out that came late
        if (r.what == batch_result::kind::done) q.last_answered = number;
        batch_ended(q, std::move(r));
      });
    },
    lost);
}

void sim_hive::batch_ended(process& p, batch_result r) {
  p.batch_out = false;
  const auto era = p.pipeline_number;
  const auto life = p.life;
  node& n = p.home;
  auto settled = p.pipeline->complete(std::move(r));
  for (const auto& s : settled) {
    settle(p, s);
    if (!n.running || n.running->life != life || p.pipeline_number != era) return;
  }
  pump(p);
}

/// The connection broke while a batch was out: shut the statement out, then look what is there. Design 5.
void sim_hive::batch_unknown(process& p) {
  if (p.finding == 0) std::ignore = p.pipeline->complete({batch_result::kind::unknown, {}, {}});
  const auto attempt = p.finding = next_serial_++;
  const auto current = [&n = p.home, life = p.life, era = p.pipeline_number, attempt] {
    return n.running && n.running->life == life && n.running->pipeline_number == era && n.running->finding == attempt;
  };
  post(p.home, milliseconds{300}, [this, current](process& q) { // no answer: once more
    if (current()) batch_unknown(q);
  });
  if (p.home.no_store) return;
  std::vector<statement_turn> turns;
  for (const auto* r : p.pipeline->held()) {
    const auto& t = static_cast<const sim_turn&>(*r);
    turns.push_back({t.serial, t.entity, t.shard, t.fence, t.base, t.writes, t.poison, t.what});
  }
  store_.find_out(p.member.self(), p.last_answered, turns, [this, current, turns, &n = p.home](store::found_out found) {
    if (!current() || n.no_store) return;
    post(n, microseconds{0}, [this, current, turns, found = std::move(found)](process& q) {
      if (!current()) return;
      const bool looks = defect_ != mutation::keep_after_forgetting;
      if (found.timeline != q.timeline && looks) {
        obey(q, q.member.store_forgot(found.lost ? "batch " + std::to_string(q.last_answered) : "", q.home.clock(world_.now())));
        return;
      }
      q.finding = 0;
      q.connected = found.boot;
      q.session = found.session;
      batch_result r;
      bool any = false;
      for (std::size_t i = 0; i < turns.size(); ++i) {
        const bool there = turns[i].writes && found.there[i];
        any = any || there;
        r.outcomes.push_back(there ? turn_outcome::committed : turn_outcome::fenced);
      }
      // Nothing of it is there, and nothing of it can come: then nobody's turn happened.
      if (!any) r = {batch_result::kind::unavailable, {}, {errc::unavailable, "connection_lost", "", {}, {}}};
      batch_ended(q, std::move(r));
    });
  });
}

void sim_hive::settle(process& p, const settlement& s) {
  const auto& record = static_cast<const sim_turn&>(*s.record);
  world_.trace(s.what == settlement::kind::committed ? word::committed : word::not_committed, record.serial);
  if (s.what != settlement::kind::committed && record.writes) denied_.push_back(record.serial);
  const auto found = p.entities.find(record.entity);
  if (found == p.entities.end() || found->second.number != record.activation) return; // dropped: its askers ask again
  auto& a = found->second;
  if (a.running.empty() || a.running.front().serial != record.serial) return fail("a turn overtook another one of its entity");
  const auto t = std::move(a.running.front());
  a.running.pop_front();
  switch (s.what) {
  case settlement::kind::committed:
    if (record.poison) fail("a poisoned turn was committed");
    // What only read saw turns that have failed since.
    if (a.failed && !t.writes) a.returned.push_back(t.in);
    else turn_committed(p, a, t);
    break;
  case settlement::kind::stale:
  case settlement::kind::fenced:
    a.failed = true;
    a.returned.push_back(t.in);
    break;
  case settlement::kind::refused:
    if (!record.poison) fail("an innocent turn was refused");
    a.failed = true;
    answer(p, t.in, outcome::failed, {});
    break;
  case settlement::kind::unavailable:
    a.failed = true;
    // "Refused" says that nothing happened. Who asked for what had happened before, or is yet to be read, is not told so.
    if (t.writes) answer(p, t.in, outcome::refused, {});
    else a.returned.push_back(t.in);
    break;
  }
  if (a.failed && a.running.empty()) start_over(p, a);
  else work(p, a);
  say_quiet(p, record.shard);
}

void sim_hive::turn_committed(process& p, activation& a, const running_turn& t) {
  for (const auto& sent : t.what->send) a.committed_sent = std::max(a.committed_sent, sent.sequence);
  for (const auto& timer : t.what->timers) arm_timer(p, a, timer);
  for (const auto& call : t.what->accepted) {
    a.waiters[call.op].push_back(t.in);
    make_call(p, a.id, call.op);
  }
  for (const auto op : t.what->ended) {
    for (const auto& m : a.waiters[op]) answer(p, m, outcome::ok, {});
    a.waiters.erase(op);
  }
  switch (t.in.kind) {
  case message_kind::ask:
    if (t.what->accepted.empty()) answer(p, t.in, a.data.deleted && !t.writes ? outcome::failed : outcome::ok, t.seen);
    break;
  case message_kind::deliver: {
    message back;
    back.kind = message_kind::delivered;
    back.to = t.in.from;
    back.from = a.id;
    back.sequence = t.in.sequence;
    route(p, back);
    break;
  }
  case message_kind::call_ended:
    if (const auto where = generations_.find(node_generation{t.in.life}); where != generations_.end())
      send(p, node_generation{t.in.life}, [op = t.in.op](process& q) { q.ended_calls.erase(op); });
    break;
  default: break;
  }
  if (!a.failed) deliver(p, a);
}

/// All turns that were under way have come back: load again, and what they handled goes back into its lane, in order.
void sim_hive::start_over(process& p, activation& a) {
  a.lane.insert(a.lane.begin(), a.returned.begin(), a.returned.end());
  a.returned.clear();
  for (auto& [op, waiters] : a.waiters)
    for (auto& m : waiters) a.lane.push_back(m);
  a.waiters.clear();
  a.loaded = false;
  a.number = next_activation_++;
  load(p, a);
}

void sim_hive::say_quiet(process& p, shard_id shard) {
  const auto found = p.shards.find(shard);
  if (found == p.shards.end() || !found->second.closing || found->second.said_quiet) return;
  for (const auto& [id, a] : p.entities)
    if (a.shard == shard && !a.running.empty()) return;
  found->second.said_quiet = true;
  post(p.home, microseconds{1}, [this, shard](process& q) { obey(q, q.member.quiet(shard, q.home.clock(world_.now()))); });
}

// -- what leaves an entity after its commit

/// One message to each receiver at a time, in order, until it says that it has committed it.
void sim_hive::deliver(process& p, activation& a) {
  std::map<entity_id, const sent_message*> next;
  for (const auto& [sequence, m] : a.data.outbox)
    if (sequence <= a.committed_sent) next.try_emplace(m.to, &m);
  for (const auto& [to, what] : next) {
    auto& under_way = a.sending[to];
    if (under_way == what->sequence) continue;
    under_way = what->sequence;
    message m;
    m.kind = message_kind::deliver;
    m.op = what->op;
    m.to = to;
    m.from = a.id;
    m.sequence = what->sequence;
    meant_for_[m.op] = to;
    route(p, m);
    post(p.home, resend_every, [this, id = a.id, number = a.number, to = to, sequence = what->sequence](process& q) {
      const auto found = q.entities.find(id);
      if (found == q.entities.end() || found->second.number != number || !found->second.loaded) return;
      if (found->second.sending[to] != sequence || !found->second.data.outbox.contains(sequence)) return;
      found->second.sending[to] = 0;
      deliver(q, found->second);
    });
  }
}

void sim_hive::arm_timer(process& p, activation& a, const set_timer& t) {
  meant_for_[t.op] = a.id;
  post(p.home, std::max(microseconds{0}, t.due - world_.now()), [this, id = a.id, number = a.number, op = t.op](process& q) {
    const auto found = q.entities.find(id);
    if (found == q.entities.end() || found->second.number != number) return; // armed again when it was loaded again
    world_.trace(word::fired, op);
    message m;
    m.kind = message_kind::fired;
    m.op = op;
    m.to = id;
    accept(q, m);
    post(q.home, resend_every, [this, id, number, op](process& r) {
      const auto still = r.entities.find(id);
      if (still == r.entities.end() || still->second.number != number || !still->second.loaded) return;
      if (const auto t2 = still->second.data.timers.find(op); t2 != still->second.data.timers.end()) arm_timer(r, still->second, t2->second);
    });
  });
}

/// The call belongs to the node that makes it, not to the activation: it goes on when the entity moves.
void sim_hive::make_call(process& p, entity_id id, std::uint64_t op) {
  if (!p.executing.insert(op).second) return;
  ++calls_[op];
  world_.trace(word::called, op, p.home.index);
  post(p.home, world_.between(milliseconds{100}, milliseconds{1'500}), [this, id, op](process& q) {
    if (q.executing.erase(op) == 0) return;
    q.ended_calls[op] = id;
    tell_call_ended(q, id, op);
  });
}

void sim_hive::tell_call_ended(process& p, entity_id id, std::uint64_t op) {
  if (!p.ended_calls.contains(op) || p.member.self().value() == 0) return;
  message m;
  m.kind = message_kind::call_ended;
  m.op = op;
  m.to = id;
  m.life = p.member.self().value();
  route(p, m);
  post(p.home, resend_every, [this, id, op](process& q) { tell_call_ended(q, id, op); });
}

/// Turns that wait for a call: whoever is said to make it is asked whether it does (its own turn may have been committed
/// and dropped before it began); when it does not, or is gone, the call is made here, with the same key.
void sim_hive::look_after_calls(process& p, activation& a) {
  bool again = false;
  for (const auto& [op, w] : a.data.waiting) {
    if (p.executing.contains(op) || (p.ended_calls.contains(op) && defect_ != mutation::calls_again)) continue;
    const auto* row = p.member.known() ? p.member.known()->find(w.executor) : nullptr;
    const bool lives = row != nullptr && !row->ended() && w.executor != p.member.self();
    if (!lives || defect_ == mutation::calls_again) {
      make_call(p, a.id, op);
      continue;
    }
    again = true;
    send(p, w.executor, [this, op = op, id = a.id, asker = p.member.self()](process& q) {
      if (q.executing.contains(op) || q.ended_calls.contains(op)) return; // its result will come
      send(q, asker, [this, op, id](process& r) {
        const auto found = r.entities.find(id);
        if (found != r.entities.end() && found->second.loaded && found->second.data.waiting.contains(op)) make_call(r, id, op);
      });
    });
  }
  if (again)
    post(p.home, seconds{1}, [this, id = a.id, number = a.number](process& q) {
      const auto found = q.entities.find(id);
      if (found != q.entities.end() && found->second.number == number && found->second.loaded) look_after_calls(q, found->second);
    });
}

// -- clients

void sim_hive::ask_something() {
  if (world_.now() >= scenario_.load_to) return;
  world_.after(world_.between(microseconds{0}, microseconds{scenario_.asks.every} * 2), [this] { ask_something(); });
  const auto& l = scenario_.asks;
  const std::array<std::pair<ask_kind, unsigned>, 7> weights{{{ask_kind::append, l.append}, {ask_kind::read, l.read}, {ask_kind::send, l.send},
    {ask_kind::timer, l.timer}, {ask_kind::call, l.call}, {ask_kind::poison, l.poison}, {ask_kind::recreate, l.recreate}}};
  unsigned all = 0;
  for (const auto& [kind, weight] : weights) all += weight;
  auto draw = world_.chance.below(all);
  operation op;
  op.id = operations_.size();
  for (const auto& [kind, weight] : weights) {
    op.kind = kind;
    if (draw < weight) break;
    draw -= weight;
  }
  op.slot = world_.chance.below(l.entities);
  op.entity = store_.named(op.slot);
  op.target = store_.named(world_.chance.below(l.entities));
  op.asked = world_.now();
  op.due = world_.now() + world_.between(milliseconds{50}, l.timer_high);
  op.acknowledged = acknowledged_[op.entity].size();
  op.era = store_.era();
  if (op.kind == ask_kind::recreate) op.target = entity_id{op.entity.tenant(), next_entity_++};
  operations_.push_back(op);
  ++counts_.asked;
  ask(op.id);
}

/// One attempt, at any node; when no answer comes, another one with the same key.
void sim_hive::ask(std::uint64_t id) {
  auto& op = operations_[id];
  if (op.end != outcome::pending) return;
  const auto attempt = ++op.attempts;
  world_.trace(word::asked, id, attempt);
  std::vector<node*> alive;
  for (const auto& n : nodes_)
    if (n->running) alive.push_back(n.get());
  world_.after(ask_timeout, [this, id, attempt] {
    if (operations_[id].attempts == attempt) ask(id);
  });
  if (alive.empty()) return;
  node& n = *alive[world_.chance.below(alive.size())];
  op.twice = op.twice || scenario_.twice_one_in != 0;
  post(n, world_.between(microseconds{100}, milliseconds{1}), [this, id, attempt](process& p) {
    message m;
    m.op = id;
    m.to = operations_[id].kind == ask_kind::recreate ? directory_ : operations_[id].entity;
    m.gateway = p.home.index;
    m.life = p.life;
    m.started = world_.now();
    m.attempt = attempt;
    route(p, m);
  });
}

/// From the owner over the gateway to the client. A node whose lease does not hold answers nothing.
void sim_hive::answer(process& p, const message& m, outcome end, std::shared_ptr<const std::vector<std::uint64_t>> seen) {
  if (m.kind != message_kind::ask || !p.lease.held(p.home.clock(world_.now()))) return;
  const auto to_client = [this, op = m.op, attempt = m.attempt, end, seen = std::move(seen), life = m.life](process& g) {
    if (g.life != life) return;
    world_.after(world_.between(microseconds{100}, milliseconds{1}), [this, op, attempt, end, seen] { answered(op, attempt, end, seen); });
  };
  node& g = *nodes_[m.gateway];
  if (!g.running || g.running->life != m.life) return;
  if (&g == &p.home) to_client(p);
  else send(p, g.running->member.self(), to_client);
}

void sim_hive::answered(std::uint64_t id, unsigned attempt, outcome end, const std::shared_ptr<const std::vector<std::uint64_t>>& seen) {
  auto& op = operations_[id];
  if (op.end != outcome::pending) return;
  // "Refused" and "failed" speak of one attempt: they are the end only when there was no other one that may have worked.
  const bool only_one = op.attempts == 1 && attempt == 1 && !op.twice;
  if (end == outcome::refused && !only_one) return; // the next attempt tells
  world_.trace(word::answered, id, static_cast<std::uint64_t>(end));
  op.end = end;
  counts_.longest = std::max(counts_.longest, world_.now() - op.asked);
  if (end == outcome::refused) ++counts_.refused;
  if (end == outcome::failed) ++counts_.failed;
  if (end != outcome::ok) return;
  ++counts_.ok;
  if (op.kind == ask_kind::read) {
    if (seen) check_read(op, *seen);
    return;
  }
  const auto entity = op.kind == ask_kind::recreate ? directory_ : op.entity;
  const auto work = work_of(id, op.kind == ask_kind::call ? call_work : main_work);
  acknowledged_[entity].push_back(work);
  if (op.era != store_.era() && forgotten_.contains(work)) lost_.insert(work); // the answer was on its way
}

/// A read sees everything that was acknowledged before it was asked.
void sim_hive::check_read(const operation& op, const std::vector<std::uint64_t>& seen) {
  if (op.era != store_.era()) return; // what it may see changed under way
  const std::set<std::uint64_t> all(seen.begin(), seen.end());
  const auto& expected = acknowledged_[op.entity];
  for (std::size_t i = 0; i < std::min(op.acknowledged, expected.size()); ++i)
    if (!all.contains(expected[i]) && !lost_.contains(expected[i]))
      return fail("a read of " + to_string(op.entity) + " misses operation " + std::to_string(expected[i] / 8) + ", which was acknowledged before");
  seen_[op.entity].insert(all.begin(), all.end());
}

// -- trouble

void sim_hive::make_trouble() {
  if (world_.now() >= scenario_.trouble_to) return;
  const auto& f = scenario_.faults;
  world_.after(world_.between(microseconds{f.every} / 2, microseconds{f.every} * 3 / 2), [this] { make_trouble(); });
  const std::array<unsigned, 12> weights{f.kill, f.pause, f.cut_pair, f.cut_peers, f.cut_store, f.reset,
                                         f.stall, f.away, f.break_all, f.drain, f.restart, f.clock};
  unsigned all = 0;
  for (const auto w : weights) all += w;
  if (all == 0) return;
  auto draw = world_.chance.below(all);
  std::size_t which = 0;
  while (draw >= weights[which]) draw -= weights[which++];
  node& n = *nodes_[world_.chance.below(nodes_.size())];
  node& other = *nodes_[world_.chance.below(nodes_.size())];
  const auto a_while = world_.between(milliseconds{200}, milliseconds{5'000});
  const auto look_later = [this, &n](microseconds when, std::function<void()> heal) {
    look_at_links(n);
    world_.after(when, [this, &n, heal = std::move(heal)] {
      heal();
      world_.trace(word::heal, n.index);
      look_at_links(n);
    });
  };
  const auto again = [this, &n] { start(n); };
  world_.trace(word::cut, which, n.index, other.index);
  switch (which) {
  case 0:
    kill(n);
    world_.after(world_.between(milliseconds{50}, milliseconds{5'000}), again);
    break;
  case 1: pause(n, world_.between(milliseconds{100}, f.pause_high)); break;
  case 2: {
    if (&n == &other) break;
    const bool both = world_.chance.one_in(2);
    n.deaf_to.insert(other.index);
    if (both) other.deaf_to.insert(n.index);
    look_later(a_while, [&n, &other] {
      n.deaf_to.erase(other.index);
      other.deaf_to.erase(n.index);
    });
    break;
  }
  case 3:
    for (const auto& o : nodes_)
      if (o->index != n.index) {
        n.deaf_to.insert(o->index);
        o->deaf_to.insert(n.index);
      }
    look_later(world_.between(milliseconds{500}, milliseconds{8'000}), [this, &n] {
      n.deaf_to.clear();
      for (const auto& o : nodes_) o->deaf_to.erase(n.index);
    });
    break;
  case 4:
    n.no_store = true;
    world_.after(a_while, [&n] { n.no_store = false; });
    break;
  case 5:
    n.reset = true;
    look_later(world_.between(milliseconds{300}, milliseconds{3'000}), [&n] { n.reset = false; });
    break;
  case 6: store_.stall(world_.now() + world_.between(milliseconds{20}, milliseconds{1'500})); break;
  case 7:
    if (store_.away()) break;
    store_.go_away();
    world_.trace(word::away);
    world_.after(world_.between(f.away_low, f.away_high), [this] {
      store_.come_back();
      world_.trace(word::back);
    });
    break;
  case 8: store_.break_connections(); break;
  case 9:
    if (!n.running || n.paused) break;
    obey(*n.running, n.running->member.drain(n.clock(world_.now())));
    world_.after(a_while, [this, &n] {
      if (n.running && !n.paused) obey(*n.running, n.running->member.undrain(n.clock(world_.now())));
    });
    break;
  case 11: {
    const bool far = world_.chance.one_in(2);
    const auto by = far ? world_.between(std::chrono::hours{1}, std::chrono::hours{30}) : world_.between(milliseconds{500}, milliseconds{9'000});
    set_clock(n, world_.chance.one_in(2) ? by : -by);
    world_.after(a_while, [this, &n] { set_clock(n, {}); });
    break;
  }
  default:
    if (n.running && !n.paused) obey(*n.running, n.running->member.leave(n.clock(world_.now())));
    break;
  }
}

void sim_hive::set_clock(node& n, microseconds ahead) {
  const auto by = std::chrono::abs(ahead - n.wall);
  n.wall = ahead;
  if (std::chrono::abs(ahead) <= clock_difference) n.wrong_since.reset();
  else if (!n.wrong_since) n.wrong_since = world_.now();
  if (by > clock_difference) // the shell sees that at its next tick
    post(n, milliseconds{25}, [this](process& p) { p.member.clock_moved(p.home.clock(world_.now())); });
}

void sim_hive::end_trouble() {
  lossy_ = false;
  store_.come_back();
  for (const auto& n : nodes_) {
    n->no_store = false;
    n->reset = false;
    n->deaf_to.clear();
    set_clock(*n, {});
    if (n->paused) {
      n->paused = false;
      auto kept = std::move(n->kept);
      n->kept.clear();
      for (auto& [whose, what] : kept)
        if (n->running && n->running->life == whose) what(*n->running);
    }
    start(*n);
    if (n->running) obey(*n->running, n->running->member.undrain(n->clock(world_.now())));
  }
  for (const auto& n : nodes_) look_at_links(*n);
  watch_recovery();
}

void sim_hive::forget() {
  std::map<std::uint64_t, bool> before;
  for (const auto& [id, e] : store_.entities())
    for (const auto w : e.ledger) before[w] = true;
  store_.forget(world_.between(milliseconds{100}, milliseconds{700}));
  for (const auto& [id, e] : store_.entities())
    for (const auto w : e.ledger) before.erase(w);
  for (const auto& [w, there] : before) forgotten_.insert(w);
  for (const auto& [entity, all] : acknowledged_)
    for (const auto w : all)
      if (before.contains(w)) lost_.insert(w);
}

/// How long it takes until every shard is served again.
void sim_hive::watch_recovery() {
  if (!not_served()) {
    counts_.served_again = world_.now() - scenario_.trouble_to;
    return;
  }
  world_.after(milliseconds{20}, [this] { watch_recovery(); });
}

/// Every shard is served by one node, which is the owner in the tables under the same epoch, and whose lease holds.
std::optional<std::string> sim_hive::not_served() const {
  for (const auto& row : store_.rows().shards) {
    unsigned by = 0;
    for (const auto& n : nodes_) {
      if (!n->running || n->running->member.self() != row.owner || !n->running->lease.held(n->clock(world_.now()))) continue;
      const auto s = n->running->shards.find(row.shard);
      by += s != n->running->shards.end() && s->second.fence == row.fence ? 1 : 0;
    }
    if (by != 1) return "shard " + std::to_string(row.shard.value()) + " is served by " + std::to_string(by) + " nodes";
  }
  return std::nullopt;
}

/// For a failure's message: where an entity stands at the end.
std::string sim_hive::describe(entity_id id) const {
  std::string text = to_string(id);
  const auto shard = shard_of(id, scenario_.shards);
  for (const auto& n : nodes_) {
    if (!n->running) continue;
    const auto s = n->running->shards.find(shard);
    const auto a = n->running->entities.find(id);
    if (s == n->running->shards.end() && a == n->running->entities.end()) continue;
    text += ", " + n->name + (s == n->running->shards.end() ? " does not serve it" : s->second.closing ? " is handing it off" : " serves it");
    if (a == n->running->entities.end()) text += ", not active";
    else
      text += std::string(a->second.loaded ? ", loaded" : ", loading") + (a->second.failed ? ", failed" : "") + ", " +
              std::to_string(a->second.running.size()) + " turns under way, " + std::to_string(a->second.lane.size()) + " messages wait";
  }
  return text;
}

void sim_hive::check_end() {
  if (const auto what = not_served()) return fail("long after the trouble: " + *what);
  std::map<std::uint64_t, unsigned> times;
  std::map<std::uint64_t, entity_id> where;
  std::map<entity_id, std::set<std::uint64_t>> ledgers;
  for (const auto& [id, e] : store_.entities()) {
    for (const auto w : e.ledger) {
      ++times[w];
      where[w] = id;
      ledgers[id].insert(w);
    }
    if (!e.deleted && !e.outbox.empty()) return fail("messages were never delivered: " + describe(id));
    if (!e.waiting.empty()) return fail("a turn waits for ever: " + describe(id));
    for (const auto& [op, t] : e.timers)
      if (t.due + seconds{3} < world_.now()) return fail("a timer never fired: " + describe(id));
  }
  for (const auto serial : denied_)
    if (store_.has(serial)) return fail("turn " + std::to_string(serial) + " was reported as not committed, and is there");
  for (const auto& [w, n] : times)
    if (n > 1) return fail("operation " + std::to_string(w / 8) + " was applied " + std::to_string(n) + " times");
  for (const auto& [entity, all] : acknowledged_)
    for (const auto w : all)
      if (!ledgers[entity].contains(w) && !lost_.contains(w)) return fail("operation " + std::to_string(w / 8) + " was acknowledged and is lost");
  for (const auto& [entity, all] : seen_)
    for (const auto w : all)
      if (!ledgers[entity].contains(w) && store_.era() == 0) return fail("a read saw operation " + std::to_string(w / 8) + ", which never was");
  for (const auto& op : operations_) {
    const bool applied = times.contains(work_of(op.id, main_work)) || times.contains(work_of(op.id, call_work));
    if (op.end == outcome::pending) return fail("operation " + std::to_string(op.id) + " was never answered");
    if (op.end == outcome::refused && applied) return fail("operation " + std::to_string(op.id) + " was refused and is there");
    if (op.kind == ask_kind::poison && applied) return fail("a poisoned operation is there");
    // What an operation caused is there if and only if it is; but nothing reaches who was deleted.
    const auto target = store_.entities().find(op.target);
    if (op.kind == ask_kind::send && applied != times.contains(work_of(op.id, sent_work)) &&
        (!applied || target == store_.entities().end() || !target->second.deleted))
      return fail("the message of operation " + std::to_string(op.id) + (applied ? " is lost" : " came from nowhere"));
    const auto own = store_.entities().find(op.entity);
    if (op.kind == ask_kind::timer && applied && op.due + seconds{3} < world_.now() && !times.contains(work_of(op.id, timer_work)) &&
        !own->second.deleted)
      return fail("the timer of operation " + std::to_string(op.id) + " is lost");
    if (scenario_.calls_once && calls_[op.id] > 1) return fail("the call of operation " + std::to_string(op.id) + " was made twice");
  }
  for (const auto& [w, meant] : meant_for_)
    if (const auto at = where.find(w); at != where.end() && at->second != meant)
      return fail("work for " + to_string(meant) + " reached " + to_string(at->second));
  if (!lost_.empty() && counts_.reports_lost == 0 && counts_.crashes == 0 && defect_ != mutation::keep_after_forgetting) return fail("the store lost commits, and nobody said so");
  if (scenario_.owners_stay)
    for (const auto& [shard, history] : store_.owners())
      for (const auto& [when, who] : history)
        if (when > scenario_.trouble_from) return fail("shard " + std::to_string(shard.value()) + " changed its owner");
}

std::optional<std::string> sim_hive::run() {
  world_.at(scenario_.begin, [this] { ask_something(); });
  world_.at(scenario_.trouble_from, [this] { make_trouble(); });
  world_.at(scenario_.trouble_to, [this] { end_trouble(); });
  if (scenario_.forgets_at) world_.at(*scenario_.forgets_at, [this] { forget(); });
  for (microseconds t = milliseconds{250}; t <= scenario_.end && !wrong_; t += milliseconds{250}) {
    world_.run_until(t);
    if (!wrong_ && !store_.wrong().empty()) wrong_ = store_.wrong().front() + " (at " + std::to_string(t.count() / 1000) + " ms)";
  }
  if (!wrong_) check_end();
  return wrong_;
}

} // namespace hive::sim
