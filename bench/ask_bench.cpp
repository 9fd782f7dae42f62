// Question: how many durable asks does one node take without the API, and how long does each wait?
// Data: 10,000 ledgers, payload {"op":"..."} of 64 and of 512 bytes; closed loop, N in flight; each answer is committed
// with fsync. Baseline in the same run: raw pwrite+fdatasync of 4 KiB. Targets: 256 in flight >= 80,000/s, p99 <= 8 ms;
// one in flight p50 <= 0.5 ms. Options: --agents N --seconds S --inflight a,b,c --payload a,b --postgres URL --admin URL
#include "bench/support/local_hive.hpp"

using namespace hive;

namespace {

struct loop {
  bench::local_hive& hive;
  tenant_context who;
  std::size_t agents;
  std::size_t payload;
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> running{0};
  std::atomic<std::uint64_t> failed{0};
  std::mutex guard;
  std::vector<double> micros;
  std::atomic<std::uint64_t> serial{0};
};

/// Sends again from its own answer, so that the number in flight stays what it is.
class sink final : public actors::reply_sink {
public:
  sink(loop& l, std::uint64_t random) : loop_(l), random_(random), began_(bench::clock::now()) {}
  static void send(loop& l, std::uint64_t random) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto op = l.serial.fetch_add(1);
    std::string body = R"({"op":")" + std::to_string(op);
    if (body.size() + 2 < l.payload) body.append(l.payload - body.size() - 2, 'x');
    body += "\"}";
    actors::ask_request r{{entity_kind::agent, "l" + std::to_string((random >> 33U) % l.agents)}, "append", {std::move(body), content_type::json}, {}, {}, false, {}};
    l.hive.host().ask(l.who, std::move(r), std::make_unique<sink>(l, random));
  }
  void answered(actors::ask_answer&&) override { next(true); }
  void failed(error&& why, const std::string&) override {
    if (loop_.failed.fetch_add(1) == 0) std::fprintf(stderr, "failed: %s\n", to_string(why).c_str());
    next(false);
  }

private:
  void next(bool good) {
    if (good) {
      const double took = std::chrono::duration<double, std::micro>(bench::clock::now() - began_).count();
      std::lock_guard lock(loop_.guard);
      loop_.micros.push_back(took);
    }
    if (loop_.stop) loop_.running.fetch_sub(1);
    else send(loop_, random_);
  }
  loop& loop_;
  std::uint64_t random_;
  bench::clock::time_point began_;
};

std::vector<std::size_t> numbers(std::string list) {
  std::vector<std::size_t> out;
  while (!list.empty()) {
    const auto comma = list.find(',');
    out.push_back(std::stoull(list.substr(0, comma)));
    list = comma == std::string::npos ? "" : list.substr(comma + 1);
  }
  return out;
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto agents = o.number("agents", 10'000);
  const auto seconds = o.number("seconds", 4);
  bench::temp_dir dir;
  const auto raw = bench::raw_fdatasync(dir.path());
  bench::report("raw fdatasync 4 KiB", 1e6 / raw.p50, raw);
  bench::local_hive hive(dir.path() + "/data", [&](config::settings& s) {
    s.store.url = o.text("postgres", "");
    s.store.admin = o.text("admin", "");
  });
  const auto who = hive.tenant("bench");
  hive.add_agents(who, "l", agents, "ledger");
  std::atomic<std::size_t> loaded{0}; // all of them are in memory before anything is measured
  for (std::size_t i = 0; i < agents; ++i) {
    while (i > loaded + 256) std::this_thread::sleep_for(std::chrono::milliseconds{1});
    hive.host().ask(who, {{entity_kind::agent, "l" + std::to_string(i)}, "append", {R"({"op":"first"})", content_type::json}, {}, std::chrono::minutes{5}, false, {}},
                    actors::on_reply([&](result<actors::ask_answer>) { loaded += 1; }));
  }
  while (loaded < agents) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  for (const auto payload : numbers(o.text("payload", "64,512")))
    for (const auto in_flight : numbers(o.text("inflight", "1,16,256,2048"))) {
      loop l{hive, who, agents, payload, {}, {}, {}, {}, {}, {}};
      l.micros.reserve(4'000'000);
      l.running = in_flight;
      for (std::size_t i = 0; i < in_flight; ++i) sink::send(l, bench::options::seed() * 7919 + i);
      std::this_thread::sleep_for(std::chrono::seconds{1}); // warm-up
      {
        std::lock_guard lock(l.guard);
        l.micros.clear();
      }
      const auto began = bench::clock::now();
      const auto turns = hive.host().commits().turns.load();
      const auto batches = hive.host().commits().batches.load();
      const double cpu = bench::cpu_seconds();
      std::this_thread::sleep_for(std::chrono::seconds{seconds});
      std::vector<double> micros;
      {
        std::lock_guard lock(l.guard);
        micros.swap(l.micros);
      }
      const double took = std::chrono::duration<double>(bench::clock::now() - began).count();
      const double batch = static_cast<double>(hive.host().commits().turns.load() - turns) /
                           std::max(1.0, static_cast<double>(hive.host().commits().batches.load() - batches));
      const double cores = (bench::cpu_seconds() - cpu) / took;
      l.stop = true;
      while (l.running != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
      const double rate = static_cast<double>(micros.size()) / took;
      const auto p = bench::percentiles_of(micros);
      bench::report("ask " + std::to_string(payload) + " B, " + std::to_string(in_flight) + " in flight", rate, p,
                    {{"seed", bench::options::seed()}, {"agents", agents}, {"payload", payload}, {"in_flight", in_flight},
                     {"batch", batch}, {"cpu_cores", cores}, {"failed", l.failed.load()}, {"ratio_p50_to_raw_fdatasync", p.p50 / raw.p50}});
    }
}
