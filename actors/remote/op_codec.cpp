#include "actors/remote/op_codec.hpp"

#include "config/base/bytes.hpp"

namespace hive::actors::remote {
namespace {

constexpr std::uint64_t format = 2;

/// On the wire; never renumber.
enum class word : std::uint8_t { message = 1, handled = 2, exited = 3, order = 4, answer = 5, note = 6, step_done = 7, suspect = 8 };

void write(byte_writer& out, const supervised_child& c) {
  out.fixed64(c.id.bits()).varint(static_cast<std::uint64_t>(c.restart)).varint(c.significant ? 1 : 0).varint(c.alive ? 1 : 0);
  out.varint(c.shutdown ? static_cast<std::uint64_t>(c.shutdown->count()) + 1 : 0);
}

supervised_child read_child(byte_reader& in) {
  supervised_child c{entity_id{in.fixed64()}};
  c.restart = static_cast<restart_type>(in.varint());
  c.significant = in.varint() != 0;
  c.alive = in.varint() != 0;
  const auto shutdown = in.varint();
  c.shutdown.reset();
  if (shutdown != 0) c.shutdown = std::chrono::milliseconds{static_cast<std::int64_t>(shutdown - 1)};
  return c;
}

incarnation read_life(byte_reader& in) { return incarnation{static_cast<std::uint32_t>(in.varint())}; }

void write(byte_writer& out, const envelope& e, const clock_source& clock) {
  // Deadlines travel as time left: no node's clock is compared with another's.
  std::uint64_t left = 0;
  if (e.deadline != steady_time::max())
    left = 1 + static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(e.deadline - clock.steady_now()).count()));
  out.fixed64(e.to.bits()).varint(e.who.tenant().value()).text(e.who.principal()).varint(left).varint(e.previous).varint(e.again ? 1 : 0).text(encode_message(e));
}

std::unique_ptr<envelope> read_message(byte_reader& in, context_restorer& contexts, const clock_source& clock) {
  const entity_id to{in.fixed64()};
  const tenant_id tenant{static_cast<std::uint32_t>(in.varint())};
  const auto principal = in.text();
  const auto left = in.varint();
  const auto previous = in.varint();
  const bool again = in.varint() != 0;
  const auto message = in.text();
  if (!in.ok()) return nullptr;
  auto e = decode_message(message, contexts.restore(tenant, principal), to);
  if (!e) return nullptr;
  if (left != 0) e->deadline = clock.steady_now() + std::chrono::milliseconds{static_cast<std::int64_t>(left - 1)};
  e->previous = previous;
  e->again = again;
  return e;
}

} // namespace

std::string encode_op(const shard_op& op, const clock_source& clock) {
  byte_writer out;
  out.varint(format);
  const auto begin = [&](word w) -> byte_writer& { return out.varint(static_cast<std::uint64_t>(w)); };
  using kind = shard_op::kind;
  switch (op.what) {
  case kind::deliver:
    begin(word::message);
    write(out, static_cast<const envelope&>(op), clock);
    break;
  case kind::handled: {
    const auto& h = static_cast<const handled_op&>(op);
    begin(word::handled).fixed64(h.sender.bits()).fixed64(h.receiver.bits()).varint(h.sequence);
    break;
  }
  case kind::exited: {
    const auto& e = static_cast<const exited_op&>(op);
    write(begin(word::exited).fixed64(e.supervisor.bits()), e.child);
    out.varint(e.life.value()).varint(e.normal ? 1 : 0);
    break;
  }
  case kind::order: {
    const auto& o = static_cast<const order_op&>(op);
    begin(word::order).fixed64(o.child.bits()).fixed64(o.supervisor.bits()).varint(static_cast<std::uint64_t>(o.what));
    out.varint(o.life ? std::uint64_t{o.life->value()} + 1 : 0).varint(o.ticket).text(o.cause.supervisor).varint(static_cast<std::uint64_t>(o.cause.state));
    break;
  }
  case kind::answer: {
    const auto& a = static_cast<const answer_op&>(op);
    write(begin(word::answer).fixed64(a.supervisor.bits()).varint(static_cast<std::uint64_t>(a.what)), a.child);
    out.varint(a.life.value()).varint(a.ticket);
    break;
  }
  case kind::note: {
    const auto& n = static_cast<const note_op&>(op);
    begin(word::note).fixed64(n.to.bits()).text(n.event.type).text(n.event.source).text(n.event.data);
    break;
  }
  case kind::step_done: {
    const auto& s = static_cast<const step_done_op&>(op);
    begin(word::step_done).fixed64(s.entity.bits()).varint(s.turn).varint(s.step).varint(s.answer ? 1 : 0);
    if (s.answer) out.varint(static_cast<std::uint64_t>(s.answer->type)).text(s.answer->bytes);
    else out.text(encode_failure(s.answer.error()));
    break;
  }
  case kind::suspect: {
    const auto& s = static_cast<const suspect_op&>(op);
    begin(word::suspect).fixed64(s.entity.bits()).fixed64(s.message).text(s.how).varint(s.blamed ? 1 : 0);
    break;
  }
  case kind::loaded:
  case kind::settled:
  case kind::call:
  case kind::install:
  case kind::remove: return {};
  }
  return out.take();
}

