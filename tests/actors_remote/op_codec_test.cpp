// What shards tell each other comes out of a frame as it went in; anything else is refused. (C1)
#include "actors/remote/op_codec.hpp"
#include "config/base/random.hpp"
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

namespace hive::actors::remote {
namespace {

class OpCodecTest : public ::testing::Test {
protected:
  test::test_contexts contexts_;
  manual_clock clock_;
  const entity_id a_{tenant_id{3}, 77};
  const entity_id b_{tenant_id{3}, 78};

  std::vector<std::unique_ptr<shard_op>> each() {
    std::vector<std::unique_ptr<shard_op>> all;
    auto e = std::make_unique<envelope>(contexts_.restore(tenant_id{3}, "key:x"), a_, envelope::origin::send);
    e->type = "append";
    e->body = {std::string("a\0b", 3), content_type::binary};
    e->sender = b_;
    e->sequence = 9;
    e->previous = 7;
    e->deadline = clock_.steady_now() + std::chrono::milliseconds{250};
    all.push_back(std::move(e));
    supervised_child child{a_, restart_type::transient, true, std::nullopt, false};
    all.push_back(std::make_unique<handled_op>(a_, b_, 12));
    all.push_back(std::make_unique<exited_op>(b_, child, incarnation{4}, true));
    auto order = std::make_unique<order_op>(order_op::order::down, a_, b_, incarnation{0}, 5);
    order->cause = {"above", persistence::desired_state::quarantined};
    all.push_back(std::move(order));
    all.push_back(std::make_unique<order_op>(order_op::order::start, a_, b_, std::nullopt, 6));
    child.shutdown = std::chrono::milliseconds{0};
    all.push_back(std::make_unique<answer_op>(answer_op::news::began, b_, child, incarnation{2}, 8));
    all.push_back(std::make_unique<note_op>(a_, persistence::event_row{"t", "s", "{}"}));
    all.push_back(std::make_unique<step_done_op>(a_, 6, 7, payload{"1", content_type::json}));
    all.push_back(std::make_unique<step_done_op>(a_, 6, 7, error{errc::application, "r", "m", "f"}));
    all.push_back(std::make_unique<suspect_op>(a_, 55, "signal 11", true));
    return all;
  }
};

TEST_F(OpCodecTest, WhatIsSentComesBack) {
  for (const auto& op : each()) {
    const auto bytes = encode_op(*op, clock_);
    const auto back = decode_op(bytes, contexts_, clock_);
    ASSERT_TRUE(back) << static_cast<int>(op->what);
    EXPECT_EQ(back->what, op->what);
    EXPECT_EQ(receiver_of(*back), receiver_of(*op));
    EXPECT_EQ(encode_op(*back, clock_), bytes) << static_cast<int>(op->what);
  }
}

TEST_F(OpCodecTest, DeadlinesTravelAsTimeLeft) {
  auto all = each();
  const auto bytes = encode_op(*all.front(), clock_);
  clock_.advance(std::chrono::seconds{100}); // another node's clock
  const auto back = decode_op(bytes, contexts_, clock_);
  const auto& e = static_cast<envelope&>(*back);
  EXPECT_EQ(e.deadline, clock_.steady_now() + std::chrono::milliseconds{250});
  EXPECT_EQ(e.previous, 7U);
}

TEST_F(OpCodecTest, TruncatedAndRandomBytesAreRefused) {
  random_source chance(1);
  for (const auto& op : each()) {
    const auto bytes = encode_op(*op, clock_);
    for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_op(std::string_view(bytes).substr(0, n), contexts_, clock_)) << n;
  }
  for (int i = 0; i < 20'000; ++i) {
    std::string noise(chance.below(60), '\0');
    for (auto& c : noise) c = static_cast<char>(chance.below(256));
    (void)decode_op(noise, contexts_, clock_); // must not crash
    (void)decode_answer(noise);
  }
}

TEST_F(OpCodecTest, WhatNeverLeavesANodeIsNotEncoded) {
  EXPECT_TRUE(encode_op(call_op([](shard_core&) {}), clock_).empty());
  EXPECT_TRUE(encode_op(loaded_op(a_, epoch{1}, error{errc::internal, "x", "y"}), clock_).empty());
}

TEST_F(OpCodecTest, AnswersComeBack) {
  const auto back = decode_answer(encode_answer({{"{}", content_type::json}, "", true}));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->body.bytes, "{}");
  EXPECT_TRUE(back->repeated);
}

} // namespace
} // namespace hive::actors::remote
