#include "cluster/links/grpc/outgoing.hpp"

#include "cluster/links/frame_codec.hpp"
#include "cluster/links/handshake.hpp"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

namespace hive::cluster::links {
namespace {

using cause = link_event::cause;

grpc::ChannelArguments channel_arguments(const config::link_settings& s, lane by) {
  grpc::ChannelArguments a;
  // One connection for each lane, made anew for each attempt; when to try again is decided by us.
  a.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  a.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  a.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  a.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  a.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(s.connect_timeout.count()));
  a.SetMaxReceiveMessageSize(message_bytes_of(s));
  a.SetMaxSendMessageSize(-1);
  a.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, transport_window);
  if (by != lane::control) { // the control lane has heartbeats of its own
    a.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(s.heartbeat.count() * 4));
    a.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(s.heartbeat_timeout.count() * 4));
    a.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  }
  return a;
}

/// gRPC says in words only why a connection could not be made.
cause cause_of(const grpc::Status& status) {
  const auto& text = status.error_message();
  const auto says = [&](const char* words) { return text.find(words) != std::string::npos; };
  if (says("Connection refused")) return cause::connection_refused;
  if (says("SSL") || says("TLS") || says("ertificate") || says("andshake") || says("verif")) return cause::not_secure;
  if (says("imed out") || says("imeout") || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) return cause::timed_out;
  return cause::closed;
}

} // namespace

/// Confined to its lane's thread, but for `cancel`.
class outgoing::stream : public std::enable_shared_from_this<stream> {
public:
  stream(std::shared_ptr<outgoing> owner, lane by) : owner_(std::move(owner)), lane_(by) {}

  void begin() {
    self_ = shared_from_this();
    owner_->core_.streams.began();
    const auto channel =
        grpc::CreateCustomChannel(owner_->who_.address, owner_->credentials_, channel_arguments(owner_->core_.settings, lane_));
    stub_ = wire::NodeLink::NewStub(channel);
    auto* const queue = owner_->core_.thread_of(lane_).queue();
    switch (lane_) {
    case lane::control:
      calls_ = stub_->PrepareAsyncControl(&context_, queue);
      break;
    case lane::data:
      calls_ = stub_->PrepareAsyncData(&context_, queue);
      break;
    case lane::bulk:
      calls_ = stub_->PrepareAsyncBulk(&context_, queue);
      break;
    }
    starting_ = true;
    calls_->StartCall(&started_op_);
  }

  /// Any thread.
  void cancel() { context_.TryCancel(); }

  /// Writes what there is to write, if it may.
  void pump() {
    if (!greeted_ || writing_ || broken_) return;
    out_.Clear();
    if (!owner_->fill(lane_, out_)) return;
    writing_ = true;
    calls_->Write(out_, &written_op_);
  }

private:
  void started(bool ok) {
    starting_ = false;
    if (!ok) return broke();
    auto& h = *out_.mutable_hello();
    const auto& self = owner_->core_.self;
    h.set_lowest_version(protocol_lowest);
    h.set_highest_version(protocol_highest);
    h.set_hive(self.hive);
    h.set_cell(self.cell);
    h.set_node(self.node);
    h.set_generation(self.generation.value());
    h.set_store(self.store);
    h.set_to_node(owner_->who_.id);
    h.set_to_generation(owner_->who_.generation.value());
    h.set_session(owner_->session_);
    h.set_answer_bytes(owner_->core_.settings.frame_bytes);
    writing_ = true;
    calls_->Write(out_, &written_op_);
    read();
  }

  void read() {
    reading_ = true;
    calls_->Read(&in_, &read_op_);
  }

  void read_done(bool ok) {
    reading_ = false;
    if (!ok) return broke();
    if (!greeted_) {
      if (in_.has_refusal()) {
        owner_->close({cause::handshake, in_.refusal().reason(), in_.refusal().message()});
        return broke();
      }
      if (!in_.has_welcome()) {
        owner_->close({cause::protocol, {}, "the peer's first word was no welcome"});
        return broke();
      }
      greeted_ = true;
      owner_->welcomed(lane_, in_.welcome());
    } else if (!owner_->heard(lane_, in_)) {
      add(owner_->core_.count.protocol_errors);
      owner_->close({cause::protocol, {}, "the peer sent what no node sends"});
      return broke();
    }
    read();
    pump();
  }

  void written(bool ok) {
    writing_ = false;
    if (!ok || broken_) return broke();
    pump();
  }

