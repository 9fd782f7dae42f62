#include "runtime/ops/metrics.hpp"

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <mutex>
#include <sstream>

namespace hive::ops {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::vector<ClientMetric::Label>;

MetricFamily family(std::string name, std::string help, MetricType type) {
  MetricFamily f;
  f.name = std::move(name);
  f.help = std::move(help);
  f.type = type;
  return f;
}

void add_value(MetricFamily& f, double value, labels with = {}) {
  ClientMetric m;
  m.label = std::move(with);
  if (f.type == MetricType::Counter) m.counter.value = value;
  else m.gauge.value = value;
  f.metric.push_back(std::move(m));
}

std::size_t slot_of(std::uint64_t value, std::size_t slots) noexcept {
  const auto bits = static_cast<std::size_t>(64 - __builtin_clzll(value | 1U));
  return std::min(bits - 1, slots - 1);
}

/// Slot [i] holds what was 2^i .. 2^(i+1)-1; the last one everything above. @param unit of one, e.g. 1e-6 for microseconds.
/// The sum is not counted anywhere: it is taken as if all stood in the middle of their slots, unless `sum` is given.
template <class Slots> void add_histogram(MetricFamily& f, const Slots& slots, double unit, labels with, std::optional<double> sum = {}) {
  ClientMetric m;
  m.label = std::move(with);
  std::uint64_t total = 0;
  double guessed = 0;
  const std::size_t count = std::size(slots);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t here = slots[i];
    total += here;
    guessed += static_cast<double>(here) * 1.5 * static_cast<double>(1ULL << i) * unit;
    ClientMetric::Bucket b;
    b.cumulative_count = total;
    b.upper_bound = i + 1 == count ? std::numeric_limits<double>::infinity() : static_cast<double>(1ULL << (i + 1)) * unit;
    m.histogram.bucket.push_back(b);
  }
  m.histogram.sample_count = total;
  m.histogram.sample_sum = sum.value_or(guessed);
  f.metric.push_back(std::move(m));
}

double count_open_files() {
  double n = -1; // the directory's own
  if (DIR* dir = ::opendir("/proc/self/fd")) {
    while (const auto* entry = ::readdir(dir))
      if (entry->d_name[0] != '.') ++n;
    ::closedir(dir);
  }
  return n;
}

