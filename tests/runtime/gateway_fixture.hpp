/// @file
/// A gateway on a free port over a hive in memory, with two tenants and a key for each role.
#pragma once

#include "runtime/api/gateway.hpp"
#include "tests/runtime/fake_hive.hpp"
#include "tests/runtime/raw_http.hpp"

#include <gtest/gtest.h>

namespace hive::test {

class GatewayTest : public testing::Test {
protected:
  /// @param remember as at a node among others; 0: as at one that is alone.
  explicit GatewayTest(std::chrono::milliseconds remember = {}) : auth({}, remember.count() != 0 ? &clock : nullptr, remember) { limits.http = "127.0.0.1:0"; }

  void SetUp() override {
    acme = hive.add_tenant("acme");
    rival = hive.add_tenant("rival");
    viewer = hive.add_key(hive.id_of("acme"), "viewer");
    admin = hive.add_key(system_tenant, "admin");
    hive.add_agent("acme", "bob");
    hive.add_agent("rival", "eve");
    gateway = std::make_unique<api::gateway>(limits, hive, auth, metrics);
    auto started = gateway->start();
    ASSERT_TRUE(started) << to_string(started.error());
    port = *started;
  }

  static std::string request(const std::string& verb, const std::string& path, const std::string& key, const std::string& body = {},
                             const std::string& headers = {}) {
    std::string out = verb + " " + path + " HTTP/1.1\r\nHost: hive\r\n";
    if (!key.empty()) out += "Authorization: Bearer " + key + "\r\n";
    if (!body.empty() || verb == "POST" || verb == "PUT") out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return out + headers + "\r\n" + body;
  }
  http_answer send(const std::string& verb, const std::string& path, const std::string& key, const std::string& body = {},
                   const std::string& headers = {}) const {
    raw_http http(port);
    http.send(request(verb, path, key, body, headers));
    return http.answer();
  }
  http_answer raw(const std::string& bytes) const {
    raw_http http(port);
    http.send(bytes);
    return http.answer();
  }
  http_answer ask(const std::string& body, const std::string& headers = {}) const {
    return send("POST", "/v1/tenants/acme/agents/bob:ask", acme, body, headers);
  }

  config::api_limits limits;
  manual_clock clock;
  security::authenticator auth;
  fake_hive hive{auth};
  ops::metrics metrics{hive, nullptr, 100};
  std::unique_ptr<api::gateway> gateway;
  std::uint16_t port = 0;
  std::string acme, rival, viewer, admin; ///< Keys.
};

} // namespace hive::test
