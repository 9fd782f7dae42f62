#include "actors/envelope.hpp"
#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"

#include <charconv>

namespace hive::api {
namespace {

using persistence::store_reader;
using persistence::stored_dead_letter;

std::optional<std::uint64_t> number_of(const std::string& id) {
  std::uint64_t number = 0;
  const auto [end, bad] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (bad != std::errc{} || end != id.data() + id.size()) return std::nullopt;
  return number;
}

error no_such_letter() { return {errc::not_found, "not_found", "no such dead letter", "id"}; }

v1::DeadLetter letter_from(stored_dead_letter&& stored, const call& c, store_reader& store, bool with_payload) {
  v1::DeadLetter out;
  out.set_id(std::to_string(stored.number));
  out.set_at(stored.at.time_since_epoch().count());
  out.set_reason(std::move(stored.letter.reason));
  const auto row = store.find(c.context, stored.receiver);
  out.set_receiver(row ? std::string(to_string(row->kind)) + "/" + row->name : to_string(stored.receiver));
  out.set_principal(std::move(stored.principal));
  out.set_detail(stored.letter.detail.empty() ? "{}" : std::move(stored.letter.detail));
  if (auto message = actors::decode_message(stored.letter.message, c.context, stored.receiver)) {
    out.set_from(std::move(message->from));
    out.set_type(std::move(message->type));
    if (with_payload) {
      out.set_payload(message->body.bytes.empty() && message->body.type == content_type::json ? "null" : std::move(message->body.bytes));
      out.set_payload_type(static_cast<v1::ContentType>(message->body.type));
    }
  }
  return out;
}

} // namespace

void dead_letter_service::list(const call& c, v1::ListDeadLettersRequest& request, reply<v1::ListDeadLettersResponse> done) {
  const auto before = request.page_token().empty() ? std::optional<std::uint64_t>{0} : number_of(request.page_token());
  if (!before) return done(invalid("page_token", "page_token must be the next_page_token of the page before"));
  with_.hive.read(c.context.tenant(), [c, before = *before, size = page_of(request.page_size()), done = std::move(done)](store_reader& store) {
    auto rows = store.dead_letters(c.context, before, size + 1);
    if (!rows) return done(std::move(rows).error());
    const bool more = rows->size() > size;
    if (more) rows->resize(size);
    v1::ListDeadLettersResponse out;
    for (auto& row : *rows) *out.add_dead_letters() = letter_from(std::move(row), c, store, false);
    if (more) out.set_next_page_token(out.dead_letters().rbegin()->id());
    done(std::move(out));
  });
}

void dead_letter_service::get(const call& c, v1::DeadLetterRequest& request, reply<v1::DeadLetter> done) {
  const auto number = number_of(request.id());
  if (!number) return done(no_such_letter());
  with_.hive.read(c.context.tenant(), [c, number = *number, done = std::move(done)](store_reader& store) {
    auto rows = store.dead_letters(c.context, number + 1, 1);
    if (!rows) return done(std::move(rows).error());
    if (rows->empty() || rows->front().number != number) return done(no_such_letter());
    done(letter_from(std::move(rows->front()), c, store, true));
  });
}

void dead_letter_service::settle(const char* how, const call& c, const v1::DeadLetterRequest& request, reply<v1::DeadLetterSettled> done) {
  const auto number = number_of(request.id());
  if (!number) return done(no_such_letter());
  ask_entity(with_.hive, c, {entity_kind::tenant, ""}, how, nlohmann::json{{"number", *number}}.dump(), {}, {},
             [id = request.id(), done = std::move(done)](result<nlohmann::json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::DeadLetterSettled out;
               out.set_id(id);
               done(std::move(out));
             });
}

void dead_letter_service::redrive(const call& c, v1::DeadLetterRequest& request, reply<v1::DeadLetterSettled> done) {
  settle("dead_letter.redrive", c, request, std::move(done));
}
void dead_letter_service::drop(const call& c, v1::DeadLetterRequest& request, reply<v1::DeadLetterSettled> done) {
  settle("dead_letter.drop", c, request, std::move(done));
}

} // namespace hive::api
