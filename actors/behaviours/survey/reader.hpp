/// @file
/// `survey.reader`: surveys one file at a time for a coordinator. Many of them make the pool.
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors::survey {

/// Takes `survey.read` `{"to","run","file","root_index","root","path","bytes_max"}`, sends `survey.done`
/// `{"run","file","root_index","path","result"}` back to `to`. A step that fails is a result too: the coordinator hears
/// of every file.
class reader final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
};

} // namespace hive::actors::survey
