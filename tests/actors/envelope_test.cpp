#include "actors/envelope.hpp"

#include "actors/generated_key.hpp"
#include "tests/support/test_context.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

TEST(EnvelopeTest, WhatIsStoredComesBack) {
  const auto who = test::context_of(3);
  envelope e(who, entity_id{tenant_id{3}, 77}, envelope::origin::send);
  e.on = lane::urgent;
  e.type = "append";
  e.body = {std::string("a\0b", 3), content_type::binary};
  e.from = "agent/x";
  e.sender = entity_id{tenant_id{3}, 78};
  e.sequence = 991;
  e.key = "key";
  e.digest = {1, 2};
  e.reply_to = {entity_id{tenant_id{3}, 79}, 5, 6, "t1"};
  e.chain = {entity_id{tenant_id{3}, 80}, entity_id{tenant_id{3}, 81}};
  e.trace = {1, 2, 3, true};
  const auto bytes = encode_message(e);
  const auto back = decode_message(bytes, who, e.to);
  ASSERT_TRUE(back);
  EXPECT_EQ(encode_message(*back), bytes);
  EXPECT_EQ(back->body, e.body);
  EXPECT_EQ(back->chain, e.chain);
  EXPECT_EQ(back->reply_to.task, "t1");
}

TEST(EnvelopeTest, TruncatedBytesAreRefusedAtEveryLength) {
  const auto who = test::context_of(3);
  envelope e(who, entity_id{tenant_id{3}, 77}, envelope::origin::ask);
  e.type = "append";
  e.body.bytes = "{}";
  const auto bytes = encode_message(e);
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_message(std::string_view(bytes).substr(0, n), who, e.to)) << n;
}

TEST(EnvelopeTest, FailuresAndReplyAddressesRoundTrip) {
  const auto e = decode_failure(encode_failure({errc::application, "reason", "text", "field"}));
  EXPECT_EQ(e.code, errc::application);
  EXPECT_EQ(e.reason, "reason");
  EXPECT_EQ(e.field, "field");
  EXPECT_EQ(decode_failure("garbage").code, errc::internal);
  EXPECT_FALSE(decode_reply_address("garbage"));
}

TEST(GeneratedKeyTest, TellsItsTime) {
  random_source random{1};
  const wall_time now{std::chrono::milliseconds{1'790'000'000'123}};
  const auto key = make_generated_key(now, random);
  ASSERT_TRUE(is_generated_key(key));
  EXPECT_EQ(generated_key_time(key), now);
  EXPECT_FALSE(is_generated_key("hive-but-a-clients-own-key"));
}

} // namespace
} // namespace hive::actors
