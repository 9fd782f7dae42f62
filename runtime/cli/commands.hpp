/// @file
/// The commands of hivectl. Each function adds its subcommands to `app`; they run while the command line is parsed, use
/// only `session`, and throw `failure`.
#pragma once

#include "runtime/cli/session.hpp"

#include <CLI/CLI.hpp>

namespace hive::cli {

void add_resource_commands(CLI::App& app, session& s);  ///< apply, get, stop, start, restart, delete, keys, tenants
void add_message_commands(CLI::App& app, session& s);   ///< ask, tell
void add_task_commands(CLI::App& app, session& s);      ///< task submit, get, watch, list, cancel
void add_dead_letter_commands(CLI::App& app, session& s); ///< dead-letters list, show, redrive, drop
void add_scheduling_commands(CLI::App& app, session& s); ///< queue, schedule, run show
void add_collection_commands(CLI::App& app, session& s); ///< collections, put, search, pack, items, import, export
void add_view_commands(CLI::App& app, session& s);      ///< tree, explain, events, status, health
void add_top_command(CLI::App& app, session& s);        ///< top
void add_node_commands(CLI::App& app, session& s);      ///< nodes, shards, drain, undrain
void add_certs_commands(CLI::App& app, session& s);    ///< certs ca, node
void add_completion_command(CLI::App& app, session& s); ///< completion bash, zsh

/// A subcommand with its examples, which also takes the global options.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& what, const std::string& examples);

/// "agent/NAME" or "agents NAME" ... as (plural kind, name). Throws `failure` (usage).
struct resource_name {
  std::string kind; ///< "agents", "supervisors", "tasks", "tenants", "keys"
  std::string name; ///< Empty: all of them.
};
std::vector<resource_name> parse_resources(const std::vector<std::string>& words);

/// A word that nobody chose before: for idempotency keys.
std::string unique_word();

/// Completion script for `shell` ("bash", "zsh"), from the commands and options that `app` has.
std::string completion_script(const CLI::App& app, const std::string& shell);

} // namespace hive::cli
