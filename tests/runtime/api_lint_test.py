#!/usr/bin/env python3
"""api_lint on protos with planted mistakes: each must be found and named; the real ones must pass.

    api_lint_test.py API_LINT PROTOC PROTO_ROOT
"""
import os
import subprocess
import sys
import tempfile
import unittest

LINT, PROTOC, ROOT = sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1)

HEAD = """syntax = "proto3";
package hive.v1;
import "google/api/annotations.proto";
import "hive/v1/options.proto";
message Named { string tenant = 1 [(hive.v1.field) = {name: true required: true}]; }
message Empty {}
"""
RULE = 'option (hive.v1.rule) = {permission: "x.read" scope: %s};'
ROUTE = 'option (google.api.http) = {get: "%s"};'


def lint(text):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "planted.proto"), "w", encoding="utf-8") as f:
            f.write(HEAD + text)
        out = os.path.join(folder, "planted.desc")
        subprocess.run([PROTOC, "-I", ROOT, "-I", folder, "--include_imports", "--descriptor_set_out=" + out, "planted.proto"],
                       check=True, stderr=subprocess.DEVNULL)
        return subprocess.run([LINT, out], capture_output=True, text=True)


def service(request, rule, route):
    return "service Planted { rpc Do(%s) returns (Empty) { %s %s } }" % (request, rule, route)


class ApiLint(unittest.TestCase):
    def complains(self, text, expected):
        done = lint(text)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(expected, done.stderr)
        self.assertIn("hive.v1.", done.stderr, "the RPC or field is named")

    def test_a_good_one_passes(self):
        done = lint(service("Named", RULE % "TENANT", ROUTE % "/v1/{tenant}"))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_rule(self):
        self.complains(service("Named", "", ROUTE % "/v1/{tenant}"), "names no permission")

    def test_no_permission(self):
        self.complains(service("Named", "option (hive.v1.rule) = {scope: TENANT};", ROUTE % "/v1/{tenant}"), "names no permission")

    def test_no_scope(self):
        self.complains(service("Named", 'option (hive.v1.rule) = {permission: "x.read"};', ROUTE % "/v1/{tenant}"), "names no scope")

    def test_public_but_not_health(self):
        self.complains(service("Empty", RULE % "PUBLIC", ROUTE % "/x"), "only health is")

    def test_no_route(self):
        self.complains(service("Named", RULE % "TENANT", ""), "has no route")

    def test_tenant_scope_without_a_tenant(self):
        self.complains(service("Empty", RULE % "TENANT", ROUTE % "/x"), "no required field `tenant`")

    def test_path_names_no_field(self):
        self.complains(service("Named", RULE % "TENANT", ROUTE % "/v1/{tenant}/{other}"), "no string field of that name")

    def test_two_rpcs_on_one_route(self):
        two = "service Planted { rpc A(Empty) returns (Empty) { %s %s } rpc B(Empty) returns (Empty) { %s %s } }"
        self.complains(two % ((RULE % "SELF", ROUTE % "/x") * 2), "a route that another RPC has")

    def test_bytes_that_are_no_json(self):
        self.complains("message Blob { bytes raw = 1; }" + service("Blob", RULE % "SELF", ROUTE % "/x"), "bytes fields are JSON values")

    def test_maps(self):
        self.complains("message Tags { map<string, string> tags = 1; }" + service("Tags", RULE % "SELF", ROUTE % "/x"), "maps are not mapped")

    def test_objects_that_are_no_pairs(self):
        self.complains("message Tags { repeated Empty tags = 1 [(hive.v1.field) = {object: true}]; }" +
                       service("Tags", RULE % "SELF", ROUTE % "/x"), "the strings name and value")

    def test_nonsense_is_not_read(self):
        self.assertEqual(subprocess.run([LINT, "/dev/null/none"], capture_output=True).returncode, 2)


if __name__ == "__main__":
    unittest.main()
