#include "actors/behaviours/survey/coordinator.hpp"

#include "actors/behaviours/input.hpp"
#include "actors/behaviours/survey/report.hpp"
#include "actors/executors/file_write.hpp"

#include <algorithm>

namespace hive::actors::survey {
namespace {

constexpr std::uint64_t files_max = 2'000'000;
constexpr std::size_t page_rows = 500;
constexpr std::size_t part_bytes = 400 * 1024; ///< Of report.json in one turn; below `entity.payload_bytes`.
constexpr std::uint32_t failures_max = 5;      ///< Of one step in a row, when trying again may help.
constexpr std::uint32_t quiet_ticks_again = 2; ///< Then the readers' files are given to others ...
constexpr std::uint32_t quiet_ticks_lost = 6;  ///< ... and then given up.

void send_next(turn& self, const progress& p) { self.send(self.name(), "survey.next", json_payload({{"run", p.run}})); }

void send_read(turn& self, progress& p, const order& o, const pool& readers, std::uint64_t file, const file_row& row,
               std::uint32_t reader) {
  self.send(readers.readers[reader], "survey.read",
            json_payload({{"to", self.name()},
                          {"run", p.run},
                          {"file", file},
                          {"root_index", row.root},
                          {"root", path_to_json(o.roots[row.root])},
                          {"path", path_to_json(row.path)},
                          {"bytes_max", o.bytes_max}}));
}

void send_watch(turn& self, const progress& p, const pool& readers) {
  if (readers.clock.empty()) return;
  self.send(readers.clock, "survey.watch",
            json_payload({{"to", self.name()}, {"run", p.run}, {"ms", readers.stall_ms}}));
}

/// Shown at each percent, but not rarer than every 256 files.
bool worth_showing(const progress& p) {
  const auto every = std::clamp<std::uint64_t>(p.files / 100, 1, 256);
  return p.finished % every == 0 || p.finished == p.files;
}

void show(turn& self, const progress& p, std::string note) {
  if (!p.token.empty()) self.progress(p.finished, p.files, std::move(note), p.token);
}

/// Ends the run with an error; what waits for it hears why.
void fail_run(turn& self, progress& p, const error& why) {
  const std::string text = why.field.empty() ? why.message : why.field + ": " + why.message;
  if (!p.token.empty()) self.finish_failed(p.token, why.reason, text);
  self.put_row("last", json{{"run", p.run}, {"error", {{"reason", why.reason}, {"message", text}}}}.dump());
  self.emit("survey.failed", {{"run", p.run}, {"reason", why.reason}, {"message", text}});
  p = progress::begin(p.run, phase::idle);
}

bool may_help_to_retry(const error& why) {
  return why.code == errc::unavailable || why.code == errc::unknown || why.code == errc::rejected ||
         why.code == errc::resource_exhausted;
}

std::uint64_t run_of(const message& m) {
  json_fields fields(m.parse());
  const auto run = fields.number("run", 0, UINT64_MAX);
  check_message(fields);
  return run;
}

pool pool_of(const turn& self) { return pool::from_config(self.config()).value(); } // checked when the agent was made

summary summary_of(const std::optional<std::string>& row) {
  return row && !row->empty() ? summary::decode(*row) : summary{};
}

} // namespace

result<void> coordinator::check(const json& config) const {
  const auto p = pool::from_config(config);
  if (!p) return p.error();
  return {};
}

task<> coordinator::handle(turn& self, message m) const {
  if (m.type == "survey.done")
    co_await done(self, std::move(m));
  else if (m.type == "survey.next")
    co_await next(self, std::move(m));
  else if (m.type == "survey.run")
    co_await start(self, std::move(m));
  else if (m.type == "survey.tick")
    co_await tick(self, std::move(m));
  else if (m.type == "survey.status")
    co_await status(self);
  else if (m.type == "survey.stop")
    co_await stop(self, std::move(m));
  else
    refuse_type(m, "survey.run, survey.status, survey.stop");
}

task<> coordinator::start(turn& self, message m) const {
  auto p = self.state<progress>();
  const order o = order::from_message(m, self.config());
  if (p.at != phase::idle) {
    self.fail("already_running", "a survey is running (" + std::to_string(p.finished) + " of " +
                                     std::to_string(p.files) + " files); wait for its end, or end it with survey.stop");
    co_return;
  }
  p = progress::begin(p.run + 1, phase::preparing);
  try {
    if (m.wants_reply) p.token = self.defer_reply("survey.stop");
  } catch (const std::logic_error&) {
    // A client's ask cannot wait for as long as this takes: it is told that the survey has begun.
    self.reply(json_payload({{"started", true}, {"run", p.run}}));
  }
  self.put_row("run", o.encode());
  self.set_state(p);
  send_next(self, p);
}

task<> coordinator::status(turn& self) const {
  const auto p = self.state<progress>();
  const auto last = co_await self.row("last");
  self.reply(json_payload({{"state", to_string(p.at)},
                           {"run", p.run},
                           {"files", p.files},
                           {"folders", p.folders},
                           {"finished", p.finished},
                           {"bytes", p.bytes},
                           {"lines", p.lines},
                           {"last", last ? json::parse(*last) : json()}}));
}

/// By a person, or because the task that it works on was cancelled: with that one's token, and another run may go on by now.
task<> coordinator::stop(turn& self, message m) const {
  auto p = self.state<progress>();
  const json body = m.parse();
  const bool other_run = body.is_object() && body.contains("token") && body["token"] != p.token;
  const bool running = p.at != phase::idle && !other_run;
  if (running) {
    const auto row = co_await self.row("run");
    const order o = order::decode(row.value());
    co_await discard_part(self, p, o);
    fail_run(self, p, {errc::application, "stopped", "the survey was stopped", {}, {}});
  }
  self.set_state(p);
  self.reply(json_payload({{"stopped", running}}));
}

/// What was written of a report that will not be.
task<> coordinator::discard_part(turn& self, const progress& p, const order& o) const {
  if (p.at == phase::preparing) co_return;
  payload call = json_payload({{"path", path_to_json(o.report("json"))}, {"part", "survey"}, {"discard", true}});
  const auto gone = co_await self.run("file.write", std::move(call));
  if (!gone) self.emit("survey.part_left", {{"run", p.run}, {"message", gone.error().message}});
}

task<> coordinator::next(turn& self, message m) const {
  auto p = self.state<progress>();
  if (run_of(m) != p.run || p.at == phase::idle || p.at == phase::reading) co_return; // of a run that was stopped
  const auto row = co_await self.row("run");
  order o = order::decode(row.value());
  result<void> went;
  switch (p.at) {
  case phase::idle:
  case phase::reading:
    break;
  case phase::preparing:
    went = co_await prepare(self, p, o);
    break;
  case phase::erasing:
    went = co_await erase(self, p);
    break;
  case phase::walking:
    went = co_await walk(self, p, o);
    break;
  case phase::links:
    went = co_await sum_links(self, p);
    break;
  case phase::folders:
    went = co_await sum_files(self, p, o);
    break;
  case phase::write_head:
    went = co_await write_head(self, p, o);
    break;
  case phase::write_folders:
  case phase::write_others:
  case phase::write_files:
    went = co_await write_list(self, p, o);
    break;
  case phase::write_end:
    went = co_await write_end(self, p, o);
    break;
  }
  if (went) {
    p.failures = 0;
  } else if (may_help_to_retry(went.error()) && p.failures < failures_max) {
    p.failures += 1;
    co_await self.sleep(std::chrono::milliseconds(250U << p.failures));
  } else {
    co_await discard_part(self, p, o);
    fail_run(self, p, went.error());
  }
  self.set_state(p);
  if (p.at != phase::idle && p.at != phase::reading) send_next(self, p);
}

// -- listing

task<result<void>> coordinator::prepare(turn& self, progress& p, const order& o) const {
  for (std::size_t i = 0; i < o.roots.size(); ++i) { // before anything is made
    payload look = json_payload({{"root", path_to_json(o.roots[i])}, {"limit", 1}});
    const auto looked = co_await self.run("file.walk", std::move(look));
    if (looked) continue;
    error why = looked.error();
    if (why.field == "root") why.field = "roots[" + std::to_string(i) + "]";
    co_return why;
  }
  // The report's place is tried before the work, not after it.
  payload probe = json_payload({{"path", path_to_json(o.report("json"))},
                                {"part", "survey"},
                                {"at", 0},
                                {"content", ""},
                                {"make_folders", true}});
  const auto tried = co_await self.run("file.write", std::move(probe));
  if (!tried) {
    error why = tried.error();
    why.field = "report_dir";
    co_return why;
  }
  p.at = phase::erasing;
  co_return result<void>{};
}

task<result<void>> coordinator::erase(turn& self, progress& p) const {
  const std::string after = p.cursor;
  const auto old = co_await self.rows("", after, page_rows);
  bool any = false;
  for (const auto& [key, value] : old) {
    p.cursor = key;
    any = true;
    if (key.starts_with("f/") || key.starts_with("o/") || key.starts_with("d/")) self.erase_row(key);
  }
  if (any) co_return result<void>{};
  self.put_row("summary", "");
  p.cursor.clear();
  p.at = phase::walking;
  co_return result<void>{};
}

task<result<void>> coordinator::walk(turn& self, progress& p, order& o) const {
  json arguments{{"root", path_to_json(o.roots[p.root])},
                 {"limit", 1000},
                 {"include", o.include},
                 {"exclude", o.excluded_below(p.root)}};
  if (!p.cursor.empty()) arguments["cursor"] = p.cursor;
  payload call = json_payload(arguments);
  const step_options patient{std::chrono::minutes{5}};
  const auto listed = co_await self.run("file.walk", std::move(call), patient);
  if (!listed) {
    error why = listed.error();
    if (why.field == "root") why.field = "roots[" + std::to_string(p.root) + "]";
    co_return why;
  }
  const json page = json::parse(listed->bytes);
  if (o.real_roots.size() == p.root) {
    const std::string real = json_fields(json{{"root", page.at("root")}}).path("root");
    for (const auto& earlier : o.real_roots)
      if (is_below(real, earlier) || is_below(earlier, real)) {
        error why =
            invalid("roots[" + std::to_string(p.root) + "]", "the directory overlaps with another root through a link");
        co_return why;
      }
    o.real_roots.push_back(real);
    self.put_row("run", o.encode());
  }
  for (const auto& entry : page.at("entries")) {
    const std::string path = json_fields(json{{"path", entry.at("path")}}).path("path");
    if (entry.at("kind") == "file") {
      self.put_row(row_key("f/", p.files++), file_row{p.root, path, {}}.encode());
    } else {
      json other = entry;
      const std::string& root = o.roots[p.root];
      other["path"] = path_for_people(path == "." ? root : (root == "/" ? "" : root) + "/" + path);
      if (other.contains("to")) other["to"] = path_for_people(json_fields(json{{"to", entry.at("to")}}).path("to"));
      self.put_row(row_key("o/", p.others++), other.dump());
    }
  }
  p.folders += page.at("folders").get<std::uint64_t>();
  if (p.files > files_max) {
    error why{errc::application,
              "too_many_files",
              "there are more than " + std::to_string(files_max) + " files",
              "roots",
              {}};
    co_return why;
  }
  const auto& cursor = page.at("cursor");
  p.cursor = cursor.is_string() ? cursor.get<std::string>() : "";
  if (cursor.is_null()) p.root += 1;
  show(self, p, "listing");
  if (p.root < o.roots.size()) co_return result<void>{};

  p.at = p.files == 0 ? phase::links : phase::reading;
  if (p.at == phase::reading) {
    const auto readers = pool_of(self);
    send_watch(self, p, readers);
    co_await hand_out(self, p, o, readers);
  }
  co_return result<void>{};
}

// -- reading

task<> coordinator::hand_out(turn& self, progress& p, const order& o, const pool& readers) const {
  const auto capacity = readers.readers.size() * readers.window;
  if (p.next >= p.files || p.out.size() > capacity / 2) co_return; // many at a time: one read of rows serves them all
  const std::string after = p.next == 0 ? std::string{} : row_key("f/", p.next - 1);
  const auto rows = co_await self.rows("f/", after, capacity - p.out.size());
  for (const auto& [key, value] : rows) {
    const auto reader = p.least_loaded(static_cast<std::uint32_t>(readers.readers.size()));
    send_read(self, p, o, readers, p.next, file_row::decode(value), reader);
    p.out.push_back({p.next, reader});
    p.next += 1;
  }
}

task<> coordinator::done(turn& self, message m) const {
  auto p = self.state<progress>();
  const auto readers = pool_of(self);
  const bool known = m.from.starts_with("agent/") && std::find(readers.readers.begin(), readers.readers.end(),
                                                               m.from.substr(6)) != readers.readers.end();
  if (!known) throw bad_message("type", "survey.done is for this survey's readers");
  json_fields fields(m.parse());
  const auto run = fields.number("run", 0, UINT64_MAX);
  const auto file = fields.number("file", 0, UINT64_MAX);
  const auto root = fields.number("root_index", 0, UINT32_MAX);
  const std::string path = fields.path("path");
  const json found = fields.value("result");
  check_message(fields);
  if (p.at != phase::reading || run != p.run || !p.settle(file)) co_return; // answered for already, or of an older run

  self.put_row(row_key("f/", file), file_row{static_cast<std::uint32_t>(root), path, found.dump()}.encode());
  p.finished += 1;
  p.bytes += found.value("bytes", std::uint64_t{0});
  p.lines += found.value("lines", std::uint64_t{0});
  if (worth_showing(p)) show(self, p, "reading");
  if (p.finished == p.files) {
    p.at = phase::links;
    p.cursor.clear();
    send_next(self, p);
  } else if (p.next < p.files && p.out.size() <= readers.readers.size() * readers.window / 2) {
    const auto row = co_await self.row("run");
    const order o = order::decode(row.value());
    co_await hand_out(self, p, o, readers);
  }
  self.set_state(p);
}

task<> coordinator::tick(turn& self, message m) const {
  auto p = self.state<progress>();
  if (p.at != phase::reading || run_of(m) != p.run) co_return;
  const auto readers = pool_of(self);
  p.quiet_ticks = p.finished == p.seen_finished ? p.quiet_ticks + 1 : 0;
  p.seen_finished = p.finished;
  if (p.quiet_ticks >= quiet_ticks_lost)
    co_await give_up_files(self, p);
  else if (p.quiet_ticks > 0 && p.quiet_ticks % quiet_ticks_again == 0)
    co_await give_again(self, p, readers);
  send_watch(self, p, readers);
  const auto row = co_await self.row("run");
  const order o = order::decode(row.value());
  co_await hand_out(self, p, o, readers);
  if (p.finished == p.files) {
    p.at = phase::links;
    p.cursor.clear();
    send_next(self, p);
  }
  self.set_state(p);
}

task<> coordinator::give_again(turn& self, progress& p, const pool& readers) const {
  const auto row = co_await self.row("run");
  const order o = order::decode(row.value());
  for (auto& given : p.out) {
    const std::string key = row_key("f/", given.file);
    const auto known = co_await self.row(key);
    given.reader = (given.reader + 1) % static_cast<std::uint32_t>(readers.readers.size());
    send_read(self, p, o, readers, given.file, file_row::decode(known.value()), given.reader);
  }
}

task<> coordinator::give_up_files(turn& self, progress& p) const {
  for (const auto& lost : p.out) {
    const std::string key = row_key("f/", lost.file);
    const auto known = co_await self.row(key);
    file_row row = file_row::decode(known.value());
    row.result = R"({"status":"lost","why":"no reader answered"})";
    self.put_row(key, row.encode());
    p.finished += 1;
  }
  p.out.clear();
  p.quiet_ticks = 0;
}

// -- summing up

task<result<void>> coordinator::sum_links(turn& self, progress& p) const {
  const auto rows = co_await self.rows("o/", p.cursor, page_rows);
  const auto known = co_await self.row("summary");
  summary s = summary_of(known);
  for (const auto& [key, value] : rows) {
    const json other = json::parse(value);
    s.add_other(other.at("path"), other);
  }
  self.put_row("summary", s.encode());
  p.cursor = rows.empty() ? "" : rows.back().first;
  if (rows.size() < page_rows) {
    p.cursor.clear();
    p.at = phase::folders;
  }
  co_return result<void>{};
}

task<result<void>> coordinator::sum_files(turn& self, progress& p, const order& o) const {
  const auto rows = co_await self.rows("f/", p.cursor, page_rows);
  const auto known = co_await self.row("summary");
  summary s = summary_of(known);
  std::vector<folder_sum> closed;
  for (const auto& [key, value] : rows) {
    const file_row row = file_row::decode(value);
    s.add_file(path_for_people(o.roots[row.root]), path_for_people(row.path), json::parse(row.result), closed);
  }
  p.cursor = rows.empty() ? "" : rows.back().first;
  if (rows.size() < page_rows) {
    s.close_all(closed);
    p.cursor.clear();
    p.at = phase::write_head;
    show(self, p, "writing the report");
  }
  for (const auto& folder : closed) self.put_row(row_key("d/", folder.number), folder_json(folder).dump());
  self.put_row("summary", s.encode());
  co_return result<void>{};
}

// -- the report

task<result<void>> coordinator::write_part(turn& self, progress& p, const order& o, std::string text) const {
  payload call = with_content({{"path", path_to_json(o.report("json"))}, {"part", "survey"}, {"at", p.written}}, text);
  const step_options patient{std::chrono::minutes{1}};
  const auto wrote = co_await self.run("file.write", std::move(call), patient);
  if (!wrote) co_return wrote.error();
  p.written += text.size();
  co_return result<void>{};
}

task<result<void>> coordinator::write_head(turn& self, progress& p, const order& o) const {
  const auto known = co_await self.row("summary");
  std::string text = report_json_head(o, p, summary_of(known)) + report_json_list("folders", true);
  auto wrote = co_await write_part(self, p, o, std::move(text));
  if (!wrote) co_return wrote;
  p.at = phase::write_folders;
  p.first_item = true;
  co_return result<void>{};
}

task<result<void>> coordinator::write_list(turn& self, progress& p, const order& o) const {
  const bool files = p.at == phase::write_files;
  const std::string_view prefix = files ? "f/" : p.at == phase::write_folders ? "d/" : "o/";
  const auto rows = co_await self.rows(prefix, p.cursor, page_rows);
  std::string text;
  std::string last = p.cursor;
  bool first = p.first_item;
  std::size_t taken = 0;
  for (const auto& [key, value] : rows) {
    if (text.size() > part_bytes) break;
    text += first ? "\n" : ",\n";
    text += files ? report_json_file(o, file_row::decode(value)) : value;
    first = false;
    last = key;
    ++taken;
  }
  const bool over = taken == rows.size() && rows.size() < page_rows;
  if (over && !files) text += report_json_list(p.at == phase::write_folders ? "others" : "files", false);
  if (over && files) text += report_json_end();
  auto wrote = co_await write_part(self, p, o, std::move(text));
  if (!wrote) co_return wrote;
  p.first_item = over || first;
  p.cursor = over ? "" : last;
  if (over) p.at = static_cast<phase>(static_cast<int>(p.at) + 1);
  co_return result<void>{};
}

task<result<void>> coordinator::write_end(turn& self, progress& p, const order& o) const {
  const auto known = co_await self.row("summary");
  payload commit = json_payload({{"path", path_to_json(o.report("json"))}, {"part", "survey"}, {"commit", p.written}});
  const auto committed = co_await self.run("file.write", std::move(commit));
  if (!committed) co_return committed.error();
  const std::string text = report_markdown(o, p, summary_of(known));
  payload call = with_content({{"path", path_to_json(o.report("md"))}}, text);
  const auto wrote = co_await self.run("file.write", std::move(call));
  if (!wrote) co_return wrote.error();

  const json answer{{"files", p.files},
                    {"folders", p.folders},
                    {"bytes", p.bytes},
                    {"lines", p.lines},
                    {"report", path_for_people(o.report("md"))},
                    {"report_json", path_for_people(o.report("json"))}};
  if (!p.token.empty()) self.finish(p.token, json_payload(answer));
  self.put_row("last", answer.dump());
  self.emit("survey.finished", answer);
  p = progress::begin(p.run, phase::idle);
  co_return result<void>{};
}

} // namespace hive::actors::survey
