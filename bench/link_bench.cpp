// Question: how many tells of 64 B and 512 B does one node send another by a node link, and how long does a request take?
// Data: two processes over loopback with mutual TLS 1.3; the sender queues batches of 64 frames of one tenant as long as the
// link takes them; the receiver counts frames and bytes and releases them; requests are answered with their own bytes.
// Targets: >= 200,000 tells/s; request p99 <= 5 ms. Erlang/OTP between two nodes, without TLS: 294,000 hops/s.
// Options: --seconds S --batch N --batch_bytes N --only tell
#include "bench/support/bench.hpp"

#include "cluster/links/node_links.hpp"
#include "runtime/cli/certificates.hpp"

#include <condition_variable>
#include <csignal>
#include <fstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>

using namespace hive;
using namespace hive::cluster::links;

namespace {

struct listener final : link_listener {
  node_links* links = nullptr;
  std::atomic<std::uint64_t> frames{0};
  void received(std::shared_ptr<const received_batch> batch) override {
    for (const auto& f : batch->frames)
      if (f.reply) links->answer(f.reply, std::string(f.body));
    frames.fetch_add(batch->frames.size(), std::memory_order_relaxed);
  }
  void event(const link_event&) override {}
};

struct party {
  config::link_settings settings;
  system_clock_source clock;
  listener ears;
  std::unique_ptr<node_links> links;

