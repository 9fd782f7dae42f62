#include "cluster/links/frame_codec.hpp"
#include "config/base/random.hpp"

#include <gtest/gtest.h>

namespace hive::cluster::links {
namespace {

std::string three_frames() {
  std::string w;
  pack_frame(w, {tenant_id{1}, 0, {}, "first"});
  pack_frame(w, {tenant_id{0xFFFFFF}, correlation_of(7, lane::data), milliseconds{1500}, std::string_view("\0b", 2)});
  pack_frame(w, {tenant_id{0}, 0, {}, ""});
  return w;
}

TEST(FrameCodecTest, FramesComeBackAsTheyWere) {
  const auto bytes = three_frames();
  const auto frames = unpack_frames(bytes, 3, 100);
  ASSERT_TRUE(frames);
  EXPECT_EQ((*frames)[0].body, "first");
  EXPECT_EQ((*frames)[0].correlation, 0U);
  EXPECT_EQ((*frames)[1].tenant, tenant_id{0xFFFFFF});
  EXPECT_EQ(lane_of((*frames)[1].correlation), lane::data);
  EXPECT_EQ((*frames)[1].time_left, milliseconds{1500});
  EXPECT_EQ((*frames)[1].body, std::string_view("\0b", 2));
  EXPECT_EQ((*frames)[2].body, "");
}

TEST(FrameCodecTest, WhatIsNotExactlyTheFramesIsRefused) {
  const auto bytes = three_frames();
  EXPECT_FALSE(unpack_frames(bytes, 2, 100)) << "bytes left over";
  EXPECT_FALSE(unpack_frames(bytes, 4, 100));
  EXPECT_FALSE(unpack_frames(bytes, 1'000'000'000, 100)) << "must not allocate for what cannot be there";
  EXPECT_FALSE(unpack_frames(bytes, 3, 4)) << "a frame above the limit";
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) EXPECT_FALSE(unpack_frames(std::string_view(bytes).substr(0, cut), 3, 100)) << cut;
  byte_writer far;
  far.varint(std::uint64_t{1} << 40U).text("x"); // a tenant beyond 24 bits
  EXPECT_FALSE(unpack_frames(far.view(), 1, 100));
  byte_writer nobody;
  nobody.varint(3).varint(0).varint(10).text("x"); // a request without a number
  EXPECT_FALSE(unpack_frames(nobody.view(), 1, 100));
}

TEST(FrameCodecTest, RandomBytesNeverCrash) {
  random_source random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes;
    for (auto n = random.below(40); n > 0; --n) bytes.push_back(static_cast<char>(random.next()));
    (void)unpack_frames(bytes, random.below(5), 1000);
    (void)unpack_answers(bytes, random.below(5));
  }
}

TEST(FrameCodecTest, AnswersKeepValueAndError) {
  byte_writer w;
  pack_answer(w, 4, std::string("yes"));
  pack_answer(w, 8, error{errc::resource_exhausted, "mailbox_full", "too much", "agent/x", milliseconds{250}});
  const auto answers = unpack_answers(w.view(), 2);
  ASSERT_TRUE(answers);
  EXPECT_EQ(*(*answers)[0].with, "yes");
  const auto& e = (*answers)[1].with.error();
  EXPECT_EQ((*answers)[1].correlation, 8U);
  EXPECT_EQ(e.code, errc::resource_exhausted);
  EXPECT_EQ(e.reason, "mailbox_full");
  EXPECT_EQ(e.message, "too much");
  EXPECT_EQ(e.field, "agent/x");
  EXPECT_EQ(e.retry_after, milliseconds{250});
}

TEST(FrameCodecTest, ErrorOfALaterVersionIsUnknown) {
  byte_writer w;
  w.varint(4).varint(200).text("novel").text("").text("").varint(0);
  const auto answers = unpack_answers(w.view(), 1);
  ASSERT_TRUE(answers);
  EXPECT_EQ((*answers)[0].with.error().code, errc::unknown);
}

} // namespace
} // namespace hive::cluster::links
