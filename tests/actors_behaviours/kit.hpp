/// @file
/// A hive in memory with the builtin behaviours and executors, over a tree of files.
#pragma once

#include "actors/behaviours/builtin.hpp"
#include "actors/executors/builtin.hpp"
#include "tests/actors_behaviours/tree.hpp"
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

namespace hive::actors {

class BehaviourTest : public ::testing::Test {
protected:
  /// @param more adds to, or replaces, what is built in.
  std::unique_ptr<testkit> make(const testkit::fill& more = {}) {
    folders_.push_back(std::make_unique<test::scratch_dir>());
    config::file_access access;
    access.read_roots = {files.path().string()};
    access.write_roots = {files.outside().string()};
    access.programs = {"/bin/true"};
    return std::make_unique<testkit>(contexts_, folders_.back()->path(),
                                     [&](behaviour_registry& b, executor_registry& e) {
                                       add_builtin_behaviours(b);
                                       add_builtin_executors(e, access);
                                       if (more) more(b, e);
                                     });
  }
  static json ops_of(testkit& kit, const std::string& agent) {
    return kit.ask(agent, "list", nullptr).value().at("ops");
  }
  static std::string field_of(const result<json>& r) { return r ? "" : r.error().field; }

  test::tree files;

private:
  test::test_contexts contexts_;
  std::vector<std::unique_ptr<test::scratch_dir>> folders_;
};

} // namespace hive::actors
