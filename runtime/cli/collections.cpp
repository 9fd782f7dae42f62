#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/manifest.hpp"
#include "runtime/cli/render.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <thread>

namespace hive::cli {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct collection_options {
  std::string name, question, filter, mode, embedder, model, metric, file;
  std::string payload, id, source, kind, metadata, ttl, key;
  std::optional<std::string> text;
  std::vector<std::string> ids;
  std::uint32_t dimension = 0, k = 0, tokens = 0, hops = 0, batch = 100;
  std::size_t limit = 1000;
  std::int64_t as_of = 0;
  double diversity = -1;
  std::optional<double> min_score;
  bool vectors = false, resume = false, restart = false;
};

std::string path_of(const session& s, const std::string& collection, const std::string& rest = {}) {
  return s.path("collections/" + url_encode(collection) + rest);
}

json parse_object(const std::string& text, const std::string& option) {
  json value = json::parse(text, nullptr, false);
  if (!value.is_object())
    throw failure(exit_code::usage, option + " must be a JSON object",
                  "For example " + option + " '{\"lang\": \"en\"}'.");
  return value;
}

// -- collections

void list(session& s, const collection_options& o) {
  json all = json::array();
  std::string page;
  do {
    json answer = s.server().call("GET", s.path("collections") + "?page_size=1000" +
                                             (page.empty() ? "" : "&page_token=" + url_encode(page)));
    for (auto& c : answer["collections"]) all.push_back(std::move(c));
    page = text_of(answer, "next_page_token");
  } while (!page.empty() && all.size() < o.limit);
  if (s.json()) return s.print_json({{"collections", all}});
  table t({"NAME", "DIMENSION", "METRIC", "EMBEDDER", "MODEL"});
  for (const auto& c : all) {
    const auto& spec = object_of(c, "spec");
    t.add({text_of(c, "name"), text_of(spec, "dimension"), text_of(spec, "metric"), text_of(spec, "embedder"),
           text_of(spec, "model")});
  }
  s.print(t.text());
}

void create(session& s, const collection_options& o) {
  json spec = json::object();
  if (o.dimension != 0) spec["dimension"] = o.dimension;
  if (!o.metric.empty()) spec["metric"] = o.metric;
  if (!o.embedder.empty()) spec["embedder"] = o.embedder;
  if (!o.model.empty()) spec["model"] = o.model;
  const json answer = s.server().call("PUT", path_of(s, o.name), &spec);
  if (s.json())
    s.print_json(answer);
  else
    s.print("collection/" + o.name + " " + text_of(answer, "change") + "\n");
}

// -- items

/// Sends until it is answered: the key makes a repeat harmless.
json put_until_answered(session& s, const std::string& collection, const json& body) {
  for (int attempt = 1;; ++attempt) {
    try {
      return s.server().call("POST", path_of(s, collection, "/items:put"), &body, std::chrono::seconds(60));
    } catch (const failure& e) {
      if (e.code != exit_code::unavailable || attempt == 8) throw;
    }
    std::this_thread::sleep_for(milliseconds(100 << attempt));
  }
}

void put(session& s, const collection_options& o) {
  json items = json::array();
  if (!o.payload.empty()) {
    json given = read_payload(o.payload);
    if (given.is_array())
      items = std::move(given);
    else
      items.push_back(std::move(given));
  }
  if (o.text) {
    json one{{"text", *o.text}};
    if (!o.id.empty()) one["id"] = o.id;
    if (!o.source.empty()) one["source"] = o.source;
    if (!o.kind.empty()) one["kind"] = o.kind;
    if (!o.metadata.empty()) one["metadata"] = parse_object(o.metadata, "--metadata");
    if (!o.ttl.empty()) one["ttl_ms"] = parse_duration(o.ttl, "--ttl").count();
    items.push_back(std::move(one));
  }
  if (items.empty()) throw failure(exit_code::usage, "nothing to put", "Name items as JSON (or @FILE), or --text.");
  const json answer = put_until_answered(s, o.name, {{"items", items}, {"idempotency_key", o.key.empty() ? unique_word() : o.key}});
  if (s.json()) return s.print_json(answer);
  table t({"ID", "STATUS", "VERSION"});
  for (const auto& r : answer.at("results")) t.add({text_of(r, "id"), text_of(r, "status"), text_of(r, "version")});
  s.print(t.text());
}

/// "file.cpp:10-42" of items that say file and lines; otherwise the item's source or id.
std::string place_of(const json& item) {
  const auto& meta = object_of(item, "metadata");
  std::string place = text_of(meta, "file");
  if (place.empty()) place = text_of(item, "source");
  if (place.empty()) return text_of(item, "id");
  if (const auto line = text_of(meta, "line"); !line.empty()) {
    place += ":" + line;
    if (const auto last = text_of(meta, "last_line"); !last.empty() && last != line) place += "-" + last;
  }
  return place;
}

/// One line of the text around the most marks, marked words in colour.
std::string excerpt(const session& s, const json& hit, std::size_t width) {
  const std::string text = text_of(object_of(hit, "item"), "text");
  std::vector<std::pair<std::size_t, std::size_t>> marks;
  if (const auto spans = hit.find("highlights"); spans != hit.end())
    for (const auto& span : *spans) {
      const auto begin = number_of(span, "begin");
      const auto end = number_of(span, "end");
      if (begin < end && end <= text.size()) marks.emplace_back(begin, end);
    }
  std::size_t from = 0;
  std::size_t most = 0;
  for (std::size_t i = 0; i < marks.size(); ++i) {
    std::size_t n = 0;
    for (std::size_t j = i; j < marks.size() && marks[j].second <= marks[i].first + width; ++j) ++n;
    if (n > most) {
      most = n;
      from = marks[i].first;
    }
  }
  from = from > width / 8 ? from - width / 8 : 0;
  while (from > 0 && from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0U) == 0x80U)
    --from; // within a character
  std::size_t to = std::min(text.size(), from + width);
  while (to < text.size() && (static_cast<unsigned char>(text[to]) & 0xC0U) == 0x80U) ++to;
  std::string out = from > 0 ? "…" : "";
  std::size_t at = from;
  const auto on_one_line = [&](std::size_t begin, std::size_t end) {
    std::string part = harmless(text.substr(begin, end - begin));
    for (char& c : part)
      if (c == '\n' || c == '\t') c = ' ';
    return part;
  };
  const auto plain = [&](std::size_t until) {
    if (until <= at) return;
    out += on_one_line(at, until);
    at = until;
  };
  for (const auto& [begin, end] : marks) {
    if (begin < at || end > to) continue;
    plain(begin);
    out += s.coloured(colour::yellow, on_one_line(begin, end));
    at = end;
  }
  plain(to);
  if (to < text.size()) out += "…";
  return out;
}

