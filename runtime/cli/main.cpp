#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"

#include <iostream>

namespace {

constexpr const char* closing_words = R"(Examples:
  export HIVE_DATA=.hive HIVE_TENANT=demo     # the key of a hived on this machine, the tenant
  hivectl status
  hivectl apply -f config/swarms/survey.yaml
  hivectl ask ledger append '{"op": "a1"}'
  hivectl tree

Key: --key-file, else HIVE_KEY (the key itself), else admin.key in --data or HIVE_DATA.

Exit codes: 0 done; 1 the hive or the agent said no; 2 wrong usage or file; 3 not found; 4 key missing or not allowed;
  5 not reached, not ready, overloaded, or outcome unknown (ask again with the same --key).)";

void add_global_options(CLI::App& app, hive::cli::global_options& o) {
  app.add_option("--server", o.server, "Address of hived")->envname("HIVE_SERVER")->capture_default_str();
  app.add_option("-t,--tenant", o.tenant, "Tenant; else HIVE_TENANT");
  app.add_option("--key-file", o.key_file, "File that holds the key");
  app.add_option("--data", o.data_dir, "Data directory of a hived on this machine: use its admin.key")->envname("HIVE_DATA");
  app.add_option("-o,--output", o.output, "table or json")->check(CLI::IsMember({"table", "json"}))->capture_default_str();
}

} // namespace

int main(int argc, char** argv) {
  using namespace hive::cli;
  CLI::App app("hivectl - talks to a hive", "hivectl");
  app.footer(closing_words);
  app.require_subcommand(1);
  app.set_version_flag("--version", "hivectl 0.1.0");
  app.set_help_all_flag("--help-all", "Help of all commands");
  session s;
  add_global_options(app, s.options);
  add_resource_commands(app, s);
  add_message_commands(app, s);
  add_task_commands(app, s);
  add_dead_letter_commands(app, s);
  add_scheduling_commands(app, s);
  add_collection_commands(app, s);
  add_view_commands(app, s);
  add_top_command(app, s);
  add_node_commands(app, s);
  add_certs_commands(app, s);
  add_completion_command(app, s);

  try {
    app.parse(argc, argv);
    return static_cast<int>(exit_code::ok);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(exit_code::usage);
  } catch (const failure& e) {
    std::cerr << "hivectl: " << e.what() << "\n";
    if (!e.hint.empty()) std::cerr << "  " << e.hint << "\n";
    return static_cast<int>(e.code);
  } catch (const std::exception& e) {
    std::cerr << "hivectl: " << e.what() << "\n";
    return static_cast<int>(exit_code::failed);
  }
}
