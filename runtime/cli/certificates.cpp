#include "runtime/cli/certificates.hpp"

#include "runtime/cli/failure.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <memory>

namespace hive::cli {
namespace {

template <auto Free> struct freed {
  template <class T> void operator()(T* p) const noexcept { Free(p); }
};
using bio_ptr = std::unique_ptr<BIO, freed<&BIO_free_all>>;
using certificate_ptr = std::unique_ptr<X509, freed<&X509_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed<&EVP_PKEY_free>>;
using extension_ptr = std::unique_ptr<X509_EXTENSION, freed<&X509_EXTENSION_free>>;

[[noreturn]] void fail(const std::string& what) {
  char text[256] = "";
  if (const auto code = ERR_get_error()) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  throw failure(exit_code::failed, what + (*text ? std::string(": ") + text : std::string()));
}

void check(bool ok, const char* what) {
  if (!ok) fail(std::string("cannot make a certificate (") + what + ")");
}

template <class Write> std::string pem(Write&& write) {
  const bio_ptr out(BIO_new(BIO_s_mem()));
  check(out && write(out.get()) == 1, "PEM");
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

bio_ptr reader(const std::string& text) { return bio_ptr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

certificate_ptr read_certificate(const std::string& text) {
  certificate_ptr c(PEM_read_bio_X509(reader(text).get(), nullptr, nullptr, nullptr));
  if (!c) fail("the authority's certificate cannot be read");
  return c;
}

void add_extension(X509* to, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  const extension_ptr e(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  check(e && X509_add_ext(to, e.get(), -1) == 1, OBJ_nid2sn(kind));
}

/// A certificate with everything but extensions and signature.
certificate_ptr blank(EVP_PKEY* key, const std::string& name, certificate_time from, certificate_time until) {
  certificate_ptr c(X509_new());
  check(c && X509_set_version(c.get(), X509_VERSION_3) == 1, "version");
  unsigned char serial[16];
  check(RAND_bytes(serial, sizeof serial) == 1, "serial");
  serial[0] &= 0x7F; // positive
  BIGNUM* const number = BN_bin2bn(serial, sizeof serial, nullptr);
  const bool numbered = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(c.get()));
  BN_free(number);
  check(numbered, "serial");
  check(ASN1_TIME_set(X509_getm_notBefore(c.get()), from.time_since_epoch().count()) &&
            ASN1_TIME_set(X509_getm_notAfter(c.get()), until.time_since_epoch().count()),
        "validity");
  check(X509_set_pubkey(c.get(), key) == 1, "key");
  check(X509_NAME_add_entry_by_txt(X509_get_subject_name(c.get()), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.data()),
                                   static_cast<int>(name.size()), -1, 0) == 1,
        "name");
  return c;
}

certificate_pair finished(X509* c, EVP_PKEY* key, EVP_PKEY* signer) {
  check(X509_sign(c, signer, EVP_sha256()) > 0, "signature");
  return {pem([&](BIO* out) { return PEM_write_bio_X509(out, c); }),
          pem([&](BIO* out) { return PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr); })};
}

key_ptr new_key() {
  key_ptr key(EVP_EC_gen("P-256"));
  check(key != nullptr, "new key");
  return key;
}

bool is_link_name(const std::string& text) {
  return !text.empty() && text.size() <= 63 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
}

std::string alternative_name(const std::string& address) {
  unsigned char bytes[16];
  if (inet_pton(AF_INET, address.c_str(), bytes) == 1 || inet_pton(AF_INET6, address.c_str(), bytes) == 1) return "IP:" + address;
  const bool is_name = !address.empty() && address.size() <= 253 &&
                       address.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == std::string::npos;
  if (!is_name)
    throw failure(exit_code::usage, "--address: '" + address + "' is no IP address and no host name",
                  "Leave out the port; repeat --address for more.");
  return "DNS:" + address;
}

} // namespace

certificate_pair make_authority(const std::string& name, certificate_time from, certificate_time until) {
  const auto key = new_key();
  const auto c = blank(key.get(), name, from, until);
  check(X509_set_issuer_name(c.get(), X509_get_subject_name(c.get())) == 1, "issuer");
  add_extension(c.get(), c.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(c.get(), c.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(c.get(), c.get(), NID_subject_key_identifier, "hash");
  return finished(c.get(), key.get(), key.get());
}

certificate_pair make_node_certificate(const certificate_pair& authority, const node_certificate_request& wanted) {
  if (!is_link_name(wanted.node))
    throw failure(exit_code::usage, "NAME: '" + wanted.node + "' cannot name a node",
                  "Letters, digits, '.', '_' and '-', 1 to 63 of them.");
  if (!is_link_name(wanted.hive))
    throw failure(exit_code::usage, "--hive: '" + wanted.hive + "' cannot be the id of a hive",
                  "Letters, digits, '.', '_' and '-', 1 to 63 of them.");
  const auto issuer = read_certificate(authority.certificate);
  const key_ptr signer(PEM_read_bio_PrivateKey(
      reader(authority.key).get(), nullptr, [](char*, int, int, void*) { return -1; }, nullptr));
  if (!signer) fail("the authority's key cannot be read");
  if (X509_check_private_key(issuer.get(), signer.get()) != 1) fail("the authority's key is not the key of its certificate");

  const auto key = new_key();
  const auto c = blank(key.get(), wanted.node, wanted.from, std::min(wanted.until, valid_until(authority.certificate)));
  check(X509_set_issuer_name(c.get(), X509_get_subject_name(issuer.get())) == 1, "issuer");
  std::string names = "URI:hive://" + wanted.hive + "/node/" + wanted.node;
  for (const auto& address : wanted.addresses) names += "," + alternative_name(address);
  add_extension(c.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(c.get(), issuer.get(), NID_key_usage, "critical,digitalSignature");
  add_extension(c.get(), issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(c.get(), issuer.get(), NID_subject_key_identifier, "hash");
  add_extension(c.get(), issuer.get(), NID_authority_key_identifier, "keyid:always");
  add_extension(c.get(), issuer.get(), NID_subject_alt_name, names);
  return finished(c.get(), key.get(), signer.get());
}

certificate_time valid_until(const std::string& certificate) {
  const auto c = read_certificate(certificate);
  std::tm parts{};
  check(ASN1_TIME_to_tm(X509_get0_notAfter(c.get()), &parts) == 1, "validity");
  return certificate_time{std::chrono::seconds{timegm(&parts)}};
}

} // namespace hive::cli