  void broke() {
    if (!broken_) {
      broken_ = true;
      // When it was the read that failed, the other side has ended the stream, or the connection: its status is worth hearing.
      if (reading_ || writing_) context_.TryCancel();
    }
    if (starting_ || reading_ || writing_ || finishing_) return;
    finishing_ = true;
    calls_->Finish(&status_, &finished_op_);
  }

  void finished(bool) {
    owner_->stream_ended(lane_, status_);
    auto& streams = owner_->core_.streams;
    owner_.reset();
    const auto last = std::move(self_);
    calls_.reset();
    stub_.reset();
    streams.ended();
  }

  std::shared_ptr<outgoing> owner_;
  const lane lane_;
  std::shared_ptr<stream> self_; // while operations are under way
  grpc::ClientContext context_;
  std::unique_ptr<wire::NodeLink::Stub> stub_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<wire::ToPeer, wire::FromPeer>> calls_;
  wire::ToPeer out_;
  wire::FromPeer in_;
  grpc::Status status_;
  bool starting_ = false, reading_ = false, writing_ = false, finishing_ = false, broken_ = false, greeted_ = false;
  operation<stream> started_op_{this, &stream::started}, read_op_{this, &stream::read_done}, written_op_{this, &stream::written},
      finished_op_{this, &stream::finished};
};

outgoing::outgoing(core& shared, peer who, std::uint64_t session, reports to)
    : core_(shared), who_(std::move(who)), session_(session), dialled_at_(shared.clock.steady_now()),
      reports_(std::move(to)), queues_{send_queue(queue_limits_of(shared.settings, lane::control)),
                                       send_queue(queue_limits_of(shared.settings, lane::data)),
                                       send_queue(queue_limits_of(shared.settings, lane::bulk))},
      pending_(shared.settings.requests, shared.settings.tenant_requests) {}

outgoing::~outgoing() = default;

void outgoing::dial() {
  credentials_ = dialling_credentials(core_.files, core_.self.hive, who_.id);
  open_stream(lane::control);
}

void outgoing::open_stream(lane by) {
  auto s = std::make_shared<stream>(shared_from_this(), by);
  {
    std::lock_guard lock(guard_);
    if (closed_) return;
    streams_[static_cast<std::size_t>(by)] = s;
  }
  s->begin();
}

void outgoing::welcomed(lane by, const wire::Welcome& w) {
  if (const auto wrong = check_welcome(who_, w.version(), w.node(), node_generation{w.generation()}))
    return close({cause::handshake, wrong->reason, wrong->message});
  bool all = false;
  {
    std::lock_guard lock(guard_);
    if (closed_) return;
    const auto i = static_cast<std::size_t>(by);
    queues_[i].open({w.window().messages(), w.window().bytes(), w.window().tenant_messages(), w.window().tenant_bytes()},
                    w.window().frame_bytes());
    welcomed_[i] = true;
    all = std::all_of(welcomed_.begin(), welcomed_.end(), [](bool is) { return is; });
    up_ = all;
  }
  const auto self = shared_from_this();
  if (by == lane::control)
    core_.data->post([self] {
      self->open_stream(lane::data);
      self->open_stream(lane::bulk);
    });
  if (!all) return;
  core_.control->post([self] {
    const auto now = self->core_.clock.steady_now();
    self->heartbeat_.emplace(self->core_.settings.heartbeat, self->core_.settings.heartbeat_timeout, now);
    {
      std::lock_guard lock(self->guard_);
      if (self->closed_) return;
    }
    self->announced_ = true;
    self->reports_.came_up();
    self->tick(now);
  });
}

void outgoing::tick(steady_time now) {
  std::vector<pending_request> late;
  bool up = false;
  std::shared_ptr<stream> control;
  {
    std::lock_guard lock(guard_);
    if (closed_) return;
    late = pending_.take_expired(now);
    up = up_;
    control = streams_[static_cast<std::size_t>(lane::control)];
  }
  if (!late.empty()) end(std::move(late), [this](const pending_request& r) { return expired(r, who_.id); });
  if (!up) {
    if (now - dialled_at_ > core_.settings.connect_timeout)
      close({cause::timed_out, {}, "no handshake within " + std::to_string(core_.settings.connect_timeout.count()) + " ms"});
    return;
  }
  if (!heartbeat_) return;
  if (const auto due = heartbeat_->tick(now)) {
    ping_due_ = due;
    if (control) control->pump();
  }
  if (heartbeat_->silent(now))
    close({cause::silent, {}, "no heartbeat came back within " + std::to_string(core_.settings.heartbeat_timeout.count()) + " ms"});
}

