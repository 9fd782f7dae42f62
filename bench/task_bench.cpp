// Question: how many tasks does one node take from submission to result, and how long does each take?
// Data: 1,000 ledgers, each task appends {"op":"n"} to one of them; closed loop, N tasks under way, submitted one by one or
// `batch` in one request; a task is over when its end is committed and published. Every submission, attempt and result is
// committed with fsync. Baseline in the same run: as many durable asks in flight to the same agents (a task is three turns,
// an ask one), and raw pwrite+fdatasync of 4 KiB. Targets: >= 20,000 tasks/s, p99 <= 30 ms; one alone p50 <= 1 ms; choice
// among 500 agents <= 5 us. Then with the queue in 1, 2 and 4 partitions, as a ratio to 1.
// Options: --agents N --seconds S --inflight a,b --batch a,b --partitions a,b
#include "actors/scheduling/task_rows.hpp"
#include "bench/support/local_hive.hpp"

#include <sys/resource.h>

using namespace hive;
using namespace hive::actors::scheduling;

namespace {

const actors::destination queue{entity_kind::queue, "default"};

/// Keeps `in_flight` tasks under way.
struct loop {
  bench::local_hive& hive;
  tenant_context who;
  std::size_t agents;
  std::size_t batch;
  bool chosen;                                   ///< By capability, not by name.
  std::mutex guard;
  std::unordered_map<std::string, bench::clock::time_point> under_way{};
  std::unordered_map<std::string, bench::clock::time_point> early{}; ///< Ended before their submission was answered.
  std::vector<double> micros{};
  std::uint64_t serial = 0;
  std::size_t free = 0;                          ///< Places for new tasks.
  std::size_t unanswered = 0;
  std::uint64_t failed = 0;
  bool stop = false;

  void submit_locked(std::unique_lock<std::mutex>& lock) {
    while (!stop && free >= batch) {
      free -= batch;
      unanswered += 1;
      submit_request r;
      for (std::size_t i = 0; i < batch; ++i) {
        auto& t = r.tasks.emplace_back();
        const auto n = serial++;
        if (chosen) t.what.spec.capability = "append";
        else t.what.agent = "l" + std::to_string(n * 7919 % agents);
        t.what.type = "append";
        t.what.body = {R"({"op":")" + std::to_string(n) + "\"}", content_type::json};
      }
      lock.unlock();
      const auto began = bench::clock::now();
      hive.host().ask(who, {queue, "task.submit", {encode(r), content_type::binary}, {}, std::chrono::seconds{60}, false, {}, route_of(r)},
                      actors::on_reply([this, began](result<actors::ask_answer> a) { submitted(began, std::move(a)); }));
      lock.lock();
    }
  }
  void submitted(bench::clock::time_point began, result<actors::ask_answer> a) {
    std::unique_lock lock(guard);
    unanswered -= 1;
    if (!a) {
      if (failed++ == 0) std::fprintf(stderr, "failed: %s\n", to_string(a.error()).c_str());
      free += batch;
      return submit_locked(lock);
    }
    const auto& text = a->body.bytes;
    std::size_t at = batch == 1 ? text.find("\"t") : text.find("\"t", text.find("\"ids\""));
    for (; at != std::string::npos; at = text.find("\"t", at + 1)) {
      auto id = text.substr(at + 1, 17);
      if (const auto over = early.find(id); over != early.end()) {
        micros.push_back(std::chrono::duration<double, std::micro>(over->second - began).count());
        early.erase(over);
        free += 1;
      } else under_way.emplace(std::move(id), began);
    }
    submit_locked(lock);
  }
  void ended(const std::string& source) {
    const auto now = bench::clock::now();
    std::unique_lock lock(guard);
    const auto id = source.substr(5); // "task/..."
    const auto found = under_way.find(id);
    if (found == under_way.end()) return void(early.emplace(id, now));
    micros.push_back(std::chrono::duration<double, std::micro>(now - found->second).count());
    under_way.erase(found);
    free += 1;
    submit_locked(lock);
  }
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

/// Of this process, the load generator with it: on a machine that others use as well it says more than time does.
double cpu_micros() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto micros = [](const timeval& t) { return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec); };
  return micros(used.ru_utime) + micros(used.ru_stime);
}

