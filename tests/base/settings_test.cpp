#include "config/settings.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace hive::config {
namespace {

TEST(SettingsTest, DefaultsAreWithinTheirOwnBounds) { EXPECT_TRUE(load("", {})); }

TEST(SettingsTest, OverridesTakeUnits) {
  const auto s = load("", {"entity.state_bytes=64KiB", "passivation.idle=5s", "files.read_roots=/a:/b", "log.level=warn"});
  ASSERT_TRUE(s) << to_string(s.error());
  EXPECT_EQ(s->entity.state_bytes, 65'536U);
  EXPECT_EQ(s->passivation.idle.count(), 5000);
  EXPECT_EQ(s->files.read_roots, (std::vector<std::string>{"/a", "/b"}));
}

TEST(SettingsTest, EveryMistakeNamesFieldValueAndRange) {
  for (const auto& [set, field] : std::vector<std::pair<std::string, std::string>>{
         {"entity.mailbox_messages=0", "entity.mailbox_messages"}, {"entity.mailbox_messages=many", "entity.mailbox_messages"},
         {"entity.mailbox_messages=-1", "entity.mailbox_messages"}, {"entity.mailbox_messages=99999999999999999999", "entity.mailbox_messages"},
         {"node.shards=63", "node.shards"}, {"passivation.idle=1", "passivation.idle"}, {"no.such=1", "no.such"},
         {"cluster.listen=7072", "cluster.listen"}, {"cluster.link.heartbeat=9", "cluster.link.heartbeat"},
         {"cluster.link.heartbeat=1s", "cluster.link.heartbeat_timeout"}, {"cluster.link.backoff_min=6s", "cluster.link.backoff_max"},
         {"cluster.link.frame_bytes=9MiB", "cluster.link.tenant_window_bytes"},
         {"log.level=loud", "log.level"}, {"files.programs=relative", "files.programs"}}) {
    const auto s = load("", {set});
    ASSERT_FALSE(s) << set;
    EXPECT_EQ(s.error().field, field);
    EXPECT_EQ(s.error().code, errc::invalid_argument);
  }
  EXPECT_FALSE(load("", {"novalue"}));
  EXPECT_FALSE(load("/no/such/file.yaml", {}));
}

// Each of these would be found out only by the other nodes, which dial what this one says of itself.
TEST(SettingsTest, WhatANodeSaysOfItselfIsChecked) {
  const auto with = [](std::vector<std::string> more) {
    more.insert(more.end(), {"store.kind=postgres", "store.postgres.url=postgres://a@h/d", "cluster.node=n", "cluster.link.ca_file=/c", "cluster.link.certificate_file=/c",
                             "cluster.link.key_file=/c"});
    return load("", more);
  };
  for (const auto* good : {"10.0.0.1:7072", "node-1.example:7072", "localhost:7072", "[2001:db8::1]:7072"}) EXPECT_TRUE(with({std::string("cluster.advertise=") + good})) << good;
  for (const auto* wrong : {"foo", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:70720", ":7072", "0.0.0.0:7072", "[::]:7072", "a b:7072"})
    EXPECT_EQ(with({std::string("cluster.advertise=") + wrong}).error().field, "cluster.advertise") << wrong;
  EXPECT_EQ(with({"cluster.listen=0.0.0.0:7072"}).error().field, "cluster.advertise") << "peers would dial 0.0.0.0";
  EXPECT_EQ(with({"cluster.listen=[::]:7072"}).error().field, "cluster.advertise");
  EXPECT_TRUE(with({"cluster.listen=0.0.0.0:7072", "cluster.advertise=10.0.0.1:7072"}));
  EXPECT_TRUE(load("", {"cluster.listen=0.0.0.0:7072"})) << "a node that is alone has no peers";
  EXPECT_EQ(with({"cluster.pool="}).error().field, "cluster.pool");
  EXPECT_EQ(with({"cluster.zone=a\nb"}).error().field, "cluster.zone");
  EXPECT_TRUE(with({"cluster.zone="}));
  EXPECT_TRUE(with({"cluster.zone=rack-7"}));
}

TEST(SettingsTest, RedisIsOnThisMachineUnlessToldOtherwise) {
  const auto with = [](const std::string& address, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"store.kind=postgres", "store.postgres.url=postgres://a@h/d", "cluster.node=n", "cluster.link.ca_file=/c", "cluster.link.certificate_file=/c",
                             "cluster.link.key_file=/c", "cache.redis.address=" + address});
    return load("", more);
  };
  for (const auto* here : {"unix:/run/redis.sock", "127.0.0.1:6379", "127.1.2.3:6379", "[::1]:6379", "localhost:6379"}) EXPECT_TRUE(with(here)) << here;
  for (const auto* elsewhere : {"10.0.0.1:6379", "redis:6379", "[2001:db8::1]:6379", "127.0.0.1.example:6379", "0.0.0.0:6379"}) {
    const auto refused = with(elsewhere);
    ASSERT_FALSE(refused) << elsewhere;
    EXPECT_EQ(refused.error().field, "cache.redis.address");
    EXPECT_NE(refused.error().message.find("cache.redis.allow_plaintext"), std::string::npos) << "it names the way out";
    EXPECT_TRUE(with(elsewhere, {"cache.redis.allow_plaintext=true"})) << elsewhere;
  }
  for (const auto* wrong : {"unix:relative", "6379", ":6379", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:6379x"})
    EXPECT_EQ(with(wrong).error().field, "cache.redis.address") << wrong;
  EXPECT_EQ(with("unix:/s", {"cache.redis.user=hive"}).error().field, "cache.redis.password_file");
  EXPECT_EQ(with("unix:/s", {"cache.redis.backoff=6s"}).error().field, "cache.redis.backoff");
  EXPECT_EQ(with("unix:/s", {"cache.redis.allow_plaintext=yes"}).error().field, "cache.redis.allow_plaintext");
  EXPECT_EQ(load("", {"cache.redis.address=unix:/s"}).error().field, "cache.redis.address") << "a node that is alone shares with nobody";
}

TEST(SettingsTest, FileIsReadAndOverridesWin) {
  const std::string path = ::testing::TempDir() + "hive_settings_test.yaml";
  std::ofstream(path) << "entity:\n  mailbox_messages: 7\nfiles:\n  read_roots: [/x, /y]\n";
  const auto s = load(path, {"entity.mailbox_messages=8"});
  std::remove(path.c_str());
  ASSERT_TRUE(s) << to_string(s.error());
  EXPECT_EQ(s->entity.mailbox_messages, 8U);
  EXPECT_EQ(s->files.read_roots.size(), 2U);
}

TEST(SettingsTest, NodeWithPeersMustBeAbleToSendThemItsPayloads) {
  EXPECT_TRUE(load("", {"entity.payload_bytes=4MiB"}));
  const auto s = load("", {"entity.payload_bytes=4MiB", "cluster.link.ca_file=/ca.pem"});
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().field, "cluster.link.frame_bytes");
  const auto puts = load("", {"context.batch_bytes=4MiB", "cluster.link.ca_file=/ca.pem"});
  ASSERT_FALSE(puts);
  EXPECT_EQ(puts.error().field, "cluster.link.frame_bytes") << "a put must fit into a frame to the collection's node";
}

TEST(SettingsTest, NamesOfSeveralPartsNestInTheFile) {
  const std::string path = ::testing::TempDir() + "hive_settings_nested_test.yaml";
  std::ofstream(path) << "cluster:\n  listen: 127.0.0.1:7172\n  link:\n    heartbeat: 200ms\n";
  const auto s = load(path, {});
  std::ofstream(path) << "cluster:\n  link:\n    hartbeat: 200ms\n";
  const auto misspelt = load(path, {});
  std::remove(path.c_str());
  ASSERT_TRUE(s) << to_string(s.error());
  EXPECT_EQ(s->link.listen, "127.0.0.1:7172");
  EXPECT_EQ(s->link.heartbeat.count(), 200);
  ASSERT_FALSE(misspelt);
  EXPECT_EQ(misspelt.error().field, "cluster.link.hartbeat");
}

TEST(SettingsTest, TheStoreIsChosenByKindAndNestedNamesAreRead) {
  EXPECT_EQ(load("", {})->store.kind, "sqlite");
  EXPECT_EQ(load("", {"store.kind=mysql"}).error().field, "store.kind");
  EXPECT_EQ(load("", {"store.kind=postgres"}).error().field, "store.postgres.url");
  const std::vector<std::string> shared{"store.kind=postgres", "store.postgres.url=postgres://a@h/d"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), shared.begin(), shared.end());
    return load("", more);
  };
  EXPECT_EQ(load("", {"cluster.node=node-1"}).error().field, "store.kind") << "nodes share one database";
  EXPECT_EQ(with({"cluster.node=node 1"}).error().field, "cluster.node");
  EXPECT_EQ(with({"cluster.node=node-1"}).error().field, "cluster.link.ca_file");
  EXPECT_EQ(with({"cluster.node=node-1", "cluster.link.ca_file=a", "cluster.link.certificate_file=b"}).error().field, "cluster.link.key_file");
  EXPECT_EQ(load("", {"store.postgres.durability=maybe"}).error().field, "store.postgres.durability");
  EXPECT_EQ(load("", {"store.postgres.readers=0"}).error().field, "store.postgres.readers");
  EXPECT_EQ(load("", {"store.postgres.backoff=5s"}).error().field, "store.postgres.backoff");

  const std::string path = ::testing::TempDir() + "hive_settings_store_test.yaml";
  std::ofstream(path) << "store:\n  kind: postgres\n  postgres:\n    url: postgres://a:b=c@h1,h2/d\n    readers: 3\n";
  const auto s = load(path, {"store.postgres.admin=postgres://o@h1/d?x=1"});
  ASSERT_TRUE(s) << to_string(s.error());
  EXPECT_EQ(s->store.url, "postgres://a:b=c@h1,h2/d");
  EXPECT_EQ(s->store.admin, "postgres://o@h1/d?x=1");
  EXPECT_EQ(s->store.readers, 3U);
  std::ofstream(path) << "store:\n  postgres:\n    deep:\n      er: 1\n";
  EXPECT_EQ(load(path, {}).error().field, "store.postgres.deep.er");
  std::remove(path.c_str());
}

TEST(SettingsTest, TimeToWriteHasItsBounds) {
  EXPECT_EQ(load("", {})->api.write_timeout, std::chrono::seconds{30});
  EXPECT_EQ(load("", {"api.write_timeout=5m"})->api.write_timeout, std::chrono::minutes{5});
  EXPECT_EQ(load("", {"api.write_timeout=0"}).error().field, "api.write_timeout");
}

TEST(SettingsTest, WhatIsThereTwiceIsAMistake) {
  const std::string path = ::testing::TempDir() + "hive_settings_twice_test.yaml";
  std::ofstream(path) << "entity:\n  attempts: 4\n  attempts: 5\n";
  EXPECT_EQ(load(path, {}).error().field, "entity.attempts");
  std::ofstream(path) << "entity:\n  attempts: 4\nentity:\n  attempts: 4\n";
  EXPECT_EQ(load(path, {}).error().field, "entity");
  std::remove(path.c_str());
}

TEST(SettingsTest, AddressesAreAddresses) {
  for (const auto* good : {"127.0.0.1:80", "0.0.0.0:0", "[::1]:7070", "localhost:7070"}) EXPECT_TRUE(load("", {std::string("api.http=") + good})) << good;
  for (const auto* bad : {"999.0.0.1:80", "somewhere:80", ":80", "127.0.0.1:65536", "[::1:80", "127.0.0:80"})
    EXPECT_EQ(load("", {std::string("api.http=") + bad}).error().field, "api.http") << bad;
}

TEST(SettingsTest, PathsThatAreNotThereAreNamed) {
  EXPECT_TRUE(check_paths(*load("", {"files.read_roots=/usr:/tmp", "files.programs=/bin/true"})));
  EXPECT_EQ(check_paths(*load("", {"files.read_roots=/usr,/tmp"})).error().field, "files.read_roots");
  EXPECT_EQ(check_paths(*load("", {"files.write_roots=/no/such"})).error().field, "files.write_roots");
  EXPECT_EQ(check_paths(*load("", {"files.programs=/usr"})).error().field, "files.programs");
  EXPECT_NE(describe().find("':'"), std::string::npos);
}

} // namespace
} // namespace hive::config
