#include "cluster/links/node_links.hpp"

#include "cluster/links/grpc/incoming.hpp"
#include "cluster/links/grpc/outgoing.hpp"
#include "config/base/log.hpp"

#include <grpcpp/server_builder.h>

#include <future>
#include <shared_mutex>

namespace hive::cluster::links {
namespace {

/// A peer of the list: dialled, again and again. On the control thread, but for what `guard` keeps.
struct remote {
  const peer who;
  reconnect_schedule schedule;
  std::shared_ptr<outgoing> attempt; ///< The latest; null while waiting.
  bool removed = false;
  std::atomic<std::int64_t> rtt_us{0};

  mutable std::mutex guard;
  std::shared_ptr<outgoing> live; ///< `attempt`, while it is up.
  std::string last_error;

  remote(peer p, reconnect_schedule s) : who(std::move(p)), schedule(s) {}

  std::shared_ptr<outgoing> link() const {
    std::lock_guard lock(guard);
    return live;
  }
};

error link_down(const remote& r) {
  std::lock_guard lock(r.guard);
  return {errc::unavailable,
          "link_down",
          "the link to node " + r.who.id + " is not up" + (r.last_error.empty() ? "" : ": " + r.last_error),
          {},
          milliseconds{100}};
}

/// Of a node that joins, the tables tell before the list of peers does: to who asks it is a link that is not up yet.
error no_peer(std::string_view node) {
  return {errc::unavailable, "link_down", "node " + std::string(node) + " is not in the list of peers", {}, milliseconds{100}};
}

} // namespace

class node_links::impl {
public:
  explicit impl(node_link_parts parts)
      : core_{parts.settings, parts.clock, parts.listener, std::move(parts.self), {}, {}, {}, {}, {}, {}}, chance_(parts.seed),
        table_(core_, [this](const link_event& e) { incoming_event(e); }) {}
  ~impl() { stop(); }

  result<void> start();
  void stop();
  void set_peers(std::vector<peer> peers);

  std::shared_ptr<remote> find(std::string_view node) const {
    std::shared_lock lock(peers_guard_);
    const auto found = remotes_.find(node);
    return found == remotes_.end() ? nullptr : found->second;
  }
  std::vector<link_status> status() const;
  link_counters counters() const;

  core core_;
  std::uint16_t port_ = 0;
  certificate_facts certificate_;

private:
  void apply_peers(const std::vector<peer>& peers);
  void tick();
  void tick_data();
  void dial(const std::shared_ptr<remote>& r);
  void came_up(remote& r);
  void ended(const std::shared_ptr<remote>& r, const outgoing::ending& how);
  void incoming_event(const link_event& e);
  void forget(remote& r, link_event::cause why);
  void check_certificate(steady_time now);

  random_source chance_; // control thread
  steady_time next_certificate_check_{};

  wire::NodeLink::AsyncService service_;
  incoming_table table_;
  std::unique_ptr<grpc::Server> server_;

  mutable std::shared_mutex peers_guard_;
  std::map<std::string, std::shared_ptr<remote>, std::less<>> remotes_;

  std::mutex stop_guard_;
  std::mutex state_guard_; // start, stop, set_peers
  bool started_ = false, stopped_ = false;
  std::vector<peer> wanted_;
  mutable std::mutex certificate_guard_;

