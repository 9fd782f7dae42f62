/// @file
/// Many threads push, one thread takes everything at once. Lock-free, intrusive, first in first out.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

namespace hive {

/// Base of whatever travels in an `mpsc_queue`. The destructor is virtual: the queue owns what it holds.
struct mpsc_node {
  mpsc_node* next = nullptr;
  mpsc_node() = default;
  mpsc_node(const mpsc_node&) = delete;
  mpsc_node& operator=(const mpsc_node&) = delete;
  virtual ~mpsc_node() = default;
};

/// A chain of nodes in order, owned by whoever holds it.
template <class T> class mpsc_chain {
public:
  mpsc_chain() = default;
  explicit mpsc_chain(mpsc_node* head) noexcept : head_(head) {}
  mpsc_chain(mpsc_chain&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  mpsc_chain& operator=(mpsc_chain&& other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~mpsc_chain() {
    while (pop()) {}
  }
  bool empty() const noexcept { return head_ == nullptr; }
  /// The oldest node, or null.
  std::unique_ptr<T> pop() noexcept {
    if (!head_) return nullptr;
    mpsc_node* node = head_;
    head_ = node->next;
    node->next = nullptr;
    return std::unique_ptr<T>(static_cast<T*>(node));
  }

private:
  mpsc_node* head_ = nullptr;
};

/// `T` derives from `mpsc_node`.
template <class T> class mpsc_queue {
public:
  mpsc_queue() = default;
  mpsc_queue(const mpsc_queue&) = delete;
  mpsc_queue& operator=(const mpsc_queue&) = delete;
  ~mpsc_queue() { drain(); }

  /// Any thread. @returns true when the queue was empty: only then does the consumer need to be woken.
  bool push(std::unique_ptr<T> item) noexcept {
    mpsc_node* node = item.release();
    mpsc_node* head = head_.load(std::memory_order_relaxed);
    do {
      node->next = head;
    } while (!head_.compare_exchange_weak(head, node, std::memory_order_release, std::memory_order_relaxed));
    return head == nullptr;
  }

  /// The consumer's thread only. Everything that was pushed so far, oldest first.
  mpsc_chain<T> drain() noexcept {
    mpsc_node* node = head_.exchange(nullptr, std::memory_order_acquire);
    mpsc_node* ordered = nullptr;
    while (node) {
      mpsc_node* next = node->next;
      node->next = ordered;
      ordered = node;
      node = next;
    }
    return mpsc_chain<T>{ordered};
  }

  bool empty() const noexcept { return head_.load(std::memory_order_acquire) == nullptr; }

  /// For a consumer that sleeps in `std::atomic::wait` until something is pushed.
  void wait_until_not_empty() const noexcept { head_.wait(nullptr, std::memory_order_acquire); }
  void notify() noexcept { head_.notify_one(); }

private:
  std::atomic<mpsc_node*> head_{nullptr};
};

} // namespace hive
