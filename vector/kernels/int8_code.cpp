#include "vector/kernels/int8_code.hpp"

#include <algorithm>
#include <cmath>

namespace hive::vector {
namespace {

/// To the nearest integer, halves to even, for |x| < 2^22: adding and subtracting 1.5 * 2^23 leaves no fraction. Vectorises
/// everywhere, where `lrintf` does not.
float nearest(float x) noexcept {
  constexpr float magic = 12'582'912.0F;
  return (x + magic) - magic;
}

/// Sums of squares below are of at most 4,096 terms in double; this covers what rounding to float can take away.
float rounded_up(double x) noexcept { return static_cast<float>(x * (1 + 1e-6)); }

/// Sums of one vector are kept in so many parts, added up at the end: the CPU need not wait for each addition, and the order is
/// the same everywhere.
constexpr std::size_t lanes = 8;

double total(const double (&parts)[lanes]) noexcept {
  double sum = 0;
  for (const double x : parts) sum += x;
  return sum;
}

double sum_of_squares(std::span<const float> v) noexcept {
  double parts[lanes] = {};
  const std::size_t whole = v.size() - v.size() % lanes;
  for (std::size_t i = 0; i < whole; i += lanes)
    for (std::size_t l = 0; l < lanes; ++l) parts[l] += double{v[i + l]} * v[i + l];
  for (std::size_t i = whole; i < v.size(); ++i) parts[0] += double{v[i]} * v[i];
  return total(parts);
}

} // namespace

int8_code encode_int8(std::span<const float> v, std::span<std::int8_t> out) noexcept {
  float largest = 0;
  for (const float x : v) largest = std::max(largest, std::fabs(x));
  std::fill(out.begin(), out.end(), std::int8_t{0});
  int8_code code;
  // The reciprocal of a subnormal is infinite: such a vector is all error.
  const float inverse = largest > 0 ? 127.0F / largest : 0;
  if (!std::isfinite(inverse)) {
    code.error = rounded_up(std::sqrt(sum_of_squares(v))) + 1e-37F;
    return code;
  }
  code.scale = largest / 127.0F;
  double lost[lanes] = {}, kept[lanes] = {};
  const auto one = [&](std::size_t i, std::size_t lane) {
    const float c = std::clamp(nearest(v[i] * inverse), -127.0F, 127.0F);
    const double back = double{code.scale} * double{c};
    const double gone = double{v[i]} - back;
    lost[lane] += gone * gone;
    kept[lane] += back * back;
    out[i] = static_cast<std::int8_t>(c);
    code.sum += static_cast<std::int32_t>(c);
  };
  const std::size_t whole = v.size() - v.size() % lanes;
  for (std::size_t i = 0; i < whole; i += lanes)
    for (std::size_t l = 0; l < lanes; ++l) one(i + l, l);
  for (std::size_t i = whole; i < v.size(); ++i) one(i, 0);
  code.error = rounded_up(std::sqrt(total(lost)));
  code.length = rounded_up(std::sqrt(total(kept)));
  return code;
}

int8_rows::int8_rows(std::size_t dimension, std::size_t capacity)
  : stride_(padded(dimension, kernels::code_block)), codes_(capacity * stride_), sums_(capacity), scales_(capacity), errors_(capacity),
    lengths_(capacity), squares_(capacity) {}

void int8_rows::put(std::size_t row, std::span<const float> v) noexcept {
  const int8_code code = encode_int8(v, {codes_.data() + row * stride_, stride_});
  sums_[row] = code.sum;
  scales_[row] = code.scale;
  errors_[row] = code.error;
  lengths_[row] = code.length;
  squares_[row] = static_cast<float>(sum_of_squares(v));
}

std::size_t int8_rows::bytes() const noexcept { return codes_.size() + sums_.size() * (sizeof(std::int32_t) + 4 * sizeof(float)); }

int8_query_code::int8_query_code(std::span<const float> q) : codes_(padded(q.size(), kernels::code_block)), shifted_(codes_.size()) {
  code_ = encode_int8(q, codes_);
  for (std::size_t i = 0; i < codes_.size(); ++i) shifted_[i] = static_cast<std::uint8_t>(codes_[i] + 128);
  const double squares = sum_of_squares(q);
  square_ = static_cast<float>(squares);
  length_ = rounded_up(std::sqrt(squares));
}

} // namespace hive::vector
