/// @file
/// Who may link to whom: pure checks of what a node says about itself against its certificate, this node's identity and
/// the list of peers. No time, no chance, no sockets.
#pragma once

#include "cluster/links/link_types.hpp"

#include <map>
#include <optional>
#include <span>
#include <variant>

namespace hive::cluster::links {

/// What the dialling node says first, on each of its three streams.
struct hello {
  std::uint32_t lowest_version = protocol_lowest;
  std::uint32_t highest_version = protocol_highest;
  identity from;
  std::string to_node;
  node_generation to_generation;
  std::uint64_t session = 0; ///< Not 0; names one attempt of one node.
};

struct refusal {
  std::string reason;
  std::string message;
};

/// hive://HIVE/node/NODE
std::string certificate_uri(std::string_view hive, std::string_view node);
/// Whether `text` can be the id of a hive or node: then its URI needs no escaping and names exactly one.
bool is_link_name(std::string_view text) noexcept;
/// The node that a certificate with these URIs names in `hive`; nothing when there is none, or more than one.
std::optional<std::string> certified_node(std::span<const std::string> uris, std::string_view hive);

/// Whether what is wrong with a handshake can only be mended by a person: then it is tried again only slowly.
bool is_lasting(std::string_view refusal_reason) noexcept;

/// Decides who may dial in: the list of peers has the last word on generations. An older one is over; a newer one has to
/// wait until the list knows it, so that nobody can take a node's place by naming a high number. Not thread-safe.
class gatekeeper {
public:
  explicit gatekeeper(identity self) : self_(std::move(self)) {}

  void set_peers(std::span<const peer> peers);

  /// @param uris of the certificate that the connection was made with.
  /// @returns the protocol version to speak, or why not.
  std::variant<std::uint32_t, refusal> check(const hello& h, std::span<const std::string> uris) const;

private:
  identity self_;
  std::map<std::string, node_generation, std::less<>> peers_;
};

/// The dialling side's look at a Welcome.
std::optional<refusal> check_welcome(const peer& expected, std::uint32_t version, std::string_view node, node_generation generation);

} // namespace hive::cluster::links
