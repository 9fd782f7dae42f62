/// @file
/// Dot products and distances, in the widest instructions that this machine has.
///
/// Every variant gives the same bits: integers are exact, and floats are added in one fixed order (32 lanes, then halves) without
/// fused operations. So a search answers alike on every node of a mixed cluster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hive::vector::kernels {

inline constexpr std::size_t float_block = 32; ///< fp32 rows are padded with zeros to a multiple of this.
inline constexpr std::size_t code_block = 64;  ///< int8 rows likewise; codes are -127..127.

/// A query against many int8 rows: `codes` as they are, `shifted` = code + 128 (for VNNI), both of the padded length.
struct int8_query {
  const std::int8_t* codes;
  const std::uint8_t* shifted;
  std::size_t length;
};

/// What coding a vector lost and kept, and the vector itself: sums of squares by component modulo `code_lanes`.
inline constexpr std::size_t code_lanes = 8;
struct coded_sums {
  double lost[code_lanes] = {};
  double kept[code_lanes] = {};
  double squares[code_lanes] = {};
  std::int32_t codes = 0; ///< Sum of the codes.
};

struct table {
  const char* name; ///< "avx512-vnni", "avx2", "portable"
  /// @pre `n` is a multiple of `float_block`.
  float (*dot)(const float* a, const float* b, std::size_t n);
  /// Squared Euclidean distance. @pre as `dot`
  float (*l2)(const float* a, const float* b, std::size_t n);
  /// out[i] = query . row(i) for i < count. `sums[i]`: sum of the codes of row i.
  void (*dot_rows)(const int8_query& query, const std::int8_t* rows, const std::int32_t* sums, std::size_t count, std::int32_t* out);
  /// out[i] = query . row(which[i]).
  void (*dot_some)(const int8_query& query, const std::int8_t* rows, const std::int32_t* sums, const std::uint32_t* which, std::size_t count,
                   std::int32_t* out);
  /// Codes of v: to the nearest, halves to even, of v * inverse, within -127..127; adds to `sums` what scale * code lost and kept.
  /// @pre `n` is a multiple of `code_lanes`; v is finite.
  void (*code)(const float* v, std::size_t n, float inverse, float scale, std::int8_t* out, coded_sums& sums);
};

/// The best for this CPU; chosen once. HIVE_KERNELS=portable|avx2|avx512-vnni chooses a lesser one, to compare.
const table& best();
/// All that this CPU can run, best first; the last one is portable.
std::span<const table* const> available();

} // namespace hive::vector::kernels