  friend class node_links;
};

result<void> node_links::impl::start() {
  std::lock_guard lock(state_guard_);
  if (started_ || stopped_) return error{errc::failed_precondition, "started", "the node links were started before", {}, {}};
  for (const auto* name : {&core_.self.hive, &core_.self.node})
    if (!is_link_name(*name))
      return invalid("cluster.node",
                     "\"" + *name + "\" cannot be the id of a hive or node: letters, digits, '.', '_' and '-', 1 to 63 of them");
  prepare_grpc();
  auto facts = check_certificates(core_.settings, core_.self, core_.clock.wall_now());
  if (!facts) return facts.error();
  certificate_ = *facts;
  core_.files = watch_certificates(core_.settings);

  const auto& s = core_.settings;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(s.listen, listening_credentials(core_.files, core_.self.hive), &port);
  builder.RegisterService(&service_);
  builder.SetMaxReceiveMessageSize(message_bytes_of(s));
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0); // two nodes on one port would share its peers
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, static_cast<int>(s.connect_timeout.count()));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, transport_window);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 * 1024);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  std::unique_ptr<grpc::CompletionQueue> control = builder.AddCompletionQueue();
  std::unique_ptr<grpc::CompletionQueue> data = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  const auto period = std::clamp(s.heartbeat / 4, milliseconds{2}, milliseconds{50});
  core_.control = std::make_unique<io_thread>(std::move(control), "link-control", period, [this] { tick(); });
  core_.data = std::make_unique<io_thread>(std::move(data), "link-data", milliseconds{50}, [this] { tick_data(); });
  if (!server_ || port == 0) {
    server_.reset();
    core_.control->stop();
    core_.data->stop();
    return invalid("cluster.listen", "cluster.listen: cannot listen on " + s.listen + ": it is taken, or no address of this machine");
  }
  port_ = static_cast<std::uint16_t>(port);
  core_.control->start();
  core_.data->start();
  table_.start(service_);
  started_ = true;
  core_.control->post([this, peers = wanted_] { apply_peers(peers); });
  log::info("node links: listening", {{"node", core_.self.node}, {"generation", core_.self.generation.value()}, {"port", port_}});
  return {};
}

void node_links::impl::stop() {
  std::lock_guard one_at_a_time(stop_guard_);
  {
    // Not held while it waits for the threads: a callback there may be about to call set_peers.
    std::lock_guard lock(state_guard_);
    if (stopped_) return;
    stopped_ = true;
    if (!started_) return;
  }
  core_.stopping = true;
  std::promise<void> closed;
  core_.control->post([&] {
    std::vector<std::shared_ptr<remote>> all;
    {
      std::unique_lock peers_lock(peers_guard_);
      for (auto& [id, r] : remotes_) all.push_back(r);
      remotes_.clear();
    }
    for (const auto& r : all) forget(*r, link_event::cause::stopping);
    table_.close_all("this node stops");
    closed.set_value();
  });
  closed.get_future().wait();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds{200});
  core_.streams.wait_for_none();
  core_.control->stop();
  core_.data->stop();
  server_.reset();
}

void node_links::impl::set_peers(std::vector<peer> peers) {
  std::lock_guard lock(state_guard_);
  std::erase_if(peers, [this](const peer& p) { return p.id == core_.self.node; });
  wanted_ = std::move(peers);
  if (started_ && !stopped_) core_.control->post([this, list = wanted_] { apply_peers(list); });
}

void node_links::impl::apply_peers(const std::vector<peer>& peers) {
  if (core_.stopping) return;
  std::vector<std::pair<std::shared_ptr<remote>, link_event::cause>> gone;
  {
    std::unique_lock lock(peers_guard_);
    std::map<std::string, std::shared_ptr<remote>, std::less<>> next;
    for (const auto& p : peers) {
      const auto old = remotes_.find(p.id);
      if (old != remotes_.end() && old->second->who == p)
        next[p.id] = old->second;
      else
        next[p.id] =
            std::make_shared<remote>(p, reconnect_schedule(core_.settings.backoff_min, core_.settings.backoff_max, chance_.next()));
    }
    for (const auto& [id, r] : remotes_) {
      const auto now = next.find(id);
      if (now == next.end())
        gone.emplace_back(r, link_event::cause::removed);
      else if (now->second != r)
        gone.emplace_back(r, link_event::cause::replaced);
    }
    remotes_ = std::move(next);
  }
  table_.set_peers(peers);
  for (const auto& [r, why] : gone) forget(*r, why);
  tick();
}

void node_links::impl::forget(remote& r, link_event::cause why) {
  r.removed = true;
  {
    std::lock_guard lock(r.guard);
    r.live.reset();
  }
  const char* const words = why == link_event::cause::stopping  ? "this node stops"
                            : why == link_event::cause::removed ? "the list of peers does not name it any more"
                                                                : "the list of peers names another life or address of it";
  if (r.attempt) r.attempt->close({why, {}, words});
}

