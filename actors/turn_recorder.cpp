#include "actors/turn_recorder.hpp"

#include "config/base/files.hpp"
#include "config/base/log.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace hive::actors {
namespace {

std::atomic<std::uint64_t> recorders_made{0};
thread_local turn_recorder::slot* my_slot = nullptr;
thread_local std::uint64_t my_recorder = 0;

/// Async-signal-safe: one store to the mapped file. The handler is gone by then (SA_RESETHAND), so that the signal, raised
/// once more, ends the process as it would have.
void on_fault(int signal) {
  if (my_slot) my_slot->fault.store(static_cast<std::uint32_t>(signal), std::memory_order_relaxed);
  ::raise(signal);
}

} // namespace

turn_recorder::turn_recorder(std::array<slot, slots_max>* mapped) : slots_(mapped), number_(++recorders_made) {
  bool blamed = false;
  for (auto& s : *slots_) {
    const auto fault = s.fault.load();
    if (const auto bits = s.entity.load(); bits != 0) suspects_.push_back({entity_id{bits}, s.message.load(), fault});
    blamed = blamed || (s.entity.load() != 0 && fault != 0);
    s.entity.store(0);
    s.fault.store(0);
  }
  if (blamed) std::erase_if(suspects_, [](const suspect& s) { return s.fault == 0; });
}

result<std::unique_ptr<turn_recorder>> turn_recorder::open(const std::string& file) {
  const auto failed = [&](const char* what) {
    if (is_no_space(errno)) return no_space(file);
    return error{errc::unavailable, "recorder", std::string("cannot ") + what + " " + file + ": " + std::strerror(errno)};
  };
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return failed("open");
  constexpr std::size_t size = sizeof(std::array<slot, slots_max>);
  // With its blocks: a page that the disk has no room for would end the process at its first write.
  if (const int number = ::posix_fallocate(fd, 0, size); number != 0) {
    ::close(fd);
    errno = number;
    return failed("size");
  }
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED) return failed("map");
  return std::unique_ptr<turn_recorder>(new turn_recorder(static_cast<std::array<slot, slots_max>*>(at)));
}

turn_recorder::~turn_recorder() { ::munmap(slots_, sizeof(*slots_)); }

turn_recorder::slot* turn_recorder::mine() noexcept {
  if (my_recorder == number_) return my_slot;
  my_recorder = number_;
  const auto n = used_.fetch_add(1, std::memory_order_acq_rel);
  my_slot = n < slots_max ? &(*slots_)[n] : nullptr;
  return my_slot;
}

void turn_recorder::mark_faults() {
  struct sigaction action {};
  action.sa_handler = on_fault;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(signal, &action, nullptr);
}

// -- the watch

turn_watch::turn_watch(turn_recorder& recorder, overdue_turns::limits l, overdue_turns::report report)
  : turns_(recorder, l, std::move(report)),
    thread_([this, interval = std::clamp(l.limit / 10, std::chrono::milliseconds{5}, std::chrono::milliseconds{200})] { run(interval); }) {}

turn_watch::~turn_watch() {
  {
    std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void turn_watch::run(std::chrono::milliseconds interval) {
  std::unique_lock lock(guard_);
  while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
    lock.unlock();
    if (turns_.look(interval)) {
      log::error("turns over their time limit hold the shards: the process ends", {{"exit_code", exit_code_stuck}});
      log::flush();
      ::_exit(exit_code_stuck);
    }
    lock.lock();
  }
}

bool overdue_turns::look(std::chrono::milliseconds passed) {
  std::size_t over = 0;
  bool too_long = false;
  const auto threads = std::min(recorder_.threads(), turn_recorder::slots_max);
  for (std::size_t i = 0; i < threads; ++i) {
    auto& line = recorder_.line(i);
    auto& s = seen_[i];
    const auto entity = line.entity.load(std::memory_order_acquire);
    const auto sequence = line.sequence.load(std::memory_order_relaxed);
    if (entity == 0 || sequence != s.sequence) {
      s = {sequence, {}, false};
      continue;
    }
    s.ran += passed;
    if (s.ran < limits_.limit) continue;
    ++over;
    too_long = too_long || s.ran >= limits_.end;
    if (!std::exchange(s.reported, true)) report_(entity_id{entity}, s.ran);
  }
  if (!too_long && (over == 0 || over < limits_.workers)) return false;
  for (std::size_t i = 0; i < threads; ++i)
    if (seen_[i].ran >= (too_long ? limits_.end : limits_.limit)) recorder_.line(i).fault.store(turn_recorder::overdue, std::memory_order_relaxed);
  return true;
}

} // namespace hive::actors
