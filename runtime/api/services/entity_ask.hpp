/// @file
/// Asking an entity on behalf of a service, and waiting for nothing: the answer comes as a `result`.
#pragma once

#include "actors/messaging.hpp"
#include "runtime/api/method.hpp"

namespace hive::api {

/// A reply sink from one callable; unlike `actors::on_reply` it keeps the key of an ask that ended without an answer.
template <class Done> class callable_sink final : public actors::reply_sink {
public:
  explicit callable_sink(Done done) : done_(std::move(done)) {}
  void answered(actors::ask_answer&& answer) override { done_(result<actors::ask_answer>(std::move(answer)), std::string{}); }
  void failed(error&& why, const std::string& key) override { done_(result<actors::ask_answer>(std::move(why)), key); }

private:
  Done done_;
};

/// @param done `void(result<ask_answer>, std::string key)`
template <class Done> std::unique_ptr<actors::reply_sink> sink_of(Done done) {
  return std::make_unique<callable_sink<Done>>(std::move(done));
}

/// Asks with a JSON body; the answer is JSON. `application` errors of directory entities keep their reason.
/// @param strip what to cut from the front of the error's field: "agents[0].spec." when the caller sent only the spec.
void ask_entity(actors::messaging& hive, const call& c, actors::destination to, std::string type, std::string body,
                std::string key, std::string strip, reply<nlohmann::json> done);

/// The same with a body of any content type.
/// @param route as in `actors::ask_request`
void ask_entity(actors::messaging& hive, const call& c, actors::destination to, std::string type, payload body,
                std::string key, std::string strip, reply<nlohmann::json> done, std::string route = {});

/// Fills what `statuses` says of one entity; an entity it does not name is "inactive". A supervisor with
/// nothing to do is not in memory and supervises all the same: "running".
struct live_status {
  std::string status = "inactive", last_error, stopped_by, node;
  std::uint64_t incarnation = 0, restarts = 0, mailbox = 0;
};
live_status live_status_of(const std::unordered_map<entity_id, nlohmann::json>& all, entity_id id, entity_kind kind);
template <class Status> void fill(Status& out, live_status&& in) {
  out.set_status(std::move(in.status));
  out.set_last_error(std::move(in.last_error));
  out.set_stopped_by(std::move(in.stopped_by));
  out.set_node(std::move(in.node));
  out.set_incarnation(in.incarnation);
  out.set_restarts(in.restarts);
  out.set_mailbox(in.mailbox);
}

/// Lists of names go on behind a name: anything else was not given by a page before.
result<void> check_page_token(const std::string& token);

inline std::size_t page_of(std::uint32_t wanted) noexcept { return wanted == 0 ? 100 : wanted; }

} // namespace hive::api
