#include "runtime/node/daemon.hpp"

#include "actors/context/http/http_endpoint.hpp"
#include "config/base/log.hpp"
#include "runtime/node/memory_limit.hpp"
#include "runtime/node/unready_node.hpp"

#include <CLI/CLI.hpp>

#include <csignal>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <thread>

#include <unistd.h>

namespace {

constexpr int wrong_setting = 2; ///< Exit code: runtime/README.md lists them.

int complain(const hive::error& e) {
  std::cerr << "hived: " << e.message;
  if (!e.field.empty()) std::cerr << " [" << e.field << "]";
  std::cerr << "\n";
  return e.code == hive::errc::invalid_argument ? wrong_setting : 1;
}

/// Waits for at most `time`. @returns whether the process was told to end.
bool told_to_end(const sigset_t& signals, std::chrono::seconds time) {
  const timespec wait{time.count(), 0};
  const int received = sigtimedwait(&signals, nullptr, &wait);
  return received == SIGINT || received == SIGTERM;
}

} // namespace

namespace hive::node {

int run_daemon(int argc, char** argv, const std::function<void(actors::behaviour_registry&)>& more) {
  CLI::App app{"hived: one node of Agent Hive. A first start makes the data directory and the administrator's key in it\n"
               "(DIR/admin.key). Talk to it with hivectl. Example:\n  hived --data ~/.hive --http 127.0.0.1:7070"};
  std::string data;
  std::string http;
  std::string config_file;
  std::vector<std::string> overrides;
  bool check_only = false;
  bool show_settings = false;
  app.add_option("--data", data, "Directory of this node's data; one process at a time");
  app.add_option("--http", http, "ADDRESS:PORT of the HTTP API (api.http; default 127.0.0.1:7070; port 0: any)");
  app.add_option("--config", config_file, "YAML file of settings");
  app.add_option("--set", overrides, "NAME=VALUE: one setting; may be repeated")->allow_extra_args(false);
  app.add_flag("--check-config", check_only, "Check the settings and exit");
  app.add_flag("--help-settings", show_settings, "List all settings with defaults and bounds, and exit");
  app.set_version_flag("--version", "hived 0.1.0");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : wrong_setting;
  }

  if (show_settings) {
    std::cout << hive::config::describe();
    return 0;
  }
  if (!http.empty()) overrides.push_back("api.http=" + http);
  auto settings = hive::config::load(config_file, overrides);
  if (!settings) return complain(settings.error());
  if (auto good = hive::config::check_paths(*settings); !good) return complain(good.error());
  if (auto endpoint = actors::http_endpoint(settings->embedding); !endpoint) return complain(endpoint.error());
  if (check_only) { // a start looks at the same when it opens the node
    if (auto good = node::check(*settings); !good) return complain(good.error());
    std::cout << "the settings are good\n";
    return 0;
  }
  if (data.empty()) return complain(hive::invalid("--data", "--data DIR is required"));
  std::error_code ec;
  settings->data_dir = std::filesystem::absolute(data, ec).string();

  using level = hive::log::level;
  const auto& name = settings->log.level;
  hive::log::open({settings->log.file, settings->log.json,
                   name == "debug" ? level::debug : name == "warn" ? level::warn : name == "error" ? level::error : level::info});

  // All threads inherit the mask; only this one waits for the signals.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1); // a life of the node is over
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  if (const auto bytes = limit_memory(settings->node.memory_percent); bytes == 0) hive::log::warn("the process's memory is not bounded (node.memory_percent)");
  actors::turn_recorder::mark_faults();
  std::mutex guard;
  std::optional<life_end> ended;
  const auto over = [&](life_end end) {
    std::lock_guard lock(guard);
    ended = std::move(end);
    ::kill(::getpid(), SIGUSR1);
  };
  const auto take_end = [&] {
    std::lock_guard lock(guard);
    return std::exchange(ended, std::nullopt);
  };
  const auto told_already = [] {
    sigset_t waiting;
    return sigpending(&waiting) == 0 && (sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1);
  };
  std::unique_ptr<unready_node> meanwhile;
  for (bool first = true;;) { // each life of the node, of which a node that is alone has one
    node here(*settings, more, over, first);
    auto started = here.open(told_already);
    if (started) {
      meanwhile.reset(); // it has the address
      started = here.serve();
    }
    if (!started) {
      const auto& why = started.error();
      here.stop();
      if (told_already()) return 0;
      const auto end = take_end();
      if (end ? end->leave : first && why.reason != "no_space") {
        log::error("the node cannot start", {{"why", to_string(why)}});
        return complain(why); // the last that is said
      }
      if (meanwhile) meanwhile->because(why);
      else {
        log::error("the node cannot start, and tries again every second", {{"why", to_string(why)}});
        meanwhile = std::make_unique<unready_node>(*settings, why);
      }
      if (told_to_end(signals, std::chrono::seconds{1})) return 0;
      continue;
    }
    first = false;
    std::optional<life_end> end;
    for (bool leaving = false;;) {
      int received = 0;
      sigwait(&signals, &received);
      if (received == SIGUSR1) {
        if ((end = take_end())) break;
      } else if (std::exchange(leaving, true) || !here.leave()) break;
    }
    here.stop(end && !end->leave ? node::stopping::at_once : node::stopping::in_order);
    if (!end) end = take_end(); // while it stopped
    if (end && end->leave && end->failed) {
      log::error("this node cannot be in the hive", {{"why", end->why}});
      log::flush();
      return complain({errc::failed_precondition, "node_over", end->why});
    }
    if (!end || end->leave) return 0;
    log::warn("this life of the node is over; another one begins", {{"why", end->why}});
    if (end->failed) std::this_thread::sleep_for(std::chrono::seconds{1});
  }
}

} // namespace hive::node
