/// @file
/// Handling a request that was read: filled from path, query, body and headers, checked, given to its service.
#include "runtime/api/http/session.hpp"
#include "runtime/api/json_mapping.hpp"
#include "runtime/api/services/event_feed.hpp"

namespace hive::api::http {

/// The end of an RPC on its way to the loop.
struct outcome_job final : job {
  outcome_job(std::shared_ptr<session> s, result<any_message> o) : to(std::move(s)), outcome(std::move(o)) {}
  void run() override { to->on_outcome(std::move(outcome)); }
  std::shared_ptr<session> to;
  result<any_message> outcome;
};

result<void> session::fill_query() {
  std::string name, value;
  std::vector<std::string> seen;
  for (std::string_view rest = query_; !rest.empty();) {
    const auto end = std::min(rest.find('&'), rest.size());
    const auto pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    if (!percent_decode(pair.substr(0, equals), name, true) || !percent_decode(pair.substr(std::min(equals + 1, pair.size())), value, true))
      return invalid(std::string(pair.substr(0, equals)), "the query has a broken %-escape");
    const auto& fixed = route_.to->path_fields;
    if (std::find(fixed.begin(), fixed.end(), name) != fixed.end()) return invalid(name, name + " is given by the path: leave it out of the query");
    if (route_.to->body == "*") return invalid(name, name + " belongs into the body");
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) return invalid(name, name + " is there twice");
    if (auto set = set_from_text(*request_, name, value); !set) return set;
    seen.push_back(name);
  }
  return {};
}

/// The header and the field mean the same; two different ones mean nothing.
result<void> session::fill_idempotency_key() {
  const auto& head = parser_->get();
  const auto header = head.find("Idempotency-Key");
  if (header == head.end()) return {};
  const auto* slot = request_->GetDescriptor()->FindFieldByName("idempotency_key");
  if (!slot) return {}; // puts and deletes may be repeated without
  const auto& reflection = *request_->GetReflection();
  const auto in_body = reflection.GetString(*request_, slot);
  const std::string value(view(header->value()));
  if (!in_body.empty() && in_body != value)
    return invalid("idempotency_key", "idempotency_key and the header Idempotency-Key differ");
  reflection.SetString(request_.get(), slot, value);
  return {};
}

result<void> session::fill_request() {
  const method& m = *route_.to;
  request_ = m.make_request();
  const std::string& body = parser_->get().body();
  const json_rules rules{.depth = server_.limits.json_depth};
  if (m.body == "*") {
    if (!body.empty())
      if (auto read = from_json(body, *request_, rules, m.path_fields); !read) return read;
  } else if (!m.body.empty()) {
    const auto* into = request_->GetDescriptor()->FindFieldByName(m.body);
    auto& inner = *request_->GetReflection()->MutableMessage(request_.get(), into);
    if (!body.empty())
      if (auto read = from_json(body, inner, rules); !read) return read;
  } else if (!body.empty()) {
    return invalid("", "this takes no body");
  }
  for (std::size_t i = 0; i < m.path_fields.size(); ++i)
    if (auto set = set_from_text(*request_, m.path_fields[i], route_.values[i]); !set) return set;
  if (auto query = fill_query(); !query) return query;
  if (route_.to->rpc->server_streaming())
    if (const auto last = view(parser_->get()["Last-Event-ID"]); !last.empty())
      if (auto set = set_from_text(*request_, "after", last); !set) return set;
  if (auto key = fill_idempotency_key(); !key) return key;
  return validate(*request_);
}

void session::on_request() {
  state_ = state::handling;
  deadline_ = never; // a request that was read ends by its own deadline
  if (auto filled = fill_request(); !filled) {
    auto why = std::move(filled).error();
    const std::string outer = route_.to->body + ".";
    if (outer.size() > 1 && outer != "*." && why.field.starts_with(outer)) { // the caller sent only what is inside
      if (why.message.starts_with(outer)) why.message.erase(0, outer.size());
      why.field.erase(0, outer.size());
    }
    return fail(why);
  }
  if (route_.to->reach == scope::open) {
    // Health belongs to nobody; its services look at no context.
    return on_entered(call{{server_.auth.system(), security::role::viewer, {}}, server_.auth.system(), trace_});
  }
  server_.gate.enter(*who_, *route_.to, *request_, trace_, [self = shared_from_this(), home = server_.home](result<call> entered) {
    home->run_or_post([self, entered = std::move(entered)]() mutable { self->on_entered(std::move(entered)); });
  });
}

void session::on_entered(result<call> entered) {
  if (state_ == state::closed) return;
  if (!entered) return fail(entered.error());
  if (!route_.to->invoke) return start_stream(*entered);
  route_.to->invoke(*entered, *request_, [self = shared_from_this(), home = server_.home](result<any_message> outcome) {
    home->post(std::unique_ptr<job>(std::make_unique<outcome_job>(self, std::move(outcome))));
  });
}

void session::on_outcome(result<any_message> outcome) {
  if (state_ != state::handling) return;
  if (!outcome) return fail(outcome.error());
  answer(**outcome);
}

} // namespace hive::api::http
