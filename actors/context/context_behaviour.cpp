#include "actors/context/context_behaviour.hpp"

#include "actors/context/items.hpp"
#include "config/base/log.hpp"

#include <set>

namespace hive::actors {
namespace {

constexpr std::uint32_t purged_at_once = 1000;
constexpr std::size_t rows_at_once = 1024;
constexpr std::size_t rows_loaded_at_once = 4 * rows_at_once;

/// The small state: the timer that is set for the next item to expire, and what rows cannot tell.
struct context_state {
  std::string alarm;
  std::int64_t alarm_at = 0;
  std::uint64_t versions_used = 0;
  std::string encode() const {
    return byte_writer{}.varint(2).text(alarm).varint(static_cast<std::uint64_t>(alarm_at)).varint(versions_used).take();
  }
  static context_state decode(std::string_view bytes) {
    context_state s;
    if (bytes.empty()) return s;
    byte_reader in(bytes);
    const auto format = in.varint();
    if (format != 1 && format != 2) throw std::runtime_error("the stored state of a collection cannot be read");
    s.alarm = std::string(in.text());
    s.alarm_at = static_cast<std::int64_t>(in.varint());
    if (format == 2) s.versions_used = in.varint();
    return s;
  }
};

context_memory& memory_of(turn& self) { return static_cast<context_memory&>(*system_turn::memory(self)); }

std::string row_key(std::string_view id) { return std::string(context_behaviour::row_prefix) + std::string(id); }

/// Version of the entity once this turn is on disk. What comes to the disk before it only makes that higher.
std::uint64_t position_of(turn& self, bool writes) { return system_turn::host(self).of->version + (writes ? 1 : 0); }

const char* to_string(vector::put_status s) noexcept {
  switch (s) {
  case vector::put_status::created:
    return "created";
  case vector::put_status::updated:
    return "updated";
  case vector::put_status::unchanged:
    return "unchanged";
  case vector::put_status::duplicate:
    return "duplicate";
  }
  return "";
}

/// Readers have this view once the turn is on disk.
void publish(turn& self) { system_turn::effects(self).view = memory_of(self).items->publish(); }

} // namespace

vector::space space_of(const json& spec) {
  vector::space s;
  s.dimension = spec.at("dimension").get<std::uint32_t>();
  if (auto m = vector::metric_from(spec.at("metric").get<std::string>())) s.measure = *m;
  const auto embedder = spec.at("embedder").get<std::string>();
  s.embedder = embedder == "none" ? "" : embedder == "endpoint" ? std::string(endpoint_prefix) + spec.at("model").get<std::string>() : embedder;
  return s;
}

task<> context_behaviour::handle(turn& self, message m) const {
  if (!system_turn::memory(self)) co_await load(self);
  if (m.type == "items.put")
    co_await put(self, std::move(m.body));
  else if (m.type == "items.delete")
    remove(self, m.parse());
  else if (m.type == "hive.context.purge")
    purge(self);
  else if (m.type == "context.open")
    self.reply(json_payload({{"items", memory_of(self).items->size()}}));
  else
    throw bad_message("type", "a collection does not take \"" + m.type + "\"");
}

/// On a reader thread, a page at a time. What this turn ran behind is on disk by then.
task<> context_behaviour::load(turn& self) const {
  using loaded = std::shared_ptr<vector::collection>;
  const auto who = system_turn::host(self).of->who;
  const auto id = system_turn::id(self);
  const auto space = space_of(self.config());
  const auto limits = limits_of(settings_.context);
  auto rows_read = system_turn::read<loaded>(self, [who, id, space, limits](auto& store) -> result<loaded> {
    auto items = std::make_shared<vector::collection>(space, limits);
    std::string after;
    for (bool more = true; more;) {
      // Several pages at once, for several cores read them.
      std::vector<std::pair<std::string, std::string>> pages;
      while (more && pages.size() < rows_loaded_at_once) {
        auto page = store.items(who, id, row_prefix, after, rows_at_once);
        if (!page) return page.error();
        more = page->size() == rows_at_once;
        if (more) after = page->back().first;
        pages.insert(pages.end(), std::make_move_iterator(page->begin()), std::make_move_iterator(page->end()));
      }
      std::vector<std::string_view> rows;
      rows.reserve(pages.size());
      for (const auto& [key, value] : pages) rows.push_back(value);
      if (auto ok = items->load(rows); !ok) // the others are in: one lost memory is better than all
        log::error("an item of a collection cannot be read",
                   {{"entity", hive::to_string(id)}, {"why", ok.error().message}});
    }
    items->loaded();
    items->publish();
    return items;
  });
  auto items = co_await rows_read;
  items->versions_used(self.state<context_state>().versions_used);
  auto view = items->publish();
  auto& views = system_turn::services(self).views();
  system_turn::set_memory(self, std::make_unique<context_memory>(id, views, std::move(items)));
  views.open(id, {std::move(view), position_of(self, false)});
}

task<> context_behaviour::embed(turn& self, std::vector<new_item>& batch) const {
  const auto by = maker_of(memory_of(self).items->space());
  if (!by) co_return;
  const auto stored_ones = memory_of(self).items->publish();
  std::vector<std::string> texts;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto& one = batch[i];
    if (!one.vector.empty() || one.content.text.empty()) continue; // without a text the collection says what is wrong
    const auto stored = one.content.id.empty() ? std::nullopt : stored_ones->get(one.content.id, self.now());
    if (stored && stored->content->text == one.content.text) {
      one.vector.assign(stored->vector.begin(), stored->vector.end());
    } else {
      texts.push_back(one.content.text);
      places.push_back(i);
    }
  }
  if (texts.empty()) co_return;
  auto vectors_made = system_turn::embed(self, *by, std::move(texts));
  auto vectors = co_await vectors_made;
  for (std::size_t i = 0; i < places.size(); ++i) batch[places[i]].vector = std::move(vectors[i]);
}

