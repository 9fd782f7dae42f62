/// @file
/// What answers at a node's address while the node waits for what it cannot start without, such as room on its disk.
#pragma once

#include "config/settings.hpp"
#include "runtime/api/gateway.hpp"

#include <memory>

namespace hive::node {

/// Alive, not ready, and says why; everything else is refused with that. Confined to the thread that made it.
class unready_node {
public:
  /// Listens at `api.http`; when that cannot be had, it says so in the log and nothing answers.
  unready_node(const config::settings& settings, error why);
  ~unready_node();

  /// The node waits for something else now.
  void because(error why);

private:
  class waiting_hive;
  security::authenticator authenticator_;
  std::unique_ptr<waiting_hive> hive_;
  std::unique_ptr<ops::metrics> metrics_;
  std::unique_ptr<api::gateway> gateway_;
};

} // namespace hive::node