json query_of(const collection_options& o) {
  json body{{"text", o.question}};
  if (!o.mode.empty()) body["mode"] = o.mode;
  if (o.k != 0) body["k"] = o.k;
  if (!o.filter.empty()) body["filter"] = parse_object(o.filter, "--filter");
  if (o.as_of != 0) body["as_of"] = o.as_of;
  if (o.diversity >= 0) body["diversity"] = o.diversity;
  return body;
}

std::string number_text(const json& object, const char* member) {
  const auto found = object.find(member);
  if (found == object.end() || !found->is_number()) return "";
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", found->get<double>());
  return text;
}

void print_hits(session& s, const json& hits) {
  for (const auto& hit : hits) {
    const auto& item = object_of(hit, "item");
    std::string parts;
    for (const char* way : {"dense", "lexical"})
      if (const auto& part = object_of(hit, way); !part.empty())
        parts += std::string(parts.empty() ? "" : "  ") + way + " " + number_text(part, "score") + " #" +
                 text_of(part, "rank");
    s.print(s.coloured(colour::green, number_text(hit, "score")) + "  " +
            s.coloured(colour::blue, shorten(place_of(item), 200)) + "  " + s.coloured(colour::grey, parts) + "\n");
    s.print("       " + excerpt(s, hit, s.width() > 30 ? s.width() - 9 : 70) + "\n");
  }
}

