#!/usr/bin/env python3
"""The architecture check finds every kind of planted violation, and nothing in a clean tree."""
import os
import tempfile
import unittest

import check


class ArchitectureCheckTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.root = self.dir.name
        for folder in check.TOP_FOLDERS:
            self.write(f"{folder}/README.md", "> **folder**\n")
        self.write("config/settings.hpp", '#include "config/base/ids.hpp"\n#include <vector>\n')
        self.write("actors/shard.cpp", '#include "persistence/turn_store.hpp"\n')

    def tearDown(self):
        self.dir.cleanup()

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def found(self):
        return list(check.violations(self.root))

    def assert_found(self, *parts):
        found = self.found()
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def test_clean_tree_has_none(self):
        self.assertEqual(self.found(), [])

    def test_include_of_a_higher_floor(self):
        self.write("persistence/x.hpp", '#pragma once\n#include "actors/shard.hpp"\n')
        self.assert_found("persistence/x.hpp:2", "above")

    def test_cli_includes_more_than_the_public_api(self):
        self.write("runtime/cli/a.cpp", '#include "runtime/cli/b.hpp"\n#include "config/settings.hpp"\n')
        self.assert_found("runtime/cli/a.cpp:2", "public API")

    def test_gateway_knows_the_wiring(self):
        self.write("runtime/api/http/a.cpp", '#include "runtime/node/node.hpp"\n')
        self.assert_found("only runtime/node itself")

    def test_technology_outside_its_folder(self):
        for header, path in [("sqlite3.h", "actors/x.cpp"), ("boost/asio.hpp", "runtime/ops/x.cpp"),
                             ("prometheus/registry.h", "actors/x.cpp"), ("caf/all.hpp", "actors/x.cpp"),
                             ("yaml-cpp/yaml.h", "runtime/api/x.cpp"), ("spdlog/spdlog.h", "config/x.cpp")]:
            with self.subTest(header=header):
                self.write(path, f"#include <{header}>\n")
                self.assert_found(header)
                os.remove(os.path.join(self.root, path))

    def test_technology_in_its_folder(self):
        self.write("persistence/sqlite/store.cpp", "#include <sqlite3.h>\n")
        self.write("config/base/log.cpp", "#include <spdlog/spdlog.h>\n")
        self.write("actors/caf/system.hpp", "#include <caf/all.hpp>\n")
        self.assertEqual(self.found(), [])

    def test_cmake_links_a_higher_floor(self):
        self.write("actors/CMakeLists.txt", "hive_library(actors\n  SOURCES a.cpp\n  DEPS hive::base)\n")
        self.write("config/CMakeLists.txt", "hive_library(base\n  SOURCES b.cpp\n  PRIVATE_DEPS hive::actors)\n")
        self.assert_found("config/CMakeLists.txt:1", "hive::actors")

    def test_loose_end(self):
        self.write("vector/a.cpp", "int a; // TO" + "DO: later\n")
        self.assert_found("vector/a.cpp:1", "loose end")

    def test_marker_as_data_is_no_loose_end(self):
        self.write("actors/a.cpp", '// Markers such as TO' + 'DO are counted.\nconst char* m = "TO' + 'DO";\n')
        self.assertEqual(self.found(), [])

    def test_document_names_what_is_not_there(self):
        self.write("config/settings.cpp", 'x{\n    integer("entity.attempts", &settings::entity),\n}\n')
        self.write("tests/actors/shard_test.cpp", "TEST_F(ShardTest, RepeatOfAKeyGetsTheAnswer) {}\nTEST_P(StepsTest, AnswersWhateverCommitIsLost) {}\n")
        self.write("tests/actors/CMakeLists.txt", "hive_test(shard_test SOURCES shard_test.cpp)\n")
        for name in ("ShardTest.*", "ShardTest.RepeatOfAKey...", "StepsTest.*WhateverCommit...", "entity.attempts", "actors/shard.cpp", "shard.cpp",
                     "shard_test", "tests/actors/shard_test.cpp"):
            self.write("actors/README.md", f"`{name}`\n")
            self.assertEqual(self.found(), [], name)
        for name in ("BusyTest.*", "ShardTest.Repeats...", "entity.attempt", "vector/shard.cpp", "chard.cpp", "hard.cpp", "shards_test"):
            self.write("actors/README.md", f"\n`{name}`\n")
            self.assert_found("actors/README.md:2", name)
        self.write("actors/README.md", "[it](../actors/shard.cpp) and [another](gone.md)\n")
        self.assert_found("links to gone.md")

    def test_missing_readme(self):
        os.remove(os.path.join(self.root, "vector/README.md"))
        self.assert_found("vector: has no README.md")


if __name__ == "__main__":
    unittest.main()
