#include "persistence/commit_thread.hpp"

#include "config/base/log.hpp"

#include <bit>

namespace hive::persistence {
namespace {

constexpr std::chrono::milliseconds probe_every{500};  // a store that refuses everything is tried again this often
constexpr std::chrono::milliseconds probe_poll{10};
constexpr std::chrono::milliseconds unknown_retry{20};
constexpr std::chrono::milliseconds unknown_at_end{5'000}; // then it is left as a crash would leave it

/// The bucket of a histogram whose bucket i holds 2^i .. 2^(i+1)-1; 0 counts as 1.
template <std::size_t N> void count(std::array<std::atomic<std::uint64_t>, N>& buckets, std::uint64_t value) {
  const auto bucket = static_cast<std::size_t>(std::bit_width(std::max<std::uint64_t>(value, 1)) - 1);
  buckets[std::min(bucket, N - 1)].fetch_add(1, std::memory_order_relaxed);
}

void add(std::atomic<std::uint64_t>& to, std::uint64_t n) { to.fetch_add(n, std::memory_order_relaxed); }

} // namespace

struct commit_thread::stop_mark : mpsc_node {};

commit_thread::commit_thread(turn_store& store, commit_listener& listener, const clock_source& clock,
                             batch_limits limits, trim_policy trim)
  : store_(store), listener_(listener), clock_(clock), trim_(trim), pipeline_(limits),
    next_trim_(clock.steady_now() + trim.every), thread_([this] { run(); }) {}

commit_thread::~commit_thread() {
  auto mark = std::make_unique<stop_mark>();
  stop_.store(mark.get(), std::memory_order_release);
  if (inbox_.push(std::move(mark))) inbox_.notify();
  thread_.join();
}

void commit_thread::submit(std::unique_ptr<turn_record> record) {
  if (inbox_.push(std::move(record))) inbox_.notify();
}

void commit_thread::run() {
  bool stopping = false;
  for (;;) {
    if (pipeline_.idle()) {
      if (stopping) return;
      wait_for_work();
    }
    auto arrived = inbox_.drain();
    while (auto node = arrived.pop()) {
      if (node.get() == stop_.load(std::memory_order_acquire)) {
        stopping = true;
      } else {
        pipeline_.submit(std::unique_ptr<turn_record>(static_cast<turn_record*>(node.release())));
      }
    }
    if (!pipeline_.idle() && !write_one_batch()) return;
    store_.maintain();
    trim_if_due();
  }
}

void commit_thread::wait_for_work() {
  if (!away_) {
    inbox_.wait_until_not_empty();
    return;
  }
  // Nobody may send anything while readiness says no: look by ourselves whether the store is well again.
  auto next_probe = std::chrono::steady_clock::now() + probe_every;
  while (inbox_.empty()) {
    std::this_thread::sleep_for(probe_poll);
    if (std::chrono::steady_clock::now() < next_probe) continue;
    const auto found = store_.probe();
    if (found) return show_available();
    show_unavailable(found.error());
    next_probe = std::chrono::steady_clock::now() + probe_every;
  }
}

bool commit_thread::write_one_batch() {
  const auto batch = pipeline_.next_batch();
  std::uint64_t writing = 0;
  for (const turn_record* record : batch) writing += record->writes || !record->delivered.empty() ? 1 : 0;
  const std::uint64_t size = batch.size();

  const auto begin = std::chrono::steady_clock::now();
  batch_result outcome = store_.write(batch);
  std::optional<steady_time> give_up;
  while (outcome.what == batch_result::kind::unknown) {
    std::ignore = pipeline_.complete(std::move(outcome));
    outcome = store_.find_out(pipeline_.held());
    if (outcome.what != batch_result::kind::unknown) break;
    // A process that is asked to end while its store is away must not wait for it: it may be gone for good.
    if (stop_.load(std::memory_order_acquire) != nullptr && !give_up) give_up = clock_.steady_now() + unknown_at_end;
    if (give_up && clock_.steady_now() >= *give_up) {
      log::error("the store does not say whether the last batch was committed; nobody is answered", {{"turns", std::to_string(size)}});
      return false;
    }
    std::this_thread::sleep_for(unknown_retry);
  }
  const auto took = std::chrono::steady_clock::now() - begin;

  using std::chrono::duration_cast;
  add(statistics_.batches, 1);
  add(statistics_.nanoseconds, static_cast<std::uint64_t>(duration_cast<std::chrono::nanoseconds>(took).count()));
  count(statistics_.latencies, static_cast<std::uint64_t>(duration_cast<std::chrono::microseconds>(took).count()));
  count(statistics_.batch_sizes, size);

  const auto kind = outcome.what;
  const error why = outcome.why;
  auto settled = pipeline_.complete(std::move(outcome));
  if (kind == batch_result::kind::done) {
    add(statistics_.turns, size);
    add(statistics_.rows_only_fenced, size - writing);
    // A batch that wrote nothing says nothing about the room on the disk.
    if (writing != 0) show_available();
  } else if (kind == batch_result::kind::refused) {
    add(statistics_.refused, settled.size());
  } else {
    add(statistics_.unavailable, settled.size());
    show_unavailable(why);
  }
  if (!settled.empty()) listener_.settled(std::move(settled));
  return true;
}

void commit_thread::show_unavailable(const error& why) {
  // A store that comes back may turn out to be worse than away: it forgot what it had acknowledged.
  if (away_ == why.reason) return;
  away_ = why.reason;
  log::error("the store takes no writes", {{"reason", why.reason}, {"error", to_string(why)}});
  listener_.availability(&why);
}

void commit_thread::show_available() {
  if (!away_) return;
  away_.reset();
  log::info("the store takes writes again");
  listener_.availability(nullptr);
}

void commit_thread::trim_if_due() {
  if (away_ || clock_.steady_now() < next_trim_) return;
  const wall_time now = clock_.wall_now();
  const auto gone = store_.trim({now - trim_.keep_keys, now - trim_.keep_events, now - trim_.keep_dead_letters, now - trim_.keep_audit, now}, trim_.rows_at_once);
  if (!gone) log::warn("old rows could not be trimmed", {{"error", to_string(gone.error())}});
  // A full step means that more is due: go on after the next batch, so that trimming keeps up with any rate of turns.
  if (!gone || *gone < trim_.rows_at_once) next_trim_ = clock_.steady_now() + trim_.every;
}

} // namespace hive::persistence
