/// @file
/// How an agent is written. Open this first.
///
/// A behaviour is a class without data of its own, registered by name; one object serves every agent that names it.
/// `handle` is called with one message at a time for one agent: that is a **turn**. What the turn does to its agent
/// (state, logs, rows, sends, the reply) is committed together when `handle` ends, or not at all when it throws.
///
/// ```cpp
/// class greeter final : public behaviour {
///   task<> handle(turn& self, message m) const override {
///     auto s = self.state<greeter_state>();                          // what the last turn left
///     s.greeted += 1, self.set_state(s);                             // committed with the reply, or neither
///     payload question = json_payload({{"city", "Bern"}});
///     auto weather = co_await self.ask("weather", "today", std::move(question));
///     self.reply(json_payload({{"hello", m.parse()["name"]}, {"greeted", s.greeted}}));
///   }
/// };
/// ```
///
/// (GCC 12 destroys a lambda or a braced aggregate twice when it is a temporary inside a `co_await` expression. Name such
/// arguments first, as the behaviours here do.)
///
/// A turn may wait only in a **step**: `ask`, `task`, `sleep`, `run`. What a step gave is remembered, so that after a crash the
/// turn runs again from the state it began with and the finished steps answer at once. Therefore a turn must be
/// deterministic between steps: take time and chance from `now()` and `random()`, nothing from the machine.
#pragma once

#include "actors/task.hpp"
#include "config/base/bytes.hpp"
#include "config/base/clock.hpp"
#include "config/base/ids.hpp"
#include "config/base/payload.hpp"
#include "config/base/random.hpp"
#include "config/base/result.hpp"
#include "config/base/tenant_context.hpp"
#include "config/base/trace.hpp"

#include <nlohmann/json.hpp>

#include <atomic>
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hive::persistence {
class store_reader;
}

namespace hive::actors {

using json = nlohmann::json;

payload json_payload(const json& value);
payload text_payload(std::string text);

/// What a turn is given.
struct message {
  std::string type;            ///< "append", "survey.read" ...
  payload body;
  std::string from;            ///< Address of the sending agent ("agent/reader-3"); empty when a client sent it.
  bool wants_reply = false;    ///< An ask or a task; a reply to anything else goes nowhere.

  /// The body as JSON. Throws `bad_message` when it is not JSON.
  json parse() const;
};

/// Thrown by `message::parse` and by behaviours for input they cannot take: the asker gets `invalid_argument` with the
/// field; the agent does not crash and nothing is committed.
struct bad_message : std::runtime_error {
  bad_message(std::string at, const std::string& why) : std::runtime_error(why), field(std::move(at)) {}
  std::string field;
};

/// How long a step may take, and what makes it the same step when it is tried again.
struct step_options {
  std::chrono::milliseconds deadline{30'000};
};

/// Thrown out of a wait for rows when the store cannot be read: the turn fails with it, and nothing is committed.
struct read_failed : std::runtime_error {
  explicit read_failed(hive::error e) : std::runtime_error(e.message), why(std::move(e)) {}
  hive::error why;
};

struct turn_host; // actors/turn_host.hpp: the side of a turn that the shard sees
class turn;

namespace detail {
/// Common part of everything a turn can wait for: parks the coroutine with the host.
struct wait_base {
  turn* owner;
  explicit wait_base(turn& t) noexcept : owner(&t) {}
  void await_suspend(std::coroutine_handle<> waiting) noexcept;
};
} // namespace detail

/// Result of a step that carries a payload back.
struct [[nodiscard]] step_wait : detail::wait_base {
  std::size_t step;
  step_wait(turn& t, std::size_t number) noexcept : wait_base(t), step(number) {}
  bool await_ready() const noexcept;
  void await_suspend(std::coroutine_handle<> waiting) noexcept;
  result<payload> await_resume();
};
struct [[nodiscard]] sleep_wait : step_wait {
  using step_wait::step_wait;
  void await_resume() {}
};
/// A read of committed rows on a reader thread. Begins once the turns that this one ran behind are on disk.
template <class T> struct [[nodiscard]] read_wait : detail::wait_base {
  std::shared_ptr<std::optional<result<T>>> got;
  std::function<result<T>(persistence::store_reader&)> how;
  std::function<T(T&&)> overlay;     ///< Adds what this turn wrote and has not committed.
  read_wait(turn& t, std::function<result<T>(persistence::store_reader&)> read, std::function<T(T&&)> over);
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting);
  T await_resume() {
    if (!(*got)->has_value()) throw read_failed((*got)->error());
    T value = std::move(**got).value();
    return overlay ? overlay(std::move(value)) : value;
  }
};
using row_wait = read_wait<std::optional<std::string>>;
using rows_wait = read_wait<std::vector<std::pair<std::string, std::string>>>;
using log_wait = read_wait<std::vector<std::string>>;

/// One turn as its behaviour sees it. Lives as long as the turn; used by its coroutine only.
class turn {
public:
  // -- who
  const std::string& name() const noexcept;         ///< Of this agent.
  std::string address() const;                      ///< "agent/name"
  const json& config() const noexcept;              ///< As the agent's spec gives it; an object.
  tenant_context caller() const noexcept;
  const trace_context& trace() const noexcept;
  std::uint64_t payload_bytes_max() const noexcept; ///< Of a reply or a message: `entity.payload_bytes`.

