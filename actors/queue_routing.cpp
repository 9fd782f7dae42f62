// Which partition of a tenant's queue takes a submission. Its key must meet what it was used for before, also when there
// were fewer partitions then: those that may know it are asked in turn, and each but one says that it does not take it.
#include "actors/generated_key.hpp"
#include "actors/node_host.hpp"
#include "actors/system/queue_explain.hpp"

namespace hive::actors {

/// A submission that looks for its partition.
struct node_host::meeting {
  ask_request request;
  std::unique_ptr<reply_sink> sink;
  steady_time until;
  bool unused_key = false;                       ///< It was made here.
  std::string what;                              ///< Its key, or the name of its agent.
  std::vector<std::uint32_t> points;
  std::size_t asked = 0;
};

class node_host::meeting_sink final : public reply_sink {
public:
  meeting_sink(node_host& host, tenant_context who, std::shared_ptr<meeting> of) : host_(host), who_(who), of_(std::move(of)) {}

  void answered(ask_answer&& a) override {
    if (!a.body.bytes.starts_with(R"({"moved":)")) return of_->sink->answered(std::move(a));
    of_->asked += 1;
    if (of_->asked < of_->points.size()) return host_.meet(who_, std::move(of_));
    // There are more partitions than this node knew.
    host_.read_tenant(who_.tenant(), [&host = host_, who = who_, of = of_] {
      const auto& keep = host.parts_.settings.keep.keys;
      for (const auto p : host.metrics(who.tenant()).division().meeting_points(of->what, host.parts_.clock.wall_now(), keep))
        if (std::find(of->points.begin(), of->points.end(), p) == of->points.end()) of->points.push_back(p);
      host.meet(who, of);
    });
  }
  void failed(error&& why, const std::string& key) override { of_->sink->failed(std::move(why), key); }

private:
  node_host& host_;
  tenant_context who_;
  std::shared_ptr<meeting> of_;
};

void node_host::submit_task(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink) {
  const auto division = metrics(who.tenant()).division();
  const bool named = !request.idempotency_key.empty();
  if (division.partitions == 1 && !named && !parts_.map) return ask_one(who, std::move(request), std::move(sink), false);
  if (request.route.starts_with("task/")) {
    const auto id = scheduling::task_id_from(std::string_view(request.route).substr(5));
    request.to.name = queue_name(id ? scheduling::partition_of(*id) : 0);
    return ask_one(who, std::move(request), std::move(sink), false);
  }
  const auto now = parts_.clock.wall_now();
  auto m = std::make_shared<meeting>();
  if (!named) {
    thread_local random_source chance{new_seed()};
    request.idempotency_key = make_generated_key(now, chance);
    m->unused_key = true;
  }
  m->what = request.route.starts_with("agent/") ? request.route.substr(6) : request.idempotency_key;
  if (named) m->points = division.meeting_points(m->what, now, parts_.settings.keep.keys);
  else m->points = {scheduling::partition_for(m->what, division.partitions)};
  const auto& s = parts_.settings.api;
  m->until = parts_.clock.steady_now() + (request.deadline.count() > 0 ? std::min(request.deadline, s.ask_deadline_max) : s.ask_deadline);
  m->request = std::move(request);
  m->sink = std::move(sink);
  meet(who, std::move(m));
}

void node_host::meet(tenant_context who, std::shared_ptr<meeting> of) {
  const auto left = std::chrono::floor<std::chrono::milliseconds>(of->until - parts_.clock.steady_now());
  if (of->asked >= of->points.size() || left.count() <= 0)
    return of->sink->failed({errc::unavailable, "queue_growing", "the queue is being divided into more partitions: try again with the same key", {},
                             std::chrono::milliseconds{200}}, of->request.idempotency_key);
  auto request = of->request;
  request.to.name = queue_name(of->points[of->asked]);
  request.deadline = left;
  const bool unused = of->unused_key;
  ask_one(who, std::move(request), std::make_unique<meeting_sink>(*this, who, std::move(of)), unused);
}

/// What the tenant's row says now; `then` on any thread, whatever came of it.
void node_host::read_tenant(tenant_id tenant, std::function<void()> then) {
  read(tenant, [this, tenant, then = std::move(then)](persistence::store_reader& store) {
    if (const auto row = store.find_tenant(tenant)) know_tenant(*row);
    then();
  });
}

/// All its partitions, each as its own shard tells.
void node_host::explain_queue_whole(tenant_context who, std::function<void(json)> done) {
  struct gathering {
    std::mutex guard;
    std::vector<json> all;
    std::size_t open;
  };
  const auto n = metrics(who.tenant()).division().partitions;
  auto g = std::make_shared<gathering>();
  g->all.resize(n);
  g->open = n;
  for (std::uint32_t p = 0; p < n; ++p)
    explain_entity(who, queue_of(who.tenant(), p), "queue/" + queue_name(p), [g, p, done](json said) {
      {
        std::lock_guard lock(g->guard);
        g->all[p] = std::move(said);
        if (--g->open != 0) return;
      }
      json e{{"address", "queue/default"}, {"partitions", std::move(g->all)}};
      done(std::move(e));
    });
}

} // namespace hive::actors
