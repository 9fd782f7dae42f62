#include "runtime/cli/render.hpp"

#include <ctime>

namespace hive::cli {

using nlohmann::json;

std::string text_of(const json& object, const std::string& member) {
  if (!object.is_object()) return {};
  const auto found = object.find(member);
  if (found == object.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump(-1, ' ', false, json::error_handler_t::replace);
}

std::uint64_t number_of(const json& object, const std::string& member) {
  if (!object.is_object()) return 0;
  const auto found = object.find(member);
  if (found == object.end() || !found->is_number()) return 0;
  return found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

const json& object_of(const json& object, const std::string& member) {
  static const json empty = json::object();
  if (!object.is_object()) return empty;
  const auto found = object.find(member);
  return found != object.end() && !found->is_null() ? *found : empty;
}

std::string harmless(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20U && byte != '\n' && byte != '\t') || byte == 0x7FU) text[i] = ' ';
    // U+0080..U+009F, which some terminals obey too; and such a byte by itself.
    if (byte == 0xC2U && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0U && static_cast<unsigned char>(text[i + 1]) >= 0x80U) {
      text[i] = text[i + 1] = ' ';
      ++i;
    }
  }
  return text;
}

std::string human_time(std::int64_t unix_ms) {
  if (unix_ms == 0) return {};
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts)};
}

colour colour_of_status(const std::string& status) {
  if (status == "running" || status == "succeeded" || status == "created") return colour::green;
  if (status == "crashed" || status == "quarantined" || status == "failed" || status == "deleted") return colour::red;
  if (status == "waiting" || status == "stopped" || status == "stopping" || status == "restarting" || status == "updated" || status == "queued") return colour::yellow;
  return colour::none;
}

namespace {

std::string painted(const std::string& status, bool colours) {
  return paint(colour_of_status(status), status, colours);
}

/// "stopped (supervisor/x)" for what is down with one above it.
std::string status_of(const json& status, bool colours) {
  const std::string with = text_of(status, "stopped_by");
  return painted(text_of(status, "status"), colours) + (with.empty() ? "" : " (" + with + ")");
}

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

std::string age(std::uint64_t then_ms, std::int64_t now_ms) {
  const auto then = static_cast<std::int64_t>(then_ms);
  if (then == 0) return "-";
  return human_duration(std::chrono::milliseconds(now_ms > then ? now_ms - then : 0));
}

std::string task_progress(const json& task) {
  const auto& progress = object_of(task, "progress");
  const auto total = number_of(progress, "total");
  const auto done = number_of(progress, "done");
  if (total > 0) return std::to_string(done) + "/" + std::to_string(total);
  return done > 0 ? std::to_string(done) : "-";
}

std::string task_time(const json& task, std::int64_t now_ms) {
  const auto started = number_of(task, "started_at");
  const auto ended = number_of(task, "ended_at");
  if (started == 0) return "-";
  return age(started, ended ? static_cast<std::int64_t>(ended) : now_ms);
}

} // namespace

