// A node with nothing but links, as a process of its own, to be killed and stopped: link_peer DIR NAME GENERATION
// DIR holds ca.pem, node.pem, node.key. Prints its port, reads lines "ID GENERATION ADDRESS" of its peers, answers requests with
// "re: " and the question, but for "wait", until its input ends.
#include "cluster/links/node_links.hpp"

#include <iostream>

using namespace hive;
using namespace hive::cluster::links;

namespace {

struct echo final : link_listener {
  node_links* links = nullptr;
  void received(std::shared_ptr<const received_batch> batch) override {
    for (const auto& f : batch->frames)
      if (f.reply && f.body != "wait") links->answer(f.reply, "re: " + std::string(f.body));
  }
  void event(const link_event&) override {}
};

} // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string dir = argv[1];
  config::link_settings settings;
  settings.listen = "127.0.0.1:0";
  settings.ca_file = dir + "/ca.pem";
  settings.certificate_file = dir + "/node.pem";
  settings.key_file = dir + "/node.key";
  settings.backoff_min = std::chrono::milliseconds{10};
  settings.backoff_max = std::chrono::milliseconds{200};
  system_clock_source clock;
  echo ears;
  node_links links({settings, clock, ears, {"hive-1", "cell-1", argv[2], node_generation{std::stoull(argv[3])}, "store-1"}, 1});
  ears.links = &links;
  if (const auto started = links.start(); !started) {
    std::cerr << to_string(started.error()) << "\n";
    return 1;
  }
  std::cout << links.port() << std::endl;
  std::vector<peer> peers;
  std::string id;
  std::string address;
  for (std::uint64_t generation = 0; std::cin >> id >> generation >> address;) {
    peers.push_back({id, node_generation{generation}, address});
    links.set_peers(peers);
  }
}
