#include "cluster/links/frame_codec.hpp"

#include <algorithm>

namespace hive::cluster::links {
namespace {

constexpr std::uint64_t tenant_max = (1U << 24U) - 1;
constexpr std::uint64_t day_ms = 24ULL * 3600 * 1000;
constexpr auto last_errc = static_cast<std::uint64_t>(errc::unimplemented);

} // namespace

void pack_frame(std::string& into, const packed_frame& f) {
  byte_writer head;
  head.varint((std::uint64_t{f.tenant.value()} << 1U) | (f.correlation != 0 ? 1U : 0U));
  if (f.correlation != 0) head.varint(f.correlation).varint(static_cast<std::uint64_t>(std::max<std::int64_t>(0, f.time_left.count())));
  head.varint(f.body.size());
  into.append(head.view()).append(f.body);
}

std::optional<std::vector<packed_frame>> unpack_frames(std::string_view packed, std::size_t count, std::size_t frame_bytes) {
  if (count > packed.size()) return std::nullopt; // a frame takes two bytes at least
  std::vector<packed_frame> frames(count);
  byte_reader in(packed);
  for (auto& f : frames) {
    const auto head = in.varint();
    if ((head >> 1U) > tenant_max) return std::nullopt;
    f.tenant = tenant_id{static_cast<std::uint32_t>(head >> 1U)};
    if ((head & 1U) != 0) {
      f.correlation = in.varint();
      f.time_left = milliseconds{static_cast<std::int64_t>(std::min(in.varint(), day_ms))};
      if (f.correlation == 0) return std::nullopt;
    }
    f.body = in.text();
    if (!in.ok() || f.body.size() > frame_bytes) return std::nullopt;
  }
  if (!in.at_end()) return std::nullopt;
  return frames;
}

void pack_answer(byte_writer& into, std::uint64_t correlation, const result<std::string>& with) {
  into.varint(correlation);
  if (with) {
    into.varint(0).text(*with);
    return;
  }
  const auto& e = with.error();
  into.varint(static_cast<std::uint64_t>(e.code)).text(e.reason).text(e.message).text(e.field);
  into.varint(static_cast<std::uint64_t>(std::max<std::int64_t>(0, e.retry_after.count())));
}

std::optional<std::vector<packed_answer>> unpack_answers(std::string_view packed, std::size_t count) {
  if (count > packed.size()) return std::nullopt;
  std::vector<packed_answer> answers;
  answers.reserve(count);
  byte_reader in(packed);
  for (std::size_t i = 0; i < count; ++i) {
    const auto correlation = in.varint();
    const auto code = in.varint();
    if (code == 0) {
      std::string body(in.text());
      answers.push_back({correlation, std::move(body)});
    } else {
      error e;
      e.code = code <= last_errc ? static_cast<errc>(code) : errc::unknown; // a later version's
      e.reason = in.text();
      e.message = in.text();
      e.field = in.text();
      e.retry_after = milliseconds{static_cast<std::int64_t>(std::min(in.varint(), day_ms))};
      answers.push_back({correlation, std::move(e)});
    }
    if (!in.ok()) return std::nullopt;
  }
  if (!in.at_end()) return std::nullopt;
  return answers;
}

} // namespace hive::cluster::links
