/// @file
/// `survey.reader`: surveys one file at a time for a coordinator. Many of them make the pool.
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors::survey {

/// Takes `survey.read` `{"to","run","file","root_index","root","path","bytes_max"}`, sends `survey.done`
/// `{"run","file","root_index","path","result"}` back to `to`. A step that fails is a result too: the coordinator hears
/// of every file.
///
/// Config: `{"collection"?}`: the passages of text files are remembered there, as items "PATH#n" with the metadata
/// `file` (absolute), `line`, `last_line`, `language`, `heading`. What cannot be remembered changes nothing in the
/// survey: an event `survey.not_remembered` says so. Of a file that became shorter, old passages stay until it is
/// forgotten by hand.
class reader final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
  result<void> check(const json& config) const override;

private:
  task<> remember(turn& self, std::string collection, json arguments) const;
};

} // namespace hive::actors::survey
