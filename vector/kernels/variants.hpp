/// @file
/// The variants of the kernels, one source file each; only `kernels.cpp` knows them.
#pragma once

#include "vector/kernels/kernels.hpp"

namespace hive::vector::kernels {

extern const table portable_table;
#if defined(__x86_64__)
extern const table avx2_table;
extern const table avx512_table;
/// `table::code` of both: wider registers would gain little on a few hundred components.
void code_avx2(const float* v, std::size_t n, float inverse, float scale, std::int8_t* out, coded_sums& sums);
#endif

} // namespace hive::vector::kernels
