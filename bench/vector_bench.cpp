// Question: how fast is a search of a collection, is it exact, what does an item cost, how soon does a cold collection answer?
// Data: 384-dim unit vectors, a mixture of 2,000 clusters in a 64-dim latent space plus noise (like text embeddings, on the hard
// side); 500 queries apart from them. Beside it, in the same run: faiss::IndexFlatIP and hnswlib (M 16, ef_construction 200; where the
// build found it) as packaged, and our fp32 scan, whose
// answers are the truth that recall is counted against. Target at 10,000 items: p50 <= 200 us (AVX-512; twice that on AVX2), recall
// 1.0, >= 8,000/s with two threads (AVX2: 4,000); filters not slower than none; cold to first answer <= 50 ms.
// Options: --items N (10000), --dimension D (384), --queries N (500)
#include "bench/support/bench.hpp"
#ifdef HIVE_HNSWLIB
#include "bench/support/hnsw_baseline.hpp"
#endif
#include "config/base/random.hpp"
#include "vector/collection.hpp"
#include "vector/kernels/kernels.hpp"
#include "vector/scan.hpp"

#include <faiss/IndexFlat.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <thread>

using namespace hive;
using namespace hive::vector;

namespace {

constexpr std::uint32_t k = 10;
constexpr std::size_t clusters = 2000;
constexpr std::size_t latent = 64;

class generator {
public:
  generator(std::uint64_t seed, std::size_t dimension) : chance_(seed), dimension_(dimension), centers_(clusters * latent), project_(latent * dimension) {
    for (float& x : centers_) x = normal();
    for (float& x : project_) x = normal() / 8;
  }
  std::vector<float> next() {
    const std::size_t cluster = chance_.below(clusters);
    std::vector<float> point(latent), v(dimension_);
    for (std::size_t i = 0; i < latent; ++i) point[i] = centers_[cluster * latent + i] + normal();
    for (std::size_t i = 0; i < latent; ++i)
      for (std::size_t j = 0; j < dimension_; ++j) v[j] += point[i] * project_[i * dimension_ + j];
    double squares = 0;
    for (float& x : v) x += 0.3F * normal(), squares += double{x} * x;
    for (float& x : v) x = static_cast<float>(x / std::sqrt(squares));
    return v;
  }

private:
  float normal() {
    const double u = (static_cast<double>(chance_.next() >> 11U) + 1) / 9007199254740993.0;
    const double w = static_cast<double>(chance_.next() >> 11U) / 9007199254740992.0;
    return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * w));
  }
  random_source chance_;
  std::size_t dimension_;
  std::vector<float> centers_, project_;
};

double since(bench::clock::time_point began) { return std::chrono::duration<double, std::micro>(bench::clock::now() - began).count(); }

/// Some 300 bytes, as a memory has.
std::string text_of(std::size_t i) {
  random_source chance(i);
  std::string text = "item " + std::to_string(i);
  for (int w = 0; w < 45; ++w) text += " word" + std::to_string(chance.below(chance.one_in(3) ? 40 : 5000));
  return text;
}

double cpu_micros(clockid_t of) {
  timespec t{};
  clock_gettime(of, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}
double thread_cpu_micros() { return cpu_micros(CLOCK_THREAD_CPUTIME_ID); }

/// Wall time of each, and CPU time of one on average (cold ones: the median): on a busy machine the second is what the work costs.
struct timings {
  std::vector<double> micros;
  double cpu = 0;
};

/// Each query once, one after the other.
template <class F> timings one_by_one(std::size_t queries, F&& ask) {
  for (std::size_t q = 0; q < std::min<std::size_t>(queries, 50); ++q) (void)ask(q); // warm
  timings out;
  const double cpu = thread_cpu_micros();
  for (std::size_t q = 0; q < queries; ++q) {
    const auto began = bench::clock::now();
    (void)ask(q);
    out.micros.push_back(since(began));
  }
  out.cpu = (thread_cpu_micros() - cpu) / static_cast<double>(queries);
  return out;
}

/// Queries a second of `threads` threads together, over about a second.
template <class F> double together(int threads, std::size_t queries, F&& ask) {
  std::atomic<std::uint64_t> done{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> all;
  const auto began = bench::clock::now();
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (std::size_t q = static_cast<std::size_t>(t); !stop; q = (q + 1) % queries) (void)ask(q), done.fetch_add(1);
    });
  std::this_thread::sleep_for(std::chrono::seconds{1});
  stop = true;
  for (auto& t : all) t.join();
  return static_cast<double>(done) * 1e6 / since(began);
}

