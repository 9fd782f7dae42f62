/// @file
/// Nodes with nothing but links, in one process, over loopback and real TLS.
#pragma once

#include "cluster/links/node_links.hpp"
#include "runtime/cli/certificates.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <thread>

namespace hive::cluster::links {

using std::chrono::hours;
using std::chrono::seconds;

/// An authority, and certificates of it in files.
class test_authority {
public:
  explicit test_authority(const std::string& name = "ca") : pair_(cli::make_authority(name, now() - hours{1}, now() + hours{24})) {}

  cli::certificate_pair node(const std::string& id, const std::string& hive = "hive-1", seconds from = -hours{1},
                             seconds until = hours{12}) const {
    return cli::make_node_certificate(pair_, {hive, id, {"127.0.0.1", "localhost"}, now() + from, now() + until});
  }
  const std::string& certificate() const { return pair_.certificate; }
  static cli::certificate_time now() { return std::chrono::floor<seconds>(std::chrono::system_clock::now()); }

private:
  cli::certificate_pair pair_;
};

inline void write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file.string() + ".new", std::ios::binary) << text;
  std::filesystem::rename(file.string() + ".new", file);
}

struct got_frame {
  std::string from;
  lane by;
  std::uint32_t tenant;
  std::string body;
  answer_token reply;
  milliseconds time_left;
};

