#include "runtime/cli/commands.hpp"
#include "runtime/cli/failure.hpp"
#include "runtime/cli/manifest.hpp"
#include "runtime/cli/render.hpp"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>
#include <thread>

namespace hive::cli {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct message_options {
  std::string agent;
  std::string type;
  std::string payload;
  std::string key;
  std::string deadline = "30s";
  bool urgent = false;
};

// What a person who interrupts an ask needs to know. Written by the signal's handler, so it is made before.
std::string parting_words;

void say_and_leave(int) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, parting_words.data(), parting_words.size());
  ::_exit(static_cast<int>(exit_code::unavailable));
}

void tell_key_when_interrupted(const std::string& key) {
  parting_words = "\nhivectl: interrupted; whether it was done is unknown\n  Ask again with --key " + key + "; it will not be done twice.\n";
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, say_and_leave);
}

/// Sends until an answer came or the deadline passed. The key makes it safe to send again after a broken connection: a
/// hive that did the work before answers the same.
http_answer ask_until(session& s, const std::string& target, json body, milliseconds deadline) {
  const auto end = steady_clock::now() + deadline;
  bool sent = false;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now());
    body["deadline_ms"] = std::max<std::int64_t>(1, left.count());
    try {
      return s.server().send("POST", target, &body, std::max(left, milliseconds(1)) + std::chrono::seconds(5));
    } catch (const failure& why) {
      sent = sent || dynamic_cast<const outcome_unknown*>(&why) != nullptr;
      if (why.code != exit_code::unavailable || !sent) throw;
      if (steady_clock::now() + milliseconds(300) >= end)
        throw failure(exit_code::unavailable, "the outcome is unknown: " + std::string(why.what()),
                      "Ask again with --key " + body["idempotency_key"].get<std::string>() + "; it will not be done twice.");
      std::this_thread::sleep_for(milliseconds(300));
    }
  }
}

void ask(session& s, const message_options& o) {
  const auto deadline = parse_duration(o.deadline, "--deadline");
  json body = {{"type", o.type}, {"payload", read_payload(o.payload)}};
  body["idempotency_key"] = o.key.empty() ? "hivectl-" + unique_word() : o.key;
  if (o.urgent) body["priority"] = "urgent";
  tell_key_when_interrupted(body["idempotency_key"]);
  const auto answer = ask_until(s, s.path("agents/" + url_encode(o.agent) + ":ask"), body, deadline);
  check(answer);
  if (s.json()) {
    s.print_json(answer.body);
    return;
  }
  const auto payload = answer.body.find("payload");
  if (payload == answer.body.end() || payload->is_null()) s.print("null\n");
  else if (payload->is_string()) s.print(payload->get<std::string>() + "\n");
  else if (const std::string line = payload->dump(-1, ' ', false, json::error_handler_t::replace); line.size() <= s.width())
    s.print(line + "\n");
  else s.print_json(*payload);
  if (answer.body.value("repeated", false)) s.note("(the stored answer of an earlier ask with this key)");
}

void tell(session& s, const message_options& o) {
  const json body = {{"type", o.type}, {"payload", read_payload(o.payload)}};
  const json answer = s.server().call("POST", s.path("agents/" + url_encode(o.agent) + ":tell"), &body);
  if (s.json()) s.print_json(answer);
  else s.print("told " + o.agent + "\n");
}

} // namespace

std::string unique_word() {
  static constexpr char letters[] = "0123456789abcdefghijkmnpqrstuvwx";
  std::random_device chance;
  std::string out;
  for (int i = 0; i < 20; ++i) out += letters[chance() % 32];
  return out;
}

void add_message_commands(CLI::App& app, session& s) {
  auto o = std::make_shared<message_options>();
  auto* ask_command = add_command(
      app, "ask", "Ask an agent and wait for its answer; durable, done once however often it is repeated",
      "  hivectl -t demo ask ledger append '{\"op\": \"a1\"}'\n  hivectl -t demo ask echo say @file.json --deadline 5s\n"
      "  hivectl -t demo ask ledger append '{\"op\": \"a1\"}' --key order-17   # safe to repeat\n"
      "  echo '{\"op\": \"a2\"}' | hivectl -t demo ask ledger append -");
  ask_command->add_option("AGENT", o->agent)->required();
  ask_command->add_option("TYPE", o->type, "What the behaviour calls the message")->required();
  ask_command->add_option("PAYLOAD", o->payload, "JSON, @FILE, or - for standard input");
  ask_command->add_option("--key", o->key, "Idempotency key: a repeat with it gets the same answer");
  ask_command->add_option("--deadline", o->deadline, "How long to wait: 250ms, 5s, 2m")->capture_default_str();
  ask_command->add_flag("--urgent", o->urgent, "Before the normal messages");
  ask_command->callback([&s, o] { ask(s, *o); });

  auto* tell_command = add_command(app, "tell", "Send an agent a message, best effort: at most once, lost with the node",
                                   "  hivectl -t demo tell echo ping '{\"n\": 1}'");
  tell_command->add_option("AGENT", o->agent)->required();
  tell_command->add_option("TYPE", o->type, "What the behaviour calls the message")->required();
  tell_command->add_option("PAYLOAD", o->payload, "JSON, @FILE, or - for standard input");
  tell_command->callback([&s, o] { tell(s, *o); });
}

} // namespace hive::cli