/// Asks each agent once: what the first message after an apply waits for is the load of its agent, not the queue.
void warm_up(bench::local_hive& hive, tenant_context who, std::size_t agents) {
  std::atomic<std::size_t> left{agents};
  for (std::size_t i = 0; i < agents; ++i)
    hive.host().ask(who, {{entity_kind::agent, "l" + std::to_string(i)}, "append", {R"({"op":"first"})", content_type::json}, {}, std::chrono::seconds{60}, false, {}},
                    actors::on_reply([&left](const result<actors::ask_answer>&) { left.fetch_sub(1); }));
  while (left != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
}

/// @param partitions of the queue; 0: as it comes.
double run(bench::local_hive& hive, tenant_context who, std::size_t agents, std::size_t in_flight, std::size_t batch, bool chosen,
           std::uint64_t seconds, const bench::percentiles& raw, double asks, std::size_t partitions = 0, double of_one = 0) {
  loop l{hive, who, agents, batch, chosen, {}};
  l.micros.reserve(1'000'000);
  const auto feed = hive.host().subscribe(who, [&l](const actors::published_event& e) {
    if (e.type == "task.succeeded" || e.type == "task.failed") l.ended(e.source);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds{100});
  {
    std::unique_lock lock(l.guard);
    l.free = in_flight;
    l.submit_locked(lock);
  }
  std::this_thread::sleep_for(std::chrono::seconds{1}); // warm-up
  const auto turns = hive.host().commits().turns.load();
  const auto batches = hive.host().commits().batches.load();
  const double cpu_before = cpu_micros();
  const auto began = bench::clock::now();
  {
    std::lock_guard lock(l.guard);
    l.micros.clear();
  }
  std::this_thread::sleep_for(std::chrono::seconds{seconds});
  std::vector<double> micros;
  {
    std::lock_guard lock(l.guard);
    micros.swap(l.micros);
    l.stop = true;
  }
  const double took = std::chrono::duration<double>(bench::clock::now() - began).count();
  const double cpu_per_task = (cpu_micros() - cpu_before) / std::max<double>(1, static_cast<double>(micros.size()));
  const double turns_per_task = static_cast<double>(hive.host().commits().turns.load() - turns) / std::max<double>(1, static_cast<double>(micros.size()));
  const double per_batch = static_cast<double>(hive.host().commits().turns.load() - turns) /
                           std::max(1.0, static_cast<double>(hive.host().commits().batches.load() - batches));
  for (int i = 0; i < 3000; ++i) {
    std::unique_lock lock(l.guard);
    if (l.under_way.empty() && l.unanswered == 0) break;
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  const double rate = static_cast<double>(micros.size()) / took;
  const auto p = bench::percentiles_of(micros);
  const std::string name = std::string(chosen ? "task by capability" : "task by name") + ", " + std::to_string(in_flight) + " under way, " +
                           std::to_string(batch) + " a request" + (partitions == 0 ? "" : ", " + std::to_string(partitions) + " partitions");
  nlohmann::json extra{{"seed", bench::options::seed()}, {"agents", agents}, {"in_flight", in_flight}, {"batch", batch}, {"failed", l.failed},
                       {"records_per_task", turns_per_task}, {"records_per_commit", per_batch}, {"cpu_us_per_task", cpu_per_task}, {"ratio_p50_to_raw_fdatasync", p.p50 / raw.p50}};
  if (asks > 0) extra["ratio_to_asks_per_second"] = rate / asks;
  if (of_one > 0) extra["ratio_to_one_partition"] = rate / of_one;
  bench::report(name, rate, p, std::move(extra));
  return rate;
}

/// Asks to the same agents, as many in flight: what one turn costs beside the three of a task.
double baseline(bench::local_hive& hive, tenant_context who, std::size_t agents, std::size_t in_flight) {
  std::atomic<std::uint64_t> done{0}, failed{0};
  std::atomic<std::size_t> running{in_flight};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> serial{0};
  std::function<void()> send = [&] {
    const auto n = serial.fetch_add(1);
    hive.host().ask(who, {{entity_kind::agent, "l" + std::to_string(n * 7919 % agents)}, "append", {R"({"op":")" + std::to_string(n) + "\"}", content_type::json}, {}, {}, false, {}},
                    actors::on_reply([&](result<actors::ask_answer> a) {
                      if (a) done.fetch_add(1);
                      else if (failed.fetch_add(1) == 0) std::fprintf(stderr, "failed: %s\n", to_string(a.error()).c_str());
                      if (stop) running.fetch_sub(1);
                      else send();
                    }));
  };
  for (std::size_t i = 0; i < in_flight; ++i) send();
  std::this_thread::sleep_for(std::chrono::milliseconds{500});
  done = 0;
  const auto began = bench::clock::now();
  std::this_thread::sleep_for(std::chrono::seconds{2});
  const double rate = static_cast<double>(done.load()) / std::chrono::duration<double>(bench::clock::now() - began).count();
  stop = true;
  while (running != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  bench::report("baseline: durable asks, " + std::to_string(in_flight) + " in flight", rate, {}, {{"seed", bench::options::seed()}, {"failed", failed.load()}});
  return rate;
}

/// The pure part: which of 500 agents, each with three of ten capabilities, takes the next task.
void choice_among(std::size_t n) {
  std::deque<agent_entry> agents;
  agent_choice choice;
  random_source chance(bench::options::seed());
  for (std::size_t i = 0; i < n; ++i) {
    auto& a = agents.emplace_back();
    a.id = entity_id{tenant_id{1}, 100 + i};
    std::vector<capability> can;
    for (std::size_t c = 0; c < 3; ++c) can.push_back({"c" + std::to_string((i + c * 3) % 10), static_cast<std::uint8_t>(chance.below(10))});
    choice.describe(a, std::move(can));
    choice.list(a, true);
  }
  std::vector<double> micros;
  std::uint64_t none = 0;
  constexpr int rounds = 200'000;
  micros.reserve(rounds);
  std::vector<std::string> names;
  for (int c = 0; c < 10; ++c) names.push_back("c" + std::to_string(c));
  const auto began = bench::clock::now();
  for (int i = 0; i < rounds; ++i) {
    const auto from = bench::clock::now();
    auto* a = choice.choose(names[chance.below(10)], static_cast<std::uint8_t>(chance.below(10)), chance);
    if (a) { // it takes the task, and is free again or not
      a->in_flight += 1;
      choice.list(*a, false);
      choice.list(*a, true);
      a->in_flight -= 1;
    } else ++none;
    micros.push_back(std::chrono::duration<double, std::micro>(bench::clock::now() - from).count());
  }
  const double took = std::chrono::duration<double>(bench::clock::now() - began).count();
  bench::report("choice among " + std::to_string(n) + " agents", rounds / took, bench::percentiles_of(micros), {{"seed", bench::options::seed()}, {"nobody", none}});
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto agents = o.number("agents", 1'000);
  const auto seconds = o.number("seconds", 4);
  choice_among(500);
  bench::temp_dir dir;
  const auto raw = bench::raw_fdatasync(dir.path());
  bench::report("raw fdatasync 4 KiB", 1e6 / raw.p50, raw);
  bench::local_hive hive(dir.path() + "/data");
  nlohmann::json list = nlohmann::json::array();
  for (std::size_t i = 0; i < agents; ++i)
    list.push_back({{"name", "l" + std::to_string(i)}, {"spec", {{"behaviour", "ledger"}, {"capabilities", {"append"}}}}});
  const auto manifest = nlohmann::json{{"agents", std::move(list)}}.dump();
  const auto with_agents = [&](const std::string& name, std::size_t partitions) {
    const auto who = hive.tenant(name, {{"queue_partitions", partitions}});
    hive.ask_now(who, {entity_kind::tenant, ""}, "directory.apply", manifest);
    warm_up(hive, who, agents);
    return who;
  };
  const auto who = with_agents("bench", 1);
  run(hive, who, agents, 1, 1, false, seconds, raw, 0);
  const double asks = baseline(hive, who, agents, 512);
  for (const auto in_flight : numbers(o.text("inflight", "512")))
    for (const auto batch : numbers(o.text("batch", "1,32"))) run(hive, who, agents, in_flight, batch, false, seconds, raw, asks);
  run(hive, who, agents, 512, 32, true, seconds, raw, asks);
  // The same queue in partitions: tasks by name one by one, of which each goes to its agent's, and in requests of 32 and by
  // capability, whose tasks stay in one partition and are lent to others.
  std::map<std::string, double> of_one;
  for (const auto n : numbers(o.text("partitions", "1,2,4"))) {
    const auto parts = with_agents("parts-" + std::to_string(n), n);
    for (const auto& [batch, chosen] : std::vector<std::pair<std::size_t, bool>>{{1, false}, {32, false}, {1, true}}) {
      auto& one = of_one[std::to_string(batch) + (chosen ? "c" : "n")];
      const double rate = run(hive, parts, agents, 512, batch, chosen, seconds, raw, asks, n, one);
      if (n == 1) one = rate;
    }
  }
}
