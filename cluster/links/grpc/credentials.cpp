#include "cluster/links/grpc/credentials.hpp"

#include "cluster/links/handshake.hpp"
#include "config/base/log.hpp"

#include <grpc/support/log.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <mutex>
#include <sstream>

namespace hive::cluster::links {
namespace {

template <auto Free> struct freed {
  template <class T> void operator()(T* p) const noexcept { Free(p); }
};
using bio_ptr = std::unique_ptr<BIO, freed<&BIO_free_all>>;
using certificate_ptr = std::unique_ptr<X509, freed<&X509_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed<&EVP_PKEY_free>>;
using store_ptr = std::unique_ptr<X509_STORE, freed<&X509_STORE_free>>;
using store_context_ptr = std::unique_ptr<X509_STORE_CTX, freed<&X509_STORE_CTX_free>>;
void free_names(GENERAL_NAMES* n) noexcept { GENERAL_NAMES_free(n); }
using names_ptr = std::unique_ptr<GENERAL_NAMES, freed<&free_names>>;

error wrong(const char* setting, const std::string& file, const std::string& what) {
  const std::string field = std::string("cluster.link.") + setting;
  return invalid(field, field + ": " + (file.empty() ? std::string("no file is named") : "\"" + file + "\" " + what) +
                            "; hivectl certs makes what is needed");
}

result<bio_ptr> open_file(const char* setting, const std::string& file) {
  if (file.empty()) return wrong(setting, file, "");
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) return wrong(setting, file, std::string("cannot be read: ") + std::strerror(errno));
  const auto bytes = text.str();
  bio_ptr memory(BIO_new(BIO_s_mem()));
  BIO_write(memory.get(), bytes.data(), static_cast<int>(bytes.size()));
  return memory;
}

std::vector<std::string> uris_of(X509* certificate) {
  std::vector<std::string> uris;
  const names_ptr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const auto* uri = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)), static_cast<std::size_t>(ASN1_STRING_length(uri)));
  }
  return uris;
}

wall_time time_of(const ASN1_TIME* t) {
  std::tm parts{};
  ASN1_TIME_to_tm(t, &parts);
  return wall_time{std::chrono::seconds{timegm(&parts)}};
}

std::string shown(const ASN1_TIME* t) {
  std::tm parts{};
  ASN1_TIME_to_tm(t, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%FT%TZ", &parts);
  return text;
}

// -- gRPC's log

std::atomic<std::uint64_t> refused{0};
std::atomic<std::int64_t> lines_in_second{0}; // the second in the upper bits, lines in the lower ones
constexpr std::int64_t lines_a_second = 20;

/// A stranger can cause as many lines as connections: only so many are written.
bool may_write_line() {
  const auto second = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch()).count() << 20U;
  auto seen = lines_in_second.load(std::memory_order_relaxed);
  for (;;) {
    const auto next = (seen >> 20U << 20U) == second ? seen + 1 : second + 1;
    if (lines_in_second.compare_exchange_weak(seen, next, std::memory_order_relaxed)) return (next & 0xFFFFF) <= lines_a_second;
  }
}

void write_line(gpr_log_func_args* args) {
  std::string_view text = args->message;
  text = text.substr(0, text.find(" {")); // what follows says where in gRPC
  constexpr std::string_view listener = "Handshaking failed: ";
  if (text.starts_with(listener)) { // chttp2_server.cc, for each connection that did not get through
    refused.fetch_add(1, std::memory_order_relaxed);
    if (may_write_line()) log::warn("node port: connection refused", {{"why", text.substr(listener.size())}});
    return;
  }
  // The same once more, from further below; who dials says it in its own words.
  const bool again = text.find("Handshake failed") != std::string_view::npos || text.find("cancel_check_peer") != std::string_view::npos;
  if (args->severity == GPR_LOG_SEVERITY_ERROR && !again && may_write_line())
    log::warn("gRPC", {{"message", text}, {"file", args->file}, {"line", args->line}});
}

/// Checks after TLS has checked the signature: the certificate must name a node of the hive, and the right one.
class name_verifier final : public grpc::experimental::ExternalCertificateVerifier {
public:
  /// @param node empty: any.
  name_verifier(std::string hive, std::string node) : hive_(std::move(hive)), node_(std::move(node)) {}

  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    std::vector<std::string> uris;
    for (const auto& uri : request->uri_names()) uris.emplace_back(uri.data(), uri.size());
    const auto named = certified_node(uris, hive_);
    if (named && (node_.empty() || *named == node_))
      *status = grpc::Status::OK;
    else
      *status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "the certificate names " + (named ? "node " + *named : "no node") +
                                                                    " of hive " + hive_ + (node_.empty() ? "" : ", expected " + node_));
    return true; // decided here and now
  }
  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest*) override {}

