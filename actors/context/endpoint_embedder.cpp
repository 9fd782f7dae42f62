#include "actors/context/endpoint_embedder.hpp"

#include "vector/embedding/hashing_embedder.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace hive::actors {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

error not_usable(std::string why) {
  return {errc::unavailable, "embedding_unavailable", std::move(why), {}, milliseconds{1000}};
}

/// What the endpoint says of itself, on one line of bearable length.
std::string excerpt_of(const std::string& body) {
  const auto read = json::parse(body, nullptr, false);
  std::string text = body;
  if (read.is_object() && read.contains("error")) {
    const auto& e = read["error"];
    if (e.is_string())
      text = e.get<std::string>();
    else if (e.is_object() && e.contains("message") && e["message"].is_string())
      text = e["message"].get<std::string>();
  }
  std::string out;
  for (const char c : text.substr(0, 200)) out.push_back(c >= ' ' && c <= '~' ? c : ' ');
  return out;
}

/// A refusal will be one again, however often it is asked.
bool worth_another_try(unsigned status) { return status == 408 || status == 409 || status == 425 || status == 429 || status >= 500; }

} // namespace

std::optional<embedding_model> model_of(const vector::space& s) {
  if (!s.embedder.starts_with(endpoint_prefix)) return std::nullopt;
  return embedding_model{s.embedder.substr(endpoint_prefix.size()), s.dimension};
}

std::optional<embedding_model> maker_of(const vector::space& s) {
  if (s.embedder == vector::hashing_embedder::name) return embedding_model{s.embedder, s.dimension, true};
  return model_of(s);
}

std::string embedding_request(const embedding_model& by, const std::vector<std::string>& texts, bool name_dimension) {
  json body{{"model", by.name}, {"input", texts}, {"encoding_format", "float"}};
  if (name_dimension) body["dimensions"] = by.dimension;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

result<embeddings> embeddings_from(const std::string& body, const embedding_model& by, std::size_t texts) {
  const auto wrong = [](const std::string& what) { return not_usable("the embedding endpoint's answer is wrong: " + what); };
  const auto read = json::parse(body, nullptr, false);
  if (!read.is_object()) return wrong("it is no JSON object");
  const auto data = read.find("data");
  if (data == read.end() || !data->is_array()) return wrong("it has no list \"data\"");
  if (data->size() != texts)
    return wrong(std::to_string(data->size()) + " vectors for " + std::to_string(texts) + " texts");
  embeddings out(texts);
  for (std::size_t i = 0; i < texts; ++i) {
    const auto& one = (*data)[i];
    if (!one.is_object()) return wrong("an entry of \"data\" is no object");
    std::size_t place = i; // some leave the number out, and some do not keep the order
    if (const auto index = one.find("index"); index != one.end()) {
      if (!index->is_number_unsigned() || index->get<std::uint64_t>() >= texts) return wrong("an \"index\" is none");
      place = index->get<std::size_t>();
    }
    const auto vector = one.find("embedding");
    if (vector == one.end() || !vector->is_array()) return wrong("an \"embedding\" is no list");
    if (!out[place].empty()) return wrong("two vectors have one \"index\"");
    if (vector->size() != by.dimension)
      return error{errc::failed_precondition, "embedding_dimension",
                   "the endpoint's model \"" + by.name + "\" gives vectors of " + std::to_string(vector->size()) +
                       " components; this collection was made for " + std::to_string(by.dimension),
                   {}, {}};
    out[place].reserve(vector->size());
    for (const auto& x : *vector) {
      if (!x.is_number()) return wrong("a component is no number");
      const auto value = static_cast<float>(x.get<double>());
      if (!std::isfinite(value)) return wrong("a component is not finite");
      out[place].push_back(value);
    }
  }
  return out;
}

/// One call of `embed`; answered when its last batch is.
struct endpoint_embedder::request {
  embedding_model by;
  embeddings vectors;
  std::function<void(result<embeddings>)> done;
  std::mutex guard;
  std::size_t open = 0; ///< Batches that did not end.
  std::optional<error> why;
};

struct endpoint_embedder::batch {
  std::shared_ptr<request> of;
  std::vector<std::string> texts;
  std::vector<std::vector<std::size_t>> places; ///< In `request::vectors`, of each text.
};

endpoint_embedder::endpoint_embedder(const config::embedding_settings& settings, connect make, std::uint64_t seed)
    : settings_(settings), configured_(make != nullptr), cache_(settings.cache_bytes), chance_(seed) {
  if (configured_)
    threads_ = std::make_unique<worker_pool<std::unique_ptr<endpoint_connection>>>(settings_.connections, std::move(make));
}

void endpoint_embedder::stop() {
  {
    std::lock_guard lock(guard_);
    stop_ = true;
  }
  wake_.notify_all();
  if (threads_) threads_->stop();
}

void endpoint_embedder::embed(tenant_id for_whom, embedding_model by, std::vector<std::string> texts,
                              std::function<void(result<embeddings>)> done) {
  if (!configured_)
    return done(error{errc::failed_precondition, "no_embedding_endpoint",
                      "the model \"" + by.name + "\" makes this collection's vectors, and this node has no endpoint: set embedding.url",
                      {}, {}});
  auto r = std::make_shared<request>();
  r->by = std::move(by);
  r->vectors.resize(texts.size());
  r->done = std::move(done);

  std::vector<batch> batches;
  std::unordered_map<std::string, std::pair<std::size_t, std::size_t>> asked; // a text that comes twice is sent once
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (auto known = cache_.find(r->by, texts[i])) {
      r->vectors[i] = std::move(*known);
      continue;
    }
    if (const auto twin = asked.find(texts[i]); twin != asked.end()) {
      batches[twin->second.first].places[twin->second.second].push_back(i);
      continue;
    }
    if (batches.empty() || batches.back().texts.size() >= settings_.batch_texts ||
        bytes + texts[i].size() > settings_.batch_bytes) {
      batches.push_back({r, {}, {}});
      bytes = 0;
    }
    bytes += texts[i].size();
    auto& last = batches.back();
    asked.emplace(texts[i], std::pair{batches.size() - 1, last.texts.size()});
    last.texts.push_back(std::move(texts[i]));
    last.places.push_back({i});
  }
  if (batches.empty()) return r->done(std::move(r->vectors));
  const auto count = static_cast<std::uint32_t>(batches.size());
  if (auto why = breaker_open()) return r->done(std::move(*why));
  if (waiting_.fetch_add(count, std::memory_order_relaxed) + count > settings_.waiting && waiting_ != count) {
    waiting_.fetch_sub(count, std::memory_order_relaxed);
    return r->done(error{errc::resource_exhausted, "embedding_overloaded",
                         "embedding.waiting requests wait for the embedding endpoint", {}, milliseconds{500}});
  }
  r->open = batches.size();
  for (auto& b : batches)
    threads_->post(for_whom, [this, b = std::make_shared<batch>(std::move(b))](auto& over) {
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      run(*over, *b);
    });
}

