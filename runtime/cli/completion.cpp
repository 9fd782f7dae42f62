#include "runtime/cli/commands.hpp"

#include <functional>

namespace hive::cli {

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& what, const std::string& examples) {
  auto* command = parent.add_subcommand(name, what);
  command->fallthrough(); // global options may stand behind the command
  command->footer("Examples:\n" + examples);
  return command;
}

namespace {
/// "hybrid dense lexical" of an option that takes one of these; empty when it takes anything.
std::string values_of(const CLI::Option& option) {
  const auto type = option.get_type_name(); // "TEXT:{hybrid,dense,lexical}"
  const auto open = type.find('{');
  const auto close = type.find('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  std::string words = type.substr(open + 1, close - open - 1);
  for (char& c : words)
    if (c == ',') c = ' ';
  return words;
}
} // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
  std::string paths;  // every "command" and "command subcommand", as patterns
  std::string choices; // what may follow each
  std::string values; // what may follow an option of one
  const auto add_values = [&](const std::string& before, const CLI::Option& option) {
    const auto words = values_of(option);
    if (words.empty()) return;
    for (const auto& name : option.get_lnames()) values += "    " + before + "\" --" + name + "\") words=\"" + words + "\" ;;\n";
    for (const auto& name : option.get_snames()) values += "    " + before + "\" -" + name + "\") words=\"" + words + "\" ;;\n";
  };
  const std::function<void(const CLI::App&, const std::string&)> walk = [&](const CLI::App& at, const std::string& path) {
    std::string words;
    for (const auto* sub : at.get_subcommands({})) {
      words += " " + sub->get_name();
      paths += (paths.empty() ? "" : "|") + ("\"" + path + " " + sub->get_name() + "\"");
      walk(*sub, path + " " + sub->get_name());
    }
    for (const auto* option : at.get_options()) {
      for (const auto& name : option->get_lnames()) words += " --" + name;
      if (!path.empty()) add_values("\"" + path + "\"", *option);
    }
    if (path == " get" || path == " delete") words += " tenants agents supervisors tasks keys agent/ supervisor/ tenant/";
    if (path == " explain") words += " agent/ supervisor/ collection/ queue/ tenant/";
    for (const auto* option : app.get_options())
      if (!path.empty())
        for (const auto& name : option->get_lnames()) words += " --" + name;
    choices += "    \"" + path + "\") words=\"" + words.substr(words.empty() ? 0 : 1) + "\" ;;\n";
  };
  walk(app, "");
  for (const auto* option : app.get_options()) add_values("*", *option);
  return (shell == "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" : std::string()) +
         "_hivectl() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} path='' words='' i\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case \"$path ${COMP_WORDS[i]}\" in\n"
         "    " + paths + ") path=\"$path ${COMP_WORDS[i]}\" ;;\n"
         "    esac\n"
         "  done\n"
         "  case \"$path\" in\n" + choices +
         "  esac\n"
         "  case \"$path ${COMP_WORDS[COMP_CWORD - 1]}\" in\n" + values +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "}\n"
         "complete -o default -F _hivectl hivectl\n";
}

void add_completion_command(CLI::App& app, session& s) {
  auto* command = add_command(app, "completion", "Prints a completion script for a shell",
                              "  source <(hivectl completion bash)\n  hivectl completion zsh > ~/.hivectl.zsh && echo 'source ~/.hivectl.zsh' >> ~/.zshrc");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell)->required()->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([&app, &s, shell] { s.print(completion_script(app, *shell)); });
}

} // namespace hive::cli
