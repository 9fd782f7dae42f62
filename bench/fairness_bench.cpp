// Question: does one tenant at 100 times its share slow the others, and do tenants that all want more than their share get
// the same? Data: 10 tenants of 1,000 ledgers, closed loops of durable asks of 64 B: all with N in flight; then the first
// with 100 N; then all with 40 N; then an agent of the first one misbehaves while a client keeps asking it, one ask
// after the other: it throws, it eats 64 MiB a turn and throws, it loops and holds a worker of the node. Targets: the others' p99 <= 1.5 times what it was; Jain's index >= 0.95 (1:
// equal). Asks have a deadline of 1 s: one to an agent that shares the loop's shard ends with it, and counts as that long.
// Options: --seconds S --inflight N --under-way W (node.asks_under_way)
#include "bench/support/local_hive.hpp"

using namespace hive;

namespace {

constexpr std::size_t tenants = 10;
constexpr std::size_t agents = 1'000;

/// "throw", "eat" (64 MiB, then throws), "loop" (until told otherwise).
std::atomic<bool> loops{false};
class vandal final : public actors::behaviour {
public:
  actors::task<> handle(actors::turn& self, actors::message m) const override {
    if (m.type == "loop")
      while (loops.load(std::memory_order_relaxed)) {}
    if (m.type == "eat") {
      std::vector<char> meal(64UL << 20U);
      for (std::size_t i = 0; i < meal.size(); i += 4096) meal[i] = 1;
      self.set_state_bytes(std::string(1, meal[meal.size() / 2]));
    }
    if (m.type != "loop") throw std::runtime_error("told to");
    co_return;
  }
};

struct load {
  bench::local_hive& hive;
  tenant_context who;
  std::size_t number;
  std::atomic<std::size_t> running{0};
  std::atomic<std::size_t> target{0};
  std::atomic<std::uint64_t> serial{0}, refused{0};
  std::mutex guard;
  std::vector<double> micros;

  load(bench::local_hive& h, tenant_context t, std::size_t n) : hive(h), who(t), number(n) {}

  void go_to(std::size_t in_flight) {
    target = in_flight;
    while (true) {
      auto now = running.load();
      if (now >= target.load()) return;
      if (running.compare_exchange_strong(now, now + 1)) send();
    }
  }
  void send() {
    const auto op = serial.fetch_add(1);
    std::string body = R"({"op":")" + std::to_string(op);
    body.append(64 - body.size() - 2, 'x');
    body += "\"}";
    const auto agent = (op * 0x9E3779B97F4A7C15ULL >> 33U) % agents;
    actors::ask_request r{{entity_kind::agent, "l" + std::to_string(agent)}, "append", {std::move(body), content_type::json}, {}, std::chrono::seconds{1}, false, {}};
    hive.host().ask(who, std::move(r), std::make_unique<sink>(*this));
  }
  class sink final : public actors::reply_sink {
  public:
    explicit sink(load& l) : load_(l), began_(bench::clock::now()) {}
    void answered(actors::ask_answer&&) override {
      const double took = std::chrono::duration<double, std::micro>(bench::clock::now() - began_).count();
      {
        std::lock_guard lock(load_.guard);
        load_.micros.push_back(took);
      }
      next();
    }
    void failed(error&& why, const std::string&) override {
      load_.refused.fetch_add(1);
      if (why.code == errc::unknown) { // its deadline passed
        std::lock_guard lock(load_.guard);
        load_.micros.push_back(1e6);
      }
      next();
    }

  private:
    void next() {
      if (load_.running.load() > load_.target.load()) load_.running.fetch_sub(1);
      else load_.send();
    }
    load& load_;
    bench::clock::time_point began_;
  };
  std::vector<double> take() {
    std::lock_guard lock(guard);
    return std::exchange(micros, {});
  }
};

double jain(const std::vector<double>& shares) {
  double sum = 0;
  double squares = 0;
  for (const double s : shares) sum += s, squares += s * s;
  return squares == 0 ? 0 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto seconds = o.number("seconds", 5);
  const auto n = o.number("inflight", 16);
  bench::temp_dir dir;
  bench::local_hive hive(dir.path() + "/data", [&](config::settings& s) {
    if (const auto w = o.number("under-way", 0); w != 0) s.node.asks_under_way = static_cast<std::uint32_t>(w);
  }, [](actors::behaviour_registry& b) { b.add("vandal", std::make_unique<vandal>()); });
  std::vector<std::unique_ptr<load>> loads;
  for (std::size_t t = 0; t < tenants; ++t) {
    const auto who = hive.tenant("t" + std::to_string(t));
    hive.add_agents(who, "l", agents, "ledger");
    if (t == 0) hive.add_agents(who, "v", 3, "vandal");
    loads.push_back(std::make_unique<load>(hive, who, t));
  }
  double calm_p99 = 0;
  const auto phase = [&](const std::string& name, std::size_t first, std::size_t others) {
    for (auto& l : loads) l->go_to(l->number == 0 ? first : others);
    std::this_thread::sleep_for(std::chrono::seconds{2});
    for (auto& l : loads) l->take();
    const auto began = bench::clock::now();
    std::this_thread::sleep_for(std::chrono::seconds{seconds});
    const double took = std::chrono::duration<double>(bench::clock::now() - began).count();
    std::vector<double> all_others;
    std::vector<double> shares;
    double rate = 0;
    for (auto& l : loads) {
      auto micros = l->take();
      const double own = static_cast<double>(micros.size()) / took;
      rate += own;
      if (first == others || l->number != 0) shares.push_back(own);
      if (l->number != 0) all_others.insert(all_others.end(), micros.begin(), micros.end());
      else if (first != others)
        bench::report(name + ": the first tenant", own, bench::percentiles_of(micros), {{"in_flight", first}});
    }
    const auto p = bench::percentiles_of(all_others);
    if (calm_p99 == 0) calm_p99 = p.p99;
    bench::report(name + (first == others ? "" : ": the others"), rate, p,
                  {{"seed", bench::options::seed()}, {"in_flight_each", others}, {"jain", jain(shares)}, {"p99_ratio_to_calm", p.p99 / calm_p99}});
  };
  phase("all calm", n, n);
  phase("first at 100x", 100 * n, n);
  phase("all calm again", n, n);
  phase("all at 40x", 40 * n, 40 * n);
  calm_p99 = 0;
  phase("all calm, third time", n, n);
  const auto who = loads.front()->who;
  std::size_t number = 0;
  for (const std::string vice : {"throw", "eat", "loop"}) {
    std::atomic<bool> over{false};
    loops = vice == "loop";
    std::uint64_t asked = 0;
    std::thread client([&, agent = "v" + std::to_string(number++)] {
      while (!over) {
        std::promise<void> done;
        hive.host().ask(who, {{entity_kind::agent, agent}, vice, {"null", content_type::json}, {}, std::chrono::seconds{60}, false, {}},
                        actors::on_reply([&](result<actors::ask_answer>) { done.set_value(); }));
        done.get_future().wait();
        ++asked;
      }
    });
    phase("an agent of the first one: " + vice, n + 1, n); // one more, so that the others are counted apart
    over = true;
    loops = false;
    client.join();
    std::printf("  the client asked it %llu times\n", static_cast<unsigned long long>(asked));
  }
  for (auto& l : loads) l->go_to(0);
  for (auto& l : loads)
    while (l->running != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
}
