#!/usr/bin/env python3
"""hivectl as its users meet it: run as a process against a small server whose answers each test writes down."""
import json
import os
import subprocess
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HIVECTL = os.path.join(os.environ.get("HIVE_BIN_DIR", "build/dev/bin"), "hivectl")


class FakeHive(ThreadingHTTPServer):
    """Answers from `answers[(method, path)]`: a (status, body) pair, a list of them used one by one, or "break"."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.seen = {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.split("?")[0]
        self.server.seen.append((self.command, self.path, body, dict(self.headers)))
        reply = self.server.answers.get((self.command, path), (404, {"error": {"code": "not_found", "message": "no such thing"}}))
        if isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        if reply == "break":
            self.close_connection = True
            return
        status, content = reply
        stream = isinstance(content, str)
        data = content.encode() if stream else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = answer


class HivectlTest(unittest.TestCase):
    def setUp(self):
        self.hive = FakeHive()
        self.dir = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.hive.shutdown()
        self.hive.server_close()
        self.dir.cleanup()

    def run_cli(self, *arguments, key="hive_k_s", stdin="", **env):
        environment = {"PATH": os.environ["PATH"], "HIVE_SERVER": self.hive.url, "HIVE_TENANT": "demo", **env}
        if key:
            environment["HIVE_KEY"] = key
        return subprocess.run([HIVECTL, *arguments], input=stdin, env=environment, capture_output=True, text=True, timeout=60)

    def file(self, name, text):
        path = os.path.join(self.dir.name, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def test_certs_makes_private_files_and_replaces_none_unasked(self):
        ca, out = os.path.join(self.dir.name, "ca"), os.path.join(self.dir.name, "node-1")
        made = self.run_cli("certs", "ca", "--out", ca, key="")
        self.assertEqual(made.returncode, 0, made.stderr)
        node = ["certs", "node", "node-1", "--ca", ca, "--hive", "h1", "--address", "127.0.0.1", "--address", "localhost", "--out", out]
        made = self.run_cli(*node, key="")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("cluster.link.certificate_file=" + out + "/node-1.pem", made.stdout)
        self.assertEqual(sorted(os.listdir(ca)), ["ca.key", "ca.pem"])
        self.assertEqual(sorted(os.listdir(out)), ["ca.pem", "node-1.key", "node-1.pem"])
        for folder in (ca, out):
            for name in os.listdir(folder):
                self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600, name)
        verified = subprocess.run(["openssl", "verify", "-CAfile", ca + "/ca.pem", out + "/node-1.pem"], capture_output=True, text=True)
        self.assertEqual(verified.returncode, 0, verified.stderr)
        text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", out + "/node-1.pem"], capture_output=True, text=True).stdout
        self.assertIn("URI:hive://h1/node/node-1", text)

        def certificate():
            with open(out + "/node-1.pem", encoding="ascii") as f:
                return f.read()

        before = certificate()
        again = self.run_cli(*node, key="")
        self.assertEqual(again.returncode, 2)
        self.assertIn("node-1.key is there already", again.stderr)
        self.assertIn("--force", again.stderr)
        self.assertEqual(certificate(), before)
        forced = self.run_cli(*node, "--force", "-o", "json", key="")
        self.assertEqual(forced.returncode, 0, forced.stderr)
        self.assertEqual(len(json.loads(forced.stdout)["files"]), 3)
        self.assertNotEqual(certificate(), before)
        self.assertEqual(self.run_cli("certs", "ca", "--out", ca, key="").returncode, 2)

    def test_certs_names_what_is_wrong(self):
        ca = os.path.join(self.dir.name, "ca")
        self.assertEqual(self.run_cli("certs", "ca", "--out", ca, key="").returncode, 0)
        common = ["--out", self.dir.name, "--hive"]
        for arguments, word in [(["a/b", "--ca", ca, *common, "h"], "NAME"), (["a", "--ca", ca, *common, "h i"], "--hive"),
                                (["a", "--ca", ca, *common, "h", "--address", "10.0.0.1:7072"], "--address"),
                                (["a", "--ca", ca + "/no", *common, "h"], "--ca"), (["a", "--ca", ca, *common, "h", "--days", "0"], "--days"),
                                (["a", "--ca", ca, "--out", ca], "--hive")]:
            wrong = self.run_cli("certs", "node", *arguments, key="")
            self.assertEqual(wrong.returncode, 2, wrong.stderr)
            self.assertIn(word, wrong.stderr)

    def test_apply_sends_the_manifest_and_shows_changes(self):
        self.hive.answers["POST", "/v1/apply"] = (200, {"created": 1, "entities": [
            {"kind": "agent", "name": "a", "change": "created", "revision": 1}]})
        manifest = self.file("m.yaml", "tenant: other\nagents:\n- name: a\n  spec: {behaviour: echo}\n")
        done = self.run_cli("apply", "-f", manifest, HIVE_TENANT="")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("1 created, 0 updated, 0 unchanged", done.stdout)
        _, _, body, headers = self.hive.seen[0]
        self.assertEqual(body, {"tenant": "other", "agents": [{"name": "a", "spec": {"behaviour": "echo"}}]})
        self.assertEqual(headers["Authorization"], "Bearer hive_k_s")

    def test_bad_manifest_is_usage_with_the_line(self):
        done = self.run_cli("apply", "-f", self.file("m.yaml", "a: 1\na: 2\n"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("m.yaml:2:1: 'a' is there twice", done.stderr)

    def test_error_names_the_field(self):
        self.hive.answers["POST", "/v1/apply"] = (400, {"error": {
            "code": "invalid_argument", "message": "unknown behaviour 'x'", "field": "agents[0].spec.behaviour"}})
        done = self.run_cli("apply", "-f", "-", stdin="agents: [{name: a, spec: {behaviour: x}}]")
        self.assertEqual(done.returncode, 1)
        self.assertIn("agents[0].spec.behaviour: unknown behaviour 'x'", done.stderr)

    def test_ask_prints_the_answer(self):
        self.hive.answers["POST", "/v1/tenants/demo/agents/ledger:ask"] = (200, {"payload": {"count": 3}})
        done = self.run_cli("ask", "ledger", "append", "-", "--key", "k1", "--deadline", "5s", stdin='{"op": "a"}')
        self.assertEqual(json.loads(done.stdout), {"count": 3})
        body = self.hive.seen[0][2]
        self.assertEqual((body["type"], body["payload"], body["idempotency_key"]), ("append", {"op": "a"}, "k1"))
        self.assertLessEqual(body["deadline_ms"], 5000)

    def test_ask_is_repeated_with_its_key_after_a_broken_connection(self):
        self.hive.answers["POST", "/v1/tenants/demo/agents/ledger:ask"] = ["break", "break", (200, {"payload": 1})]
        done = self.run_cli("ask", "ledger", "append")
        self.assertEqual((done.returncode, done.stdout), (0, "1\n"), done.stderr)
        self.assertEqual(len({seen[2]["idempotency_key"] for seen in self.hive.seen}), 1)

    def test_unknown_outcome_names_the_key(self):
        self.hive.answers["POST", "/v1/tenants/demo/agents/ledger:ask"] = "break"
        done = self.run_cli("ask", "ledger", "append", "--key", "k9", "--deadline", "700ms")
        self.assertEqual(done.returncode, 5)
        self.assertIn("--key k9", done.stderr)

    def test_payload_that_is_not_json(self):
        done = self.run_cli("ask", "ledger", "append", "word")
        self.assertEqual(done.returncode, 2)
        self.assertIn("not JSON", done.stderr)
        self.assertEqual(self.hive.seen, [])

    def test_not_found_denied_and_unavailable_have_their_codes(self):
        self.assertEqual(self.run_cli("get", "agent/x").returncode, 3)
        self.hive.answers["GET", "/v1/tenants/demo/agents/x"] = (401, {"error": {"code": "unauthenticated", "message": "no key"}})
        denied = self.run_cli("get", "agent/x", key="")
        self.assertEqual(denied.returncode, 4)
        self.assertIn("--key-file", denied.stderr)
        self.hive.answers["GET", "/v1/tenants/demo/agents/x"] = (429, {"error": {"code": "resource_exhausted", "retry_after_ms": 9}})
        self.assertEqual(self.run_cli("get", "agent/x").returncode, 5)

    def test_connection_refused_says_how_to_start(self):
        done = self.run_cli("status", HIVE_SERVER="http://127.0.0.1:1")
        self.assertEqual(done.returncode, 5)
        self.assertIn("hived --data", done.stderr)

    def test_key_from_data_directory(self):
        self.file("admin.key", "hive_admin_1\n")
        self.hive.answers["GET", "/v1/tenants"] = (200, {"tenants": [{"name": "demo", "id": 1}]})
        done = self.run_cli("get", "tenants", "--data", self.dir.name, key="")
        self.assertIn("demo", done.stdout)
        self.assertEqual(self.hive.seen[0][3]["Authorization"], "Bearer hive_admin_1")
        missing = self.run_cli("get", "tenants", "--data", "/nonexistent", key="")
        self.assertEqual(missing.returncode, 4)

    def test_lists_are_read_page_by_page(self):
        self.hive.answers["GET", "/v1/tenants/demo/agents"] = [
            (200, {"agents": [{"name": "a"}], "next_page_token": "p2"}), (200, {"agents": [{"name": "b"}]})]
        done = self.run_cli("get", "agents", "-o", "json")
        self.assertEqual([a["name"] for a in json.loads(done.stdout)["agents"]], ["a", "b"])
        self.assertIn("page_token=p2", self.hive.seen[1][1])

    def test_tenant_is_deleted_only_with_yes(self):
        self.assertEqual(self.run_cli("delete", "tenant/demo").returncode, 2)
        self.assertEqual(self.hive.seen, [])
        self.hive.answers["DELETE", "/v1/tenants/demo"] = (200, {"deleted": True})
        self.assertEqual(self.run_cli("delete", "tenant/demo", "--yes").returncode, 0)

    def test_watch_survives_a_hive_that_was_away(self):
        running = {"id": "t1", "state": "running", "progress": {"done": 1, "total": 2, "note": "reading"}}
        self.hive.answers["POST", "/v1/tenants/demo/tasks"] = (200, {"id": "t1", "state": "queued"})
        self.hive.answers["GET", "/v1/tenants/demo/tasks/t1"] = [
            (200, running), "break", "break", (503, {"error": {"code": "unavailable", "message": "loading"}}),
            (200, {"id": "t1", "state": "succeeded", "result": {"files": 7}})]
        done = self.run_cli("task", "submit", "survey", "run", "{}", "--watch")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("files: 7", done.stdout)

    def test_labels_take_one_word_each(self):
        self.hive.answers["POST", "/v1/tenants/demo/tasks"] = (200, {"id": "t1", "state": "queued"})
        done = self.run_cli("task", "submit", "survey", "--label", "a=1", "--label", "b=x=y", "run", "{}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.hive.seen[0][2]["labels"], {"a": "1", "b": "x=y"})

    def test_failed_task_fails_the_watch(self):
        self.hive.answers["GET", "/v1/tenants/demo/tasks/t1"] = (200, {
            "id": "t1", "state": "failed", "error": {"reason": "agent_crashed", "message": "boom"}})
        done = self.run_cli("task", "watch", "t1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("agent_crashed: boom", done.stdout)

    def test_past_events_are_printed_and_end(self):
        event = {"cursor": "c2", "at": 1, "type": "task.queued", "source": "queue/default", "data": {"id": "t1"}}
        self.hive.answers["GET", "/v1/tenants/demo/events"] = (
            200, f"id: c2\nevent: task.queued\ndata: {json.dumps(event)}\n\n")
        done = self.run_cli("events", "--from", "c1", "-o", "json")
        self.assertEqual(json.loads(done.stdout), event)
        self.assertEqual(self.hive.seen[0][3]["Last-Event-ID"], "c1")

    def test_new_key_goes_to_a_private_file_once(self):
        self.hive.answers["POST", "/v1/tenants/demo/keys"] = (200, {"id": "k1", "key": "hive_k1_secret", "role": "viewer"})
        path = os.path.join(self.dir.name, "new.key")
        done = self.run_cli("keys", "create", "--role", "viewer", "--out", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("secret", done.stdout + done.stderr)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(self.run_cli("keys", "create", "--out", path).returncode, 2)

    def test_every_help_has_examples(self):
        for words in ([], ["apply"], ["get"], ["delete"], ["ask"], ["tell"], ["task"], ["task", "submit"], ["task", "watch"],
                      ["task", "list"], ["task", "cancel"], ["tree"], ["explain"], ["events"], ["status"], ["health"],
                      ["keys"], ["keys", "create"], ["tenants"], ["tenants", "create"], ["completion"]):
            done = self.run_cli(*words, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("Examples:", done.stdout, words)
        self.assertIn("Exit codes", self.run_cli("--help").stdout)

    def test_wrong_usage(self):
        for words in (["nonsense"], ["ask"], ["get", "dogs"], ["ask", "a", "b", "--deadline", "5 parsecs"],
                      ["-o", "xml", "status"], ["--server", "https://x", "status"], []):
            self.assertEqual(self.run_cli(*words).returncode, 2, words)
        self.assertEqual(self.run_cli("tree", HIVE_TENANT="").returncode, 2)

    def test_completion_scripts_are_valid_shell(self):
        script = self.run_cli("completion", "bash").stdout
        words = subprocess.run(["bash", "-c", script + "\nCOMP_WORDS=(hivectl task su) COMP_CWORD=2; _hivectl; echo ${COMPREPLY[@]}"],
                               capture_output=True, text=True, check=True).stdout
        self.assertEqual(words, "submit\n")
        for line, count, found in (("search --mode ''", 3, "hybrid dense lexical\n"), ("collections create --metric i", 4, "inner_product\n"),
                                   ("get -o ''", 3, "table json\n")):
            done = subprocess.run(["bash", "-c", f"{script}\nCOMP_WORDS=(hivectl {line}) COMP_CWORD={count}; _hivectl; echo ${{COMPREPLY[@]}}"],
                                  capture_output=True, text=True, check=True)
            self.assertEqual(sorted(done.stdout.split()), sorted(found.split()), line)

    def test_version(self):
        self.assertIn("hivectl 0", self.run_cli("--version").stdout)

    def test_kinds_with_their_own_commands_are_named(self):
        for kind, command in (("collections", "collections"), ("queue/default", "queue"), ("schedules", "schedule")):
            done = self.run_cli("get", kind)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"hivectl {command} --help", done.stderr)

    def test_only_what_was_refused_is_called_not_executed(self):
        for status, code, word in ((503, "unavailable", "Not executed"), (429, "resource_exhausted", "Not executed"), (504, "unknown", "Try again")):
            self.hive.answers["GET", "/v1/tenants/demo/agents/x"] = (status, {"error": {"code": code, "message": "m", "retry_after_ms": 9}})
            self.assertIn(word, self.run_cli("get", "agent/x").stderr)

    def test_put_keeps_an_empty_text_and_repeats_with_its_key(self):
        path = "/v1/tenants/demo/collections/notes/items:put"
        dropped = (504, {"error": {"code": "unknown", "message": "m", "details": {"idempotency_key": "k1"}}})
        self.hive.answers["POST", path] = [dropped, (200, {"results": []})]
        done = self.run_cli("put", "notes", "--text", "", "--key", "k1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([seen[2] for seen in self.hive.seen], 2 * [{"items": [{"text": ""}], "idempotency_key": "k1"}])

    def test_import_goes_on_with_the_key_of_the_very_items(self):
        path = "/v1/tenants/demo/collections/notes/items:put"

        def lines(texts):
            return self.file("items.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))

        file = lines("abcd")
        stops = (400, {"error": {"code": "invalid_argument", "message": "stop"}})
        self.hive.answers["POST", path] = [(200, {"results": []}), stops]
        for texts, code in (("abcd", 1), ("abcd", 1), ("abce", 0)):
            lines(texts)
            if code == 0:
                self.hive.answers["POST", path] = (200, {"results": []})
            self.assertEqual(self.run_cli("import", "notes", file, "--batch", "2").returncode, code)
        first, second, repeated, changed = [seen[2]["idempotency_key"] for seen in self.hive.seen]
        self.assertEqual(second, repeated, "what may have been stored is not stored twice")
        self.assertEqual(len({first, second, changed}), 3, "another batch from the same line is another put")

    def test_drain_says_when_its_node_dies_meanwhile(self):
        moving = (200, {"node": "node-2", "state": "draining", "shards_left": 7, "handing_off": 1, "plan": []})
        gone = (404, {"error": {"code": "not_found", "message": 'no node named "node-2" is in the hive', "field": "node"}})
        self.hive.answers["POST", "/v1/nodes/node-2:drain"] = [moving, moving, gone]
        watched = self.run_cli("drain", "node-2", "--watch")
        self.assertEqual(watched.returncode, 1, watched.stderr)
        self.assertIn("node-2 is not in the hive any more: it ended while it still had 7 shards", watched.stderr)
        self.assertNotIn("no node named", watched.stderr)
        self.hive.answers["POST", "/v1/nodes/node-2:drain"] = gone
        self.assertEqual(self.run_cli("drain", "node-2", "--watch").returncode, 3, "one that was never there")

    def test_undrain_says_what_the_node_does(self):
        path = ("POST", "/v1/nodes/node-2:undrain")
        self.hive.answers[path] = (200, {"node": "node-2", "state": "active"})
        self.assertEqual(self.run_cli("undrain", "node-2").stdout, "node-2 takes shards again\n")
        self.hive.answers[path] = (200, {"node": "node-2", "state": "draining"})
        self.assertIn("node-2 is draining still", self.run_cli("undrain", "node-2").stdout)

    def test_export_of_nothing_leaves_no_file(self):
        out = os.path.join(self.dir.name, "out.jsonl")
        self.assertEqual(self.run_cli("export", "nope", out).returncode, 3)
        self.assertFalse(os.path.exists(out))


if __name__ == "__main__":
    unittest.main()
