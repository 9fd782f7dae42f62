#!/usr/bin/env python3
"""A hive of a hundred lines that keeps its promises, or breaks one of them: tests the kill test itself.

Takes hived's options and serves the few requests that the kill test makes, from a log that it writes before it answers.
TOY_DEFECT=lost: answers before anything is written. TOY_DEFECT=doubled: forgets idempotency keys.
TOY_DEFECT=torn: does a stepper's two halves in two writes.
"""
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DEFECT = os.environ.get("TOY_DEFECT", "")


class Store:
    """Lists by agent, and answers by key: what the log says."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "admin.key"), "w", encoding="ascii") as f:
            f.write("toy")
        path = os.path.join(folder, "log")
        self.lists, self.keys, self.lock = {}, {}, threading.RLock()
        if os.path.exists(path):
            with open(path, "rb") as f:
                whole = f.read()
            whole = whole[:whole.rfind(b"\n") + 1]  # a torn last line was never answered
            os.truncate(path, len(whole))
            for line in whole.splitlines():
                self.apply(json.loads(line))
        self.log = open(path, "ab", buffering=1 << 16 if DEFECT == "lost" else 0)

    def apply(self, record):
        for agent, op in record["entries"]:
            self.lists.setdefault(agent, []).append(op)
        if record.get("key"):
            self.keys[record["key"]] = (record["digest"], record["answer"])

    def commit(self, record):
        self.log.write(json.dumps(record).encode() + b"\n")
        self.apply(record)

    def ask(self, agent, body):
        """(status, answer)"""
        kind, payload, key = body["type"], body.get("payload") or {}, body.get("idempotency_key")
        if kind == "list":
            return 200, {"payload": {"ops": self.lists.get(agent, [])[payload["from"]:payload["from"] + payload["limit"]]}}
        if kind == "crash":
            return 422, {"error": {"code": "application", "message": "crashed"}}
        digest = json.dumps([agent, kind, payload])
        if key in self.keys and DEFECT != "doubled":
            known, answer = self.keys[key]
            if known != digest:
                return 409, {"error": {"code": "already_exists", "message": "the key is another's"}}
            return 200, {"payload": answer, "repeated": True}
        ledger, entries = payload.get("to", agent), []
        if kind == "work":
            entries.append((agent, payload["op"]))
        entries.append((ledger, payload["op"]))
        answer = {"forwarded": True} if kind == "forward" else {"count": len(self.lists.get(entries[0][0], [])) + 1}
        if kind == "work" and DEFECT == "torn":
            self.commit({"entries": entries[:1]})
            time.sleep(0.02)
            entries = entries[1:]
        self.commit({"entries": entries, "key": key, "digest": digest, "answer": answer})
        return 200, {"payload": answer}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.reply(200, {"status": "ok"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/apply":
            return self.reply(200, {})
        agent = self.path.split("/")[-1].split(":")[0]
        with self.server.store.lock:
            return self.reply(*self.server.store.ask(agent, body))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = Server(("127.0.0.1", int(options["--http"].rsplit(":", 1)[1])), Handler)
    server.store = Store(options["--data"])
    server.serve_forever()


if __name__ == "__main__":
    main()
