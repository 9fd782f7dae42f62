#include "runtime/api/services/services.hpp"

#include <map>

namespace hive::api {
namespace {

using cluster::drain_report;
using cluster::hive_report;

v1::Drain drain_from(const drain_report& r) {
  v1::Drain out;
  out.set_node(r.node);
  out.set_state(cluster::to_string(r.state));
  out.set_shards_left(static_cast<std::uint32_t>(r.shards_left));
  out.set_handing_off(static_cast<std::uint32_t>(r.handing_off));
  for (const auto& m : r.plan) {
    auto& move = *out.add_plan();
    move.set_shard(m.shard.value());
    move.set_to(m.to);
  }
  return out;
}

auto say_drain(reply<v1::Drain> done) {
  return [done = std::move(done)](const result<drain_report>& r) { done(r ? result<v1::Drain>(drain_from(*r)) : result<v1::Drain>(r.error())); };
}

error alone() {
  return {errc::failed_precondition, "single_node", "this hive is one node: it keeps all shards (cluster.node names a node among others)", "node"};
}

} // namespace

void node_service::list(const call&, v1::ListNodesRequest&, reply<v1::ListNodesResponse> done) {
  if (!with_.nodes) {
    v1::ListNodesResponse out;
    out.set_serving(!with_.hive.not_ready());
    return done(std::move(out));
  }
  with_.nodes->report([done = std::move(done)](const result<hive_report>& r) {
    if (!r) return done(r.error());
    v1::ListNodesResponse out;
    out.set_hive(r->hive);
    out.set_self(r->self);
    out.set_serving(r->serving);
    out.set_version(r->version);
    for (const auto& n : r->nodes) {
      auto& node = *out.add_nodes();
      const auto& f = n.row.facts;
      node.set_name(f.name);
      node.set_generation(n.row.generation.value());
      node.set_state(cluster::to_string(n.row.state));
      node.set_self(n.self);
      node.set_shards(static_cast<std::uint32_t>(n.shards));
      node.set_lease_left_ms(n.row.lease_left.count());
      node.set_link(n.link);
      node.set_rtt_us(n.rtt.count());
      node.set_http(f.http);
      node.set_links(f.links);
      node.set_zone(f.zone);
      node.set_version(f.version);
      node.set_capacity(f.capacity);
      node.set_last_error(n.last_error);
    }
    done(std::move(out));
  });
}

void node_service::shards(const call&, v1::ListShardsRequest&, reply<v1::ListShardsResponse> done) {
  if (!with_.nodes) return done(alone());
  with_.nodes->report([done = std::move(done)](const result<hive_report>& r) {
    if (!r) return done(r.error());
    std::map<node_generation, std::string> names;
    for (const auto& n : r->nodes) names[n.row.generation] = n.row.facts.name;
    v1::ListShardsResponse out;
    for (const auto& s : r->shards) {
      auto& shard = *out.add_shards();
      shard.set_number(s.shard.value());
      const auto name = names.find(s.owner);
      if (name != names.end()) shard.set_node(name->second);
      shard.set_generation(s.owner.value());
      shard.set_epoch(s.fence.value());
    }
    done(std::move(out));
  });
}

void node_service::drain(const call&, v1::DrainNodeRequest& request, reply<v1::Drain> done) {
  if (!with_.nodes) return done(alone());
  with_.nodes->drain(request.node(), request.dry_run(), say_drain(std::move(done)));
}

void node_service::undrain(const call&, v1::UndrainNodeRequest& request, reply<v1::Drain> done) {
  if (!with_.nodes) return done(alone());
  with_.nodes->undrain(request.node(), say_drain(std::move(done)));
}

} // namespace hive::api
