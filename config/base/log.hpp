/// @file
/// Structured logs: one JSON object (or one readable line) an event. spdlog stays behind this header.
#pragma once

#include "config/base/trace.hpp"

#include <initializer_list>
#include <string>
#include <string_view>

namespace hive::log {

enum class level : unsigned char { debug, info, warn, error };

/// Values are escaped when written, so a hostile name cannot forge a line.
struct field {
  std::string_view key;
  std::string value;
  field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  field(std::string_view k, std::string_view v) : key(k), value(v) {}
  field(std::string_view k, const char* v) : key(k), value(v) {}
  field(std::string_view k, std::integral auto v) : key(k), value(std::to_string(v)) {}
};

struct options {
  std::string file;              ///< Empty: standard error.
  bool json = true;
  level minimum = level::info;
};

/// Call once at start, before other threads log. Without it, lines of `info` and above go to standard error as text.
void open(const options& how);
bool enabled(level at) noexcept;
/// Any thread.
void write(level at, std::string_view message, std::initializer_list<field> fields = {},
           const trace_context& trace = {});
void flush();

inline void debug(std::string_view m, std::initializer_list<field> f = {}) { write(level::debug, m, f); }
inline void info(std::string_view m, std::initializer_list<field> f = {}) { write(level::info, m, f); }
inline void warn(std::string_view m, std::initializer_list<field> f = {}) { write(level::warn, m, f); }
inline void error(std::string_view m, std::initializer_list<field> f = {}) { write(level::error, m, f); }

} // namespace hive::log
