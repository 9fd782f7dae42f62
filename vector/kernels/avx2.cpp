// Only `kernels.cpp` may call it, after asking the CPU. The pragma comes after the includes, so that no inline function of a
// header is compiled for AVX2 here and kept by the linker for the whole program. No FMA: see `kernels.hpp`.
#include "vector/kernels/variants.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC target("avx2")

namespace hive::vector::kernels {
namespace {

/// Lanes 0..31 in four registers, added in the order of `portable.cpp`.
float halve(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 eight = _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

float dot(const float* a, const float* b, std::size_t n) {
  __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  for (std::size_t i = 0; i < n; i += 32) {
    s0 = _mm256_add_ps(s0, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    s1 = _mm256_add_ps(s1, _mm256_mul_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8)));
    s2 = _mm256_add_ps(s2, _mm256_mul_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16)));
    s3 = _mm256_add_ps(s3, _mm256_mul_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24)));
  }
  return halve(s0, s1, s2, s3);
}

__m256 square_of_difference(const float* a, const float* b) {
  const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b));
  return _mm256_mul_ps(d, d);
}

float l2(const float* a, const float* b, std::size_t n) {
  __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  for (std::size_t i = 0; i < n; i += 32) {
    s0 = _mm256_add_ps(s0, square_of_difference(a + i, b + i));
    s1 = _mm256_add_ps(s1, square_of_difference(a + i + 8, b + i + 8));
    s2 = _mm256_add_ps(s2, square_of_difference(a + i + 16, b + i + 16));
    s3 = _mm256_add_ps(s3, square_of_difference(a + i + 24, b + i + 24));
  }
  return halve(s0, s1, s2, s3);
}

/// 32 products, added to 8 sums. `magnitude` is |query|; the row takes the query's signs, because the instruction wants one
/// unsigned side. Codes end at 127, so the 16-bit sums in between (at most 2 * 127 * 127) do not saturate.
__m256i step(__m256i sums, __m256i query, __m256i magnitude, const std::int8_t* row) {
  const __m256i r = _mm256_sign_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)), query);
  return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, r), _mm256_set1_epi16(1)));
}

/// Four rows at a time share the loads of the query and the last additions.
void dot_four(const int8_query& query, const std::int8_t* r0, const std::int8_t* r1, const std::int8_t* r2, const std::int8_t* r3, std::int32_t* out) {
  __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
  for (std::size_t i = 0; i < query.length; i += 32) {
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query.codes + i));
    const __m256i m = _mm256_abs_epi8(q);
    s0 = step(s0, q, m, r0 + i);
    s1 = step(s1, q, m, r1 + i);
    s2 = step(s2, q, m, r2 + i);
    s3 = step(s3, q, m, r3 + i);
  }
  const __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(s0, s1), _mm256_hadd_epi32(s2, s3));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), four);
}

/// The last one to three rows: the missing ones repeat the first.
void dot_rest(const int8_query& query, const std::int8_t* const* rows, std::size_t count, std::int32_t* out) {
  std::int32_t four[4];
  dot_four(query, rows[0], rows[count > 1 ? 1 : 0], rows[count > 2 ? 2 : 0], rows[0], four);
  for (std::size_t i = 0; i < count; ++i) out[i] = four[i];
}

void dot_rows(const int8_query& query, const std::int8_t* rows, const std::int32_t*, std::size_t count, std::int32_t* out) {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const std::int8_t* r = rows + i * query.length;
    dot_four(query, r, r + query.length, r + 2 * query.length, r + 3 * query.length, out + i);
  }
  if (i == count) return;
  const std::int8_t* rest[3] = {};
  for (std::size_t j = i; j < count; ++j) rest[j - i] = rows + j * query.length;
  dot_rest(query, rest, count - i, out + i);
}

void dot_some(const int8_query& query, const std::int8_t* rows, const std::int32_t*, const std::uint32_t* which, std::size_t count, std::int32_t* out) {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4)
    dot_four(query, rows + which[i] * query.length, rows + which[i + 1] * query.length, rows + which[i + 2] * query.length,
             rows + which[i + 3] * query.length, out + i);
  if (i == count) return;
  const std::int8_t* rest[3] = {};
  for (std::size_t j = i; j < count; ++j) rest[j - i] = rows + which[j] * query.length;
  dot_rest(query, rest, count - i, out + i);
}

/// Four doubles of the eight that one step brings.
void add_squares(__m256d& to, __m256d x) { to = _mm256_add_pd(to, _mm256_mul_pd(x, x)); }

} // namespace

void code_avx2(const float* v, std::size_t n, float inverse, float scale, std::int8_t* out, coded_sums& sums) {
  const __m256 by = _mm256_set1_ps(inverse), magic = _mm256_set1_ps(12'582'912.0F);
  const __m256d unit = _mm256_set1_pd(double{scale});
  __m256d lost[2], kept[2], squares[2];
  for (int half = 0; half < 2; ++half) {
    lost[half] = _mm256_loadu_pd(sums.lost + 4 * half);
    kept[half] = _mm256_loadu_pd(sums.kept + 4 * half);
    squares[half] = _mm256_loadu_pd(sums.squares + 4 * half);
  }
  __m256i codes = _mm256_setzero_si256();
  for (std::size_t i = 0; i < n; i += code_lanes) {
    const __m256 x = _mm256_loadu_ps(v + i);
    const __m256 whole = _mm256_sub_ps(_mm256_add_ps(_mm256_mul_ps(x, by), magic), magic);
    const __m256 c = _mm256_max_ps(_mm256_min_ps(whole, _mm256_set1_ps(127.0F)), _mm256_set1_ps(-127.0F));
    const __m256i number = _mm256_cvtps_epi32(c);
    codes = _mm256_add_epi32(codes, number);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(number), _mm256_extracti128_si256(number, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + i), _mm_packs_epi16(words, words));
    for (int half = 0; half < 2; ++half) {
      const __m256d wide = _mm256_cvtps_pd(half == 0 ? _mm256_castps256_ps128(x) : _mm256_extractf128_ps(x, 1));
      const __m256d back = _mm256_mul_pd(unit, _mm256_cvtps_pd(half == 0 ? _mm256_castps256_ps128(c) : _mm256_extractf128_ps(c, 1)));
      add_squares(lost[half], _mm256_sub_pd(wide, back));
      add_squares(kept[half], back);
      add_squares(squares[half], wide);
    }
  }
  for (int half = 0; half < 2; ++half) {
    _mm256_storeu_pd(sums.lost + 4 * half, lost[half]);
    _mm256_storeu_pd(sums.kept + 4 * half, kept[half]);
    _mm256_storeu_pd(sums.squares + 4 * half, squares[half]);
  }
  std::int32_t eight[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(eight), codes);
  for (const std::int32_t x : eight) sums.codes += x;
}

const table avx2_table{"avx2", dot, l2, dot_rows, dot_some, code_avx2};

} // namespace hive::vector::kernels

#endif
