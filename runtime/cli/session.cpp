#include "runtime/cli/session.hpp"

#include "runtime/cli/failure.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>

namespace hive::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string key_in_file(const std::string& path, const std::string& named_by) {
  std::ifstream in(path);
  std::string key;
  if (!in || !std::getline(in, key)) {
    const std::string why = errno ? std::strerror(errno) : "it is empty";
    throw failure(exit_code::denied, named_by + ": cannot read the key in '" + path + "': " + why,
                  "hived writes admin.key into its data directory at its first start, readable by its user only.");
  }
  return key;
}

} // namespace

std::string session::read_key() const {
  std::string key;
  if (!options.key_file.empty()) key = key_in_file(options.key_file, "--key-file");
  else if (key = environment("HIVE_KEY"); !key.empty()) {
  } else if (!options.data_dir.empty()) key = key_in_file(options.data_dir + "/admin.key", "--data");
  key.erase(std::find_if(key.rbegin(), key.rend(), [](unsigned char c) { return c > ' '; }).base(), key.end());
  if (std::any_of(key.begin(), key.end(), [](unsigned char c) { return c <= ' ' || c > '~'; }))
    throw failure(exit_code::usage, "the key holds characters that no key has", "A key looks like hive_ID_SECRET.");
  return key;
}

http_client& session::server() {
  if (!server_) server_ = std::make_unique<http_client>(options.server, read_key());
  return *server_;
}

std::string session::tenant() const {
  const auto name = options.tenant.empty() ? environment("HIVE_TENANT") : options.tenant;
  if (name.empty())
    throw failure(exit_code::usage, "which tenant?", "Name it with -t NAME or HIVE_TENANT; hivectl get tenants lists them.");
  return name;
}

std::string session::path(const std::string& rest) const { return "/v1/tenants/" + url_encode(tenant()) + "/" + rest; }

bool session::out_is_terminal() const { return isatty(STDOUT_FILENO) && environment("NO_COLOR").empty(); }
bool session::err_is_terminal() const { return isatty(STDERR_FILENO) && environment("TERM") != "dumb"; }

std::size_t session::width() const {
  winsize size{};
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 100;
}

void session::print(const std::string& text) const {
  if (!(std::cout << text << std::flush)) throw failure(exit_code::failed, "cannot write to standard output", "What was asked for is done all the same.");
}
void session::print_json(const nlohmann::json& value) const { print(value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"); }
void session::note(const std::string& text) const { std::cerr << text << "\n" << std::flush; }

} // namespace hive::cli
