#include "runtime/api/services/cached_reads.hpp"

#include "config/base/bytes.hpp"
#include "persistence/event_cursor.hpp"

namespace hive::api {

using persistence::event_page;
using persistence::final_position;

namespace {

constexpr std::uint64_t format = 1;

std::string encode(const event_page& page) {
  byte_writer out;
  out.varint(format).text(page.end).varint(page.events.size());
  for (const auto& e : page.events)
    out.text(e.cursor).varint(static_cast<std::uint64_t>(e.at.time_since_epoch().count())).text(e.event.type).text(e.event.source).text(e.event.data);
  return out.take();
}

std::optional<event_page> page_from(std::string_view bytes) {
  byte_reader in(bytes);
  if (in.varint() != format) return std::nullopt;
  event_page page;
  page.end = in.text();
  const auto count = in.varint();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    auto& e = page.events.emplace_back();
    e.cursor = in.text();
    e.at = wall_time{std::chrono::milliseconds{static_cast<std::int64_t>(in.varint())}};
    e.event.type = in.text();
    e.event.source = in.text();
    e.event.data = in.text();
  }
  if (!in.ok()) return std::nullopt;
  return page;
}

} // namespace

result<event_page> events_after(persistence::read_cache* cache, persistence::store_reader& store, tenant_context who, const std::string& cursor, std::size_t limit, std::uint64_t known) {
  if (!cache || !persistence::number_of(cursor)) return store.events(who, cursor, limit);
  const auto name = std::to_string(limit) + "." + cursor;
  if (const auto found = cache->get(who.tenant(), "events", name, known == 0 ? final_position : known))
    if (auto page = page_from(*found->bytes)) return std::move(*page);
  auto page = store.events(who, cursor, limit);
  if (!page || page->gap || page->events.empty()) return page;
  const auto end = persistence::number_of(page->end);
  const bool full = page->events.size() >= limit; // the next events belong to the next page
  if (full || end) cache->put(who.tenant(), "events", name, encode(*page), full ? final_position : *end);
  return page;
}

std::optional<v1::Task> ended_task(persistence::read_cache* cache, tenant_context who, const std::string& id) {
  if (!cache) return std::nullopt;
  v1::Task task;
  const auto found = cache->get(who.tenant(), "task", id);
  if (!found || !task.ParseFromString(*found->bytes)) return std::nullopt;
  return task;
}

void keep_ended_task(persistence::read_cache* cache, tenant_context who, const v1::Task& task) {
  if (cache) cache->put(who.tenant(), "task", task.id(), task.SerializeAsString());
}

std::string name_of_tenant(persistence::read_cache* cache, persistence::store_reader& store, tenant_id id) {
  if (cache)
    if (const auto found = cache->get(id, "tenant", "name")) return *found->bytes;
  const auto row = store.find_tenant(id);
  if (!row) return {};
  if (cache) cache->put(id, "tenant", "name", row->name);
  return row->name;
}

} // namespace hive::api
