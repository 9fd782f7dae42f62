#include "runtime/security/admin_key.hpp"
#include "runtime/security/wrong_keys.hpp"
#include "tests/runtime/fake_hive.hpp"

#include "google/api/annotations.pb.h"
#include "hive/v1/agents.pb.h"
#include "hive/v1/dead_letters.pb.h"
#include "hive/v1/events.pb.h"
#include "hive/v1/health.pb.h"
#include "hive/v1/keys.pb.h"
#include "hive/v1/messaging.pb.h"
#include "hive/v1/nodes.pb.h"
#include "hive/v1/options.pb.h"
#include "hive/v1/swarm.pb.h"
#include "hive/v1/collections.pb.h"
#include "hive/v1/schedules.pb.h"
#include "hive/v1/tasks.pb.h"
#include "hive/v1/tenants.pb.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <fstream>
#include <future>

namespace hive::security {
namespace {

// -- permissions

TEST(Permissions, EveryPermissionOfTheProtosIsInTheTableAndTheReverse) {
  std::set<std::string> named{};
  for (const auto* file : {v1::Tenant::descriptor()->file(), v1::Agent::descriptor()->file(), v1::AskRequest::descriptor()->file(), v1::Task::descriptor()->file(), v1::Schedule::descriptor()->file(), v1::Collection::descriptor()->file(),
                           v1::Tree::descriptor()->file(), v1::Event::descriptor()->file(), v1::Key::descriptor()->file(), v1::DeadLetter::descriptor()->file(), v1::Node::descriptor()->file(), v1::HealthRequest::descriptor()->file()})
    for (int s = 0; s < file->service_count(); ++s)
      for (int m = 0; m < file->service(s)->method_count(); ++m)
        named.insert(file->service(s)->method(m)->options().GetExtension(v1::rule).permission());
  std::set<std::string> known;
  for (const auto& row : permission_table()) known.emplace(row.permission);
  EXPECT_EQ(named, known);
}

TEST(Permissions, WhatIsNotInTheTableIsDenied) {
  for (const auto r : {role::admin, role::tenant, role::viewer}) {
    EXPECT_FALSE(allowed(r, ""));
    EXPECT_FALSE(allowed(r, "agents.writ"));
    EXPECT_FALSE(allowed(r, "agents.write "));
    EXPECT_FALSE(allowed(r, "zzz"));
  }
}

TEST(Permissions, ViewerHasNothingThatChangesAndNobodyHasMoreThanAnAdministrator) {
  for (const auto& row : permission_table()) {
    EXPECT_TRUE(row.admin) << row.permission;
    if (row.viewer) {
      EXPECT_TRUE(row.permission.ends_with(".read")) << row.permission;
      EXPECT_TRUE(row.tenant) << row.permission;
    }
  }
  EXPECT_FALSE(allowed(role::tenant, "tenants.write"));
  EXPECT_FALSE(allowed(role::viewer, "keys.read"));
}

// -- keys

class AuthenticatorTest : public testing::Test {
protected:
  /// `check` on a reader thread.
  result<caller> check(const std::string& key) {
    std::promise<result<caller>> done;
    hive.read(system_tenant, [&](persistence::store_reader& store) { done.set_value(auth.check(key, store)); });
    return done.get_future().get();
  }
  result<tenant_context> enter(const caller& who, const std::string& tenant) {
    std::promise<result<tenant_context>> done;
    hive.read(system_tenant, [&](persistence::store_reader& store) { done.set_value(auth.enter(who, tenant, store)); });
    return done.get_future().get();
  }
  authenticator auth;
  test::fake_hive hive{auth};
};

TEST_F(AuthenticatorTest, KeysAreLongRandomAndKeptAsHash) {
  const auto a = authenticator::make_key();
  const auto b = authenticator::make_key();
  EXPECT_EQ(a.text.size(), 5U + 16 + 1 + 64);
  EXPECT_NE(a.id, b.id);
  EXPECT_NE(a.text.substr(22), b.text.substr(22));
  EXPECT_EQ(authenticator::id_of(a.text), a.id);
  EXPECT_EQ(authenticator::hash_of_secret(a.text.substr(22)), a.secret_hash);
  EXPECT_EQ(authenticator::hash_of_secret("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(AuthenticatorTest, EveryBadKeyFailsAlike) {
  const auto good = hive.add_tenant("acme");
  const auto foreign = hive.add_tenant("rival");
  std::vector<std::string> bad{"", "x", "hive_", good.substr(1), good + "0", good.substr(0, good.size() - 1), std::string(good.size(), 'a'), std::string(1 << 20, 'h'),
                               "hive_" + good.substr(5, 16) + "_" + foreign.substr(22), "HIVE" + good.substr(4), std::string(good).replace(21, 1, "-"),
                               std::string(good).replace(10, 1, std::string(1, '\0')), std::string(good).replace(30, 1, "G")};
  for (std::size_t i = 22; i < good.size(); ++i) bad.push_back(std::string(good).replace(i, 1, good[i] == '0' ? "1" : "0"));
  const auto model = check(bad[0]).error();
  for (const auto& key : bad) {
    const auto r = check(key);
    ASSERT_FALSE(r) << key;
    EXPECT_EQ(to_string(r.error()), to_string(model));
    EXPECT_EQ(r.error().code, errc::unauthenticated);
    EXPECT_FALSE(auth.cached(key));
  }
  EXPECT_TRUE(check(good));
}

TEST_F(AuthenticatorTest, ACheckedKeyIsRememberedUntilItIsForgotten) {
  const auto key = hive.add_tenant("acme");
  EXPECT_FALSE(auth.cached(key));
  ASSERT_TRUE(check(key));
  ASSERT_TRUE(auth.cached(key));
  EXPECT_EQ(auth.cached(key)->tenant, "acme");
  EXPECT_FALSE(auth.cached(std::string(key).replace(50, 1, key[50] == '0' ? "1" : "0"))) << "the right id with a wrong secret";
  const auto before = auth.generation();
  auth.forget_key(authenticator::id_of(key));
  EXPECT_FALSE(auth.cached(key));
  EXPECT_GT(auth.generation(), before);
}

TEST_F(AuthenticatorTest, AKeyThatIsRemovedDuringItsCheckIsNotRemembered) {
  const auto key = hive.add_tenant("acme");
  hive.after_key_read = [&] { auth.forget_key(authenticator::id_of(key)); };
  EXPECT_TRUE(check(key)) << "it was good when it was asked for";
  EXPECT_FALSE(auth.cached(key)) << "and is asked for again the next time";
}

TEST_F(AuthenticatorTest, CacheIsBounded) {
  authenticator small({.keys = 2, .tenants = 2});
  std::vector<std::string> keys;
  for (int i = 0; i < 5; ++i) keys.push_back(hive.add_tenant("t" + std::to_string(i)));
  std::promise<void> done;
  hive.read(system_tenant, [&](persistence::store_reader& store) {
    for (const auto& k : keys) EXPECT_TRUE(small.check(k, store));
    done.set_value();
  });
  done.get_future().get();
  int known = 0;
  for (const auto& k : keys) known += small.cached(k).has_value();
  EXPECT_LE(known, 2);
  EXPECT_GE(known, 1);
}

/// As at a node among others.
class RememberingAuthenticatorTest : public AuthenticatorTest {
protected:
  result<caller> look_up(const std::string& key) {
    std::promise<result<caller>> done;
    hive.read(system_tenant, [&](persistence::store_reader& store) { done.set_value(limited.check(key, store)); });
    return done.get_future().get();
  }
  manual_clock time;
  authenticator limited{{}, &time, std::chrono::seconds{30}};
};

TEST_F(RememberingAuthenticatorTest, AKeyThatWasRemovedElsewhereAndNobodySaidSoEndsInTime) {
  const auto key = hive.add_tenant("acme");
  const auto who = look_up(key);
  ASSERT_TRUE(who);
  hive.remove_key_elsewhere(key);
  EXPECT_TRUE(limited.cached(key));
  EXPECT_TRUE(limited.in_time(*who));
  time.advance(std::chrono::seconds{23});
  EXPECT_FALSE(limited.in_time(*who)) << "who kept a copy asks again";
  time.advance(std::chrono::seconds{7});
  EXPECT_FALSE(limited.cached(key));
  EXPECT_FALSE(limited.remembers(key));
  EXPECT_FALSE(look_up(key));
}

TEST_F(RememberingAuthenticatorTest, OneOfManyUsersOfAKeyLooksItUpAgain) {
  const auto key = hive.add_tenant("acme");
  ASSERT_TRUE(look_up(key));
  time.advance(std::chrono::seconds{25});
  int told_to_read = 0;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(limited.remembers(key));
    told_to_read += limited.cached(key) ? 0 : 1;
  }
  EXPECT_EQ(told_to_read, 1);
  ASSERT_TRUE(look_up(key));
  time.advance(std::chrono::seconds{20});
  EXPECT_TRUE(limited.cached(key));
}

TEST_F(RememberingAuthenticatorTest, AKeyThatTurnsOutToBeRemovedIsForgottenByAll) {
  const auto key = hive.add_tenant("acme");
  ASSERT_TRUE(look_up(key));
  hive.remove_key_elsewhere(key);
  time.advance(std::chrono::seconds{25});
  const auto before = limited.generation();
  EXPECT_FALSE(look_up(key));
  EXPECT_FALSE(limited.remembers(key));
  EXPECT_GT(limited.generation(), before) << "streams that were begun with it end";
}

TEST_F(RememberingAuthenticatorTest, ATenantThatAnAdministratorEnteredIsLookedUpAgain) {
  hive.add_tenant("acme");
  const auto admin = *look_up(hive.add_key(system_tenant, "admin"));
  std::promise<void> entered;
  hive.read(system_tenant, [&](persistence::store_reader& store) {
    EXPECT_TRUE(limited.enter(admin, "acme", store));
    entered.set_value();
  });
  entered.get_future().get();
  EXPECT_TRUE(limited.cached_entry(admin, "acme"));
  time.advance(std::chrono::seconds{30});
  EXPECT_FALSE(limited.cached_entry(admin, "acme"));
}

TEST_F(AuthenticatorTest, TenantEntersItselfOnlyAndAnAdministratorAll) {
  const auto acme = *check(hive.add_tenant("acme"));
  hive.add_tenant("rival");
  const auto admin = *check(hive.add_key(system_tenant, "admin"));
  EXPECT_EQ(enter(acme, "acme")->tenant(), hive.id_of("acme"));
  EXPECT_EQ(enter(acme, "rival").error().code, errc::not_found);
  EXPECT_EQ(enter(acme, "absent").error().code, errc::not_found);
  EXPECT_EQ(enter(admin, "absent").error().code, errc::not_found);
  EXPECT_FALSE(auth.cached_entry(admin, "rival"));
  EXPECT_EQ(enter(admin, "rival")->tenant(), hive.id_of("rival"));
  EXPECT_EQ(auth.cached_entry(admin, "rival")->tenant(), hive.id_of("rival"));
  EXPECT_FALSE(auth.cached_entry(acme, "rival")) << "what an administrator looked up is not open to others";
  auth.forget_tenant("rival", hive.id_of("rival"));
  EXPECT_FALSE(auth.cached_entry(admin, "rival"));
  EXPECT_FALSE(auth.enter_hive(acme));
  EXPECT_EQ(auth.enter_hive(admin)->tenant(), system_tenant);
}

TEST_F(AuthenticatorTest, RoleAndTenantMustFit) {
  hive.add_tenant("acme");
  EXPECT_FALSE(check(hive.add_key(hive.id_of("acme"), "admin"))) << "an administrator's key in a tenant";
  EXPECT_FALSE(check(hive.add_key(system_tenant, "tenant")));
  EXPECT_FALSE(check(hive.add_key(hive.id_of("acme"), "root")));
}

TEST_F(AuthenticatorTest, RestoredContextIsTheOneTheKeyHad) {
  const auto who = *check(hive.add_tenant("acme"));
  EXPECT_EQ(auth.restore(who.context.tenant(), who.context.principal()), who.context);
  EXPECT_NE(auth.restore(tenant_id{99}, who.context.principal()), who.context);
  EXPECT_EQ(auth.restore(who.context.tenant(), who.context.principal()).principal_hash(), who.context.principal_hash());
}

TEST_F(AuthenticatorTest, ContextsAreInternedFromManyThreads) {
  std::vector<std::thread> threads;
  std::vector<std::vector<tenant_context>> all(4);
  for (std::size_t t = 0; t < all.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) all[t].push_back(auth.restore(tenant_id{1}, "agent:" + std::to_string(i)));
    });
  for (auto& t : threads) t.join();
  for (const auto& mine : all) EXPECT_EQ(mine, all[0]);
}

// -- the first key

class AdminKeyTest : public AuthenticatorTest {
protected:
  void SetUp() override {
    dir = std::filesystem::temp_directory_path() / ("hive-admin-key-" + std::to_string(::getpid()));
    std::filesystem::remove_all(dir);
    std::filesystem::create_directories(dir);
  }
  void TearDown() override { std::filesystem::remove_all(dir); }
  std::string text() const {
    std::string line;
    std::ifstream in(dir / "admin.key");
    std::getline(in, line);
    return line;
  }
  std::filesystem::path dir;
};

TEST_F(AdminKeyTest, IsMadeOnceOpensTheHiveAndBelongsToItsOwnerOnly) {
  const auto made = ensure_admin_key(dir, hive, auth);
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_EQ(*made, admin_key::made);
  const auto who = check(text());
  ASSERT_TRUE(who);
  EXPECT_EQ(who->as, role::admin);
  struct stat s {};
  ASSERT_EQ(::stat((dir / "admin.key").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777U, 0600U);
  const auto first = text();
  EXPECT_EQ(*ensure_admin_key(dir, hive, auth), admin_key::known);
  EXPECT_EQ(text(), first);
}

TEST_F(AdminKeyTest, AKeyOfAStoreThatIsGoneIsReplaced) {
  for (const auto& held : {authenticator::make_key().text, std::string("garbage"), std::string()}) {
    test::fake_hive fresh(auth); // the store's files were removed, or never were
    std::ofstream(dir / "admin.key", std::ios::trunc) << held << "\n";
    ASSERT_EQ(*ensure_admin_key(dir, fresh, auth), admin_key::made) << held;
    EXPECT_NE(text(), held);
    EXPECT_EQ(*ensure_admin_key(dir, fresh, auth), admin_key::known);
  }
}

TEST_F(AdminKeyTest, AKeyThatTheStoreDoesNotKnowAmongOthersIsSaidAndNotStored) {
  ASSERT_EQ(*ensure_admin_key(dir, hive, auth), admin_key::made);
  for (const auto& held : {authenticator::make_key().text, std::string("garbage"), std::string()}) {
    std::ofstream(dir / "admin.key", std::ios::trunc) << held << "\n";
    EXPECT_EQ(*ensure_admin_key(dir, hive, auth), admin_key::foreign) << held;
    EXPECT_FALSE(check(held));
    EXPECT_EQ(text(), held);
  }
}

TEST_F(AdminKeyTest, AStartThatWasCutShortIsTakenUp) {
  const auto key = authenticator::make_key();
  std::ofstream(dir / "admin.key.new") << key.text << "\n";
  ASSERT_TRUE(ensure_admin_key(dir, hive, auth));
  EXPECT_EQ(text(), key.text);
  EXPECT_TRUE(check(key.text));
  EXPECT_FALSE(std::filesystem::exists(dir / "admin.key.new"));
}

TEST_F(AdminKeyTest, HalfAFileIsReplaced) {
  std::ofstream(dir / "admin.key.new") << "hive_0123";
  ASSERT_TRUE(ensure_admin_key(dir, hive, auth));
  EXPECT_TRUE(check(text()));
}

TEST_F(AdminKeyTest, DirectoryThatCannotBeWrittenIsSaid) {
  const auto r = ensure_admin_key(dir / "absent", hive, auth);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "admin_key_file");
}

// -- wrong keys

class WrongKeysTest : public testing::Test {
protected:
  static wrong_keys::address v4(unsigned char last) { return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 0, 0, last}; }
  static wrong_keys::address v6(unsigned char network, unsigned char host) { return {0x20, 0x01, 0, 0, 0, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, host}; }
  std::size_t allowed(wrong_keys& keys, const wrong_keys::address& from, std::size_t tries) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < tries; ++i) n += keys.begin(from, "", now).look_up ? 1 : 0;
    return n;
  }
  steady_time now{std::chrono::hours{5}};
};