std::string render_list(const std::string& kind, const json& items, std::int64_t now_ms, bool colours) {
  if (!items.is_array() || items.empty()) return "no " + kind + "\n";
  if (kind == "agents") {
    table t({"NAME", "BEHAVIOUR", "SUPERVISOR", "STATUS", "INCARNATION", "RESTARTS", "MAILBOX", "REVISION"});
    for (const auto& item : items) {
      const auto& spec = object_of(item, "spec");
      const auto& status = object_of(item, "status");
      t.add({text_of(item, "name"), text_of(spec, "behaviour"), or_dash(text_of(spec, "supervisor")),
             or_dash(status_of(status, colours)), std::to_string(number_of(status, "incarnation")),
             std::to_string(number_of(status, "restarts")), std::to_string(number_of(status, "mailbox")),
             std::to_string(number_of(item, "revision"))});
    }
    return t.text();
  }
  if (kind == "supervisors") {
    table t({"NAME", "STRATEGY", "INTENSITY", "SUPERVISOR", "STATUS", "RESTARTS", "REVISION"});
    for (const auto& item : items) {
      const auto& spec = object_of(item, "spec");
      const auto& status = object_of(item, "status");
      const auto period = number_of(spec, "period_ms");
      const auto intensity = text_of(spec, "intensity");
      t.add({text_of(item, "name"), or_dash(text_of(spec, "strategy")),
             intensity.empty() ? "-"
                               : intensity + (period ? " in " + human_duration(std::chrono::milliseconds(period)) : ""),
             or_dash(text_of(spec, "supervisor")), or_dash(status_of(status, colours)),
             std::to_string(number_of(status, "restarts")), std::to_string(number_of(item, "revision"))});
    }
    return t.text();
  }
  if (kind == "tasks") {
    table t({"ID", "AGENT", "TYPE", "STATE", "PROGRESS", "ATTEMPTS", "SUBMITTED", "TOOK"});
    for (const auto& item : items)
      t.add({text_of(item, "id"), text_of(item, "agent"), text_of(item, "type"),
             painted(text_of(item, "state"), colours), task_progress(item), std::to_string(number_of(item, "attempts")),
             human_time(static_cast<std::int64_t>(number_of(item, "submitted_at"))), task_time(item, now_ms)});
    return t.text();
  }
  if (kind == "dead-letters") {
    table t({"ID", "RECEIVER", "TYPE", "REASON", "FROM", "AT"});
    for (const auto& item : items)
      t.add({text_of(item, "id"), text_of(item, "receiver"), text_of(item, "type"), text_of(item, "reason"),
             or_dash(text_of(item, "from")), human_time(static_cast<std::int64_t>(number_of(item, "at")))});
    return t.text();
  }
  if (kind == "keys") {
    table t({"ID", "ROLE", "LABEL", "CREATED"});
    for (const auto& item : items)
      t.add({text_of(item, "id"), text_of(item, "role"), or_dash(text_of(item, "label")),
             human_time(static_cast<std::int64_t>(number_of(item, "created_at")))});
    return t.text();
  }
  table t({"NAME", "ID", "WEIGHT", "QUEUE", "DESCRIPTION"});
  for (const auto& item : items)
    t.add({text_of(item, "name"), text_of(item, "id"), std::to_string(std::max<std::uint64_t>(1, number_of(object_of(item, "spec"), "weight"))),
           std::to_string(std::max<std::uint64_t>(1, number_of(object_of(item, "spec"), "queue_partitions"))), or_dash(shorten(text_of(object_of(item, "spec"), "description"), 60))});
  return t.text();
}

std::string render_object(const json& value, std::size_t indent) {
  const std::string blanks(indent, ' ');
  std::string out;
  const auto entry = [&](const std::string& head, const json& item) {
    const bool nested = item.is_structured() && !item.empty();
    const bool flat_list =
        item.is_array() && std::none_of(item.begin(), item.end(), [](const json& i) { return i.is_structured(); });
    if (nested && flat_list) {
      std::string joined;
      for (const auto& one : item) joined += (joined.empty() ? "" : ", ") + harmless(text_of({{"v", one}}, "v"));
      out += blanks + head + " " + joined + "\n";
    } else if (nested) {
      out += blanks + head + "\n" + render_object(item, indent + 2);
    } else {
      const std::string text = item.is_structured() ? (item.is_array() ? "none" : "{}") : text_of({{"v", item}}, "v");
      out += blanks + head + " " + or_dash(harmless(text)) + "\n";
    }
  };
  if (value.is_object()) {
    for (const auto& [name, item] : value.items()) entry(harmless(name) + ":", item);
  } else if (value.is_array()) {
    for (const auto& item : value) entry("-", item);
  } else {
    out = blanks + harmless(text_of({{"v", value}}, "v")) + "\n";
  }
  return out;
}

namespace {

struct tree_look {
  bool colours = false;
  bool nodes = false; ///< The hive has several: say which one has what.
};

void add_branch(table& t, const json& node, const std::string& lead, const std::string& name, tree_look look) {
  const auto& status = object_of(node, "status");
  const bool supervisor = text_of(node, "kind") == "supervisor";
  std::vector<std::string> row{lead + name, supervisor ? text_of(node, "strategy") : text_of(node, "behaviour"),
                               or_dash(status_of(status, look.colours)), std::to_string(number_of(status, "incarnation")),
                               std::to_string(number_of(status, "restarts")), std::to_string(number_of(status, "mailbox")),
                               shorten(text_of(status, "last_error"), 60)};
  if (look.nodes) row.insert(row.begin() + 2, or_dash(text_of(status, "node")));
  t.add(std::move(row));
}

void add_children(table& t, const json& node, const std::string& lead, tree_look look) {
  const auto found = node.find("children");
  if (found == node.end() || !found->is_array()) return;
  for (std::size_t i = 0; i < found->size(); ++i) {
    const auto& child = (*found)[i];
    const bool last = i + 1 == found->size();
    add_branch(t, child, lead + (last ? "└─ " : "├─ "), text_of(child, "name"), look);
    add_children(t, child, lead + (last ? "   " : "│  "), look);
  }
}

} // namespace

