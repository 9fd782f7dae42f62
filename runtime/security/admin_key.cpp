#include "runtime/security/admin_key.hpp"

#include "config/base/files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <future>
#include <system_error>

namespace hive::security {
namespace {

error disk(const std::filesystem::path& file) {
  if (is_no_space(errno)) return no_space(file);
  return {errc::unavailable, "admin_key_file", file.string() + ": " + std::strerror(errno), {}, {}};
}

result<void> sync(const std::filesystem::path& directory) {
  if (const int number = sync_directory(directory); number != 0) return (errno = number, disk(directory));
  return {};
}

/// On disk, readable by the owner only, before it returns.
result<void> write_private(const std::filesystem::path& file, const std::string& text) {
  ::unlink(file.c_str()); // never write through a link or into another's file
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return disk(file);
  const bool ok = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!ok) return disk(file);
  return sync(file.parent_path());
}

class waiting_sink final : public actors::reply_sink {
public:
  explicit waiting_sink(std::shared_ptr<std::promise<result<void>>> done) : done_(std::move(done)) {}
  void answered(actors::ask_answer&&) override { done_->set_value({}); }
  void failed(error&& why, const std::string&) override { done_->set_value(std::move(why)); }

private:
  std::shared_ptr<std::promise<result<void>>> done_;
};

result<void> store_key(actors::messaging& hive, authenticator& auth, const std::string& text) {
  const std::string id(authenticator::id_of(text));
  const nlohmann::json body{{"id", id}, {"secret_hash", authenticator::hash_of_secret(text.substr(text.rfind('_') + 1))},
                            {"role", "admin"}, {"label", "made at the first start"}};
  actors::ask_request ask;
  ask.to = {entity_kind::tenant, ""};
  ask.type = "key.create";
  ask.body = {body.dump(), content_type::json};
  ask.idempotency_key = "admin-key-" + id;
  auto done = std::make_shared<std::promise<result<void>>>();
  auto outcome = done->get_future();
  hive.ask(auth.system(), std::move(ask), std::make_unique<waiting_sink>(done));
  auto stored = outcome.get(); // the ask ends by its deadline at the latest
  if (!stored && stored.error().code == errc::already_exists) return {};
  return stored;
}

struct what_is_stored {
  bool this_key = false;
  bool any = false;
};

result<what_is_stored> look_up(actors::messaging& hive, authenticator& auth, const std::string& text) {
  constexpr auto patience = std::chrono::seconds{30};
  auto done = std::make_shared<std::promise<result<what_is_stored>>>();
  auto outcome = done->get_future();
  hive.read(system_tenant, [done, &auth, text, who = auth.system()](persistence::store_reader& store) {
    const auto listed = store.items(who, entity_id::of_tenant(system_tenant), "key/", {}, 1);
    if (!listed) return done->set_value(listed.error());
    const auto caller = auth.check(text, store);
    if (!caller && caller.error().code != errc::unauthenticated) return done->set_value(caller.error());
    done->set_value(what_is_stored{caller && caller->as == role::admin, !listed->empty()});
  });
  if (outcome.wait_for(patience) != std::future_status::ready)
    return error{errc::unavailable, "deadline_passed", "the store did not answer", {}, {}};
  return outcome.get();
}

std::string first_line(const std::filesystem::path& file) {
  std::string text;
  if (std::ifstream in(file); in) std::getline(in, text);
  return text;
}

} // namespace

result<admin_key> ensure_admin_key(const std::filesystem::path& data_dir, actors::messaging& hive, authenticator& auth) {
  const auto file = data_dir / "admin.key";
  const auto unfinished = data_dir / "admin.key.new";
  std::error_code ec;
  if (std::filesystem::exists(file, ec) && !std::filesystem::exists(unfinished, ec)) {
    const auto stored = look_up(hive, auth, first_line(file));
    if (!stored) return admin_key::unchecked;
    if (stored->this_key) return admin_key::known;
    if (stored->any) return admin_key::foreign;
  }

  // First the secret on disk, then its hash in the store, then the file's real name: wherever this stops, the next start
  // goes on with the same key.
  std::string text = first_line(unfinished);
  if (authenticator::id_of(text).empty()) {
    text = authenticator::make_key().text;
    if (auto written = write_private(unfinished, text + "\n"); !written) return std::move(written).error();
  }
  if (auto stored = store_key(hive, auth, text); !stored) return std::move(stored).error();
  if (::rename(unfinished.c_str(), file.c_str()) != 0) return disk(file);
  if (auto synced = sync(data_dir); !synced) return std::move(synced).error();
  return admin_key::made;
}

} // namespace hive::security