std::unique_ptr<shard_op> decode_op(std::string_view bytes, context_restorer& contexts, const clock_source& clock) {
  byte_reader in(bytes);
  if (in.varint() != format) return nullptr;
  std::unique_ptr<shard_op> op;
  switch (static_cast<word>(in.varint())) {
  case word::message: op = read_message(in, contexts, clock); break;
  case word::handled: {
    const entity_id sender{in.fixed64()};
    const entity_id receiver{in.fixed64()};
    op = std::make_unique<handled_op>(sender, receiver, in.varint());
    break;
  }
  case word::exited: {
    const entity_id supervisor{in.fixed64()};
    const auto child = read_child(in);
    const auto life = read_life(in);
    op = std::make_unique<exited_op>(supervisor, child, life, in.varint() != 0);
    break;
  }
  case word::order: {
    const entity_id child{in.fixed64()};
    const entity_id supervisor{in.fixed64()};
    const auto what = static_cast<order_op::order>(in.varint());
    const auto life = in.varint();
    const auto ticket = in.varint();
    auto o = std::make_unique<order_op>(what, child, supervisor,
                                        life == 0 ? std::nullopt : std::optional(incarnation{static_cast<std::uint32_t>(life - 1)}), ticket);
    o->cause.supervisor = std::string(in.text());
    o->cause.state = static_cast<persistence::desired_state>(in.varint());
    op = std::move(o);
    break;
  }
  case word::answer: {
    const entity_id supervisor{in.fixed64()};
    const auto what = static_cast<answer_op::news>(in.varint());
    const auto child = read_child(in);
    const auto life = read_life(in);
    op = std::make_unique<answer_op>(what, supervisor, child, life, in.varint());
    break;
  }
  case word::note: {
    const entity_id to{in.fixed64()};
    persistence::event_row event;
    event.type = std::string(in.text());
    event.source = std::string(in.text());
    event.data = std::string(in.text());
    op = std::make_unique<note_op>(to, std::move(event));
    break;
  }
  case word::step_done: {
    const entity_id entity{in.fixed64()};
    const auto turn = in.varint();
    const auto step = static_cast<std::uint32_t>(in.varint());
    result<payload> answer = payload{};
    if (in.varint() != 0) {
      answer->type = static_cast<content_type>(in.varint());
      answer->bytes = std::string(in.text());
    } else answer = decode_failure(in.text());
    op = std::make_unique<step_done_op>(entity, turn, step, std::move(answer));
    break;
  }
  case word::suspect: {
    const entity_id entity{in.fixed64()};
    const auto message = in.fixed64();
    auto how = std::string(in.text());
    op = std::make_unique<suspect_op>(entity, message, std::move(how), in.varint() != 0);
    break;
  }
  }
  return in.ok() ? std::move(op) : nullptr;
}

entity_id receiver_of(const shard_op& op) {
  using kind = shard_op::kind;
  switch (op.what) {
  case kind::deliver: return static_cast<const envelope&>(op).to;
  case kind::handled: return static_cast<const handled_op&>(op).sender;
  case kind::exited: return static_cast<const exited_op&>(op).supervisor;
  case kind::order: return static_cast<const order_op&>(op).child;
  case kind::answer: return static_cast<const answer_op&>(op).supervisor;
  case kind::note: return static_cast<const note_op&>(op).to;
  case kind::step_done: return static_cast<const step_done_op&>(op).entity;
  case kind::suspect: return static_cast<const suspect_op&>(op).entity;
  case kind::loaded:
  case kind::settled:
  case kind::call:
  case kind::install:
  case kind::remove: break;
  }
  return {};
}

std::string encode_answer(const ask_answer& a) {
  byte_writer out;
  out.varint(format).varint(a.repeated ? 1 : 0).varint(static_cast<std::uint64_t>(a.body.type)).text(a.body.bytes);
  return out.take();
}

std::optional<ask_answer> decode_answer(std::string_view bytes) {
  byte_reader in(bytes);
  if (in.varint() != format) return std::nullopt;
  ask_answer a;
  a.repeated = in.varint() != 0;
  a.body.type = static_cast<content_type>(in.varint());
  a.body.bytes = std::string(in.text());
  if (!in.ok()) return std::nullopt;
  return a;
}

} // namespace hive::actors::remote
