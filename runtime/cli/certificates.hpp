/// @file
/// Makes the certificates that nodes of a hive show each other: an authority, and one certificate for each node, which names
/// it as hive://HIVE/node/NODE. Keys on the curve P-256. Throws `failure`.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace hive::cli {

/// In PEM.
struct certificate_pair {
  std::string certificate;
  std::string key;
};

using certificate_time = std::chrono::sys_seconds;

certificate_pair make_authority(const std::string& name, certificate_time from, certificate_time until);

struct node_certificate_request {
  std::string hive;
  std::string node;
  std::vector<std::string> addresses; ///< Names and IP addresses of its machine, for people and other tools; nodes check the URI.
  certificate_time from;
  certificate_time until; ///< Cut to the authority's own.
};
certificate_pair make_node_certificate(const certificate_pair& authority, const node_certificate_request& wanted);

/// When it ends.
certificate_time valid_until(const std::string& certificate);

} // namespace hive::cli
