// Question: how many durable sends from agent to agent does one node carry, from the sender's turn to the receiver's
// committed turn? Data: relays that send `append` to ledgers; N asks to relays in flight, counted at the ledgers.
// Target: >= 40,000/s. Baseline in the same run: raw pwrite+fdatasync of 4 KiB, one after another.
// Options: --pairs N --seconds S --inflight N --burst N (sends a turn)
#include "bench/support/local_hive.hpp"

using namespace hive;

namespace {

/// Sends `burst` appends to its ledger at each ask.
class burst_behaviour final : public actors::behaviour {
public:
  actors::task<> handle(actors::turn& self, actors::message m) const override {
    const auto burst = std::stoull(m.body.bytes);
    const std::string to = "l" + self.name().substr(1);
    for (std::uint64_t i = 0; i < burst; ++i) self.send(to, "append", {R"({"op":"x"})", content_type::json});
    self.reply({"true", content_type::json});
    co_return;
  }
};

struct loop {
  bench::local_hive& hive;
  tenant_context who;
  std::size_t pairs;
  std::string body;
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> running{0};
  std::atomic<std::uint64_t> next{0};
  void send() {
    const auto i = next.fetch_add(1) % pairs;
    hive.host().ask(who, {{entity_kind::agent, "b" + std::to_string(i)}, "go", {body, content_type::json}, {}, {}, false, {}},
                    actors::on_reply([this](result<actors::ask_answer>) {
                      if (stop) running.fetch_sub(1);
                      else send();
                    }));
  }
};

std::uint64_t counted(bench::local_hive& hive, tenant_context who, std::size_t pairs) {
  std::uint64_t n = 0;
  for (std::size_t i = 0; i < pairs; ++i) {
    std::promise<std::uint64_t> got;
    hive.host().explain(who, {entity_kind::agent, "l" + std::to_string(i)}, [&](result<actors::explanation> e) {
      got.set_value(e && e->contains("logs") ? e->at("logs").value("ops", std::uint64_t{0}) : 0);
    });
    n += got.get_future().get();
  }
  return n;
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto pairs = o.number("pairs", 1000);
  const auto seconds = static_cast<double>(o.number("seconds", 5));
  for (const auto burst : {std::uint64_t{1}, o.number("burst", 8)}) {
    bench::temp_dir dir;
    const auto raw = bench::raw_fdatasync(dir.path()); // as many a second, one after another, as the disk syncs
    bench::local_hive hive(dir.path() + "/data", {}, [](auto& b) { b.add("burst", std::make_unique<burst_behaviour>()); });
    const auto who = hive.tenant("bench");
    hive.add_agents(who, "l", pairs, "ledger");
    hive.add_agents(who, "b", pairs, "burst");
    loop l{hive, who, pairs, std::to_string(burst), {}, {}, {}};
    l.running = o.number("inflight", 256);
    for (std::size_t i = 0; i < l.running; ++i) l.send();
    std::this_thread::sleep_for(std::chrono::seconds{1});
    const auto before = counted(hive, who, pairs);
    const auto began = bench::clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const auto after = counted(hive, who, pairs);
    const double took = std::chrono::duration<double>(bench::clock::now() - began).count();
    l.stop = true;
    while (l.running != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
    const double rate = static_cast<double>(after - before) / took;
    bench::report("send, " + std::to_string(burst) + " a turn", rate, {},
                  {{"seed", bench::options::seed()}, {"pairs", pairs}, {"burst", burst}, {"ratio_to_raw_fdatasync", rate * raw.p50 / 1e6}});
  }
}
