/// @file
/// gateway_load [PORT]: the gateway over a hive in memory, to see with a load generator what a request costs without turns
/// and disk. Prints the key; serves until standard input ends.
#include "runtime/api/gateway.hpp"
#include "tests/runtime/fake_hive.hpp"

#include <iostream>

int main(int argc, char** argv) {
  hive::security::authenticator auth;
  hive::test::fake_hive fake(auth);
  hive::ops::metrics metrics(fake, nullptr, 10);
  hive::config::api_limits limits;
  limits.http = "127.0.0.1:" + std::string(argc > 1 ? argv[1] : "0");
  std::cout << "key " << fake.add_tenant("acme") << '\n';
  for (int i = 0; i < 10'000; ++i) fake.add_agent("acme", "a" + std::to_string(i));
  hive::api::gateway gateway(limits, fake, auth, metrics);
  const auto port = gateway.start();
  if (!port) {
    std::cerr << to_string(port.error()) << '\n';
    return 1;
  }
  std::cout << "port " << *port << std::endl;
  std::cin.ignore(1 << 30);
  std::cin.get();
}