double resident_bytes() {
  std::ifstream in("/proc/self/statm");
  double pages = 0;
  in >> pages >> pages;
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
  std::ifstream in("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto behind_name = text.rfind(')');
  if (behind_name == std::string::npos) return 0;
  std::istringstream rest(text.substr(behind_name + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) rest >> skipped;
  double user = 0, system = 0;
  rest >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void add_process(std::vector<MetricFamily>& out) {
  const auto gauge = [&](const char* name, const char* help, double value, MetricType type = MetricType::Gauge) {
    out.push_back(family(name, help, type));
    add_value(out.back(), value);
  };
  gauge("process_resident_memory_bytes", "Resident memory of the node.", resident_bytes());
  gauge("process_open_fds", "Open file descriptors of the node.", count_open_files());
  gauge("process_cpu_seconds_total", "Processor time of the node, user and system.", cpu_seconds(), MetricType::Counter);
}

void add_node(std::vector<MetricFamily>& out, const actors::gauges& g) {
  const auto gauge = [&](const char* name, const char* help, std::uint64_t value) {
    out.push_back(family(name, help, MetricType::Gauge));
    add_value(out.back(), static_cast<double>(value));
  };
  gauge("hive_activations", "Entities in memory.", g.activations);
  gauge("hive_activation_bytes", "Memory of the entities in memory, roughly.", g.activation_bytes);
  gauge("hive_queued_messages", "Messages in mailboxes.", g.queued_messages);
  gauge("hive_run_ahead_turns", "Turns that ran and are not on disk yet.", g.run_ahead_turns);
  gauge("hive_run_ahead_bytes", "Size of the turns that ran and are not on disk yet.", g.run_ahead_bytes);
  gauge("hive_waiting_turns", "Turns that wait in a step.", g.waiting_turns);
  gauge("hive_outbox_messages", "Durable messages that their receivers have not handled yet.", g.outbox);
  gauge("hive_timers", "Timers that are set.", g.timers);
  gauge("hive_collections", "Collections in memory.", g.collections);
  gauge("hive_collection_bytes", "Bytes of the collections in memory.", g.collection_bytes);
}

void add_commits(std::vector<MetricFamily>& out, const persistence::commit_statistics& s) {
  const auto counter = [&](const char* name, const char* help, std::uint64_t value) {
    out.push_back(family(name, help, MetricType::Counter));
    add_value(out.back(), static_cast<double>(value));
  };
  const std::uint64_t turns = s.turns;
  counter("hive_commits_total", "Batches written and synced.", s.batches);
  counter("hive_committed_turns_total", "Turns in those batches.", turns);
  counter("hive_read_only_turns_total", "Turns that wrote nothing: only their fence was checked.", s.rows_only_fenced);
  counter("hive_refused_turns_total", "Turns that the store refused.", s.refused);
  counter("hive_unavailable_batches_total", "Batches that could not be written for want of space or reach.", s.unavailable);
  out.push_back(family("hive_commit_batch_turns", "Turns in a batch.", MetricType::Histogram));
  add_histogram(out.back(), s.batch_sizes, 1, {}, static_cast<double>(turns));
  out.push_back(family("hive_commit_seconds", "Time to write and sync a batch.", MetricType::Histogram));
  add_histogram(out.back(), s.latencies, 1e-6, {}, static_cast<double>(s.nanoseconds) * 1e-9);
}

void add_cache(std::vector<MetricFamily>& out, const persistence::read_cache& cache) {
  const auto of_tiers = [&](const char* name, const char* help, MetricType type, auto value) {
    out.push_back(family(name, help, type));
    for (const auto& tier : cache.tiers()) add_value(out.back(), static_cast<double>(value(tier->counters())), {{"tier", std::string(tier->name())}});
  };
  using counters = persistence::cache_counters;
  const auto counter = [&](const char* name, const char* help, std::atomic<std::uint64_t> counters::* member) {
    of_tiers(name, help, MetricType::Counter, [member](const counters& c) { return (c.*member).load(); });
  };
  counter("hive_cache_hits_total", "Reads that the tier answered.", &counters::hits);
  counter("hive_cache_misses_total", "Reads that the tier could not answer.", &counters::misses);
  counter("hive_cache_stored_total", "Values that the tier took.", &counters::stored);
  counter("hive_cache_refused_total", "Values that the tier did not take: not newer than what it had, or too large.", &counters::refused);
  counter("hive_cache_evictions_total", "Values that went for want of room.", &counters::evictions);
  counter("hive_cache_errors_total", "Calls that failed, and values that were not what had been put.", &counters::errors);
  of_tiers("hive_cache_up", "1: the tier is reached.", MetricType::Gauge, [](const counters& c) { return c.up.load() ? 1 : 0; });
  for (const auto& tier : cache.tiers()) {
    if (tier->name() != "memory") continue; // what Redis holds, Redis says
    out.push_back(family("hive_cache_entries", "Values in process.", MetricType::Gauge));
    add_value(out.back(), static_cast<double>(tier->counters().entries));
    out.push_back(family("hive_cache_bytes", "Bytes of the values in process, with what it takes to find them.", MetricType::Gauge));
    add_value(out.back(), static_cast<double>(tier->counters().bytes));
  }
  out.push_back(family("hive_cached_reads_total", "Reads that some tier answered (hit), and that went to the store (miss).", MetricType::Counter));
  add_value(out.back(), static_cast<double>(cache.hits()), {{"result", "hit"}});
  add_value(out.back(), static_cast<double>(cache.misses()), {{"result", "miss"}});
}

void add_wakes(std::vector<MetricFamily>& out, const persistence::wake_counters& w) {
  const auto counter = [&](const char* name, const char* help) { out.push_back(family(name, help, MetricType::Counter)); };
  counter("hive_wake_ups_asked_total", "Tenants with events, commit by commit.");
  add_value(out.back(), static_cast<double>(w.asked));
  counter("hive_wake_ups_total", "Wake-ups that left for the other nodes, by what carried them.");
  add_value(out.back(), static_cast<double>(w.by_redis), {{"by", "redis"}});
  add_value(out.back(), static_cast<double>(w.by_links), {{"by", "links"}});
  counter("hive_wake_ups_dropped_total", "Wake-ups of too many tenants at once: their watchers look by themselves.");
  add_value(out.back(), static_cast<double>(w.dropped));
}

void add_cluster(std::vector<MetricFamily>& out, const cluster::cluster_gauges& c) {
  using cluster::links::link_counters;
  using cluster::links::link_status;
  const auto gauge = [&](const char* name, const char* help, std::size_t value) {
    out.push_back(family(name, help, MetricType::Gauge));
    add_value(out.back(), static_cast<double>(value));
  };
  gauge("hive_lease_held", "1: this node's lease holds, and it may answer.", c.serving ? 1 : 0);
  gauge("hive_shards_owned", "Shards that this node serves.", c.shards);
  gauge("hive_shards_handing_off", "Of these, on their way to other nodes.", c.handing_off);
  out.push_back(family("hive_node_state", "1 at the state that this node is in.", MetricType::Gauge));
  for (const auto s : {cluster::node_state::joining, cluster::node_state::active, cluster::node_state::draining, cluster::node_state::left, cluster::node_state::dead})
    add_value(out.back(), c.state == s ? 1 : 0, {{"state", cluster::to_string(s)}});

  const auto of_peers = [&](const char* name, const char* help, auto value) {
    out.push_back(family(name, help, MetricType::Gauge));
    for (const auto& p : c.peers) add_value(out.back(), static_cast<double>(value(p)), {{"peer", p.node}});
  };
  of_peers("hive_link_up", "1: this node's link to the peer is up.", [](const link_status& p) { return p.now == link_status::state::up ? 1 : 0; });
  of_peers("hive_link_incoming_up", "1: the peer's link to this node is up.", [](const link_status& p) { return p.incoming ? 1 : 0; });
  of_peers("hive_link_round_trip_seconds", "Of the last heartbeat.", [](const link_status& p) { return static_cast<double>(p.rtt.count()) * 1e-6; });
  of_peers("hive_link_queued_frames", "Waiting to go to the peer.", [](const link_status& p) { return p.queued_frames; });
  of_peers("hive_link_queued_bytes", "Of these frames.", [](const link_status& p) { return p.queued_bytes; });
  of_peers("hive_link_requests", "Waiting for the peer's answers.", [](const link_status& p) { return p.requests; });

  const auto counter = [&](const char* name, const char* help, std::uint64_t link_counters::*value) {
    out.push_back(family(name, help, MetricType::Counter));
    add_value(out.back(), static_cast<double>(c.links.*value));
  };
  counter("hive_link_frames_sent_total", "Messages and requests, to all peers.", &link_counters::frames_sent);
  counter("hive_link_bytes_sent_total", "Of these.", &link_counters::bytes_sent);
  counter("hive_link_batches_sent_total", "Writes that carried them.", &link_counters::batches_sent);
  counter("hive_link_frames_received_total", "Messages and requests, of all peers.", &link_counters::frames_received);
  counter("hive_link_bytes_received_total", "Of these.", &link_counters::bytes_received);
  counter("hive_link_answers_sent_total", "Answers to requests of peers.", &link_counters::answers_sent);
  counter("hive_link_answers_received_total", "Answers of peers.", &link_counters::answers_received);
  counter("hive_link_frames_dropped_total", "Messages that waited for a link which went down.", &link_counters::frames_dropped);
  counter("hive_link_refused_full_total", "Messages and requests that did not fit into a bound of a link.", &link_counters::refused_full);
  counter("hive_link_requests_failed_total", "Requests that ended with a link, a peer's life or their deadline.", &link_counters::requests_failed);
  counter("hive_link_ups_total", "Times that a link to a peer came up.", &link_counters::links_up);
  counter("hive_link_downs_total", "Times that one went down.", &link_counters::links_down);
  counter("hive_link_handshakes_refused_total", "By word, either way.", &link_counters::handshakes_refused);
  counter("hive_link_connections_refused_total", "Before any word, by TLS.", &link_counters::connections_refused);
  counter("hive_link_protocol_errors_total", "Peers that were cut off because they sent what no node sends.", &link_counters::protocol_errors);
}

/// The first `limit` tenants by id keep their names, the others become one.
std::vector<actors::tenant_counters> capped(std::vector<actors::tenant_counters> all, std::size_t limit) {
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.tenant < b.tenant; });
  if (all.size() <= limit) return all;
  actors::tenant_counters other;
  other.name = "(other)";
  for (std::size_t i = limit; i < all.size(); ++i) {
    other.turns += all[i].turns;
    other.tells += all[i].tells;
    other.asks += all[i].asks;
    other.crashes += all[i].crashes;
    other.rejected += all[i].rejected;
    other.dead_letters += all[i].dead_letters;
    other.overdue += all[i].overdue;
    for (std::size_t b = 0; b < other.turn_micros.size(); ++b) other.turn_micros[b] += all[i].turn_micros[b];
    for (std::size_t b = 0; b < other.ask_micros.size(); ++b) other.ask_micros[b] += all[i].ask_micros[b];
  }
  all.resize(limit);
  all.push_back(std::move(other));
  return all;
}

void add_tenants(std::vector<MetricFamily>& out, const std::vector<actors::tenant_counters>& all) {
  const auto counter = [&](const char* name, const char* help, std::uint64_t actors::tenant_counters::* member) {
    out.push_back(family(name, help, MetricType::Counter));
    for (const auto& t : all) add_value(out.back(), static_cast<double>(t.*member), {{"tenant", t.name}});
  };
  counter("hive_turns_total", "Turns that ran.", &actors::tenant_counters::turns);
  counter("hive_tells_total", "Tells accepted.", &actors::tenant_counters::tells);
  counter("hive_asks_total", "Asks accepted.", &actors::tenant_counters::asks);
  counter("hive_crashes_total", "Turns that crashed.", &actors::tenant_counters::crashes);
  counter("hive_rejected_total", "Messages not executed: a bound was full, or the deadline had passed.", &actors::tenant_counters::rejected);
  counter("hive_turns_over_limit_total", "Turns that ran longer than entity.turn_limit.", &actors::tenant_counters::overdue);
  counter("hive_dead_letters_total", "Messages that no entity would take.", &actors::tenant_counters::dead_letters);
  out.push_back(family("hive_turn_seconds", "Time of a turn.", MetricType::Histogram));
  for (const auto& t : all) add_histogram(out.back(), t.turn_micros, 1e-6, {{"tenant", t.name}});
  out.push_back(family("hive_ask_seconds", "Time of an ask from acceptance to reply.", MetricType::Histogram));
  for (const auto& t : all) add_histogram(out.back(), t.ask_micros, 1e-6, {{"tenant", t.name}});
}

} // namespace