void search(session& s, const collection_options& o) {
  json body = query_of(o);
  if (o.hops != 0) body["hops"] = o.hops;
  if (o.min_score) body["min_score"] = *o.min_score;
  const json answer = s.server().call("POST", path_of(s, o.name, ":search"), &body);
  if (s.json()) return s.print_json(answer);
  print_hits(s, answer.value("hits", json::array()));
  if (const auto related = answer.find("related"); related != answer.end() && !related->empty()) {
    table t({"RELATED", "BY", "FROM"});
    for (const auto& r : *related)
      t.add({shorten(place_of(object_of(r, "item")), 60), text_of(r, "relation"), text_of(r, "from")});
    s.print(t.text());
  }
  if (answer.value("hits", json::array()).empty()) s.note("nothing found");
  if (const auto quality = text_of(answer, "quality"); quality != "exact")
    s.note("the answer is " + quality + ": " + text_of(answer, "reason"));
}

void pack(session& s, const collection_options& o) {
  json body = query_of(o);
  if (o.tokens != 0) body["tokens"] = o.tokens;
  const json answer = s.server().call("POST", path_of(s, o.name, ":pack"), &body);
  if (s.json()) return s.print_json(answer);
  for (const auto& p : answer.value("passages", json::array())) {
    const auto& item = object_of(object_of(p, "hit"), "item");
    s.print(s.coloured(colour::blue, "--- " + shorten(place_of(item), 200)) + "\n" + harmless(text_of(item, "text")) + "\n");
  }
  s.note(text_of(answer, "tokens") + " tokens; left out: " + text_of(answer, "left_out_for_room") + " for room, " +
         text_of(answer, "left_out_as_repeats") + " as repeats");
}

// -- import and export

/// One line that is rewritten on a terminal; otherwise a line every few seconds.
class transfer_display {
public:
  explicit transfer_display(const session& s) : s_(s), live_(s.err_is_terminal()) {}
  ~transfer_display() {
    if (shown_) std::cerr << "\r\x1b[2K" << std::flush;
  }
  void show(const std::string& note, std::uint64_t done, std::uint64_t total) {
    const auto now = steady_clock::now();
    if (now < next_) return;
    next_ = now + (live_ ? milliseconds(100) : milliseconds(5000));
    const auto line = progress_line(note, done, total, std::chrono::duration_cast<milliseconds>(now - began_),
                                    live_ ? s_.width() - 1 : 100);
    if (live_) {
      std::cerr << "\r\x1b[2K" << line << std::flush;
      shown_ = true;
    } else if (std::exchange(quiet_, false))
      return; // a short one needs no line
    else
      std::cerr << line << "\n";
  }

private:
  const session& s_;
  bool live_;
  bool shown_ = false;
  bool quiet_ = true;
  steady_clock::time_point began_ = steady_clock::now();
  steady_clock::time_point next_{};
};

