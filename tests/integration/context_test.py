#!/usr/bin/env python3
"""R7: collections on a real hived, through hivectl and HTTP: kill -9 in the middle of puts; what was acknowledged is there, what is
there is found, and the searches afterwards equal those of a hive that got the same items in peace.

usage: context_test.py --bin DIR [--kills N] [--seed S] [--items N] [--keep]
"""
import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))
from hive_process import Hive, check, run_test  # noqa: E402

WORDS = "lease epoch shard fence commit journal turn agent supervisor mailbox outbox timer queue task result key tenant search item vector".split()
QUERIES = ["lease epoch", "who fences a shard", "journal of a turn", "queue of tasks", "vector search items"]


def item(i):
    chance = random.Random(i)
    return {"id": f"i{i:06}", "text": f"note {i}: " + " ".join(chance.choice(WORDS) for _ in range(12)), "metadata": {"n": i, "even": i % 2 == 0}}


def put_all(hive, items, batch, acknowledged, stop):
    """Repeats with the same key until an answer came, as a client does."""
    for begin in range(0, len(items), batch):
        body = {"items": items[begin:begin + batch], "idempotency_key": f"put-{begin}"}
        while not stop.is_set():
            try:
                status, answer = hive.request("POST", "/v1/tenants/demo/collections/notes/items:put", body, timeout=10)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if status == 200:
                acknowledged.update(r["id"] for r in answer["results"])
                break
            check(status in (429, 503, 504), f"put: {status} {answer}")
            time.sleep(0.02)


def searches(hive):
    found = []
    for text in QUERIES:
        for mode in ("hybrid", "dense", "lexical"):
            for where in (None, {"even": True}, {"n": {"$lt": 50}}):
                body = {"text": text, "mode": mode, "k": 20}
                if where:
                    body["filter"] = where
                status, answer = hive.request("POST", "/v1/tenants/demo/collections/notes:search", body)
                check(status == 200 and answer["quality"] == "exact", f"search: {status} {answer}")
                found.append([(h["item"]["id"], round(h["score"], 6)) for h in answer["hits"]])
    return found


def start(options, folder, settings=()):
    os.makedirs(folder)
    hive = Hive(os.path.join(options.bin, "hived"), folder, settings)
    hive.start()
    hive.wait_ready()
    for path, body in (("/v1/tenants/demo", {}), ("/v1/tenants/demo/collections/notes", {"dimension": 64})):
        status, answer = hive.request("PUT", path, body)
        check(status == 200, f"{path}: {status} {answer}")
    return hive


