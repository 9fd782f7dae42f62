#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/render.hpp"

namespace hive::cli {
namespace {

using nlohmann::json;

struct letter_options {
  std::vector<std::string> ids;
  std::size_t limit = 100;
  bool all = false;
};

std::vector<json> read(session& s, std::size_t limit) {
  std::vector<json> letters;
  std::string page;
  do {
    json answer = s.server().call("GET", s.path("dead-letters") + "?page_size=1000" + (page.empty() ? "" : "&page_token=" + url_encode(page)));
    for (auto& letter : answer["dead_letters"])
      if (letters.size() < limit) letters.push_back(std::move(letter));
    page = text_of(answer, "next_page_token");
  } while (!page.empty() && letters.size() < limit);
  return letters;
}

void list(session& s, const letter_options& o) {
  using namespace std::chrono;
  const json letters = read(s, o.limit);
  const auto now = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  if (s.json()) s.print_json({{"dead_letters", letters}});
  else s.print(render_list("dead-letters", letters, now, s.out_is_terminal()));
}

/// Each by its own request: what was done before a failure stays done, and is said.
void settle(session& s, const letter_options& o, const std::string& how) {
  auto ids = o.ids;
  if (ids.empty() && !o.all) throw failure(exit_code::usage, "which dead letters?", "Name their ids, or say --all.");
  if (o.all)
    for (const auto& letter : read(s, std::numeric_limits<std::size_t>::max())) ids.push_back(text_of(letter, "id"));
  if (o.all) std::reverse(ids.begin(), ids.end()); // oldest first, as they were sent
  const json none = json::object();
  json done = json::array();
  for (const auto& id : ids) {
    try {
      done.push_back(s.server().call("POST", s.path("dead-letters/" + url_encode(id) + ":" + how), &none));
    } catch (const failure&) {
      if (s.json() && !done.empty()) s.print_json({{"dead_letters", done}});
      throw;
    }
    if (!s.json()) s.print("dead letter " + id + (how == "redrive" ? " sent again\n" : " dropped\n"));
  }
  if (s.json()) s.print_json({{"dead_letters", done}});
}

} // namespace

void add_dead_letter_commands(CLI::App& app, session& s) {
  auto* letters = add_command(app, "dead-letters", "Messages that could not be handled: list, show, send again, drop",
                              "  hivectl -t demo dead-letters list\n  hivectl -t demo dead-letters show 17\n"
                              "  hivectl -t demo dead-letters redrive 17 18\n  hivectl -t demo dead-letters drop --all");
  letters->require_subcommand(1);
  auto o = std::make_shared<letter_options>();
  auto* list_command = add_command(*letters, "list", "Newest first", "  hivectl -t demo dead-letters list --limit 20");
  list_command->add_option("--limit", o->limit, "At most so many")->capture_default_str();
  list_command->callback([&s, o] { list(s, *o); });

  auto* show = add_command(*letters, "show", "One with its payload, reason and attempts", "  hivectl -t demo dead-letters show 17");
  show->add_option("ID", o->ids)->required()->expected(1);
  show->callback([&s, o] {
    const json letter = s.server().call("GET", s.path("dead-letters/" + url_encode(o->ids[0])));
    if (s.json()) s.print_json(letter);
    else s.print(render_object(letter));
  });

  const auto add = [&](const char* name, const char* what, const char* example) {
    auto* command = add_command(*letters, name, what, example);
    command->add_option("ID", o->ids);
    command->add_flag("--all", o->all, "All of the tenant's");
    command->callback([&s, o, name] { settle(s, *o, name); });
  };
  add("redrive", "Send to the receiver again", "  hivectl -t demo dead-letters redrive 17");
  add("drop", "Forget", "  hivectl -t demo dead-letters drop 17");
}

} // namespace hive::cli
