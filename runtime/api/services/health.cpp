#include "runtime/api/services/cached_reads.hpp"
#include "runtime/api/services/services.hpp"

namespace hive::api {
namespace {

v1::HealthResponse well() {
  v1::HealthResponse out;
  out.set_status("ok");
  return out;
}

} // namespace

void health_service::live(const call&, v1::HealthRequest&, reply<v1::HealthResponse> done) { done(well()); }

void health_service::ready(const call&, v1::HealthRequest&, reply<v1::HealthResponse> done) {
  if (auto why = with_.hive.not_ready()) {
    why->code = errc::unavailable;
    return done(std::move(*why));
  }
  started_ = true;
  done(well());
}

void health_service::started(const call& c, v1::HealthRequest& request, reply<v1::HealthResponse> done) {
  if (started_) return done(well());
  ready(c, request, std::move(done));
}

void health_service::metrics(const call& c, v1::MetricsRequest&, reply<v1::MetricsResponse> done) {
  // A scrape sums and prints thousands of series: not on the transport's thread.
  const bool all = c.who.as == security::role::admin;
  with_.hive.read(c.context.tenant(), [with = with_, tenant = c.context.tenant(), all, done = std::move(done)](persistence::store_reader& store) {
    const auto name_of = [&](tenant_id id) { return name_of_tenant(with.cache, store, id); };
    v1::MetricsResponse out;
    out.set_text(with.metrics.scrape(all ? std::nullopt : std::optional(tenant), name_of));
    done(std::move(out));
  });
}

} // namespace hive::api