TEST_F(WrongKeysTest, AsManyAMinuteAsAllowedThenTheRestOfItIsWaitedFor) {
  wrong_keys keys(3);
  EXPECT_EQ(allowed(keys, v4(1), 10), 3U);
  now += std::chrono::seconds{20};
  EXPECT_EQ(keys.begin(v4(1), "", now).wait, std::chrono::milliseconds{40'000});
  EXPECT_EQ(allowed(keys, v4(2), 10), 3U) << "another address";
  now += std::chrono::seconds{40};
  EXPECT_EQ(allowed(keys, v4(1), 10), 3U) << "the next minute";
}

TEST_F(WrongKeysTest, RightOnesDoNotCount) {
  wrong_keys keys(2);
  for (int i = 0; i < 100; ++i) {
    const auto shown = keys.begin(v4(1), "id", now);
    ASSERT_TRUE(shown.look_up);
    keys.ended(v4(1), shown, true);
  }
  EXPECT_EQ(allowed(keys, v4(1), 10), 2U);
  keys.ended(v4(7), {}, true); // never seen
}

TEST_F(WrongKeysTest, BeyondThemOneKeyAtATimeIsStillLookedUpAndEachIdAFewTimes) {
  wrong_keys keys(1);
  EXPECT_EQ(allowed(keys, v4(1), 1), 1U);
  const auto first = keys.begin(v4(1), "a", now);
  EXPECT_TRUE(first.look_up);
  EXPECT_EQ(first.wait, std::chrono::minutes{1}) << "if it is wrong";
  EXPECT_FALSE(keys.begin(v4(1), "b", now).look_up) << "one at a time";
  keys.ended(v4(1), first, false);
  std::size_t looked_up = 1;
  for (int i = 0; i < 30; ++i) {
    const auto v = keys.begin(v4(1), "a", now);
    looked_up += v.look_up ? 1 : 0;
    if (v.look_up) keys.ended(v4(1), v, false);
  }
  EXPECT_EQ(looked_up, 10U);
  for (int i = 0; i < 30; ++i) {
    const auto v = keys.begin(v4(1), "right", now);
    ASSERT_TRUE(v.look_up) << "right ones do not count";
    keys.ended(v4(1), v, true);
  }
  EXPECT_FALSE(keys.begin(v4(1), "", now).look_up) << "no key at all";
}

TEST_F(WrongKeysTest, NetworkOfAnIPv6AddressCountsAsOneAndAnIPv4AddressByItself) {
  wrong_keys keys(4);
  std::size_t n = 0;
  for (unsigned char host = 0; host < 50; ++host) n += allowed(keys, v6(1, host), 1);
  EXPECT_EQ(n, 4U);
  EXPECT_EQ(allowed(keys, v6(2, 0), 10), 4U);
  for (unsigned char last = 0; last < 50; ++last) EXPECT_EQ(allowed(keys, v4(last), 5), 4U);
}

TEST_F(WrongKeysTest, MemoryIsBoundedHoweverManyAddressesThereAre) {
  wrong_keys keys(1, 100);
  for (unsigned n = 0; n < 10'000; ++n) {
    auto a = v4(static_cast<unsigned char>(n));
    a[13] = static_cast<unsigned char>(n >> 8U);
    keys.begin(a, "", now);
    ASSERT_LE(keys.addresses(), 100U);
    now += std::chrono::milliseconds{1};
  }
  auto newest = v4(static_cast<unsigned char>(9'999));
  newest[13] = static_cast<unsigned char>(9'999U >> 8U);
  EXPECT_FALSE(keys.begin(newest, "", now).look_up) << "the newest are remembered";
  now += std::chrono::minutes{2};
  EXPECT_TRUE(keys.begin(v4(1), "", now).look_up);
  EXPECT_EQ(keys.addresses(), 1U) << "and forgotten when their minute is over";
}

} // namespace
} // namespace hive::security
