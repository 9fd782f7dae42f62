#!/usr/bin/env python3
"""R7: collections whose vectors come from an OpenAI-compatible endpoint, on a real hived, with a server that fails as a script says:
errors, silence, broken answers, TLS. What is acknowledged has its right vector, and no text is embedded twice.

usage: embedding_test.py --bin DIR [--keep]
"""
import argparse
import http.client
import http.server
import json
import os
import random
import ssl
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "faults"))
from hive_process import Hive, check, run_test  # noqa: E402

DIMENSION = 16
NOTES = "/v1/tenants/demo/collections/notes"


def vector_of(text):
    chance = random.Random(text)
    return [round(chance.uniform(-1, 1), 6) for _ in range(DIMENSION)]


class Endpoint:
    """Answers /v1/embeddings; `fault` decides for each request what goes wrong: None, a status, or a word."""

    def __init__(self, certificate=None):
        self.fault = lambda: None
        self.texts, self.requests, self.keys = {}, 0, set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests += 1
                outer.keys.add(self.headers.get("Authorization"))
                fault = outer.fault()
                if fault == "silent":
                    time.sleep(2)
                    self.close_connection = True
                    return
                if fault == "close":
                    self.close_connection = True
                    return
                if isinstance(fault, int):
                    return self.answer(fault, json.dumps({"error": {"message": f"scripted {fault}"}}))
                vectors = [{"index": i, "embedding": vector_of(t)} for i, t in enumerate(body["input"])]
                if fault == "short":
                    vectors.pop()
                if fault == "dimension":
                    vectors = [{"index": v["index"], "embedding": v["embedding"] + [0.5]} for v in vectors]
                text = json.dumps({"object": "list", "model": body["model"], "data": vectors})
                if fault == "cut":
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text[:len(text) // 2].encode())
                    self.close_connection = True
                    return
                if fault == "garbage":
                    text = "<html>502</html>"
                if fault is None:
                    check(body["model"] == "test-model", f"model {body['model']}")
                    for t in body["input"]:
                        outer.texts[t] = outer.texts.get(t, 0) + 1
                self.answer(200, text)

            def answer(self, status, text):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if status == 429:
                    self.send_header("Retry-After", "0.05")
                self.end_headers()
                self.wfile.write(text.encode())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.server_address[1]}/v1/embeddings"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def start(options, folder, settings):
    os.makedirs(folder, exist_ok=True)
    hive = Hive(os.path.join(options.bin, "hived"), folder, settings)
    hive.start()
    hive.wait_ready()
    return hive


def put(hive, items, key=None, tries=1):
    body = {"items": items} | ({"idempotency_key": key} if key else {})
    status, answer = 0, {}  # nothing heard
    for _ in range(tries):
        try:
            status, answer = hive.request("POST", NOTES + "/items:put", body, timeout=40)
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
            continue
        if status == 200:
            return status, answer
        check(status in (429, 503, 504, 412, 409, 400), f"put: {status} {answer}")
        time.sleep(0.02)
    return status, answer


def right(hive, text, item):
    """The stored vector is the endpoint's, scaled."""
    status, got = hive.request("GET", f"{NOTES}/items/{item}?vector=true")
    check(status == 200, f"{item}: {status} {got}")
    wanted = vector_of(text)
    length = sum(x * x for x in wanted) ** 0.5
    check(all(abs(a - b / length) < 1e-5 for a, b in zip(got["vector"], wanted)), f"{item} has another vector")


