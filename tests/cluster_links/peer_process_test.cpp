// A peer that is killed, or stands still, as the kernel does it.
#include "tests/cluster_links/link_fixture.hpp"

#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace hive::cluster::links {
namespace {

using kind = link_event::kind;
using cause = link_event::cause;

class PeerProcessTest : public LinkTest {
protected:
  PeerProcessTest() : a(node("a")) {
    const auto own = authority.node("b");
    std::filesystem::create_directories(dir / "b");
    write_file(dir / "b/ca.pem", authority.certificate());
    write_file(dir / "b/node.pem", own.certificate);
    write_file(dir / "b/node.key", own.key);
    int in[2];
    int out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    std::string program = std::string(std::getenv("HIVE_BIN_DIR") ? std::getenv("HIVE_BIN_DIR") : "build/release/bin") + "/link_peer";
    std::string where = (dir / "b").string();
    std::string name = "b";
    std::string generation = "1";
    char* arguments[] = {program.data(), where.data(), name.data(), generation.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&process, program.c_str(), &files, nullptr, arguments, environ), 0) << program;
    posix_spawn_file_actions_destroy(&files);
    ::close(in[0]);
    ::close(out[1]);
    to_peer = in[1];
    std::string port;
    for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) port.push_back(c);
    ::close(out[0]);
    const auto me = a.as_peer();
    const std::string line = me.id + " 1 " + me.address + "\n";
    EXPECT_EQ(::write(to_peer, line.data(), line.size()), static_cast<ssize_t>(line.size()));
    a.links->set_peers({{"b", node_generation{1}, "127.0.0.1:" + port}});
    EXPECT_TRUE(a.wait_up("b"));
    EXPECT_TRUE(a.wait_event(kind::incoming_up, "b"));
  }
  ~PeerProcessTest() override {
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
    ::close(to_peer);
  }
  void expect_answers() {
    asked q;
    a.links->request("b", lane::data, {tenant_id{1}, "there?"}, in(seconds{5}), q.handler());
    const auto end = q.wait();
    ASSERT_TRUE(end && *end) << to_string(end->error());
  }

  test_node& a;
  pid_t process = -1;
  int to_peer = -1;
};

TEST_F(PeerProcessTest, KilledPeerIsKnownToBeGoneAtOnce) {
  expect_answers();
  std::vector<asked> open(20);
  for (auto& q : open) a.links->request("b", lane::data, {tenant_id{1}, "wait"}, in(seconds{60}), q.handler());
  std::this_thread::sleep_for(milliseconds{100});
  const auto began = std::chrono::steady_clock::now();
  ::kill(process, SIGKILL);
  for (auto& q : open) {
    const auto end = q.wait();
    ASSERT_TRUE(end && !*end);
    EXPECT_EQ(end->error().code, errc::unknown);
    EXPECT_LT(q.at() - began, milliseconds{1000});
  }
  EXPECT_EQ(a.wait_event(kind::down, "b")->why, cause::closed);
  const auto gone = a.wait_event(kind::unreachable, "b");
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->why, cause::connection_refused);
  EXPECT_LT(std::chrono::steady_clock::now() - began, milliseconds{2000});
  EXPECT_TRUE(a.wait_event(kind::incoming_down, "b"));
}

TEST_F(PeerProcessTest, PeerThatStandsStillIsDownByItsSilenceAndUpWhenItGoesOn) {
  asked open;
  a.links->request("b", lane::data, {tenant_id{1}, "wait"}, in(seconds{60}), open.handler());
  std::this_thread::sleep_for(milliseconds{100});
  const auto began = std::chrono::steady_clock::now();
  ::kill(process, SIGSTOP);
  const auto down = a.wait_event(kind::down, "b");
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why, cause::silent);
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_GE(took, milliseconds{300}) << "the timeout is 400 ms";
  EXPECT_LT(took, milliseconds{2000});
  EXPECT_EQ(open.wait()->error().code, errc::unknown);
  EXPECT_TRUE(a.wait_event(kind::incoming_down, "b")) << "its own link is given up too";
  {
    std::lock_guard lock(a.guard);
    a.events.clear();
  }
  ::kill(process, SIGCONT);
  EXPECT_TRUE(a.wait_up("b"));
  EXPECT_TRUE(a.wait_event(kind::incoming_up, "b"));
  expect_answers();
}

} // namespace
} // namespace hive::cluster::links