  // -- time and chance, fixed for the turn: a replay sees the same
  wall_time now() const noexcept;
  random_source& random() noexcept;

  // -- small state: bytes, or any type with `std::string encode() const` and `static T decode(std::string_view)`, or
  //    any type that nlohmann::json converts. An agent that never set it sees T{}.
  const std::string& state_bytes() const noexcept;
  /// Throws `std::length_error` above `entity.state_bytes`.
  void set_state_bytes(std::string bytes);
  template <class T> T state() const;
  template <class T> void set_state(const T& value);

  // -- append-only logs: entries are numbered from 0
  /// @returns the index of the new entry.
  std::uint64_t append(std::string_view log, std::string entry);
  std::uint64_t log_size(std::string_view log) const;
  /// Entries `from` .. , at most `limit`, those of this turn included.
  log_wait read_log(std::string_view log, std::uint64_t from, std::size_t limit);

  // -- keyed rows; a read sees what this turn wrote
  void put_row(std::string_view key, std::string value);
  void erase_row(std::string_view key);
  row_wait row(std::string_view key);
  /// Rows whose key starts with `prefix`, by key, after `after`.
  rows_wait rows(std::string_view prefix, std::string_view after, std::size_t limit);

  // -- messages; they leave when the turn is committed
  /// Best effort: at most once, lost with the node.
  void tell(std::string_view agent, std::string_view type, payload body);
  /// Durable: handled exactly once, in order of sending, across crashes of either side.
  void send(std::string_view agent, std::string_view type, payload body);
  /// Submits tasks as `task` does and does not wait: they are in the queue once this turn is committed.
  void submit(json what);
  /// Answers the ask or task. Without it the answer is JSON null. The last call counts.
  void reply(payload answer);
  /// Answers with an application error. The turn's other effects are committed; to drop them, throw.
  void fail(std::string reason, std::string text);
  /// A task's answer comes from a later turn: keep the token (in state or a row) and give it to `finish`.
  /// Only for a message that wants a reply and came as a task or a durable ask between agents. Its work lasts until then: a
  /// cancel is acknowledged by `finish_failed`, whatever it says; `finish` says that it came too late.
  /// @param on_cancel a message of this type with the body {"token"} comes when it is cancelled, to end the work early. It may
  ///   come after `finish`, which crossed it. Throws `std::length_error` above `entity.open_replies`.
  std::string defer_reply(std::string_view on_cancel = {});
  void finish(std::string_view token, payload answer);
  void finish_failed(std::string_view token, std::string reason, std::string text);
  /// Shown by `hivectl task --watch` and in the event stream. @param token of a deferred task; empty: this message's.
  void progress(std::uint64_t done, std::uint64_t total, std::string note, std::string_view token = {});
  /// Ends this agent's life without an error once the turn is committed. A permanent one begins the next life at once; a
  /// transient one stays stopped until a person starts it; a temporary one is deleted.
  void stop() noexcept;
  /// An event for watchers of the tenant.
  void emit(std::string type, const json& data);

  // -- timers: messages to itself, handled exactly once, when their time has come and never before, across every crash
  /// @returns a token for `cancel_timer`.
  std::string after(std::chrono::milliseconds wait, std::string_view type, payload body);
  std::string at(wall_time when, std::string_view type, payload body);
  /// One that has been handled, or cancelled before, is no error.
  void cancel_timer(std::string_view token);

