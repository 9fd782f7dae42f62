// hivectl nodes, shards, drain, undrain.
#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/render.hpp"

#include <chrono>
#include <map>
#include <thread>

namespace hive::cli {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

json list_of(const json& object, const char* member) {
  const auto found = object.find(member);
  return found == object.end() ? json::array() : *found;
}

void list_nodes(session& s) {
  const auto answer = s.server().call("GET", "/v1/nodes");
  if (s.json()) return s.print_json(answer);
  const auto nodes = list_of(answer, "nodes");
  if (nodes.empty()) return s.print("this hive is one node, without peers\n");
  table rows({"NODE", "STATE", "SHARDS", "LINK", "RTT", "LEASE", "HTTP", "ZONE", "VERSION", "NOTE"});
  for (const auto& n : nodes) {
    const auto self = n.value("self", false);
    const auto state = text_of(n, "state");
    const auto rtt = number_of(n, "rtt_us");
    rows.add({text_of(n, "name"), s.coloured(state == "active" ? colour::green : colour::yellow, state), std::to_string(number_of(n, "shards")),
              self ? "(asked)" : text_of(n, "link"), self || rtt == 0 ? "" : std::to_string(rtt) + " us", text_of(n, "lease_left_ms") + " ms",
              text_of(n, "http"), text_of(n, "zone"), text_of(n, "version"), shorten(text_of(n, "last_error"), 60)});
  }
  s.print(rows.text());
  if (!answer.value("serving", false)) s.note(text_of(answer, "self") + " is not a member just now, or does not reach its store");
}

void list_shards(session& s, bool each) {
  const auto answer = s.server().call("GET", "/v1/shards");
  if (s.json()) return s.print_json(answer);
  std::map<std::string, std::vector<std::uint64_t>> by_node;
  table rows({"SHARD", "NODE", "EPOCH"});
  for (const auto& shard : list_of(answer, "shards")) {
    const auto node = text_of(shard, "node");
    by_node[node.empty() ? "(nobody)" : node].push_back(number_of(shard, "number"));
    rows.add({std::to_string(number_of(shard, "number")), node.empty() ? "(nobody)" : node, std::to_string(number_of(shard, "epoch"))});
  }
  if (each) return s.print(rows.text());
  table sums({"NODE", "SHARDS", "WHICH"});
  for (const auto& [node, shards] : by_node) {
    std::string which; // runs of numbers: "0-3 7 9-12"
    for (std::size_t i = 0; i < shards.size();) {
      auto end = i;
      while (end + 1 < shards.size() && shards[end + 1] == shards[end] + 1) ++end;
      which += (which.empty() ? "" : " ") + std::to_string(shards[i]) + (end > i ? "-" + std::to_string(shards[end]) : "");
      i = end + 1;
    }
    sums.add({node, std::to_string(shards.size()), shorten(which, 100)});
  }
  s.print(sums.text());
}

struct drain_options {
  std::string node;
  bool dry_run = false;
  bool watch = false;
  std::string wait = "10m";
};

void print_plan(session& s, const json& drain) {
  std::map<std::string, std::size_t> to;
  for (const auto& m : list_of(drain, "plan")) to[text_of(m, "to")] += 1;
  table rows({"TO", "SHARDS"});
  for (const auto& [node, count] : to) rows.add({node, std::to_string(count)});
  s.print(text_of(drain, "node") + " (" + text_of(drain, "state") + ") has " + std::to_string(number_of(drain, "shards_left")) + " shards\n" +
          (rows.empty() ? std::string() : rows.text()));
}

void drain(session& s, const drain_options& o) {
  const auto path = "/v1/nodes/" + o.node + ":drain";
  const json order{{"dry_run", o.dry_run}};
  const json question{{"dry_run", true}};
  auto answer = s.server().call("POST", path, &order);
  if (o.dry_run || !o.watch) {
    if (s.json()) return s.print_json(answer);
    print_plan(s, answer);
    if (o.dry_run) s.note("nothing was moved (--dry-run)");
    else if (number_of(answer, "shards_left") != 0) s.note("hivectl drain " + o.node + " --watch shows how it goes on");
    return;
  }
  const auto began = steady_clock::now();
  const auto until = began + parse_duration(o.wait, "--wait");
  const auto all = number_of(answer, "shards_left");
  const bool live = s.err_is_terminal() && !s.json();
  std::uint64_t shown = all + 1;
  for (;;) {
    const auto left = number_of(answer, "shards_left");
    const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began);
    if (live) s.note("\r" + progress_line("draining " + o.node, all - std::min(all, left), all, elapsed, s.width()));
    else if (left != shown && !s.json()) s.print(o.node + ": " + std::to_string(left) + " shards left\n");
    shown = left;
    if (left == 0) break;
    if (steady_clock::now() >= until) throw failure(exit_code::unavailable, o.node + " still has " + std::to_string(left) + " shards", "hivectl drain " + o.node + " --watch goes on waiting");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    try {
      answer = s.server().call("POST", path, &question);
    } catch (const failure& why) {
      if (why.code != exit_code::not_found) throw;
      throw failure(exit_code::failed, o.node + " is not in the hive any more: it ended while it still had " + std::to_string(left) + " shards, which the others take over",
                    "hivectl shards shows where they are");
    }
  }
  if (s.json()) return s.print_json(answer);
  s.print(o.node + " owns nothing any more; stop it, or hivectl undrain " + o.node + "\n");
}

} // namespace

void add_node_commands(CLI::App& app, session& s) {
  add_command(app, "nodes", "Lists the nodes of the hive", "  hivectl nodes\n  hivectl nodes -o json")->callback([&s] { list_nodes(s); });

  auto* shards = add_command(app, "shards", "Shows which node owns which shard", "  hivectl shards\n  hivectl shards --each");
  auto each = std::make_shared<bool>(false);
  shards->add_flag("--each", *each, "A row a shard, with its epoch");
  shards->callback([&s, each] { list_shards(s, *each); });

  auto* drains = add_command(app, "drain", "Hands all shards of a node to the others; it stays, owning nothing",
                             "  hivectl drain node-2 --dry-run\n  hivectl drain node-2 --watch");
  auto o = std::make_shared<drain_options>();
  drains->add_option("NODE", o->node)->required();
  drains->add_flag("--dry-run", o->dry_run, "Only show where its shards would go");
  drains->add_flag("--watch", o->watch, "Wait until it owns nothing, with progress");
  drains->add_option("--wait", o->wait, "With --watch: how long at most")->capture_default_str();
  drains->callback([&s, o] { drain(s, *o); });

  auto* undrains = add_command(app, "undrain", "Lets a drained node take shards again", "  hivectl undrain node-2");
  auto node = std::make_shared<std::string>();
  undrains->add_option("NODE", *node)->required();
  undrains->callback([&s, node] {
    const auto none = json::object();
    const auto answer = s.server().call("POST", "/v1/nodes/" + *node + ":undrain", &none);
    if (s.json()) return s.print_json(answer);
    const auto state = text_of(answer, "state");
    s.print(*node + (state == "active" ? " takes shards again\n" : " is " + state + " still; it takes shards again when the store says so (hivectl nodes)\n"));
  });
}

} // namespace hive::cli
