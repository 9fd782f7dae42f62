// Question: what do a million pending timers cost in memory, and how late do they fire?
// Data: N agents (10,000) with timers an hour away, N pending (1,000,000), then R due a second (2,000) for S seconds beside
// them. Lag: from a timer's time to the start of its turn, by the wall clock (1 ms steps). Baseline in the same run: asks at
// the same rate, from sending to the start of their turn. Targets: lag p99 <= 250 ms, memory <= 200 B a timer.
// Options: --pending N --agents N --rate R --seconds S
#include "bench/support/local_hive.hpp"

using namespace hive;

namespace {

std::mutex guard;
std::vector<double> lags;
std::atomic<std::uint64_t> early{0};

std::int64_t now_micros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}
void came(std::int64_t due_micros) {
  const auto late = now_micros() - due_micros;
  if (late < 0) early.fetch_add(1);
  std::lock_guard lock(guard);
  lags.push_back(static_cast<double>(late));
}

class alarm_clock final : public actors::behaviour {
public:
  actors::task<> handle(actors::turn& self, actors::message m) const override {
    const auto body = m.parse();
    if (m.type == "set") {
      for (const auto& ms : body) {
        const wall_time due{std::chrono::milliseconds{ms.get<std::int64_t>()}};
        payload note{std::to_string(ms.get<std::int64_t>() * 1000), content_type::json};
        self.at(due, "ring", std::move(note));
      }
    } else came(body.get<std::int64_t>());
    co_return;
  }
};

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto pending = o.number("pending", 1'000'000);
  const auto agents = o.number("agents", 10'000);
  const auto rate = o.number("rate", 2'000);
  const auto seconds = o.number("seconds", 10);
  bench::temp_dir dir;
  bench::local_hive hive(dir.path() + "/data", {}, [](actors::behaviour_registry& b) { b.add("alarm", std::make_unique<alarm_clock>()); });
  const auto who = hive.tenant("bench");
  hive.add_agents(who, "a", agents, "alarm");
  random_source chance(bench::options::seed());
  const auto set = [&](std::size_t agent, const nlohmann::json& times, std::atomic<std::size_t>& open) {
    while (open > 256) std::this_thread::sleep_for(std::chrono::microseconds{100});
    open += 1;
    hive.host().ask(who, {{entity_kind::agent, "a" + std::to_string(agent)}, "set", {times.dump(), content_type::json}, {}, {}, false, {}},
                    actors::on_reply([&open](result<actors::ask_answer>) { open -= 1; }));
  };
  std::atomic<std::size_t> open{0};
  const auto wall = [] { return now_micros() / 1000; };
  for (std::size_t i = 0; i < agents; ++i) set(i, nlohmann::json::array(), open); // active before the memory is read
  while (open != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  const auto before = bench::resident_bytes();
  const auto began = bench::clock::now();
  constexpr std::size_t page = 100;
  for (std::size_t i = 0; i < pending / page; ++i) {
    nlohmann::json times = nlohmann::json::array();
    for (std::size_t j = 0; j < page; ++j) times.push_back(wall() + 3'600'000 + static_cast<std::int64_t>(chance.below(86'400'000)));
    set(chance.below(agents), times, open);
  }
  while (open != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  std::this_thread::sleep_for(std::chrono::seconds{1});
  const double took = std::chrono::duration<double>(bench::clock::now() - began).count();
  const double each = (static_cast<double>(bench::resident_bytes()) - static_cast<double>(before)) / static_cast<double>(pending);
  bench::report("set " + std::to_string(pending) + " timers", static_cast<double>(pending) / took, {},
                {{"resident_bytes_each", each}, {"agents", agents}, {"seed", bench::options::seed()}});
  std::printf("resident bytes for each pending timer: %.1f\n", each);

  const auto start = wall() + 2'000;
  const auto due = rate * seconds;
  for (std::size_t i = 0; i < due; i += 10) {
    nlohmann::json times = nlohmann::json::array();
    for (std::size_t j = i; j < i + 10; ++j) times.push_back(start + static_cast<std::int64_t>(j * 1000 / rate));
    set(chance.below(agents), times, open);
  }
  for (int i = 0; i < 600; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
    std::lock_guard lock(guard);
    if (lags.size() >= due && wall() > start + static_cast<std::int64_t>(seconds * 1000)) break;
  }
  std::vector<double> mine;
  {
    std::lock_guard lock(guard);
    mine.swap(lags);
  }
  const auto fired = mine.size();
  auto p = bench::percentiles_of(mine);
  // The same load by asks that say when they were sent.
  const auto ask_start = bench::clock::now();
  for (std::size_t i = 0; i < rate * 3; ++i) {
    std::this_thread::sleep_until(ask_start + std::chrono::microseconds{i * 1'000'000 / rate});
    hive.host().ask(who, {{entity_kind::agent, "a" + std::to_string(chance.below(agents))}, "ring", {std::to_string(now_micros()), content_type::json}, {}, {}, false, {}},
                    actors::on_reply([](result<actors::ask_answer>) {}));
  }
  std::this_thread::sleep_for(std::chrono::seconds{1});
  std::vector<double> asked;
  {
    std::lock_guard lock(guard);
    asked.swap(lags);
  }
  const auto q = bench::percentiles_of(asked);
  bench::report("baseline: asks at the same rate", static_cast<double>(rate), q, {{"seed", bench::options::seed()}});
  bench::report("lag of timers, " + std::to_string(rate) + " due a second", static_cast<double>(fired) / static_cast<double>(seconds), p,
                {{"pending", pending}, {"expected", due}, {"fired", fired}, {"early", early.load()}, {"resident_bytes_each", each},
                 {"ratio_p99_to_asks", p.p99 / std::max(1.0, q.p99)}, {"seed", bench::options::seed()}});
  return fired == due && early == 0 ? 0 : 1;
}
