#include "cluster/links/link_types.hpp"

namespace hive::cluster::links {

std::string_view to_string(lane l) noexcept {
  switch (l) {
  case lane::control:
    return "control";
  case lane::data:
    return "data";
  case lane::bulk:
    return "bulk";
  }
  return "?";
}

std::string_view to_string(link_event::kind k) noexcept {
  using enum link_event::kind;
  switch (k) {
  case up:
    return "up";
  case down:
    return "down";
  case unreachable:
    return "unreachable";
  case refused:
    return "refused";
  case round_trip:
    return "round_trip";
  case incoming_up:
    return "incoming_up";
  case incoming_down:
    return "incoming_down";
  case incoming_refused:
    return "incoming_refused";
  }
  return "?";
}

std::string_view to_string(link_event::cause c) noexcept {
  using enum link_event::cause;
  switch (c) {
  case none:
    return "none";
  case closed:
    return "closed";
  case silent:
    return "silent";
  case connection_refused:
    return "connection_refused";
  case timed_out:
    return "timed_out";
  case not_secure:
    return "not_secure";
  case handshake:
    return "handshake";
  case replaced:
    return "replaced";
  case removed:
    return "removed";
  case stopping:
    return "stopping";
  case protocol:
    return "protocol";
  }
  return "?";
}

} // namespace hive::cluster::links
