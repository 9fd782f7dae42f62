// A hived with an agent that tells another at random, by name, whatever it is told: turns in memory, for cluster_bench.
// Told "start", a number, it sends so many messages on their way. Config: {"agents": N}: they are called a0 .. a(N-1).
#include "runtime/node/daemon.hpp"

namespace {

using namespace hive::actors;

class hop final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    const auto agents = self.config().at("agents").get<std::uint64_t>();
    const bool start = m.type == "start";
    const auto count = start ? std::stoull(m.body.bytes) : 1;
    if (start) m.body = {std::string(64, 'x'), hive::content_type::binary};
    for (std::uint64_t i = 0; i < count; ++i) self.tell("a" + std::to_string(self.random().below(agents)), "hop", m.body);
    co_return;
  }
};

} // namespace

int main(int argc, char** argv) {
  return hive::node::run_daemon(argc, argv, [](behaviour_registry& behaviours) { behaviours.add("hop", std::make_unique<hop>()); });
}