/// One node. Records what comes, answers what is asked with "re: " and the question unless told otherwise.
class test_node final : public link_listener {
public:
  test_node(const std::filesystem::path& dir, const test_authority& authority, std::string id, std::uint64_t generation,
            const std::function<void(config::link_settings&, identity&)>& change = {})
      : dir_(dir / (id + "-" + std::to_string(generation) + "-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)))) {
    self = {"hive-1", "cell-1", std::move(id), node_generation{generation}, "store-1"};
    settings.listen = "127.0.0.1:0";
    settings.heartbeat = milliseconds{50};
    settings.heartbeat_timeout = milliseconds{400};
    settings.connect_timeout = milliseconds{2000};
    settings.backoff_min = milliseconds{10};
    settings.backoff_max = milliseconds{200};
    settings.certificate_check = milliseconds{1000};
    std::filesystem::create_directories(dir_);
    settings.ca_file = (dir_ / "ca.pem").string();
    settings.certificate_file = (dir_ / "node.pem").string();
    settings.key_file = (dir_ / "node.key").string();
    if (change) change(settings, self);
    use(authority, authority.node(self.node, self.hive));
  }
  ~test_node() override { stop(); }

  void use(const test_authority& authority, const cli::certificate_pair& own) {
    write_file(settings.ca_file, authority.certificate());
    write_file(settings.key_file, own.key);
    write_file(settings.certificate_file, own.certificate);
  }

  result<void> start() {
    links = std::make_unique<node_links>(node_link_parts{settings, clock, *this, self, self.generation.value()});
    return links->start();
  }
  void stop() {
    release();
    links.reset();
  }
  peer as_peer() const { return {self.node, self.generation, "127.0.0.1:" + std::to_string(links->port())}; }

  // -- what came, waited for
  bool wait(const std::function<bool()>& until, milliseconds most = milliseconds{10'000}) {
    std::unique_lock lock(guard);
    return changed.wait_for(lock, most, until);
  }
  bool wait_up(const std::string& node) {
    return wait([&] { return links->is_up(node); });
  }
  /// The first event of the kind, from now on or before.
  std::optional<link_event> wait_event(link_event::kind what, const std::string& node, milliseconds most = milliseconds{10'000}) {
    std::optional<link_event> found;
    wait(
        [&] {
          for (const auto& e : events)
            if (e.what == what && e.node == node) {
              found = e;
              return true;
            }
          return false;
        },
        most);
    return found;
  }
  std::size_t count(link_event::kind what) {
    std::lock_guard lock(guard);
    return static_cast<std::size_t>(std::count_if(events.begin(), events.end(), [&](const auto& e) { return e.what == what; }));
  }
  void release() {
    std::vector<std::shared_ptr<const received_batch>> all;
    std::lock_guard lock(guard);
    holding = false;
    all.swap(held);
  }

  // -- link_listener
  void received(std::shared_ptr<const received_batch> batch) override {
    if (by_hand) by_hand(*batch);
    std::lock_guard lock(guard);
    for (const auto& f : batch->frames) {
      frames.push_back({batch->from, batch->by, f.tenant.value(), std::string(f.body), f.reply, f.time_left});
      if (f.reply && answering) links->answer(f.reply, "re: " + std::string(f.body));
    }
    if (holding) held.push_back(std::move(batch));
    changed.notify_all();
  }
  void event(const link_event& e) override {
    std::lock_guard lock(guard);
    events.push_back(e);
    changed.notify_all();
  }

  config::link_settings settings;
  identity self;
  system_clock_source clock;
  std::unique_ptr<node_links> links;

  std::mutex guard;
  std::condition_variable changed;
  std::vector<got_frame> frames;
  std::vector<link_event> events;
  std::vector<std::shared_ptr<const received_batch>> held;
  bool holding = false; ///< Keep all batches, and so their credits.
  bool answering = true;
  std::function<void(const received_batch&)> by_hand; ///< Set before `start`.

private:
  std::filesystem::path dir_;
};

/// The end of one request, waited for.
class asked {
public:
  answer_handler handler() {
    return [s = state_](result<std::string> r) {
      std::lock_guard lock(s->guard);
      s->calls += 1;
      s->end.emplace(std::move(r));
      s->at = std::chrono::steady_clock::now();
      s->changed.notify_all();
    };
  }
  /// nullopt: it did not end in time.
  std::optional<result<std::string>> wait(milliseconds most = milliseconds{10'000}) {
    std::unique_lock lock(state_->guard);
    state_->changed.wait_for(lock, most, [&] { return state_->end.has_value(); });
    return state_->end;
  }
  int calls() {
    std::lock_guard lock(state_->guard);
    return state_->calls;
  }
  std::chrono::steady_clock::time_point at() {
    std::lock_guard lock(state_->guard);
    return state_->at;
  }

private:
  struct state {
    std::mutex guard;
    std::condition_variable changed;
    std::optional<result<std::string>> end;
    int calls = 0;
    std::chrono::steady_clock::time_point at{};
  };
  std::shared_ptr<state> state_ = std::make_shared<state>();
};

class LinkTest : public ::testing::Test {
protected:
  using change = std::function<void(config::link_settings&, identity&)>;

  LinkTest() {
    std::string pattern = ::testing::TempDir() + "hive_links.XXXXXX";
    dir = ::mkdtemp(pattern.data());
  }
  ~LinkTest() override {
    nodes.clear();
    std::error_code ec;
    std::filesystem::remove_all(dir, ec);
  }
  /// Started, knows nobody yet.
  test_node& node(const std::string& id, std::uint64_t generation = 1, const change& with = {}) {
    nodes.push_back(std::make_unique<test_node>(dir, authority, id, generation, with));
    const auto started = nodes.back()->start();
    EXPECT_TRUE(started) << to_string(started.error());
    return *nodes.back();
  }
  /// Everybody knows everybody; waits until all links are up.
  void connect(std::initializer_list<test_node*> all) {
    std::vector<peer> peers;
    for (const auto* n : all) peers.push_back(n->as_peer());
    for (auto* n : all) n->links->set_peers(peers);
    for (auto* n : all)
      for (const auto* other : all)
        if (n != other) {
          ASSERT_TRUE(n->wait_up(other->self.node)) << n->self.node << " -> " << other->self.node;
        }
  }
  steady_time in(milliseconds t) { return std::chrono::steady_clock::now() + t; }

  std::filesystem::path dir;
  test_authority authority;
  std::vector<std::unique_ptr<test_node>> nodes;
};

} // namespace hive::cluster::links