http_counters::http_counters(std::vector<std::string> routes) : names_(std::move(routes)), rows_(names_.size()) {}

void http_counters::count(std::size_t route, unsigned status, std::chrono::microseconds took) noexcept {
  auto& mine = rows_[std::min(route, rows_.size() - 1)];
  const auto micros = static_cast<std::uint64_t>(std::max<std::int64_t>(0, took.count()));
  const std::size_t cls = status / 100;
  mine.by_class[cls < mine.by_class.size() ? cls : 0].fetch_add(1, std::memory_order_relaxed);
  mine.micros[slot_of(micros, mine.micros.size())].fetch_add(1, std::memory_order_relaxed);
  mine.total_micros.fetch_add(micros, std::memory_order_relaxed);
}

/// Every series needs a name of its own.
void name_all(std::vector<actors::tenant_counters>& all, const metrics::names& name_of) {
  for (auto& t : all) {
    if (!t.name.empty()) continue;
    if (t.tenant == system_tenant) t.name = "(hive)";
    else if (name_of) t.name = name_of(t.tenant);
    if (t.name.empty()) t.name = "(" + std::to_string(t.tenant.value()) + ")";
  }
}

/// Sums at scrape what the threads of the node counted in their own slots.
struct metrics::collector final : prometheus::Collectable {
  collector(actors::messaging& h, const persistence::commit_statistics* c, std::uint32_t series) : hive(h), commits(c), tenant_series(series) {}

