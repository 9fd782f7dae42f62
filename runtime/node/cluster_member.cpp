#include "runtime/node/cluster_member.hpp"

#include "cluster/former_life.hpp"
#include "config/base/checked_json.hpp"
#include "config/base/log.hpp"

#include <algorithm>

namespace hive::node {

using cluster::drain_report;
using nlohmann::json;

namespace {

constexpr const char* program_version = "0.1.0";
constexpr auto peers_answer_in = std::chrono::seconds{5};

std::string text_of(const drain_report& r) {
  json plan = json::array();
  for (const auto& m : r.plan) plan.push_back({m.shard.value(), m.to});
  return json{{"node", r.node}, {"state", static_cast<int>(r.state)}, {"left", r.shards_left}, {"handing_off", r.handing_off}, {"plan", plan}}.dump();
}

result<drain_report> drain_from(const std::string& text) {
  const auto j = json::parse(text, nullptr, false);
  const auto node = text_in(member_of(j, "node"));
  const auto state = unsigned_in<std::uint8_t>(member_of(j, "state"));
  const auto left = unsigned_in<std::uint32_t>(member_of(j, "left"));
  const auto handing_off = unsigned_in<std::uint32_t>(member_of(j, "handing_off"));
  if (!node || !state || *state > static_cast<std::uint8_t>(cluster::node_state::dead) || !left || !handing_off)
    return error{errc::unknown, "malformed", "the other node's answer cannot be read"};
  drain_report r{*node, static_cast<cluster::node_state>(*state), *left, *handing_off, {}};
  for (const auto& m : elements_of(member_of(j, "plan"))) {
    const auto shard = unsigned_in<std::uint16_t>(element_of(m, 0));
    const auto to = text_in(element_of(m, 1));
    if (shard && to) r.plan.push_back({shard_id{*shard}, *to});
  }
  return r;
}

} // namespace

cluster_member::cluster_member(cluster_member_parts parts) : parts_(std::move(parts)), map_(parts_.shards) {}

cluster_member::~cluster_member() { stop(); }

void cluster_member::start(actors::node_host& host) {
  host_ = &host;
  host_->hold(); // until the lease is there
  host_->set_joining("it has not joined the hive yet");
  answer_peers();
  const auto& s = parts_.settings;
  cluster::node_facts facts;
  facts.name = s.cluster.node;
  facts.links = s.cluster.advertise.empty() ? s.link.listen : s.cluster.advertise;
  facts.http = s.api.http;
  facts.pool = s.cluster.pool;
  facts.zone = s.cluster.zone;
  facts.version = program_version;
  facts.capacity = s.cluster.capacity;
  membership_ = std::make_unique<cluster::membership_thread>(cluster::membership_parts{
    s.cluster, s.link, parts_.clock, std::move(facts), s.cluster.hive, s.cluster.cell, parts_.store, former(), parts_.first_life, map_, lease_, *this, parts_.open_store,
    [this](const std::string& node, bool undrain, bool plan_only, std::function<void(result<drain_report>)> done) {
      ask_node(node, undrain, plan_only, std::move(done));
    },
    parts_.seed});
  membership_->start();
}

void cluster_member::leave() { membership_->leave(); }

void cluster_member::stop() {
  if (!membership_) return;
  if (host_ && host_->remote()) host_->remote()->connect(nullptr);
  membership_->stop();
}

void cluster_member::answer_carried(carried how) {
  std::unique_lock lock(carried_guard_);
  carried_ = std::move(how);
}

void cluster_member::store_forgot(const std::string& lost) {
  if (membership_) membership_->store_forgot(lost);
}

node_generation cluster_member::former() const {
  const auto last = cluster::read_former_life(parts_.settings.data_dir);
  if (last.over || last.generation == node_generation{}) return last.generation;
  log::warn("this data directory was copied, or its machine started anew since: the generation in it may be alive elsewhere, and is waited for until its lease ends",
            {{"node", parts_.settings.cluster.node}, {"generation", last.generation.value()}, {"data", parts_.settings.data_dir}});
  return {};
}

result<void> cluster_member::generation_begins(node_generation generation) {
  if (auto written = cluster::write_life(parts_.settings.data_dir, generation); !written) return written.error();
  log::info("joined the hive", {{"node", parts_.settings.cluster.node}, {"generation", generation.value()}});
  return host_->begin_generation(generation);
}

void cluster_member::peers(const std::vector<cluster::node_row>& live, node_generation self) {
  std::map<node_generation, std::string> names;
  live_.clear();
  for (const auto& n : live) {
    names.emplace(n.generation, n.facts.name);
    if (n.generation != self) live_.insert(n.facts.name);
  }
  host_->remote()->set_peers(std::move(names), self);
  host_->remote()->connect(membership_->links());
}

/// What the peer says travels by its own link to this node: when that was down, words of it were lost, and this node's link to
/// the peer, which may have been up all the time, does not tell.
void cluster_member::heard(const std::string& node, bool up) {
  if (up) heard_.insert(node);
  else heard_.erase(node);
  forget_what_peers_change();
}

void cluster_member::forget_what_peers_change() {
  parts_.authenticator.forget_all();
  host_->read_again();
}

/// While a peer is not heard, what this node remembers of names and keys may be wrong: it is read again each second.
void cluster_member::each_tick(const std::string& joining) {
  host_->set_joining(joining);
  host_->each_tick();
  const auto now = parts_.clock.steady_now();
  if (now < next_forget_ || std::includes(heard_.begin(), heard_.end(), live_.begin(), live_.end())) return;
  next_forget_ = now + std::chrono::seconds{1};
  host_->forget_names();
  parts_.authenticator.forget_all();
}

// -- what nodes tell and ask each other

void cluster_member::tell_peers_to_forget(const persistence::turn_record& r) {
  if (!host_ || !host_->remote()) return;
  json tenants = json::array();
  json keys = json::array();
  for (const auto& t : r.tenants) tenants.push_back({t.name, t.id.value()});
  for (const auto& k : r.api_keys) keys.push_back(k.id);
  host_->remote()->tell_all_surely("forget_keys", parts_.authenticator.system(), json{{"tenants", tenants}, {"keys", keys}}.dump());
}

void cluster_member::answer_peers() {
  auto& remote = *host_->remote();
  using answer_to = actors::remote::remote_shards::answer_to;
  using milliseconds = std::chrono::milliseconds;
  remote.handle("forget_keys", [this](tenant_context, const std::string& body, milliseconds, const answer_to& done) {
    const auto j = json::parse(body, nullptr, false);
    for (const auto& t : elements_of(member_of(j, "tenants"))) {
      const auto name = text_in(element_of(t, 0));
      const auto id = unsigned_in<std::uint32_t>(element_of(t, 1));
      if (name && id) parts_.authenticator.forget_tenant(*name, tenant_id{*id});
    }
    for (const auto& k : elements_of(member_of(j, "keys")))
      if (const auto id = text_in(k)) parts_.authenticator.forget_key(*id);
    done(std::string());
  });
  remote.handle(actors::remote::missed_something, [this](tenant_context, const std::string&, milliseconds, const answer_to& done) {
    forget_what_peers_change();
    done(std::string());
  });
  remote.handle("api", [this](tenant_context who, const std::string& body, milliseconds, answer_to done) {
    std::shared_lock lock(carried_guard_);
    if (carried_) carried_(who, body, std::move(done));
    else done(error{errc::unavailable, "not_here", "this node starts or stops"});
  });
  remote.handle("drain", [this](tenant_context, const std::string& body, milliseconds, const answer_to& done) {
    const auto said = [done](const result<drain_report>& r) { done(r ? result<std::string>(text_of(*r)) : result<std::string>(r.error())); };
    const auto& self = parts_.settings.cluster.node;
    if (body == "end") membership_->undrain(self, said);
    else membership_->drain(self, body == "plan", said);
  });
}

void cluster_member::ask_node(const std::string& node, bool undrain, bool plan_only, std::function<void(result<drain_report>)> done) {
  host_->remote()->call(node, "drain", parts_.authenticator.system(), undrain ? "end" : plan_only ? "plan" : "begin", peers_answer_in,
                        [done = std::move(done)](const result<std::string>& said) { done(said ? drain_from(*said) : result<drain_report>(said.error())); });
}

} // namespace hive::node
