#include "persistence/postgres/connection.hpp"

#include <array>
#include <libpq-fe.h>
#include <poll.h>

namespace hive::persistence::postgres {
namespace {

std::string trimmed(const char* text) {
  std::string t = text ? text : "";
  while (!t.empty() && (t.back() == '\n' || t.back() == ' ')) t.pop_back();
  return t;
}

constexpr const char* pooled = "HV001"; // of ours, not the server's

std::string field(const PGresult* r, int code) {
  const char* value = PQresultErrorField(r, code);
  return value ? value : "";
}

} // namespace

error to_error(const pg_error& e) {
  using namespace std::chrono_literals;
  const auto kind = e.state_class();
  if (e.state() == pooled)
    return {errc::failed_precondition, "store_pooled",
            std::string(e.what()) +
                ": sessions and prepared statements need the server itself; only store.postgres.readers_url may lead through one",
            "store.postgres.url",
            {}};
  if (e.lost() || kind == "08" || e.state().starts_with("57P") || e.state() == "25006")
    return {errc::unavailable, "store_away", std::string("PostgreSQL cannot be reached: ") + e.what(), {}, 500ms};
  if (kind == "53")
    return {errc::unavailable,
            e.state() == "53100" ? "no_space" : "store_full",
            std::string("PostgreSQL has no room: ") + e.what(),
            {},
            1000ms};
  if (e.state() == "57014" || e.state() == "55P03")
    return {errc::unavailable, "store_slow", std::string("PostgreSQL did not answer in time: ") + e.what(), {}, 500ms};
  if (kind == "40")
    return {errc::unavailable, "store_conflict", std::string("PostgreSQL rolled back: ") + e.what(), {}, 10ms};
  return {errc::internal, "store_error", std::string("PostgreSQL: ") + e.what() + " (" + e.state() + ")", {}, {}};
}

connection::connection(const connect_options& how) {
  const std::string seconds = std::to_string(std::max<std::int64_t>(1, (how.connect_wait.count() + 999) / 1000));
  // What comes before the URL it can override; what comes after it cannot.
  std::vector<std::pair<const char*, std::string>> given{
      {"target_session_attrs", "read-write"},
      {"connect_timeout", seconds},
      {"keepalives_idle", "3"},
      {"keepalives_interval", "1"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", "6000"},
      {"client_encoding", "UTF8"},
      {"dbname", how.url},
      {"application_name", how.application},
  };
  std::vector<const char*> names;
  std::vector<const char*> values;
  for (const auto& [name, value] : given) {
    names.push_back(name);
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  conn_ = PQconnectdbParams(names.data(), values.data(), 1);
  if (!conn_ || PQstatus(conn_) != CONNECTION_OK) {
    const std::string why = conn_ ? trimmed(PQerrorMessage(conn_)) : "no memory";
    PQfinish(conn_);
    throw pg_error(why, "08001", true, false);
  }
  PQsetNoticeReceiver(conn_, &connection::note, this);
  if (PQsetnonblocking(conn_, 1) != 0 || PQenterPipelineMode(conn_) != 1) {
    PQfinish(conn_);
    throw pg_error("the connection cannot be used", "08001", true, false);
  }
  if (!how.direct) return;
  try {
    // Sessions of a pooler are not the server's: prepared statements and settings would land on another client's. The
    // process that this end may cancel is then not the one that answers, in any mode of pooling.
    if (query("select pg_backend_pid()::bigint").number(0, 0) != PQbackendPID(conn_))
      throw pg_error("a pooler (PgBouncer) is between this node and the server", pooled, false, false);
    // The server notices, too, when this end is gone: what it has not committed then lets its locks go.
    const std::string settings =
        "select set_config(n, v, false) from (values ('tcp_keepalives_idle', '3'), ('tcp_keepalives_interval', '1'), "
        "('tcp_keepalives_count', '3'),"
        " ('tcp_user_timeout', '6000'), ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', "
        "'0'),"
        " ('idle_in_transaction_session_timeout', '" +
        std::to_string(how.pause.count()) + "'), ('search_path', 'pg_catalog'), ('jit', 'off')) as s(n, v)";
    send(settings.c_str());
    finish(clock::now() + how.connect_wait + std::chrono::seconds{5});
  } catch (...) {
    PQfinish(conn_);
    throw;
  }
}

connection::~connection() { PQfinish(conn_); }

int connection::backend() const noexcept { return PQbackendPID(conn_); }
int connection::socket() const noexcept { return PQsocket(conn_); }

void connection::note(void* self, const pg_result* notice) {
  const std::string severity = field(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == "WARNING") static_cast<connection*>(self)->warning_ = field(notice, PG_DIAG_MESSAGE_PRIMARY);
}

void connection::fail(const std::string& what, std::string state, bool lost) {
  const bool committing = lost && all_sent_;
  if (lost) usable_ = false;
  throw pg_error(what, std::move(state), lost, committing);
}

void connection::demand_sent(int accepted) {
  if (accepted == 1) {
    ++pending_;
    return;
  }
  all_sent_ = false;
  fail(trimmed(PQerrorMessage(conn_)), "08006", true);
}

void connection::prepare(const char* name, const char* sql) {
  demand_sent(PQsendPrepare(conn_, name, sql, 0, nullptr));
}

void connection::send_prepared(const char* statement, const arguments& with) {
  demand_sent(PQsendQueryPrepared(conn_, statement, with.count(), with.values(), with.lengths(), with.formats(), 1));
}

void connection::send(const char* sql, const arguments& with) {
  demand_sent(
      PQsendQueryParams(conn_, sql, with.count(), with.types(), with.values(), with.lengths(), with.formats(), 1));
}

const char* connection::kept(const char* sql, const arguments& like) {
  constexpr std::size_t most = 100;
  if (const auto found = kept_.find(std::string_view(sql)); found != kept_.end()) return found->second.c_str();
  if (kept_.size() >= most) return nullptr;
  const auto name = "kept_" + std::to_string(kept_.size());
  demand_sent(PQsendPrepare(conn_, name.c_str(), sql, like.count(), like.types()));
  finish(clock::now() + wait);
  return kept_.emplace(sql, name).first->second.c_str();
}

void connection::advance(std::optional<clock::time_point> until) {
  for (;;) {
    if (!all_sent_) {
      const int rest = PQflush(conn_);
      if (rest < 0) fail(trimmed(PQerrorMessage(conn_)), "08006", true);
      all_sent_ = rest == 0;
    }
    if (!PQisBusy(conn_)) return;
    pollfd ready{PQsocket(conn_), static_cast<short>(all_sent_ ? POLLIN : POLLIN | POLLOUT), 0};
    int timeout = -1;
    if (until) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - clock::now()).count();
      if (left <= 0) fail("no answer in time", "08006", true);
      timeout = static_cast<int>(std::min<std::int64_t>(left, 60'000));
    }
    const int n = ::poll(&ready, 1, timeout);
    if (n < 0 && errno != EINTR) fail("poll failed", "08006", true);
    if (n > 0 && (ready.revents & (POLLIN | POLLERR | POLLHUP)) != 0 && PQconsumeInput(conn_) == 0)
      fail(trimmed(PQerrorMessage(conn_)), "08006", true);
  }
}

std::vector<rows> connection::finish(std::optional<clock::time_point> until) {
  all_sent_ = false;
  warning_.clear();
  if (PQpipelineSync(conn_) != 1) fail(trimmed(PQerrorMessage(conn_)), "08006", true);
  std::vector<rows> answers;
  answers.reserve(pending_);
  pending_ = 0;
  std::optional<pg_error> first;
  for (;;) {
    advance(until);
    PGresult* raw = PQgetResult(conn_);
    if (!raw) { // between statements
      if (PQstatus(conn_) == CONNECTION_BAD) fail(trimmed(PQerrorMessage(conn_)), "08006", true);
      continue;
    }
    rows result(raw);
    switch (PQresultStatus(raw)) {
    case PGRES_PIPELINE_SYNC:
      if (first) throw *first;
      return answers;
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
      answers.push_back(std::move(result));
      break;
    case PGRES_PIPELINE_ABORTED:
      break;
    default: {
      const std::string state = field(raw, PG_DIAG_SQLSTATE);
      const std::string severity = field(raw, PG_DIAG_SEVERITY_NONLOCALIZED);
      std::string message = field(raw, PG_DIAG_MESSAGE_PRIMARY);
      if (message.empty()) message = trimmed(PQresultErrorMessage(raw));
      if (PQstatus(conn_) == CONNECTION_BAD || severity == "FATAL" || severity == "PANIC")
        fail(message, state.empty() ? "08006" : state, true);
      if (!first) first.emplace(message, state, false, false);
    }
    }
  }
}

rows connection::query(const char* sql, const arguments& with) {
  send(sql, with);
  auto answers = finish(clock::now() + wait);
  return answers.empty() ? rows{} : std::move(answers.front());
}

} // namespace hive::persistence::postgres
