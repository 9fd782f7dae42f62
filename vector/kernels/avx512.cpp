// Only `kernels.cpp` may call it, after asking the CPU. AVX-512 brings fused multiply-add with it: -ffp-contract=off (see
// CMakeLists.txt) keeps the compiler from using it, so that results equal those of the other variants.
#include "vector/kernels/variants.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512vnni")

namespace hive::vector::kernels {
namespace {

/// Lanes 0..15 and 16..31, added in the order of `portable.cpp`.
float halve(__m512 low, __m512 high) {
  const __m512 sixteen = _mm512_add_ps(low, high);
  const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sixteen), 1));
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), upper);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

float dot(const float* a, const float* b, std::size_t n) {
  __m512 low = _mm512_setzero_ps(), high = low;
  for (std::size_t i = 0; i < n; i += 32) {
    low = _mm512_add_ps(low, _mm512_mul_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i)));
    high = _mm512_add_ps(high, _mm512_mul_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16)));
  }
  return halve(low, high);
}

float l2(const float* a, const float* b, std::size_t n) {
  __m512 low = _mm512_setzero_ps(), high = low;
  for (std::size_t i = 0; i < n; i += 32) {
    const __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
    const __m512 d1 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16));
    low = _mm512_add_ps(low, _mm512_mul_ps(d0, d0));
    high = _mm512_add_ps(high, _mm512_mul_ps(d1, d1));
  }
  return halve(low, high);
}

/// sum of (query + 128) * row, unsigned by signed as the instruction wants it; less 128 * sum of row it is the dot product.
void dot_two(const int8_query& query, const std::int8_t* r0, const std::int8_t* r1, std::int32_t sum0, std::int32_t sum1, std::int32_t* out0,
             std::int32_t* out1) {
  __m512i s0 = _mm512_setzero_si512(), s1 = s0;
  for (std::size_t i = 0; i < query.length; i += 64) {
    const __m512i q = _mm512_loadu_si512(query.shifted + i);
    s0 = _mm512_dpbusd_epi32(s0, q, _mm512_loadu_si512(r0 + i));
    s1 = _mm512_dpbusd_epi32(s1, q, _mm512_loadu_si512(r1 + i));
  }
  *out0 = _mm512_reduce_add_epi32(s0) - 128 * sum0;
  *out1 = _mm512_reduce_add_epi32(s1) - 128 * sum1;
}

void dot_rows(const int8_query& query, const std::int8_t* rows, const std::int32_t* sums, std::size_t count, std::int32_t* out) {
  for (std::size_t i = 0; i < count; i += 2) {
    const std::size_t j = i + 1 < count ? i + 1 : i;
    dot_two(query, rows + i * query.length, rows + j * query.length, sums[i], sums[j], out + i, out + j);
  }
}

void dot_some(const int8_query& query, const std::int8_t* rows, const std::int32_t* sums, const std::uint32_t* which, std::size_t count,
              std::int32_t* out) {
  for (std::size_t i = 0; i < count; i += 2) {
    const std::size_t j = i + 1 < count ? i + 1 : i;
    dot_two(query, rows + which[i] * query.length, rows + which[j] * query.length, sums[which[i]], sums[which[j]], out + i, out + j);
  }
}

} // namespace

const table avx512_table{"avx512-vnni", dot, l2, dot_rows, dot_some, code_avx2};

} // namespace hive::vector::kernels

#endif
