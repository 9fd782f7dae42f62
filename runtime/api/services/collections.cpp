#include "runtime/api/json_mapping.hpp"
#include "runtime/api/services/entity_ask.hpp"
#include "runtime/api/services/services.hpp"

#include "actors/context/items.hpp"
#include "actors/context/query.hpp"
#include "vector/pack.hpp"

#include <algorithm>

namespace hive::api {
namespace {

using actors::published_view;
using nlohmann::json;
using persistence::store_reader;

actors::destination to_collection(const std::string& name) { return {entity_kind::context, name}; }

void fill(v1::Item& out, const vector::item& i) {
  out.set_id(i.id);
  out.set_text(i.text);
  out.set_metadata(vector::to_json(i.meta));
  out.set_kind(i.kind);
  out.set_source(i.source);
  out.set_trust(std::string(vector::to_string(i.trusted)));
  out.set_importance(static_cast<double>(i.importance));
  out.set_created(millis(i.created));
  if (i.valid_from != vector::always) out.set_valid_from(millis(i.valid_from));
  if (i.valid_to != vector::never) out.set_valid_to(millis(i.valid_to));
  if (i.expires_at != vector::never) out.set_expires_at(millis(i.expires_at));
  for (const auto& l : i.links) {
    auto& link = *out.add_links();
    link.set_relation(l.relation);
    link.set_to(l.to);
  }
  out.set_superseded_by(i.superseded_by);
  out.set_version(i.version);
}

void fill_vector(v1::Item& out, std::span<const float> vector) {
  std::string text;
  actors::append_floats(text, vector);
  out.set_vector(std::move(text));
}

void fill(v1::Hit& out, const vector::hit& h) {
  fill(*out.mutable_item(), *h.content);
  out.set_score(h.score);
  const auto part = [](v1::ScorePart& into, const vector::score_part& p) {
    into.set_score(p.score);
    into.set_rank(p.rank);
  };
  if (h.dense.rank != 0) part(*out.mutable_dense(), h.dense);
  if (h.lexical.rank != 0) part(*out.mutable_lexical(), h.lexical);
  for (const auto& s : h.highlights) {
    auto& span = *out.add_highlights();
    span.set_begin(s.begin);
    span.set_end(s.end);
  }
}

v1::Quality quality_of(vector::completeness c) {
  return c == vector::completeness::exact         ? v1::QUALITY_EXACT
         : c == vector::completeness::approximate ? v1::QUALITY_APPROXIMATE
                                                  : v1::QUALITY_PARTIAL;
}

result<actors::new_item> item_from(v1::NewItem& in, const vector::collection_limits& limits, const std::string& path) {
  actors::written_item out;
  out.id = std::move(*in.mutable_id());
  out.text = std::move(*in.mutable_text());
  out.kind = in.kind();
  out.source = in.source();
  out.trust = in.trust();
  out.importance = static_cast<double>(in.importance());
  if (in.has_valid_from()) out.valid_from = in.valid_from();
  if (in.has_valid_to()) out.valid_to = in.valid_to();
  if (in.has_expires_at()) out.expires_at = in.expires_at();
  if (in.has_ttl_ms()) out.ttl_ms = in.ttl_ms();
  out.vector = std::move(*in.mutable_vector());
  out.metadata = std::move(*in.mutable_metadata());
  for (const auto& l : in.links()) out.links.push_back({l.relation(), l.to()});
  out.how.supersedes = in.supersedes();
  out.how.allow_duplicate = in.allow_duplicate();
  if (in.has_expected_version()) out.how.expected_version = in.expected_version();
  return actors::item_from(std::move(out), {vector::trust::user, {}}, limits, path);
}

/// What a search and a pack have in common. @param text moved from
template <class Request>
result<void> read_query(Request& in, vector::search_request& r, const vector::search_limits& limits) {
  r.text = std::move(*in.mutable_text());
  if (actors::given(in.vector())) {
    auto floats = actors::floats_from_json(in.vector(), "vector");
    if (!floats) return floats.error();
    r.vector = std::move(*floats);
  }
  switch (in.mode()) {
  case v1::SEARCH_MODE_DENSE:
    r.mode = vector::search_mode::dense;
    break;
  case v1::SEARCH_MODE_LEXICAL:
    r.mode = vector::search_mode::lexical;
    break;
  case v1::SEARCH_MODE_HYBRID:
    r.mode = vector::search_mode::hybrid;
    break;
  default:
    r.mode = r.text.empty() ? vector::search_mode::dense : vector::search_mode::hybrid;
  }
  if (in.has_k()) r.k = in.k();
  if (actors::given(in.filter())) {
    auto filter = vector::filter_from_json(in.filter(), limits);
    if (!filter) return filter.error();
    r.where = std::move(*filter);
  }
  if (in.has_as_of()) {
    auto at = actors::time_from(in.as_of(), "as_of");
    if (!at) return at.error();
    r.as_of = *at;
  }
  return {};
}

using query_use = std::function<void(result<published_view>, vector::search_request&)>;

/// Calls `use` with the view once the request has all that it leaves open; its text's vector may have to come from an endpoint.
void with_query(actors::messaging& hive, tenant_context who, const std::string& collection, const vector::search_limits& limits,
                vector::search_request r, query_use use) {
  hive.collection(who, collection, [&hive, who, collection, limits, r = std::move(r), use = std::move(use)](result<published_view> on) mutable {
    if (!on) return use(std::move(on), r);
    auto by = actors::model_wanted(r, *on->view, limits);
    if (!by) return use(std::move(by).error(), r);
    if (!*by) {
      if (auto ok = actors::complete(r, *on->view, on->now); !ok) return use(std::move(ok).error(), r);
      return use(std::move(on), r);
    }
    std::vector<std::string> text{r.text};
    hive.embed(who, **by, std::move(text),
               [&hive, who, collection, limits, r = std::move(r), use = std::move(use)](result<actors::embeddings> made) mutable {
                 if (!made) return use(std::move(made).error(), r);
                 r.vector = std::move(made->front());
                 with_query(hive, who, collection, limits, std::move(r), std::move(use)); // newer by what was put meanwhile
               });
  });
}

v1::Collection collection_from(const persistence::directory_row& row) {
  v1::Collection out;
  out.set_name(row.name);
  out.set_id(to_string(row.id));
  out.set_revision(row.revision);
  (void)from_json(row.spec, *out.mutable_spec(), {.depth = 100, .ignore_unknown = true});
  return out;
}

} // namespace

// -- collections

void context_service::put(const call& c, v1::PutCollectionRequest& request, reply<v1::Change> done) {
  const json body{
      {"collections", json::array({{{"name", request.collection()},
                                    {"spec", json::parse(to_json(request.spec(), {.omit_defaults = true}))}}})}};
  ask_entity(with_.hive, c, {entity_kind::tenant, ""}, "directory.apply", body.dump(), {}, "collections[0].spec.",
             [done = std::move(done)](result<json> answer) {
               if (!answer) {
                 auto why = std::move(answer).error();
                 if (why.field == "collections[0].spec") why.field = "spec";
                 return done(std::move(why));
               }
               v1::Change change;
               const auto& entities = answer->at("entities");
               if (!entities.empty()) {
                 change.set_kind("collection");
                 change.set_name(entities[0].value("name", ""));
                 change.set_revision(entities[0].value("revision", std::uint64_t{0}));
                 change.set_change(entities[0].value("change", ""));
               }
               done(std::move(change));
             });
}

void context_service::get(const call& c, v1::GetCollectionRequest& request, reply<v1::Collection> done) {
  with_.hive.read(c.context.tenant(),
                  [with = with_, c, name = request.collection(), done = std::move(done)](store_reader& store) {
                    auto row = store.find(c.context, entity_kind::context, name);
                    if (!row) {
                      auto why = std::move(row).error();
                      if (why.code == errc::not_found)
                        why = {errc::not_found, "not_found", "no collection named \"" + name + "\"", "collection", {}};
                      return done(std::move(why));
                    }
                    with.hive.collection(c.context, name, [row = std::move(*row), done](result<published_view> on) {
                      if (!on) return done(std::move(on).error());
                      auto out = collection_from(row);
                      out.set_items(on->view->size());
                      out.set_bytes(on->view->bytes());
                      out.set_loaded(true);
                      done(std::move(out));
                    });
                  });
}

void context_service::list(const call& c, v1::ListCollectionsRequest& request,
                           reply<v1::ListCollectionsResponse> done) {
  if (auto ok = check_page_token(request.page_token()); !ok) return done(ok.error());
  with_.hive.read(c.context.tenant(), [c, after = request.page_token(), size = page_of(request.page_size()),
                                       done = std::move(done)](store_reader& store) {
    auto rows = store.list(c.context, entity_kind::context, after, size + 1, nullptr);
    if (!rows) return done(std::move(rows).error());
    const bool more = rows->size() > size;
    if (more) rows->resize(size);
    v1::ListCollectionsResponse out;
    for (const auto& row : *rows) *out.add_collections() = collection_from(row);
    if (more) out.set_next_page_token(rows->back().name);
    done(std::move(out));
  });
}

void context_service::remove(const call& c, v1::DeleteCollectionRequest& request, reply<v1::Deleted> done) {
  const json body{{"kind", "context"}, {"name", request.collection()}};
  ask_entity(with_.hive, c, {entity_kind::tenant, ""}, "directory.delete", body.dump(), {}, {},
             [done = std::move(done)](result<json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::Deleted out;
               out.set_deleted(true);
               done(std::move(out));
             });
}

// -- items

void context_service::put_items(const call& c, v1::PutItemsRequest& request, reply<v1::PutItemsResponse> done) {
  if (request.items_size() == 0) return done(invalid("items", "items is required"));
  if (static_cast<std::uint32_t>(request.items_size()) > with_.context.batch_items)
    return done(invalid("items", "items has " + std::to_string(request.items_size()) +
                                     " members; context.batch_items allows " +
                                     std::to_string(with_.context.batch_items)));
  std::vector<actors::new_item> items;
  items.reserve(static_cast<std::size_t>(request.items_size()));
  const auto limits = actors::limits_of(with_.context);
  for (int i = 0; i < request.items_size(); ++i) {
    auto one = item_from(*request.mutable_items(i), limits, "items[" + std::to_string(i) + "]");
    if (!one) return done(std::move(one).error());
    items.push_back(std::move(*one));
  }
  actors::ask_request ask;
  ask.to = to_collection(request.collection());
  ask.type = "items.put";
  ask.body = {actors::encode_items(items), content_type::binary};
  ask.idempotency_key = request.idempotency_key();
  ask.trace = c.trace;
  std::vector<actors::text_of_item> texts;
  for (auto& i : items)
    if (i.vector.empty()) texts.push_back({std::move(i.content.id), std::move(i.content.text)});
  auto sink = sink_of([&request, done = std::move(done)](result<actors::ask_answer> answer, std::string key) {
                   if (!answer) {
                     if (!key.empty()) request.set_idempotency_key(std::move(key));
                     return done(std::move(answer).error());
                   }
                   v1::PutItemsResponse out;
                   if (auto ok = from_json(answer->body.bytes, out, {.depth = 16, .ignore_unknown = true}); !ok)
                     return done(std::move(ok).error());
                   out.set_idempotency_key(std::move(answer->idempotency_key));
                   out.set_repeated(answer->repeated);
                   done(std::move(out));
                 });
  // Both wait in what must be copyable.
  auto held = std::make_shared<std::pair<actors::ask_request, std::unique_ptr<actors::reply_sink>>>(std::move(ask), std::move(sink));
  with_.hive.embed_ahead(c.context, request.collection(), std::move(texts), [&hive = with_.hive, who = c.context, held](result<void> made) {
    if (!made) return held->second->failed(std::move(made).error(), held->first.idempotency_key);
    hive.ask(who, std::move(held->first), std::move(held->second));
  });
}

void context_service::delete_items(const call& c, v1::DeleteItemsRequest& request,
                                   reply<v1::DeleteItemsResponse> done) {
  json body{{"ids", json::array()}};
  for (const auto& id : request.ids()) body["ids"].push_back(id);
  ask_entity(with_.hive, c, to_collection(request.collection()), "items.delete",
             body.dump(-1, ' ', false, json::error_handler_t::replace), request.idempotency_key(), {},
             [done = std::move(done)](result<json> answer) {
               if (!answer) return done(std::move(answer).error());
               v1::DeleteItemsResponse out;
               out.set_deleted(answer->value("deleted", std::uint64_t{0}));
               out.set_position(answer->value("position", std::uint64_t{0}));
               done(std::move(out));
             });
}

void context_service::get_item(const call& c, v1::GetItemRequest& request, reply<v1::Item> done) {
  with_.hive.collection(
      c.context, request.collection(),
      [id = request.item(), with_vector = request.vector(), done = std::move(done)](result<published_view> on) {
        if (!on) return done(std::move(on).error());
        const auto found = on->view->get(id, on->now);
        if (!found) return done(error{errc::not_found, "not_found", "no item with this id", "item", {}});
        v1::Item out;
        fill(out, *found->content);
        if (with_vector) fill_vector(out, found->vector);
        done(std::move(out));
      });
}

void context_service::list_items(const call& c, v1::ListItemsRequest& request, reply<v1::ListItemsResponse> done) {
  with_.hive.collection(c.context, request.collection(),
                        [after = request.page_token(), size = static_cast<std::uint32_t>(page_of(request.page_size())), bytes = with_.context.answer_bytes,
                         with_vector = request.vector(), done = std::move(done)](result<published_view> on) {
                          if (!on) return done(std::move(on).error());
                          // As text a component has some twelve bytes.
                          const std::uint64_t vector_bytes = with_vector ? std::uint64_t{on->view->space().dimension} * 12 : 0;
                          const auto most = vector_bytes == 0 ? size : static_cast<std::uint32_t>(std::clamp<std::uint64_t>(bytes / vector_bytes, 1, size));
                          auto items = on->view->list(after, most, bytes, {}, on->now);
                          const bool more = !items.empty() && !on->view->list(items.back()->id, 1, bytes, {}, on->now).empty();
                          v1::ListItemsResponse out;
                          for (const auto& i : items) {
                            auto& one = *out.add_items();
                            fill(one, *i);
                            if (with_vector)
                              if (const auto stored = on->view->get(i->id, on->now)) fill_vector(one, stored->vector);
                          }
                          if (more) out.set_next_page_token(items.back()->id);
                          done(std::move(out));
                        });
}

// -- searches

void context_service::search(const call& c, v1::SearchRequest& request, reply<v1::SearchResponse> done) {
  const auto limits = actors::search_limits_of(with_.context);
  vector::search_request r;
  if (auto ok = read_query(request, r, limits); !ok) return done(std::move(ok).error());
  if (request.has_min_score()) r.min_score = request.min_score();
  if (request.has_diversity()) r.diversity = request.diversity();
  if (request.has_dense_weight()) r.dense_weight = request.dense_weight();
  if (request.has_lexical_weight()) r.lexical_weight = request.lexical_weight();
  r.hops = request.hops();
  if (request.has_highlights()) r.highlights = request.highlights();
  with_query(with_.hive, c.context, request.collection(), limits, std::move(r),
             [limits, done = std::move(done)](result<published_view> on, vector::search_request& completed) {
                          if (!on) return done(std::move(on).error());
                          auto found = on->view->search(completed, limits);
                          if (!found) return done(std::move(found).error());
                          v1::SearchResponse out;
                          for (const auto& h : found->hits) fill(*out.add_hits(), h);
                          for (const auto& i : found->related) {
                            auto& one = *out.add_related();
                            fill(*one.mutable_item(), *i.content);
                            one.set_hops(i.hops);
                            one.set_from(i.from);
                            one.set_relation(i.relation);
                          }
                          out.set_quality(quality_of(found->quality));
                          out.set_reason(found->reason);
                          out.set_position(on->position);
                          out.set_candidates(found->candidates);
                          done(std::move(out));
                        });
}

void context_service::pack(const call& c, v1::PackRequest& request, reply<v1::PackResponse> done) {
  const auto limits = actors::search_limits_of(with_.context);
  vector::pack_request r;
  r.search.k = std::min(50U, limits.k);
  if (auto ok = read_query(request, r.search, limits); !ok) return done(std::move(ok).error());
  if (request.has_tokens()) r.tokens = request.tokens();
  r.tokens_per_item = request.tokens_per_item();
  if (request.has_diversity()) r.diversity = request.diversity();
  auto query = std::move(r.search);
  with_query(with_.hive, c.context, request.collection(), limits, std::move(query),
             [limits, r = std::move(r), done = std::move(done)](result<published_view> on, vector::search_request& completed) mutable {
                          if (!on) return done(std::move(on).error());
                          r.search = std::move(completed);
                          auto packed = vector::pack(*on->view, r, limits);
                          if (!packed) return done(std::move(packed).error());
                          v1::PackResponse out;
                          for (const auto& p : packed->passages) {
                            auto& one = *out.add_passages();
                            fill(*one.mutable_hit(), p.passage);
                            one.set_tokens(p.tokens);
                          }
                          out.set_tokens(packed->tokens);
                          out.set_left_out_for_room(packed->left_out_for_room);
                          out.set_left_out_as_repeats(packed->left_out_as_repeats);
                          out.set_quality(quality_of(packed->quality));
                          out.set_reason(packed->reason);
                          out.set_position(on->position);
                          done(std::move(out));
                        });
}

} // namespace hive::api