/// All items, or none: the first wrong one is named.
task<> context_behaviour::put(turn& self, payload body) const {
  auto batch = decode_items(body.bytes, settings_.context.batch_items);
  if (!batch) throw read_failed(batch.error());
  co_await embed(self, *batch);
  auto& items = *memory_of(self).items;
  const auto before = items.publish();
  const auto now = self.now();
  std::set<std::string> changed;
  std::string results;
  for (std::size_t i = 0; i < batch->size(); ++i) {
    auto& one = (*batch)[i];
    if (one.ttl.count() != 0) one.content.expires_at = now + one.ttl;
    auto done = items.put(std::move(one.content), std::move(one.vector), one.how, now);
    if (!done) {
      items.rewind(before);
      auto why = done.error();
      why.field = "items[" + std::to_string(i) + "]" + (why.field.empty() ? "" : "." + why.field);
      throw read_failed(std::move(why));
    }
    results += (i == 0 ? R"({"id":)" : R"(,{"id":)") +
               json(done->id).dump(-1, ' ', false, json::error_handler_t::replace) + R"(,"status":")" +
               to_string(done->status) + R"(","version":)" + std::to_string(done->version) + "}";
    for (auto& id : done->changed) changed.insert(std::move(id));
  }
  payload answer{R"({"results":[)" + results + R"(],"position":)" + std::to_string(position_of(self, !changed.empty())) + "}",
                 content_type::json};
  if (answer.bytes.size() > self.payload_bytes_max()) {
    items.rewind(before);
    throw bad_message("items", "the answer, which names each item's id, would be larger than entity.payload_bytes: put fewer at a time");
  }
  for (const auto& id : changed) self.put_row(row_key(id), items.row(id));
  if (!changed.empty()) {
    publish(self);
    set_alarm(self);
  }
  self.reply(std::move(answer));
}

void context_behaviour::remove(turn& self, const json& body) const {
  const auto ids = body.find("ids");
  if (ids == body.end() || !ids->is_array() || ids->empty())
    throw bad_message("ids", "ids is required and must be a list of item ids");
  if (ids->size() > settings_.context.batch_items)
    throw bad_message("ids", "ids has " + std::to_string(ids->size()) + " members; context.batch_items allows " +
                                 std::to_string(settings_.context.batch_items));
  for (std::size_t i = 0; i < ids->size(); ++i)
    if (!(*ids)[i].is_string()) throw bad_message("ids[" + std::to_string(i) + "]", "an id must be a string");
  auto& items = *memory_of(self).items;
  std::vector<std::string> gone;
  for (const auto& id : *ids) {
    if (items.remove(id.get_ref<const std::string&>(), self.now())) gone.push_back(id.get<std::string>());
  }
  removed(self, gone);
  self.reply(json_payload({{"deleted", gone.size()}, {"position", position_of(self, !gone.empty())}}));
}

void context_behaviour::removed(turn& self, const std::vector<std::string>& ids) const {
  if (ids.empty()) return;
  for (const auto& id : ids) self.erase_row(row_key(id));
  auto state = self.state<context_state>();
  if (const auto used = memory_of(self).items->versions_used(); used > state.versions_used) {
    state.versions_used = used;
    self.set_state(state);
  }
  publish(self);
}

/// What has expired goes from the disk too.
void context_behaviour::purge(turn& self) const {
  auto state = self.state<context_state>();
  state.alarm.clear(); // it is this one
  state.alarm_at = 0;
  self.set_state(state);
  removed(self, memory_of(self).items->purge(self.now(), purged_at_once));
  set_alarm(self);
}

void context_behaviour::set_alarm(turn& self) const {
  const auto next = memory_of(self).items->next_expiry();
  if (next == vector::never) return;
  auto state = self.state<context_state>();
  const auto at = next.time_since_epoch().count();
  if (!state.alarm.empty() && state.alarm_at <= at) return;
  if (!state.alarm.empty()) self.cancel_timer(state.alarm);
  payload nothing{"null", content_type::json};
  state.alarm = self.at(next, "hive.context.purge", std::move(nothing));
  state.alarm_at = at;
  self.set_state(state);
}

} // namespace hive::actors