  std::vector<MetricFamily> Collect() const override { return collect({}); }

  std::vector<MetricFamily> collect(const names& name_of) const {
    std::vector<MetricFamily> out;
    add_process(out);
    add_node(out, hive.read_gauges());
    if (commits) add_commits(out, *commits);
    if (cache) add_cache(out, *cache);
    if (wakes) add_wakes(out, *wakes);
    if (of_cluster) add_cluster(out, of_cluster());
    auto tenants = capped(hive.read_counters(), tenant_series);
    name_all(tenants, name_of);
    add_tenants(out, tenants);
    std::lock_guard lock(guard);
    for (const auto& h : http) add_http(out, *h);
    return out;
  }

  std::vector<MetricFamily> collect_of(tenant_id tenant, const names& name_of) const {
    auto all = hive.read_counters();
    std::erase_if(all, [&](const auto& t) { return t.tenant != tenant; });
    name_all(all, name_of);
    std::vector<MetricFamily> out;
    add_tenants(out, all);
    return out;
  }

  static void add_http(std::vector<MetricFamily>& out, const http_counters& h) {
    const auto gauge = [&](const char* name, const char* help, std::uint64_t value, MetricType type = MetricType::Gauge) {
      out.push_back(family(name, help, type));
      add_value(out.back(), static_cast<double>(value));
    };
    gauge("hive_http_connections", "Connections open.", h.connections);
    gauge("hive_http_in_flight", "Requests being handled.", h.in_flight);
    gauge("hive_http_streams", "Event streams open.", h.streams);
    gauge("hive_http_refused_total", "Connections over the limit, and requests that were no HTTP.", h.refused, MetricType::Counter);
    auto requests = family("hive_http_requests_total", "Requests answered.", MetricType::Counter);
    auto seconds = family("hive_http_request_seconds", "Time from a request's first byte to its answer.", MetricType::Histogram);
    for (std::size_t i = 0; i < h.names_.size(); ++i) {
      const auto& row = h.rows_[i];
      std::uint64_t any = 0;
      for (std::size_t cls = 0; cls < row.by_class.size(); ++cls) {
        const std::uint64_t n = row.by_class[cls];
        any += n;
        if (n != 0) add_value(requests, static_cast<double>(n), {{"route", h.names_[i]}, {"status", cls == 0 ? "other" : std::to_string(cls) + "xx"}});
      }
      if (any != 0) add_histogram(seconds, row.micros, 1e-6, {{"route", h.names_[i]}}, static_cast<double>(row.total_micros) * 1e-6);
    }
    out.push_back(std::move(requests));
    out.push_back(std::move(seconds));
  }

