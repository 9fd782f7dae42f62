#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"

namespace hive::api {
namespace {

content_type type_from(v1::ContentType t) noexcept { return static_cast<content_type>(t); } // the same numbers

payload take_payload(std::string* bytes, v1::ContentType type) {
  payload body{std::move(*bytes), type_from(type)};
  if (body.bytes.empty() && body.type == content_type::json) body.bytes = "null";
  return body;
}

result<void> check_type(v1::ContentType type) {
  if (!v1::ContentType_IsValid(type)) return invalid("payload_type", "payload_type is not known");
  return {};
}

} // namespace

void messaging_service::ask(const call& c, v1::AskRequest& request, reply<v1::AskResponse> done) {
  if (auto ok = check_type(request.payload_type()); !ok) return done(std::move(ok).error());
  const auto longest = static_cast<std::uint64_t>(with_.limits.ask_deadline_max.count());
  if (request.deadline_ms() > longest)
    return done(invalid("deadline_ms", "deadline_ms is " + std::to_string(request.deadline_ms()) + "; api.ask_deadline_max allows " + std::to_string(longest)));
  actors::ask_request ask;
  ask.to = {entity_kind::agent, request.agent()};
  ask.type = std::move(*request.mutable_type());
  ask.body = take_payload(request.mutable_payload(), request.payload_type());
  ask.idempotency_key = request.idempotency_key();
  ask.deadline = request.deadline_ms() == 0 ? with_.limits.ask_deadline : std::chrono::milliseconds(request.deadline_ms());
  ask.urgent = request.priority() == v1::PRIORITY_URGENT;
  ask.trace = c.trace;
  with_.hive.ask(c.context, std::move(ask), sink_of([&request, done = std::move(done)](result<actors::ask_answer> answer, std::string key) {
    if (!answer) {
      // The caller may need the key that was made for it: a request lives until its reply (method.hpp).
      if (!key.empty()) request.set_idempotency_key(std::move(key));
      return done(std::move(answer).error());
    }
    v1::AskResponse out;
    if (answer->body.bytes.empty() && answer->body.type == content_type::json) answer->body.bytes = "null";
    out.set_payload(std::move(answer->body.bytes));
    out.set_payload_type(static_cast<v1::ContentType>(answer->body.type));
    out.set_idempotency_key(std::move(answer->idempotency_key));
    out.set_repeated(answer->repeated);
    done(std::move(out));
  }));
}

void messaging_service::tell(const call& c, v1::TellRequest& request, reply<v1::TellResponse> done) {
  if (auto ok = check_type(request.payload_type()); !ok) return done(std::move(ok).error());
  with_.hive.tell(c.context, {entity_kind::agent, request.agent()}, std::move(*request.mutable_type()),
                  take_payload(request.mutable_payload(), request.payload_type()), c.trace, [done = std::move(done)](result<void> told) {
                    if (told) done(v1::TellResponse{});
                    else done(std::move(told).error());
                  });
}

} // namespace hive::api
