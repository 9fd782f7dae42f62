/// @file
/// A reader that answers everything with one error: for work that cannot have a real one now, and must hear so.
#pragma once

#include "persistence/turn_store.hpp"

namespace hive::persistence {

class refusing_reader : public store_reader {
public:
  explicit refusing_reader(error why) : why_(std::move(why)) {}

  result<entity_row> load_entity(tenant_context, entity_id) override { return why_; }
  result<directory_row> find(tenant_context, entity_kind, std::string_view) override { return why_; }
  result<directory_row> find(tenant_context, entity_id) override { return why_; }
  result<std::vector<directory_row>> list(tenant_context, entity_kind, std::string_view, std::size_t, const std::string*) override { return why_; }
  result<std::vector<key_entry>> keys(tenant_context, entity_id, journal_position, std::size_t, wall_time) override { return why_; }
  result<keyed_answer> answer(tenant_context, entity_id, journal_position) override { return why_; }
  result<std::vector<std::string>> read_log(tenant_context, entity_id, std::string_view, journal_position, std::uint64_t, std::size_t) override {
    return why_;
  }
  result<std::optional<std::string>> item(tenant_context, entity_id, std::string_view) override { return why_; }
  result<std::vector<std::pair<std::string, std::string>>> items(tenant_context, entity_id, std::string_view, std::string_view, std::size_t) override {
    return why_;
  }
  result<event_page> events(tenant_context, std::string_view, std::size_t) override { return why_; }
  result<std::vector<std::pair<wall_time, audit_row>>> audit(tenant_context, std::size_t) override { return why_; }
  result<std::vector<stored_dead_letter>> dead_letters(tenant_context, std::uint64_t, std::size_t) override { return why_; }
  result<api_key_row> find_api_key(std::string_view) override { return why_; }
  result<tenant_row> find_tenant(std::string_view) override { return why_; }
  result<tenant_row> find_tenant(tenant_id) override { return why_; }
  result<std::vector<tenant_row>> tenants(std::string_view, std::size_t) override { return why_; }
  result<void> outbox_of(shard_id, const std::function<bool(outbox_row&&)>&) override { return why_; }
  result<void> waiting_of(shard_id, const std::function<bool(waiting_entity&&)>&) override { return why_; }
  result<void> timers_of(shard_id, const timer_row&, const std::function<bool(timer_row&&)>&) override { return why_; }
  result<std::vector<shard_id>> shards_with_timers() override { return why_; }
  result<std::vector<shard_id>> shards_with_work() override { return why_; }
  result<store_totals> totals() override { return why_; }

private:
  const error why_;
};

} // namespace hive::persistence
