/// @file
/// SQLite with owners and exceptions: a connection, and statements that are prepared once. Only this folder knows it;
/// a `sqlite_error` becomes a `result` or a `batch_result` before it leaves.
#pragma once

#include "config/base/ids.hpp"
#include "config/base/result.hpp"

#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace hive::persistence::sqlite {

/// `code()` is SQLite's extended result code.
class sqlite_error : public std::exception {
public:
  sqlite_error(int code, std::string what) : code_(code), what_(std::move(what)) {}
  int code() const noexcept { return code_; }
  int primary() const noexcept { return code_ & 0xFF; }
  const char* what() const noexcept override { return what_.c_str(); }

private:
  int code_;
  std::string what_;
};

/// What a reader or an opener is told: damaged files, no room, or anything else, named with the file.
error to_error(const sqlite_error& e, const std::string& file);

/// Bound as a blob; text is bound as text. Both are bound without a copy: they outlive the `run` or `step`.
struct blob {
  std::string_view bytes;
};

/// A number, or null.
struct number_or_null {
  bool present = false;
  std::int64_t value = 0;
};

/// Confined to one thread.
class connection {
public:
  enum class mode : std::uint8_t { writer, reader };
  /// @param vfs empty: SQLite's own.
  connection(const std::filesystem::path& file, mode how, const std::string& vfs);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  void execute(const char* sql);
  /// The first column of the first row; 0 when there is none, or it is null.
  std::int64_t number(const char* sql);
  std::string text(const char* sql);
  /// Rows changed by the last insert, update or delete.
  std::int64_t changes() const noexcept;
  bool in_transaction() const noexcept;
  /// Ends a transaction if one is open; what went wrong before is what matters, so errors are ignored.
  void roll_back() noexcept;
  [[noreturn]] void fail(int code, const char* doing) const;
  sqlite3* handle() const noexcept { return db_; }

private:
  sqlite3* db_ = nullptr;
};

/// A prepared statement. Parameters are bound in order by `bind(...)`; columns are counted from 0.
class statement {
public:
  statement(connection& on, const char* sql);
  statement(statement&& other) noexcept : on_(other.on_), raw_(std::exchange(other.raw_, nullptr)) {}
  statement& operator=(statement&&) = delete;
  ~statement();

  template <class... Values> statement& bind(const Values&... values) {
    int index = 0;
    (put(++index, values), ...);
    return *this;
  }

  /// For statements without rows. Resets.
  void run();
  /// True while there is a row. Call `reset` before binding again if not stepped to the end.
  bool step();
  void reset() noexcept;

  std::int64_t number(int column) const noexcept;
  std::uint64_t bits(int column) const noexcept { return static_cast<std::uint64_t>(number(column)); }
  /// Text or blob; valid until the next step or reset.
  std::string_view bytes(int column) const noexcept;
  std::string text(int column) const { return std::string(bytes(column)); }
  bool is_null(int column) const noexcept;

private:
  void put(int index, std::int64_t value);
  void put(int index, std::uint64_t value) { put(index, static_cast<std::int64_t>(value)); }
  void put(int index, std::uint32_t value) { put(index, std::int64_t{value}); }
  void put(int index, int value) { put(index, std::int64_t{value}); }
  void put(int index, std::string_view value);
  void put(int index, const std::string& value) { put(index, std::string_view(value)); }
  void put(int index, const char* value) { put(index, std::string_view(value)); }
  void put(int index, blob value);
  void put(int index, std::nullptr_t);
  void put(int index, number_or_null value);
  void put(int index, entity_id value) { put(index, value.bits()); }
  template <class Tag, class Rep> void put(int index, strong_id<Tag, Rep> value) {
    put(index, static_cast<std::int64_t>(value.value()));
  }
  template <class T> void put(int index, const std::optional<T>& value) {
    if (value) {
      put(index, *value);
    } else {
      put(index, nullptr);
    }
  }

  connection* on_;
  sqlite3_stmt* raw_ = nullptr;
};

/// Resets a statement at the end of a scope, so that no read snapshot outlives the call that needed it.
class resetting {
public:
  explicit resetting(statement& s) noexcept : s_(s) {}
  resetting(const resetting&) = delete;
  resetting& operator=(const resetting&) = delete;
  ~resetting() { s_.reset(); }

private:
  statement& s_;
};

} // namespace hive::persistence::sqlite
