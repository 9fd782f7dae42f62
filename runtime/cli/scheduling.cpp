#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/manifest.hpp"
#include "runtime/cli/render.hpp"

#include <map>

namespace hive::cli {
namespace {

using nlohmann::json;

struct scheduling_options {
  std::string name;
  std::string agent;
  unsigned concurrency = 0;
  std::string cron;
  std::string every;
  std::string zone;
  std::string catch_up;
  unsigned catch_up_max = 0;
  std::string jitter;
  bool paused = false;
  std::string type;
  std::string payload;
  std::string capability;
  unsigned attempts = 0;
};

std::string time_or_dash(const json& item, const char* name) {
  const auto at = number_of(item, name);
  return at == 0 ? "-" : human_time(static_cast<std::int64_t>(at));
}

// -- the queue

void show_queue(session& s, const json& queue) {
  if (s.json()) return s.print_json(queue);
  std::string out = "queue " + text_of(queue, "name") + (queue.value("paused", false) ? " paused" : " open");
  if (const auto n = number_of(queue, "partitions"); n > 1) out += ", " + std::to_string(n) + " partitions";
  out += "\n";
  if (const auto agents = queue.find("agents"); agents != queue.end() && !agents->empty()) {
    table t({"AGENT", "STATE", "TASKS AT A TIME"});
    for (const auto& a : *agents)
      t.add({text_of(a, "agent"), a.value("paused", false) ? "paused" : "open", number_of(a, "concurrency") == 0 ? "default" : std::to_string(number_of(a, "concurrency"))});
    out += t.text();
  }
  s.print(out);
}

void control_queue(session& s, const std::string& verb, json body) {
  show_queue(s, s.server().call("POST", s.path("queues/default:" + verb), &body));
}

// -- schedules

std::string when_of(const json& spec) {
  if (const auto cron = text_of(spec, "cron"); !cron.empty()) return cron + (text_of(spec, "zone").empty() ? "" : " " + text_of(spec, "zone"));
  return "every " + human_duration(std::chrono::milliseconds(number_of(spec, "every_ms")));
}

void show_schedules(session& s, const json& items) {
  table t({"NAME", "WHEN", "TASK", "NEXT", "FIRED", "LAST", "FAILED", "ERROR"});
  for (const auto& item : items) {
    const auto& spec = object_of(item, "spec");
    const auto& task = object_of(spec, "task");
    const auto to = text_of(task, "agent").empty() ? text_of(task, "capability") : text_of(task, "agent");
    const auto why = text_of(object_of(item, "last_error"), "message");
    t.add({text_of(item, "name"), when_of(spec), to + " " + text_of(task, "type"), spec.value("paused", false) ? "paused" : time_or_dash(item, "next"),
           std::to_string(number_of(item, "fired")), time_or_dash(item, "last_fired"), std::to_string(number_of(item, "failed")), why.empty() ? "-" : why});
  }
  s.print(t.text());
}

void put_schedule(session& s, const scheduling_options& o) {
  json task = {{"type", o.type}, {"payload", read_payload(o.payload)}};
  if (o.agent != "-") task["agent"] = o.agent;
  if (!o.capability.empty()) task["capability"] = o.capability;
  if (o.attempts != 0) task["retry"]["attempts"] = o.attempts;
  json spec = {{"task", std::move(task)}};
  if (!o.cron.empty()) spec["cron"] = o.cron;
  if (!o.every.empty()) spec["every_ms"] = parse_duration(o.every, "--every").count();
  if (!o.zone.empty()) spec["zone"] = o.zone;
  if (!o.catch_up.empty()) spec["catch_up"] = o.catch_up;
  if (o.catch_up_max != 0) spec["catch_up_max"] = o.catch_up_max;
  if (!o.jitter.empty()) spec["jitter_ms"] = parse_duration(o.jitter, "--jitter").count();
  if (o.paused) spec["paused"] = true;
  const json made = s.server().call("PUT", s.path("schedules/" + url_encode(o.name)), &spec);
  if (s.json()) s.print_json(made);
  else show_schedules(s, json::array({made}));
}

void list_schedules(session& s) {
  json items = json::array();
  std::string page;
  do {
    json answer = s.server().call("GET", s.path("schedules") + "?page_size=1000" + (page.empty() ? "" : "&page_token=" + url_encode(page)));
    for (auto& item : answer["schedules"]) items.push_back(std::move(item));
    page = text_of(answer, "next_page_token");
  } while (!page.empty());
  if (s.json()) s.print_json({{"schedules", items}});
  else show_schedules(s, items);
}

// -- a run: a task with all that was done under it

void draw(const json& task, const std::multimap<std::string, json>& by_parent, std::uint64_t start, const std::string& indent, bool last, bool root, bool colours,
          std::string& out) {
  const auto id = text_of(task, "id");
  const auto begun = number_of(task, "started_at") == 0 ? number_of(task, "submitted_at") : number_of(task, "started_at");
  const auto ended = number_of(task, "ended_at");
  const auto name = text_of(task, "name");
  const auto undo = text_of(task, "undo_of");
  out += indent + (root ? "" : last ? "`- " : "|- ") + (undo.empty() ? "" : "undo of " + undo + ": ") + (name.empty() ? text_of(task, "type") : name) + " ";
  out += paint(text_of(task, "state") == "succeeded" ? colour::green : text_of(task, "state") == "running" ? colour::blue : colour::red, text_of(task, "state"), colours);
  if (const auto agent = text_of(task, "agent"); !agent.empty()) out += " by " + agent;
  out += " +" + human_duration(std::chrono::milliseconds(begun > start ? begun - start : 0));
  if (ended >= begun && ended != 0) out += " took " + human_duration(std::chrono::milliseconds(ended - begun));
  if (number_of(task, "attempts") > 1) out += " attempt " + std::to_string(number_of(task, "attempts"));
  if (const auto why = text_of(object_of(task, "error"), "reason"); !why.empty()) out += " (" + why + ")";
  out += "  " + id + "\n";
  const auto [from, to] = by_parent.equal_range(id);
  for (auto i = from; i != to; ++i)
    draw(i->second, by_parent, start, root ? indent : indent + (last ? "   " : "|  "), std::next(i) == to, false, colours, out);
}

/// Tasks under one another: what was submitted on behalf of a task has a later id than it.
void show_run(session& s, const scheduling_options& o) {
  json root = s.server().call("GET", s.path("tasks/" + url_encode(o.name)));
  std::multimap<std::string, json> by_parent;
  json all = json::array({root});
  std::map<std::string, bool> known{{text_of(root, "id"), true}};
  std::string page = text_of(root, "id");
  constexpr std::size_t pages_max = 50;
  for (std::size_t n = 0; n < pages_max && !page.empty(); ++n) {
    const json answer = s.server().call("GET", s.path("tasks") + "?page_size=1000&page_token=" + url_encode(page));
    if (const auto tasks = answer.find("tasks"); tasks != answer.end())
      for (const auto& task : *tasks) {
        const auto parent = text_of(task, "parent");
        if (parent.empty() || !known.contains(parent)) continue;
        known[text_of(task, "id")] = true;
        by_parent.emplace(parent, task);
        all.push_back(task);
      }
    page = text_of(answer, "next_page_token");
  }
  if (s.json()) return s.print_json({{"tasks", all}});
  std::string out;
  draw(root, by_parent, number_of(root, "submitted_at"), "", true, true, s.out_is_terminal(), out);
  s.print(out);
}

} // namespace

void add_scheduling_commands(CLI::App& app, session& s) {
  auto o = std::make_shared<scheduling_options>();

  auto* queue = add_command(app, "queue", "The tenant's queue of tasks: show, pause, resume, limit",
                            "  hivectl -t demo queue show\n  hivectl -t demo queue pause\n  hivectl -t demo queue pause stepper\n"
                            "  hivectl -t demo queue limit stepper 4");
  queue->require_subcommand(1);
  auto* show = add_command(*queue, "show", "Whether it is paused, and for whom something was set", "  hivectl -t demo queue show");
  show->callback([&s] { show_queue(s, s.server().call("GET", s.path("queues/default"))); });
  for (const std::string verb : {"pause", "resume"}) {
    auto* command = add_command(*queue, verb, verb == "pause" ? "Hand out no more tasks, or none to one agent" : "Go on", "  hivectl -t demo queue " + verb + " stepper");
    command->add_option("AGENT", o->agent, "Only this one");
    command->callback([&s, o, verb] {
      json body = json::object();
      if (!o->agent.empty()) body["agent"] = o->agent;
      control_queue(s, verb, std::move(body));
    });
  }
  auto* limit = add_command(*queue, "limit", "How many tasks an agent has at a time", "  hivectl -t demo queue limit stepper 4");
  limit->add_option("AGENT", o->agent)->required();
  limit->add_option("TASKS", o->concurrency, "0: as the setting tasks.concurrency says")->required()->check(CLI::Range(0, 10000));
  limit->callback([&s, o] { control_queue(s, "limit", {{"agent", o->agent}, {"concurrency", o->concurrency}}); });

  auto* schedule = add_command(app, "schedule", "Tasks that are submitted again and again: put, get, list, delete",
                               "  hivectl -t demo schedule put nightly ledger append '{\"op\": \"night\"}' --cron '30 2 * * *' --zone Europe/Zurich\n"
                               "  hivectl -t demo schedule list");
  schedule->require_subcommand(1);
  auto* put = add_command(*schedule, "put", "Make one, or change it", "  hivectl -t demo schedule put beat ledger append '{\"op\": \"beat\"}' --every 10s");
  put->add_option("NAME", o->name)->required();
  put->add_option("AGENT", o->agent, "Its name; - when --capability chooses")->required();
  put->add_option("TYPE", o->type, "What the behaviour calls the message")->required();
  put->add_option("PAYLOAD", o->payload, "JSON, @FILE, or - for standard input");
  put->add_option("--cron", o->cron, "minute hour day month weekday, with optional seconds in front");
  put->add_option("--every", o->every, "Instead of --cron: 10s, 5m, 2h");
  put->add_option("--zone", o->zone, "Time zone of --cron: Europe/Zurich; UTC when absent");
  put->add_option("--catch-up", o->catch_up, "What was missed while the hive was away")->check(CLI::IsMember({"once", "all", "skip"}));
  put->add_option("--catch-up-max", o->catch_up_max, "With --catch-up all: so many at most")->check(CLI::Range(1, 1000));
  put->add_option("--jitter", o->jitter, "Up to so much later, by chance; at most --every");
  put->add_option("--capability", o->capability, "The queue chooses among the agents that have it");
  put->add_option("--attempts", o->attempts, "How often each task is tried")->check(CLI::Range(1, 100));
  put->add_flag("--paused", o->paused, "Keep it, and do not fire");
  put->callback([&s, o] { put_schedule(s, *o); });
  auto* get = add_command(*schedule, "get", "Everything about one", "  hivectl -t demo schedule get nightly");
  get->add_option("NAME", o->name)->required();
  get->callback([&s, o] {
    const json found = s.server().call("GET", s.path("schedules/" + url_encode(o->name)));
    if (s.json()) s.print_json(found);
    else s.print(render_object(found));
  });
  auto* list = add_command(*schedule, "list", "The tenant's schedules", "  hivectl -t demo schedule list");
  list->callback([&s] { list_schedules(s); });
  auto* remove = add_command(*schedule, "delete", "End one; its tasks stay", "  hivectl -t demo schedule delete nightly");
  remove->add_option("NAME", o->name)->required();
  remove->callback([&s, o] {
    const json answer = s.server().call("DELETE", s.path("schedules/" + url_encode(o->name)));
    if (s.json()) s.print_json(answer);
    else s.print("schedule " + o->name + " deleted\n");
  });

  auto* run = add_command(app, "run", "A task with everything that was done under it", "  hivectl -t demo run show ID");
  run->require_subcommand(1);
  auto* show_one = add_command(*run, "show", "Draw it as a tree, with times", "  hivectl -t demo run show ID");
  show_one->add_option("ID", o->name)->required();
  show_one->callback([&s, o] { show_run(s, *o); });
}

} // namespace hive::cli
