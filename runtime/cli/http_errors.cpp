#include "runtime/cli/failure.hpp"
#include "runtime/cli/http_client.hpp"

#include <algorithm>
#include <cctype>

namespace hive::cli {
namespace {

exit_code code_of(int status) {
  switch (status) {
  case 401:
  case 403: return exit_code::denied;
  case 404: return exit_code::not_found;
  case 408:
  case 429:
  case 502:
  case 503:
  case 504: return exit_code::unavailable;
  default: return exit_code::failed;
  }
}

std::string hint_for(int status, const nlohmann::json& error) {
  if (status == 401) return "Name a key: --key-file FILE, HIVE_KEY, or --data DIR of a hived on this machine.";
  if (status == 403) return "This key may not do that; use one of the right tenant and role (hivectl keys --help).";
  if (error.value("code", "") == "unknown" || error.value("code", "") == "rejected") {
    const auto details = error.find("details");
    if (details != error.end() && details->is_object() && !details->value("idempotency_key", "").empty())
      return "Ask again with --key " + details->value("idempotency_key", "") + "; it will not be done twice.";
  }
  const bool refused = status == 429 || status == 503;
  if (const auto wait = error.find("retry_after_ms"); wait != error.end() && wait->is_number() && *wait > 0)
    return std::string(refused ? "Not executed; try again" : "Try again") + " in " + std::to_string(wait->get<std::int64_t>()) + " ms.";
  return {};
}

} // namespace

void check(const http_answer& answer) {
  if (answer.status >= 200 && answer.status < 300) return;
  const auto& body = answer.body;
  if (!body.is_object() || !body.contains("error") || !body["error"].is_object())
    throw failure(code_of(answer.status),
                  "the server answered " + std::to_string(answer.status) +
                      (answer.text.empty() ? "" : ": " + answer.text.substr(0, 200)),
                  "Is --server the address of a hived?");
  const auto& error = body["error"];
  const auto text = [&](const char* member) {
    return error.contains(member) && error[member].is_string() ? error[member].get<std::string>() : std::string();
  };
  std::string what = text("message").empty() ? "the server answered " + std::to_string(answer.status) : text("message");
  if (const auto field = text("field"); !field.empty() && !what.starts_with(field)) what = field + ": " + what;
  if (!text("code").empty()) what += " (" + text("code") + ")";
  failure refused(code_of(answer.status), what, hint_for(answer.status, error));
  refused.field = text("field");
  throw refused;
}

server_address parse_server(const std::string& url) {
  const auto refuse = [&](const std::string& why) -> failure {
    return {exit_code::usage, "--server '" + url + "': " + why, "Write it as http://127.0.0.1:7070."};
  };
  std::string rest = url;
  if (rest.rfind("https://", 0) == 0) throw refuse("hived speaks plain HTTP; put a TLS proxy or tunnel in front of it");
  if (const auto scheme = rest.find("://"); scheme != std::string::npos) {
    if (rest.substr(0, scheme) != "http") throw refuse("only http is known");
    rest.erase(0, scheme + 3);
  }
  while (!rest.empty() && rest.back() == '/') rest.pop_back();
  if (rest.find_first_of("/?# @") != std::string::npos) throw refuse("only a host and a port belong there");
  server_address out;
  const auto bracket = rest.rfind(']');
  const auto colon = rest.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    out.port = rest.substr(colon + 1);
    rest.erase(colon);
  }
  if (!rest.empty() && rest.front() == '[' && rest.back() == ']') rest = rest.substr(1, rest.size() - 2);
  out.host = rest;
  const bool digits = !out.port.empty() && out.port.size() <= 5 &&
                      std::all_of(out.port.begin(), out.port.end(), [](unsigned char c) { return std::isdigit(c); });
  if (out.host.empty()) throw refuse("the host is missing");
  if (!digits || std::stoi(out.port) > 65535) throw refuse("the port is not a number up to 65535");
  return out;
}

std::string url_encode(const std::string& text) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '~') out += c;
    else (out += '%') += {hex[byte >> 4U], hex[byte & 15U]};
  }
  return out;
}

bool event_parser::feed(std::string_view bytes, const std::function<bool(const http_client::event&)>& each) {
  for (const char c : bytes) {
    const bool ends_line = c == '\r' || (c == '\n' && !after_cr_);
    const bool second_half = c == '\n' && after_cr_;
    after_cr_ = c == '\r';
    if (second_half) continue;
    if (!ends_line) {
      line_ += c;
      continue;
    }
    if (line_.empty()) {
      const bool had = any_;
      const auto event = std::exchange(next_, {});
      any_ = false;
      if (had && !each(event)) return false;
      continue;
    }
    const auto colon = line_.find(':');
    const std::string field = line_.substr(0, colon);
    std::string value = colon == std::string::npos ? "" : line_.substr(colon + 1);
    if (!value.empty() && value[0] == ' ') value.erase(0, 1);
    line_.clear();
    if (field == "id") next_.id = value;
    else if (field == "event") next_.type = value;
    else if (field == "data") {
      next_.data += (next_.data.empty() ? "" : "\n") + value;
      any_ = true;
    }
    if (field == "event") any_ = true;
  }
  return true;
}

} // namespace hive::cli
