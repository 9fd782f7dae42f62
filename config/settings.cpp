#include "config/settings.hpp"

#include <yaml-cpp/yaml.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <set>

namespace hive::config {
namespace {

/// How one setting is read, checked and shown.
struct entry {
  std::string name;
  std::string range;
  std::function<result<void>(settings&, const YAML::Node&)> read;
  std::function<std::string(const settings&)> show;
};

error out_of_range(const std::string& name, const std::string& got, const std::string& range) {
  return invalid(name, name + " is " + got + "; allowed: " + range);
}

std::string scalar(const YAML::Node& node) { return node.IsScalar() ? node.Scalar() : std::string{"not a scalar"}; }

/// Plain numbers, or with a unit: k, m, g (binary) for bytes; ms, s, m, h, d for times.
std::optional<std::uint64_t> number(const std::string& text, bool time) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, ec] = std::from_chars(text.data(), end, value);
  if (ec != std::errc{}) return std::nullopt;
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  static const std::map<std::string_view, std::uint64_t> sizes{{"", 1}, {"KiB", 1U << 10U}, {"MiB", 1U << 20U}, {"GiB", 1U << 30U}};
  static const std::map<std::string_view, std::uint64_t> times{{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  const auto& units = time ? times : sizes;
  const auto found = units.find(unit);
  if (found == units.end() || (found->second != 0 && value > std::numeric_limits<std::uint64_t>::max() / found->second)) return std::nullopt;
  return value * found->second;
}

template <class Slice, class T>
entry integer(std::string name, Slice settings::* slice, T Slice::* member, std::uint64_t low, std::uint64_t high) {
  const std::string range = std::to_string(low) + ".." + std::to_string(high);
  return {name, range,
          [=](settings& s, const YAML::Node& node) -> result<void> {
            const auto v = number(scalar(node), false);
            if (!v || *v < low || *v > high) return out_of_range(name, scalar(node), range);
            s.*slice.*member = static_cast<T>(*v);
            return {};
          },
          [=](const settings& s) { return std::to_string(s.*slice.*member); }};
}

template <class Slice>
entry duration(std::string name, Slice settings::* slice, milliseconds Slice::* member, std::uint64_t low, std::uint64_t high) {
  const std::string range = std::to_string(low) + "ms.." + std::to_string(high) + "ms";
  return {name, range,
          [=](settings& s, const YAML::Node& node) -> result<void> {
            const auto v = number(scalar(node), true);
            if (!v || *v < low || *v > high) return out_of_range(name, scalar(node), range);
            s.*slice.*member = milliseconds{static_cast<std::int64_t>(*v)};
            return {};
          },
          [=](const settings& s) { return std::to_string((s.*slice.*member).count()) + "ms"; }};
}

template <class Slice>
entry text(std::string name, Slice settings::* slice, std::string Slice::* member, std::vector<std::string> allowed = {}) {
  std::string range = "text";
  if (!allowed.empty()) {
    range.clear();
    for (const auto& a : allowed) range += (range.empty() ? "" : ", ") + a;
  }
  return {name, range,
          [=](settings& s, const YAML::Node& node) -> result<void> {
            if (!node.IsScalar()) return out_of_range(name, scalar(node), range);
            if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), node.Scalar()) == allowed.end())
              return out_of_range(name, scalar(node), range);
            s.*slice.*member = node.Scalar();
            return {};
          },
          [=](const settings& s) { return "\"" + s.*slice.*member + "\""; }};
}

/// "127.0.0.1", "[::1]", "localhost".
bool is_host(std::string host) {
  if (host == "localhost") return true;
  in6_addr room{};
  const bool six = host.starts_with('[') && host.ends_with(']');
  if (six) host = host.substr(1, host.size() - 2);
  return ::inet_pton(six || host.find(':') != std::string::npos ? AF_INET6 : AF_INET, host.c_str(), &room) == 1;
}

template <class Slice> entry flag(std::string name, Slice settings::* slice, bool Slice::* member) {
  const std::string range = "true, false";
  return {name, range,
          [=](settings& s, const YAML::Node& node) -> result<void> {
            if (scalar(node) != "true" && scalar(node) != "false") return out_of_range(name, scalar(node), range);
            s.*slice.*member = scalar(node) == "true";
            return {};
          },
          [=](const settings& s) -> std::string { return s.*slice.*member ? "true" : "false"; }};
}

