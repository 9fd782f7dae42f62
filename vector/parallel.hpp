/// @file
/// Work on a collection that comes in independent parts, on several cores: what a cold one needs before its first answer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace hive::vector {

/// Calls `f(0)` .. `f(n - 1)`, each once, in any order: here, and on up to three threads more. Returns when all are done; an
/// exception of one of them is thrown here, and the others may not have been called then.
template <class F> void in_parallel(std::size_t n, F&& f) {
  constexpr std::size_t threads_max = 4;
  const std::size_t threads = std::min({n, threads_max, std::max<std::size_t>(1, std::thread::hardware_concurrency())});
  std::atomic<std::size_t> next{0};
  std::mutex guard;
  std::exception_ptr failure;
  const auto work = [&]() noexcept {
    try {
      for (std::size_t i; (i = next.fetch_add(1)) < n;) f(i);
    } catch (...) {
      next = n;
      const std::lock_guard lock(guard);
      failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (std::size_t t = 1; t < threads; ++t) others.emplace_back(work);
    } catch (const std::exception&) { // no more threads: those that are there do it
    }
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

} // namespace hive::vector
