// Question: how many tells whose turns change nothing durable does one node handle, and how long does one wait at half
// that load? Data: 10,000 agents, 64 B, N tells in flight, each turn tells another agent at random, by name; Erlang/OTP
// does the same beside it, by pid and nothing recorded; then tells from a thread outside, as fast as its window allows, and
// at half that rate, one in fifty timed. Targets: >= 3,000,000/s; p99 <= 100 us at half load.
// Options: --agents N --seconds S --senders N --window N --shards N --inflight N --only forward
#include "bench/support/local_hive.hpp"

#include <sys/prctl.h>

using namespace hive;

namespace {

std::atomic<std::uint64_t> handled{0};
std::mutex guard;
std::vector<double> waits; // microseconds, sampled

std::atomic<bool> forwarding{true};
std::size_t agent_count = 0;

/// Tells the next agent at random.
class hop_behaviour final : public actors::behaviour {
public:
  actors::task<> handle(actors::turn& self, actors::message m) const override {
    thread_local std::uint64_t mine = 0;
    if (++mine % 64 == 0) handled.fetch_add(64, std::memory_order_relaxed);
    if (forwarding.load(std::memory_order_relaxed)) self.tell("h" + std::to_string(self.random().below(agent_count)), "hop", std::move(m.body));
    co_return;
  }
};

/// Takes a tell and counts it; a body of 8 bytes or more begins with the time it was sent (0: not sampled).
class sink_behaviour final : public actors::behaviour {
public:
  actors::task<> handle(actors::turn&, actors::message m) const override {
    thread_local std::uint64_t mine = 0;
    if (++mine % 64 == 0) handled.fetch_add(64, std::memory_order_relaxed);
    std::int64_t sent = 0;
    std::memcpy(&sent, m.body.bytes.data(), 8);
    if (sent != 0) {
      const double took = static_cast<double>(bench::clock::now().time_since_epoch().count() - sent) / 1000.0;
      std::lock_guard lock(guard);
      waits.push_back(took);
    }
    co_return;
  }
};

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto agents = o.number("agents", 10'000);
  const auto seconds = static_cast<double>(o.number("seconds", 4));
  const auto senders = o.number("senders", 1);
  const auto window = o.number("window", 4'000);
  bench::temp_dir dir;
  const auto shards = o.number("shards", 0);
  bench::local_hive hive(dir.path() + "/data", [&](config::settings& s) { if (shards != 0) s.node.shards = static_cast<decltype(s.node.shards)>(shards); }, [](auto& b) {
    b.add("sink", std::make_unique<sink_behaviour>());
    b.add("hop", std::make_unique<hop_behaviour>());
  });
  const auto who = hive.tenant("bench");
  hive.add_agents(who, "s", agents, "sink");
  std::vector<std::string> names;
  for (std::size_t i = 0; i < agents; ++i) names.push_back("s" + std::to_string(i));
  for (const auto& n : names) (void)hive.host().resolve_now(who, entity_kind::agent, n);

  hive.add_agents(who, "h", agents, "hop");
  agent_count = agents;
  for (std::size_t i = 0; i < agents; ++i) (void)hive.host().resolve_now(who, entity_kind::agent, "h" + std::to_string(i));
  double beside = 0; // Erlang's
  for (const auto in_flight : {o.number("inflight", 1000), std::uint64_t{1}}) {
    forwarding = true;
    for (std::uint64_t i = 0; i < in_flight; ++i)
      hive.host().tell_id(who, *hive.host().resolve_now(who, entity_kind::agent, "h" + std::to_string(i % agents)), "hop", {std::string(64, 'x'), content_type::binary});
    std::this_thread::sleep_for(std::chrono::milliseconds{700});
    const auto before = handled.load();
    const auto began = bench::clock::now();
    const double cpu = bench::cpu_seconds();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const double cpu_ns = (bench::cpu_seconds() - cpu) * 1e9 / static_cast<double>(handled.load() - before);
    const double rate = static_cast<double>(handled.load() - before) / std::chrono::duration<double>(bench::clock::now() - began).count();
    forwarding = false;
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    const auto erlang = bench::erlang("tell " + std::to_string(agents) + " " + std::to_string(in_flight) + " " + std::to_string(static_cast<std::uint64_t>(seconds * 1000)));
    const double theirs = erlang.is_null() ? 0 : erlang["per_second"].get<double>();
    beside = std::max(beside, theirs);
    bench::report("tell agent to agent, " + std::to_string(in_flight) + " in flight", rate, {},
                  {{"seed", bench::options::seed()}, {"agents", agents}, {"in_flight", in_flight}, {"cpu_ns_each", cpu_ns}, {"erlang", erlang}, {"ratio_to_erlang", theirs > 0 ? rate / theirs : 0}});
    if (theirs > 0) std::printf("  %.0f ns of CPU each; Erlang/OTP beside it: %.0f/s, %.0f ns: %.2f times\n", cpu_ns, theirs, erlang["cpu_ns_each"].get<double>(), rate / theirs);
  }

  if (o.text("only", "") == "forward") return 0;

  /// @param per_second 0: as fast as the window allows.
  const auto run = [&](const std::string& name, double per_second, double share_sampled) {
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> sent{0};
    handled = 0;
    waits.clear();
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < senders; ++t)
      threads.emplace_back([&, t] {
        random_source random(bench::options::seed() + t);
        payload body{std::string(64, '\0'), content_type::binary};
        const std::string type = "tick";
        const auto began = bench::clock::now();
        std::uint64_t mine = 0;
        std::uint64_t due = 0;
        prctl(PR_SET_TIMERSLACK, 1); // nanosecond: a sleep ends when it should
        while (!stop.load(std::memory_order_relaxed)) {
          if (per_second > 0 && mine >= due) { // a few at a time, on a schedule; asleep in between, as the cores are for the turns
            due = static_cast<std::uint64_t>(std::chrono::duration<double>(bench::clock::now() - began).count() * per_second / static_cast<double>(senders));
            if (mine >= due) std::this_thread::sleep_for(std::chrono::microseconds{20});
            continue;
          }
          if (per_second == 0 && sent.load(std::memory_order_relaxed) > handled.load(std::memory_order_relaxed) + window + 64 * 8) {
            std::this_thread::yield();
            continue;
          }
          const bool sample = share_sampled > 0 && random.one_in(static_cast<std::uint64_t>(1 / share_sampled));
          const std::int64_t now = sample ? bench::clock::now().time_since_epoch().count() : 0;
          std::memcpy(body.bytes.data(), &now, 8);
          const auto& to = names[random.below(names.size())];
          hive.host().tell_id(who, *hive.host().resolve_now(who, entity_kind::agent, to), type, body);
          if (++mine % 16 == 0) sent.fetch_add(16, std::memory_order_relaxed);
        }
      });
    std::this_thread::sleep_for(std::chrono::milliseconds{700});
    {
      std::lock_guard lock(guard);
      waits.clear();
    }
    const auto before = handled.load();
    const auto began = bench::clock::now();
    const double cpu = bench::cpu_seconds();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const double cpu_ns = (bench::cpu_seconds() - cpu) * 1e9 / static_cast<double>(handled.load() - before);
    const double rate = static_cast<double>(handled.load() - before) / std::chrono::duration<double>(bench::clock::now() - began).count();
    stop = true;
    for (auto& t : threads) t.join();
    std::vector<double> sampled;
    {
      std::lock_guard lock(guard);
      sampled = waits;
    }
    bench::report(name, rate, bench::percentiles_of(sampled),
                  {{"seed", bench::options::seed()}, {"agents", agents}, {"senders", senders}, {"cpu_ns_each", cpu_ns}, {"ratio_to_erlang", beside > 0 ? rate / beside : 0}});
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    return rate;
  };
  const double most = run("tell, as fast as it goes", 0, 0.01);
  run("tell, half load", most / 2, 0.02);
}
