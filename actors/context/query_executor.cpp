#include "actors/context/query_executor.hpp"

namespace hive::actors {

result<payload> query_executor::run(const call& c) {
  const auto arguments = json::parse(c.arguments.bytes, nullptr, false);
  if (!arguments.is_object()) return invalid("payload", "the step's arguments are not an object");
  auto on = open_(c, arguments.value("collection", ""));
  if (!on) return on.error();
  auto answer = run_query(*on, what_, arguments.at("query"), settings_.context, clock_.wall_now(),
                          [&](const embedding_model& by, const std::string& text) { return embed_(c, by, text); });
  if (!answer) return answer.error();
  return payload{answer->dump(-1, ' ', false, json::error_handler_t::replace), content_type::json};
}

void add_query_executors(executor_registry& to, const config::settings& settings, const clock_source& clock,
                         const query_executor::opener& open, const query_executor::embedder& embed) {
  to.add(search_executor, std::make_unique<query_executor>("search", settings, clock, open, embed));
  to.add(pack_executor, std::make_unique<query_executor>("pack", settings, clock, open, embed));
}

} // namespace hive::actors
