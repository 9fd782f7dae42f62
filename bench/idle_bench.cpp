// Question: what does an agent cost that does nothing, active in memory and registered on disk only?
// Data: N agents of one spec registered; then one tell each, so that all are active. Beside it: Erlang hibernated 883 B,
// plain 2,694 B a process. Targets: <= 800 B an active agent at 1,000,000; registered ones cost memory nothing
// (10,000,000 in <= 1 GiB). Options: --agents N (default 1,000,000) --registered N (default: agents)
#include "bench/support/local_hive.hpp"

using namespace hive;

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto agents = o.number("agents", 1'000'000);
  const auto registered = std::max(agents, o.number("registered", agents));
  bench::temp_dir dir;
  bench::local_hive hive(dir.path() + "/data", [](config::settings& s) { s.passivation.idle = std::chrono::hours{2}; });
  const auto who = hive.tenant("bench");
  const auto empty = bench::resident_bytes();
  auto began = bench::clock::now();
  for (std::size_t i = 0; i < registered; i += 100'000) {
    hive.add_agents(who, "r" + std::to_string(i) + "-", std::min<std::size_t>(100'000, registered - i), "echo");
    std::fprintf(stderr, "\rregistered %zu of %llu", i, static_cast<unsigned long long>(registered));
  }
  std::fprintf(stderr, "\n");
  const double registering = std::chrono::duration<double>(bench::clock::now() - began).count();
  const auto after_registering = bench::resident_bytes();
  bench::report("registered agents", static_cast<double>(registered) / registering, {},
                {{"agents", registered}, {"resident_bytes", after_registering}, {"resident_before", empty},
                 {"bytes_each", static_cast<double>(after_registering - std::min(empty, after_registering)) / static_cast<double>(registered)}});
  std::printf("%llu registered: %.1f MiB resident in all\n", static_cast<unsigned long long>(registered), static_cast<double>(after_registering) / 1048576.0);

  began = bench::clock::now();
  const auto first = entity_id{who.tenant(), actors::first_free_serial};
  for (std::uint64_t i = 0; i < agents; ++i) {
    hive.host().tell_id(who, entity_id{who.tenant(), first.serial() + i}, "x", {"null", content_type::json});
    while (i % 1000 == 0 && hive.host().read_gauges().queued_messages > 20'000) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  while (hive.host().read_gauges().queued_messages > 0 || hive.host().read_gauges().activations < agents) std::this_thread::sleep_for(std::chrono::milliseconds{20});
  const double activating = std::chrono::duration<double>(bench::clock::now() - began).count();
  const auto active = bench::resident_bytes();
  const double each = static_cast<double>(active - std::min(active, after_registering)) / static_cast<double>(agents);
  bench::report("active idle agents", static_cast<double>(agents) / activating, {},
                {{"agents", agents}, {"bytes_each", each}, {"ratio_to_erlang_hibernated_883", each / 883.0}});
  std::printf("%llu active: %.0f B each\n", static_cast<unsigned long long>(agents), each);
}
