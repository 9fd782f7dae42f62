#include "actors/system/tenant_behaviour.hpp"

#include "actors/directory.hpp"

namespace hive::actors {
namespace {

using persistence::directory_row;

struct tenant_state {
  std::uint64_t next_serial = first_free_serial;
  std::string encode() const { return byte_writer{}.varint(next_serial).take(); }
  static tenant_state decode(std::string_view bytes) {
    byte_reader in(bytes);
    return {in.varint()};
  }
};

struct hive_state {
  std::uint64_t next_tenant = 1;
  std::string encode() const { return byte_writer{}.varint(next_tenant).take(); }
  static hive_state decode(std::string_view bytes) {
    byte_reader in(bytes);
    return {in.varint()};
  }
};

std::string text_member(const json& body, const char* name) {
  const auto found = body.find(name);
  if (found == body.end() || !found->is_string()) throw bad_message(name, std::string(name) + " is required and must be a string");
  return found->get<std::string>();
}

void must(result<void> r) {
  if (!r) throw bad_message(r.error().field, r.error().message);
}

/// Thrown to answer with an error of another class than `invalid_argument`; nothing is committed.
[[noreturn]] void refuse(errc code, std::string reason, std::string text, std::string field = {}) {
  throw read_failed({code, std::move(reason), std::move(text), std::move(field)});
}

task<> create_key(turn& self, const json& body) {
  persistence::api_key_row key;
  key.id = text_member(body, "id");
  key.tenant = system_turn::id(self).tenant();
  key.secret_hash = text_member(body, "secret_hash");
  key.role = text_member(body, "role");
  key.label = body.value("label", "");
  key.created = self.now();
  const bool of_hive = key.tenant == system_tenant;
  if (of_hive ? key.role != "admin" : key.role != "tenant" && key.role != "viewer")
    throw bad_message("role", of_hive ? "role must be admin" : "role must be tenant or viewer");
  system_turn::audit(self, "key.create", "key/" + key.id, {{"role", key.role}, {"label", key.label}});
  const auto id = key.id;
  self.put_row("key/" + id, json{{"role", key.role}, {"label", key.label}, {"created_at", key.created.time_since_epoch().count()}}.dump());
  system_turn::effects(self).api_keys.push_back(std::move(key));
  self.reply(json_payload({{"id", id}}));
  co_return;
}

task<> delete_key(turn& self, json body) {
  const auto id = text_member(body, "id");
  auto key_read = system_turn::read<persistence::api_key_row>(self, [id](auto& r) { return r.find_api_key(id); });
  auto key = co_await key_read;
  if (key.tenant != system_turn::id(self).tenant()) refuse(errc::not_found, "not_found", "no such key", "id");
  key.removed = true;
  self.erase_row("key/" + id);
  system_turn::effects(self).api_keys.push_back(std::move(key));
  system_turn::audit(self, "key.delete", "key/" + id, json::object());
  self.reply(json_payload({{"deleted", true}}));
}

/// A dead letter ends here, in one commit with the message that takes its place, if any.
task<> settle_letter(turn& self, json body, bool again) {
  using persistence::stored_dead_letter;
  const auto given = body.find("number");
  if (given == body.end() || !given->is_number_unsigned()) throw bad_message("number", "number is required and must be a number");
  const auto number = given->get<std::uint64_t>();
  const auto who = system_turn::host(self).of->who;
  auto letter_read = system_turn::read<stored_dead_letter>(self, [who, number](auto& r) -> result<stored_dead_letter> {
    auto found = r.dead_letters(who, number + 1, 1);
    if (!found) return found.error();
    if (found->empty() || found->front().number != number) return error{errc::not_found, "not_found", "no such dead letter", "id"};
    return std::move(found->front());
  });
  const auto letter = co_await letter_read;
  if (again) {
    auto message = decode_message(letter.letter.message, system_turn::incoming(self).who, letter.receiver);
    if (!message) refuse(errc::internal, "malformed", "the stored message cannot be read", "id");
    system_turn::send_to(self, letter.receiver, message->type, std::move(message->body));
  }
  system_turn::effects(self).letters_gone.push_back(number);
  system_turn::audit(self, again ? "dead_letter.redrive" : "dead_letter.drop", "dead-letter/" + std::to_string(number), {{"reason", letter.letter.reason}});
  self.reply(json_payload({{"number", number}}));
}

} // namespace

task<> tenant_behaviour::handle(turn& self, message m) const {
  if (m.type == "directory.apply") co_await apply(self, m.parse());
  else if (m.type == "directory.delete") co_await remove(self, m.parse());
  else if (m.type == "key.create") {
    const json body = m.parse();
    co_await create_key(self, body);
  } else if (m.type == "key.delete") co_await delete_key(self, m.parse());
  else if (m.type == "dead_letter.redrive") co_await settle_letter(self, m.parse(), true);
  else if (m.type == "dead_letter.drop") co_await settle_letter(self, m.parse(), false);
  else if (m.type == "entity.stop" || m.type == "entity.start" || m.type == "entity.restart")
    co_await command(self, m.type.substr(7), m.parse());
  else if (m.type == "hive.child_ended") co_await child_ended(self, m.parse());
  else if (m.type == "hive.close") co_await close(self);
  else throw bad_message("type", "a tenant does not take \"" + m.type + "\"");
}

/// With "check": true it only says whether it would be taken.
task<> tenant_behaviour::apply(turn& self, json body) const {
  const bool only_check = body.value("check", false);
  const auto given = std::make_shared<const manifest>(read_manifest(body, agents_, settings_)); // the read may outlive the turn
  const auto& all = given->all;
  const auto who = system_turn::host(self).of->who;
  using rows = std::vector<std::optional<directory_row>>;
  auto found_read = system_turn::read<rows>(self, [who, given](auto& r) -> result<rows> {
    const auto above_of = [&](const std::string& supervisor) -> std::optional<std::string> {
      auto row = r.find(who, entity_kind::supervisor, supervisor);
      return row ? std::optional(row->supervisor) : std::nullopt;
    };
    if (auto ok = check_cycles(*given, above_of); !ok) return ok.error();
    rows got;
    for (const auto& [kind, name] : given->asked) {
      auto row = r.find(who, kind, name);
      if (row) got.emplace_back(std::move(*row));
      else if (row.error().code == errc::not_found) got.emplace_back();
      else return row.error();
    }
    return got;
  });
  const auto found = co_await found_read;
  check_supervisors(*given, found);

  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].kind == entity_kind::context && found[i] && found[i]->spec != all[i].spec)
      refuse(errc::failed_precondition, "space_fixed",
             "collection \"" + all[i].name + "\" is there with " + found[i]->spec + "; what it measures with cannot change: make another one",
             all[i].path + ".spec");

  if (only_check) {
    self.reply(json_payload({{"good", true}}));
    co_return;
  }

  auto state = self.state<tenant_state>();
  auto& effects = system_turn::effects(self);
  std::size_t created = 0;
  std::size_t updated = 0;
  std::size_t unchanged = 0;
  json entities = json::array();
  json able = json::array(); // agents that the queue may choose, or may no more
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& w = all[i];
    const auto& old = found[i];
    const char* change = "unchanged";
    std::uint64_t revision = old ? old->revision : 0;
    if (old && old->spec == w.spec) ++unchanged;
    else {
      directory_row row{w.kind, w.name, old ? old->id : entity_id{system_turn::id(self).tenant(), state.next_serial++}, w.behaviour, w.supervisor, ++revision, w.spec};
      effects.bytes += w.spec.size() + w.name.size() + 128;
      change = old ? "updated" : "created";
      ++(old ? updated : created);
      const std::string kind = to_string(w.kind);
      system_turn::audit(self, kind + "." + change, kind + "/" + w.name, {{"revision", revision}, {"behaviour", w.behaviour}});
      if (all.size() <= 100) system_turn::event(self, kind + "." + change, kind + "/" + w.name, {{"revision", revision}});
      if (old) system_turn::command(self, old->id, "hive.spec_changed", {{"revision", revision}});
      if (w.kind == entity_kind::agent && (w.spec.find("\"capabilities\"") != std::string::npos || (old && old->spec.find("\"capabilities\"") != std::string::npos))) {
        const auto spec = json::parse(w.spec);
        able.push_back({{"id", row.id.bits()}, {"name", w.name}, {"capabilities", spec.value("capabilities", json::array())}, {"weight", spec.value("weight", 1U)}});
      }
      effects.directory.push_back({std::move(row), false});
    }
    if (all.size() <= 1000) entities.push_back({{"kind", to_string(w.kind)}, {"name", w.name}, {"revision", revision}, {"change", change}});
  }
  if (!able.empty()) system_turn::send_to(self, queue_of(system_turn::id(self).tenant(), 0U), "hive.agents_changed", json_payload(able));
  self.set_state(state);
  self.reply(json_payload({{"created", created}, {"updated", updated}, {"unchanged", unchanged}, {"entities", std::move(entities)}}));
}

