#include "cluster/link_book.hpp"

namespace hive::cluster {

link_book::news link_book::hear(const links::link_event& e) {
  using kind = links::link_event::kind;
  using cause = links::link_event::cause;
  news n;
  if (e.what == kind::up || e.what == kind::down) n.reached = e.what == kind::up;
  if (e.what == kind::incoming_up || e.what == kind::incoming_down) n.heard = e.what == kind::incoming_up;
  auto& v = views_[e.node];
  if (v.generation != e.generation && e.generation.value() != 0) {
    if (e.generation < v.generation) return n; // a late word of an earlier life says nothing about the way to this one
    v = {};
    v.generation = e.generation;
  }
  switch (e.what) {
  case kind::up:
    v.outgoing = true;
    v.closed = v.refused = false;
    break;
  case kind::down:
    v.outgoing = false;
    v.closed = e.why == cause::closed;
    v.refused = false;
    break;
  case kind::unreachable:
    v.refused = v.closed && e.why == cause::connection_refused;
    if (!v.refused) v.closed = false;
    break;
  case kind::refused: v.closed = v.refused = false; break;
  case kind::incoming_up: v.incoming = true; break;
  case kind::incoming_down: v.incoming = false; break;
  case kind::round_trip:
  case kind::incoming_refused: return n;
  }
  const auto state = v.outgoing && v.incoming ? link_state::up
                     : v.outgoing             ? link_state::silent
                     : v.refused              ? link_state::refused
                     : v.closed               ? link_state::closed
                                              : link_state::silent;
  n.peer = v.generation;
  if (state != std::exchange(v.told, state)) n.state = state;
  return n;
}

} // namespace hive::cluster
