#include "config/base/log.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace hive::log {
namespace {

struct state {
  std::shared_ptr<spdlog::logger> logger;
  bool json = false;
};

state& current() {
  static state s = [] {
    state made{spdlog::stderr_logger_mt("hive"), false};
    made.logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc);
    return made;
  }();
  return s;
}

spdlog::level::level_enum spd(level at) {
  switch (at) {
  case level::debug: return spdlog::level::debug;
  case level::info: return spdlog::level::info;
  case level::warn: return spdlog::level::warn;
  case level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

constexpr std::string_view names[] = {"debug", "info", "warn", "error"};

/// A JSON string literal; what is not UTF-8 is replaced, so every line stays valid JSON.
std::string json_quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace

void open(const options& how) {
  auto& s = current();
  spdlog::drop("hive");
  s.logger = how.file.empty() ? spdlog::stderr_logger_mt("hive") : spdlog::basic_logger_mt("hive", how.file);
  s.json = how.json;
  s.logger->set_pattern(how.json ? "{\"ts\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}" : "%Y-%m-%dT%H:%M:%S.%eZ %v",
                        spdlog::pattern_time_type::utc);
  s.logger->set_level(spd(how.minimum));
  s.logger->flush_on(spdlog::level::info);
}

bool enabled(level at) noexcept { return current().logger->should_log(spd(at)); }

void write(level at, std::string_view message, std::initializer_list<field> fields, const trace_context& trace) {
  auto& s = current();
  if (!s.logger->should_log(spd(at))) return;
  std::string line;
  const std::string_view name = names[static_cast<std::size_t>(at)];
  if (s.json) {
    line.append("\"level\":\"").append(name).append("\",\"msg\":").append(json_quoted(message));
    for (const auto& f : fields) line.append(",").append(json_quoted(f.key)).append(":").append(json_quoted(f.value));
    if (trace.valid()) line.append(",\"trace_id\":\"").append(trace.trace_id()).append("\"");
  } else {
    line.append(name).append(" ").append(message);
    for (const auto& f : fields) line.append(" ").append(f.key).append("=").append(json_quoted(f.value));
    if (trace.valid()) line.append(" trace=").append(trace.trace_id());
  }
  s.logger->log(spd(at), "{}", line);
}

void flush() { current().logger->flush(); }

} // namespace hive::log
