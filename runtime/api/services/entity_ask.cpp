#include "runtime/api/services/entity_ask.hpp"

#include "actors/specs.hpp"

namespace hive::api {

void ask_entity(actors::messaging& hive, const call& c, actors::destination to, std::string type, std::string body,
                std::string key, std::string strip, reply<nlohmann::json> done) {
  ask_entity(hive, c, std::move(to), std::move(type), payload{std::move(body), content_type::json}, std::move(key), std::move(strip), std::move(done));
}

void ask_entity(actors::messaging& hive, const call& c, actors::destination to, std::string type, payload body,
                std::string key, std::string strip, reply<nlohmann::json> done, std::string route) {
  actors::ask_request ask;
  ask.to = std::move(to);
  ask.type = std::move(type);
  ask.body = std::move(body);
  ask.idempotency_key = std::move(key);
  ask.trace = c.trace;
  ask.route = std::move(route);
  hive.ask(c.context, std::move(ask), sink_of([strip = std::move(strip), done = std::move(done)](result<actors::ask_answer> answer, std::string) {
    if (!answer) {
      auto why = std::move(answer).error();
      if (!strip.empty() && why.field.starts_with(strip)) why.field.erase(0, strip.size());
      return done(std::move(why));
    }
    auto parsed = nlohmann::json::parse(answer->body.bytes, nullptr, false);
    if (!parsed.is_object()) return done(error{errc::internal, "bad_answer", "the entity's answer is not a JSON object", {}, {}});
    try {
      done(std::move(parsed));
    } catch (const nlohmann::json::exception& e) { // a member of another type than actors/directory.hpp says
      done(error{errc::internal, "bad_answer", std::string("the entity's answer is not as agreed: ") + e.what(), {}, {}});
    }
  }));
}

result<void> check_page_token(const std::string& token) {
  if (token.empty() || actors::check_name(token, "page_token")) return {};
  return invalid("page_token", "page_token is not one that a page before gave");
}

live_status live_status_of(const std::unordered_map<entity_id, nlohmann::json>& all, entity_id id, entity_kind kind) {
  live_status out;
  if (kind == entity_kind::supervisor) out.status = "running";
  const auto found = all.find(id);
  if (found == all.end() || !found->second.is_object()) return out;
  const auto& facts = found->second;
  const auto number = [&](const char* name) -> std::uint64_t {
    const auto at = facts.find(name);
    return at != facts.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : at != facts.end() && at->is_number_integer() ? static_cast<std::uint64_t>(std::max<std::int64_t>(0, at->get<std::int64_t>())) : 0;
  };
  const auto word = [&](const char* name) {
    const auto at = facts.find(name);
    return at != facts.end() && at->is_string() ? at->get<std::string>() : std::string{};
  };
  if (auto status = word("status"); !status.empty() && status != "inactive") out.status = std::move(status);
  out.last_error = word("last_error");
  out.stopped_by = word("stopped_by");
  out.node = word("node");
  out.incarnation = number("incarnation");
  out.restarts = number("restarts");
  out.mailbox = number("mailbox");
  return out;
}

} // namespace hive::api
