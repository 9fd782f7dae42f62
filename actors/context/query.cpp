#include "actors/context/query.hpp"

#include "actors/context/items.hpp"

namespace hive::actors {
namespace {

using json = nlohmann::json;
using namespace vector;

/// Reads the members of a query and remembers the first thing that is wrong.
class query_reader {
public:
  explicit query_reader(const json& q) : q_(q) {
    if (!q.is_object()) problem_ = invalid("query", "the query must be an object");
  }
  const json* find(const char* name) {
    known_.emplace_back(name);
    if (problem_) return nullptr;
    const auto found = q_.find(name);
    return found == q_.end() || found->is_null() ? nullptr : &*found;
  }
  template <class T> void number(const char* name, T& into, double low, double high) {
    if (const auto* v = find(name)) {
      if (v->is_number() && v->get<double>() >= low && v->get<double>() <= high)
        into = v->get<T>();
      else
        fail(name, "is out of its bounds");
    }
  }
  template <class T> void number(const char* name, std::optional<T>& into, double low, double high) {
    if (!find(name)) return; // null too
    T value{};
    number(name, value, low, high);
    into = value;
  }
  void fail(const std::string& name, const std::string& why) { take(invalid(name, name + " " + why)); }
  void take(error e) {
    if (!problem_) problem_ = std::move(e);
  }
  std::optional<error> finish() {
    if (!problem_)
      for (const auto& [name, v] : q_.items())
        if (std::find(known_.begin(), known_.end(), name) == known_.end()) fail(name, "is not a member of a query");
    return problem_;
  }

private:
  const json& q_;
  std::vector<std::string> known_;
  std::optional<error> problem_;
};

constexpr double any = 1e300;
constexpr double count_max = 4e9;

void read_search(query_reader& in, search_request& r, const search_limits& limits) {
  if (const auto* v = in.find("text")) {
    if (v->is_string())
      r.text = v->get<std::string>();
    else
      in.fail("text", "must be a string");
  }
  if (const auto* v = in.find("vector")) {
    auto floats = floats_from_json(v->dump(), "vector");
    if (floats)
      r.vector = std::move(*floats);
    else
      in.take(floats.error());
  }
  r.mode = r.text.empty() ? search_mode::dense : search_mode::hybrid;
  if (const auto* v = in.find("mode")) {
    auto mode = search_mode_from(v->is_string() ? v->get<std::string>() : v->dump());
    if (mode)
      r.mode = *mode;
    else
      in.take(mode.error());
  }
  in.number("k", r.k, 0, count_max);
  if (const auto* v = in.find("filter")) {
    auto f = filter_from_json(v->dump(-1, ' ', false, json::error_handler_t::replace), limits);
    if (f)
      r.where = std::move(*f);
    else
      in.take(f.error());
  }
  std::optional<std::int64_t> as_of;
  in.number("as_of", as_of, 0, 9e15);
  if (as_of) r.as_of = wall_time{std::chrono::milliseconds{*as_of}};
  in.number("min_score", r.min_score, -any, any);
  in.number("dense_weight", r.dense_weight, -any, any);
  in.number("lexical_weight", r.lexical_weight, -any, any);
  in.number("hops", r.hops, 0, count_max);
  if (const auto* v = in.find("highlights")) {
    if (v->is_boolean())
      r.highlights = v->get<bool>();
    else
      in.fail("highlights", "must be true or false");
  }
}

json part(const score_part& p) { return {{"score", p.score}, {"rank", p.rank}}; }

json to_json(const hit& h) {
  json j{{"item", actors::to_json(*h.content)}, {"score", h.score}};
  if (h.dense.rank != 0) j["dense"] = part(h.dense);
  if (h.lexical.rank != 0) j["lexical"] = part(h.lexical);
  if (!h.highlights.empty()) {
    auto& spans = j["highlights"] = json::array();
    for (const auto& s : h.highlights) spans.push_back({s.begin, s.end});
  }
  return j;
}

} // namespace

result<std::optional<embedding_model>> model_wanted(const search_request& request, const view& view,
                                                    const search_limits& limits) {
  std::optional<embedding_model> by;
  if (request.mode == search_mode::lexical || !request.vector.empty() || request.text.empty()) return by;
  by = model_of(view.space());
  if (by)
    if (auto good = check(request, limits); !good) return good.error();
  return by;
}

result<void> complete(search_request& request, const view& view, wall_time now) {
  request.now = now;
  if (request.mode == search_mode::lexical || !request.vector.empty()) return {};
  if (view.space().embedder.empty())
    return invalid("vector", "the collection has no embedder: a search needs a vector, or mode \"lexical\"");
  if (request.text.empty()) return invalid("text", "a search needs a text or a vector");
  auto made = view.embed_query(request.text, now);
  if (!made) return made.error();
  request.vector = std::move(*made);
  return {};
}

result<search_request> search_request_from(const json& query, const search_limits& limits) {
  search_request r;
  query_reader in(query);
  read_search(in, r, limits);
  in.number("diversity", r.diversity, 0, 1);
  if (auto problem = in.finish()) return *problem;
  return r;
}

result<pack_request> pack_request_from(const json& query, const search_limits& limits) {
  pack_request r;
  query_reader in(query);
  r.search.k = std::min(50U, limits.k);
  read_search(in, r.search, limits);
  in.number("tokens", r.tokens, 0, count_max);
  in.number("tokens_per_item", r.tokens_per_item, 0, 1e6);
  in.number("diversity", r.diversity, 0, 1);
  in.number("near_duplicate", r.near_duplicate, -1, 1);
  if (auto problem = in.finish()) return *problem;
  return r;
}

json to_json(const item& i) {
  json j{{"id", i.id},
         {"text", i.text},
         {"metadata", json::parse(vector::to_json(i.meta))},
         {"trust", std::string(vector::to_string(i.trusted))},
         {"created", i.created.time_since_epoch().count()},
         {"version", i.version}};
  if (!i.kind.empty()) j["kind"] = i.kind;
  if (!i.source.empty()) j["source"] = i.source;
  if (i.importance != 0) j["importance"] = i.importance;
  if (i.valid_from != always) j["valid_from"] = i.valid_from.time_since_epoch().count();
  if (i.valid_to != never) j["valid_to"] = i.valid_to.time_since_epoch().count();
  if (i.expires_at != never) j["expires_at"] = i.expires_at.time_since_epoch().count();
  if (!i.superseded_by.empty()) j["superseded_by"] = i.superseded_by;
  for (const auto& l : i.links) j["links"].push_back({{"relation", l.relation}, {"to", l.to}});
  return j;
}

json to_json(const search_answer& a, std::uint64_t position) {
  json j{{"hits", json::array()}, {"quality", std::string(to_string(a.quality))}, {"position", position}};
  for (const auto& h : a.hits) j["hits"].push_back(to_json(h));
  for (const auto& r : a.related)
    j["related"].push_back(
        {{"item", to_json(*r.content)}, {"hops", r.hops}, {"from", r.from}, {"relation", r.relation}});
  if (!a.reason.empty()) j["reason"] = a.reason;
  return j;
}

json to_json(const pack_answer& a, std::uint64_t position) {
  json j{{"passages", json::array()},
         {"tokens", a.tokens},
         {"quality", std::string(to_string(a.quality))},
         {"position", position}};
  for (const auto& p : a.passages) {
    auto one = to_json(p.passage);
    one["tokens"] = p.tokens;
    j["passages"].push_back(std::move(one));
  }
  j["left_out_for_room"] = a.left_out_for_room;
  j["left_out_as_repeats"] = a.left_out_as_repeats;
  if (!a.reason.empty()) j["reason"] = a.reason;
  return j;
}

result<json> run_query(const published_view& on, std::string_view what, const json& query,
                       const config::context_limits& settings, wall_time now, const query_embedder& embed) {
  const auto limits = search_limits_of(settings);
  const auto fill = [&](search_request& r) -> result<void> {
    const auto by = model_wanted(r, *on.view, limits);
    if (!by) return by.error();
    if (*by) {
      auto made = embed(**by, r.text);
      if (!made) return made.error();
      r.vector = std::move(made->front());
    }
    return complete(r, *on.view, now);
  };
  if (what == "pack") {
    auto request = pack_request_from(query, limits);
    if (!request) return request.error();
    if (auto ok = fill(request->search); !ok) return ok.error();
    auto answer = vector::pack(*on.view, *request, limits);
    if (!answer) return answer.error();
    return to_json(*answer, on.position);
  }
  auto request = search_request_from(query, limits);
  if (!request) return request.error();
  if (auto ok = fill(*request); !ok) return ok.error();
  auto answer = on.view->search(*request, limits);
  if (!answer) return answer.error();
  return to_json(*answer, on.position);
}

} // namespace hive::actors
