/// @file
/// The certificates of this node, and what gRPC makes of them: mutual TLS 1.3, files looked at again while running, peers
/// checked by the name in their certificate. Includes OpenSSL only to say clearly what is wrong with a file.
#pragma once

#include "cluster/links/link_types.hpp"
#include "config/settings.hpp"

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>

#include <memory>

namespace hive::cluster::links {

struct certificate_facts {
  wall_time valid_until{};
};

/// Reads the three files as they are now.
/// @returns `invalid_argument` with the setting at fault and how to mend it.
result<certificate_facts> check_certificates(const config::link_settings& s, const identity& self, wall_time now);

/// From now on no TLS below 1.3 in this process, and gRPC's own log lines go to ours; refused handshakes are counted. Call
/// before anything else of gRPC. Any number of times.
void prepare_grpc();

/// Connections that TLS refused since the process began, either way: strangers, garbage, silence.
std::uint64_t refused_connections() noexcept;

/// One for all connections of a node: watches the files.
using certificate_provider = std::shared_ptr<grpc::experimental::CertificateProviderInterface>;
certificate_provider watch_certificates(const config::link_settings& s);

/// Lets in whoever has a certificate of the hive.
std::shared_ptr<grpc::ServerCredentials> listening_credentials(const certificate_provider& files, const std::string& hive);
/// Connects to nobody but `node`.
std::shared_ptr<grpc::ChannelCredentials> dialling_credentials(const certificate_provider& files, const std::string& hive,
                                                               const std::string& node);

} // namespace hive::cluster::links