void node_links::impl::tick() {
  if (core_.stopping) return;
  const auto now = core_.clock.steady_now();
  std::vector<std::shared_ptr<remote>> all;
  {
    std::shared_lock lock(peers_guard_);
    for (const auto& [id, r] : remotes_) all.push_back(r);
  }
  for (const auto& r : all) {
    if (r->attempt)
      r->attempt->tick(now);
    else if (r->schedule.due(now))
      dial(r);
  }
  table_.tick(now);
  check_certificate(now);
}

void node_links::impl::tick_data() { table_.tick_data(core_.clock.steady_now()); }

void node_links::impl::dial(const std::shared_ptr<remote>& r) {
  outgoing::reports reports;
  reports.came_up = [this, r] { came_up(*r); };
  reports.round_trip = [this, r](std::chrono::microseconds took) {
    r->rtt_us = took.count();
    core_.listener.event({link_event::kind::round_trip, link_event::cause::none, r->who.id, r->who.generation, {}, {}, took, 0});
  };
  reports.ended = [this, r](const outgoing::ending& how) { ended(r, how); };
  r->attempt = std::make_shared<outgoing>(core_, r->who, chance_.next() | 1U, std::move(reports));
  r->attempt->dial();
}

void node_links::impl::came_up(remote& r) {
  if (r.removed) return;
  {
    std::lock_guard lock(r.guard);
    r.live = r.attempt;
    r.last_error.clear();
  }
  r.schedule.came_up(core_.clock.steady_now());
  add(core_.count.links_up);
  log::info("node link: up", {{"node", r.who.id}, {"generation", r.who.generation.value()}, {"address", r.who.address}});
  core_.listener.event({link_event::kind::up, link_event::cause::none, r.who.id, r.who.generation, {}, {}, {}, 0});
}

void node_links::impl::ended(const std::shared_ptr<remote>& r, const outgoing::ending& how) {
  {
    std::lock_guard lock(r->guard);
    r->live.reset();
    r->last_error = how.message;
  }
  r->attempt.reset();
  const bool refused = how.why == link_event::cause::handshake;
  r->schedule.failed(core_.clock.steady_now(), (refused && is_lasting(how.reason)) || how.why == link_event::cause::not_secure);
  const auto kind = how.was_up ? link_event::kind::down : refused ? link_event::kind::refused : link_event::kind::unreachable;
  if (how.was_up) add(core_.count.links_down);
  if (refused) add(core_.count.handshakes_refused);
  const auto attempts = r->schedule.failures();
  // The first failure is worth a line; that it goes on, one now and then.
  const bool quiet = !how.was_up && !refused && (attempts & (attempts - 1)) != 0;
  if (r->removed && !how.was_up) return;
  log::write(quiet        ? log::level::debug
             : r->removed ? log::level::info
                          : log::level::warn,
             "node link: " + std::string(to_string(kind)),
             {{"node", r->who.id},
              {"generation", r->who.generation.value()},
              {"address", r->who.address},
              {"cause", to_string(how.why)},
              {"reason", how.reason},
              {"why", how.message},
              {"attempt", attempts}});
  core_.listener.event({kind, how.why, r->who.id, r->who.generation, how.reason, how.message, {}, attempts});
}

void node_links::impl::incoming_event(const link_event& e) {
  // It is there: no use in waiting to dial it.
  if (e.what == link_event::kind::incoming_up)
    if (const auto r = find(e.node)) r->schedule.hurry();
  core_.listener.event(e);
}

/// The files are watched by gRPC; this only tells people, and knows how long the certificate holds.
void node_links::impl::check_certificate(steady_time now) {
  if (now < next_certificate_check_) return;
  const bool first = next_certificate_check_ == steady_time{};
  next_certificate_check_ = now + core_.settings.certificate_check;
  if (first) return; // `start` has just looked
  const auto facts = check_certificates(core_.settings, core_.self, core_.clock.wall_now());
  if (!facts) {
    log::error("node links: the certificate files are not good; connections that are up stay up, new ones will fail",
               {{"why", facts.error().message}});
    return;
  }
  std::lock_guard lock(certificate_guard_);
  if (facts->valid_until != certificate_.valid_until)
    log::info("node links: new certificate", {{"valid_until_ms", facts->valid_until.time_since_epoch().count()}});
  certificate_ = *facts;
}