/// "HOST:PORT": its two halves, when the port is a number that there is.
std::optional<std::pair<std::string, std::uint16_t>> host_and_port(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  if (const auto [stop, bad] = std::from_chars(text.data() + colon + 1, end, port); bad != std::errc{} || stop != end) return std::nullopt;
  return std::pair{text.substr(0, colon), port};
}

/// Where to listen. Whether the host is one of this machine's, only a start can tell.
template <class Slice> entry address(std::string name, Slice settings::* slice, std::string Slice::* member) {
  const std::string range = "ADDRESS:PORT, like 127.0.0.1:7070";
  return {name, range,
          [=](settings& s, const YAML::Node& node) -> result<void> {
            const std::string given = scalar(node);
            if (const auto at = host_and_port(given); !at || !is_host(at->first)) return out_of_range(name, given, range);
            s.*slice.*member = given;
            return {};
          },
          [=](const settings& s) { return "\"" + s.*slice.*member + "\""; }};
}

/// Absolute paths; as one text separated by colons.
entry paths(std::string name, std::vector<std::string> file_access::* member) {
  return {name, "absolute paths: a list, or one text with ':' between them",
          [=](settings& s, const YAML::Node& node) -> result<void> {
            std::vector<std::string> list;
            if (node.IsSequence()) {
              for (const auto& item : node) list.push_back(scalar(item));
            } else if (node.IsScalar()) {
              std::string rest = node.Scalar();
              while (!rest.empty()) {
                const auto colon = rest.find(':');
                list.push_back(rest.substr(0, colon));
                rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
              }
            }
            for (const auto& p : list)
              if (p.empty() || p.front() != '/') return out_of_range(name, "\"" + p + "\"", "absolute paths");
            s.files.*member = std::move(list);
            return {};
          },
          [=](const settings& s) {
            std::string all;
            for (const auto& p : s.files.*member) all += (all.empty() ? "" : ":") + p;
            return "\"" + all + "\"";
          }};
}

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t MiB = 1024 * KiB;
constexpr std::uint64_t GiB = 1024 * MiB;
constexpr std::uint64_t second = 1000;
constexpr std::uint64_t hour = 3600 * second;
constexpr std::uint64_t day = 24 * hour;

