#include "cluster/links/grpc/incoming.hpp"

#include "cluster/links/frame_codec.hpp"
#include "config/base/log.hpp"

#include <grpcpp/server_context.h>

namespace hive::cluster::links {

/// Confined to its lane's thread, but for `cancel`.
class incoming_stream : public std::enable_shared_from_this<incoming_stream> {
public:
  incoming_stream(core& shared, incoming_table& table, lane by) : core_(shared), table_(table), lane_(by) {}

  /// Waits for the next peer that opens this lane.
  static void accept(core& shared, incoming_table& table, lane by) {
    const auto s = std::make_shared<incoming_stream>(shared, table, by);
    s->self_ = s;
    shared.streams.began();
    auto* const queue = static_cast<grpc::ServerCompletionQueue*>(shared.thread_of(by).queue());
    auto& service = table.service();
    switch (by) {
    case lane::control:
      service.RequestControl(&s->context_, &s->calls_, queue, queue, &s->accepted_op_);
      break;
    case lane::data:
      service.RequestData(&s->context_, &s->calls_, queue, queue, &s->accepted_op_);
      break;
    case lane::bulk:
      service.RequestBulk(&s->context_, &s->calls_, queue, queue, &s->accepted_op_);
      break;
    }
  }

  /// Any thread, after it was accepted.
  void cancel() { context_.TryCancel(); }

  void pump() {
    if (!session_ || writing_ || broken_ || finishing_) return;
    out_.Clear();
    if (!session_->fill(lane_, out_)) return;
    writing_ = true;
    calls_.Write(out_, &written_op_);
  }

private:
  void accepted(bool ok) {
    if (!ok) return over(); // the server stops
    accept(core_, table_, lane_);
    table_.greeting(lane_, this, true);
    read();
  }

  void read() {
    reading_ = true;
    calls_.Read(&in_, &read_op_);
  }

  void read_done(bool ok) {
    reading_ = false;
    if (!ok) return broke("the connection was closed");
    if (!session_) return greet();
    if (!session_->heard(lane_, in_)) {
      add(core_.count.protocol_errors);
      log::warn("node link: peer sent what no node sends",
                {{"node", session_->node()}, {"lane", to_string(lane_)}, {"from", context_.peer()}});
      return refuse({"protocol", "this is not what a node sends"});
    }
    read();
  }

  void greet() {
    table_.greeting(lane_, this, false);
    if (!in_.has_hello()) {
      add(core_.count.protocol_errors);
      return refuse({"protocol", "the first word has to be a hello"});
    }
    std::vector<std::string> uris;
    for (const auto& uri : context_.auth_context()->FindPropertyValues("peer_uri")) uris.emplace_back(uri.data(), uri.size());
    auto verdict = table_.admit(lane_, in_.hello(), uris, shared_from_this());
    if (const auto* no = std::get_if<refusal>(&verdict)) {
      add(core_.count.handshakes_refused);
      log::warn("node link: refused", {{"reason", no->reason},
                                       {"why", no->message},
                                       {"node", std::string_view(in_.hello().node()).substr(0, 100)},
                                       {"generation", in_.hello().generation()},
                                       {"lane", to_string(lane_)},
                                       {"from", context_.peer()}});
      return refuse(*no);
    }
    session_ = std::move(std::get<std::shared_ptr<incoming>>(verdict));
    out_.Clear();
    auto& w = *out_.mutable_welcome();
    w.set_version(protocol_highest);
    w.set_node(core_.self.node);
    w.set_generation(core_.self.generation.value());
    const auto window = window_of(core_.settings, lane_);
    w.mutable_window()->set_messages(window.messages);
    w.mutable_window()->set_bytes(window.bytes);
    w.mutable_window()->set_tenant_messages(window.tenant_messages);
    w.mutable_window()->set_tenant_bytes(window.tenant_bytes);
    w.mutable_window()->set_frame_bytes(frame_bytes_of(core_.settings, lane_));
    writing_ = true;
    calls_.Write(out_, &written_op_);
    read();
  }

  /// The last word, then the end. @pre no read is under way
  void refuse(const refusal& no) {
    if (session_) session_->close(no.message, this);
    broken_ = true;
    status_ = grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, no.reason + ": " + no.message);
    if (writing_) return; // `written` goes on
    out_.Clear();
    out_.mutable_refusal()->set_reason(no.reason);
    out_.mutable_refusal()->set_message(no.message);
    finishing_ = true;
    calls_.WriteAndFinish(out_, grpc::WriteOptions(), status_, &finished_op_);
  }

