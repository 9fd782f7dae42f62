#include "persistence/event_cursor.hpp"
#include "runtime/api/services/cached_reads.hpp"
#include "runtime/api/services/event_feed.hpp"

namespace hive::api {
namespace {

v1::Event event_from(persistence::stored_event&& e) {
  v1::Event out;
  out.set_cursor(std::move(e.cursor));
  out.set_at(e.at.time_since_epoch().count());
  out.set_type(std::move(e.event.type));
  out.set_source(std::move(e.event.source));
  out.set_data(std::move(e.event.data));
  return out;
}

} // namespace

event_feed::event_feed(actors::messaging& hive, std::shared_ptr<loop> home, const call& c, const v1::WatchRequest& request,
                       persistence::read_cache* cache)
  : hive_(hive), home_(std::move(home)), call_(c), cursor_(request.after()), types_(request.types().begin(), request.types().end()), cache_(cache) {}

void event_feed::next(std::function<void(result<event_batch>)> got) {
  got_ = std::move(got);
  if (!subscription_)
    subscription_ = hive_.subscribe(call_.context, [weak = weak_from_this()](const actors::published_event& e) {
      const auto self = weak.lock();
      if (!self) return;
      self->published_ = persistence::number_of(e.cursor).value_or(0); // they come in order
      if (self->news_.exchange(true)) return; // it knows already
      self->home_->post([weak] {
        if (const auto again = weak.lock()) again->read();
      });
    });
  read();
}

void event_feed::stop() {
  stopped_ = true;
  got_ = nullptr;
  subscription_.reset();
}

void event_feed::read() {
  if (stopped_ || reading_ || resting_ || !got_ || !news_.exchange(false)) return;
  reading_ = true;
  hive_.read(call_.context.tenant(), [self = shared_from_this(), cursor = cursor_, known = published_.load()](persistence::store_reader& store) {
    auto page = events_after(self->cache_, store, self->call_.context, cursor, page_size, known);
    self->home_->post([self, page = std::move(page)]() mutable { self->arrived(std::move(page)); });
  });
}

void event_feed::arrived(result<persistence::event_page> page) {
  reading_ = false;
  if (stopped_ || !got_) return;
  if (!page) {
    const auto got = std::exchange(got_, nullptr);
    return got(std::move(page).error());
  }
  event_batch batch;
  if (page->gap) {
    v1::Event gap;
    gap.set_cursor(page->events.empty() ? page->end : cursor_);
    gap.set_type("gap");
    gap.set_at(page->events.empty() ? 0 : page->events.front().at.time_since_epoch().count());
    gap.set_data(R"({"message":"events before this point are older than retention and gone"})");
    batch.events.push_back(std::move(gap));
  }
  const bool moved = page->end != cursor_;
  if (page->events.size() >= page_size) news_ = true; // there may be more
  else rest();
  for (auto& e : page->events)
    if (wanted(e.event.type)) batch.events.push_back(event_from(std::move(e)));
  cursor_ = page->end;
  batch.cursor = cursor_;
  if (!batch.events.empty() || moved || !std::exchange(begun_, true)) {
    begun_ = true;
    const auto got = std::exchange(got_, nullptr);
    return got(std::move(batch));
  }
  read(); // in case something was published meanwhile
}

void event_feed::rest() {
  resting_ = true;
  home_->after(pace, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->resting_ = false;
    self->read();
  });
}

bool event_feed::wanted(std::string_view type) const {
  if (types_.empty()) return true;
  for (const std::string_view t : types_)
    if (t.ends_with(".*") ? type.starts_with(t.substr(0, t.size() - 1)) : t == type) return true;
  return false;
}

} // namespace hive::api