/// FNV-1a, from one part of a text to the next.
std::uint64_t digest_of(std::string_view text, std::uint64_t before = 0xCBF29CE484222325ULL) {
  for (const char c : text) before = (before ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return before;
}

/// A place between two lines of a file, with all that came before it.
struct file_place {
  std::uint64_t offset = 0;
  std::uint64_t lines = 0;
  std::uint64_t digest = digest_of({});
  void pass(const std::string& line) {
    offset += line.size() + 1;
    ++lines;
    digest = digest_of("\n", digest_of(line, digest));
  }
};

/// How far an import of a file came: kept beside it, so that it goes on there after anything.
class import_mark {
public:
  import_mark(const std::string& file, std::string target) : path_(file + ".imported"), target_(std::move(target)) {}
  /// @returns {offset, lines, digest, run}; empty when there is none, or it is about another collection.
  json read() const {
    std::ifstream in(path_);
    const json mark = json::parse(in, nullptr, false);
    return mark.is_object() && text_of(mark, "target") == target_ ? mark : json::object();
  }
  void write(const file_place& at, const std::string& run) const {
    {
      std::ofstream out(path_ + ".new", std::ios::trunc);
      out << json{{"target", target_}, {"offset", at.offset}, {"lines", at.lines}, {"digest", at.digest}, {"run", run}}.dump() << "\n";
      if (!out.flush()) throw failure(exit_code::usage, "cannot write '" + path_ + ".new'");
    }
    std::filesystem::rename(path_ + ".new", path_);
  }
  void remove() const {
    std::error_code ec;
    std::filesystem::remove(path_, ec);
  }

private:
  std::string path_, target_;
};

/// Items on their way, and the lines they came from.
class import_batch {
public:
  import_batch(session& s, std::string collection, std::string file) : s_(s), collection_(std::move(collection)), file_(std::move(file)) {}

  void add(json item, std::uint64_t line, std::uint64_t bytes) {
    items_.push_back(std::move(item));
    lines_.push_back(line);
    bytes_ += bytes;
  }
  std::size_t size() const { return lines_.size(); }
  std::uint64_t bytes() const { return bytes_; }

  /// One that expires on the way is left out. @param place of the batch in its import: with the items it is the put's key, as
  /// what begins there may be another batch when the import goes on.
  void send(const std::string& place) {
    while (!lines_.empty()) {
      const auto digest = digest_of(items_.dump(-1, ' ', false, json::error_handler_t::replace));
      json body{{"items", items_}, {"idempotency_key", place + "-" + std::to_string(digest)}};
      try {
        const json answer = put_until_answered(s_, collection_, body);
        for (const auto& r : answer.at("results")) ++sums[text_of(r, "status")];
        break;
      } catch (failure& e) {
        std::size_t number = 0;
        if (std::sscanf(e.field.c_str(), "items[%zu]", &number) != 1 || number >= lines_.size()) throw;
        if (!e.field.ends_with("].expires_at")) {
          failure named(e.code, file_ + ":" + std::to_string(lines_[number]) + ": " + e.what(), e.hint);
          throw named;
        }
        items_.erase(number);
        lines_.erase(lines_.begin() + static_cast<std::ptrdiff_t>(number));
        ++sums["expired"];
      }
    }
    items_ = json::array();
    lines_.clear();
    bytes_ = 0;
  }

  std::map<std::string, std::uint64_t> sums; ///< By what became of them.

private:
  session& s_;
  std::string collection_, file_;
  json items_ = json::array();
  std::vector<std::uint64_t> lines_;
  std::uint64_t bytes_ = 0;
};

/// Reads on to where an earlier import stopped. It must be the same file up to there: otherwise lines would be left out.
file_place find_again(std::istream& in, const json& mark, const std::string& name) {
  file_place at;
  const auto lines = number_of(mark, "lines");
  for (std::string line; at.lines < lines && std::getline(in, line);) at.pass(line);
  if (at.lines != lines || at.digest != number_of(mark, "digest"))
    throw failure(exit_code::usage, "'" + name + "' is not the file whose first " + std::to_string(lines) + " lines were imported",
                  "--restart imports it from its first line.");
  return at;
}

void import_items(session& s, const collection_options& o) {
  const bool piped = o.file == "-";
  std::ifstream file;
  std::uint64_t total = 0;
  if (!piped) {
    std::error_code ec;
    total = std::filesystem::file_size(o.file, ec);
    if (!ec) file.open(o.file, std::ios::binary);
    if (ec || !file)
      throw failure(exit_code::usage, "cannot read '" + o.file + "'", "Check the path; '-' reads standard input.");
  }
  std::istream& in = piped ? std::cin : file;
  const import_mark mark(o.file, s.options.server + path_of(s, o.name));
  file_place at;
  std::string run = unique_word();
  if (!piped && !o.restart)
    if (const json before = mark.read(); !before.empty()) {
      at = find_again(in, before, o.file);
      run = text_of(before, "run"); // with its keys, the batch that may or may not have arrived is not stored twice
      s.note("going on at line " + std::to_string(at.lines + 1) + " (--restart begins anew)");
    }
  transfer_display display(s);
  import_batch batch(s, o.name, piped ? "standard input" : o.file);
  const auto send = [&] {
    batch.send(run + "-" + std::to_string(at.lines));
    if (!piped) mark.write(at, run);
    display.show("importing", piped ? at.lines : at.offset, total);
  };
  constexpr std::uint64_t bytes_at_once = 1024 * 1024;
  for (std::string line; std::getline(in, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) {
      json item = json::parse(line, nullptr, false);
      if (!item.is_object()) {
        send();
        throw failure(exit_code::usage, (piped ? "standard input" : o.file) + ":" + std::to_string(at.lines + 1) +
                                            ": is not a JSON object; what came before is stored");
      }
      const auto now = std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
      if (const auto end = item.find("expires_at"); end != item.end() && end->is_number_integer() && end->get<std::int64_t>() <= now)
        ++batch.sums["expired"];
      else
        batch.add(std::move(item), at.lines + 1, line.size());
    }
    at.pass(line);
    if (batch.size() >= o.batch || batch.bytes() >= bytes_at_once) send();
  }
  send();
  if (!piped) mark.remove();
  if (s.json()) return s.print_json({{"lines", at.lines}, {"results", batch.sums}});
  std::string text = std::to_string(at.lines) + " lines";
  for (const auto& [status, n] : batch.sums) text += ", " + std::to_string(n) + " " + status;
  s.print(text + "\n");
}

/// As `items:put` takes it.
json portable(json item) {
  for (const char* made : {"created", "superseded_by", "version"}) item.erase(made);
  for (auto member = item.begin(); member != item.end();) {
    const bool empty = (member->is_string() && member->get_ref<const std::string&>().empty()) ||
                       ((member->is_array() || member->is_object()) && member->empty());
    member = empty ? item.erase(member) : std::next(member);
  }
  return item;
}

/// Id of the last whole line; cuts off what is left of one that was not finished. Touches nothing that is not an export.
std::string last_exported(const std::string& file, std::uint64_t& lines) {
  if (!std::filesystem::exists(file)) return {};
  std::ifstream in(file, std::ios::binary);
  std::string last;
  std::uint64_t good = 0;
  bool cut = false;
  for (std::string line; std::getline(in, line);) {
    cut = in.eof();
    if (cut) break;
    const json item = json::parse(line, nullptr, false);
    const auto id = text_of(item, "id");
    if (!item.is_object() || id.empty() || id <= last)
      throw failure(exit_code::usage, "'" + file + "' is no export that could go on: line " + std::to_string(lines + 1) + " is not the next item",
                    "Name another file.");
    good += line.size() + 1;
    ++lines;
    last = id;
  }
  in.close();
  if (cut && lines == 0)
    throw failure(exit_code::usage, "'" + file + "' has no whole line, so it may be anything", "Remove it, or name another file.");
  if (cut) std::filesystem::resize_file(file, good);
  return last;
}

void export_items(session& s, const collection_options& o) {
  const bool piped = o.file.empty() || o.file == "-";
  std::uint64_t lines = 0;
  std::string page;
  if (!piped && o.resume)
    page = last_exported(o.file, lines);
  else if (!piped && std::filesystem::exists(o.file))
    throw failure(exit_code::usage, "'" + o.file + "' exists", "--resume goes on with it; or name another file.");
  const json collection = s.server().call("GET", path_of(s, o.name));
  std::ofstream file;
  if (!piped) {
    file.open(o.file, std::ios::binary | std::ios::app);
    if (!file) throw failure(exit_code::usage, "cannot write '" + o.file + "'");
  }
  const std::uint64_t total = number_of(collection, "items");
  // Without an embedder nothing could make them again.
  const bool vectors = o.vectors || text_of(object_of(collection, "spec"), "embedder") == "none";
  std::uint64_t superseded = 0;
  transfer_display display(s);
  const std::string size = vectors ? "200" : "1000";
  for (bool more = true; more;) {
    const json answer = s.server().call("GET",
                                        path_of(s, o.name,
                                                "/items?page_size=" + size + (vectors ? "&vector=true" : "") +
                                                    (page.empty() ? "" : "&page_token=" + url_encode(page))),
                                        nullptr, std::chrono::seconds(60));
    std::string text;
    for (const auto& item : answer.value("items", json::array())) {
      superseded += !text_of(item, "superseded_by").empty();
      text += portable(item).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
      ++lines;
    }
    if (piped)
      s.print(text);
    else if (!(file << text).flush())
      throw failure(exit_code::usage, "cannot write '" + o.file + "'");
    page = text_of(answer, "next_page_token");
    more = !page.empty();
    display.show("exporting", lines, total);
  }
  if (superseded > 0)
    s.note(std::to_string(superseded) + " superseded items: an import keeps until when they were valid, not what superseded them");
  if (!piped && s.json())
    s.print_json({{"lines", lines}, {"file", o.file}});
  else if (!piped)
    s.print(std::to_string(lines) + " items in " + o.file + "\n");
}

void get_item(session& s, const collection_options& o) {
  const json item =
      s.server().call("GET", path_of(s, o.name, "/items/" + url_encode(o.id)) + (o.vectors ? "?vector=true" : ""));
  if (s.json())
    s.print_json(item);
  else
    s.print(render_object(item));
}

void delete_items(session& s, const collection_options& o) {
  const json body{{"ids", o.ids}, {"idempotency_key", unique_word()}};
  const json answer = s.server().call("POST", path_of(s, o.name, "/items:delete"), &body);
  if (s.json())
    s.print_json(answer);
  else
    s.print(text_of(answer, "deleted") + " of " + std::to_string(o.ids.size()) + " deleted\n");
}

} // namespace

