// A hived with an agent that kills or holds its process on request: for poison_test.py.
#include "runtime/node/daemon.hpp"

#include <atomic>
#include <csignal>

namespace {

using namespace hive::actors;

class saboteur final : public behaviour {
public:
  task<> handle(turn& self, message m) const override {
    static std::atomic<bool> endless{true}; // a volatile local is none in a coroutine's frame (GCC 12)
    if (m.type == "abort") std::abort();
    if (m.type == "segfault") ::raise(SIGSEGV);
    std::vector<std::string> meal;
    while (m.type == "eat") meal.emplace_back(16UL << 20U, 'x');
    while (m.type == "loop" && endless.load(std::memory_order_relaxed)) {}
    self.reply(json_payload({{"did", m.type}}));
    co_return;
  }
};

} // namespace

int main(int argc, char** argv) {
  return hive::node::run_daemon(argc, argv, [](behaviour_registry& behaviours) { behaviours.add("saboteur", std::make_unique<saboteur>()); });
}
