// hivectl top: what the node does now, and the agents that have the most to do.
#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/render.hpp"

#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <thread>

namespace hive::cli {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

struct top_options {
  std::string every = "2s";
  std::size_t rounds = 0;   // 0: until Ctrl-C
  std::size_t rows = 20;
};

/// Sums of the series of a Prometheus text, by name without labels.
std::map<std::string, double> sums_of(std::string_view text) {
  std::map<std::string, double> sums;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string_view::npos) continue;
    double value = 0;
    std::from_chars(line.data() + space + 1, line.data() + line.size(), value);
    sums[std::string(line.substr(0, line.find_first_of("{ ")))] += value;
  }
  return sums;
}

void collect(const json& node, std::vector<json>& agents) {
  if (text_of(node, "kind") == "agent") agents.push_back(node);
  if (const auto children = node.find("children"); children != node.end())
    for (const auto& child : *children) collect(child, agents);
}

struct sample {
  steady_clock::time_point at;
  std::map<std::string, double> sums;
  std::vector<json> agents;   // busiest first
};

sample take(session& s, std::size_t rows) {
  sample now{steady_clock::now(), {}, {}};
  const auto scrape = s.server().send("GET", "/metrics", nullptr, std::chrono::seconds(10));
  check(scrape);
  now.sums = sums_of(scrape.text);
  collect(s.server().call("GET", s.path("tree") + "?limit=100000").value("root", json::object()), now.agents);
  const auto load = [](const json& agent) { return number_of(agent.value("status", json::object()), "mailbox"); };
  const auto rank = [&](const json& a, const json& b) {
    const auto idle = [](const json& agent) {
      const auto status = text_of(agent.value("status", json::object()), "status");
      return status == "inactive" || status == "idle" ? 1 : 0;
    };
    return std::make_tuple(idle(a), -static_cast<std::int64_t>(load(a)), text_of(a, "name")) <
           std::make_tuple(idle(b), -static_cast<std::int64_t>(load(b)), text_of(b, "name"));
  };
  const auto shown = std::min(rows, now.agents.size());
  std::partial_sort(now.agents.begin(), now.agents.begin() + static_cast<std::ptrdiff_t>(shown), now.agents.end(), rank);
  now.agents.resize(shown);
  return now;
}

json figures(const sample& before, const sample& now) {
  const double seconds = std::max(1e-3, std::chrono::duration<double>(now.at - before.at).count());
  const auto value = [](const sample& from, const char* name) {
    const auto found = from.sums.find(name);
    return found == from.sums.end() ? 0.0 : found->second;
  };
  const auto rate = [&](const char* name) { return std::round(std::max(0.0, value(now, name) - value(before, name)) / seconds * 10) / 10; };
  const auto level = [&](const char* name) { return static_cast<std::uint64_t>(std::max(0.0, value(now, name))); };
  return {{"turns_per_second", rate("hive_turns_total")},       {"asks_per_second", rate("hive_asks_total")},
          {"tells_per_second", rate("hive_tells_total")},       {"commits_per_second", rate("hive_commits_total")},
          {"crashes_per_second", rate("hive_crashes_total")},   {"rejected_per_second", rate("hive_rejected_total")},
          {"dead_letters_per_second", rate("hive_dead_letters_total")},
          {"dead_letters_since_start", level("hive_dead_letters_total")},
          {"activations", level("hive_activations")},
          {"queued_messages", level("hive_queued_messages")},   {"waiting_turns", level("hive_waiting_turns")},
          {"outbox_messages", level("hive_outbox_messages")},   {"timers", level("hive_timers")}};
}

std::string page(const json& f, const std::vector<json>& agents, bool colours) {
  const auto number = [&](const char* name) { return std::to_string(number_of(f, name)); };
  const auto rate = [&](const char* name) { return human_rate(f.value(name, 0.0)); };
  table totals({"TURNS/S", "ASKS/S", "TELLS/S", "COMMITS/S", "CRASHES/S", "REJECTED/S", "DEAD LETTERS/S", "ACTIVE", "QUEUED", "WAITING", "OUTBOX", "TIMERS"});
  totals.add({rate("turns_per_second"), rate("asks_per_second"), rate("tells_per_second"), rate("commits_per_second"),
              rate("crashes_per_second"), rate("rejected_per_second"), rate("dead_letters_per_second"), number("activations"), number("queued_messages"),
              number("waiting_turns"), number("outbox_messages"), number("timers")});
  table rows({"AGENT", "BEHAVIOUR", "STATUS", "MAILBOX", "RESTARTS", "LAST ERROR"});
  for (const auto& agent : agents) {
    const json status = agent.value("status", json::object());
    rows.add({text_of(agent, "name"), text_of(agent, "behaviour"), text_of(status, "status"), std::to_string(number_of(status, "mailbox")),
              std::to_string(number_of(status, "restarts")), shorten(text_of(status, "last_error"), 50)});
  }
  const auto dead = number_of(f, "dead_letters_since_start");
  const std::string letters = dead == 0 ? "" : number("dead_letters_since_start") + " dead letters since the node started; hivectl dead-letters list shows those that are there\n";
  return totals.text() + letters + "\n" + paint(colour::grey, "busiest agents", colours) + "\n" + rows.text();
}

void top(session& s, const top_options& o) {
  const auto every = parse_duration(o.every, "--every");
  const bool live = s.out_is_terminal() && !s.json();
  sample before = take(s, o.rows);
  for (std::size_t round = 1; o.rounds == 0 || round <= o.rounds; ++round) {
    std::this_thread::sleep_for(every);
    sample now = take(s, o.rows);
    json f = figures(before, now);
    if (s.json()) {
      f["agents"] = now.agents;
      s.print(f.dump() + "\n");
    } else {
      s.print((live ? std::string("\x1b[H\x1b[2J") : std::string()) + page(f, now.agents, s.out_is_terminal()) + (live ? "" : "\n"));
    }
    before = std::move(now);
  }
}

} // namespace

void add_top_command(CLI::App& app, session& s) {
  auto o = std::make_shared<top_options>();
  auto* command = add_command(app, "top", "What the node does, and the busiest agents of the tenant, again and again",
                              "  hivectl -t demo top\n  hivectl -t demo top --rounds 1 -o json");
  command->add_option("--every", o->every, "Between looks")->capture_default_str();
  command->add_option("--rounds", o->rounds, "Ends after so many; 0: until Ctrl-C")->capture_default_str();
  command->add_option("--rows", o->rows, "Agents to show")->capture_default_str();
  command->callback([&s, o] { top(s, *o); });
}

} // namespace hive::cli