  void written(bool ok) {
    writing_ = false;
    if (!ok || broken_) return broke("the connection was closed");
    pump();
  }

  void broke(const char* why) {
    if (!broken_) {
      broken_ = true;
      if (session_) session_->close(why);
      if (reading_ || writing_) context_.TryCancel();
    }
    if (reading_ || writing_ || finishing_) return;
    finishing_ = true;
    calls_.Finish(status_, &finished_op_);
  }

  void finished(bool) { over(); }

  void over() {
    table_.greeting(lane_, this, false);
    session_.reset();
    auto& streams = core_.streams;
    const auto last = std::move(self_);
    streams.ended();
  }

  core& core_;
  incoming_table& table_;
  const lane lane_;
  std::shared_ptr<incoming_stream> self_; // while operations are under way
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<wire::FromPeer, wire::ToPeer> calls_{&context_};
  std::shared_ptr<incoming> session_;
  wire::ToPeer in_;
  wire::FromPeer out_;
  grpc::Status status_;
  bool reading_ = false, writing_ = false, finishing_ = false, broken_ = false;
  operation<incoming_stream> accepted_op_{this, &incoming_stream::accepted}, read_op_{this, &incoming_stream::read_done},
      written_op_{this, &incoming_stream::written}, finished_op_{this, &incoming_stream::finished};
};

// -- one session

/// Keeps the bytes that its frames point into, and the credits of the sender.
struct incoming::batch final : received_batch {
  std::shared_ptr<incoming> session;
  std::string bytes;
  std::vector<credit> credits;
  ~batch() override {
    if (!credits.empty()) session->released(by, credits);
  }
};

incoming::incoming(core& shared, incoming_table& table, const hello& from, std::uint64_t answer_bytes)
    : core_(shared), table_(table), node_(from.from.node), generation_(from.from.generation), session_(from.session),
      answer_bytes_max_(std::min(answer_bytes, shared.settings.frame_bytes)), last_ping_(shared.clock.steady_now()),
      assembler_(shared.settings.bulk_frame_bytes), data_ledger_(window_of(shared.settings, lane::data)),
      bulk_ledger_(window_of(shared.settings, lane::bulk)) {}

bool incoming::attach(lane by, const std::shared_ptr<incoming_stream>& s) {
  bool all = false;
  {
    std::lock_guard lock(guard_);
    auto& mine = streams_[static_cast<std::size_t>(by)];
    if (closed_ || mine) return false;
    mine = s;
    all = std::all_of(streams_.begin(), streams_.end(), [](const auto& has) { return has != nullptr; });
    announced_ = all;
  }
  if (all) table_.report({link_event::kind::incoming_up, link_event::cause::none, node_, generation_, {}, {}, {}, 0});
  return true;
}

bool incoming::is_up() const {
  std::lock_guard lock(guard_);
  return !closed_ && std::all_of(streams_.begin(), streams_.end(), [](const auto& has) { return has != nullptr; });
}

void incoming::close(const std::string& why, const incoming_stream* spared) {
  std::array<std::shared_ptr<incoming_stream>, lane_count> streams;
  bool announced = false;
  {
    std::lock_guard lock(guard_);
    if (closed_) return;
    closed_ = true;
    announced = announced_;
    streams = std::move(streams_);
    for (auto& a : answers_) a.clear();
    open_requests_.clear();
  }
  for (const auto& s : streams)
    if (s && s.get() != spared) s->cancel();
  table_.ended(shared_from_this(), announced, why);
}

bool incoming::heard(lane by, wire::ToPeer& in) {
  if (in.has_hello()) return false;
  if (in.has_ping()) {
    if (by != lane::control) return false;
    last_ping_ = core_.clock.steady_now();
    echo_due_ = in.ping().sequence();
    std::lock_guard lock(guard_);
    wake(by);
  }
  if (in.has_batch() && (by == lane::bulk || !heard_frames(by, *in.mutable_batch()))) return false;
  return !in.has_chunk() || (by == lane::bulk && heard_chunk(in.chunk()));
}

bool incoming::charge(lane by, const std::vector<credit>& all) {
  std::lock_guard lock(guard_);
  for (const auto& c : all)
    if (!ledger_of(by).received(c)) return false;
  return true;
}

