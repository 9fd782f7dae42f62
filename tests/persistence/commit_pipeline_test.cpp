// Which records go into a batch when more has queued than fits. What becomes of batches is tested from seeds in tests/sim.
#include "persistence/commit_pipeline.hpp"

#include "tests/support/test_context.hpp"

#include <gtest/gtest.h>

#include <map>

namespace hive::test {
namespace {

using namespace hive::persistence;

void submit(commit_pipeline& to, std::uint32_t tenant, std::uint64_t entity, std::uint64_t base, std::uint64_t bytes, std::uint32_t weight = 1) {
  auto r = std::make_unique<turn_record>(context_of(tenant), entity_id{tenant_id{tenant}, entity}, shard_id{0}, epoch{1});
  r->base = base;
  r->bytes = bytes;
  r->weight = weight;
  to.submit(std::move(r));
}

std::map<std::uint32_t, std::size_t> tenants_of(std::span<turn_record* const> batch) {
  std::map<std::uint32_t, std::size_t> counts;
  for (const auto* r : batch) ++counts[r->entity.tenant().value()];
  return counts;
}

batch_result all_done(std::size_t n) { return {batch_result::kind::done, std::vector<turn_outcome>(n, turn_outcome::committed), {}}; }

TEST(CommitPipelineTest, EverythingGoesInOneBatchWhenItFits) {
  commit_pipeline p({100, 1'000'000});
  for (std::uint64_t i = 0; i < 100; ++i) submit(p, 1 + static_cast<std::uint32_t>(i % 3), 10, i, 100);
  EXPECT_EQ(p.next_batch().size(), 100U);
}

TEST(CommitPipelineTest, TenantsShareFullBatchesByWeightWhateverTheyHaveQueued) {
  commit_pipeline p({100'000, 1024 * 1024});
  for (std::uint64_t i = 0; i < 20'000; ++i) submit(p, 1, 10, i, 1024);           // a flood
  for (std::uint64_t i = 0; i < 4'000; ++i) submit(p, 2, 10, i, 1024);
  for (std::uint64_t i = 0; i < 4'000; ++i) submit(p, 3, 10, i, 1024, 3);         // three times the share of the others
  std::map<std::uint32_t, std::size_t> total;
  for (int i = 0; i < 4; ++i) {
    const auto batch = p.next_batch();
    for (const auto& [tenant, n] : tenants_of(batch)) total[tenant] += n;
    p.complete(all_done(batch.size()));
  }
  EXPECT_NEAR(static_cast<double>(total[1]), static_cast<double>(total[2]), 64.0);
  EXPECT_NEAR(static_cast<double>(total[3]) / static_cast<double>(total[2]), 3.0, 0.3);
}

TEST(CommitPipelineTest, RecordsOfOneEntityStayInOrderAcrossFullBatches) {
  commit_pipeline p({16, 1024 * 1024});
  for (std::uint64_t i = 0; i < 100; ++i)
    for (const std::uint32_t tenant : {1U, 2U}) submit(p, tenant, 10, i, 40'000);
  std::map<std::uint32_t, std::uint64_t> next;
  while (!p.idle()) {
    const auto batch = p.next_batch();
    ASSERT_FALSE(batch.empty());
    for (const auto* r : batch) EXPECT_EQ(r->base, next[r->entity.tenant().value()]++);
    p.complete(all_done(batch.size()));
  }
  EXPECT_EQ(next[1], 100U);
  EXPECT_EQ(next[2], 100U);
}

} // namespace
} // namespace hive::test