  actors::messaging& hive;
  const persistence::commit_statistics* commits;
  const persistence::read_cache* cache = nullptr;
  const persistence::wake_counters* wakes = nullptr;
  std::function<cluster::cluster_gauges()> of_cluster;
  std::size_t tenant_series;
  mutable std::mutex guard;
  std::vector<std::shared_ptr<const http_counters>> http;
};

metrics::metrics(actors::messaging& hive, const persistence::commit_statistics* commits, std::uint32_t tenant_series)
  : collector_(std::make_unique<collector>(hive, commits, tenant_series)) {}
metrics::~metrics() = default;

void metrics::add(std::shared_ptr<const http_counters> counters) {
  std::lock_guard lock(collector_->guard);
  collector_->http.push_back(std::move(counters));
}

void metrics::add(const persistence::read_cache& cache, const persistence::wake_counters* wakes) {
  collector_->cache = &cache;
  collector_->wakes = wakes;
}

void metrics::add(std::function<cluster::cluster_gauges()> of_cluster) { collector_->of_cluster = std::move(of_cluster); }

std::string metrics::scrape(std::optional<tenant_id> only, const names& name_of) const {
  return prometheus::TextSerializer().Serialize(only ? collector_->collect_of(*only, name_of) : collector_->collect(name_of));
}

} // namespace hive::ops