void outgoing::close(ending how) {
  std::vector<pending_request> waiting;
  std::array<std::shared_ptr<stream>, lane_count> streams;
  std::uint64_t dropped = 0;
  {
    std::lock_guard lock(guard_);
    if (closed_) return;
    closed_ = true;
    waiting = pending_.take_all();
    for (const auto& q : queues_) dropped += q.messages();
    for (const auto& r : waiting) dropped -= r.sent ? 0 : 1;
    streams = std::move(streams_);
  }
  for (const auto& s : streams)
    if (s) s->cancel();
  add(core_.count.frames_dropped, dropped);
  const bool replaced = how.why == cause::replaced;
  end(std::move(waiting), [&](const pending_request& r) { return lost(r, who_.id, replaced ? "peer_replaced" : "link_lost"); });
  core_.control->post([self = shared_from_this(), how = std::move(how)]() mutable {
    how.was_up = self->announced_;
    self->reports_.ended(how);
  });
}

void outgoing::end(std::vector<pending_request> requests, const std::function<error(const pending_request&)>& how) {
  add(core_.count.requests_failed, requests.size());
  for (auto& r : requests) r.done(how(r));
}

void outgoing::stream_ended(lane by, const grpc::Status& status) {
  // A stream that ends by itself takes the others with it; one that was cancelled by `close` changes nothing any more.
  close({cause_of(status), {}, "the " + std::string(to_string(by)) + " lane ended: " + status.error_message()});
}

node_links::told outgoing::tell(lane by, std::span<frame> frames) {
  node_links::told end;
  std::lock_guard lock(guard_);
  if (closed_) {
    end.why = error{errc::unavailable, "link_down", "the link to node " + who_.id + " is down", {}, milliseconds{100}};
    return end;
  }
  for (auto& f : frames) {
    queued_frame q{f.tenant, 0, {}, std::move(f.body)};
    if (auto queued = queues_[static_cast<std::size_t>(by)].push(who_.id, q); !queued) {
      f.body = std::move(q.body);
      if (queued.error().code == errc::resource_exhausted) add(core_.count.refused_full);
      end.why = std::move(queued).error();
      break;
    }
    end.taken += 1;
  }
  if (end.taken != 0) wake(by);
  return end;
}

void outgoing::request(lane by, frame&& f, steady_time deadline, answer_handler& done) {
  std::optional<error> no;
  {
    std::lock_guard lock(guard_);
    if (closed_)
      no = error{errc::unavailable, "link_down", "the link to node " + who_.id + " is down", {}, milliseconds{100}};
    else if (pending_.full())
      no = error{errc::resource_exhausted,
                 "requests_full",
                 std::to_string(pending_.size()) + " requests wait for answers of node " + who_.id + " (cluster.link.requests)",
                 {},
                 milliseconds{100}};
    else if (pending_.full(f.tenant))
      no = error{errc::resource_exhausted,
                 "tenant_requests_full",
                 std::to_string(pending_.count(f.tenant)) + " requests of tenant " + std::to_string(f.tenant.value()) + " wait for answers of node " +
                     who_.id + " (cluster.link.tenant_requests)",
                 {},
                 milliseconds{100}};
    else {
      const auto correlation = correlation_of(++serial_, by);
      queued_frame q{f.tenant, correlation, deadline, std::move(f.body)};
      if (auto queued = queues_[static_cast<std::size_t>(by)].push(who_.id, q); !queued)
        no = std::move(queued).error();
      else {
        pending_.add(f.tenant, correlation, deadline, done);
        wake(by);
      }
    }
  }
  if (!no) return;
  if (no->code == errc::resource_exhausted) add(core_.count.refused_full);
  done(std::move(*no));
}

/// @pre `guard_` is held
void outgoing::wake(lane by) {
  const auto i = static_cast<std::size_t>(by);
  if (writing_[i] || woken_[i]) return;
  woken_[i] = true;
  core_.thread_of(by).post([self = shared_from_this(), i] {
    std::shared_ptr<stream> s;
    {
      std::lock_guard lock(self->guard_);
      self->woken_[i] = false;
      s = self->streams_[i];
    }
    if (s) s->pump();
  });
}

bool outgoing::fill(lane by, wire::ToPeer& out) {
  if (by == lane::bulk) return fill_chunk(out);
  const bool frames = fill_frames(by, out);
  if (by != lane::control || !ping_due_) return frames;
  out.mutable_ping()->set_sequence(*ping_due_);
  ping_due_.reset();
  return true;
}

