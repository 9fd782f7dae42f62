// Strangers on the node port: whatever they send or hold back, they are refused, counted, and the links between nodes go on.
#include "tests/cluster_links/link_fixture.hpp"

#include "config/base/random.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace hive::cluster::links {
namespace {

using kind = link_event::kind;

class tcp {
public:
  explicit tcp(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval most{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  ~tcp() { ::close(fd_); }
  tcp(const tcp&) = delete;
  tcp& operator=(const tcp&) = delete;
  bool send(std::string_view bytes) const {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  /// Reads until the other side closes. @returns whether it did within the ten seconds of the socket.
  bool closes() const {
    char bytes[4096];
    for (;;) {
      const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
      if (n == 0 || (n < 0 && errno == ECONNRESET)) return true;
      if (n < 0) return false;
    }
  }
  int fd() const { return fd_; }

private:
  int fd_;
};

/// A TLS client of its own, without gRPC: OpenSSL as any stranger has it.
class tls_client {
public:
  tls_client(std::uint16_t port, const cli::certificate_pair* own, int highest = TLS1_3_VERSION)
      : socket_(port), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_, highest);
    static constexpr unsigned char h2[] = {2, 'h', '2'};
    SSL_CTX_set_alpn_protos(context_, h2, sizeof h2);
    if (own) {
      BIO* c = BIO_new_mem_buf(own->certificate.data(), static_cast<int>(own->certificate.size()));
      BIO* k = BIO_new_mem_buf(own->key.data(), static_cast<int>(own->key.size()));
      X509* certificate = PEM_read_bio_X509(c, nullptr, nullptr, nullptr);
      EVP_PKEY* key = PEM_read_bio_PrivateKey(k, nullptr, nullptr, nullptr);
      EXPECT_EQ(SSL_CTX_use_certificate(context_, certificate), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey(context_, key), 1);
      X509_free(certificate);
      EVP_PKEY_free(key);
      BIO_free(c);
      BIO_free(k);
    }
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, socket_.fd());
    connected_ = SSL_connect(ssl_) == 1;
  }
  ~tls_client() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    ERR_clear_error();
  }
  tls_client(const tls_client&) = delete;
  tls_client& operator=(const tls_client&) = delete;

  bool connected() const { return connected_; }
  bool send(std::string_view bytes) { return SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) > 0; }
  /// Waits for the server's first bytes: its HTTP/2 settings, which it sends only to whom TLS let in.
  bool is_let_in() {
    char byte = 0;
    return connected_ && SSL_read(ssl_, &byte, 1) == 1;
  }
  bool closes() {
    char bytes[4096];
    for (;;) {
      const int n = SSL_read(ssl_, bytes, sizeof bytes);
      if (n > 0) continue;
      const int why = SSL_get_error(ssl_, n);
      return why == SSL_ERROR_ZERO_RETURN || why == SSL_ERROR_SSL || (why == SSL_ERROR_SYSCALL && errno != EAGAIN);
    }
  }
  /// When the server's certificate ends.
  std::time_t server_certificate_until() const {
    X509* const c = SSL_get1_peer_certificate(ssl_);
    std::tm parts{};
    if (c) ASN1_TIME_to_tm(X509_get0_notAfter(c), &parts);
    X509_free(c);
    return timegm(&parts);
  }

private:
  tcp socket_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  bool connected_ = false;
};

constexpr std::string_view http2_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class HostileTest : public LinkTest {
protected:
  HostileTest() : a(node("a")), b(node("b")) { connect({&a, &b}); }
  std::uint16_t port() const { return a.links->port(); }
  std::uint64_t refused() const { return a.links->counters().connections_refused; }
  /// The two nodes still talk, and have all the time.
  void expect_unharmed() {
    asked q;
    b.links->request("a", lane::data, {tenant_id{1}, "well?"}, in(seconds{5}), q.handler());
    const auto end = q.wait();
    ASSERT_TRUE(end && *end) << to_string(end->error());
    EXPECT_EQ(a.count(kind::down), 0U);
    EXPECT_EQ(b.count(kind::down), 0U);
  }
  void wait_refused(std::uint64_t at_least) {
    for (int i = 0; i < 500 && refused() < at_least; ++i) std::this_thread::sleep_for(milliseconds{10});
    EXPECT_GE(refused(), at_least);
  }

  test_node& a;
  test_node& b;
};

TEST_F(HostileTest, GarbageIsRefusedAndCounted) {
  const auto before = refused();
  random_source random(1);
  for (int i = 0; i < 50; ++i) {
    tcp stranger(port());
    std::string bytes;
    for (auto n = 1 + random.below(2000); n > 0; --n) bytes.push_back(static_cast<char>(random.next()));
    if (i == 0) bytes = "GET / HTTP/1.1\r\n\r\n";
    if (i == 1) bytes = http2_preface;
    if (i == 2) bytes = std::string("\x16\x03\x01\xff\xff", 5) + bytes; // the head of a TLS record, then nonsense
    stranger.send(bytes);
    ::shutdown(stranger.fd(), SHUT_WR);
    EXPECT_TRUE(stranger.closes()) << i;
  }
  wait_refused(before + 40); // a connection that ends early in a promised record may be nobody's fault
  expect_unharmed();
}