bool incoming::heard_frames(lane by, wire::Batch& in) {
  auto got = std::make_shared<batch>();
  got->session = shared_from_this();
  got->from = node_;
  got->generation = generation_;
  got->by = by;
  got->bytes = std::move(*in.mutable_packed());
  const auto frames = unpack_frames(got->bytes, in.count(), frame_bytes_of(core_.settings, by));
  if (!frames) return false;
  std::vector<credit> credits;
  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> refused; // in the order of the frames
  {
    const auto now = core_.clock.steady_now();
    std::lock_guard lock(guard_);
    if (closed_) return true;
    for (const auto& f : *frames) {
      if (f.correlation == 0) continue;
      const auto said = take_request(by, f.correlation, f.time_left, now);
      if (said == verdict::nonsense) return false;
      if (said == verdict::refused) refused.push_back(f.correlation);
    }
  }
  got->frames.reserve(frames->size());
  auto next_refused = refused.begin();
  for (const auto& f : *frames) {
    bytes += f.body.size();
    if (credits.empty() || credits.back().tenant != f.tenant) credits.push_back({f.tenant, 0, 0});
    credits.back().messages += 1;
    credits.back().bytes += cost_of(f.body.size());
    if (next_refused != refused.end() && *next_refused == f.correlation) {
      ++next_refused;
      continue;
    }
    got->frames.push_back(
        {f.tenant, f.body, f.correlation == 0 ? answer_token() : answer_token(weak_from_this(), f.correlation), f.time_left});
  }
  if (by != lane::control) {
    if (!charge(by, credits)) return false;
    got->credits = std::move(credits);
  }
  add(core_.count.frames_received, got->frames.size());
  add(core_.count.bytes_received, bytes);
  if (!got->frames.empty()) core_.listener.received(std::move(got));
  return true;
}

/// Askers give up when their time is over, and ask anew: so what they asked does not count any more either. Beyond that the
/// bounds of two nodes may differ, and time passes between them: an excess is refused, as a full node refuses; one that goes
/// on without taking the refusals is no node. @pre `guard_` is held, not closed
incoming::verdict incoming::take_request(lane by, std::uint64_t correlation, milliseconds time_left, steady_time now) {
  constexpr milliseconds between_looks{20};
  if (lane_of(correlation) != by || open_requests_.contains(correlation)) return verdict::nonsense;
  if (open_requests_.size() >= core_.settings.requests && now >= next_look_for_late_) {
    next_look_for_late_ = now + between_looks;
    absl::erase_if(open_requests_, [now](const auto& r) { return r.second <= now; });
  }
  if (open_requests_.size() < core_.settings.requests) {
    open_requests_.emplace(correlation, now + time_left);
    return verdict::taken;
  }
  auto& waiting = answers_[static_cast<std::size_t>(by)];
  if (waiting.size() >= 2 * std::size_t{core_.settings.requests}) return verdict::nonsense;
  answer_bytes_ += cost_of(0); // `fill` takes it away again, as of every answer
  waiting.emplace_back(correlation, error{errc::resource_exhausted, "requests_full",
                                          "node " + core_.self.node + " has as many requests of this node to answer as cluster.link.requests allows", {}, milliseconds{100}});
  wake(by);
  return verdict::refused;
}

bool incoming::heard_chunk(const wire::Chunk& in) {
  const tenant_id tenant{in.tenant()};
  if (in.tenant() >= (1U << 24U)) return false;
  if (in.offset() == 0 && !charge(lane::bulk, {{tenant, 1, cost_of(in.total())}})) return false;
  switch (assembler_.add({tenant, in.total(), in.offset(), in.bytes(), in.digest()})) {
  case chunk_assembler::outcome::more:
    return true;
  case chunk_assembler::outcome::broken:
    return false;
  case chunk_assembler::outcome::complete:
    break;
  }
  auto whole = assembler_.take();
  auto got = std::make_shared<batch>();
  got->session = shared_from_this();
  got->from = node_;
  got->generation = generation_;
  got->by = lane::bulk;
  got->bytes = std::move(whole.body);
  got->credits = {{tenant, 1, cost_of(got->bytes.size())}};
  got->frames.push_back({tenant, got->bytes, {}, {}});
  add(core_.count.frames_received);
  add(core_.count.bytes_received, got->bytes.size());
  core_.listener.received(std::move(got));
  return true;
}

