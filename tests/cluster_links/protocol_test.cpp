// A node that has a good certificate and breaks the protocol: by gRPC itself, without our dialling side.
#include "tests/cluster_links/link_fixture.hpp"

#include "cluster/links/frame_codec.hpp"
#include "cluster/links/link.grpc.pb.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

namespace hive::cluster::links {
namespace {

namespace wire = hive::link::v1;

class ProtocolTest : public LinkTest {
protected:
  ProtocolTest()
      : a(node("a", 1, [](config::link_settings& s, identity&) {
          s.window_messages = s.tenant_window_messages = 64;
          s.connect_timeout = milliseconds{500};
        })) {
    a.links->set_peers({{"b", node_generation{1}, "127.0.0.1:1"}});
    const auto own = authority.node("b");
    const auto credentials = grpc::SslCredentials({authority.certificate(), own.key, own.certificate});
    stub = wire::NodeLink::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(a.links->port()), credentials));
    hello.set_lowest_version(1);
    hello.set_highest_version(1);
    hello.set_hive("hive-1");
    hello.set_cell("cell-1");
    hello.set_node("b");
    hello.set_generation(1);
    hello.set_store("store-1");
    hello.set_to_node("a");
    hello.set_to_generation(1);
    hello.set_session(77);
    hello.set_answer_bytes(1000);
  }
  using stream = std::unique_ptr<grpc::ClientReaderWriter<wire::ToPeer, wire::FromPeer>>;

  wire::ToPeer greeting() const {
    wire::ToPeer m;
    *m.mutable_hello() = hello;
    return m;
  }
  static wire::ToPeer ping() {
    wire::ToPeer m;
    m.mutable_ping()->set_sequence(1);
    return m;
  }
  /// The next answer that is not an echo or a credit.
  static wire::FromPeer next(const stream& s) {
    wire::FromPeer m;
    while (s->Read(&m) && !m.has_refusal() && !m.has_welcome() && !m.has_answers()) m.Clear();
    return m;
  }
  static std::string refusal_of(const stream& s) {
    const auto m = next(s);
    const auto status = s->Finish();
    EXPECT_FALSE(status.ok());
    return m.refusal().reason();
  }

  test_node& a;
  std::unique_ptr<wire::NodeLink::Stub> stub;
  wire::Hello hello;
  grpc::ClientContext context, second; // outlive their streams
};

TEST_F(ProtocolTest, WelcomeIsGivenToAProperHello) {
  const stream s = stub->Control(&context);
  s->Write(greeting());
  const auto welcome = next(s);
  ASSERT_TRUE(welcome.has_welcome());
  EXPECT_EQ(welcome.welcome().node(), "a");
  context.TryCancel();
}

TEST_F(ProtocolTest, FirstWordHasToBeAHello) {
  const stream s = stub->Control(&context);
  s->Write(ping());
  EXPECT_EQ(refusal_of(s), "protocol");
  EXPECT_EQ(a.links->counters().protocol_errors, 1U);
}

TEST_F(ProtocolTest, SecondHelloIsOneTooMany) {
  const stream s = stub->Control(&context);
  s->Write(greeting());
  ASSERT_TRUE(next(s).has_welcome());
  s->Write(greeting());
  EXPECT_EQ(refusal_of(s), "protocol");
}

TEST_F(ProtocolTest, NameOfAnotherNodeIsRefused) {
  hello.set_node("c");
  const stream s = stub->Control(&context);
  s->Write(greeting());
  EXPECT_EQ(refusal_of(s), "identity");
  EXPECT_EQ(a.links->counters().handshakes_refused, 1U);
}

TEST_F(ProtocolTest, DataLaneNeedsItsControlLane) {
  const stream s = stub->Data(&context);
  s->Write(greeting());
  EXPECT_EQ(refusal_of(s), "session");
}

TEST_F(ProtocolTest, WhoSaysNothingIsCutOff) {
  const auto began = std::chrono::steady_clock::now();
  const stream s = stub->Control(&context);
  wire::FromPeer m;
  EXPECT_FALSE(s->Read(&m));
  EXPECT_LT(std::chrono::steady_clock::now() - began, milliseconds{3000}) << "the limit is 500 ms";
}

TEST_F(ProtocolTest, BatchThatDoesNotDecodeEndsTheSession) {
  const stream s = stub->Control(&context);
  s->Write(greeting());
  ASSERT_TRUE(next(s).has_welcome());
  const stream data = stub->Data(&second);
  data->Write(greeting());
  ASSERT_TRUE(next(data).has_welcome());
  wire::ToPeer m;
  m.mutable_batch()->set_packed("\xff\xff\xff");
  m.mutable_batch()->set_count(1'000'000'000);
  data->Write(m);
  EXPECT_EQ(refusal_of(data), "protocol");
  EXPECT_FALSE(next(s).has_welcome()) << "the other lane ends too";
  EXPECT_FALSE(s->Finish().ok());
}

TEST_F(ProtocolTest, WhoSendsBeyondItsCreditsIsCutOff) {
  a.holding = true;
  const stream s = stub->Control(&context);
  s->Write(greeting());
  ASSERT_TRUE(next(s).has_welcome());
  const stream data = stub->Data(&second);
  data->Write(greeting());
  ASSERT_TRUE(next(data).has_welcome());
  for (int i = 0; i < 70; ++i) { // the window is 64
    std::string one;
    pack_frame(one, {tenant_id{1}, 0, {}, "x"});
    wire::ToPeer m;
    m.mutable_batch()->set_packed(one);
    m.mutable_batch()->set_count(1);
    if (!data->Write(m)) break;
  }
  EXPECT_EQ(refusal_of(data), "protocol");
  std::lock_guard lock(a.guard);
  EXPECT_EQ(a.frames.size(), 64U);
  context.TryCancel();
}

TEST_F(ProtocolTest, SameRequestTwiceIsCutOff) {
  a.answering = false;
  const stream s = stub->Control(&context);
  s->Write(greeting());
  ASSERT_TRUE(next(s).has_welcome());
  for (int i = 0; i < 2; ++i) {
    std::string one;
    pack_frame(one, {tenant_id{1}, correlation_of(1, lane::control), milliseconds{1000}, "?"});
    wire::ToPeer m;
    m.mutable_batch()->set_packed(one);
    m.mutable_batch()->set_count(1);
    s->Write(m);
  }
  EXPECT_EQ(refusal_of(s), "protocol");
}

} // namespace
} // namespace hive::cluster::links
