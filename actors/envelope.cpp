#include "actors/envelope.hpp"

namespace hive::actors {
namespace {

constexpr std::uint64_t format = 2; // 1: without the due time

void write_reply_address(byte_writer& out, const reply_address& a) {
  out.fixed64(a.asker.bits()).varint(a.turn).varint(a.step).text(a.task);
}

reply_address read_reply_address(byte_reader& in) {
  reply_address a;
  a.asker = entity_id{in.fixed64()};
  a.turn = in.varint();
  a.step = static_cast<std::uint32_t>(in.varint());
  a.task = std::string(in.text());
  return a;
}

void write_extra(byte_writer& out, const envelope& e) {
  out.varint(format).varint(static_cast<std::uint64_t>(e.from_where)).varint(e.failed ? 1 : 0).text(e.from);
  write_reply_address(out, e.reply_to);
  out.varint(e.chain.size());
  for (const auto id : e.chain) out.fixed64(id.bits());
  out.fixed64(e.trace.trace_high).fixed64(e.trace.trace_low).fixed64(e.trace.span).varint(e.trace.sampled ? 1 : 0);
  out.varint(static_cast<std::uint64_t>(e.due.time_since_epoch().count()));
}

bool read_extra(byte_reader& in, envelope& e) {
  const auto written = in.varint();
  if (written == 0 || written > format) return false;
  e.from_where = static_cast<envelope::origin>(in.varint());
  e.failed = in.varint() != 0;
  e.from = std::string(in.text());
  e.reply_to = read_reply_address(in);
  const auto n = in.varint();
  for (std::uint64_t i = 0; i < n && in.ok(); ++i) e.chain.emplace_back(in.fixed64());
  e.trace.trace_high = in.fixed64();
  e.trace.trace_low = in.fixed64();
  e.trace.span = in.fixed64();
  e.trace.sampled = in.varint() != 0;
  if (written >= 2) e.due = wall_time{std::chrono::milliseconds{static_cast<std::int64_t>(in.varint())}};
  return in.ok();
}

} // namespace

std::string encode_extra(const envelope& e) {
  byte_writer out;
  write_extra(out, e);
  return out.take();
}

bool decode_extra(std::string_view bytes, envelope& into) {
  byte_reader in(bytes);
  return read_extra(in, into);
}

std::string encode_message(const envelope& e) {
  byte_writer out;
  write_extra(out, e);
  out.varint(static_cast<std::uint64_t>(e.on)).varint(e.generated_key ? 1 : 0).text(e.type);
  out.varint(static_cast<std::uint64_t>(e.body.type)).text(e.body.bytes);
  out.fixed64(e.sender.bits()).varint(e.sequence).text(e.key).fixed64(e.digest.low).fixed64(e.digest.high);
  return out.take();
}

std::unique_ptr<envelope> decode_message(std::string_view bytes, tenant_context who, entity_id to) {
  auto e = std::make_unique<envelope>(who, to, envelope::origin::tell);
  byte_reader in(bytes);
  if (!read_extra(in, *e)) return nullptr;
  e->on = static_cast<lane>(in.varint());
  e->generated_key = in.varint() != 0;
  e->type = std::string(in.text());
  e->body.type = static_cast<content_type>(in.varint());
  e->body.bytes = std::string(in.text());
  e->sender = entity_id{in.fixed64()};
  e->sequence = in.varint();
  e->key = std::string(in.text());
  e->digest.low = in.fixed64();
  e->digest.high = in.fixed64();
  return in.ok() ? std::move(e) : nullptr;
}

std::string encode(const reply_address& address) {
  byte_writer out;
  out.varint(1);
  write_reply_address(out, address);
  return out.take();
}

std::optional<reply_address> decode_reply_address(std::string_view bytes) {
  byte_reader in(bytes);
  if (in.varint() != 1) return std::nullopt;
  auto a = read_reply_address(in);
  if (!in.ok() || !a) return std::nullopt;
  return a;
}

std::unique_ptr<envelope> envelope_of(const persistence::outbox_row& row, tenant_context who) {
  auto e = std::make_unique<envelope>(who, row.receiver, envelope::origin::send);
  decode_extra(row.envelope, *e);
  e->sender = row.sender;
  e->sequence = row.sequence;
  e->on = static_cast<lane>(row.lane);
  e->type = row.type;
  e->body = row.body;
  return e;
}

std::string encode_failure(const error& e) {
  byte_writer out;
  out.varint(1).varint(static_cast<std::uint64_t>(e.code)).text(e.reason).text(e.message).text(e.field);
  return out.take();
}

error decode_failure(std::string_view bytes) {
  byte_reader in(bytes);
  in.varint();
  error e;
  e.code = static_cast<errc>(in.varint());
  e.reason = std::string(in.text());
  e.message = std::string(in.text());
  e.field = std::string(in.text());
  if (!in.ok()) return {errc::internal, "malformed", "the stored error cannot be read"};
  return e;
}

} // namespace hive::actors
