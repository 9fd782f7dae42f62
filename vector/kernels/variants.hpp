/// @file
/// The variants of the kernels, one source file each; only `kernels.cpp` knows them.
#pragma once

#include "vector/kernels/kernels.hpp"

namespace hive::vector::kernels {

extern const table portable_table;
#if defined(__x86_64__)
extern const table avx2_table;
extern const table avx512_table;
#endif

} // namespace hive::vector::kernels
