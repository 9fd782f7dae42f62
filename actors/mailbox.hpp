/// @file
/// The bounded lanes of one entity.
#pragma once

#include "actors/envelope.hpp"

namespace hive::actors {

/// System messages first, then urgent, then user; each first in, first out. Bounds are the caller's to check: messages
/// from other entities' outboxes are admitted above them, because their senders' windows bound them.
class mailbox {
public:
  mailbox() = default;
  mailbox(const mailbox&) = delete;
  mailbox& operator=(const mailbox&) = delete;
  ~mailbox() { clear(); }

  void push_back(std::unique_ptr<envelope> e) noexcept {
    auto& l = at(e->on);
    count_ += 1;
    bytes_ += static_cast<std::uint32_t>(e->bytes());
    mpsc_node* node = e.release();
    node->next = nullptr;
    if (l.tail) l.tail->next = node;
    else l.head = node;
    l.tail = node;
  }
  void push_front(std::unique_ptr<envelope> e) noexcept {
    auto& l = at(e->on);
    count_ += 1;
    bytes_ += static_cast<std::uint32_t>(e->bytes());
    mpsc_node* node = e.release();
    node->next = l.head;
    l.head = node;
    if (!l.tail) l.tail = node;
  }
  bool has(lane which) const noexcept { return lanes_[static_cast<std::size_t>(which)].head != nullptr; }
  bool empty() const noexcept { return count_ == 0; }
  std::unique_ptr<envelope> pop(lane which) noexcept {
    auto& l = at(which);
    if (!l.head) return nullptr;
    mpsc_node* node = l.head;
    l.head = node->next;
    if (!l.head) l.tail = nullptr;
    node->next = nullptr;
    auto e = std::unique_ptr<envelope>(static_cast<envelope*>(node));
    count_ -= 1;
    bytes_ -= static_cast<std::uint32_t>(e->bytes());
    return e;
  }
  /// Each message of the lane in order, until `look` returns false.
  template <class F> void each(lane which, F look) {
    for (mpsc_node* node = at(which).head; node && look(*static_cast<envelope*>(node)); node = node->next) {}
  }
  /// Takes one out of its lane. @pre it is in it.
  std::unique_ptr<envelope> take(lane which, envelope* wanted) noexcept {
    auto& l = at(which);
    mpsc_node* before = nullptr;
    mpsc_node* node = l.head;
    while (node != wanted) before = std::exchange(node, node->next);
    (before ? before->next : l.head) = node->next;
    if (l.tail == node) l.tail = before;
    node->next = nullptr;
    count_ -= 1;
    bytes_ -= static_cast<std::uint32_t>(wanted->bytes());
    return std::unique_ptr<envelope>(wanted);
  }
  std::uint32_t count() const noexcept { return count_; }
  std::uint32_t bytes() const noexcept { return bytes_; }
  void clear() noexcept {
    for (auto l : {lane::system, lane::urgent, lane::user})
      while (pop(l)) {}
  }

private:
  struct chain {
    mpsc_node* head = nullptr;
    mpsc_node* tail = nullptr;
  };
  chain& at(lane which) noexcept { return lanes_[static_cast<std::size_t>(which)]; }
  std::uint32_t count_ = 0;
  std::uint32_t bytes_ = 0;
  std::array<chain, 3> lanes_{};
};

} // namespace hive::actors
