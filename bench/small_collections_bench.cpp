// Question: what do very many collections cost in memory, and how soon does a cold one answer?
// Data: N collections of M items of some 300 bytes of text, vectors by the built-in embedder (384 dimensions), put in batches of M (at most
// 1,000) by eight writers. All but what context.memory_bytes (1 GiB) allows is unloaded as it goes. Then searches of collections chosen by
// chance: cold ones (asked to nothing since they were unloaded) and, as baseline in the same run, the same ones again, warm.
// Targets: 25,000 collections of 200 items in <= 3 GB resident; first search of a cold one <= 20 ms. Of one of 10,000 items <= 50 ms:
// `--collections 8 --items 10000 --searches 40 --memory 60000000`.
// Options: --collections N (25000) --items M (200) --searches S (2000) --memory BYTES (1 GiB; context.memory_bytes) --dense 1 (by a vector, without words;
// otherwise hybrid, whose words are read too)
#include "actors/context/items.hpp"
#include "actors/context/query.hpp"
#include "bench/support/local_hive.hpp"

#include <condition_variable>
#include <thread>

using namespace hive;

namespace {

std::string text_of(std::uint64_t i) {
  random_source chance(i);
  std::string text = "item " + std::to_string(i);
  for (int w = 0; w < 40; ++w) text += " word" + std::to_string(chance.below(chance.one_in(3) ? 40 : 5000));
  return text;
}

std::string name_of(std::uint64_t c) { return "c" + std::to_string(c); }

double search(bench::local_hive& hive, tenant_context who, const std::string& name, std::uint64_t seed, bool dense) {
  vector::search_request r;
  random_source chance(seed);
  if (dense) {
    r.mode = vector::search_mode::dense;
    for (int i = 0; i < 384; ++i) r.vector.push_back(static_cast<float>(chance.below(2001)) - 1000);
  }
  for (int i = 0; i < 4; ++i) r.text += " word" + std::to_string(chance.below(5000));
  const auto began = bench::clock::now();
  std::promise<result<std::size_t>> done;
  hive.host().collection(who, name, [&](result<actors::published_view> on) {
    if (!on) return done.set_value(on.error());
    if (auto ok = actors::complete(r, *on->view, on->now); !ok) return done.set_value(ok.error());
    auto found = on->view->search(r, {});
    if (!found) return done.set_value(found.error());
    done.set_value(found->hits.size());
  });
  const auto hits = done.get_future().get();
  if (!hits) bench::local_hive::fail(hits.error());
  return std::chrono::duration<double, std::micro>(bench::clock::now() - began).count();
}

double process_cpu_micros() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto collections = o.number("collections", 25'000);
  const auto items = o.number("items", 200);
  const auto searches = o.number("searches", 2'000);
  const bool dense = o.number("dense", 0) != 0;
  bench::temp_dir dir;
  const auto raw = bench::raw_fdatasync(dir.path());
  const auto memory = o.number("memory", std::uint64_t{1} << 30U);
  bench::local_hive hive(dir.path() + "/data", [&](config::settings& s) { s.context.memory_bytes = memory; });
  const auto who = hive.tenant("bench");
  const auto empty = bench::resident_bytes();
  for (std::uint64_t c = 0; c < collections; c += 1000) {
    nlohmann::json all = nlohmann::json::array();
    for (auto i = c; i < std::min(collections, c + 1000); ++i) all.push_back({{"name", name_of(i)}, {"spec", nlohmann::json::object()}});
    (void)hive.ask_now(who, {entity_kind::tenant, ""}, "directory.apply", nlohmann::json{{"collections", std::move(all)}}.dump());
  }

  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> peak{0};
  auto began = bench::clock::now();
  std::vector<std::thread> writers;
  for (int w = 0; w < 8; ++w)
    writers.emplace_back([&] {
      constexpr std::uint64_t batch_max = 1000;
      const auto batches = (items + batch_max - 1) / batch_max;
      for (std::uint64_t n; (n = next++) < collections * batches;) {
        const auto c = n / batches;
        const auto first = n % batches * batch_max;
        std::vector<actors::new_item> batch(std::min(batch_max, items - first));
        for (std::uint64_t i = 0; i < batch.size(); ++i) {
          batch[i].content.id = "i" + std::to_string(first + i);
          batch[i].content.text = text_of(c * items + first + i);
        }
        std::promise<result<actors::ask_answer>> done;
        hive.host().ask(who, {{entity_kind::context, name_of(c)}, "items.put", {actors::encode_items(batch), content_type::binary}, {}, std::chrono::minutes{5}, false, {}},
                        actors::on_reply([&](result<actors::ask_answer> r) { done.set_value(std::move(r)); }));
        if (auto r = done.get_future().get(); !r) bench::local_hive::fail(r.error());
        if (n % 100 == 0) {
          const auto now = bench::resident_bytes();
          for (auto seen = peak.load(); now > seen && !peak.compare_exchange_weak(seen, now);) {}
          std::fprintf(stderr, "\r%llu of %llu collections, %llu MiB resident ", static_cast<unsigned long long>(c), static_cast<unsigned long long>(collections),
                       static_cast<unsigned long long>(now >> 20U));
        }
      }
    });
  for (auto& w : writers) w.join();
  std::fprintf(stderr, "\n");
  const double putting = std::chrono::duration<double>(bench::clock::now() - began).count();

  // First touch of collections that are not in memory now, then the same once more.
  random_source chance(bench::options::seed());
  std::vector<double> cold, cold_cpu, warm;
  for (std::uint64_t tries = 0; cold.size() < searches && tries < searches * 4; ++tries) {
    const auto name = name_of(chance.below(collections));
    const auto loaded = hive.host().read_gauges().collections;
    const double cpu_before = process_cpu_micros();
    const double first = search(hive, who, name, tries, dense);
    const double cpu = process_cpu_micros() - cpu_before;
    const bool was_cold = hive.host().read_gauges().collections != loaded || first > 1000;
    const double again = search(hive, who, name, tries + 1, dense);
    if (was_cold) cold.push_back(first), cold_cpu.push_back(cpu), warm.push_back(again);
    const auto now = bench::resident_bytes();
    for (auto seen = peak.load(); now > seen && !peak.compare_exchange_weak(seen, now);) {}
  }
  const auto g = hive.host().read_gauges();
  const auto resident = bench::resident_bytes();
  bench::report("put, one batch a collection", static_cast<double>(collections * items) / putting, {},
                {{"collections", collections}, {"items", items}, {"raw_fdatasync_p50_us", raw.p50}});
  const auto warm_p = bench::percentiles_of(warm);
  const auto cold_p = bench::percentiles_of(cold);
  bench::report("search of a warm collection (baseline)", 0, warm_p, {{"collections", collections}});
  bench::report("CPU of the process for it, all threads", 0, bench::percentiles_of(cold_cpu), {{"items", items}});
  bench::report("first search of a cold collection", 0, cold_p,
                {{"collections", collections}, {"items", items}, {"ratio_to_warm", cold_p.p50 / warm_p.p50}, {"resident_bytes", resident},
                 {"peak_resident_bytes", peak.load()}, {"resident_empty", empty}, {"loaded", g.collections}, {"loaded_bytes", g.collection_bytes}});
  std::printf("%llu collections of %llu items: %.0f MiB resident (peak %.0f, empty %.0f); %llu in memory, which count %.0f MiB\n",
              static_cast<unsigned long long>(collections), static_cast<unsigned long long>(items), static_cast<double>(resident) / 1048576.0,
              static_cast<double>(peak.load()) / 1048576.0, static_cast<double>(empty) / 1048576.0, static_cast<unsigned long long>(g.collections),
              static_cast<double>(g.collection_bytes) / 1048576.0);
}
