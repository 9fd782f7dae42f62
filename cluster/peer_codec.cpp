#include "cluster/peer_codec.hpp"

#include "config/base/bytes.hpp"
#include "config/base/overloaded.hpp"

namespace hive::cluster {
namespace {

constexpr std::uint64_t format = 1;

/// On the wire; never renumber.
enum class word : std::uint8_t { question = 1, answer = 2, look_again = 3, moved = 4, votes = 5 };

} // namespace

std::string encode(const peer_message& m) {
  byte_writer out;
  out.varint(format);
  const auto begin = [&](word w) -> byte_writer& { return out.varint(static_cast<std::uint64_t>(w)); };
  std::visit(overloaded{
               [&](const agreement_question& q) { begin(word::question).varint(q.number).fixed64(q.about.value()); },
               [&](const agreement_answer& a) { begin(word::answer).varint(a.number).varint(a.agreed ? 1 : 0); },
               [&](const look_again&) { begin(word::look_again); },
               [&](const shards_moved& s) {
                 begin(word::moved).varint(s.rows.size());
                 for (const auto& r : s.rows) out.varint(r.shard.value()).fixed64(r.owner.value()).fixed64(r.fence.value()).fixed64(r.first.value());
               },
               [&](const votes& v) {
                 begin(word::votes).varint(v.unreachable.size());
                 for (const auto g : v.unreachable) out.fixed64(g.value());
               },
             },
             m);
  return out.take();
}

std::optional<peer_message> decode_peer_message(std::string_view bytes) {
  byte_reader in(bytes);
  if (in.varint() != format) return std::nullopt;
  constexpr std::uint64_t most = 65'536; // rows of one message: more is nonsense
  peer_message m;
  switch (static_cast<word>(in.varint())) {
  case word::question: {
    agreement_question q;
    q.number = in.varint();
    q.about = node_generation{in.fixed64()};
    m = q;
    break;
  }
  case word::answer: {
    agreement_answer a;
    a.number = in.varint();
    a.agreed = in.varint() != 0;
    m = a;
    break;
  }
  case word::look_again: m = look_again{}; break;
  case word::moved: {
    shards_moved s;
    const auto n = in.varint();
    if (n > most) return std::nullopt;
    for (std::uint64_t i = 0; i < n && in.ok(); ++i) {
      shard_owner r;
      r.shard = shard_id{static_cast<std::uint16_t>(in.varint())};
      r.owner = node_generation{in.fixed64()};
      r.fence = epoch{in.fixed64()};
      r.first = journal_position{in.fixed64()};
      s.rows.push_back(r);
    }
    m = std::move(s);
    break;
  }
  case word::votes: {
    votes v;
    const auto n = in.varint();
    if (n > most) return std::nullopt;
    for (std::uint64_t i = 0; i < n && in.ok(); ++i) v.unreachable.emplace_back(in.fixed64());
    m = std::move(v);
    break;
  }
  default: return std::nullopt;
  }
  if (!in.ok()) return std::nullopt;
  return m;
}

} // namespace hive::cluster
