// Question: 10,000 agents under 100 supervisors crash at once; how long until all are back? Data: `one_for_one`, intensity
// just what the storm needs, so that one restart counted twice would end a supervisor; each agent has a message waiting,
// which its next life handles. Measured from the first crash message to the last of these. Beside it: Erlang/OTP.
// Target: <= 300 ms. Options: --agents N --supervisors N --rounds N
#include "bench/support/local_hive.hpp"
#include "config/base/log.hpp"

using namespace hive;

namespace {

std::atomic<std::uint64_t> alive{0};

class phoenix final : public actors::behaviour {
public:
  actors::task<> handle(actors::turn&, actors::message m) const override {
    if (m.type == "crash") throw std::runtime_error("crash was asked for");
    alive.fetch_add(1, std::memory_order_relaxed);
    co_return;
  }
};

void wait_for(std::uint64_t wanted) {
  const auto until = bench::clock::now() + std::chrono::minutes{1};
  while (alive.load(std::memory_order_relaxed) < wanted) {
    if (bench::clock::now() > until) {
      std::fprintf(stderr, "only %llu of %llu are back after a minute\n", static_cast<unsigned long long>(alive.load()), static_cast<unsigned long long>(wanted));
      std::_Exit(1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds{100});
  }
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto agents = o.number("agents", 10'000);
  const auto supervisors = o.number("supervisors", 100);
  const auto rounds = o.number("rounds", 5);
  hive::log::open({"/dev/null", false, hive::log::level::error});
  bench::temp_dir dir;
  bench::local_hive hive(dir.path() + "/data", {}, [](auto& b) { b.add("phoenix", std::make_unique<phoenix>()); });
  const auto who = hive.tenant("bench");
  nlohmann::json groups = nlohmann::json::array();
  for (std::uint64_t i = 0; i < supervisors; ++i)
    groups.push_back({{"name", "s" + std::to_string(i)}, {"spec", {{"intensity", (agents + supervisors - 1) / supervisors}, {"period_ms", 1000}}}});
  nlohmann::json children = nlohmann::json::array();
  for (std::uint64_t i = 0; i < agents; ++i)
    children.push_back({{"name", "a" + std::to_string(i)}, {"spec", {{"behaviour", "phoenix"}, {"supervisor", "s" + std::to_string(i % supervisors)}}}});
  hive.ask_now(who, {entity_kind::tenant, ""}, "directory.apply", nlohmann::json{{"supervisors", std::move(groups)}, {"agents", std::move(children)}}.dump());
  std::vector<entity_id> ids;
  for (std::uint64_t i = 0; i < agents; ++i) ids.push_back(*hive.host().resolve_now(who, entity_kind::agent, "a" + std::to_string(i)));
  std::vector<entity_id> above;
  for (std::uint64_t i = 0; i < supervisors; ++i) above.push_back(*hive.host().resolve_now(who, entity_kind::supervisor, "s" + std::to_string(i)));
  const payload nothing{"null", content_type::json};
  for (const auto id : ids) hive.host().tell_id(who, id, "alive", nothing);
  wait_for(agents);

  std::vector<double> took;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds{1500}); // out of the window
    const auto began = bench::clock::now();
    for (const auto id : ids) hive.host().tell_id(who, id, "crash", nothing);
    for (const auto id : ids) hive.host().tell_id(who, id, "alive", nothing);
    wait_for(agents * (round + 1));
    took.push_back(std::chrono::duration<double, std::micro>(bench::clock::now() - began).count());
  }

  std::promise<std::size_t> wrong;
  std::vector<actors::status_subject> all;
  for (const auto& list : {ids, above})
    for (const auto id : list) all.push_back({id, {}});
  hive.host().statuses(who, all, [&](std::unordered_map<entity_id, nlohmann::json> found) {
    std::size_t n = 0;
    for (const auto id : ids) n += found[id].value("incarnation", 0U) != rounds ? 1 : 0;
    for (const auto id : above) n += found[id].value("incarnation", 0U) != 0 ? 1 : 0;
    wrong.set_value(n);
  });
  const auto mistakes = wrong.get_future().get();
  const auto p = bench::percentiles_of(took);
  const auto erlang = bench::erlang("storm " + std::to_string(agents) + " " + std::to_string(supervisors) + " " + std::to_string(rounds));
  const double theirs = erlang.is_null() ? 0 : erlang["p50_us"].get<double>();
  bench::report("restart storm, all back", static_cast<double>(agents) / (p.p50 / 1e6), p,
                {{"seed", bench::options::seed()}, {"agents", agents}, {"supervisors", supervisors}, {"wrong_lives", mistakes}, {"erlang", erlang}, {"ratio_p50_to_erlang", theirs > 0 ? p.p50 / theirs : 0}});
  if (theirs > 0) std::printf("  Erlang/OTP beside it: p50 %.0f us: %.2f times\n", theirs, p.p50 / theirs);
  return mistakes == 0 ? 0 : 1;
}
