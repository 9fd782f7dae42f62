// Question: how long from an agent's crash to its next life, same node? Data: one agent, N crashes one after the other;
// the time from the throw to the first turn of the new life, whose message waits in the mailbox. Beside it: Erlang/OTP, from
// the exit to the child's next first moment. Targets: p50 <= 50 us, p99 <= 300 us. Options: --crashes N
#include "bench/support/local_hive.hpp"
#include "config/base/log.hpp"

using namespace hive;

namespace {

std::atomic<std::int64_t> thrown_at{0};
std::mutex guard;
std::vector<double> took;
std::atomic<std::uint64_t> lives{0};

class phoenix final : public actors::behaviour {
public:
  actors::task<> handle(actors::turn&, actors::message m) const override {
    if (m.type == "crash") {
      thrown_at = bench::clock::now().time_since_epoch().count();
      throw std::runtime_error("crash was asked for");
    }
    const double micros = static_cast<double>(bench::clock::now().time_since_epoch().count() - thrown_at) / 1000.0;
    std::lock_guard lock(guard);
    took.push_back(micros);
    lives.fetch_add(1);
    co_return;
  }
};

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto crashes = o.number("crashes", 5'000);
  hive::log::open({"/dev/null", false, hive::log::level::error});
  bench::temp_dir dir;
  bench::local_hive hive(dir.path() + "/data", [](config::settings& s) { s.supervisor.root_intensity = 1'000'000; },
                         [](auto& b) { b.add("phoenix", std::make_unique<phoenix>()); });
  const auto who = hive.tenant("bench");
  hive.add_agents(who, "p", 1, "phoenix");
  const auto id = *hive.host().resolve_now(who, entity_kind::agent, "p0");
  const auto began = bench::clock::now();
  for (std::uint64_t i = 0; i < crashes; ++i) {
    hive.host().tell_id(who, id, "crash", {"null", content_type::json});
    hive.host().tell_id(who, id, "alive", {"null", content_type::json});
    while (lives.load() <= i) {}
  }
  const double seconds = std::chrono::duration<double>(bench::clock::now() - began).count();
  const auto p = bench::percentiles_of(took);
  const auto erlang = bench::erlang("restart " + std::to_string(crashes));
  const auto ratio = [&](const char* to, double of) { return erlang.is_null() ? 0 : of / erlang[to].get<double>(); };
  bench::report("crash to restarted agent", static_cast<double>(crashes) / seconds, p,
                {{"seed", bench::options::seed()}, {"erlang", erlang}, {"ratio_p50_to_erlang", ratio("p50_us", p.p50)}, {"ratio_p99_to_erlang", ratio("p99_us", p.p99)}});
  if (!erlang.is_null())
    std::printf("  Erlang/OTP beside it: p50 %.1f, p99 %.1f us: %.2f and %.2f times\n", erlang["p50_us"].get<double>(), erlang["p99_us"].get<double>(), ratio("p50_us", p.p50), ratio("p99_us", p.p99));
}
