/// @file
/// A collection as an entity: its item rows are the truth, the collection in memory is made from them when it
/// activates. actors/directory.hpp says what it takes. Searches do not come here: they read `context_views`.
#pragma once

#include "actors/context/items.hpp"
#include "actors/system/system_turn.hpp"
#include "vector/collection.hpp"

namespace hive::actors {

/// What a context keeps in memory; while it is there, the node's searches find its view.
struct context_memory final : entity_memory {
  context_memory(entity_id id, context_views& where, std::shared_ptr<vector::collection> c)
      : of(id), views(where), items(std::move(c)) {}
  ~context_memory() override { views.close(of); }
  context_memory(const context_memory&) = delete;
  context_memory& operator=(const context_memory&) = delete;
  bool used() override { return views.take_used(of); }

  entity_id of;
  context_views& views;
  std::shared_ptr<vector::collection> items;
};

class context_behaviour final : public behaviour {
public:
  explicit context_behaviour(const config::settings& settings) : settings_(settings) {}
  task<> handle(turn& self, message m) const override;

  /// Row of an item: this, then its id.
  static constexpr std::string_view row_prefix = "i/";

private:
  task<> load(turn& self) const;
  task<> put(turn& self, payload body) const;
  /// The vectors that are to be made; what is stored with the same text keeps its own.
  task<> embed(turn& self, std::vector<new_item>& batch) const;
  void remove(turn& self, const json& body) const;
  void purge(turn& self) const;
  /// Their rows go, and readers hear of it.
  void removed(turn& self, const std::vector<std::string>& ids) const;
  void set_alarm(turn& self) const;

  const config::settings& settings_;
};

/// What a collection's spec says, as the library takes it. @pre it passed `collection_spec_from`
vector::space space_of(const json& spec);

} // namespace hive::actors
