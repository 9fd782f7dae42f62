/// @file
/// Vectors as int8 codes with one scale each, and how wrong a dot product of codes can be.
#pragma once

#include "vector/kernels/kernels.hpp"

#include <cstdint>
#include <new>
#include <span>
#include <vector>

namespace hive::vector {

/// Zero-initialised memory for vector instructions, 64-byte aligned.
template <class T> struct aligned_allocator {
  using value_type = T;
  aligned_allocator() = default;
  template <class U> aligned_allocator(const aligned_allocator<U>&) noexcept {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, std::size_t) noexcept { ::operator delete(p, std::align_val_t{64}); }
  friend bool operator==(const aligned_allocator&, const aligned_allocator&) noexcept { return true; }
};
template <class T> using aligned_vector = std::vector<T, aligned_allocator<T>>;

constexpr std::size_t padded(std::size_t n, std::size_t block) noexcept { return (n + block - 1) / block * block; }

/// What coding a vector lost and kept; lengths are rounded up, so that bounds made of them hold.
struct int8_code {
  float scale = 0;  ///< v is about scale * code.
  float error = 0;  ///< |v - scale * code| at most.
  float length = 0; ///< |scale * code| at most.
  std::int32_t sum = 0; ///< Of the codes.
};

/// Codes one vector: the largest component becomes 127. `out` is padded with zeros. The same bits with all kernels. @pre it is finite
int8_code encode_int8(std::span<const float> v, std::span<std::int8_t> out, const kernels::table& with = kernels::best()) noexcept;

bool all_finite(std::span<const float> v) noexcept;

/// Codes of up to `capacity` rows, the memory taken at once.
class int8_rows {
public:
  int8_rows(std::size_t dimension, std::size_t capacity);
  std::size_t stride() const noexcept { return stride_; }
  void put(std::size_t row, std::span<const float> v) noexcept;
  const std::int8_t* data() const noexcept { return codes_.data(); }
  const std::int8_t* row(std::size_t i) const noexcept { return codes_.data() + i * stride_; }
  const std::int32_t* sums() const noexcept { return sums_.data(); }
  const float* scales() const noexcept { return scales_.data(); }
  const float* errors() const noexcept { return errors_.data(); }
  const float* lengths() const noexcept { return lengths_.data(); }
  /// |v| squared, of the vector itself.
  const float* squares() const noexcept { return squares_.data(); }
  std::size_t bytes() const noexcept;

private:
  std::size_t stride_;
  aligned_vector<std::int8_t> codes_;
  std::vector<std::int32_t> sums_;
  std::vector<float> scales_, errors_, lengths_, squares_;
};

/// A query as codes, ready for `kernels::table`.
class int8_query_code {
public:
  explicit int8_query_code(std::span<const float> q);
  kernels::int8_query view() const noexcept { return {codes_.data(), shifted_.data(), codes_.size()}; }
  float scale() const noexcept { return code_.scale; }
  float error() const noexcept { return code_.error; }
  /// |q| at most.
  float length() const noexcept { return length_; }
  /// |q| squared.
  float square() const noexcept { return square_; }

private:
  aligned_vector<std::int8_t> codes_;
  aligned_vector<std::uint8_t> shifted_;
  int8_code code_;
  float length_ = 0, square_ = 0;
};

} // namespace hive::vector
