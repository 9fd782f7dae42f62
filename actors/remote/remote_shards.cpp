#include "actors/remote/remote_shards.hpp"

#include "config/base/bytes.hpp"
#include "config/base/log.hpp"

namespace hive::actors::remote {

using namespace std::chrono_literals;
namespace links = cluster::links;

namespace {

/// The first byte of a frame on the data lane.
enum class subject : char { op = 'o', ask = 'a', call = 'c' };

constexpr auto retry_after = 50ms;
constexpr auto retry_for = 60s; // what supervisors and steps say; then the other side has long begun anew

std::string frame_of(subject s, std::string_view body) {
  std::string f;
  f.reserve(body.size() + 1);
  f.push_back(static_cast<char>(s));
  f.append(body);
  return f;
}

error no_owner() { return {errc::unavailable, "no_owner", "the entity's shard has no owner just now; ask again with the same key", {}, 50ms}; }
error not_here() { return {errc::unavailable, "not_here", "the entity's shard is not at this node any more; ask again with the same key", {}, 20ms}; }
error not_linked() { return {errc::unavailable, "link_down", "this node has no links", {}, 100ms}; }

/// Said once by the shard that takes the ask; by nobody when the shard goes: then the ticket says so.
class link_sink final : public reply_sink {
public:
  link_sink(const std::atomic<links::node_links*>& by, links::answer_token token) : by_(by), token_(std::move(token)) {}
  void answered(ask_answer&& a) override { say(encode_answer(a)); }
  void failed(error&& why, const std::string&) override { say(std::move(why)); }

private:
  void say(result<std::string> what) {
    if (auto* l = by_.load(std::memory_order_acquire)) l->answer(token_, std::move(what));
  }
  const std::atomic<links::node_links*>& by_;
  links::answer_token token_;
};

} // namespace

void remote_shards::connect(links::node_links* l) { links_.store(l, std::memory_order_release); }

void remote_shards::set_peers(std::map<node_generation, std::string> names, node_generation self) {
  std::lock_guard lock(guard_);
  names_ = std::move(names);
  self_ = self;
}

std::string remote_shards::owner_of(shard_id shard) const {
  const auto owner = parts_.map.find(shard).owner;
  std::lock_guard lock(guard_);
  if (owner == self_) return {};
  const auto found = names_.find(owner);
  return found == names_.end() ? std::string() : found->second;
}

void remote_shards::forward(shard_id shard, std::unique_ptr<shard_op> op) {
  using kind = shard_op::kind;
  auto* l = links_.load(std::memory_order_acquire);
  const auto node = owner_of(shard);
  switch (op->what) {
  case kind::deliver: {
    auto e = std::unique_ptr<envelope>(static_cast<envelope*>(op.release()));
    if (e->from_where == envelope::origin::timer) return; // its row fires at the owner
    const bool reachable = l && !node.empty();
    if (e->from_where == envelope::origin::ask) {
      if (reachable) return ask(node, std::move(e));
      if (e->ticket) e->ticket->fail(no_owner());
      return;
    }
    const auto ticket = std::move(e->ticket); // of a tell: hears that it is on its way
    if (!reachable) {
      if (ticket) ticket->fail(no_owner());
      return;
    }
    const auto told = l->tell(node, links::lane::data, {e->to.tenant(), frame_of(subject::op, encode_op(*e, parts_.clock))});
    if (!ticket) return;
    if (told) ticket->answer({});
    else ticket->fail(error(told.error()));
    return;
  }
  case kind::handled:
    if (l && !node.empty()) (void)l->tell(node, links::lane::data, {receiver_of(*op).tenant(), frame_of(subject::op, encode_op(*op, parts_.clock))});
    return;
  case kind::exited:
  case kind::order:
  case kind::answer:
  case kind::note:
  case kind::step_done:
  case kind::suspect: {
    const auto now = parts_.clock.steady_now();
    pending p{shard, receiver_of(*op).tenant(), frame_of(subject::op, encode_op(*op, parts_.clock)), now, now + retry_for};
    if (here(shard)) return retry(std::move(p)); // it has just said that it does not take it: not again at once
    return deliver_surely(std::move(p));
  }
  case kind::loaded:  // asked for by a shard that is gone
  case kind::settled: // the same; node_host has counted it
  case kind::call:
  case kind::install:
  case kind::remove: return;
  }
}

void remote_shards::ask(const std::string& node, std::unique_ptr<envelope> e) {
  auto* l = links_.load(std::memory_order_acquire);
  if (!e->ticket) return;
  if (!e->ticket->begin()) return e->ticket->expire();
  const auto deadline = e->ticket->deadline();
  const auto tenant = e->to.tenant();
  auto frame = frame_of(subject::ask, encode_op(*e, parts_.clock));
  auto ticket = std::make_shared<ticket_ref>(std::move(e->ticket));
  l->request(node, links::lane::data, {tenant, std::move(frame)}, deadline, [ticket](result<std::string> got) {
    if (!got) return (*ticket)->fail(std::move(got).error());
    if (auto answer = decode_answer(*got)) return (*ticket)->answer(std::move(*answer));
    (*ticket)->fail({errc::unknown, "malformed", "the answer of another node cannot be read; ask again with the same key"});
  });
  // It waits for the other node and its agent from here on. This one's places are for what it does itself: slow agents at another
  // node must not hold up its own. `cluster.link.tenant_requests` bounds what a tenant has under way there.
  (*ticket)->leave();
}

void remote_shards::deliver_surely(pending p) {
  if (here(p.shard)) { // it came here meanwhile
    if (auto op = decode_op(std::string_view(p.frame).substr(1), parts_.contexts, parts_.clock)) parts_.post(p.shard, std::move(op));
    return;
  }
  auto* l = links_.load(std::memory_order_acquire);
  const auto node = owner_of(p.shard);
  if (!l || node.empty()) return retry(std::move(p));
  links::frame frame{p.tenant, p.frame};
  l->request(node, links::lane::data, std::move(frame), parts_.clock.steady_now() + 5s, [this, p = std::move(p)](result<std::string> taken) mutable {
    if (!taken) retry(std::move(p));
  });
}

void remote_shards::retry(pending p) {
  p.due = parts_.clock.steady_now() + retry_after;
  if (p.due > p.until) return log::warn("given up: the owner of a shard cannot be told something", {{"shard", p.shard.value()}});
  std::lock_guard lock(guard_);
  if (waiting_.size() < parts_.retry_messages) return waiting_.push_back(std::move(p));
  log::warn("given up: too much waits to be told again (cluster.link.retry_messages)", {{"shard", p.shard.value()}});
}

void remote_shards::tick() {
  tell_what_was_missed();
  const auto now = parts_.clock.steady_now();
  std::vector<pending> due;
  {
    std::lock_guard lock(guard_);
    const auto first = std::partition(waiting_.begin(), waiting_.end(), [now](const pending& p) { return p.due > now; });
    due.assign(std::make_move_iterator(first), std::make_move_iterator(waiting_.end()));
    waiting_.erase(first, waiting_.end());
  }
  for (auto& p : due) deliver_surely(std::move(p));
}

// -- what comes in

void remote_shards::received(const links::received_batch& batch) {
  for (const auto& f : batch.frames) take(f, batch.from);
}

void remote_shards::take(const links::received_frame& frame, const std::string& from) {
  auto* l = links_.load(std::memory_order_acquire);
  if (frame.body.empty() || !l) return;
  const auto body = frame.body.substr(1);
  switch (static_cast<subject>(frame.body.front())) {
  case subject::op: {
    auto taken = take_op(body);
    if (frame.reply) l->answer(frame.reply, taken ? result<std::string>(std::string()) : result<std::string>(std::move(taken).error()));
    return;
  }
  case subject::ask: return take_ask(frame, body);
  case subject::call: return answer_call(frame, body);
  }
  log::warn("a frame of an unknown kind", {{"from", from}});
  if (frame.reply) l->answer(frame.reply, error{errc::unimplemented, "unknown_frame", "this node does not know that kind of frame"});
}

result<void> remote_shards::room_for_message(shard_id shard) const {
  if (!here(shard)) return not_here();
  if (auto full = parts_.inbox_full(shard)) return std::move(*full);
  return {};
}

result<void> remote_shards::take_op(std::string_view body) {
  auto op = decode_op(body, parts_.contexts, parts_.clock);
  if (!op) return error{errc::invalid_argument, "malformed", "the frame cannot be read"};
  const auto shard = shard_of(receiver_of(*op), parts_.map.size());
  auto room = op->what == shard_op::kind::deliver ? room_for_message(shard) : here(shard) ? result<void>{} : not_here();
  if (!room) return room;
  parts_.post(shard, std::move(op));
  return {};
}

void remote_shards::take_ask(const links::received_frame& frame, std::string_view body) {
  auto* l = links_.load(std::memory_order_acquire);
  auto op = decode_op(body, parts_.contexts, parts_.clock);
  if (!op || op->what != shard_op::kind::deliver || !frame.reply)
    return l->answer(frame.reply, error{errc::invalid_argument, "malformed", "the frame cannot be read"});
  auto e = std::unique_ptr<envelope>(static_cast<envelope*>(op.release()));
  const auto shard = shard_of(e->to, parts_.map.size());
  if (auto room = room_for_message(shard); !room) return l->answer(frame.reply, std::move(room).error());
  const auto now = parts_.clock.steady_now();
  e->from_where = envelope::origin::ask;
  e->deadline = now + frame.time_left;
  e->accepted_at = now;
  e->ticket = ticket_ref(new ask_ticket(std::make_unique<link_sink>(links_, frame.reply), {}, e->deadline));
  parts_.watch(*e->ticket.get()); // in a mailbox it would wait for its agent long after its asker has gone
  parts_.post(shard, std::move(e));
}

// -- questions to nodes

void remote_shards::handle(std::string name, handler how) { handlers_.emplace(std::move(name), std::move(how)); }

namespace {
std::string encode_call(const std::string& name, tenant_context who, std::string_view body) {
  byte_writer out;
  out.text(name).varint(who.tenant().value()).text(who.principal()).text(body);
  return out.take();
}
} // namespace

void remote_shards::call(const std::string& node, const std::string& name, tenant_context who, std::string body,
                         std::chrono::milliseconds deadline, answer_to done) {
  auto* l = links_.load(std::memory_order_acquire);
  if (!l) return done(not_linked());
  l->request(node, links::lane::data, {who.tenant(), frame_of(subject::call, encode_call(name, who, body))},
             parts_.clock.steady_now() + deadline, std::move(done));
}

std::vector<std::string> remote_shards::peers() const {
  std::vector<std::string> nodes;
  std::lock_guard lock(guard_);
  for (const auto& [generation, node] : names_)
    if (generation != self_) nodes.push_back(node);
  return nodes;
}

void remote_shards::tell_all(const std::string& name, tenant_context who, const std::string& body) {
  auto* l = links_.load(std::memory_order_acquire);
  if (!l) return;
  const auto frame = frame_of(subject::call, encode_call(name, who, body));
  for (const auto& node : peers()) (void)l->tell(node, links::lane::data, {who.tenant(), frame});
}

/// A link that is down counts too: the peer may have seen it come up already, and gone by the store again since.
void remote_shards::tell_all_surely(const std::string& name, tenant_context who, const std::string& body) {
  auto* l = links_.load(std::memory_order_acquire);
  const auto frame = frame_of(subject::call, encode_call(name, who, body));
  for (const auto& node : peers()) {
    if (l && l->tell(node, links::lane::data, {who.tenant(), frame})) continue;
    std::lock_guard lock(guard_);
    missed_.insert(node);
  }
}

/// One word for all that they missed: however much that is, what waits is one name a peer.
void remote_shards::tell_what_was_missed() {
  auto* l = links_.load(std::memory_order_acquire);
  std::set<std::string> missed;
  {
    std::lock_guard lock(guard_);
    if (!l || missed_.empty()) return;
    missed.swap(missed_);
  }
  const auto frame = frame_of(subject::call, encode_call(missed_something, parts_.contexts.restore(system_tenant, "system"), {}));
  for (const auto& node : peers()) {
    if (!missed.contains(node) || l->tell(node, links::lane::data, {system_tenant, frame})) continue;
    std::lock_guard lock(guard_);
    missed_.insert(node);
  }
}

std::size_t remote_shards::peer_count() const {
  std::lock_guard lock(guard_);
  return names_.size() - names_.count(self_);
}

void remote_shards::answer_call(const links::received_frame& frame, std::string_view body) {
  byte_reader in(body);
  const std::string name(in.text());
  const tenant_id tenant{static_cast<std::uint32_t>(in.varint())};
  const auto principal = in.text();
  std::string argument(in.text());
  const auto say = [this, token = frame.reply](result<std::string> r) {
    if (auto* l = links_.load(std::memory_order_acquire); l && token) l->answer(token, std::move(r));
  };
  const auto how = handlers_.find(name);
  if (!in.ok()) return say(error{errc::invalid_argument, "malformed", "the frame cannot be read"});
  if (how == handlers_.end()) return say(error{errc::unimplemented, "unknown_call", "this node does not answer \"" + name + "\""});
  how->second(parts_.contexts.restore(tenant, principal), std::move(argument), frame.time_left, say);
}

} // namespace hive::actors::remote