task<> tenant_behaviour::remove(turn& self, json body) const {
  const auto kind_name = text_member(body, "kind");
  const auto name = text_member(body, "name");
  const auto kind = kind_name == "agent" ? entity_kind::agent : kind_name == "context" ? entity_kind::context : entity_kind::supervisor;
  if (kind_name != "agent" && kind_name != "supervisor" && kind_name != "context") throw bad_message("kind", "kind must be agent, supervisor or context");
  const auto who = system_turn::host(self).of->who;
  auto row_read = system_turn::read<directory_row>(self, [=](auto& r) { return r.find(who, kind, name); });
  auto row = co_await row_read;
  if (kind == entity_kind::supervisor) {
    auto has_child_read = system_turn::read<bool>(self, [=](auto& r) -> result<bool> {
      for (const auto k : {entity_kind::agent, entity_kind::supervisor}) {
        auto children = r.list(who, k, "", 1, &name);
        if (!children) return children.error();
        if (!children->empty()) return true;
      }
      return false;
    });
    const auto has_child = co_await has_child_read;
    if (has_child) refuse(errc::failed_precondition, "has_children", "supervisor \"" + name + "\" has children; delete or move them first", "name");
  }
  system_turn::effects(self).directory.push_back({row, true});
  system_turn::command(self, row.id, "hive.deleted", {{"address", std::string(to_string(row.kind)) + "/" + row.name}});
  if (row.spec.find("\"capabilities\"") != std::string::npos)
    system_turn::send_to(self, queue_of(system_turn::id(self).tenant(), 0U), "hive.agents_changed",
                         json_payload(json::array({{{"id", row.id.bits()}, {"name", name}, {"capabilities", json::array()}, {"weight", 1}}})));
  system_turn::audit(self, kind_name + ".delete", kind_name + "/" + name, {{"id", to_string(row.id)}});
  self.reply(json_payload({{"deleted", true}}));
}

