// Searches of one node: who wants a collection gets its published view on a search thread.
#include "actors/node_host.hpp"

#include <future>

namespace hive::actors {

void node_host::collection(tenant_context who, std::string name, std::function<void(result<published_view>)> use) {
  look_into(who, std::move(name), std::move(use), 0);
}

void node_host::search_on(tenant_id tenant, published_view view, std::function<void(result<published_view>)> use) {
  if (searches_waiting_.fetch_add(1, std::memory_order_relaxed) >= parts_.settings.context.searches_waiting) {
    searches_waiting_.fetch_sub(1, std::memory_order_relaxed);
    add(metrics(tenant).mine().rejected);
    return use(error{errc::resource_exhausted,
                     "node_overloaded",
                     "context.searches_waiting searches wait for a thread",
                     {},
                     std::chrono::milliseconds{100}});
  }
  search_threads_->post(tenant, [this, view = std::move(view), use = std::move(use)](int&) mutable {
    searches_waiting_.fetch_sub(1, std::memory_order_relaxed);
    view.now = parts_.clock.wall_now();
    use(std::move(view));
  });
}

/// A cold collection is asked to open; its answer comes when the view is there. It may be unloaded again in between,
/// when memory is short: then once more.
void node_host::look_into(tenant_context who, std::string name, std::function<void(result<published_view>)> use,
                          unsigned tries) {
  if (const auto id = known(who, entity_kind::context, name)) {
    if (here(*id)) {
      if (parts_.lease && !parts_.lease->held(cluster::boot_clock::now()))
        return use(error{errc::unavailable, "no_lease", "this node may have lost the collection to another one", {}, std::chrono::milliseconds{200}});
      if (auto view = views_.find(*id))
        return search_on(who.tenant(), std::move(*view), [this, id = *id, use = std::move(use)](result<published_view> on) {
          use(std::move(on));
          views_.measure(id);
        });
    } else if (auto node = node_of(*id); !node.empty())
      return use(error{errc::unavailable, "elsewhere", "the collection is at another node", std::move(node), {}});
  }
  constexpr unsigned tries_max = 3;
  if (tries == tries_max)
    return use(error{errc::unavailable,
                     "collection_cold",
                     "the collection is unloaded as soon as it is loaded: context.memory_bytes is too small",
                     {},
                     std::chrono::milliseconds{500}});
  ask_request open;
  open.to = {entity_kind::context, name};
  open.type = "context.open";
  open.body = {"null", content_type::json};
  ask(who, std::move(open), on_reply([this, who, name, use = std::move(use), tries](result<ask_answer> answer) mutable {
        if (answer) return look_into(who, std::move(name), std::move(use), tries + 1);
        auto why = std::move(answer).error();
        if (why.code == errc::not_found)
          why = {errc::not_found, "not_found", "no collection named \"" + name + "\"", "collection", {}};
        use(std::move(why));
      }));
}

// -- vectors from an endpoint

void node_host::embed(tenant_context who, embedding_model by, std::vector<std::string> texts,
                      std::function<void(result<embeddings>)> done) {
  embedder_->embed(who.tenant(), std::move(by), std::move(texts), std::move(done));
}

void node_host::embed_ahead(tenant_context who, const std::string& name, std::vector<text_of_item> items,
                            std::function<void(result<void>)> then) {
  if (parts_.settings.embedding.url.empty()) return then({});
  const auto id = known(who, entity_kind::context, name);
  const auto on = id ? views_.find(*id) : std::nullopt;
  auto by = on ? model_of(on->view->space()) : std::nullopt;
  if (!by) return then({}); // one that is not in memory has its vectors made in its turn
  std::vector<std::string> texts;
  for (auto& i : items) {
    if (i.text.empty()) continue;
    const auto stored = i.id.empty() ? std::nullopt : on->view->get(i.id, parts_.clock.wall_now());
    if (!stored || stored->content->text != i.text) texts.push_back(std::move(i.text));
  }
  if (texts.empty()) return then({});
  embed(who, std::move(*by), std::move(texts), [then = std::move(then)](const result<embeddings>& made) { then(made ? result<void>{} : made.error()); });
}

// -- for the steps of agents, which may block

namespace {

template <class T>
result<T> wait_for(const executor::call& c, const char* what, const std::function<void(std::function<void(result<T>)>)>& begin) {
  auto got = std::make_shared<std::promise<result<T>>>();
  auto answer = got->get_future();
  begin([got](result<T> value) { got->set_value(std::move(value)); });
  const auto until = std::chrono::steady_clock::now() + c.deadline;
  while (answer.wait_for(std::chrono::milliseconds{50}) != std::future_status::ready) {
    if (c.cancelled && c.cancelled->load()) return error{errc::unavailable, "stopping", "the node is stopping"};
    if (std::chrono::steady_clock::now() >= until) return error{errc::unknown, "deadline_passed", what};
  }
  return answer.get();
}

} // namespace

result<published_view> node_host::open_now(const executor::call& c, const std::string& name) {
  return wait_for<published_view>(c, "the collection was not loaded in time",
                                  [&](auto done) { collection(c.who, name, std::move(done)); });
}

result<embeddings> node_host::embed_now(const executor::call& c, const embedding_model& by, const std::string& text) {
  return wait_for<embeddings>(c, "the query's vector was not made in time",
                              [&](auto done) { embed(c.who, by, {text}, std::move(done)); });
}

} // namespace hive::actors
