// A hived with an agent that tells another at random, by name, whatever it is told: turns in memory, for cluster_bench.
// Config: {"agents": N}: they are called a0 .. a(N-1).
#include "runtime/node/daemon.hpp"

namespace {

using namespace hive::actors;

class hop final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    const std::string next = "a" + std::to_string(self.random().below(self.config().at("agents").get<std::uint64_t>()));
    self.tell(next, "hop", std::move(m.body));
    co_return;
  }
};

} // namespace

int main(int argc, char** argv) {
  return hive::node::run_daemon(argc, argv, [](behaviour_registry& behaviours) { behaviours.add("hop", std::make_unique<hop>()); });
}
