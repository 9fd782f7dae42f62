#include "vector/kernels/int8_code.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace hive::vector {
namespace {

/// Sums of squares below are of at most 4,096 terms in double; this covers what rounding to float can take away.
float rounded_up(double x) noexcept { return static_cast<float>(x * (1 + 1e-6)); }

/// Sums of one vector are kept in so many parts, added up at the end: the CPU need not wait for each addition, and the order is
/// the same everywhere.
double total(const double (&parts)[kernels::code_lanes]) noexcept {
  double sum = 0;
  for (const double x : parts) sum += x;
  return sum;
}

float largest_of(std::span<const float> v) noexcept {
  constexpr std::size_t lanes = 8;
  float most[lanes] = {};
  const std::size_t whole = v.size() - v.size() % lanes;
  for (std::size_t i = 0; i < whole; i += lanes)
    for (std::size_t l = 0; l < lanes; ++l) most[l] = std::max(most[l], std::fabs(v[i + l]));
  for (std::size_t i = whole; i < v.size(); ++i) most[0] = std::max(most[0], std::fabs(v[i]));
  return *std::max_element(most, most + lanes);
}

/// What is left of a vector beyond whole blocks counts to the first part, one after the other.
void code_all(std::span<const float> v, float inverse, float scale, std::span<std::int8_t> out, kernels::coded_sums& sums,
              const kernels::table& with) noexcept {
  const std::size_t whole = v.size() - v.size() % kernels::code_lanes;
  with.code(v.data(), whole, inverse, scale, out.data(), sums);
  for (std::size_t i = whole; i < v.size(); ++i) {
    const float last[kernels::code_lanes] = {v[i]};
    std::int8_t code[kernels::code_lanes];
    with.code(last, kernels::code_lanes, inverse, scale, code, sums);
    out[i] = code[0];
  }
}

struct coded {
  int8_code code;
  double squares = 0; ///< Of the vector itself.
};

coded encode(std::span<const float> v, std::span<std::int8_t> out, const kernels::table& with) noexcept {
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(v.size()), out.end(), std::int8_t{0});
  const float largest = largest_of(v);
  // The reciprocal of a subnormal is infinite: such a vector is all error.
  float inverse = largest > 0 ? 127.0F / largest : 0;
  const bool codable = std::isfinite(inverse);
  if (!codable) inverse = 0;
  coded made;
  if (codable) made.code.scale = largest / 127.0F;
  kernels::coded_sums sums;
  code_all(v, inverse, made.code.scale, out, sums, with);
  made.squares = total(sums.squares);
  made.code.sum = sums.codes;
  made.code.error = rounded_up(std::sqrt(total(sums.lost)));
  made.code.length = rounded_up(std::sqrt(total(sums.kept)));
  if (!codable) made.code.error += 1e-37F;
  return made;
}

} // namespace

bool all_finite(std::span<const float> v) noexcept {
  constexpr std::uint32_t exponent = 0x7F80'0000U;
  std::uint32_t bad = 0;
  for (const float x : v) bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(x) & exponent) == exponent);
  return bad == 0;
}

int8_code encode_int8(std::span<const float> v, std::span<std::int8_t> out, const kernels::table& with) noexcept {
  return encode(v, out, with).code;
}

int8_rows::int8_rows(std::size_t dimension, std::size_t capacity)
  : stride_(padded(dimension, kernels::code_block)), codes_(capacity * stride_), sums_(capacity), scales_(capacity), errors_(capacity),
    lengths_(capacity), squares_(capacity) {}

void int8_rows::put(std::size_t row, std::span<const float> v) noexcept {
  const auto [code, squares] = encode(v, {codes_.data() + row * stride_, stride_}, kernels::best());
  sums_[row] = code.sum;
  scales_[row] = code.scale;
  errors_[row] = code.error;
  lengths_[row] = code.length;
  squares_[row] = static_cast<float>(squares);
}

std::size_t int8_rows::bytes() const noexcept { return codes_.size() + sums_.size() * (sizeof(std::int32_t) + 4 * sizeof(float)); }

int8_query_code::int8_query_code(std::span<const float> q) : codes_(padded(q.size(), kernels::code_block)), shifted_(codes_.size()) {
  const auto [code, squares] = encode(q, codes_, kernels::best());
  code_ = code;
  for (std::size_t i = 0; i < codes_.size(); ++i) shifted_[i] = static_cast<std::uint8_t>(codes_[i] + 128);
  square_ = static_cast<float>(squares);
  length_ = rounded_up(std::sqrt(squares));
}

} // namespace hive::vector
