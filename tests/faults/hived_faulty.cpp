// A hived with an agent that kills or holds its process on request: for poison_test.py.
#include "runtime/node/daemon.hpp"

#include <csignal>

namespace {

using namespace hive::actors;

class saboteur final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    if (m.type == "abort") std::abort();
    if (m.type == "segfault") ::raise(SIGSEGV);
    for (volatile bool endless = m.type == "loop"; endless;) {}
    self.reply(json_payload({{"did", m.type}}));
    co_return;
  }
};

} // namespace

int main(int argc, char** argv) {
  return hive::node::run_daemon(argc, argv, [](behaviour_registry& behaviours) { behaviours.add("saboteur", std::make_unique<saboteur>()); });
}
