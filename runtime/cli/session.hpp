/// @file
/// What every command works with: the global options, the connection, and where output goes.
#pragma once

#include "runtime/cli/http_client.hpp"
#include "runtime/cli/table.hpp"

#include <nlohmann/json.hpp>

#include <memory>
#include <string>

namespace hive::cli {

/// As given on the command line or by HIVE_SERVER, HIVE_TENANT, HIVE_DATA; see `hivectl --help`.
struct global_options {
  std::string server = "http://127.0.0.1:7070";
  std::string tenant;
  std::string key_file;
  std::string data_dir;
  std::string output = "table";
};

class session {
public:
  global_options options;

  /// Connects at the first request. Throws `failure` (usage, denied) when the key named cannot be read.
  http_client& server();
  /// Throws `failure` (usage) when none was named.
  std::string tenant() const;
  /// "/v1/tenants/TENANT/" + `rest`
  std::string path(const std::string& rest) const;

  bool json() const noexcept { return options.output == "json"; }
  /// Colours and live lines: standard output, or standard error, is a terminal (and NO_COLOR is not set, for colours).
  bool out_is_terminal() const;
  bool err_is_terminal() const;
  std::string coloured(colour c, const std::string& text) const { return paint(c, text, out_is_terminal()); }
  std::size_t width() const;

  void print(const std::string& text) const;
  void print_json(const nlohmann::json& value) const;
  void note(const std::string& text) const; ///< To standard error, so that pipes stay clean.

private:
  std::string read_key() const;
  std::unique_ptr<http_client> server_;
};

} // namespace hive::cli