private:
  std::string hive_, node_;
};

void watch(grpc::experimental::TlsCredentialsOptions& o, const certificate_provider& files, const std::string& hive,
           const std::string& node) {
  o.set_certificate_provider(files);
  o.watch_root_certs();
  o.watch_identity_key_cert_pairs();
  o.set_check_call_host(false); // names of machines mean nothing here
  o.set_certificate_verifier(grpc::experimental::ExternalCertificateVerifier::Create<name_verifier>(hive, node));
}

} // namespace

result<certificate_facts> check_certificates(const config::link_settings& s, const identity& self, wall_time now) {
  auto ca_file = open_file("ca_file", s.ca_file);
  if (!ca_file) return ca_file.error();
  auto certificate_file = open_file("certificate_file", s.certificate_file);
  if (!certificate_file) return certificate_file.error();
  auto key_file = open_file("key_file", s.key_file);
  if (!key_file) return key_file.error();

  const store_ptr trusted(X509_STORE_new());
  int authorities = 0;
  for (;; ++authorities) {
    const certificate_ptr ca(PEM_read_bio_X509(ca_file->get(), nullptr, nullptr, nullptr));
    if (!ca) break;
    X509_STORE_add_cert(trusted.get(), ca.get());
  }
  ERR_clear_error();
  if (authorities == 0) return wrong("ca_file", s.ca_file, "holds no certificate in PEM");

  const certificate_ptr own(PEM_read_bio_X509(certificate_file->get(), nullptr, nullptr, nullptr));
  if (!own) return wrong("certificate_file", s.certificate_file, "holds no certificate in PEM");
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  const key_ptr key(PEM_read_bio_PrivateKey(key_file->get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!key) return wrong("key_file", s.key_file, "holds no private key in PEM without a passphrase");
  if (X509_check_private_key(own.get(), key.get()) != 1) {
    ERR_clear_error();
    return wrong("key_file", s.key_file, "is not the key of the certificate");
  }
  if (certified_node(uris_of(own.get()), self.hive) != self.node)
    return wrong("certificate_file", s.certificate_file, "does not name " + certificate_uri(self.hive, self.node));
  if (time_of(X509_get0_notBefore(own.get())) > now)
    return wrong("certificate_file", s.certificate_file, "is not valid before " + shown(X509_get0_notBefore(own.get())));
  const auto until = time_of(X509_get0_notAfter(own.get()));
  if (until <= now) return wrong("certificate_file", s.certificate_file, "has expired at " + shown(X509_get0_notAfter(own.get())));

  const store_context_ptr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), trusted.get(), own.get(), nullptr);
  if (X509_verify_cert(context.get()) != 1) {
    const std::string why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
    ERR_clear_error();
    return wrong("certificate_file", s.certificate_file, "is not signed by a certificate of cluster.link.ca_file (" + why + ")");
  }
  return certificate_facts{until};
}

void prepare_grpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // gRPC 1.51 has no public way to ask for TLS 1.3 at least. It passes this list to SSL_CTX_set_cipher_list, which rules
    // TLS 1.2 only: a cipher that needs a pre-shared key, which nobody has, leaves 1.2 without any. A test dials with 1.2.
    ::setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
    gpr_set_log_function(write_line);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_DEBUG); // the listener says at debug why it refused
  });
}

std::uint64_t refused_connections() noexcept { return refused.load(std::memory_order_relaxed); }

certificate_provider watch_certificates(const config::link_settings& s) {
  const auto seconds = std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(s.certificate_check).count());
  return std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(s.key_file, s.certificate_file, s.ca_file,
                                                                              static_cast<unsigned>(seconds));
}

std::shared_ptr<grpc::ServerCredentials> listening_credentials(const certificate_provider& files, const std::string& hive) {
  grpc::experimental::TlsServerCredentialsOptions o(files);
  watch(o, files, hive, "");
  o.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(o);
}

std::shared_ptr<grpc::ChannelCredentials> dialling_credentials(const certificate_provider& files, const std::string& hive,
                                                               const std::string& node) {
  grpc::experimental::TlsChannelCredentialsOptions o;
  watch(o, files, hive, node);
  o.set_verify_server_certs(true);
  return grpc::experimental::TlsCredentials(o);
}

} // namespace hive::cluster::links
