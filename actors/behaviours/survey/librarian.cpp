#include "actors/behaviours/survey/librarian.hpp"

#include "actors/behaviours/input.hpp"

namespace hive::actors::survey {

namespace {

/// Metadata is what somebody put: a member may be anything.
std::string text_in(const json& object, const char* member) {
  const auto found = object.find(member);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

std::uint64_t line_in(const json& object, const char* member) {
  const auto found = object.find(member);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

} // namespace

result<void> librarian::check(const json& config) const {
  json_fields fields(config);
  (void)fields.text("collection", 128);
  if (auto wrong = fields.problem()) return *wrong;
  return {};
}

task<> librarian::handle(turn& self, message m) const {
  if (m.type != "ask") refuse_type(m, "ask");
  json_fields fields(m.parse());
  const std::string question = fields.text("question", 4096);
  const auto wanted = fields.number_or("passages", 5, 1, 100);
  json query{{"text", question}, {"k", 50}, {"tokens", fields.number_or("tokens", 2000, 1, 100'000)}};
  if (fields.has("filter")) query["filter"] = fields.value("filter");
  check_message(fields);

  const std::string collection = self.config().at("collection");
  const auto packed = co_await self.pack(collection, query);
  if (!packed) {
    if (packed.error().code == errc::invalid_argument)
      throw bad_message("payload." + packed.error().field, packed.error().message);
    self.fail("not_searched", packed.error().message);
    co_return;
  }
  const auto found = json::parse(packed->bytes);
  json passages = json::array();
  std::uint64_t tokens = 0;
  for (const auto& p : found.at("passages")) {
    if (passages.size() == wanted) break;
    const auto& item = p.at("item");
    const auto& meta = item.at("metadata");
    std::string file = text_in(meta, "file");
    if (file.empty()) file = text_in(item, "source");
    passages.push_back({{"file", std::move(file)},
                        {"line", line_in(meta, "line")},
                        {"last_line", line_in(meta, "last_line")},
                        {"text", item.at("text")},
                        {"score", p.at("score")},
                        {"tokens", p.at("tokens")}});
    tokens += p.at("tokens").get<std::uint64_t>();
  }
  self.reply(json_payload({{"question", question},
                           {"passages", std::move(passages)},
                           {"tokens", tokens},
                           {"quality", found.at("quality")}}));
}

} // namespace hive::actors::survey
