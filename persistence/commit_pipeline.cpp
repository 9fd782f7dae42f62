#include "persistence/commit_pipeline.hpp"

#include <algorithm>
#include <cassert>

namespace hive::persistence {
namespace {

constexpr std::uint64_t quantum_bytes = 32 * 1024; // what a tenant of weight 1 may add to a batch before the next one's turn
constexpr std::size_t idle_lanes_kept = 1024;

settlement::kind kind_of(turn_outcome outcome) noexcept {
  switch (outcome) {
  case turn_outcome::committed: return settlement::kind::committed;
  case turn_outcome::fenced: return settlement::kind::fenced;
  case turn_outcome::stale: return settlement::kind::stale;
  }
  return settlement::kind::stale;
}

} // namespace

void commit_pipeline::submit(std::unique_ptr<turn_record> record) {
  const tenant_id tenant = record->entity.tenant();
  lane& to = lanes_[tenant];
  if (to.records.empty()) ring_.push_back(tenant);
  to.weight = std::max(record->weight, 1U);
  ++queued_;
  queued_bytes_ += record->bytes;
  to.records.push_back(std::move(record));
}

std::span<turn_record* const> commit_pipeline::next_batch() {
  if (held_) return {};
  assert(batch_.empty());
  if (!halves_.empty()) {
    batch_ = std::move(halves_.front());
    halves_.pop_front();
  } else {
    batch_.clear();
    batch_bytes_ = 0;
    batch_.reserve(std::min(queued_, limits_.turns));
    if (queued_ <= limits_.turns && queued_bytes_ <= limits_.bytes) {
      fill_with_everything();
    } else {
      fill_by_round_robin();
    }
  }
  view_.clear();
  view_.reserve(batch_.size());
  for (const auto& record : batch_) view_.push_back(record.get());
  return view_;
}

std::vector<settlement> commit_pipeline::complete(batch_result&& outcome) {
  std::vector<settlement> settled;
  held_ = outcome.what == batch_result::kind::unknown;
  if (held_) return settled;

  if (outcome.what == batch_result::kind::refused && batch_.size() > 1) {
    // Both halves go before everything that queued meanwhile, so no entity's later record overtakes an earlier one.
    const auto middle = static_cast<std::ptrdiff_t>(batch_.size() / 2);
    std::vector<std::unique_ptr<turn_record>> second(std::make_move_iterator(batch_.begin() + middle),
                                                     std::make_move_iterator(batch_.end()));
    batch_.resize(static_cast<std::size_t>(middle));
    halves_.push_front(std::move(second));
    halves_.push_front(std::move(batch_));
    batch_.clear();
    return settled;
  }

  settled.reserve(batch_.size());
  assert(outcome.what != batch_result::kind::done || outcome.outcomes.size() == batch_.size());
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    settlement& end = settled.emplace_back();
    end.record = std::move(batch_[i]);
    switch (outcome.what) {
    case batch_result::kind::done: end.what = kind_of(outcome.outcomes[i]); break;
    case batch_result::kind::refused: end.what = settlement::kind::refused; break;
    case batch_result::kind::unavailable: end.what = settlement::kind::unavailable; break;
    case batch_result::kind::unknown: break; // held, above
    }
    if (outcome.what != batch_result::kind::done) end.why = outcome.why;
  }
  batch_.clear();
  return settled;
}

std::span<turn_record* const> commit_pipeline::held() const noexcept {
  if (!held_) return {};
  return view_;
}

void commit_pipeline::fill_with_everything() {
  for (const tenant_id tenant : ring_) {
    lane& from = lanes_[tenant];
    while (!from.records.empty()) take_front(from);
    drop_if_empty(tenant, from);
  }
  ring_.clear();
}

void commit_pipeline::fill_by_round_robin() {
  while (!ring_.empty()) {
    const tenant_id tenant = ring_.front();
    lane& from = lanes_[tenant];
    const std::uint64_t quantum = quantum_bytes * from.weight;
    from.deficit += quantum;
    while (!from.records.empty()) {
      const std::uint64_t size = from.records.front()->bytes;
      const bool full = batch_.size() >= limits_.turns || (!batch_.empty() && batch_bytes_ + size > limits_.bytes);
      if (full) {
        // The tenant keeps its place and what is left of its turn; it does not gain a second quantum by waiting.
        from.deficit -= std::min(from.deficit, quantum);
        return;
      }
      if (size > from.deficit && ring_.size() > 1) break;
      from.deficit -= std::min(from.deficit, size);
      take_front(from);
    }
    ring_.pop_front();
    if (from.records.empty()) {
      drop_if_empty(tenant, from);
    } else {
      ring_.push_back(tenant);
    }
  }
}

void commit_pipeline::take_front(lane& from) {
  auto record = std::move(from.records.front());
  from.records.pop_front();
  --queued_;
  queued_bytes_ -= record->bytes;
  batch_bytes_ += record->bytes;
  batch_.push_back(std::move(record));
}

void commit_pipeline::drop_if_empty(tenant_id tenant, lane& from) {
  from.deficit = 0;
  if (lanes_.size() > idle_lanes_kept) lanes_.erase(tenant);
}

} // namespace hive::persistence