std::vector<link_status> node_links::impl::status() const {
  std::vector<std::shared_ptr<remote>> all;
  {
    std::shared_lock lock(peers_guard_);
    for (const auto& [id, r] : remotes_) all.push_back(r);
  }
  std::vector<link_status> list;
  for (const auto& r : all) {
    link_status s;
    s.node = r->who.id;
    s.generation = r->who.generation;
    s.address = r->who.address;
    s.now = link_status::state::waiting;
    if (const auto live = r->link()) live->read_status(s);
    s.incoming = table_.is_up(r->who.id);
    s.rtt = std::chrono::microseconds{r->rtt_us.load()};
    std::lock_guard lock(r->guard);
    s.last_error = r->last_error;
    list.push_back(std::move(s));
  }
  return list;
}

link_counters node_links::impl::counters() const {
  const auto& c = core_.count;
  link_counters n;
  n.frames_sent = c.frames_sent;
  n.bytes_sent = c.bytes_sent;
  n.batches_sent = c.batches_sent;
  n.frames_received = c.frames_received;
  n.bytes_received = c.bytes_received;
  n.answers_sent = c.answers_sent;
  n.answers_received = c.answers_received;
  n.frames_dropped = c.frames_dropped;
  n.refused_full = c.refused_full;
  n.requests_failed = c.requests_failed;
  n.links_up = c.links_up;
  n.links_down = c.links_down;
  n.handshakes_refused = c.handshakes_refused;
  n.connections_refused = refused_connections();
  n.protocol_errors = c.protocol_errors;
  return n;
}

// -- the interface

node_links::node_links(node_link_parts parts) : impl_(std::make_unique<impl>(std::move(parts))) {}
node_links::~node_links() = default;

result<void> node_links::start() { return impl_->start(); }
void node_links::stop() { impl_->stop(); }
void node_links::set_peers(std::vector<peer> peers) { impl_->set_peers(std::move(peers)); }

result<void> node_links::tell(std::string_view node, lane by, frame f) {
  auto end = tell(node, by, std::span(&f, 1));
  if (end.why) return std::move(*end.why);
  return {};
}

node_links::told node_links::tell(std::string_view node, lane by, std::span<frame> frames) {
  const auto r = impl_->find(node);
  if (!r) return {0, no_peer(node)};
  const auto live = r->link();
  if (!live) return {0, link_down(*r)};
  return live->tell(by, frames);
}

void node_links::request(std::string_view node, lane by, frame f, steady_time deadline, answer_handler done) {
  const auto r = impl_->find(node);
  if (!r) return done(no_peer(node));
  if (by == lane::bulk) return done(invalid("lane", "requests go by the control or the data lane"));
  if (deadline <= impl_->core_.clock.steady_now())
    return done(error{errc::rejected, "deadline", "the deadline had passed before the request could be sent", {}, {}});
  if (const auto live = r->link())
    live->request(by, std::move(f), deadline, done);
  else
    done(link_down(*r));
}

void node_links::answer(const answer_token& to, result<std::string> with) {
  if (const auto session = std::static_pointer_cast<incoming>(to.session().lock())) session->answer(to.correlation(), std::move(with));
}

bool node_links::is_up(std::string_view node) const {
  const auto r = impl_->find(node);
  return r && r->link();
}

std::vector<link_status> node_links::status() const { return impl_->status(); }
link_counters node_links::counters() const { return impl_->counters(); }
std::uint16_t node_links::port() const noexcept { return impl_->port_; }

wall_time node_links::certificate_valid_until() const {
  std::lock_guard lock(impl_->certificate_guard_);
  return impl_->certificate_.valid_until;
}

} // namespace hive::cluster::links
