#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/manifest.hpp"
#include "runtime/cli/render.hpp"

#include <chrono>
#include <iostream>
#include <thread>

namespace hive::cli {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct task_options {
  std::string agent;
  std::string type;
  std::string payload;
  std::string key;
  std::string deadline;
  std::vector<std::string> labels;
  std::string capability;
  unsigned complexity = 0;
  unsigned priority = 0;
  unsigned attempts = 0;
  std::string backoff;
  std::vector<std::string> depends_on;
  std::string parent;
  bool watch = false;
  std::string id;
  std::string state;
  std::size_t limit = 1000;
  std::string patience = "60s";
};

bool ended(const json& task) {
  const std::string state = text_of(task, "state");
  return state == "succeeded" || state == "failed" || state == "cancelled" || state == "dead";
}

/// Shows how a task goes: one line that is rewritten on a terminal, else a line now and then.
class progress_display {
public:
  explicit progress_display(const session& s) : live_(s.err_is_terminal()), width_(s.width()) {}
  ~progress_display() { clear(); }

  void show(const json& task, const std::string& trouble) {
    const auto now = steady_clock::now();
    const auto elapsed = std::chrono::duration_cast<milliseconds>(now - started_);
    const auto& progress = object_of(task, "progress");
    std::string note = text_of(progress, "note");
    if (!trouble.empty()) note = trouble;
    else if (note.empty()) note = text_of(task, "state");
    const auto done = number_of(progress, "done");
    const auto line = progress_line(note, done, number_of(progress, "total"), elapsed, live_ ? width_ - 1 : 100);
    if (live_) {
      std::cerr << "\r\x1b[2K" << line << std::flush;
      shown_ = true;
      return;
    }
    const std::string what = note + "/" + std::to_string(done);
    if (what == last_ || (last_at_ && now - *last_at_ < std::chrono::seconds(2))) return;
    last_ = what;
    last_at_ = now;
    std::cerr << line << "\n" << std::flush;
  }
  void clear() {
    if (shown_) std::cerr << "\r\x1b[2K" << std::flush;
    shown_ = false;
  }

private:
  bool live_;
  bool shown_ = false;
  std::size_t width_;
  steady_clock::time_point started_ = steady_clock::now();
  std::string last_;
  std::optional<steady_clock::time_point> last_at_;
};

/// Follows a task to its end. A hive that goes away is waited for: the task goes on when it is back.
json follow(session& s, json task, milliseconds patience) {
  progress_display display(s);
  const std::string target = s.path("tasks/" + url_encode(text_of(task, "id")));
  auto last_seen = steady_clock::now();
  std::string trouble;
  while (!ended(task)) {
    display.show(task, trouble);
    try {
      task = s.server().call("GET", target + "?wait_ms=300");
      last_seen = steady_clock::now();
      trouble.clear();
    } catch (const failure& why) {
      if (why.code != exit_code::unavailable || steady_clock::now() - last_seen > patience) throw;
      trouble = "hived is away, waiting for it";
      std::this_thread::sleep_for(milliseconds(500));
    }
  }
  return task;
}

void report(session& s, const json& task) {
  if (s.json()) s.print_json(task);
  else s.print(render_task(task, s.out_is_terminal()));
  const std::string state = text_of(task, "state");
  if (state == "failed" || state == "cancelled") throw failure(exit_code::failed, "the task " + (state == "failed" ? state : "was " + state));
  if (state == "dead") throw failure(exit_code::failed, "the task failed at each of its attempts");
}

void submit(session& s, const task_options& o) {
  json body = {{"agent", o.agent}, {"type", o.type}, {"payload", read_payload(o.payload)}};
  body["idempotency_key"] = o.key.empty() ? "hivectl-" + unique_word() : o.key;
  if (o.agent == "-") body.erase("agent"); // chosen by capability
  if (!o.capability.empty()) body["capability"] = o.capability;
  if (o.complexity != 0) body["complexity"] = o.complexity;
  if (o.priority != 0) body["priority"] = o.priority;
  if (o.attempts != 0) body["retry"]["attempts"] = o.attempts;
  if (!o.backoff.empty()) body["retry"]["backoff_ms"] = parse_duration(o.backoff, "--backoff").count();
  if (!o.depends_on.empty()) body["depends_on"] = o.depends_on;
  if (!o.parent.empty()) body["parent"] = o.parent;
  if (!o.deadline.empty()) body["deadline_ms"] = parse_duration(o.deadline, "--deadline").count();
  for (const auto& label : o.labels) {
    const auto equals = label.find('=');
    if (equals == std::string::npos || equals == 0)
      throw failure(exit_code::usage, "--label '" + label + "' is not NAME=VALUE");
    body["labels"][label.substr(0, equals)] = label.substr(equals + 1);
  }
  const json task = s.server().call("POST", s.path("tasks"), &body);
  if (!o.watch) {
    if (s.json()) s.print_json(task);
    else s.print(text_of(task, "id") + "\n");
    return;
  }
  s.note("task " + text_of(task, "id") + " (Ctrl-C stops watching, not the task)");
  report(s, follow(s, task, parse_duration(o.patience, "--patience")));
}

void watch(session& s, const task_options& o) {
  const json task = s.server().call("GET", s.path("tasks/" + url_encode(o.id)));
  report(s, follow(s, task, parse_duration(o.patience, "--patience")));
}

void cancel(session& s, const task_options& o) {
  const json none = json::object();
  const json task = s.server().call("POST", s.path("tasks/" + url_encode(o.id) + ":cancel"), &none,
                                      std::chrono::seconds(45)); // its agents have 30 s to say that they ended it
  if (s.json()) s.print_json(task);
  else s.print("task " + text_of(task, "id") + " " + text_of(task, "state") + "\n");
}

void list(session& s, const task_options& o) {
  std::string target = s.path("tasks") + "?page_size=1000";
  if (!o.state.empty()) target += "&state=" + url_encode(o.state);
  json items = json::array();
  std::string page;
  do {
    json answer = s.server().call("GET", target + (page.empty() ? "" : "&page_token=" + url_encode(page)));
    for (auto& item : answer["tasks"])
      if (items.size() < o.limit) items.push_back(std::move(item));
    page = text_of(answer, "next_page_token");
  } while (!page.empty() && items.size() < o.limit);
  using namespace std::chrono;
  const auto now = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  if (s.json()) s.print_json({{"tasks", items}});
  else s.print(render_list("tasks", items, now, s.out_is_terminal()));
}

void add_watch_options(CLI::App& command, task_options& o) {
  command.add_option("--patience", o.patience, "While watching: how long to wait for a hived that went away")->capture_default_str();
}

} // namespace

