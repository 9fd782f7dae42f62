/// @file
/// What the hive's own entities may do in a turn and agents may not: write the directory, read the store freely, send to
/// ids.
#pragma once

#include "actors/shard_core.hpp"

namespace hive::actors {

struct [[nodiscard]] embed_wait : detail::wait_base {
  std::shared_ptr<std::optional<result<embeddings>>> got = std::make_shared<std::optional<result<embeddings>>>();
  embedding_model by;
  std::vector<std::string> texts;
  embed_wait(turn& t, embedding_model model, std::vector<std::string> what)
    : wait_base(t), by(std::move(model)), texts(std::move(what)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting);
  embeddings await_resume() {
    if (!**got) throw read_failed((*got)->error());
    return std::move(**got).value();
  }
};

struct system_turn {
  static turn_host& host(turn& t) noexcept { return *t.host_; }
  static actor_record& effects(turn& t) { return t.host_->effects(); }
  static entity_id id(turn& t) noexcept { return t.host_->of->id; }
  static const envelope& incoming(turn& t) noexcept { return *t.host_->in; }
  /// What the entity keeps in memory; null until set, and again after any turn that was not committed.
  static entity_memory* memory(turn& t) noexcept { return t.host_->of->more ? t.host_->of->more->memory.get() : nullptr; }
  static void set_memory(turn& t, std::unique_ptr<entity_memory> m) { t.host_->of->extra().memory = std::move(m); }
  static shard_services& services(turn& t) noexcept { return t.host_->shard.services(); }

  /// A durable system message to another entity.
  static void command(turn& t, entity_id to, std::string type, json body = json::object()) {
    auto e = std::make_unique<envelope>(t.host_->in->who, to, envelope::origin::send);
    e->on = lane::system;
    e->type = std::move(type);
    e->body = json_payload(body);
    t.host_->out.push_back({true, {}, to, std::move(e)});
  }
  /// A durable message on the user lane, by id; also to oneself.
  static void send_to(turn& t, entity_id to, std::string type, payload body, reply_address reply_to = {}) {
    auto e = std::make_unique<envelope>(t.host_->in->who, to, envelope::origin::send);
    e->type = std::move(type);
    e->body = std::move(body);
    e->reply_to = std::move(reply_to);
    e->trace = t.host_->in->trace;
    t.host_->out.push_back({true, {}, to, std::move(e)});
  }
  /// Gives an agent an attempt of a task, or takes it back.
  static void send_attempt(turn& t, tenant_context who, entity_id to, bool recall, std::string type, payload body, reply_address reply_to,
                           std::vector<entity_id> chain) {
    auto e = std::make_unique<envelope>(who, to, envelope::origin::send);
    if (recall) e->on = lane::system;
    e->type = recall ? "hive.task.cancel" : std::move(type);
    e->body = std::move(body);
    e->reply_to = std::move(reply_to);
    e->chain = std::move(chain);
    e->trace = t.host_->in->trace;
    t.host_->out.push_back({true, {}, to, std::move(e)});
  }
  /// `turn::defer_reply`, of an entity that hears of recalls by messages of its own.
  static std::string defer_reply(turn& t);
  /// `turn::finish_failed`, with the whole error.
  static void finish_failed(turn& t, std::string_view token, const error& why);
  /// What a token of `turn::defer_reply` stands for.
  static reply_address address_of(std::string_view token);
  static void audit(turn& t, std::string action, std::string target, const json& detail) {
    effects(t).audit.push_back({std::move(action), std::move(target), detail.dump()});
  }
  static void event(turn& t, std::string type, std::string source, const json& data) {
    effects(t).events.push_back({std::move(type), std::move(source), data.dump()});
  }
  static void event_text(turn& t, std::string type, std::string source, std::string data) {
    effects(t).events.push_back({std::move(type), std::move(source), std::move(data)});
  }
  /// Texts to vectors, not on this thread; other turns of this entity wait meanwhile, for an endpoint at most `embedding.turn_wait`.
  /// Throws `read_failed`.
  static embed_wait embed(turn& t, embedding_model by, std::vector<std::string> texts) { return {t, std::move(by), std::move(texts)}; }
  template <class T>
  static read_wait<T> read(turn& t, std::function<result<T>(persistence::store_reader&)> how) {
    return {t, std::move(how), {}};
  }
};

inline void embed_wait::await_suspend(std::coroutine_handle<> waiting) {
  // Should the turn be gone by then, only `got` is left of it.
  system_turn::host(*owner).outside = [into = got, by = std::move(by), texts = std::move(texts), tenant = system_turn::id(*owner).tenant(),
                                       &with = system_turn::services(*owner).embedder()](std::function<void()> done) mutable {
    with.embed(tenant, std::move(by), std::move(texts), [into, done = std::move(done)](result<embeddings> vectors) {
      into->emplace(std::move(vectors));
      done();
    });
  };
  wait_base::await_suspend(waiting);
}

/// Adds the behaviours of the hive's own entities under their reserved names ("hive.tenant" ...). `agents` is what the
/// directory checks specs against; it outlives the registry.
void add_system_behaviours(behaviour_registry& to, const behaviour_registry& agents, const config::settings& settings);

/// The behaviour that entity `id` has by its serial; null for entities that the directory names.
const char* system_behaviour_of(entity_id id) noexcept;

} // namespace hive::actors