  // -- steps: the only places where a turn waits for anything but its own rows
  step_wait ask(std::string_view agent, std::string_view type, payload body, step_options options = {});
  /// Has a task done by whoever it names or can do it, and waits for its end. `what` is what `POST .../tasks` takes: an
  /// agent or a capability, type, payload, retry ..., or several tasks with a policy. Gives the task's result; of several,
  /// {"id","state","tasks":[{"id","name","state","result"|"error"}]}. It belongs to the task that this turn works on, and is
  /// cancelled with it; it ends at the step's deadline, unless it has one of its own.
  step_wait task(json what, step_options options = {});
  sleep_wait sleep(std::chrono::milliseconds duration);
  /// Stores items in a collection of the tenant (context/items.hpp says what an item is): a durable ask. They are
  /// believed as an agent's and come from this agent, unless they say less, or another source. Gives {"results","position"}.
  /// Throws `bad_message` for items that are none.
  step_wait remember(std::string_view collection, const json& items, step_options options = {});
  /// Searches a collection (context/query.hpp). What it gave is kept with the step: a replay sees the same hits.
  step_wait search(std::string_view collection, const json& query, step_options options = {});
  /// The best context within `query["tokens"]` tokens.
  step_wait pack(std::string_view collection, const json& query, step_options options = {});
  /// Runs a registered executor off the shard: "process", "file.read" ... At least once: after a crash in the middle it
  /// runs again with the same step key.
  step_wait run(std::string_view executor, payload arguments, step_options options = {});

  explicit turn(turn_host& host) noexcept : host_(&host) {}
  turn(const turn&) = delete;
  turn& operator=(const turn&) = delete;

private:
  friend struct detail::wait_base;
  friend struct step_wait;
  friend struct sleep_wait;
  template <class T> friend struct read_wait;
  friend struct system_turn;
  void park_for_read(std::function<void(persistence::store_reader&)> read);
  turn_host* host_;
};

/// The code of an agent. Stateless and shared: everything it remembers goes through `turn`.
class behaviour {
public:
  virtual ~behaviour() = default;
  virtual task<> handle(turn& self, message m) const = 0;
  /// Checks `config` when an agent is created or changed: an error names the field below `config`.
  virtual result<void> check(const json& config) const;
};

/// Behaviours by name. Filled at start, then only read: any thread.
class behaviour_registry {
public:
  void add(std::string name, std::unique_ptr<const behaviour> code);
  const behaviour* find(std::string_view name) const noexcept;
  std::vector<std::string> names() const;

private:
  std::unordered_map<std::string, std::unique_ptr<const behaviour>> by_name_;
};

/// Something a step runs off the shard, on the executor threads. Blocking is allowed here and only here.
class executor {
public:
  virtual ~executor() = default;
  struct call {
    tenant_context who;
    std::string step_key;                     ///< The same when the step is tried again: pass it on as idempotency key.
    payload arguments;
    std::chrono::milliseconds deadline;
    const std::atomic<bool>* cancelled;       ///< Becomes true when nobody waits any more.
  };
  virtual result<payload> run(const call& c) = 0;
};

/// Executors by name. Filled at start, then only read: any thread.
class executor_registry {
public:
  void add(std::string name, std::unique_ptr<executor> e);
  executor* find(std::string_view name) const noexcept;
  std::string_view name_of(const executor& e) const noexcept;

private:
  std::unordered_map<std::string, std::unique_ptr<executor>> by_name_;
};

// -- templates

template <class T>
read_wait<T>::read_wait(turn& t, std::function<result<T>(persistence::store_reader&)> read, std::function<T(T&&)> over)
  : wait_base(t), got(std::make_shared<std::optional<result<T>>>()), how(std::move(read)), overlay(std::move(over)) {}

template <class T> void read_wait<T>::await_suspend(std::coroutine_handle<> waiting) {
  // The reader thread fills `got`; should the turn be gone by then, only this pointer is left of it.
  owner->park_for_read([into = got, read = how](persistence::store_reader& r) { into->emplace(read(r)); });
  wait_base::await_suspend(waiting);
}

template <class T> T turn::state() const {
  const std::string& bytes = state_bytes();
  if (bytes.empty()) return T{};
  if constexpr (requires { T::decode(std::string_view{}); }) return T::decode(bytes);
  else return json::parse(bytes).template get<T>();
}

template <class T> void turn::set_state(const T& value) {
  if constexpr (requires { value.encode(); }) set_state_bytes(value.encode());
  else set_state_bytes(json(value).dump());
}

} // namespace hive::actors