void add_collection_commands(CLI::App& app, session& s) {
  auto o = std::make_shared<collection_options>();

  auto* collections = add_command(app, "collections", "Memories that agents search: list, create, show, delete",
                                  "  hivectl -t demo collections create notes\n  hivectl -t demo collections list");
  collections->require_subcommand(1);
  auto* list_command =
      add_command(*collections, "list", "The tenant's collections", "  hivectl -t demo collections list");
  list_command->callback([&s, o] { list(s, *o); });
  auto* create_command = add_command(*collections, "create", "Make one; what it measures with is fixed from then on",
                                     "  hivectl -t demo collections create notes\n  hivectl -t demo collections create "
                                     "faces --dimension 512 --embedder none\n  hivectl -t demo collections create papers "
                                     "--embedder endpoint --model bge-small-en --dimension 384");
  create_command->add_option("NAME", o->name)->required();
  create_command->add_option("--dimension", o->dimension, "Of its vectors; 384 when absent")
      ->check(CLI::Range(8, 4096));
  create_command->add_option("--metric", o->metric)->check(CLI::IsMember({"cosine", "inner_product", "l2"}));
  create_command->add_option("--embedder", o->embedder, "hashing-1 (built in), none (you bring vectors), endpoint (embedding.url of hived)")
      ->check(CLI::IsMember({"hashing-1", "none", "endpoint"}));
  create_command->add_option("--model", o->model, "Of the endpoint, which makes its vectors from then on");
  create_command->callback([&s, o] { create(s, *o); });
  auto* show = add_command(*collections, "show", "How many items it has, and its bytes in memory",
                           "  hivectl -t demo collections show notes");
  show->add_option("NAME", o->name)->required();
  show->callback([&s, o] {
    const json found = s.server().call("GET", path_of(s, o->name));
    if (s.json())
      s.print_json(found);
    else
      s.print(render_object(found));
  });
  auto* remove =
      add_command(*collections, "delete", "With all its items", "  hivectl -t demo collections delete notes");
  remove->add_option("NAME", o->name)->required();
  remove->callback([&s, o] {
    const json answer = s.server().call("DELETE", path_of(s, o->name));
    if (s.json())
      s.print_json(answer);
    else
      s.print("collection/" + o->name + " deleted\n");
  });

  auto* put_command =
      add_command(app, "put", "Store items in a collection",
                  "  hivectl -t demo put notes --text 'the fence refuses an older epoch' --source design.md\n"
                  "  hivectl -t demo put notes '{\"id\": \"a\", \"text\": \"...\", \"metadata\": {\"lang\": "
                  "\"en\"}}'\n  hivectl -t demo put notes @items.json");
  put_command->add_option("COLLECTION", o->name)->required();
  put_command->add_option("ITEMS", o->payload, "An item or a list of items: JSON, @FILE, or - for standard input");
  put_command->add_option("--text", o->text, "One item with this text");
  put_command->add_option("--id", o->id, "Its id; made from the content when absent");
  put_command->add_option("--source", o->source, "Where it came from");
  put_command->add_option("--kind", o->kind, "fact, episode ...");
  put_command->add_option("--metadata", o->metadata, "A JSON object");
  put_command->add_option("--ttl", o->ttl, "Expires after so long: 10s, 5m, 2h");
  put_command->add_option("--key", o->key, "Idempotency key: a repeat with the same key is not done twice");
  put_command->callback([&s, o] { put(s, *o); });

  const auto query_options = [&](CLI::App& command) {
    command.add_option("COLLECTION", o->name)->required();
    command.add_option("QUESTION", o->question)->required();
    command.add_option("-k", o->k, "So many hits; at most context.k of hived, 1000 unless set")->check(CLI::Range(1, 10'000));
    command.add_option("--as-of", o->as_of, "What was true then: milliseconds since 1970")->check(CLI::PositiveNumber);
    command.add_option("--diversity", o->diversity, "0: by relevance alone; 1: by difference alone")->check(CLI::Range(0.0, 1.0));
    command.add_option("--filter", o->filter, "Only these items: '{\"lang\": \"en\", \"year\": {\"$gte\": 2020}}'");
    command.add_option("--mode", o->mode)->check(CLI::IsMember({"hybrid", "dense", "lexical"}));
  };
  auto* search_command = add_command(app, "search", "Ask a collection",
                                     "  hivectl -t demo search survey 'who restarts a crashed reader'\n"
                                     "  hivectl -t demo search survey 'epoch fence' -k 5 --filter '{\"file\": "
                                     "{\"$prefix\": \"src/\"}}' --mode lexical");
  query_options(*search_command);
  search_command->add_option("--hops", o->hops, "Also what the hits link to, this far")->check(CLI::Range(1, 3));
  search_command->add_option("--min-score", o->min_score, "No hits below this score, which depends on the mode");
  search_command->callback([&s, o] { search(s, *o); });
  auto* pack_command = add_command(app, "pack", "The best passages within so many tokens",
                                   "  hivectl -t demo pack survey 'how does a takeover work' --tokens 1500");
  query_options(*pack_command);
  pack_command->add_option("--tokens", o->tokens, "2000 when absent")->check(CLI::Range(1, 10'000'000));
  pack_command->callback([&s, o] { pack(s, *o); });

  auto* items = add_command(app, "items", "Single items: get, delete",
                            "  hivectl -t demo items get notes ID\n  hivectl -t demo items delete notes ID ID");
  items->require_subcommand(1);
  auto* get_command = add_command(*items, "get", "Everything about one", "  hivectl -t demo items get notes ID");
  get_command->add_option("COLLECTION", o->name)->required();
  get_command->add_option("ID", o->id)->required();
  get_command->add_flag("--vectors", o->vectors, "With its vector");
  get_command->callback([&s, o] { get_item(s, *o); });
  auto* delete_command = add_command(*items, "delete", "Delete items", "  hivectl -t demo items delete notes ID ID");
  delete_command->add_option("COLLECTION", o->name)->required();
  delete_command->add_option("ID", o->ids)->required();
  delete_command->callback([&s, o] { delete_items(s, *o); });

  auto* import_command = add_command(app, "import", "Items from a file of JSON lines; goes on where it was cut off",
                                     "  hivectl -t demo import notes items.jsonl");
  import_command->add_option("COLLECTION", o->name)->required();
  import_command->add_option("FILE", o->file, "- reads standard input")->required();
  import_command->add_option("--batch", o->batch, "Items in one put")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  import_command->add_flag("--restart", o->restart, "From the first line, whatever was imported before");
  import_command->callback([&s, o] { import_items(s, *o); });
  auto* export_command =
      add_command(app, "export", "Items as JSON lines, as import takes them (which makes versions and times of creation anew)",
                  "  hivectl -t demo export notes items.jsonl\n  hivectl -t demo export notes | jq .text");
  export_command->add_option("COLLECTION", o->name)->required();
  export_command->add_option("FILE", o->file, "Standard output when absent");
  export_command->add_flag("--vectors", o->vectors, "With their vectors; always when the collection has no embedder");
  export_command->add_flag("--resume", o->resume, "Go on with a file that was cut off");
  export_command->callback([&s, o] { export_items(s, *o); });
}

} // namespace hive::cli