std::string render_tree(const json& tree, bool colours) {
  const auto& root = object_of(tree, "root");
  const tree_look look{colours, !text_of(object_of(root, "status"), "node").empty()};
  std::vector<std::string> headings{"TREE", "KIND", "STATUS", "INCARNATION", "RESTARTS", "MAILBOX", "LAST ERROR"};
  if (look.nodes) headings.insert(headings.begin() + 2, "NODE");
  table t(std::move(headings));
  add_branch(t, root, "", text_of(tree, "tenant"), look);
  add_children(t, root, "", look);
  std::string out = t.text();
  const auto truncated = tree.find("truncated");
  if (truncated != tree.end() && *truncated == true)
    out += "… the first " + text_of(tree, "entities") + "; more with --limit N\n";
  return out;
}

std::string render_changes(const json& applied, bool all, bool colours) {
  table t({"KIND", "NAME", "CHANGE", "REVISION"});
  if (const auto found = applied.find("entities"); found != applied.end() && found->is_array())
    for (const auto& change : *found) {
      const std::string what = text_of(change, "change");
      if (what == "unchanged" && !all) continue;
      t.add({text_of(change, "kind"), text_of(change, "name"), painted(what, colours), text_of(change, "revision")});
    }
  const bool too_many = t.empty() && number_of(applied, "created") + number_of(applied, "updated") > 0;
  return (t.empty() ? "" : t.text()) + (too_many ? "(more than 1,000 entities: not listed one by one)\n" : "") + std::to_string(number_of(applied, "created")) + " created, " +
         std::to_string(number_of(applied, "updated")) + " updated, " + std::to_string(number_of(applied, "unchanged")) +
         " unchanged\n";
}

std::string render_event(const json& event, std::size_t width, bool colours) {
  const std::string time = human_time(static_cast<std::int64_t>(number_of(event, "at")));
  const std::string type = text_of(event, "type");
  const std::string source = text_of(event, "source");
  const std::string head = (time.size() > 11 ? time.substr(11) : time) + "  ";
  const std::size_t used = display_width(head) + display_width(type) + display_width(source) + 4;
  return head + paint(type == "gap" || type.find("crash") != std::string::npos ? colour::red : colour::blue, type, colours) +
         "  " + source + "  " + shorten(text_of(event, "data"), used < width ? width - used : 20) + "\n";
}

std::string render_task(const json& task, bool colours) {
  const std::string state = text_of(task, "state");
  std::string out = "task " + text_of(task, "id") + " " + painted(state, colours);
  const auto started = number_of(task, "started_at");
  const auto ended = number_of(task, "ended_at");
  if (started && ended >= started) out += " after " + human_duration(std::chrono::milliseconds(ended - started));
  if (const auto attempts = number_of(task, "attempts"); attempts > 1)
    out += ", at attempt " + std::to_string(attempts);
  out += "\n";
  const auto why = [](const json& error) {
    return text_of(error, "reason") + ": " + (text_of(error, "field").empty() ? "" : text_of(error, "field") + ": ") + text_of(error, "message") + "\n";
  };
  if (const auto past = task.find("past_attempts"); past != task.end())
    for (const auto& p : *past)
      out += "attempt " + std::to_string(number_of(p, "number")) + (text_of(p, "agent").empty() ? "" : " by " + text_of(p, "agent")) + ", until " +
             human_time(static_cast<std::int64_t>(number_of(p, "ended_at"))) + ": " + why(object_of(p, "error"));
  const auto& error = object_of(task, "error");
  if (!text_of(error, "message").empty() || !text_of(error, "reason").empty()) out += why(error);
  if (const auto result = task.find("result"); result != task.end() && !result->is_null()) out += render_object(*result);
  return out;
}

} // namespace hive::cli
