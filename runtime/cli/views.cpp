#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/render.hpp"

#include <chrono>
#include <thread>

namespace hive::cli {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

struct view_options {
  std::vector<std::string> what;
  std::size_t limit = 1000;
  bool follow = false;
  std::string from;
  std::string types;
  bool wait = false;
};

void tree(session& s, const view_options& o) {
  const json answer = s.server().call("GET", s.path("tree") + "?limit=" + std::to_string(o.limit));
  if (s.json()) s.print_json(answer);
  else s.print(render_tree(answer, s.out_is_terminal()));
}

void explain(session& s, const view_options& o) {
  std::string kind = o.what[0];
  std::string name = o.what.size() > 1 ? o.what[1] : "";
  if (const auto slash = kind.find('/'); slash != std::string::npos && o.what.size() == 1) {
    name = kind.substr(slash + 1);
    kind.erase(slash);
  }
  if (kind.empty() || name.empty())
    throw failure(exit_code::usage, "explain what?", "hivectl -t TENANT explain agent/NAME (or supervisor, collection, queue, task, tenant).");
  const json answer =
      s.server().call("GET", "/v1/explain/" + url_encode(s.tenant()) + "/" + url_encode(kind) + "/" + url_encode(name));
  if (s.json()) s.print_json(answer);
  else s.print(render_object(answer));
}

/// Prints events as they come. Following goes on over broken connections from the last cursor: nothing is lost or twice.
void events(session& s, const view_options& o) {
  const bool follow = o.follow || o.from.empty();
  std::string cursor = o.from;
  const std::string target = s.path("events") + (o.types.empty() ? "" : "?types=" + url_encode(o.types));
  const auto print = [&](const http_client::event& e) {
    json event = json::parse(e.data, nullptr, false);
    if (event.is_discarded() || !event.is_object()) event = {{"type", e.type}, {"data", e.data}};
    if (!e.id.empty()) cursor = e.id;
    if (s.json()) s.print(event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
    else s.print(render_event(event, s.width(), s.out_is_terminal()));
    return true;
  };
  const auto end_when_away = std::chrono::seconds(60);
  auto last_seen = std::chrono::steady_clock::now();
  for (bool first = true;; first = false) {
    try {
      // Live streams carry a comment every 15 s. What is past comes at once: then silence means that it was all.
      s.server().stream(target, cursor, follow ? std::chrono::seconds(40) : milliseconds(1000), print);
      last_seen = std::chrono::steady_clock::now();
    } catch (const failure& why) {
      const bool may_come_back = follow && !first && why.code == exit_code::unavailable;
      if (!may_come_back || std::chrono::steady_clock::now() - last_seen > end_when_away) throw;
    }
    if (!follow) {
      if (!s.json() && cursor != o.from) s.note("cursor: " + cursor);
      return;
    }
    std::this_thread::sleep_for(milliseconds(500));
  }
}

std::string probe(session& s, const std::string& target) {
  const auto answer = s.server().send("GET", target, nullptr, std::chrono::seconds(5));
  if (answer.status == 200) return "yes";
  const std::string why = text_of(object_of(answer.body, "error"), "message");
  return "no" + (why.empty() ? "" : ": " + why);
}

void status(session& s) {
  json facts = {{"server", s.server().server()}, {"live", probe(s, "/healthz")}, {"ready", probe(s, "/readyz")}};
  const auto tenants = s.server().send("GET", "/v1/tenants?page_size=1000", nullptr, std::chrono::seconds(5));
  if (tenants.status == 200) {
    json names = json::array();
    for (const auto& tenant : object_of(tenants.body, "tenants")) names.push_back(text_of(tenant, "name"));
    facts["tenants"] = names;
  } else if (tenants.status == 401) {
    facts["key"] = "none, or not known here";
  }
  if (s.json()) s.print_json(facts);
  else s.print(render_object(facts));
  if (facts["ready"] != "yes") throw failure(exit_code::unavailable, "not ready");
}

void health(session& s, const view_options& o) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    try {
      const json answer = s.server().call("GET", "/readyz", nullptr, std::chrono::seconds(5));
      if (s.json()) s.print_json(answer);
      else s.print("ready\n");
      return;
    } catch (const failure&) {
      if (!o.wait || std::chrono::steady_clock::now() > end) throw;
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
}

} // namespace

void add_view_commands(CLI::App& app, session& s) {
  auto o = std::make_shared<view_options>();
  auto* tree_command = add_command(app, "tree", "The supervision tree with live status, restarts and incarnations",
                                   "  hivectl -t demo tree\n  hivectl -t demo tree -o json");
  tree_command->add_option("--limit", o->limit, "At most so many agents and supervisors")
      ->check(CLI::Range(1, 100000))->capture_default_str();
  tree_command->callback([&s, o] { tree(s, *o); });

  auto* explain_command = add_command(app, "explain", "Everything known about one entity or task: where it lives, what it waits for, last errors and turns",
                                      "  hivectl -t demo explain agent/greeter\n  hivectl -t demo explain supervisor/readers\n"
                                      "  hivectl -t demo explain queue/default\n  hivectl -t demo explain task/ID");
  explain_command->add_option("WHAT", o->what, "KIND/NAME; kinds: agent, supervisor, collection, queue, task, tenant")->required()->expected(1, 2);
  explain_command->callback([&s, o] { explain(s, *o); });

  auto* events_command = add_command(app, "events", "What happens in a tenant, as it is committed",
                                     "  hivectl -t demo events --follow\n  hivectl -t demo events --types 'task.*,agent.crashed'\n"
                                     "  hivectl -t demo events --from CURSOR -o json     # what came after, then ends");
  events_command->add_flag("--follow", o->follow, "Go on when all past events are shown (the default without --from)");
  events_command->add_option("--from", o->from, "Start after this cursor, as -o json shows it");
  events_command->add_option("--types", o->types, "Only these, separated by commas; task.* is a group");
  events_command->callback([&s, o] { events(s, *o); });

  auto* status_command = add_command(app, "status", "Is hived there and ready, and what may this key see?", "  hivectl status");
  status_command->callback([&s] { status(s); });
  auto* health_command = add_command(app, "health", "Exit code 0 when hived is ready, 5 when not; needs no key",
                                     "  hivectl health\n  hivectl health --wait");
  health_command->add_flag("--wait", o->wait, "Wait for it, at most 60 s");
  health_command->callback([&s, o] { health(s, *o); });
}

} // namespace hive::cli
