#include "runtime/node/unready_node.hpp"

#include "config/base/log.hpp"
#include "persistence/refusing_reader.hpp"

#include <mutex>

namespace hive::node {

/// A hive of which everything waits.
class unready_node::waiting_hive final : public actors::messaging {
public:
  explicit waiting_hive(error why) : why_(std::move(why)) {}

  void because(error why) {
    std::lock_guard lock(guard_);
    why_ = std::move(why);
  }

  void ask(tenant_context, actors::ask_request request, std::unique_ptr<actors::reply_sink> sink) override { sink->failed(why(), request.idempotency_key); }
  void tell(tenant_context, actors::destination, std::string, payload, trace_context, std::function<void(result<void>)> done) override { done(why()); }
  void read(tenant_id, std::function<void(persistence::store_reader&)> read) override {
    persistence::refusing_reader refuses(why());
    read(refuses);
  }
  void collection(tenant_context, std::string, std::function<void(result<actors::published_view>)> use) override { use(why()); }
  void embed(tenant_context, actors::embedding_model, std::vector<std::string>, std::function<void(result<actors::embeddings>)> done) override { done(why()); }
  void embed_ahead(tenant_context, const std::string&, std::vector<actors::text_of_item>, std::function<void(result<void>)> then) override { then(why()); }
  void explain(tenant_context, actors::destination, std::function<void(result<actors::explanation>)> done) override { done(why()); }
  void explain_task(tenant_context, std::string, std::function<void(result<actors::explanation>)> done) override { done(why()); }
  void statuses(tenant_context, std::vector<actors::status_subject>, std::function<void(std::unordered_map<entity_id, nlohmann::json>)> done) override { done({}); }
  std::shared_ptr<void> subscribe(tenant_context, std::function<void(const actors::published_event&)>) override { return {}; }
  actors::gauges read_gauges() const override { return {}; }
  std::vector<actors::tenant_counters> read_counters() const override { return {}; }
  std::optional<error> not_ready() const override { return why(); }

private:
  error why() const {
    std::lock_guard lock(guard_);
    return why_;
  }

  mutable std::mutex guard_;
  error why_;
};

unready_node::unready_node(const config::settings& settings, error why)
  : hive_(std::make_unique<waiting_hive>(std::move(why))), metrics_(std::make_unique<ops::metrics>(*hive_, nullptr, settings.api.tenant_series)),
    gateway_(std::make_unique<api::gateway>(settings.api, *hive_, authenticator_, *metrics_)) {
  if (const auto port = gateway_->start(); !port) log::warn("nobody can ask this node how it is", {{"why", to_string(port.error())}});
}

unready_node::~unready_node() { gateway_->stop(std::chrono::milliseconds{0}); }

void unready_node::because(error why) { hive_->because(std::move(why)); }

} // namespace hive::node