TEST_F(HostileTest, SlowOnesAreCutOffInTime) {
  const auto before = refused();
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::unique_ptr<tcp>> strangers;
  for (int i = 0; i < 100; ++i) strangers.push_back(std::make_unique<tcp>(port()));
  for (int i = 0; i < 10; ++i) { // a byte now and then of a hello that never ends
    for (std::size_t s = 0; s < strangers.size(); s += 2)
      strangers[s]->send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", 10).substr(static_cast<std::size_t>(i), 1));
    std::this_thread::sleep_for(milliseconds{100});
  }
  for (const auto& s : strangers) EXPECT_TRUE(s->closes());
  EXPECT_LT(std::chrono::steady_clock::now() - began, milliseconds{6000}) << "the limit is 2000 ms";
  wait_refused(before + 100);
  expect_unharmed();
}

TEST_F(HostileTest, OnlyACertificateOfTheHiveAndTls13GetIn) {
  const auto good = authority.node("b");
  EXPECT_TRUE(tls_client(port(), &good).is_let_in()) << "or nothing below means anything";
  const auto before = refused();
  EXPECT_FALSE(tls_client(port(), nullptr).is_let_in()) << "no certificate";
  const auto foreign = test_authority("ca").node("b");
  EXPECT_FALSE(tls_client(port(), &foreign).is_let_in()) << "of another authority of the same name";
  const auto expired = authority.node("b", "hive-1", -hours{5}, -hours{1});
  EXPECT_FALSE(tls_client(port(), &expired).is_let_in()) << "expired";
  const auto early = authority.node("b", "hive-1", hours{1}, hours{2});
  EXPECT_FALSE(tls_client(port(), &early).is_let_in()) << "not valid yet";
  const auto other_hive = authority.node("b", "hive-2");
  EXPECT_FALSE(tls_client(port(), &other_hive).is_let_in()) << "of another hive";
  wait_refused(before + 5);
  EXPECT_FALSE(tls_client(port(), &good, TLS1_2_VERSION).connected()) << "TLS 1.2";
  wait_refused(before + 6);
  expect_unharmed();
}

TEST_F(HostileTest, NodeWithAForeignAuthorityNeverComesUp) {
  const test_authority foreign("other");
  nodes.push_back(std::make_unique<test_node>(dir, foreign, "c", 1));
  auto& c = *nodes.back();
  ASSERT_TRUE(c.start());
  c.links->set_peers({a.as_peer()});
  a.links->set_peers({b.as_peer(), c.as_peer()});
  const auto no = c.wait_event(kind::unreachable, "a");
  ASSERT_TRUE(no);
  EXPECT_EQ(no->why, link_event::cause::not_secure) << no->message;
  EXPECT_TRUE(a.wait_event(kind::unreachable, "c"));
  EXPECT_FALSE(c.links->is_up("a"));
  EXPECT_FALSE(a.links->is_up("c"));
  expect_unharmed();
}

TEST_F(HostileTest, NonsenseBehindAGoodCertificateIsCutOff) {
  const auto good = authority.node("b");
  random_source random(2);
  for (int i = 0; i < 20; ++i) {
    tls_client node_gone_mad(port(), &good);
    ASSERT_TRUE(node_gone_mad.is_let_in());
    std::string bytes(http2_preface);
    if (i % 2 == 0) bytes.clear();
    for (auto n = 64 + random.below(2000); n > 0; --n) bytes.push_back(static_cast<char>(random.next()));
    node_gone_mad.send(bytes);
    EXPECT_TRUE(node_gone_mad.closes()) << i;
  }
  expect_unharmed();
}

TEST_F(HostileTest, RotatedCertificatesAreTakenWithoutARestart) {
  const auto renewed = authority.node("a", "hive-1", -hours{1}, hours{20});
  const auto until = cli::valid_until(renewed.certificate).time_since_epoch().count();
  const auto good = authority.node("b");
  ASSERT_NE(tls_client(port(), &good).server_certificate_until(), until);
  a.use(authority, renewed);
  bool taken = false;
  for (int i = 0; i < 100 && !taken; ++i) {
    std::this_thread::sleep_for(milliseconds{100});
    taken = tls_client(port(), &good).server_certificate_until() == until;
  }
  EXPECT_TRUE(taken);
  for (int i = 0; i < 100 && std::chrono::floor<seconds>(a.links->certificate_valid_until()).time_since_epoch().count() != until; ++i)
    std::this_thread::sleep_for(milliseconds{100});
  EXPECT_EQ(std::chrono::floor<seconds>(a.links->certificate_valid_until()).time_since_epoch().count(), until);
  expect_unharmed();

  // A new authority on both: what was made before is refused from then on, the two nodes meet again under the new one.
  const test_authority next("next");
  a.use(next, next.node("a"));
  b.use(next, next.node("b"));
  const auto strange = next.node("b");
  taken = false;
  for (int i = 0; i < 100 && !taken; ++i) {
    std::this_thread::sleep_for(milliseconds{100});
    taken = tls_client(port(), &strange).is_let_in() && tls_client(b.links->port(), &strange).is_let_in();
  }
  ASSERT_TRUE(taken);
  EXPECT_FALSE(tls_client(port(), &good).is_let_in());
  expect_unharmed(); // what is up stays up
  a.links->set_peers({});
  ASSERT_TRUE(b.wait_event(kind::down, "a"));
  a.links->set_peers({b.as_peer()});
  EXPECT_TRUE(a.wait_up("b"));
  EXPECT_TRUE(b.wait_up("a"));
}

} // namespace
} // namespace hive::cluster::links
