#include "actors/settler.hpp"

namespace hive::actors {

std::unique_ptr<actor_record> settler::settle(persistence::settlement& s) {
  using kind = persistence::settlement::kind;
  auto record = std::unique_ptr<actor_record>(static_cast<actor_record*>(s.record.release()));
  if (!failed_.empty())
    if (const auto failed = failed_.find(record->entity); failed != failed_.end()) {
      if (failed->second != record->generation) failed_.erase(failed);
      else if (s.what == kind::committed && !record->writes) s.what = kind::stale;
    }
  if (s.what != kind::committed) {
    if (failed_.size() > 100'000) failed_.clear(); // old ones only: an entity under way is put back by its next record
    failed_[record->entity] = record->generation;
    return record;
  }
  if (record->view) views_.advance(record->entity, std::exchange(record->view, nullptr), record->base + 1);
  if (record->message && record->message->ticket) {
    auto& ticket = *record->message->ticket.get();
    if (record->failure) ticket.fail(error(*record->failure));
    else if (record->answer) ticket.answer(record->keyed ? ask_answer(*record->answer) : std::move(*record->answer));
  }
  return record;
}

} // namespace hive::actors
