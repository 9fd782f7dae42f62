#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/manifest.hpp"
#include "runtime/cli/render.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <tuple>

namespace hive::cli {
namespace {

using nlohmann::json;

const std::vector<std::pair<std::string, std::string>> kinds = {{"tenant", "tenants"},
                                                                {"agent", "agents"},
                                                                {"supervisor", "supervisors"},
                                                                {"task", "tasks"},
                                                                {"key", "keys"}};

/// What `get` and `delete` do not show: one, many, its command.
const std::vector<std::tuple<std::string, std::string, std::string>> of_their_own = {{"collection", "collections", "collections"},
                                                                                     {"item", "items", "items"},
                                                                                     {"queue", "queues", "queue"},
                                                                                     {"schedule", "schedules", "schedule"},
                                                                                     {"node", "nodes", "nodes"}};

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::string target_of(const session& s, const resource_name& r) {
  if (r.kind == "tenants") return "/v1/tenants" + (r.name.empty() ? "" : "/" + url_encode(r.name));
  return s.path(r.kind) + (r.name.empty() ? "" : "/" + url_encode(r.name));
}

/// All pages, up to `limit` items. @returns whether there are more.
bool list_all(session& s, const std::string& target, const std::string& member, std::size_t limit, json& items) {
  items = json::array();
  std::string page;
  do {
    const std::size_t size = std::min<std::size_t>(1000, limit - items.size());
    const char join = target.find('?') == std::string::npos ? '?' : '&';
    json answer = s.server().call("GET", target + join + "page_size=" + std::to_string(size) +
                                             (page.empty() ? "" : "&page_token=" + url_encode(page)));
    for (auto& item : answer[member]) items.push_back(std::move(item));
    page = text_of(answer, "next_page_token");
  } while (!page.empty() && items.size() < limit);
  return !page.empty();
}

struct get_options {
  std::vector<std::string> what;
  std::size_t limit = 1000;
  std::string state;
  std::string supervisor;
};

void get_list(session& s, const resource_name& r, const get_options& o) {
  std::string target = target_of(s, r);
  if (r.kind == "tasks" && !o.state.empty()) target += "?state=" + url_encode(o.state);
  if (r.kind == "agents" && !o.supervisor.empty()) target += "?supervisor=" + url_encode(o.supervisor);
  json items;
  const bool more = list_all(s, target, r.kind, std::max<std::size_t>(1, o.limit), items);
  if (s.json()) s.print_json({{r.kind, items}});
  else s.print(render_list(r.kind, items, now_ms(), s.out_is_terminal()));
  if (more) s.note("… there are more; --limit N shows them");
}

void get(session& s, const get_options& o) {
  for (const auto& r : parse_resources(o.what)) {
    if (r.name.empty()) {
      get_list(s, r, o);
      continue;
    }
    if (r.kind == "keys")
      throw failure(exit_code::usage, "a key cannot be read back", "hivectl keys list shows all that is known of keys.");
    json item = s.server().call("GET", target_of(s, r));
    if (s.json()) {
      s.print_json(item);
      continue;
    }
    if (r.kind == "tenants" && item.contains("spec"))
      for (const char* member : {"weight", "queue_partitions"})
        if (number_of(item["spec"], member) == 0) item["spec"][member] = 1; // as 0 is read
    s.print(render_object(item));
  }
}

struct apply_options {
  std::vector<std::string> files;
  bool all = false;
};

void apply(session& s, const apply_options& o) {
  for (const auto& file : o.files) {
    const auto documents = parse_yaml(read_text(file), file);
    if (documents.empty()) throw failure(exit_code::usage, file + ": holds no manifest");
    for (json manifest : documents) {
      if (!manifest.is_object())
        throw failure(exit_code::usage, file + ": a manifest is an object with tenant, supervisors and agents");
      if (!manifest.contains("tenant")) manifest["tenant"] = s.tenant();
      else if (!manifest["tenant"].is_string()) throw failure(exit_code::usage, file + ": tenant must be a name");
      else if (!s.options.tenant.empty()) manifest["tenant"] = s.options.tenant; // -t wins (HIVE_TENANT does not): one file, many tenants
      const json applied = s.server().call("POST", "/v1/apply", &manifest, std::chrono::seconds(120));
      if (s.json()) s.print_json(applied);
      else s.print(render_changes(applied, o.all, s.out_is_terminal()));
    }
  }
}

struct delete_options {
  std::vector<std::string> what;
  bool yes = false;
};

void remove(session& s, const delete_options& o) {
  const auto resources = parse_resources(o.what);
  for (const auto& r : resources) {
    if (r.name.empty())
      throw failure(exit_code::usage, "which of the " + r.kind + "?", "Name them: hivectl delete agent/NAME ...");
    if (r.kind == "tasks")
      throw failure(exit_code::usage, "tasks are not deleted", "hivectl task cancel ID ends one; ended ones go by retention.");
    if (r.kind == "tenants" && !o.yes)
      throw failure(exit_code::usage, "tenant " + r.name + " would be deleted with everything in it",
                    "Say --yes if that is what you want.");
  }
  for (const auto& r : resources) {
    const json answer = s.server().call("DELETE", target_of(s, r), nullptr, std::chrono::seconds(120));
    if (s.json()) s.print_json(answer);
    else s.print(r.kind.substr(0, r.kind.size() - 1) + "/" + r.name + " deleted\n");
  }
}

struct command_options {
  std::vector<std::string> what;
  bool reset = false;
};

/// "stop", "start", "restart".
void command(session& s, const std::string& verb, const command_options& o) {
  const auto resources = parse_resources(o.what);
  for (const auto& r : resources)
    if (r.name.empty() || (r.kind != "agents" && r.kind != "supervisors"))
      throw failure(exit_code::usage, "which agents or supervisors?", "Name them: hivectl " + verb + " agent/NAME ...");
  for (const auto& r : resources)
    if (o.reset && r.kind == "supervisors")
      throw failure(exit_code::usage, "--reset: supervisor/" + r.name + " has no state of its own; --reset is for agents",
                    "hivectl restart supervisor/" + r.name + " restarts its children with their state; hivectl get agents --supervisor " + r.name +
                        " names them, and hivectl restart agent/NAME ... --reset empties them.");
  for (const auto& r : resources) {
    json body = json::object();
    if (o.reset) body["reset"] = true;
    const json answer = s.server().call("POST", target_of(s, r) + ":" + verb, &body);
    if (s.json()) s.print_json(answer);
    else s.print(text_of(answer, "kind") + "/" + r.name + " " + text_of(answer, "change") + "\n");
  }
}

/// A new file that only its owner can read; never an existing one.
void write_secret(const std::string& path, const std::string& secret) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  const std::string line = secret + "\n";
  const bool written = fd >= 0 && write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (fd >= 0) close(fd);
  if (!written)
    throw failure(exit_code::usage, "--out: cannot create '" + path + "'", "It must not exist yet. No key was made.");
}

struct key_options {
  std::string role = "tenant";
  std::string label;
  std::string out;
  std::vector<std::string> ids;
};

void create_key(session& s, const key_options& o) {
  if (!o.out.empty()) {
    write_secret(o.out, ""); // fails before a key exists that nobody would know
    unlink(o.out.c_str());
  }
  const json body = {{"role", o.role}, {"label", o.label}};
  const json made = s.server().call("POST", s.path("keys"), &body);
  if (!o.out.empty()) {
    write_secret(o.out, text_of(made, "key"));
    s.note("key " + text_of(made, "id") + " (" + text_of(made, "role") + ") written to " + o.out);
  } else if (s.json()) {
    s.print_json(made);
  } else {
    s.note("key " + text_of(made, "id") + " (" + text_of(made, "role") + "); it is shown only now:");
    s.print(text_of(made, "key") + "\n");
  }
}

void add_keys(CLI::App& app, session& s) {
  auto* keys = add_command(app, "keys", "Create, list and delete the keys of a tenant",
                           "  hivectl -t demo keys create --role viewer --label dashboard\n"
                           "  hivectl -t demo keys create --out demo.key\n"
                           "  hivectl -t demo keys list\n  hivectl -t demo keys delete ID");
  keys->require_subcommand(1);
  auto o = std::make_shared<key_options>();
  auto* create = add_command(*keys, "create", "Make a key; its secret is shown once",
                             "  hivectl -t demo keys create --label ci\n  hivectl -t demo keys create --out demo.key");
  create->add_option("--role", o->role, "tenant (all in the tenant) or viewer (reads)")
      ->check(CLI::IsMember({"tenant", "viewer"}))->capture_default_str();
  create->add_option("--label", o->label, "For people");
  create->add_option("--out", o->out, "Write the key to this new file (mode 0600) instead of printing it");
  create->callback([&s, o] { create_key(s, *o); });
  auto* list = add_command(*keys, "list", "The tenant's keys", "  hivectl -t demo keys list");
  list->callback([&s] { get(s, {{"keys"}, 100'000, {}, {}}); });
  auto* remove_keys = add_command(*keys, "delete", "Take keys out of force at once", "  hivectl -t demo keys delete ID");
  remove_keys->add_option("ID", o->ids)->required();
  remove_keys->callback([&s, o] {
    for (const auto& id : o->ids) remove(s, {{"key/" + id}, false});
  });
}

struct tenant_options {
  std::string name;
  std::optional<std::string> description;
  std::optional<std::uint32_t> weight;
  std::optional<std::uint32_t> partitions;
  bool yes = false;
};

/// What is not named stays as it is.
void create_tenant(session& s, const tenant_options& o) {
  const auto there = s.server().send("GET", "/v1/tenants/" + url_encode(o.name), nullptr, std::chrono::seconds(30));
  json spec = there.status == 200 ? object_of(there.body, "spec") : json::object();
  if (!spec.is_object()) spec = json::object();
  if (o.description) spec["description"] = *o.description;
  if (o.weight) spec["weight"] = *o.weight;
  if (o.partitions) spec["queue_partitions"] = *o.partitions;
  const json made = s.server().call("PUT", "/v1/tenants/" + url_encode(o.name), &spec);
  if (s.json()) s.print_json(made);
  else s.print("tenant/" + o.name + (made.value("created", false) ? " created\n" : " was there\n"));
}

void add_tenants(CLI::App& app, session& s) {
  auto* tenants = add_command(app, "tenants", "Create, list and delete tenants (administrators)",
                              "  hivectl tenants create demo --description 'first steps'\n  hivectl tenants list\n"
                              "  hivectl tenants delete demo --yes");
  tenants->require_subcommand(1);
  auto o = std::make_shared<tenant_options>();
  auto* create = add_command(*tenants, "create", "Make a tenant, or change its description, weight or partitions", "  hivectl tenants create demo");
  create->add_option("NAME", o->name)->required();
  create->add_option("--description", o->description, "For people");
  create->add_option("--weight", o->weight, "Of its work among the tenants' when all are busy; default 1")->check(CLI::Range(1, 100));
  create->add_option("--queue-partitions", o->partitions, "Of its queue of tasks; more can be added later, none taken away")->check(CLI::Range(1, 14));
  create->callback([&s, o] { create_tenant(s, *o); });
  auto* list = add_command(*tenants, "list", "The tenants that this key may see", "  hivectl tenants list");
  list->callback([&s] { get(s, {{"tenants"}, 100'000, {}, {}}); });
  auto* remove_one = add_command(*tenants, "delete", "Delete a tenant with everything in it", "  hivectl tenants delete demo --yes");
  remove_one->add_option("NAME", o->name)->required();
  remove_one->add_flag("--yes", o->yes, "Really");
  remove_one->callback([&s, o] { remove(s, {{"tenant/" + o->name}, o->yes}); });
}

} // namespace

std::vector<resource_name> parse_resources(const std::vector<std::string>& words) {
  std::vector<resource_name> out;
  std::string pending; // "agent" of "agent NAME NAME"
  for (const auto& word : words) {
    const auto slash = word.find('/');
    const std::string kind = word.substr(0, slash);
    std::string plural;
    for (const auto& [one, many] : kinds)
      if (kind == one || kind == many) plural = many;
    if (!pending.empty() && slash == std::string::npos) {
      if (out.back().name.empty()) out.back().name = word;
      else out.push_back({pending, word});
      continue;
    }
    for (const auto& [one, many, command] : of_their_own)
      if (kind == one || kind == many)
        throw failure(exit_code::usage, "'" + word + "': " + many + " have commands of their own", "hivectl " + command + " --help names them.");
    if (plural.empty() || slash == word.size() - 1)
      throw failure(exit_code::usage, "'" + word + "' is nothing that the hive has",
                    "Kinds: tenants, agents, supervisors, tasks, keys; one of them: agent/NAME.");
    out.push_back({plural, slash == std::string::npos ? "" : word.substr(slash + 1)});
    pending = slash == std::string::npos ? plural : "";
  }
  return out;
}

void add_resource_commands(CLI::App& app, session& s) {
  auto a = std::make_shared<apply_options>();
  auto* apply_command = add_command(app, "apply", "Make a tenant look like a manifest: all of it, or nothing",
                                    "  hivectl apply -f config/swarms/survey.yaml\n"
                                    "  hivectl -t demo apply -f swarm.json\n  cat swarm.yaml | hivectl apply -f -");
  apply_command->add_option("-f,--file", a->files, "Manifest, YAML or JSON; - is standard input; -t overrides its tenant")->required()->allow_extra_args(false);
  apply_command->add_flag("--all", a->all, "List unchanged entities too");
  apply_command->callback([&s, a] { apply(s, *a); });

  auto g = std::make_shared<get_options>();
  auto* get_command = add_command(app, "get", "Show what exists",
                                  "  hivectl get tenants\n  hivectl -t demo get agents\n  hivectl -t demo get agent/greeter\n"
                                  "  hivectl -t demo get tasks --state running\n  hivectl -t demo get agents -o json");
  get_command->add_option("WHAT", g->what, "tenants, agents, supervisors, tasks, keys, or KIND/NAME ...")->required();
  get_command->add_option("--limit", g->limit, "At most so many")->capture_default_str();
  get_command->add_option("--state", g->state, "Only tasks in this state");
  get_command->add_option("--supervisor", g->supervisor, "Only agents below this supervisor");
  get_command->callback([&s, g] { get(s, *g); });

  const std::vector<std::tuple<std::string, std::string, std::string>> verbs = {
      {"stop", "Stop agents and supervisors until they are started again", "  hivectl -t demo stop agent/greeter\n  hivectl -t demo stop supervisor/readers"},
      {"start", "Start what was stopped or quarantined", "  hivectl -t demo start agent/greeter"},
      {"restart", "Begin a new life from the last committed state", "  hivectl -t demo restart agent/greeter\n  hivectl -t demo restart agent/greeter --reset"}};
  for (const auto& [verb, about, examples] : verbs) {
    auto c = std::make_shared<command_options>();
    auto* one = add_command(app, verb, about, examples);
    one->add_option("WHAT", c->what, "KIND/NAME ...")->required();
    if (verb == "restart") one->add_flag("--reset", c->reset, "With an empty state, no logs and no rows (agents)");
    one->callback([&s, c, name = verb] { command(s, name, *c); });
  }

  auto d = std::make_shared<delete_options>();
  auto* delete_command = add_command(app, "delete", "Delete agents, supervisors, keys, tenants",
                                     "  hivectl -t demo delete agent/greeter\n  hivectl delete tenant/demo --yes");
  delete_command->add_option("WHAT", d->what, "KIND/NAME ...")->required();
  delete_command->add_flag("--yes", d->yes, "Needed for a tenant, which goes with everything in it");
  delete_command->callback([&s, d] { remove(s, *d); });

  add_keys(app, s);
  add_tenants(app, s);
}

} // namespace hive::cli