/// What a person wants an entity to do. It acts on it when this is committed; its audit row names the person.
task<> tenant_behaviour::command(turn& self, std::string verb, json body) const {
  const auto kind_name = text_member(body, "kind");
  const auto name = text_member(body, "name");
  const auto kind = kind_name == "agent" ? entity_kind::agent : entity_kind::supervisor;
  if (kind_name != "agent" && kind_name != "supervisor") throw bad_message("kind", "kind must be agent or supervisor");
  const bool reset = body.value("reset", false);
  const auto who = system_turn::host(self).of->who;
  auto row_read = system_turn::read<directory_row>(self, [=](auto& r) { return r.find(who, kind, name); });
  const auto row = co_await row_read;
  json order = json::object();
  if (verb == "restart") order["reset"] = reset;
  system_turn::command(self, row.id, "hive." + verb, order);
  order["revision"] = row.revision;
  system_turn::audit(self, kind_name + "." + verb, kind_name + "/" + name, order);
  const std::string change = verb == "stop" ? "stopping" : verb == "start" ? "starting" : "restarting";
  self.reply(json_payload({{"kind", kind_name}, {"name", name}, {"revision", row.revision}, {"change", change}}));
}

/// A temporary child ended: its spec goes with it. By its own word only.
task<> tenant_behaviour::child_ended(turn& self, json body) const {
  const auto kind_name = text_member(body, "kind");
  const auto name = text_member(body, "name");
  const auto kind = kind_name == "agent" ? entity_kind::agent : entity_kind::supervisor;
  const auto who = system_turn::host(self).of->who;
  const auto sender = system_turn::incoming(self).sender;
  using maybe = std::optional<directory_row>;
  auto row_read = system_turn::read<maybe>(self, [=](auto& r) -> result<maybe> {
    auto found = r.find(who, kind, name);
    if (found) return maybe(std::move(*found));
    if (found.error().code == errc::not_found) return maybe();
    return found.error();
  });
  const auto row = co_await row_read;
  if (!row || row->id != sender) co_return; // gone before, or another one of that name
  system_turn::effects(self).directory.push_back({*row, true});
  system_turn::command(self, row->id, "hive.deleted", {{"address", std::string(to_string(row->kind)) + "/" + row->name}});
  system_turn::audit(self, kind_name + ".delete", kind_name + "/" + name, {{"id", to_string(row->id)}, {"why", "temporary"}});
}

/// The tenant was deleted: its entities go too, a page a turn.
task<> tenant_behaviour::close(turn& self) const {
  constexpr std::size_t page = 500;
  const auto who = system_turn::host(self).of->who;
  bool more = false;
  for (const auto kind : {entity_kind::agent, entity_kind::supervisor, entity_kind::context}) {
    auto rows_read = system_turn::read<std::vector<directory_row>>(self, [=](auto& r) { return r.list(who, kind, "", page, nullptr); });
    auto rows = co_await rows_read;
    more = more || rows.size() == page;
    for (auto& row : rows) {
      system_turn::command(self, row.id, "hive.deleted", {{"address", std::string(to_string(row.kind)) + "/" + row.name}});
      system_turn::audit(self, std::string(to_string(kind)) + ".delete", std::string(to_string(kind)) + "/" + row.name, {{"with", "tenant"}});
      system_turn::effects(self).directory.push_back({std::move(row), true});
    }
  }
  if (more) system_turn::send_to(self, system_turn::id(self), "hive.close", json_payload(json::object()));
}

