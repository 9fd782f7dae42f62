#include "actors/mailbox.hpp"

#include "tests/support/test_context.hpp"

#include <gtest/gtest.h>

namespace hive::actors {
namespace {

std::unique_ptr<envelope> make(lane on, const std::string& type) {
  auto e = std::make_unique<envelope>(test::context_of(1), entity_id{tenant_id{1}, 20}, envelope::origin::tell);
  e->on = on;
  e->type = type;
  return e;
}

TEST(MailboxTest, LanesAreFirstInFirstOutAndCounted) {
  mailbox box;
  EXPECT_TRUE(box.empty());
  box.push_back(make(lane::user, "1"));
  box.push_back(make(lane::user, "2"));
  box.push_back(make(lane::system, "s"));
  box.push_front(make(lane::user, "0"));
  EXPECT_EQ(box.count(), 4U);
  EXPECT_GT(box.bytes(), 0U);
  EXPECT_TRUE(box.has(lane::system));
  EXPECT_FALSE(box.has(lane::urgent));
  EXPECT_EQ(box.pop(lane::system)->type, "s");
  for (const char* expected : {"0", "1", "2"}) EXPECT_EQ(box.pop(lane::user)->type, expected);
  EXPECT_EQ(box.pop(lane::user), nullptr);
  EXPECT_EQ(box.bytes(), 0U);
}

} // namespace
} // namespace hive::actors