bool outgoing::fill_frames(lane by, wire::ToPeer& out) {
  const auto i = static_cast<std::size_t>(by);
  const auto& s = core_.settings;
  thread_local std::vector<queued_frame> batch;
  batch.clear();
  {
    std::lock_guard lock(guard_);
    writing_[i] = false;
    if (closed_) return false;
    queues_[i].take(
        s.batch_frames, s.batch_bytes, [this](const queued_frame& f) { return f.correlation == 0 || pending_.waits(f.correlation); },
        [this](queued_frame&& f) {
          if (f.correlation != 0) pending_.mark_sent(f.correlation);
          batch.push_back(std::move(f));
        });
    if (by == lane::control) // no credits there: heartbeats tell soon enough when nobody reads
      for (const auto& f : batch) queues_[i].returned({f.tenant, 1, cost_of(f.body.size())});
    writing_[i] = !batch.empty();
  }
  if (batch.empty()) return false;
  const auto now = core_.clock.steady_now();
  std::string packed;
  std::uint64_t bytes = 0;
  for (const auto& f : batch) bytes += f.body.size();
  packed.reserve(bytes + frame_overhead * batch.size());
  for (const auto& f : batch) {
    const auto left = std::chrono::duration_cast<milliseconds>(f.deadline - now);
    pack_frame(packed, {f.tenant, f.correlation, f.correlation == 0 ? milliseconds{} : left, f.body});
  }
  out.mutable_batch()->set_packed(std::move(packed));
  out.mutable_batch()->set_count(static_cast<std::uint32_t>(batch.size()));
  add(core_.count.frames_sent, batch.size());
  add(core_.count.bytes_sent, bytes);
  add(core_.count.batches_sent);
  batch.clear();
  return true;
}

bool outgoing::fill_chunk(wire::ToPeer& out) {
  const auto i = static_cast<std::size_t>(lane::bulk);
  std::optional<queued_frame> next;
  {
    std::lock_guard lock(guard_);
    writing_[i] = false;
    if (closed_) return false;
    if (!cutter_.busy())
      queues_[i].take(
          1, 0, [](const queued_frame&) { return true; }, [&](queued_frame&& f) { next = std::move(f); });
    writing_[i] = cutter_.busy() || next;
    if (!writing_[i]) return false;
  }
  if (next) {
    add(core_.count.frames_sent);
    add(core_.count.bytes_sent, next->body.size());
    cutter_.begin({next->tenant, std::move(next->body)});
  }
  const auto piece = cutter_.next(core_.settings.chunk_bytes);
  auto& c = *out.mutable_chunk();
  c.set_tenant(piece.tenant.value());
  c.set_total(piece.total);
  c.set_offset(piece.offset);
  c.set_bytes(piece.bytes.data(), piece.bytes.size());
  c.set_digest(piece.digest);
  add(core_.count.batches_sent);
  return true;
}

bool outgoing::heard(lane by, wire::FromPeer& in) {
  if (in.has_welcome() || in.has_refusal()) return false;
  if (in.has_echo()) {
    if (by != lane::control) return false;
    if (heartbeat_)
      if (const auto took = heartbeat_->echo(in.echo().sequence(), core_.clock.steady_now())) reports_.round_trip(*took);
  }
  if (in.credits_size() != 0) {
    if (by == lane::control) return false;
    std::lock_guard lock(guard_);
    for (const auto& c : in.credits())
      if (!queues_[static_cast<std::size_t>(by)].returned({tenant_id{c.tenant()}, c.messages(), c.bytes()})) return false;
  }
  if (in.has_answers()) {
    auto answers = unpack_answers(in.answers().packed(), in.answers().count());
    if (!answers) return false;
    add(core_.count.answers_received, answers->size());
    std::vector<std::pair<pending_request, result<std::string>>> ended;
    {
      std::lock_guard lock(guard_);
      for (auto& a : *answers)
        if (auto r = pending_.take(a.correlation)) ended.emplace_back(std::move(*r), std::move(a.with));
    }
    for (auto& [request, with] : ended) request.done(std::move(with));
  }
  return true;
}

void outgoing::read_status(link_status& into) const {
  std::lock_guard lock(guard_);
  into.now = up_ && !closed_ ? link_status::state::up : link_status::state::connecting;
  for (const auto& q : queues_) {
    into.queued_frames += q.messages();
    into.queued_bytes += q.bytes();
  }
  into.requests = pending_.size();
}

} // namespace hive::cluster::links
