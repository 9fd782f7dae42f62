#include "runtime/node/cluster_member.hpp"

#include "cluster/former_life.hpp"
#include "config/base/log.hpp"

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
  if (!j.is_object()) return error{errc::unknown, "malformed", "the other node's answer cannot be read"};
  drain_report r;
  r.node = j.value("node", "");
  r.state = static_cast<cluster::node_state>(j.value("state", 0));
  r.shards_left = j.value("left", std::size_t{0});
  r.handing_off = j.value("handing_off", std::size_t{0});
  for (const auto& m : j.value("plan", json::array())) r.plan.push_back({shard_id{m[0].get<std::uint16_t>()}, m[1].get<std::string>()});
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
  std::erase_if(down_, [&](const std::string& name) {
    return std::none_of(live.begin(), live.end(), [&](const auto& n) { return n.facts.name == name; });
  });
  for (const auto& n : live) names.emplace(n.generation, n.facts.name);
  host_->remote()->set_peers(std::move(names), self);
  host_->remote()->connect(membership_->links());
}

void cluster_member::linked(const std::string& node, bool up) {
  if (up) down_.erase(node);
  else down_.insert(node);
  parts_.authenticator.forget_all();
  host_->linked(node, up);
}

/// While a peer is not heard, what this node remembers of names and keys may be wrong: it is read again each second.
void cluster_member::each_tick(const std::string& joining) {
  host_->set_joining(joining);
  host_->each_tick();
  const auto now = parts_.clock.steady_now();
  if (down_.empty() || now < next_forget_) return;
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
  host_->remote()->tell_all("forget_keys", parts_.authenticator.system(), json{{"tenants", tenants}, {"keys", keys}}.dump());
}

void cluster_member::answer_peers() {
  auto& remote = *host_->remote();
  using answer_to = actors::remote::remote_shards::answer_to;
  using milliseconds = std::chrono::milliseconds;
  remote.handle("forget_keys", [this](tenant_context, const std::string& body, milliseconds, const answer_to& done) {
    const auto j = json::parse(body, nullptr, false);
    if (j.is_object()) {
      for (const auto& t : j.value("tenants", json::array())) parts_.authenticator.forget_tenant(t[0].get<std::string>(), tenant_id{t[1].get<std::uint32_t>()});
      for (const auto& k : j.value("keys", json::array())) parts_.authenticator.forget_key(k.get<std::string>());
    }
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