def hivectl(options, hive, *words, fails=False):
    done = subprocess.run([os.path.join(options.bin, "hivectl"), "--server", f"http://127.0.0.1:{hive.port}", "--data", hive.data, "-t", "demo", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    check((done.returncode != 0) == fails, f"hivectl {words}: {done.returncode} {done.stdout} {done.stderr}")
    return done.stdout + (done.stderr if fails else "")


def bad_input(hive):
    """Everything hostile is a typed error that names its field, and nothing of it is stored."""
    def refused(verb, body, field, code="invalid_argument"):
        status, answer = hive.request("POST", "/v1/tenants/demo/collections/notes" + verb, body)
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        check(error.get("code") == code and error.get("field", "").startswith(field), f"{verb} {str(body)[:200]}: {status} {str(answer)[:300]}")

    good = {"text": "good"}
    before = hive.request("GET", "/v1/tenants/demo/collections/notes")[1]["items"]
    for body, field in (({}, "items"), ({"items": []}, "items"), ({"items": [good] * 1001}, "items"), ({"items": [good, {}]}, "items[1].text"),
                        ({"items": [good, {"text": "x", "vector": [1, 2]}]}, "items[1].vector"), ({"items": [{"text": "x", "vector": [0] * 64}]}, "items[0].vector"),
                        ({"items": [{"text": "x", "vector": [1e39] * 64}]}, "items[0].vector"), ({"items": [{"text": "x", "vector": "abc"}]}, "items[0].vector"),
                        ({"items": [{"text": "x", "trust": "system"}]}, "items[0].trust"), ({"items": [{"text": "x", "importance": 7}]}, "items[0].importance"),
                        ({"items": [{"text": "x", "metadata": {"$a": 1}}]}, "items[0].metadata"), ({"items": [{"text": "x", "metadata": [1]}]}, "items[0].metadata"),
                        ({"items": [{"text": "x", "ttl_ms": 0}]}, "items[0].ttl_ms"), ({"items": [{"text": "x", "id": "i" * 300}]}, "items[0].id"),
                        ({"items": [{"text": "x" * 70000}]}, "items[0].text"), ({"items": [{"text": "x", "txet": 1}]}, "items[0].txet")):
        refused("/items:put", body, field)
    refused("/items:put", {"items": [{"text": "x", "supersedes": "nobody"}]}, "items[0].supersedes", "not_found")
    refused("/items:put", {"items": [{"id": "new", "text": "x", "expected_version": 9}]}, "items[0].expected_version", "conflict")
    for body, field in (({}, "text"), ({"text": "x", "k": 0}, "k"), ({"text": "x", "k": 1_000_000_000}, "k"), ({"text": "x", "mode": "magic"}, "mode"),
                        ({"vector": [1, 2, 3]}, "vector"), ({"vector": [0] * 64}, "vector"), ({"text": "x", "filter": {"a": {"$bad": 1}}}, "filter"),
                        ({"text": "x", "filter": [1]}, "filter"), ({"text": "x", "filter": {"$or": {}}}, "filter"), ({"text": "x", "hops": 99}, "hops"),
                        ({"text": "x", "diversity": 5}, "diversity"), ({"text": "x", "dense_weight": -1}, "dense_weight"), ({"text": "x" * 20000}, "text")):
        refused(":search", body, field)
    deep = {"a": 1}
    for _ in range(40):
        deep = {"$not": deep}
    refused(":search", {"text": "x", "filter": deep}, "filter")
    refused(":pack", {"text": "x", "tokens": 0}, "tokens")
    status, answer = hive.request("POST", "/v1/tenants/demo/collections/nothing:search", {"text": "x"})
    check(status == 404, f"no such collection: {status} {answer}")
    status, answer = hive.request("PUT", "/v1/tenants/demo/collections/notes", {"dimension": 65})
    check(status == 409 and answer["error"]["field"] == "spec", f"another dimension: {status} {answer}")
    for text in ('"', "AND", "NEAR(", "a*", "'; drop table item;--", "((("):
        status, answer = hive.request("POST", "/v1/tenants/demo/collections/notes:search", {"text": text + " lease", "mode": "lexical"})
        check(status == 200, f"{text}: {status} {answer}")
    check(hive.request("GET", "/v1/tenants/demo/collections/notes")[1]["items"] == before, "nothing of it is stored")


def same_facts(hive, writers=64, facts=1000, batch=50):
    """So many writers of the same facts at once, each in an order of its own, leave each fact once."""
    status, answer = hive.request("PUT", "/v1/tenants/demo/collections/facts", {"dimension": 64})
    check(status == 200, f"facts: {status} {answer}")
    failed = []

    def write(number):
        mine = [{"text": f"fact number {i}"} for i in range(facts)]
        random.Random(number).shuffle(mine)
        for begin in range(0, facts, batch):
            body = {"items": mine[begin:begin + batch], "idempotency_key": f"{number}-{begin}"}
            for _ in range(200):
                try:
                    status, answer = hive.request("POST", "/v1/tenants/demo/collections/facts/items:put", body)
                except (OSError, http.client.HTTPException):
                    status, answer = 503, None
                if status not in (429, 503, 504):
                    break
                time.sleep(0.05)
            if status != 200:
                return failed.append((status, answer))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not failed, f"facts: {failed[:1]}")
    check(hive.request("GET", "/v1/tenants/demo/collections/facts")[1]["items"] == facts, "each fact once")
    for i in (0, facts // 2, facts - 1):
        status, answer = hive.request("POST", "/v1/tenants/demo/collections/facts:search", {"text": f"fact number {i}", "k": 1})
        check(status == 200 and answer["hits"][0]["item"]["text"] == f"fact number {i}", f"fact {i}: {answer}")


def two_tenants(hive):
    """One tenant's items are nowhere in another's collection of the same name; a put there changes nothing here."""
    def call(tenant, verb, body=None, method="POST"):
        return hive.request(method, f"/v1/tenants/{tenant}{verb}", body)

    for tenant in ("red", "blue"):
        check(call(tenant, "", {}, "PUT")[0] == 200, tenant)
        check(call(tenant, "/collections/shared", {"dimension": 64}, "PUT")[0] == 200, tenant)
        items = [{"id": f"i{i}", "text": f"{tenant} secret number {i}"} for i in range(50)] + [{"id": f"only-{tenant}", "text": "the same words"}]
        status, answer = call(tenant, "/collections/shared/items:put", {"items": items, "idempotency_key": "same"})
        check(status == 200 and not answer.get("repeated"), f"{tenant}: {status} {answer}")
    for tenant, other in (("red", "blue"), ("blue", "red")):
        for mode in ("hybrid", "dense", "lexical"):
            for verb, hits in ((":search", "hits"), (":pack", "passages")):
                status, answer = call(tenant, "/collections/shared" + verb, {"text": f"{other} secret number 7 the same words", "mode": mode, "k": 200})
                check(status == 200 and answer[hits], f"{verb}: {status} {answer}")
                found = [(h if hits == "hits" else h["hit"])["item"] for h in answer[hits]]
                check(not any(other in i["text"] or other in i["id"] for i in found), f"{tenant} sees {found}")
        check(call(tenant, f"/collections/shared/items/only-{other}", method="GET")[0] == 404, f"{tenant} gets an item of {other}")
    check(call("red", "/collections/shared/items:delete", {"ids": [f"i{i}" for i in range(50)]})[1]["deleted"] == 50, "red deletes")
    check(call("blue", "/collections/shared", method="GET")[1]["items"] == 51, "and blue keeps its own")
    check(call("red", "/collections/shared", method="DELETE")[0] == 200, "red deletes its collection")
    check(call("blue", "/collections/shared:search", {"text": "secret"})[1]["hits"], "and blue keeps its own")


def heavy_puts(hive):
    """Two puts as large as they may be: their vectors take seconds, and nobody waits for them in a turn."""
    status, answer = hive.request("PUT", "/v1/tenants/demo/collections/heavy", {})
    check(status == 200, f"heavy: {status} {answer}")
    answers = []

    def put(number):
        chance = random.Random(number)
        texts = ["".join(chance.choice("abcdefghijklmnopqrstuvwxyz   ") for _ in range(65536)) for _ in range(46)]
        answers.append(hive.request("POST", "/v1/tenants/demo/collections/heavy/items:put", {"items": [{"text": t} for t in texts]}, timeout=60))

    writers = [threading.Thread(target=put, args=(n,)) for n in range(2)]
    for t in writers:
        t.start()
    for t in writers:
        t.join()
    check(all(status == 200 for status, _ in answers), f"heavy: {answers}")
    status, answer = hive.request("POST", "/v1/tenants/demo/collections/heavy:search", {"text": "abc", "k": 92, "mode": "dense"})
    check(status == 200 and len(answer["hits"]) == 92, f"heavy: {status} {str(answer)[:200]}")
    status, metrics = hive.request("GET", "/metrics")
    check(status == 200 and "hive_turns_over_limit_total" in metrics, f"metrics: {status} {metrics[:500]}")
    overdue = [line for line in metrics.splitlines() if line.startswith("hive_turns_over_limit_total") and not line.endswith(" 0")]
    check(not overdue, f"a turn was over its limit of a second: {overdue}")


def commands(options, hive, folder, count):
    """hivectl: export, import into another collection, resume, search, get, delete."""
    exported = os.path.join(folder, "items.jsonl")
    hivectl(options, hive, "export", "notes", exported)
    lines = open(exported, encoding="utf-8").read().splitlines()
    check(len(lines) == count, f"{len(lines)} lines exported, {count} items there")
    check(hivectl(options, hive, "export", "notes", exported, fails=True), "an existing file is not overwritten")
    with open(exported, "w", encoding="utf-8") as f:
        f.write("\n".join(lines[:100]) + "\n" + lines[100][:20])  # cut off in the middle of a line
    hivectl(options, hive, "export", "notes", exported, "--resume")
    for foreign in ("a diary\nof mine\n", '{"a": 1}\n{"b": 2}\n', "{}", "x"):
        other = os.path.join(folder, "other.txt")
        with open(other, "w", encoding="utf-8") as f:
            f.write(foreign)
        hivectl(options, hive, "export", "notes", other, "--resume", fails=True)
        check(open(other, encoding="utf-8").read() == foreign, "what is no export is left alone")
    check(open(exported, encoding="utf-8").read().splitlines() == lines, "a resumed export is whole")
    hivectl(options, hive, "collections", "create", "copy", "--dimension", "64")
    with open(exported, "a", encoding="utf-8") as f:
        f.write("not json\n")
    said = hivectl(options, hive, "import", "copy", exported, fails=True)
    check(f":{count + 1}:" in said, f"the line is named: {said}")
    check(hive.request("GET", "/v1/tenants/demo/collections/copy")[1]["items"] == count, "what came before a bad line is stored")
    with open(exported, "w", encoding="utf-8") as f:
        f.write("\n".join(reversed(lines)) + "\n")
    hivectl(options, hive, "import", "copy", exported, fails=True)  # another file by now: none of its lines may be left out
    with open(exported, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    said = json.loads(hivectl(options, hive, "import", "copy", exported, "-o", "json"))
    check(said["lines"] == count, f"import: {said}")
    check(not os.path.exists(exported + ".imported"), "the mark is gone")
    said = json.loads(hivectl(options, hive, "import", "copy", exported, "-o", "json"))
    check(said["results"] == {"unchanged": count}, f"imported again: {said}")
    old = os.path.join(folder, "old.jsonl")
    with open(old, "w", encoding="utf-8") as f:
        f.write('{"id": "past", "text": "long gone", "expires_at": 1000}\n{"id": "kept", "text": "still here"}\n')
    said = json.loads(hivectl(options, hive, "import", "copy", old, "-o", "json"))
    check(said["results"] == {"created": 1, "expired": 1}, f"an expired line does not stop an import: {said}")
    with open(old, "w", encoding="utf-8") as f:
        f.write('{"id": "fine", "text": "fine"}\n\n{"id": "bad", "text": "bad", "importance": 7}\n')
    check("old.jsonl:3:" in hivectl(options, hive, "import", "copy", old, fails=True), "the hive's no names the line of the file")
    hivectl(options, hive, "put", "copy", json.dumps({"id": "evil", "text": "evil \x1b]0;owned\x07 \x9b31m text", "metadata": {"file": "\x1b[2J"}}))
    for words in (("pack", "copy", "evil text", "--tokens", "40"), ("items", "get", "copy", "evil"), ("search", "copy", "evil text")):
        shown = hivectl(options, hive, *words)
        check("evil" in shown and not any(c in shown for c in "\x1b\x07\x9b"), f"{words}: {shown!r}")
    hivectl(options, hive, "collections", "create", "bare", "--dimension", "8", "--embedder", "none")
    hivectl(options, hive, "put", "bare", json.dumps({"id": "v", "vector": [1, 0, 0, 0, 0, 0, 0, 0]}))
    hivectl(options, hive, "export", "bare", os.path.join(folder, "bare.jsonl"))
    hivectl(options, hive, "items", "delete", "bare", "v")
    hivectl(options, hive, "import", "bare", os.path.join(folder, "bare.jsonl"))
    hivectl(options, hive, "items", "delete", "copy", "kept", "evil")
    one = json.loads(hivectl(options, hive, "search", "copy", "lease epoch", "-k", "1", "-o", "json"))
    two = json.loads(hivectl(options, hive, "search", "notes", "lease epoch", "-k", "1", "-o", "json"))
    check(one["hits"][0]["item"]["id"] == two["hits"][0]["item"]["id"], "the copy answers as the original")
    hivectl(options, hive, "put", "copy", "--text", "a hand-written note", "--id", "by/hand: 1", "--source", "me", "--metadata", '{"file": "x.md", "line": 3, "last_line": 5}')
    check("x.md:3-5" in hivectl(options, hive, "search", "copy", "hand-written"), "search shows file and lines")
    check(json.loads(hivectl(options, hive, "items", "get", "copy", "by/hand: 1", "-o", "json"))["source"] == "me", "get by an odd id")
    check("a hand-written note" in hivectl(options, hive, "pack", "copy", "hand-written", "--tokens", "40"), "pack")
    hivectl(options, hive, "items", "delete", "copy", "by/hand: 1")
    hivectl(options, hive, "items", "get", "copy", "by/hand: 1", fails=True)
    hivectl(options, hive, "put", "copy", "--text", "gone in a moment", "--id", "short", "--ttl", "300ms")
    time.sleep(0.4)
    hivectl(options, hive, "items", "get", "copy", "short", fails=True)
    check("gone" not in hivectl(options, hive, "search", "copy", "gone in a moment", "--mode", "lexical"), "expired")
    check("copy" in hivectl(options, hive, "collections", "list"), "list")
    hivectl(options, hive, "collections", "delete", "copy")
    hivectl(options, hive, "search", "copy", "lease", fails=True)


def killed_and_calm(options, folder, ends):
    chance = random.Random(options.seed)
    items = [item(i) for i in range(options.items)]
    hive = start(options, os.path.join(folder, "killed"))
    ends.callback(hive.end)
    acknowledged, stop = set(), threading.Event()
    writer = threading.Thread(target=put_all, args=(hive, items, 20, acknowledged, stop))
    writer.start()
    kills = 0
    while kills < options.kills and writer.is_alive():
        time.sleep(chance.uniform(0.02, 0.3))
        hive.kill()
        kills += 1
        hive.start()
        hive.wait_ready()
        known = set(acknowledged)
        for one in chance.sample(sorted(known), min(20, len(known))):  # what was acknowledged is there
            status, answer = hive.request("GET", f"/v1/tenants/demo/collections/notes/items/{one}")
            check(status == 200 and answer["text"] == items[int(one[1:])]["text"], f"{one}: {status} {answer}")
    writer.join()
    check(len(acknowledged) == options.items, f"{len(acknowledged)} acknowledged")
    check(hive.request("GET", "/v1/tenants/demo/collections/notes")[1]["items"] == options.items, "each item once")
    after_kills = searches(hive)
    hive.kill()
    hive.start()
    hive.wait_ready()
    check(searches(hive) == after_kills, "rebuilt from the rows, the same answers")

    calm = start(options, os.path.join(folder, "calm"), ["node.workers=2", "entity.turn_limit=1000"])
    ends.callback(calm.end)
    put_all(calm, items, 100, set(), stop)
    check(searches(calm) == after_kills, "a hive that was never killed answers the same")
    print(f"killed {kills} times in the middle of {options.items} puts: the same answers", flush=True)

    bad_input(calm)
    same_facts(calm)
    two_tenants(calm)
    heavy_puts(calm)
    commands(options, calm, folder, options.items)
    print("ok", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    return run_test("context", lambda folder, ends: killed_and_calm(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