const std::vector<entry>& table() {
  using e = entity_limits;
  using n = node_limits;
  using a = api_limits;
  using l = link_settings;
  using c = cluster_settings;
  using x = context_limits;
  using m = embedding_settings;
  static const std::vector<entry> entries{
    integer("entity.state_bytes", &settings::entity, &e::state_bytes, KiB, 16 * MiB),
    integer("entity.payload_bytes", &settings::entity, &e::payload_bytes, KiB, 64 * MiB),
    integer("entity.mailbox_messages", &settings::entity, &e::mailbox_messages, 1, 1'000'000),
    integer("entity.mailbox_bytes", &settings::entity, &e::mailbox_bytes, KiB, GiB),
    integer("entity.run_ahead_turns", &settings::entity, &e::run_ahead_turns, 1, 4096),
    integer("entity.run_ahead_bytes", &settings::entity, &e::run_ahead_bytes, KiB, 64 * MiB),
    integer("entity.outbox_messages", &settings::entity, &e::outbox_messages, 1, 1'000'000),
    integer("entity.outbox_window", &settings::entity, &e::outbox_window, 1, 4096),
    integer("entity.open_replies", &settings::entity, &e::open_replies, 1, 100'000),
    integer("entity.keys_kept", &settings::entity, &e::keys_kept, 1, 10'000'000),
    integer("entity.attempts", &settings::entity, &e::attempts, 1, 100),
    integer("entity.steps_per_turn", &settings::entity, &e::steps_per_turn, 1, 100'000),
    integer("entity.process_deaths", &settings::entity, &e::process_deaths, 1, 100),
    duration("entity.turn_limit", &settings::entity, &e::turn_limit, 10, day),
    integer("tasks.concurrency", &settings::tasks, &task_limits::concurrency, 1, 10'000),
    integer("tasks.live", &settings::tasks, &task_limits::live, 1, 100'000'000),
    integer("tasks.partitions", &settings::tasks, &task_limits::partitions, 1, 14),
    integer("tasks.partitions_max", &settings::tasks, &task_limits::partitions_max, 1, 14),
    duration("tasks.pass_on", &settings::tasks, &task_limits::pass_on, 10, 60 * second),
    integer("tasks.retry_burst", &settings::tasks, &task_limits::retry_burst, 0, 1'000'000),
    integer("tasks.retries_per_second", &settings::tasks, &task_limits::retries_per_second, 1, 1'000'000),
    integer("tasks.breaker_failures", &settings::tasks, &task_limits::breaker_failures, 1, 1000),
    duration("tasks.breaker_open", &settings::tasks, &task_limits::breaker_open, 1, hour),
    integer("node.timers_in_flight", &settings::node, &n::timers_in_flight, 1, 10'000),
    integer("node.shards", &settings::node, &n::shards, 64, 4096),
    integer("node.workers", &settings::node, &n::workers, 0, 256),
    integer("node.executor_threads", &settings::node, &n::executor_threads, 1, 256),
    integer("node.reader_threads", &settings::node, &n::reader_threads, 1, 64),
    integer("node.jobs_waiting", &settings::node, &n::jobs_waiting, 1, 10'000'000),
    integer("node.run_ahead_bytes", &settings::node, &n::run_ahead_bytes, MiB, GiB),
    integer("node.batch_turns", &settings::node, &n::batch_turns, 1, 65'536),
    integer("node.batch_bytes", &settings::node, &n::batch_bytes, 64 * KiB, 256 * MiB),
    integer("node.turns_per_slice", &settings::node, &n::turns_per_slice, 1, 10'000),
    integer("node.asks_under_way", &settings::node, &n::asks_under_way, 1, 1'000'000),
    integer("node.asks_waiting", &settings::node, &n::asks_waiting, 1, 10'000'000),
    duration("node.turn_end", &settings::node, &n::turn_end, 10, day),
    integer("node.memory_percent", &settings::node, &n::memory_percent, 1, 100),
    integer("node.inbox_messages", &settings::node, &n::inbox_messages, 100, 10'000'000),
    duration("passivation.idle", &settings::passivation, &passivation_limits::idle, 100, day),
    integer("passivation.activations", &settings::passivation, &passivation_limits::activations, 100, 100'000'000),
    integer("passivation.bytes", &settings::passivation, &passivation_limits::bytes, MiB, 1024 * GiB),
    duration("keep.keys", &settings::keep, &retention::keys, second, 30 * day),
    duration("keep.events", &settings::keep, &retention::events, second, 30 * day),
    duration("keep.dead_letters", &settings::keep, &retention::dead_letters, second, 365 * day),
    duration("keep.audit", &settings::keep, &retention::audit, day, 3650 * day),
    duration("keep.tasks", &settings::keep, &retention::tasks, second, 365 * day),

    integer("purge.rows", &settings::purge, &purge_settings::rows, 1, 100'000),
    duration("purge.every", &settings::purge, &purge_settings::every, 1, 3600 * second),
    duration("purge.after", &settings::purge, &purge_settings::after, 0, 365 * day),
    address("api.http", &settings::api, &a::http),
    integer("api.body_bytes", &settings::api, &a::body_bytes, KiB, 256 * MiB),
    integer("api.json_depth", &settings::api, &a::json_depth, 4, 512),
    integer("api.connections", &settings::api, &a::connections, 1, 1'000'000),
    integer("api.connections_per_tenant", &settings::api, &a::connections_per_tenant, 1, 1'000'000),
    integer("api.wrong_keys_per_minute", &settings::api, &a::wrong_keys_per_minute, 1, 1'000'000),
    integer("api.connections_in_flight", &settings::api, &a::connections_in_flight, 1, 1'000'000),
    integer("api.in_flight_per_tenant", &settings::api, &a::in_flight_per_tenant, 1, 1'000'000),
    integer("api.unsent_bytes_per_tenant", &settings::api, &a::unsent_bytes_per_tenant, MiB, 64 * GiB),
    duration("api.header_timeout", &settings::api, &a::header_timeout, 100, 600 * second),
    duration("api.idle_timeout", &settings::api, &a::idle_timeout, second, day),
    duration("api.write_timeout", &settings::api, &a::write_timeout, 100, 3600 * second),
    duration("api.ask_deadline", &settings::api, &a::ask_deadline, 1, day),
    duration("api.ask_deadline_max", &settings::api, &a::ask_deadline_max, 1, day),
    integer("api.subscribers", &settings::api, &a::subscribers, 1, 100'000),
    integer("api.subscribers_per_tenant", &settings::api, &a::subscribers_per_tenant, 1, 100'000),
    integer("api.manifest_entities", &settings::api, &a::manifest_entities, 1, 1'000'000),
    integer("api.tenant_series", &settings::api, &a::tenant_series, 1, 100'000),
    integer("context.items", &settings::context, &x::items, 1, 1'000'000),
    integer("context.batch_items", &settings::context, &x::batch_items, 1, 10'000),
    integer("context.batch_bytes", &settings::context, &x::batch_bytes, 64 * KiB, 64 * MiB),
    integer("context.text_bytes", &settings::context, &x::text_bytes, KiB, MiB),
    integer("context.metadata_bytes", &settings::context, &x::metadata_bytes, KiB, MiB),
    integer("context.k", &settings::context, &x::k, 1, 10'000),
    integer("context.pack_tokens", &settings::context, &x::pack_tokens, 100, 10'000'000),
    integer("context.answer_bytes", &settings::context, &x::answer_bytes, 64 * KiB, 256 * MiB),
    integer("context.search_threads", &settings::context, &x::search_threads, 1, 256),
    integer("context.searches_waiting", &settings::context, &x::searches_waiting, 1, 1'000'000),
    integer("context.memory_bytes", &settings::context, &x::memory_bytes, MiB, 1024 * GiB),
    text("embedding.url", &settings::embedding, &m::url),
    text("embedding.key_file", &settings::embedding, &m::key_file),
    text("embedding.ca_file", &settings::embedding, &m::ca_file),
    text("embedding.dimensions", &settings::embedding, &m::dimensions, {"never", "always"}),
    integer("embedding.connections", &settings::embedding, &m::connections, 1, 64),
    integer("embedding.waiting", &settings::embedding, &m::waiting, 1, 1'000'000),
    integer("embedding.batch_texts", &settings::embedding, &m::batch_texts, 1, 2048),
    integer("embedding.batch_bytes", &settings::embedding, &m::batch_bytes, KiB, 16 * MiB),
    integer("embedding.answer_bytes", &settings::embedding, &m::answer_bytes, 64 * KiB, GiB),
    integer("embedding.attempts", &settings::embedding, &m::attempts, 1, 20),
    duration("embedding.timeout", &settings::embedding, &m::timeout, 10, 600 * second),
    duration("embedding.deadline", &settings::embedding, &m::deadline, 10, 600 * second),
    duration("embedding.turn_wait", &settings::embedding, &m::turn_wait, 10, 600 * second),
    duration("embedding.backoff", &settings::embedding, &m::backoff, 1, 60 * second),
    integer("embedding.cache_bytes", &settings::embedding, &m::cache_bytes, 0, 64 * GiB),
    integer("supervisor.intensity", &settings::supervisor, &supervisor_defaults::intensity, 0, 1000),
    duration("supervisor.period", &settings::supervisor, &supervisor_defaults::period, 1, day),
    integer("supervisor.root_intensity", &settings::supervisor, &supervisor_defaults::root_intensity, 0, 1'000'000),
    address("cluster.listen", &settings::link, &l::listen),
    text("cluster.link.ca_file", &settings::link, &l::ca_file),
    text("cluster.link.certificate_file", &settings::link, &l::certificate_file),
    text("cluster.link.key_file", &settings::link, &l::key_file),
    duration("cluster.link.certificate_check", &settings::link, &l::certificate_check, second, hour),
    integer("cluster.link.frame_bytes", &settings::link, &l::frame_bytes, 64 * KiB, 128 * MiB),
    integer("cluster.link.bulk_frame_bytes", &settings::link, &l::bulk_frame_bytes, MiB, GiB),
    integer("cluster.link.chunk_bytes", &settings::link, &l::chunk_bytes, 4 * KiB, 4 * MiB),
    integer("cluster.link.batch_frames", &settings::link, &l::batch_frames, 1, 65'536),
    integer("cluster.link.batch_bytes", &settings::link, &l::batch_bytes, 4 * KiB, 16 * MiB),
    integer("cluster.link.queue_messages", &settings::link, &l::queue_messages, 16, 10'000'000),
    integer("cluster.link.queue_bytes", &settings::link, &l::queue_bytes, 64 * KiB, 4 * GiB),
    integer("cluster.link.tenant_queue_messages", &settings::link, &l::tenant_queue_messages, 16, 10'000'000),
    integer("cluster.link.tenant_queue_bytes", &settings::link, &l::tenant_queue_bytes, 64 * KiB, 4 * GiB),
    integer("cluster.link.window_messages", &settings::link, &l::window_messages, 16, 10'000'000),
    integer("cluster.link.window_bytes", &settings::link, &l::window_bytes, 64 * KiB, 4 * GiB),
    integer("cluster.link.tenant_window_messages", &settings::link, &l::tenant_window_messages, 16, 10'000'000),
    integer("cluster.link.tenant_window_bytes", &settings::link, &l::tenant_window_bytes, 64 * KiB, 4 * GiB),
    integer("cluster.link.requests", &settings::link, &l::requests, 1, 1'000'000),
    integer("cluster.link.tenant_requests", &settings::link, &l::tenant_requests, 1, 1'000'000),
    integer("cluster.link.retry_messages", &settings::link, &l::retry_messages, 16, 10'000'000),
    integer("cluster.link.answer_bytes", &settings::link, &l::answer_bytes, MiB, 4 * GiB),
    duration("cluster.link.heartbeat", &settings::link, &l::heartbeat, 10, 60 * second),
    duration("cluster.link.heartbeat_timeout", &settings::link, &l::heartbeat_timeout, 30, 600 * second),
    duration("cluster.link.connect_timeout", &settings::link, &l::connect_timeout, 100, 60 * second),
    duration("cluster.link.backoff_min", &settings::link, &l::backoff_min, 1, 60 * second),
    duration("cluster.link.backoff_max", &settings::link, &l::backoff_max, 1, 600 * second),
    text("store.kind", &settings::store, &store_settings::kind, {"sqlite", "postgres"}),
    text("store.postgres.url", &settings::store, &store_settings::url),
    text("store.postgres.readers_url", &settings::store, &store_settings::readers_url),
    text("store.postgres.admin", &settings::store, &store_settings::admin),
    text("store.postgres.durability", &settings::store, &store_settings::durability, {"replicated", "local"}),
    integer("store.postgres.readers", &settings::store, &store_settings::readers, 1, 256),
    duration("store.postgres.read_wait", &settings::store, &store_settings::read_wait, 100, 60 * second),
    duration("store.postgres.connect_wait", &settings::store, &store_settings::connect_wait, second, 60 * second),
    duration("store.postgres.backoff", &settings::store, &store_settings::backoff, 10, 10 * second),
    duration("store.postgres.backoff_max", &settings::store, &store_settings::backoff_max, 10, 60 * second),
    text("cluster.node", &settings::cluster, &c::node),
    text("cluster.hive", &settings::cluster, &c::hive),
    text("cluster.cell", &settings::cluster, &c::cell),
    text("cluster.advertise", &settings::cluster, &c::advertise),
    integer("cluster.capacity", &settings::cluster, &c::capacity, 1, 1'000'000),
    text("cluster.pool", &settings::cluster, &c::pool),
    text("cluster.zone", &settings::cluster, &c::zone),
    duration("cluster.lease_ttl", &settings::cluster, &c::lease_ttl, second, 60 * second),
    duration("cluster.renew_every", &settings::cluster, &c::renew_every, 100, 20 * second),
    duration("cluster.lease_margin", &settings::cluster, &c::lease_margin, 50, 10 * second),
    duration("cluster.reconcile_every", &settings::cluster, &c::reconcile_every, 100, 60 * second),
    duration("cluster.store_timeout", &settings::cluster, &c::store_timeout, 50, 30 * second),
    duration("cluster.outage_after", &settings::cluster, &c::outage_after, 200, 60 * second),
    duration("cluster.clock_difference", &settings::cluster, &c::clock_difference, 500, 600 * second),
    duration("cluster.agreement_window", &settings::cluster, &c::agreement_window, 10, 5 * second),
    duration("cluster.unreachable_after", &settings::cluster, &c::unreachable_after, 500, 600 * second),
    duration("cluster.rejoin_after", &settings::cluster, &c::rejoin_after, 100, 600 * second),
    duration("cluster.orphan_patience", &settings::cluster, &c::orphan_patience, 100, 60 * second),
    duration("cluster.hand_off_grace", &settings::cluster, &c::hand_off_grace, 0, 600 * second),
    integer("cluster.hand_offs", &settings::cluster, &c::hand_offs, 1, 1024),
    integer("cluster.moves_per_second", &settings::cluster, &c::moves_per_second, 1, 10'000),
    integer("cluster.balance_tolerance", &settings::cluster, &c::balance_tolerance, 1, 50),
    duration("cluster.drain_timeout", &settings::cluster, &c::drain_timeout, 100, day),
    duration("cluster.forget_after", &settings::cluster, &c::forget_after, 60 * second, 365 * day),
    duration("cluster.event_poll", &settings::cluster, &c::event_poll, 50, 60 * second),
    integer("cluster.wakes_per_second", &settings::cluster, &c::wakes_per_second, 1, 1000),
    duration("cluster.remember", &settings::cluster, &c::remember, second, day),
    integer("cache.memory_bytes", &settings::cache, &cache_settings::memory_bytes, 0, 64 * GiB),
    duration("cache.memory_ttl", &settings::cache, &cache_settings::memory_ttl, second, day),
    integer("cache.value_bytes", &settings::cache, &cache_settings::value_bytes, KiB, 64 * MiB),
    text("cache.redis.address", &settings::redis, &redis_settings::address),
    text("cache.redis.user", &settings::redis, &redis_settings::user),
    text("cache.redis.password_file", &settings::redis, &redis_settings::password_file),
    flag("cache.redis.allow_plaintext", &settings::redis, &redis_settings::allow_plaintext),
    duration("cache.redis.ttl", &settings::redis, &redis_settings::ttl, second, day),
    integer("cache.redis.connections", &settings::redis, &redis_settings::connections, 1, 64),
    duration("cache.redis.connect_timeout", &settings::redis, &redis_settings::connect_timeout, 10, 10 * second),
    duration("cache.redis.command_timeout", &settings::redis, &redis_settings::command_timeout, 1, 10 * second),
    duration("cache.redis.backoff", &settings::redis, &redis_settings::backoff, 10, 10 * second),
    duration("cache.redis.backoff_max", &settings::redis, &redis_settings::backoff_max, 10, 60 * second),
    paths("files.read_roots", &file_access::read_roots),
    paths("files.write_roots", &file_access::write_roots),
    paths("files.programs", &file_access::programs),
    text("log.file", &settings::log, &log_settings::file),
    flag("log.json", &settings::log, &log_settings::json),
    text("log.level", &settings::log, &log_settings::level, {"debug", "info", "warn", "error"}),
  };
  return entries;
}

result<void> set(settings& s, const std::string& name, const YAML::Node& value) {
  for (const auto& e : table())
    if (e.name == name) return e.read(s, value);
  return invalid(name, "there is no setting named " + name + "; `hived --help-settings` lists them");
}

/// The file is a map of maps; the names on the way to a value, joined by dots, are the setting's name.
result<void> read_map(settings& s, const std::string& prefix, const YAML::Node& map) {
  std::set<std::string> seen;
  for (const auto& item : map) {
    const auto name = prefix.empty() ? scalar(item.first) : prefix + "." + scalar(item.first);
    if (!seen.insert(name).second) return invalid(name, name + " is there twice: which one is meant?");
    const auto done = item.second.IsMap() ? read_map(s, name, item.second) : set(s, name, item.second);
    if (!done) return done;
  }
  return {};
}

result<void> read_file(settings& s, const std::string& path) {
  YAML::Node root;
  try {
    root = YAML::LoadFile(path);
  } catch (const std::exception& e) {
    return invalid("--config", "cannot read " + path + ": " + e.what());
  }
  if (root.IsNull()) return {};
  if (!root.IsMap()) return invalid("--config", path + " is not a map of settings");
  for (const auto& slice : root)
    if (!slice.second.IsMap()) return invalid(scalar(slice.first), scalar(slice.first) + " is not a map of settings");
  return read_map(s, "", root);
}

/// Bounds that depend on each other. A frame must fit into every window and queue, or it would wait for ever; and a node
/// that has peers (it has a certificate authority then) must be able to send them any payload that it accepts.
result<void> check_link(const settings& s) {
  const auto& l = s.link;
  const auto at_least = [](const char* name, std::uint64_t value, const char* other, std::uint64_t least) -> result<void> {
    if (value >= least) return {};
    const std::string field = std::string("cluster.link.") + name;
    return out_of_range(field, std::to_string(value), "at least " + std::string(other) + ", which is " + std::to_string(least));
  };
  const auto ms = [](milliseconds t) { return static_cast<std::uint64_t>(t.count()); };
  for (auto&& done :
       {at_least("frame_bytes", l.frame_bytes, "entity.payload_bytes and 64 KiB", l.ca_file.empty() ? 0 : s.entity.payload_bytes + 64 * KiB),
        at_least("frame_bytes", l.frame_bytes, "context.batch_bytes and 64 KiB", l.ca_file.empty() ? 0 : s.context.batch_bytes + 64 * KiB),
        at_least("tenant_window_bytes", l.tenant_window_bytes, "cluster.link.frame_bytes and 1 KiB", l.frame_bytes + KiB),
        at_least("window_bytes", l.window_bytes, "cluster.link.tenant_window_bytes", l.tenant_window_bytes),
        at_least("window_messages", l.window_messages, "cluster.link.tenant_window_messages", l.tenant_window_messages),
        at_least("tenant_queue_bytes", l.tenant_queue_bytes, "cluster.link.frame_bytes and 1 KiB", l.frame_bytes + KiB),
        at_least("requests", l.requests, "cluster.link.tenant_requests", l.tenant_requests),
        at_least("queue_bytes", l.queue_bytes, "cluster.link.tenant_queue_bytes", l.tenant_queue_bytes),
        at_least("queue_messages", l.queue_messages, "cluster.link.tenant_queue_messages", l.tenant_queue_messages),
        at_least("answer_bytes", l.answer_bytes, "cluster.link.frame_bytes and 1 KiB", l.frame_bytes + KiB),
        at_least("bulk_frame_bytes", l.bulk_frame_bytes, "cluster.link.frame_bytes", l.frame_bytes),
        at_least("heartbeat_timeout", ms(l.heartbeat_timeout), "twice cluster.link.heartbeat", 2 * ms(l.heartbeat)),
        at_least("backoff_max", ms(l.backoff_max), "cluster.link.backoff_min", ms(l.backoff_min))})
    if (!done) return done;
  return {};
}

/// Where this node's peers dial it. They see only what it says: "any address" would lead them to themselves.
result<void> check_advertised(const settings& s) {
  const auto& given = s.cluster.advertise;
  if (given.empty()) {
    const auto at = host_and_port(s.link.listen);
    if (at && (at->first == "0.0.0.0" || at->first == "[::]" || at->first == "::"))
      return invalid("cluster.advertise", "cluster.listen is " + s.link.listen + ", which peers cannot dial: set cluster.advertise to the ADDRESS:PORT where they reach this node");
    return {};
  }
  constexpr const char* range = "ADDRESS:PORT as peers dial it, like 10.0.0.1:7072 or node-1.example:7072";
  const auto at = host_and_port(given);
  if (!at || at->second == 0 || at->first == "0.0.0.0" || at->first == "[::]" || at->first == "::") return out_of_range("cluster.advertise", given, range);
  const bool is_name = at->first.size() <= 253 && !at->first.empty() &&
                       at->first.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == std::string::npos;
  if (!is_name && !is_host(at->first)) return out_of_range("cluster.advertise", given, range);
  return {};
}

/// What a node among others needs, and times that only make sense together.
result<void> check_cluster(const settings& s) {
  const auto& c = s.cluster;
  const auto word = [](const std::string& text) {
    return !text.empty() && text.size() <= 63 && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  };
  constexpr const char* words = "1 to 63 letters, digits, '.', '_' and '-'";
  if (!c.node.empty()) {
    if (!word(c.node)) return out_of_range("cluster.node", c.node, words);
    if (!word(c.hive)) return out_of_range("cluster.hive", c.hive, words);
    if (!word(c.cell)) return out_of_range("cluster.cell", c.cell, words);
    if (!word(c.pool)) return out_of_range("cluster.pool", c.pool, words);
    if (!c.zone.empty() && !word(c.zone)) return out_of_range("cluster.zone", c.zone, std::string(words) + "; or nothing");
    if (auto reached = check_advertised(s); !reached) return reached;
    if (s.store.kind != "postgres") return invalid("store.kind", "cluster.node is set, so store.kind must be postgres: nodes share one database");
    for (const auto& [name, file] : {std::pair{"cluster.link.ca_file", &s.link.ca_file}, {"cluster.link.certificate_file", &s.link.certificate_file}, {"cluster.link.key_file", &s.link.key_file}})
      if (file->empty()) return invalid(name, std::string("cluster.node is set, so ") + name + " must name a file; `hivectl certs` makes them");
  }
  const auto ms = [](milliseconds t) { return std::to_string(t.count()) + "ms"; };
  if (c.renew_every * 3 > c.lease_ttl)
    return out_of_range("cluster.renew_every", ms(c.renew_every), "a third of cluster.lease_ttl (" + ms(c.lease_ttl) + ") at most");
  if (c.lease_margin * 3 > c.lease_ttl)
    return out_of_range("cluster.lease_margin", ms(c.lease_margin), "a third of cluster.lease_ttl (" + ms(c.lease_ttl) + ") at most");
  if (c.outage_after < c.renew_every * 2)
    return out_of_range("cluster.outage_after", ms(c.outage_after), "twice cluster.renew_every (" + ms(c.renew_every) + ") at least");
  return {};
}

/// Passwords and data would cross the network in the clear: Debian 12's client of Redis knows no TLS.
result<void> check_redis(const settings& s) {
  const auto& r = s.redis;
  if (r.address.empty()) return {};
  if (s.cluster.node.empty())
    return invalid("cache.redis.address", "cache.redis.address is set, but cluster.node is not: a node that is alone has its cache in process (cache.memory_bytes)");
  const auto place = place_of(r.address);
  if (!place) return place.error();
  if (place->leaves_machine && !r.allow_plaintext)
    return invalid("cache.redis.address", "cache.redis.address is " + r.address + ", which is not on this machine, and the connection is not encrypted: name a unix socket or a loopback "
                                          "address (of a TLS tunnel, say), or set cache.redis.allow_plaintext to true");
  if (!r.user.empty() && r.password_file.empty())
    return invalid("cache.redis.password_file", "cache.redis.user is set, so cache.redis.password_file must name the file with its password");
  if (r.backoff > r.backoff_max) return invalid("cache.redis.backoff", "cache.redis.backoff is above cache.redis.backoff_max");
  return {};
}

} // namespace

result<redis_place> place_of(const std::string& redis_address) {
  const auto wrong = [&] { return out_of_range("cache.redis.address", redis_address, "unix:/PATH (at most 107 bytes) or HOST:PORT, like 127.0.0.1:6379"); };
  redis_place place;
  if (redis_address.starts_with("unix:")) {
    place.socket = redis_address.substr(5);
    if (!place.socket.starts_with('/') || place.socket.size() > 107) return wrong();
    return place;
  }
  const auto colon = redis_address.rfind(':');
  if (colon == std::string::npos || colon == 0) return wrong();
  place.host = redis_address.substr(0, colon);
  if (place.host.starts_with('[') && place.host.ends_with(']')) place.host = place.host.substr(1, place.host.size() - 2);
  const char* const end = redis_address.data() + redis_address.size();
  if (const auto [stop, bad] = std::from_chars(redis_address.data() + colon + 1, end, place.port); bad != std::errc{} || stop != end || place.port == 0) return wrong();
  // By number only: what a name leads to is not known before it is asked, and may change.
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  const bool v4 = ::inet_pton(AF_INET, place.host.c_str(), bytes.data()) == 1;
  const bool loopback = v4 ? bytes[0] == 127 : ::inet_pton(AF_INET6, place.host.c_str(), bytes.data()) == 1 && std::memcmp(bytes.data(), &in6addr_loopback, sizeof(in6_addr)) == 0;
  place.leaves_machine = !loopback && place.host != "localhost";
  return place;
}

result<settings> load(const std::string& yaml_file, const std::vector<std::string>& overrides) {
  settings s;
  if (!yaml_file.empty())
    if (auto done = read_file(s, yaml_file); !done) return done.error();
  for (const auto& o : overrides) {
    const auto equals = o.find('=');
    if (equals == std::string::npos) return invalid("--set", "\"" + o + "\" is not NAME=VALUE");
    if (auto done = set(s, o.substr(0, equals), YAML::Node(o.substr(equals + 1))); !done) return done.error();
  }
  if (s.api.ask_deadline > s.api.ask_deadline_max)
    return invalid("api.ask_deadline", "api.ask_deadline is above api.ask_deadline_max");
  if (auto done = check_link(s); !done) return done.error();
  if (s.store.kind == "postgres" && s.store.url.empty())
    return invalid("store.postgres.url", "store.kind is postgres, so store.postgres.url must name the database: postgres://ROLE:PASSWORD@HOST/DATABASE");
  if (s.store.backoff > s.store.backoff_max) return invalid("store.postgres.backoff", "store.postgres.backoff is above store.postgres.backoff_max");
  if (auto done = check_cluster(s); !done) return done.error();
  if (auto done = check_redis(s); !done) return done.error();
  return s;
}

result<void> check_paths(const settings& s) {
  std::error_code ec;
  for (const auto& [name, roots] : {std::pair{"files.read_roots", &s.files.read_roots}, {"files.write_roots", &s.files.write_roots}})
    for (const auto& p : *roots)
      if (!std::filesystem::is_directory(p, ec)) return invalid(name, p + " is not a directory here; several are separated by ':'");
  for (const auto& p : s.files.programs)
    if (!std::filesystem::is_regular_file(p, ec)) return invalid("files.programs", p + " is not a program here; several are separated by ':'");
  return {};
}

std::string describe() {
  const settings defaults;
  std::string out;
  for (const auto& e : table()) out += e.name + " = " + e.show(defaults) + "    (" + e.range + ")\n";
  return out;
}

} // namespace hive::config
