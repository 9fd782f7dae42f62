/// @file
/// What memberships say to each other, as bytes on the control lane.
#pragma once

#include "cluster/membership_io.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace hive::cluster {

std::string encode(const peer_message& m);
/// Empty: it cannot be read.
std::optional<peer_message> decode_peer_message(std::string_view bytes);

} // namespace hive::cluster
