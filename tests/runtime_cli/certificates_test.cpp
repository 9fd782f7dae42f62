#include "runtime/cli/certificates.hpp"
#include "runtime/cli/failure.hpp"

#include <gtest/gtest.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace hive::cli {
namespace {

using std::chrono::hours;

X509* parse(const std::string& pem) {
  BIO* const in = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* const c = PEM_read_bio_X509(in, nullptr, nullptr, nullptr);
  BIO_free(in);
  return c;
}

class CertificatesTest : public ::testing::Test {
protected:
  const certificate_time now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const certificate_pair ca = make_authority("ca", now - hours{1}, now + hours{10});

  certificate_pair node(const std::string& name, const std::string& hive = "h", const std::vector<std::string>& addresses = {},
                        certificate_time until = {}) const {
    return make_node_certificate(ca, {hive, name, addresses, now - hours{1}, until == certificate_time{} ? now + hours{5} : until});
  }
};

TEST_F(CertificatesTest, NodeIsSignedByTheAuthorityForBothSidesOfTls) {
  X509* const authority = parse(ca.certificate);
  X509* const own = parse(node("node-1", "h", {"127.0.0.1", "host.example"}).certificate);
  X509_STORE* const trusted = X509_STORE_new();
  X509_STORE_add_cert(trusted, authority);
  X509_STORE_CTX* const context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, trusted, own, nullptr);
  EXPECT_EQ(X509_verify_cert(context), 1) << X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
  EXPECT_EQ(X509_check_purpose(own, X509_PURPOSE_SSL_CLIENT, 0), 1);
  EXPECT_EQ(X509_check_purpose(own, X509_PURPOSE_SSL_SERVER, 0), 1);
  EXPECT_EQ(X509_check_ca(own), 0) << "a node cannot make nodes";
  EXPECT_EQ(X509_check_ip_asc(own, "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_host(own, "host.example", 0, 0, nullptr), 1);
  X509_STORE_CTX_free(context);
  X509_STORE_free(trusted);
  X509_free(own);
  X509_free(authority);
}

TEST_F(CertificatesTest, NodeDoesNotOutliveItsAuthority) {
  EXPECT_EQ(valid_until(node("a").certificate), now + hours{5});
  EXPECT_EQ(valid_until(node("a", "h", {}, now + hours{1000}).certificate), now + hours{10});
}

TEST_F(CertificatesTest, BadInputIsNamed) {
  EXPECT_THROW(node(""), failure);
  EXPECT_THROW(node("a/b"), failure);
  EXPECT_THROW(node("a", "h,URI:hive://other/node/b"), failure);
  EXPECT_THROW(node("a", "h", {"127.0.0.1:7072"}), failure);
  EXPECT_THROW(node("a", "h", {"x,URI:hive://h/node/b"}), failure);
  const certificate_pair mixed{ca.certificate, make_authority("other", now, now + hours{1}).key};
  EXPECT_THROW(make_node_certificate(mixed, {"h", "a", {}, now, now + hours{1}}), failure);
  EXPECT_THROW(make_node_certificate({"x", "y"}, {"h", "a", {}, now, now + hours{1}}), failure);
}

} // namespace
} // namespace hive::cli