void endpoint_embedder::run(endpoint_connection& over, const batch& b) {
  auto& r = *b.of;
  bool needed = true; // not when another batch failed
  {
    std::lock_guard lock(r.guard);
    needed = !r.why;
  }
  result<embeddings> got = embeddings{};
  if (needed) got = fetch(over, b);
  if (stop_) return;
  if (needed && got)
    for (std::size_t i = 0; i < b.texts.size(); ++i) cache_.put(r.by, b.texts[i], (*got)[i]);
  {
    std::lock_guard lock(r.guard);
    if (!got)
      r.why = std::move(got).error();
    else if (needed)
      for (std::size_t i = 0; i < b.texts.size(); ++i)
        for (const auto place : b.places[i]) r.vectors[place] = (*got)[i];
    if (--r.open > 0) return;
  }
  if (r.why)
    r.done(std::move(*r.why));
  else
    r.done(std::move(r.vectors));
}

result<embeddings> endpoint_embedder::fetch(endpoint_connection& over, const batch& b) {
  const auto& by = b.of->by;
  const auto body = embedding_request(by, b.texts, settings_.dimensions == "always");
  const auto until = clock_.steady_now() + settings_.deadline;
  auto backoff = settings_.backoff;
  error last = not_usable("the embedding endpoint was not asked in time");
  for (std::uint32_t attempt = 1;; ++attempt) {
    if (auto why = breaker_open()) return attempt == 1 ? *why : last;
    const auto left = std::chrono::duration_cast<milliseconds>(until - clock_.steady_now());
    if (left.count() <= 0) return last;
    {
      std::lock_guard lock(guard_);
      breaker_.started(clock_.wall_now());
    }
    auto answer = over.post(body, std::min(left, settings_.timeout), stop_);
    milliseconds wait{0};
    if (!answer) {
      last = not_usable(answer.error().message);
      heard(false);
    } else if (answer->status == 200) {
      auto vectors = embeddings_from(answer->body, by, b.texts.size());
      heard(vectors || vectors.error().code != errc::unavailable);
      if (vectors || vectors.error().code != errc::unavailable) return vectors;
      last = vectors.error();
    } else {
      const auto said = "the embedding endpoint answered " + std::to_string(answer->status) + ": " + excerpt_of(answer->body);
      const bool again = worth_another_try(answer->status);
      heard(!again || answer->status == 429); // it is there; it has too much to do, or does not like this
      if (!again) return error{errc::failed_precondition, "embedding_refused", said, {}, {}};
      last = not_usable(said);
      wait = answer->retry_after;
    }
    if (attempt >= settings_.attempts) return last;
    {
      std::lock_guard lock(guard_);
      wait = std::max(wait, backoff / 2 + milliseconds{static_cast<std::int64_t>(
                                              chance_.below(static_cast<std::uint64_t>(backoff.count() / 2 + 1)))});
    }
    backoff *= 2;
    if (clock_.steady_now() + wait >= until) {
      last.retry_after = std::max(last.retry_after, wait);
      return last;
    }
    if (!pause(wait)) return last;
  }
}

std::optional<error> endpoint_embedder::breaker_open() {
  std::lock_guard lock(guard_);
  const auto now = clock_.wall_now();
  if (breaker_.allows(now)) return std::nullopt;
  auto why = not_usable("the embedding endpoint failed several times in a row; it is left alone for a moment");
  if (breaker_.now_is() == scheduling::circuit_breaker::state::open)
    why.retry_after = std::max(milliseconds{1}, std::chrono::duration_cast<milliseconds>(breaker_.until() - now));
  return why;
}

void endpoint_embedder::heard(bool good) {
  std::lock_guard lock(guard_);
  if (good)
    breaker_.succeeded();
  else
    breaker_.failed({.failures = 8, .open = milliseconds{500}, .open_max = milliseconds{10'000}}, clock_.wall_now(), chance_);
}

bool endpoint_embedder::pause(milliseconds wait) {
  std::unique_lock lock(guard_);
  return !wake_.wait_for(lock, wait, [this] { return stop_.load(); });
}

} // namespace hive::actors