void add_task_commands(CLI::App& app, session& s) {
  auto* task = add_command(app, "task", "Durable work with a result: submit, watch, list, cancel",
                           "  hivectl -t demo task submit coordinator survey.run '{\"roots\": [\"/usr/share/doc\"], \"report_dir\": \"/tmp/report\"}' --watch\n"
                           "  hivectl -t demo task list --state running\n  hivectl -t demo task watch ID\n"
                           "  hivectl -t demo task cancel ID");
  task->require_subcommand(1);
  auto o = std::make_shared<task_options>();

  auto* submit_command = add_command(*task, "submit", "Give an agent a piece of work; prints the task's id",
                                     "  hivectl -t demo task submit stepper work '{\"op\": \"x\", \"ms\": 10, \"to\": \"ledger\"}' --watch\n"
                                     "  hivectl -t demo task submit coordinator survey.run @job.json --label for=report --key job-1");
  submit_command->add_option("AGENT", o->agent, "Its name; - when --capability chooses")->required();
  submit_command->add_option("TYPE", o->type, "What the behaviour calls the message")->required();
  submit_command->add_option("PAYLOAD", o->payload, "JSON, @FILE, or - for standard input");
  submit_command->add_flag("-w,--watch", o->watch, "Follow it to its end, with progress");
  submit_command->add_option("--key", o->key, "Idempotency key: a repeat with it gives the same task");
  submit_command->add_option("--deadline", o->deadline, "Of the whole task: 30s, 10m, 2h");
  submit_command->add_option("--label", o->labels, "NAME=VALUE, for people; may be repeated")->allow_extra_args(false);
  submit_command->add_option("--capability", o->capability, "The queue chooses among the agents that have it");
  submit_command->add_option("--complexity", o->complexity, "0 to 9; with --capability")->check(CLI::Range(0, 9));
  submit_command->add_option("--priority", o->priority, "1 first .. 5 last; 3 when absent")->check(CLI::Range(1, 5));
  submit_command->add_option("--attempts", o->attempts, "How often it is tried; once when absent")->check(CLI::Range(1, 100));
  submit_command->add_option("--backoff", o->backoff, "Before the second attempt; doubled for each later one: 500ms, 5s");
  submit_command->add_option("--depends-on", o->depends_on, "Id of a task that must succeed first; may be repeated")->allow_extra_args(false);
  submit_command->add_option("--parent", o->parent, "Id of the task on whose behalf: cancelled with it");
  add_watch_options(*submit_command, *o);
  submit_command->callback([&s, o] { submit(s, *o); });

  auto* get_command = add_command(*task, "get", "Everything about a task", "  hivectl -t demo task get ID -o json");
  get_command->add_option("ID", o->id)->required();
  get_command->callback([&s, o] {
    const json found = s.server().call("GET", s.path("tasks/" + url_encode(o->id)));
    if (s.json()) s.print_json(found);
    else s.print(render_object(found));
  });

  auto* watch_command = add_command(*task, "watch", "Follow a task to its end; fails when the task fails", "  hivectl -t demo task watch ID");
  watch_command->add_option("ID", o->id)->required();
  add_watch_options(*watch_command, *o);
  watch_command->callback([&s, o] { watch(s, *o); });

  auto* list_command = add_command(*task, "list", "The tenant's tasks", "  hivectl -t demo task list --state failed");
  list_command->add_option("--state", o->state, "Only these")
      ->check(CLI::IsMember({"queued", "waiting", "running", "succeeded", "failed", "cancelled", "dead"}));
  list_command->add_option("--limit", o->limit, "At most so many")->capture_default_str();
  list_command->callback([&s, o] { list(s, *o); });

  auto* cancel_command = add_command(*task, "cancel", "End a task with everything under it; done when nothing of it can take effect any more", "  hivectl -t demo task cancel ID");
  cancel_command->add_option("ID", o->id)->required();
  cancel_command->callback([&s, o] { cancel(s, *o); });
}

} // namespace hive::cli
