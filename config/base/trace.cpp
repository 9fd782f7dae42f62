#include "config/base/trace.hpp"

#include <array>
#include <cstdio>

namespace hive {
namespace {

std::optional<std::uint64_t> hex64(std::string_view digits) noexcept {
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c >= '0' && c <= '9') value = (value << 4U) | static_cast<std::uint64_t>(c - '0');
    else if (c >= 'a' && c <= 'f') value = (value << 4U) | static_cast<std::uint64_t>(c - 'a' + 10);
    else return std::nullopt;
  }
  return value;
}

std::uint64_t not_zero(random_source& random) noexcept {
  std::uint64_t v = 0;
  while (v == 0) v = random.next();
  return v;
}

} // namespace

std::string trace_context::trace_id() const {
  std::array<char, 33> out{};
  std::snprintf(out.data(), out.size(), "%016llx%016llx", static_cast<unsigned long long>(trace_high),
                static_cast<unsigned long long>(trace_low));
  return out.data();
}

std::string trace_context::traceparent() const {
  std::array<char, 17> span_hex{};
  std::snprintf(span_hex.data(), span_hex.size(), "%016llx", static_cast<unsigned long long>(span));
  return "00-" + trace_id() + "-" + span_hex.data() + (sampled ? "-01" : "-00");
}

std::optional<trace_context> trace_context::parse(std::string_view text) noexcept {
  if (text.size() != 55 || text.substr(0, 3) != "00-" || text[35] != '-' || text[52] != '-') return std::nullopt;
  const auto high = hex64(text.substr(3, 16));
  const auto low = hex64(text.substr(19, 16));
  const auto span = hex64(text.substr(36, 16));
  const auto flags = hex64(text.substr(53, 2));
  if (!high || !low || !span || !flags || (*high | *low) == 0 || *span == 0) return std::nullopt;
  return trace_context{*high, *low, *span, (*flags & 1U) != 0};
}

trace_context trace_context::start(random_source& random) noexcept {
  return {not_zero(random), not_zero(random), not_zero(random), false};
}

trace_context trace_context::child(random_source& random) const noexcept {
  trace_context next = *this;
  next.span = not_zero(random);
  return next;
}

} // namespace hive