void incoming::answer(std::uint64_t correlation, result<std::string> with) {
  const auto by = lane_of(correlation);
  std::lock_guard lock(guard_);
  if (closed_ || open_requests_.erase(correlation) == 0) return;
  if (with && with->size() > answer_bytes_max_)
    with = error{errc::resource_exhausted,
                 "answer_too_large",
                 "the answer has " + std::to_string(with->size()) + " bytes; nodes take " + std::to_string(answer_bytes_max_),
                 {},
                 {}};
  if (with && answer_bytes_ + cost_of(with->size()) > core_.settings.answer_bytes)
    with = error{errc::unknown, "answers_full", "too many answers wait to go to node " + node_ + "; ask again with the same key", {}, {}};
  answer_bytes_ += cost_of(with ? with->size() : 0);
  answers_[static_cast<std::size_t>(by)].emplace_back(correlation, std::move(with));
  wake(by);
}

void incoming::released(lane by, const std::vector<credit>& all) {
  std::lock_guard lock(guard_);
  if (closed_) return;
  bool now = false;
  for (const auto& c : all) now |= ledger_of(by).released(c);
  if (now) wake(by);
}

void incoming::settle() {
  std::lock_guard lock(guard_);
  if (closed_) return;
  for (const auto by : {lane::data, lane::bulk})
    if (ledger_of(by).owes()) wake(by);
}

/// @pre `guard_` is held, not closed
void incoming::wake(lane by) {
  const auto i = static_cast<std::size_t>(by);
  if (closed_ || woken_[i]) return;
  woken_[i] = true;
  core_.thread_of(by).post([self = shared_from_this(), i] {
    std::shared_ptr<incoming_stream> s;
    {
      std::lock_guard lock(self->guard_);
      self->woken_[i] = false;
      s = self->streams_[i];
    }
    if (s) s->pump();
  });
}