def scripted_endpoint(options, folder, ends):
    chance = random.Random(options.seed)
    endpoint = Endpoint()
    key_file = os.path.join(folder, "key")
    with open(key_file, "w", encoding="ascii") as f:
        f.write("scripted-key\n")
    settings = [f"embedding.url={endpoint.url}", f"embedding.key_file={key_file}", "embedding.timeout=500ms", "embedding.backoff=20ms",
                "embedding.batch_texts=8", "embedding.deadline=5s"]
    hive = start(options, os.path.join(folder, "one"), settings)
    ends.callback(hive.end)
    hive.request("PUT", "/v1/tenants/demo", {})
    status, answer = hive.request("PUT", NOTES, {"dimension": DIMENSION, "embedder": "endpoint"})
    check(status == 400 and answer["error"]["field"] == "model", f"a model is required: {status} {answer}")
    created = subprocess.run([os.path.join(options.bin, "hivectl"), "--server", f"http://127.0.0.1:{hive.port}", "--data", hive.data, "-t", "demo",
                              "collections", "create", "notes", "--dimension", str(DIMENSION), "--embedder", "endpoint", "--model", "test-model"],
                             capture_output=True, text=True, check=False)
    check(created.returncode == 0, f"create: {created.stderr}")
    status, answer = hive.request("PUT", NOTES, {"dimension": DIMENSION, "embedder": "endpoint", "model": "other"})
    check(status in (409, 412) and answer["error"]["field"] == "spec", f"the model is pinned: {status} {answer}")

    # Every fault now and then; a kill in the middle.
    faults = [500, 503, 429, "close", "cut", "short", "garbage", "silent"]
    endpoint.fault = lambda: chance.choice(faults) if chance.random() < 0.25 else None
    texts = {f"n{i}": f"note {i % 190} about {i % 7}" for i in range(200)}
    names = sorted(texts)
    for begin in range(0, 200, 20):
        items = [{"id": n, "text": texts[n], "allow_duplicate": True} for n in names[begin:begin + 20]]
        if begin == 100:
            writer = threading.Thread(target=put, args=(hive, items, "killed", 1))
            writer.start()
            time.sleep(0.05)
            hive.kill()
            writer.join()
            hive.start()
            hive.wait_ready()
        status, answer = put(hive, items, "killed" if begin == 100 else f"k{begin}", tries=60)
        check(status == 200, f"put {begin}: {status} {answer}")
    check(endpoint.keys == {"Bearer scripted-key"}, f"keys {endpoint.keys}")
    endpoint.fault = lambda: None
    for n in chance.sample(names, 40):
        right(hive, texts[n], n)
    check(hive.request("GET", NOTES)[1]["items"] == 200, "each item once")
    twice = {t: n for t, n in endpoint.texts.items() if n > 2}
    check(not twice, f"embedded again and again: {twice}")

    # Rebuilt without it; searched with it; its absence is a typed error, and words go on.
    hive.kill()
    hive.start()
    hive.wait_ready()
    before = dict(endpoint.texts)
    status, answer = hive.request("POST", NOTES + ":search", {"text": texts["n5"], "mode": "dense", "k": 1})
    check(status == 200 and answer["hits"][0]["item"]["text"] == texts["n5"] and answer["hits"][0]["score"] > 0.999, f"search: {status} {answer}")
    status, answer = put(hive, [{"id": n, "text": texts[n], "allow_duplicate": True} for n in names[:50]])
    check(status == 200 and {r["status"] for r in answer["results"]} == {"unchanged"}, f"again: {answer}")
    asked = {t: n for t, n in endpoint.texts.items() if n != before.get(t)}
    check(asked.keys() == {texts["n5"]}, f"only the query was embedded: {asked}")
    status, answer = hive.request("POST", NOTES + ":pack", {"text": "a new question", "tokens": 200})
    check(status == 200 and answer["passages"], f"pack: {status} {answer}")
    endpoint.fault = lambda: "dimension"
    status, answer = hive.request("POST", NOTES + ":search", {"text": "asked for the first time"})
    check(answer["error"]["code"] == "failed_precondition" and answer["error"]["status"] and "17 components" in answer["error"]["message"], f"dimension: {answer}")
    endpoint.fault = lambda: 401
    status, answer = put(hive, [{"text": "refused"}])
    check(answer["error"]["code"] == "failed_precondition" and "scripted 401" in answer["error"]["message"], f"401: {answer}")
    endpoint.fault = lambda: 503
    began = time.monotonic()
    status, answer = hive.request("POST", NOTES + ":search", {"text": "nobody answers this"})
    check(status == 503 and answer["error"]["retry_after_ms"] > 0 and time.monotonic() - began < 15, f"down: {status} {answer}")
    status, answer = hive.request("POST", NOTES + ":search", {"text": "note", "mode": "lexical"})
    check(status == 200 and answer["hits"], f"words need no endpoint: {status}")
    check(hive.request("GET", NOTES)[1]["items"] == 200, "nothing of it is stored")
    check(hive.stop() == 0, "a stop while requests wait")

    # Without a URL; with a wrong one; with TLS that is trusted, and TLS that is not.
    hive.settings = []
    hive.start()
    hive.wait_ready()
    status, answer = put(hive, [{"text": "new"}])
    check(answer["error"]["code"] == "failed_precondition" and "embedding.url" in answer["error"]["message"], f"no endpoint: {answer}")
    hive.stop()
    certificate = (os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=scripted",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate[0], "-keyout", certificate[1]], check=True, capture_output=True)
    secure = Endpoint(certificate)
    hive.settings = [f"embedding.url={secure.url}", f"embedding.ca_file={certificate[0]}"]
    hive.start()
    hive.wait_ready()
    status, answer = put(hive, [{"id": "tls", "text": "over TLS"}], tries=3)
    check(status == 200, f"TLS: {status} {answer}")
    right(hive, "over TLS", "tls")
    hive.stop()
    hive.settings = [f"embedding.url={secure.url}", "embedding.attempts=1"]
    hive.start()
    hive.wait_ready()
    status, answer = put(hive, [{"text": "not trusted"}])
    check(status == 503 and "not trusted" not in secure.texts, f"a certificate that nobody signed: {status} {answer}")
    hive.stop()
    hive.settings = ["embedding.url=nonsense"]
    hive.start()
    check(hive.process.wait(30) != 0, "a wrong URL ends the start")
    with open(hive.log, encoding="utf-8", errors="replace") as f:
        check("embedding.url" in f.read()[-2000:], "and is named in the log")
    print("ok", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    return run_test("embedding", lambda folder, ends: scripted_endpoint(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