void line(const char* name, timings t, nlohmann::json extra) {
  double sum = 0;
  for (const double m : t.micros) sum += m;
  extra["cpu_us"] = t.cpu;
  bench::report(name, static_cast<double>(t.micros.size()) * 1e6 / sum, bench::percentiles_of(t.micros), std::move(extra));
  std::printf("%-44s %.1f us of CPU each\n", "", t.cpu);
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto items = o.number("items", 10'000);
  const auto dimension = static_cast<std::uint32_t>(o.number("dimension", 384));
  const auto queries = o.number("queries", 500);
  const wall_time now{std::chrono::milliseconds{1}};
  omp_set_num_threads(1);

  generator make(bench::options::seed(), dimension);
  std::vector<std::vector<float>> vectors, asked;
  for (std::size_t i = 0; i < items; ++i) vectors.push_back(make.next());
  for (std::size_t i = 0; i < queries; ++i) asked.push_back(make.next());
  std::printf("%llu items, %u dimensions, k %u, kernels %s\n", static_cast<unsigned long long>(items), dimension, k, kernels::best().name);

  // -- puts, and what an item costs
  collection_limits wide;
  wide.items = 10'000'000;
  const space in{metric::cosine, dimension, ""};
  const auto before = bench::resident_bytes();
  collection c(in, wide);
  timings puts;
  const double put_cpu = thread_cpu_micros();
  for (std::size_t i = 0; i < items; ++i) {
    item one;
    one.id = "item-" + std::to_string(i);
    one.text = text_of(i);
    set(one.meta, "n", static_cast<std::int64_t>(i * 7919 % items)); // in no order of rows
    set(one.meta, "half", std::string{i % 2 ? "odd" : "even"});
    const auto began = bench::clock::now();
    if (auto done = c.put(std::move(one), vectors[i], {}, now); !done) return std::fprintf(stderr, "%s\n", to_string(done.error()).c_str()), 1;
    (void)c.publish();
    puts.micros.push_back(since(began));
  }
  puts.cpu = (thread_cpu_micros() - put_cpu) / static_cast<double>(items);
  const auto v = c.publish();
  v->warm();
  const double resident = static_cast<double>(bench::resident_bytes() - before) / static_cast<double>(items);
  line("put and publish, one at a time", puts,
       {{"items", items}, {"bytes_per_item", static_cast<double>(v->bytes()) / static_cast<double>(items)}, {"resident_bytes_per_item", resident}});
  std::printf("%-44s %12.0f B counted, %.0f B resident (of which fp32 %u, int8 %u, text %zu)\n", "memory per item", static_cast<double>(v->bytes()) / static_cast<double>(items),
              resident, dimension * 4, dimension, text_of(1).size());

  // -- the largest put that is allowed, as a turn does it: vectors are at hand
  {
    constexpr std::size_t batch = 46, text_bytes = 64 * 1024; // context.batch_bytes of context.text_bytes each
    timings large, words;
    constexpr std::size_t rounds = 7;
    for (std::size_t round = 0; round < rounds; ++round) {
      collection one(in, wide);
      std::vector<item> fresh(batch);
      for (std::size_t i = 0; i < batch; ++i) {
        fresh[i].id = "large-" + std::to_string(i);
        for (std::size_t part = 0; fresh[i].text.size() < text_bytes; ++part) fresh[i].text += text_of(round * 10'000 + i * 200 + part) + " ";
        fresh[i].text.resize(text_bytes);
      }
      auto began = bench::clock::now();
      double cpu = thread_cpu_micros();
      for (std::size_t i = 0; i < batch; ++i)
        if (!one.put(std::move(fresh[i]), vectors[i % vectors.size()], {}, now)) return 1;
      const auto put = one.publish();
      std::size_t row_bytes = 0;
      for (std::size_t i = 0; i < batch; ++i) row_bytes += one.row("large-" + std::to_string(i)).size();
      large.micros.push_back(since(began));
      large.cpu += (thread_cpu_micros() - cpu) / double{rounds};
      search_request first;
      first.mode = search_mode::lexical;
      first.text = "word1 word777";
      first.now = now;
      began = bench::clock::now();
      cpu = thread_cpu_micros();
      if (row_bytes < batch * text_bytes || !put->search(first, {})) return 1;
      words.micros.push_back(since(began));
      words.cpu += (thread_cpu_micros() - cpu) / double{rounds};
    }
    line("put of 46 items of 64 KiB, and their rows", large, {{"items", batch}});
    line("  first search of their words", words, {{"items", batch}});
  }

  // -- exact, against fp32
  std::vector<selection> all;
  for (const auto& e : v->entries()) all.push_back({row_set(e.count, true), row_set(e.count, true), e.count, e.count});
  std::vector<std::vector<found_row>> truth;
  line("own fp32 scan (the truth)", one_by_one(queries, [&](std::size_t q) {
         auto found = scan_exact(v->entries(), all, in, asked[q], k);
         if (truth.size() == q) truth.push_back(std::move(found));
       }), {{"items", items}});
  truth.clear();
  for (std::size_t q = 0; q < queries; ++q) truth.push_back(scan_exact(v->entries(), all, in, asked[q], k));

  faiss::IndexFlatIP flat(dimension);
  for (const auto& x : vectors) flat.add(1, x.data());
  std::size_t faiss_same = 0;
  const auto faiss_ask = [&](std::size_t q) {
    omp_set_num_threads(1);
    float distances[k];
    faiss::Index::idx_t labels[k];
    flat.search(1, asked[q].data(), k, distances, labels);
    return labels[0];
  };
  for (std::size_t q = 0; q < queries; ++q) {
    const auto& best = truth[q][0];
    faiss_same += v->entries()[best.entry].rows->items()[best.row]->id == "item-" + std::to_string(faiss_ask(q));
  }
  const auto faiss_timings = one_by_one(queries, faiss_ask);
  line("faiss::IndexFlatIP as packaged", faiss_timings, {{"items", items}, {"same_first_hit", static_cast<double>(faiss_same) / static_cast<double>(queries)}});

#ifdef HIVE_HNSWLIB
  {
    std::vector<std::vector<std::size_t>> right; // numbers of the items that are the answer
    for (const auto& best : truth) {
      auto& one = right.emplace_back();
      for (const auto& found : best) one.push_back(std::stoull(v->entries()[found.entry].rows->items()[found.row]->id.substr(5)));
    }
    const auto began = bench::clock::now();
    bench::hnsw_baseline graph(dimension, items, 16, 200);
    for (std::size_t i = 0; i < items; ++i) graph.add(vectors[i].data(), i);
    const double building = since(began) / 1e6;
    for (const std::size_t effort : {std::size_t{64}, std::size_t{200}, std::size_t{800}}) {
      graph.set_effort(effort);
      const auto graph_ask = [&](std::size_t q) {
        std::array<std::size_t, k> numbers{};
        return std::pair{graph.search(asked[q].data(), k, numbers.data()), numbers};
      };
      std::size_t found = 0, wanted = 0;
      for (std::size_t q = 0; q < queries; ++q) {
        const auto [count, numbers] = graph_ask(q);
        for (std::size_t i = 0; i < count; ++i) found += std::find(right[q].begin(), right[q].end(), numbers[i]) != right[q].end();
        wanted += right[q].size();
      }
      const double share = static_cast<double>(found) / static_cast<double>(wanted);
      const double both = together(2, queries, graph_ask);
      line(("hnswlib as packaged, ef " + std::to_string(effort)).c_str(), one_by_one(queries, graph_ask),
           {{"items", items}, {"recall", share}, {"two_threads_per_second", both}, {"build_seconds", building}});
      std::printf("%-44s recall %.4f, %.0f/s with two threads; built in %.1f s\n", "", share, both, building);
    }
  }
#endif

  search_request r;
  r.mode = search_mode::dense;
  r.k = k;
  r.now = now;
  const auto ask = [&](const search_request& request) {
    return [&, request](std::size_t q) {
      search_request now_asked = request;
      now_asked.vector = asked[q];
      return v->search(now_asked, {});
    };
  };
  std::size_t same = 0;
  for (std::size_t q = 0; q < queries; ++q) {
    const auto answer = ask(r)(q);
    for (std::size_t i = 0; i < k && i < answer->hits.size(); ++i)
      same += answer->hits[i].content == v->entries()[truth[q][i].entry].rows->items()[truth[q][i].row];
  }
  const double recall = static_cast<double>(same) / static_cast<double>(queries * std::min<std::size_t>(k, items));
  auto exact = one_by_one(queries, ask(r));
  const double plain = bench::percentiles_of(exact.micros).p50;
  const double plain_cpu = exact.cpu;
  auto faiss_copy = faiss_timings.micros;
  const double two = together(2, queries, ask(r));
  line("search, exact", exact, {{"items", items}, {"recall", recall}, {"two_threads_per_second", two}, {"kernels", kernels::best().name},
                                  {"ratio_to_faiss", plain / bench::percentiles_of(faiss_copy).p50}});
  std::printf("%-44s recall %.4f, %.0f/s with two threads, %.2f of FAISS's p50\n", "", recall, two, plain / bench::percentiles_of(faiss_copy).p50);
  for (const auto* variant : kernels::available())
    line((std::string{"  scan alone, "} + variant->name).c_str(), one_by_one(queries, [&](std::size_t q) { return scan_dense(v->entries(), all, in, asked[q], k, *variant); }),
         {{"items", items}, {"kernels", variant->name}});

  // -- filters
  for (const double keep : {0.5, 0.1, 0.01, 0.001}) {
    search_request filtered = r;
    const auto below = static_cast<std::int64_t>(std::llround(keep * static_cast<double>(items)));
    filtered.where = filter::between("n", std::nullopt, value{below}, true, false);
    std::size_t right = 0, hits = 0;
    for (std::size_t q = 0; q < queries; ++q) {
      const auto answer = ask(filtered)(q);
      std::vector<selection> some;
      for (const auto& e : v->entries()) {
        row_set allowed(e.count);
        for (std::uint32_t row = 0; row < e.count; ++row)
          if (matches(filtered.where, *e.rows->items()[row])) allowed.set(row);
        const auto n = allowed.count();
        some.push_back({row_set(e.count, true), std::move(allowed), e.count, n});
      }
      const auto reference = scan_exact(v->entries(), some, in, asked[q], k);
      hits += reference.size();
      for (std::size_t i = 0; i < reference.size() && i < answer->hits.size(); ++i)
        right += answer->hits[i].content == v->entries()[reference[i].entry].rows->items()[reference[i].row];
    }
    char name[64];
    std::snprintf(name, sizeof name, "search, filter keeps %g %%", keep * 100);
    auto timed = one_by_one(queries, ask(filtered));
    const double p50 = bench::percentiles_of(timed.micros).p50;
    const double cpu = timed.cpu;
    line(name, timed, {{"items", items}, {"keep", keep}, {"recall", hits ? static_cast<double>(right) / static_cast<double>(hits) : 1}, {"ratio_to_unfiltered", p50 / plain}, {"cpu_ratio_to_unfiltered", cpu / plain_cpu}});
    std::printf("%-44s recall %.4f, %.2f of unfiltered (%.2f of its CPU)\n", "", hits ? static_cast<double>(right) / static_cast<double>(hits) : 1, p50 / plain, cpu / plain_cpu);
  }

  // -- lexical and hybrid
  for (const auto mode : {search_mode::lexical, search_mode::hybrid}) {
    search_request words = r;
    words.mode = mode;
    line(mode == search_mode::lexical ? "search, lexical (4 words)" : "search, hybrid (4 words)", one_by_one(queries, [&](std::size_t q) {
           words.vector = asked[q];
           words.text = "word" + std::to_string(q % 40) + " word" + std::to_string(q * 31 % 5000) + " word" + std::to_string(q * 57 % 5000) + " word" + std::to_string(q * 91 % 5000);
           return v->search(words, {});
         }), {{"items", items}});
  }

  // -- cold: rows in memory, to the first answer
  std::vector<std::string> rows;
  for (std::size_t i = 0; i < items; ++i) rows.push_back(c.row("item-" + std::to_string(i)));
  const std::vector<std::string_view> slices(rows.begin(), rows.end());
  for (const auto mode : {search_mode::dense, search_mode::hybrid}) {
    timings cold;
    std::vector<double> cpu; // of all threads
    constexpr int rounds = 15;
    for (int round = 0; round < rounds; ++round) {
      search_request first = r;
      first.mode = mode;
      first.vector = asked[0];
      first.text = "word1 word777";
      const double cpu_before = cpu_micros(CLOCK_PROCESS_CPUTIME_ID);
      const auto began = bench::clock::now();
      collection again(in, wide);
      if (!again.load(slices)) return 1;
      if (!again.publish()->search(first, {})) return 1;
      cold.micros.push_back(since(began));
      cpu.push_back(cpu_micros(CLOCK_PROCESS_CPUTIME_ID) - cpu_before);
    }
    cold.cpu = bench::percentiles_of(cpu).p50;
    line(mode == search_mode::dense ? "cold, rows to first dense answer" : "cold, rows to first hybrid answer", cold, {{"items", items}});
  }
  return 0;
}
