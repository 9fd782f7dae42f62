#include "cluster/links/handshake.hpp"

#include <algorithm>

namespace hive::cluster::links {
namespace {

std::string in_quotes(std::string_view text) { return "\"" + std::string(text.substr(0, 100)) + "\""; }

std::string number(node_generation g) { return std::to_string(g.value()); }

} // namespace

std::string certificate_uri(std::string_view hive, std::string_view node) {
  return "hive://" + std::string(hive) + "/node/" + std::string(node);
}

bool is_link_name(std::string_view text) noexcept {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), fits);
}

std::optional<std::string> certified_node(std::span<const std::string> uris, std::string_view hive) {
  const auto prefix = certificate_uri(hive, "");
  std::optional<std::string> found;
  for (const auto& uri : uris) {
    if (!uri.starts_with(prefix)) continue;
    auto node = uri.substr(prefix.size());
    if (!is_link_name(node) || found) return std::nullopt;
    found = std::move(node);
  }
  return found;
}

bool is_lasting(std::string_view reason) noexcept {
  return reason == "foreign_hive" || reason == "foreign_cell" || reason == "foreign_store" || reason == "version" || reason == "identity" ||
         reason == "superseded" || reason == "wrong_node";
}

void gatekeeper::set_peers(std::span<const peer> peers) {
  peers_.clear();
  for (const auto& p : peers) peers_[p.id] = p.generation;
}

std::variant<std::uint32_t, refusal> gatekeeper::check(const hello& h, std::span<const std::string> uris) const {
  const auto& from = h.from;
  if (from.hive != self_.hive) return refusal{"foreign_hive", "this is hive " + in_quotes(self_.hive) + ", not " + in_quotes(from.hive)};
  const auto certified = certified_node(uris, self_.hive);
  if (!certified || *certified != from.node)
    return refusal{"identity", "the certificate names " + (certified ? "node " + in_quotes(*certified) : "no node of this hive") +
                                   ", the hello " + in_quotes(from.node)};
  if (from.cell != self_.cell) return refusal{"foreign_cell", "this is cell " + in_quotes(self_.cell) + ", not " + in_quotes(from.cell)};
  if (from.store != self_.store)
    return refusal{"foreign_store", "this node's store is " + in_quotes(self_.store) + ", the other's is " + in_quotes(from.store) +
                                        ": it was started on another hive's data"};
  const auto version = std::min(h.highest_version, protocol_highest);
  if (h.lowest_version > h.highest_version || version < std::max(h.lowest_version, protocol_lowest))
    return refusal{"version", "versions " + std::to_string(protocol_lowest) + " to " + std::to_string(protocol_highest) +
                                  " are spoken here, " + std::to_string(h.lowest_version) + " to " + std::to_string(h.highest_version) +
                                  " there"};
  if (h.to_node != self_.node) return refusal{"wrong_node", "this is node " + in_quotes(self_.node) + ", not " + in_quotes(h.to_node)};
  if (h.to_generation != self_.generation)
    return refusal{"wrong_generation", "this is generation " + number(self_.generation) + " of the node, not " + number(h.to_generation)};
  if (from.node == self_.node) return refusal{"identity", "this node is " + in_quotes(self_.node) + " itself: two nodes have one name"};
  const auto known = peers_.find(from.node);
  if (known == peers_.end()) return refusal{"not_a_member", "node " + in_quotes(from.node) + " is not in this node's list of peers"};
  if (from.generation < known->second)
    return refusal{"superseded", "generation " + number(known->second) + " of node " + in_quotes(from.node) + " is there, " +
                                     number(from.generation) + " is over: stop it, or two nodes have one name"};
  if (from.generation > known->second)
    return refusal{"not_a_member", "this node's list of peers knows generation " + number(known->second) + " of node " +
                                       in_quotes(from.node) + ", not yet " + number(from.generation)};
  return version;
}

std::optional<refusal> check_welcome(const peer& expected, std::uint32_t version, std::string_view node, node_generation generation) {
  if (version < protocol_lowest || version > protocol_highest)
    return refusal{"version", "the peer chose version " + std::to_string(version)};
  if (node != expected.id) return refusal{"wrong_node", "dialled node " + in_quotes(expected.id) + ", reached " + in_quotes(node)};
  if (generation != expected.generation)
    return refusal{"wrong_generation", "dialled generation " + number(expected.generation) + ", reached " + number(generation)};
  return std::nullopt;
}

} // namespace hive::cluster::links
