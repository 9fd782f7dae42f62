#include "runtime/cli/certificates.hpp"
#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace hive::cli {
namespace {

struct certs_options {
  std::string name;
  std::string authority_dir;
  std::string hive;
  std::vector<std::string> addresses;
  std::string out;
  int days = 0;
  bool force = false;
};

struct file {
  std::filesystem::path path;
  std::string text;
};

[[noreturn]] void disk(const std::filesystem::path& path) { throw failure(exit_code::failed, path.string() + ": " + std::strerror(errno)); }

/// All or, as far as a file system allows, none: complete beside its place first, then moved there. Mode 0600.
void write_private(const std::vector<file>& files, bool force) {
  for (const auto& f : files)
    if (!force && std::filesystem::exists(std::filesystem::symlink_status(f.path)))
      throw failure(exit_code::usage, f.path.string() + " is there already", "--force replaces it.");
  std::error_code ec;
  for (const auto& f : files) {
    std::filesystem::create_directories(f.path.parent_path(), ec);
    if (ec) throw failure(exit_code::failed, f.path.parent_path().string() + ": " + ec.message());
  }
  for (const auto& f : files) {
    const auto unfinished = f.path.string() + ".new";
    ::unlink(unfinished.c_str()); // never write through a link or into another's file
    const int fd = ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) disk(unfinished);
    const bool ok = ::write(fd, f.text.data(), f.text.size()) == static_cast<ssize_t>(f.text.size()) && ::fsync(fd) == 0;
    const int why = errno;
    ::close(fd);
    errno = why;
    if (!ok) disk(unfinished);
  }
  for (const auto& f : files)
    if (::rename((f.path.string() + ".new").c_str(), f.path.c_str()) != 0) disk(f.path);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    throw failure(exit_code::usage, "--ca: cannot read " + path.string() + ": " + std::strerror(errno),
                  "hivectl certs ca --out DIR makes an authority.");
  return text.str();
}

certificate_time now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

std::string shown(certificate_time t) {
  const auto seconds = std::chrono::system_clock::to_time_t(t);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%FT%TZ", &parts);
  return text;
}

/// Clocks of machines differ a little: what is new is valid since an hour.
constexpr std::chrono::hours backdated{1};

void report(session& s, const std::vector<file>& files, certificate_time until, const std::string& more) {
  nlohmann::json names = nlohmann::json::array();
  for (const auto& f : files) names.push_back(f.path.string());
  if (s.json()) return s.print_json({{"files", names}, {"valid_until", shown(until)}});
  for (const auto& f : files) s.print("wrote " + f.path.string() + "\n");
  s.print("valid until " + shown(until) + "\n" + more);
}

void make_ca(session& s, const certs_options& o) {
  const std::filesystem::path dir(o.out);
  const auto until = now() + std::chrono::hours{24} * o.days;
  const auto made = make_authority(o.name, now() - backdated, until);
  const std::vector<file> files{{dir / "ca.key", made.key}, {dir / "ca.pem", made.certificate}};
  write_private(files, o.force);
  report(s, files, until, "keep ca.key away from the nodes: who has it can make nodes\n");
}

void make_node(session& s, const certs_options& o) {
  const std::filesystem::path authority_dir(o.authority_dir);
  const std::filesystem::path dir(o.out);
  const certificate_pair authority{read_file(authority_dir / "ca.pem"), read_file(authority_dir / "ca.key")};
  const auto made =
      make_node_certificate(authority, {o.hive, o.name, o.addresses, now() - backdated, now() + std::chrono::hours{24} * o.days});
  std::vector<file> files{{dir / (o.name + ".key"), made.key}, {dir / (o.name + ".pem"), made.certificate}};
  write_private(files, o.force);
  std::error_code ec;
  if (!std::filesystem::equivalent(authority_dir, dir, ec)) { // the same authority for every node: no question of replacing it
    write_private({{dir / "ca.pem", authority.certificate}}, true);
    files.push_back({dir / "ca.pem", {}});
  }
  const auto settings = [&](const char* name, const std::string& f) {
    return std::string("  cluster.link.") + name + "=" + std::filesystem::absolute(dir / f).lexically_normal().string() + "\n";
  };
  report(s, files, valid_until(made.certificate),
         "settings of the node:\n" + settings("ca_file", "ca.pem") + settings("certificate_file", o.name + ".pem") +
             settings("key_file", o.name + ".key"));
}

} // namespace

void add_certs_commands(CLI::App& app, session& s) {
  auto* certs =
      add_command(app, "certs", "Certificates that nodes of a hive show each other: an authority, and one for each node",
                  "  hivectl certs ca --out ca\n  hivectl certs node node-1 --ca ca --hive my-hive --address 10.0.0.1 --out node-1");
  certs->require_subcommand(1);

  const auto common = [](CLI::App* command, const std::shared_ptr<certs_options>& o, int days) {
    o->days = days;
    command->add_option("--out", o->out, "Directory to write to; made if it is not there")->required();
    command->add_option("--days", o->days, "Valid for so many")->check(CLI::Range(1, 36'500))->capture_default_str();
    command->add_flag("--force", o->force, "Replace files that are there");
  };

  auto authority = std::make_shared<certs_options>();
  authority->name = "Agent Hive authority";
  auto* ca = add_command(*certs, "ca", "An authority of your own: for tests, and where no other is at hand", "  hivectl certs ca --out ca");
  ca->add_option("--name", authority->name, "What it calls itself")->capture_default_str();
  common(ca, authority, 3650);
  ca->callback([&s, authority] { make_ca(s, *authority); });

  auto node = std::make_shared<certs_options>();
  auto* one = add_command(*certs, "node", "A node's certificate and key; a running node takes new ones without a restart",
                          "  hivectl certs node node-1 --ca ca --hive my-hive --address 10.0.0.1 --address node-1.example --out node-1");
  one->add_option("NAME", node->name, "Of the node, as in its settings")->required();
  one->add_option("--ca", node->authority_dir, "Directory of the authority: ca.pem and ca.key")->required();
  one->add_option("--hive", node->hive, "Id of the hive")->required();
  one->add_option("--address", node->addresses, "IP address or name of its machine; may be repeated")->take_all();
  common(one, node, 365);
  one->callback([&s, node] { make_node(s, *node); });
}

} // namespace hive::cli