bool incoming::fill(lane by, wire::FromPeer& out) {
  bool any = false;
  if (by == lane::control && echo_due_) {
    out.mutable_echo()->set_sequence(*echo_due_);
    echo_due_.reset();
    any = true;
  }
  std::vector<std::pair<std::uint64_t, result<std::string>>> answers;
  {
    std::lock_guard lock(guard_);
    if (closed_) return any;
    auto& waiting = answers_[static_cast<std::size_t>(by)];
    std::uint64_t bytes = 0;
    while (!waiting.empty() && answers.size() < core_.settings.batch_frames) {
      const auto cost = cost_of(waiting.front().second ? waiting.front().second->size() : 0);
      if (!answers.empty() && bytes + cost > core_.settings.batch_bytes) break;
      bytes += cost;
      answers.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
    answer_bytes_ -= bytes;
    if (by != lane::control)
      for (const auto& c : ledger_of(by).take()) {
        auto& credit = *out.add_credits();
        credit.set_tenant(c.tenant.value());
        credit.set_messages(c.messages);
        credit.set_bytes(c.bytes);
        any = true;
      }
  }
  if (answers.empty()) return any;
  byte_writer packed;
  for (const auto& [correlation, with] : answers) pack_answer(packed, correlation, with);
  out.mutable_answers()->set_packed(packed.take());
  out.mutable_answers()->set_count(static_cast<std::uint32_t>(answers.size()));
  add(core_.count.answers_sent, answers.size());
  return true;
}

// -- all sessions

incoming_table::incoming_table(core& shared, std::function<void(const link_event&)> report)
    : core_(shared), report_(std::move(report)), gate_(shared.self) {}

void incoming_table::start(wire::NodeLink::AsyncService& service) {
  service_ = &service;
  core_.control->post([this] { incoming_stream::accept(core_, *this, lane::control); });
  core_.data->post([this] {
    incoming_stream::accept(core_, *this, lane::data);
    incoming_stream::accept(core_, *this, lane::bulk);
  });
}

std::variant<std::shared_ptr<incoming>, refusal> incoming_table::admit(lane by, const wire::Hello& h, const std::vector<std::string>& uris,
                                                                       const std::shared_ptr<incoming_stream>& s) {
  hello said;
  said.lowest_version = h.lowest_version();
  said.highest_version = h.highest_version();
  said.from = {h.hive(), h.cell(), h.node(), node_generation{h.generation()}, h.store()};
  said.to_node = h.to_node();
  said.to_generation = node_generation{h.to_generation()};
  said.session = h.session();
  std::shared_ptr<incoming> session;
  std::shared_ptr<incoming> older;
  {
    std::lock_guard lock(guard_);
    auto verdict = gate_.check(said, uris);
    if (auto* no = std::get_if<refusal>(&verdict)) {
      if (by == lane::control)
        report({link_event::kind::incoming_refused,
                link_event::cause::handshake,
                said.from.node,
                said.from.generation,
                no->reason,
                no->message,
                {},
                0});
      return std::move(*no);
    }
    auto& slot = sessions_[said.from.node];
    if (by == lane::control) {
      older = std::exchange(slot, std::make_shared<incoming>(core_, *this, said, h.answer_bytes()));
      session = slot;
    } else {
      if (slot && slot->session() == said.session && slot->generation() == said.from.generation) session = slot;
      if (!slot) sessions_.erase(said.from.node);
    }
  }
  if (older) older->close("the node dialled again");
  if (!session || !session->attach(by, s)) return refusal{"session", "no control lane of this session is open"};
  return session;
}

void incoming_table::ended(const std::shared_ptr<incoming>& session, bool announced, const std::string& why) {
  {
    std::lock_guard lock(guard_);
    const auto found = sessions_.find(session->node());
    if (found != sessions_.end() && found->second == session) sessions_.erase(found);
  }
  if (announced)
    report({link_event::kind::incoming_down, link_event::cause::closed, session->node(), session->generation(), {}, why, {}, 0});
}

void incoming_table::report(link_event e) {
  core_.control->post([this, e = std::move(e)] {
    if (e.what != link_event::kind::incoming_refused)
      log::info("node link: " + std::string(to_string(e.what)),
                {{"node", e.node}, {"generation", e.generation.value()}, {"why", e.message}});
    report_(e);
  });
}

void incoming_table::greeting(lane by, incoming_stream* s, bool is) {
  auto& all = by == lane::control ? greeting_control_ : greeting_data_;
  if (is)
    all.emplace(s, core_.clock.steady_now() + core_.settings.connect_timeout);
  else
    all.erase(s);
}

void incoming_table::set_peers(std::span<const peer> peers) {
  std::vector<std::shared_ptr<incoming>> gone;
  {
    std::lock_guard lock(guard_);
    gate_.set_peers(peers);
    for (const auto& [node, session] : sessions_) {
      const auto named = std::find_if(peers.begin(), peers.end(), [&](const peer& p) { return p.id == node; });
      if (named == peers.end() || named->generation != session->generation()) gone.push_back(session);
    }
  }
  for (const auto& s : gone) s->close("it is not in the list of peers any more");
}

void incoming_table::tick(steady_time now) {
  for (auto& [s, until] : greeting_control_)
    if (until < now) s->cancel();
  // After this process itself stood still, everybody seems silent.
  if (now - last_tick_ > core_.settings.heartbeat_timeout / 2) lenient_until_ = now + core_.settings.heartbeat_timeout;
  last_tick_ = now;
  if (now < lenient_until_) return;
  std::vector<std::shared_ptr<incoming>> silent;
  {
    std::lock_guard lock(guard_);
    for (const auto& [node, session] : sessions_)
      if (now - session->last_ping() > 2 * core_.settings.heartbeat_timeout) silent.push_back(session);
  }
  for (const auto& s : silent) s->close("no heartbeat came");
}

void incoming_table::tick_data(steady_time now) {
  for (auto& [s, until] : greeting_data_)
    if (until < now) s->cancel();
  std::vector<std::shared_ptr<incoming>> all;
  {
    std::lock_guard lock(guard_);
    for (const auto& [node, session] : sessions_) all.push_back(session);
  }
  for (const auto& s : all) s->settle();
}

void incoming_table::close_all(const std::string& why) {
  std::vector<std::shared_ptr<incoming>> all;
  {
    std::lock_guard lock(guard_);
    for (const auto& [node, session] : sessions_) all.push_back(session);
  }
  for (const auto& s : all) s->close(why);
}

bool incoming_table::is_up(std::string_view node) const {
  std::lock_guard lock(guard_);
  const auto found = sessions_.find(node);
  return found != sessions_.end() && found->second->is_up();
}

} // namespace hive::cluster::links
