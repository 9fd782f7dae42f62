/// @file
/// `result<T>`: a value or an `error`. The spelling of std::expected, so that it can become an alias of it.
#pragma once

#include "config/base/error.hpp"

#include <cassert>
#include <utility>
#include <variant>

namespace hive {

template <class T> class [[nodiscard]] result {
public:
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(hive::error e) : state_(std::in_place_index<1>, std::move(e)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  /// @pre `has_value()`
  T& value() & { return (assert(has_value()), *std::get_if<0>(&state_)); }
  const T& value() const& { return (assert(has_value()), *std::get_if<0>(&state_)); }
  /// By value: `for (auto& x : *f())` must not walk what is gone.
  T value() && { return (assert(has_value()), std::move(*std::get_if<0>(&state_))); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  /// @pre `!has_value()`
  const hive::error& error() const& { return (assert(!has_value()), *std::get_if<1>(&state_)); }
  hive::error&& error() && { return (assert(!has_value()), std::move(*std::get_if<1>(&state_))); }

private:
  std::variant<T, hive::error> state_;
};

template <> class [[nodiscard]] result<void> {
public:
  result() = default;
  result(hive::error e) : error_(std::move(e)), ok_(false) {}
  bool has_value() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  const hive::error& error() const& { return (assert(!ok_), error_); }
  hive::error&& error() && { return (assert(!ok_), std::move(error_)); }

private:
  hive::error error_{};
  bool ok_ = true;
};

} // namespace hive
