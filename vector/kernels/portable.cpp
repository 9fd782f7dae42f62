// Plain C++: what runs where there is nothing better, and what the others are tested against. Compiled without fused
// multiply-add (see CMakeLists.txt), so that each product is rounded as in the other variants.
#include "vector/kernels/variants.hpp"

#include <algorithm>

namespace hive::vector::kernels {
namespace {

/// Adds 32 lanes in the order that halves of vector registers are added in.
float halve(float* lanes) {
  for (std::size_t width = float_block / 2; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

float dot(const float* a, const float* b, std::size_t n) {
  float lanes[float_block] = {};
  for (std::size_t i = 0; i < n; i += float_block)
    for (std::size_t j = 0; j < float_block; ++j) lanes[j] += a[i + j] * b[i + j];
  return halve(lanes);
}

float l2(const float* a, const float* b, std::size_t n) {
  float lanes[float_block] = {};
  for (std::size_t i = 0; i < n; i += float_block)
    for (std::size_t j = 0; j < float_block; ++j) {
      const float d = a[i + j] - b[i + j];
      lanes[j] += d * d;
    }
  return halve(lanes);
}

std::int32_t dot_codes(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += std::int32_t{a[i]} * std::int32_t{b[i]};
  return sum;
}

void dot_rows(const int8_query& query, const std::int8_t* rows, const std::int32_t*, std::size_t count, std::int32_t* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = dot_codes(query.codes, rows + i * query.length, query.length);
}

void dot_some(const int8_query& query, const std::int8_t* rows, const std::int32_t*, const std::uint32_t* which, std::size_t count, std::int32_t* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = dot_codes(query.codes, rows + which[i] * query.length, query.length);
}

/// For |x| < 2^22: adding and subtracting 1.5 * 2^23 leaves no fraction.
float nearest(float x) {
  constexpr float magic = 12'582'912.0F;
  return (x + magic) - magic;
}

void code(const float* v, std::size_t n, float inverse, float scale, std::int8_t* out, coded_sums& sums) {
  for (std::size_t i = 0; i < n; i += code_lanes)
    for (std::size_t lane = 0; lane < code_lanes; ++lane) {
      const float x = v[i + lane];
      const float c = std::clamp(nearest(x * inverse), -127.0F, 127.0F);
      const double back = double{scale} * double{c};
      const double gone = double{x} - back;
      sums.lost[lane] += gone * gone;
      sums.kept[lane] += back * back;
      sums.squares[lane] += double{x} * x;
      out[i + lane] = static_cast<std::int8_t>(c);
      sums.codes += static_cast<std::int32_t>(c);
    }
}

} // namespace

const table portable_table{"portable", dot, l2, dot_rows, dot_some, code};

} // namespace hive::vector::kernels
