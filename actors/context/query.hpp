/// @file
/// Searching and packing a published view: from JSON and to JSON, for the steps of agents.
#pragma once

#include "actors/context/context_views.hpp"
#include "actors/context/text_embedder.hpp"
#include "config/settings.hpp"
#include "vector/pack.hpp"

#include <nlohmann/json.hpp>

namespace hive::actors {

/// The model whose vector of the request's text is needed and was not given. @returns errors of the request first: nothing
/// wrong is worth a call.
result<std::optional<embedding_model>> model_wanted(const vector::search_request& request, const vector::view& view,
                                                    const vector::search_limits& limits);

/// Fills what the request leaves open: its time, and its vector by the collection's embedder when the mode needs one.
/// @returns `invalid_argument` for "vector" when the collection has no embedder of its own and none came.
result<void> complete(vector::search_request& request, const vector::view& view, wall_time now);

/// {"text","vector","mode","k","filter","as_of","min_score","diversity","dense_weight","lexical_weight","hops","highlights"}.
/// @returns errors naming the member.
result<vector::search_request> search_request_from(const nlohmann::json& query, const vector::search_limits& limits);
/// The same, with "tokens", "tokens_per_item", "near_duplicate".
result<vector::pack_request> pack_request_from(const nlohmann::json& query, const vector::search_limits& limits);

/// {"id","text","metadata","kind","source","trust", ...}, without the vector.
nlohmann::json to_json(const vector::item& item);
/// {"hits":[{"item","score","dense","lexical","highlights"}],"related","quality","reason","position"}
nlohmann::json to_json(const vector::search_answer& answer, std::uint64_t position);
/// {"passages":[{"item","score","tokens"}],"tokens","quality","reason","position"}
nlohmann::json to_json(const vector::pack_answer& answer, std::uint64_t position);

/// Gives the vector of a query's text; may block.
using query_embedder = std::function<result<embeddings>(const embedding_model& by, const std::string& text)>;

/// The step's whole work: `what` is "search" or "pack".
result<nlohmann::json> run_query(const published_view& on, std::string_view what, const nlohmann::json& query,
                                 const config::context_limits& settings, wall_time now, const query_embedder& embed);

} // namespace hive::actors
