#include "runtime/api/http/server.hpp"

#include "config/base/log.hpp"
#include "runtime/api/http/session.hpp"

#include <sys/random.h>

#include <charconv>

namespace hive::api::http {
namespace {

std::uint64_t seed_of_this_process() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return seed;
}

/// "127.0.0.1:7070", "[::1]:7070"
std::optional<tcp::endpoint> endpoint_of(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const auto [end, bad] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  boost::system::error_code ec;
  const auto address = net::ip::make_address(host == "localhost" ? std::string("127.0.0.1") : std::string(host), ec);
  if (ec || bad != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return tcp::endpoint(address, port);
}

} // namespace

server::server(const config::api_limits& l, std::shared_ptr<io_loop> h, const method_table& table, actors::messaging& m,
               security::authenticator& a, std::shared_ptr<ops::http_counters> c, persistence::read_cache* shared)
  : limits(l), home(std::move(h)), routes(table), no_route(table.methods().size()), hive(m), auth(a), gate(m, a), counters(std::move(c)), cache(shared),
    random(seed_of_this_process()), wrong_keys(limits.wrong_keys_per_minute), acceptor_(home->context()), sweeper_(home->context()), accept_again_(home->context()) {}

server::~server() = default;

result<std::uint16_t> server::listen() {
  const auto where = endpoint_of(limits.http);
  if (!where) return invalid("api.http", "api.http is \"" + limits.http + "\"; it must be ADDRESS:PORT, like 127.0.0.1:7070");
  boost::system::error_code ec;
  acceptor_.open(where->protocol(), ec);
  if (!ec) acceptor_.set_option(net::socket_base::reuse_address(true), ec);
  if (!ec) acceptor_.bind(*where, ec);
  if (!ec) acceptor_.listen(net::socket_base::max_listen_connections, ec);
  if (ec == boost::system::errc::address_in_use)
    return error{errc::unavailable, "address_in_use", "cannot listen on " + limits.http + ": another program does", "api.http", {}};
  if (ec) return invalid("api.http", "cannot listen on " + limits.http + ": " + ec.message());
  accept();
  sweep();
  return acceptor_.local_endpoint().port();
}

void server::accept() {
  acceptor_.async_accept([this](const boost::system::error_code& ec, tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (ec) { // out of descriptors, most likely: they come back
      log::warn("cannot accept a connection", {{"why", ec.message()}});
      accept_again_.expires_after(std::chrono::milliseconds(100));
      return accept_again_.async_wait([this](const boost::system::error_code& stopped) {
        if (!stopped && acceptor_.is_open()) accept();
      });
    }
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    auto s = std::make_shared<session>(*this, std::move(socket));
    sessions_.emplace(s.get(), kept{s, std::nullopt, strangers_.insert(strangers_.end(), s.get())});
    counters->connections.store(sessions_.size(), std::memory_order_relaxed);
    if (sessions_.size() > limits.connections && !make_room(*s)) {
      counters->refused.fetch_add(1, std::memory_order_relaxed);
      s->turn_away();
    } else {
      s->start();
    }
    accept();
  });
}

/// Who has shown no key and asks for nothing just now makes room for the next one: strangers cannot keep anybody out, and
/// those with a key are bounded by tenant.
bool server::make_room(const session& newest) {
  constexpr int looked = 64;
  int left = looked;
  for (auto* s : strangers_) {
    if (s == &newest || left-- == 0) return false;
    if (!s->between_requests()) continue;
    counters->refused.fetch_add(1, std::memory_order_relaxed);
    s->close();
    return true;
  }
  return false;
}

bool server::belongs_to(session& s, tenant_id tenant) {
  const auto found = sessions_.find(&s);
  if (found == sessions_.end()) return true;
  auto& k = found->second;
  if (k.tenant == tenant) return true;
  auto& count = of_tenant_[tenant].connections;
  if (tenant != system_tenant && count >= limits.connections_per_tenant) return false;
  count += 1;
  leave_tenant(k);
  k.tenant = tenant;
  return true;
}

void server::leave_tenant(const kept& k) {
  if (!k.tenant) {
    strangers_.erase(k.stranger);
    return;
  }
  give_back(*k.tenant, &share::connections);
}

void server::give_back(tenant_id tenant, std::uint32_t share::* what) {
  const auto found = of_tenant_.find(tenant);
  if (found == of_tenant_.end()) return;
  auto& s = found->second;
  s.*what -= 1;
  if (s.nothing()) of_tenant_.erase(found);
}

namespace {
/// What tenants may have of `all`; administrators must be able to mend what fills it.
std::uint32_t but_for_administrators(std::uint32_t all) noexcept { return all - all / 16; }
} // namespace

bool server::begin_request(tenant_id tenant) {
  auto& mine = of_tenant_[tenant].requests; // of a connection: its entry is there
  if (tenant != system_tenant && (mine >= limits.in_flight_per_tenant || in_flight > but_for_administrators(limits.connections_in_flight))) return false;
  mine += 1;
  return true;
}

void server::request_over(tenant_id tenant) { give_back(tenant, &share::requests); }

bool server::begin_answer(tenant_id tenant, std::uint64_t bytes) {
  constexpr std::uint64_t always = 16 * 1024; // small ones are bounded by the connections; what was done should be heard of
  auto& mine = of_tenant_[tenant];
  if (tenant != system_tenant && bytes > always && mine.unsent != 0 && mine.unsent + bytes > limits.unsent_bytes_per_tenant) return false;
  mine.unsent += bytes;
  return true;
}

void server::answer_over(tenant_id tenant, std::uint64_t bytes) {
  const auto found = of_tenant_.find(tenant);
  if (found == of_tenant_.end()) return; // everything was closed
  found->second.unsent -= std::min(found->second.unsent, bytes);
  if (found->second.nothing()) of_tenant_.erase(found);
}

bool server::takes_answers(tenant_id tenant) const {
  const auto found = of_tenant_.find(tenant);
  const auto begins_below = limits.unsent_bytes_per_tenant - limits.unsent_bytes_per_tenant / 4; // the rest is for what is under way
  return tenant == system_tenant || found == of_tenant_.end() || found->second.unsent < begins_below;
}

bool server::begin_stream(tenant_id tenant) {
  auto& mine = of_tenant_[tenant].streams;
  if (tenant != system_tenant && (mine >= limits.subscribers_per_tenant || streams >= but_for_administrators(limits.subscribers))) return false;
  if (streams >= limits.subscribers) return false;
  mine += 1;
  counters->streams.store(++streams, std::memory_order_relaxed);
  return true;
}

void server::stream_over(tenant_id tenant) {
  give_back(tenant, &share::streams);
  counters->streams.store(--streams, std::memory_order_relaxed);
}

/// One timer for all deadlines: they are coarse, requests are many.
void server::sweep() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<std::shared_ptr<session>> all;
  all.reserve(sessions_.size());
  for (const auto& [key, k] : sessions_)
    if (k.self->needs_attention(now)) all.push_back(k.self);
  for (const auto& s : all) s->attend(now);
  const auto shortest = std::min({limits.header_timeout, limits.idle_timeout, limits.write_timeout});
  sweeper_.expires_after(std::clamp(shortest / 4, std::chrono::milliseconds(20), std::chrono::milliseconds(500)));
  sweeper_.async_wait([this](const boost::system::error_code& ec) {
    if (!ec) sweep();
  });
}

void server::wind_down() {
  winding_down = true;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  std::vector<std::shared_ptr<session>> all;
  for (const auto& [key, k] : sessions_) all.push_back(k.self);
  for (const auto& s : all) s->wind_down();
}

void server::close_all() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  sweeper_.cancel();
  accept_again_.cancel();
  auto all = std::move(sessions_);
  sessions_.clear();
  strangers_.clear();
  of_tenant_.clear();
  for (const auto& [key, k] : all) k.self->close();
}

void server::remove(session& s) {
  const auto found = sessions_.find(&s);
  if (found == sessions_.end()) return;
  leave_tenant(found->second);
  sessions_.erase(found);
  counters->connections.store(sessions_.size(), std::memory_order_relaxed);
}

} // namespace hive::api::http
