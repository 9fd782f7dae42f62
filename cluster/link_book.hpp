/// @file
/// What the events of the links to one's peers mean: to the membership, whether a peer is reached; to the node, whether it may
/// be sent what waits for it, and whether this node heard all that it said.
#pragma once

#include "cluster/links/link_types.hpp"
#include "cluster/membership_io.hpp"

#include <map>
#include <optional>
#include <string>

namespace hive::cluster {

/// Confined to the membership's thread.
class link_book {
public:
  struct news {
    std::optional<link_state> state; ///< Of the way to the peer and back, when it is another one now,
    node_generation peer;            ///< and which life of it that is.
    std::optional<bool> reached;     ///< This node's own link to the peer came up, or went down.
    std::optional<bool> heard;       ///< The peer's link to this node did. What the peer said while it was down was not heard, and
                                     ///< this node's own link knows nothing of that.
  };
  news hear(const links::link_event& e);

private:
  struct view {
    bool outgoing = false;
    bool incoming = false;
    bool closed = false;  // the outgoing one was, by the other end,
    bool refused = false; // and then nobody listened there
    link_state told = link_state::silent;
    node_generation generation;
  };
  std::map<std::string, view> views_;
};

} // namespace hive::cluster