  party(const std::string& dir, const std::string& name, std::uint64_t batch_bytes) {
    if (batch_bytes != 0) settings.batch_bytes = batch_bytes;
    settings.listen = "127.0.0.1:0";
    settings.ca_file = dir + "/ca.pem";
    settings.certificate_file = dir + "/" + name + ".pem";
    settings.key_file = dir + "/" + name + ".key";
    links = std::make_unique<node_links>(
        node_link_parts{settings, clock, ears, {"bench", "cell", name, node_generation{1}, "store"}, bench::options::seed()});
    ears.links = links.get();
    if (const auto started = links->start(); !started) {
      std::fprintf(stderr, "%s\n", to_string(started.error()).c_str());
      std::exit(1);
    }
  }
  void meet(const std::string& other, int port) {
    links->set_peers({{other, node_generation{1}, "127.0.0.1:" + std::to_string(port)}});
    for (int i = 0; i < 1000 && !links->is_up(other); ++i) std::this_thread::sleep_for(std::chrono::milliseconds{10});
    if (links->is_up(other)) return;
    std::fprintf(stderr, "no link to %s: %s\n", other.c_str(), links->status().at(0).last_error.c_str());
    std::exit(1);
  }
};

void make_certificates(const std::string& dir) {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto from = now - std::chrono::hours{1};
  const auto until = now + std::chrono::hours{24};
  const auto ca = cli::make_authority("bench", from, until);
  std::ofstream(dir + "/ca.pem") << ca.certificate;
  for (const std::string name : {"sender", "receiver"}) {
    const auto own = cli::make_node_certificate(ca, {"bench", name, {}, from, until});
    std::ofstream(dir + "/" + name + ".pem") << own.certificate;
    std::ofstream(dir + "/" + name + ".key") << own.key;
  }
}

/// The other process: tells its port, hears ours, then only answers.
[[noreturn]] void receiver(const std::string& dir, int from_us, int to_us) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  party me(dir, "receiver", 0);
  int port = me.links->port();
  if (write(to_us, &port, sizeof port) != sizeof port || read(from_us, &port, sizeof port) != sizeof port) std::_Exit(1);
  me.meet("sender", port);
  char word = 0;
  for (;;) { // each byte asks how many frames have come
    if (read(from_us, &word, 1) != 1) std::_Exit(0);
    const std::pair<std::uint64_t, double> now{me.ears.frames.load(), bench::cpu_seconds()};
    if (write(to_us, &now, sizeof now) != sizeof now) std::_Exit(1);
  }
}

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto seconds = static_cast<double>(o.number("seconds", 4));
  const auto batch = o.number("batch", 64);
  bench::temp_dir dir;
  make_certificates(dir.path());
  int there[2];
  int back[2];
  if (pipe(there) != 0 || pipe(back) != 0) return 1;
  const auto child = fork(); // before any thread
  if (child == 0) receiver(dir.path(), there[0], back[1]);
  party me(dir.path(), "sender", o.number("batch_bytes", 0));
  int port = 0;
  int own = me.links->port();
  if (read(back[0], &port, sizeof port) != sizeof port || write(there[1], &own, sizeof own) != sizeof own) return 1;
  me.meet("receiver", port);
  const auto arrived = [&] {
    std::pair<std::uint64_t, double> now{};
    if (write(there[1], "?", 1) != 1 || read(back[0], &now, sizeof now) != sizeof now) std::exit(1);
    return now;
  };

  for (const std::size_t size : {64, 512}) {
    std::atomic<bool> stop{false};
    std::thread sender([&] {
      const std::string body(size, 'x');
      std::vector<frame> frames;
      while (!stop) {
        frames.assign(batch, frame{tenant_id{1}, body});
        for (std::size_t done = 0; done < frames.size() && !stop;) {
          const auto told = me.links->tell("receiver", lane::data, std::span(frames).subspan(done));
          done += told.taken;
          if (told.why) std::this_thread::sleep_for(std::chrono::microseconds{200}); // full: as a layer above would wait
        }
      }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds{500});
    const auto before = arrived();
    const auto batches = me.links->counters();
    const double cpu = bench::cpu_seconds();
    const auto began = bench::clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const auto after = arrived();
    const double took = std::chrono::duration<double>(bench::clock::now() - began).count();
    const auto n = static_cast<double>(after.first - before.first);
    const auto now = me.links->counters();
    const double sender_ns = (bench::cpu_seconds() - cpu) * 1e9 / n;
    const double receiver_ns = (after.second - before.second) * 1e9 / n;
    stop = true;
    sender.join();
    bench::report("tell " + std::to_string(size) + " B", n / took, {},
                  {{"seed", bench::options::seed()},
                   {"sender_cpu_ns_each", sender_ns},
                   {"receiver_cpu_ns_each", receiver_ns},
                   {"frames_per_batch", static_cast<double>(now.frames_sent - batches.frames_sent) /
                                            static_cast<double>(now.batches_sent - batches.batches_sent)},
                   {"heartbeat_rtt_us", me.links->status().at(0).rtt.count()},
                   {"ratio_to_erlang_294k", n / took / 294'000}});
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
  }
  if (o.text("only", "") == "tell") return 0;

  for (const std::size_t in_flight : {1, 64}) {
    std::mutex guard;
    std::condition_variable ended;
    std::vector<double> micros;
    std::size_t open = 0;
    std::uint64_t failed = 0;
    const std::string body(64, 'x');
    const auto began = bench::clock::now();
    const auto until = began + std::chrono::duration_cast<bench::clock::duration>(std::chrono::duration<double>(seconds));
    std::unique_lock lock(guard);
    while (bench::clock::now() < until) {
      ended.wait(lock, [&] { return open < in_flight; });
      open += 1;
      lock.unlock();
      const auto sent = bench::clock::now();
      me.links->request("receiver", lane::data, {tenant_id{1}, body}, sent + std::chrono::seconds{10}, [&, sent](result<std::string> r) {
        const auto took = std::chrono::duration<double, std::micro>(bench::clock::now() - sent).count();
        std::lock_guard ending(guard);
        micros.push_back(took);
        failed += r ? 0 : 1;
        open -= 1;
        ended.notify_one();
      });
      lock.lock();
    }
    ended.wait(lock, [&] { return open == 0; });
    const double rate = static_cast<double>(micros.size()) / std::chrono::duration<double>(bench::clock::now() - began).count();
    bench::report("request 64 B, " + std::to_string(in_flight) + " in flight", rate, bench::percentiles_of(micros),
                  {{"seed", bench::options::seed()}, {"in_flight", in_flight}, {"failed", failed}});
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}
