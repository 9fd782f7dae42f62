/// @file
/// `task<T>`: a lazily started coroutine. A behaviour's turn is a `task<>`; so is every helper it awaits.
///
/// Take parameters by value: the caller's message is gone after the first wait. Never write one as a capturing lambda:
/// the captures die with the lambda, not with the coroutine.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace hive::actors {

template <class T = void> class [[nodiscard]] task;

namespace detail {

struct task_promise_base {
  std::coroutine_handle<> continuation = std::noop_coroutine();
  std::exception_ptr failure;

  struct resume_continuation {
    bool await_ready() const noexcept { return false; }
    template <class Promise> std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      return self.promise().continuation;
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  resume_continuation final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { failure = std::current_exception(); }
};

template <class T> struct task_promise : task_promise_base {
  std::optional<T> value;
  task<T> get_return_object() noexcept;
  template <class U> void return_value(U&& v) { value.emplace(std::forward<U>(v)); }
  T take() {
    if (failure) std::rethrow_exception(failure);
    return std::move(*value);
  }
};

template <> struct task_promise<void> : task_promise_base {
  task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const {
    if (failure) std::rethrow_exception(failure);
  }
};

} // namespace detail

/// Owns the frame: destroying the outermost task destroys everything it waits in.
template <class T> class [[nodiscard]] task {
public:
  using promise_type = detail::task_promise<T>;
  task() = default;
  explicit task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  task& operator=(task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~task() {
    if (handle_) handle_.destroy();
  }

  /// Runs until the first wait or the end. For the host of a turn; inside coroutines use `co_await`.
  void start() { handle_.resume(); }
  bool done() const noexcept { return !handle_ || handle_.done(); }
  /// @pre `done()`. Rethrows what the coroutine threw.
  T take() { return handle_.promise().take(); }

  auto operator co_await() && noexcept {
    struct awaiter {
      std::coroutine_handle<promise_type> handle;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) noexcept {
        handle.promise().continuation = waiting;
        return handle;
      }
      T await_resume() { return handle.promise().take(); }
    };
    return awaiter{handle_};
  }

private:
  std::coroutine_handle<promise_type> handle_;
};

template <class T> task<T> detail::task_promise<T>::get_return_object() noexcept {
  return task<T>{std::coroutine_handle<task_promise<T>>::from_promise(*this)};
}
inline task<void> detail::task_promise<void>::get_return_object() noexcept {
  return task<void>{std::coroutine_handle<task_promise<void>>::from_promise(*this)};
}

} // namespace hive::actors