task<> hive_behaviour::handle(turn& self, message m) const {
  if (m.type == "tenant.put") co_await put(self, m.parse());
  else if (m.type == "tenant.delete") co_await remove(self, m.parse());
  else if (m.type == "key.create") {
    const json body = m.parse();
    co_await create_key(self, body);
  } else if (m.type == "key.delete") co_await delete_key(self, m.parse());
  else throw bad_message("type", "the hive does not take \"" + m.type + "\"");
}

task<> hive_behaviour::put(turn& self, json body) const {
  const auto name = text_member(body, "name");
  must(check_name(name, "name"));
  json spec = body.value("spec", json::object());
  if (!spec.is_object()) throw bad_message("spec", "spec must be an object");
  const auto asked = spec.value("queue_partitions", 0U);
  const auto most = settings_.tasks.partitions_max;
  if (asked > most) throw bad_message("spec.queue_partitions", "queue_partitions is at most tasks.partitions_max (" + std::to_string(most) + ")");
  if (const auto with = body.find("manifest"); with != body.end()) { // what is applied to the tenant next
    const auto given = read_manifest(*with, agents_, settings_);
    const auto none = [](const std::string&) -> std::optional<std::string> { return std::nullopt; };
    if (auto ok = check_cycles(given, none); !ok) throw bad_message(ok.error().field, ok.error().message);
    check_supervisors(given, std::vector<std::optional<directory_row>>(given.asked.size()));
  }
  using maybe = std::optional<persistence::tenant_row>;
  auto found_read = system_turn::read<maybe>(self, [name](auto& r) -> result<maybe> {
    auto row = r.find_tenant(name);
    if (row) return maybe(std::move(*row));
    if (row.error().code == errc::not_found) return maybe();
    return row.error();
  });
  auto found = co_await found_read;
  const bool created = !found;
  // What its queue has stays as it is when the spec does not say; the hive remembers when it grew.
  auto division = created ? scheduling::queue_division{} : scheduling::queue_division::from_spec(std::string_view(found->spec));
  const auto had = division.partitions;
  if (asked != 0 && asked < had)
    refuse(errc::failed_precondition, "partitions_shrink", "the queue has " + std::to_string(had) + " partitions; some can be added, none taken away",
           "spec.queue_partitions");
  if (created) {
    division.partitions = division.before = asked != 0 ? asked : std::min(settings_.tasks.partitions, most);
  } else division.grow(asked, self.now(), settings_.keep.keys);
  division.write_to(spec);
  if (created) {
    auto state = self.state<hive_state>();
    if (state.next_tenant >= (std::uint64_t{1} << 24U)) refuse(errc::resource_exhausted, "tenant_ids", "all tenant ids have been used");
    found = persistence::tenant_row{tenant_id{static_cast<std::uint32_t>(state.next_tenant++)}, name, spec.dump(), false};
    self.set_state(state);
  }
  if (created || found->spec != spec.dump()) {
    found->spec = spec.dump();
    system_turn::effects(self).tenants.push_back(*found);
    if (!created && division.partitions != had)
      for (std::uint32_t p = 0; p < had; ++p)
        system_turn::send_to(self, queue_of(found->id, p), "hive.queue.grow", json_payload({{"partitions", division.partitions}}));
    system_turn::audit(self, created ? "tenant.create" : "tenant.update", "tenant/" + name, {{"id", found->id.value()}});
  }
  self.reply(json_payload({{"id", found->id.value()}, {"name", name}, {"created", created}, {"spec", spec}}));
}

task<> hive_behaviour::remove(turn& self, json body) const {
  const auto name = text_member(body, "name");
  auto row_read = system_turn::read<persistence::tenant_row>(self, [name](auto& r) { return r.find_tenant(name); });
  auto row = co_await row_read;
  row.removed = true;
  const auto id = row.id;
  system_turn::effects(self).tenants.push_back(std::move(row));
  system_turn::send_to(self, entity_id::of_tenant(id), "hive.close", json_payload(json::object()));
  system_turn::audit(self, "tenant.delete", "tenant/" + name, {{"id", id.value()}});
  self.reply(json_payload({{"deleted", true}}));
}

} // namespace hive::actors
