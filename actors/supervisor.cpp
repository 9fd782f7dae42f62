#include "actors/supervisor.hpp"

namespace hive::actors {

supervisor_core::decision supervisor_core::on_exit(restart_type restart, bool normal, steady_time now) {
  if (restart == restart_type::temporary || (restart == restart_type::transient && normal)) return {decision::kind::leave};
  while (!window_.empty() && now - window_.front() > spec_.period) window_.pop_front();
  if (window_.size() >= spec_.intensity) {
    window_.clear();
    return {decision::kind::escalate};
  }
  window_.push_back(now);
  ++restarts_;
  return {decision::kind::restart};
}

} // namespace hive::actors
