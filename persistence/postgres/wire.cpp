#include "persistence/postgres/wire.hpp"

#include <charconv>
#include <endian.h>
#include <libpq-fe.h>

namespace hive::persistence::postgres {
namespace {

// dimensions, flags, element type, length, lower bound
constexpr std::size_t header = 5 * 4;

void store32(char* at, std::uint32_t value) {
  value = htobe32(value);
  std::memcpy(at, &value, 4);
}

} // namespace

column::column(type of) : of_(of) { clear(); }

void column::clear(std::int32_t lower_bound) {
  out_.assign(header, '\0');
  store32(out_.data(), 1);
  store32(out_.data() + 8, static_cast<std::uint32_t>(of_));
  store32(out_.data() + 16, static_cast<std::uint32_t>(lower_bound));
  count_ = 0;
  nulls_ = false;
}

void column::put32(std::uint32_t value) {
  char raw[4];
  store32(raw, value);
  out_.append(raw, 4);
}

column& column::number(std::int64_t value) {
  ++count_;
  if (of_ == type::int4) {
    put32(4);
    put32(static_cast<std::uint32_t>(value));
    return *this;
  }
  char raw[12];
  store32(raw, 8);
  const std::uint64_t big = htobe64(static_cast<std::uint64_t>(value));
  std::memcpy(raw + 4, &big, 8);
  out_.append(raw, 12);
  return *this;
}

column& column::bytes(std::string_view value) {
  ++count_;
  put32(static_cast<std::uint32_t>(value.size()));
  out_.append(value);
  return *this;
}

column& column::null() {
  ++count_;
  nulls_ = true;
  put32(0xFFFF'FFFFU);
  return *this;
}

std::string_view column::wire() {
  store32(out_.data() + 4, nulls_ ? 1 : 0);
  store32(out_.data() + 12, static_cast<std::uint32_t>(count_));
  return out_;
}

type column::array_type() const noexcept {
  switch (of_) {
  case type::int4:
    return type::int4_array;
  case type::int8:
    return type::int8_array;
  case type::text:
    return type::text_array;
  default:
    return type::bytea_array;
  }
}

arguments& arguments::number(std::int64_t value) {
  auto& raw = numbers_.emplace_back();
  const std::uint64_t big = htobe64(static_cast<std::uint64_t>(value));
  std::memcpy(raw.data(), &big, 8);
  return add(type::int8, {raw.data(), raw.size()});
}

arguments& arguments::add(type of, std::string_view value) {
  types_.push_back(static_cast<unsigned>(of));
  values_.push_back(value.data() ? value.data() : ""); // a null pointer would be a null
  lengths_.push_back(static_cast<int>(value.size()));
  formats_.push_back(1);
  return *this;
}

rows::rows(pg_result* result) : result_(result, [](pg_result* r) { PQclear(r); }) {}

std::size_t rows::size() const noexcept { return result_ ? static_cast<std::size_t>(PQntuples(result_.get())) : 0; }

bool rows::is_null(std::size_t row, int column) const noexcept {
  return PQgetisnull(result_.get(), static_cast<int>(row), column) != 0;
}

std::int64_t rows::number(std::size_t row, int column) const noexcept {
  const auto raw = bytes(row, column);
  std::uint64_t value = 0;
  for (const char c : raw) value = value << 8U | static_cast<unsigned char>(c);
  switch (raw.size()) { // the sign
  case 2:
    return static_cast<std::int16_t>(value);
  case 4:
    return static_cast<std::int32_t>(value);
  default:
    return static_cast<std::int64_t>(value);
  }
}

std::string_view rows::bytes(std::size_t row, int column) const noexcept {
  const int r = static_cast<int>(row);
  return {PQgetvalue(result_.get(), r, column), static_cast<std::size_t>(PQgetlength(result_.get(), r, column))};
}

std::uint64_t rows::touched() const noexcept {
  const std::string_view text = PQcmdTuples(result_.get());
  std::uint64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

} // namespace hive::persistence::postgres
