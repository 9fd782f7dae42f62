#!/usr/bin/env python3
"""A real hived at its bounds and at bad input: exit codes, keys, manifests, deadlines, and the audit of every RPC that promises one.

usage: real_node_test.py --bin DIR [--keep]
"""
import argparse
import glob
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))
from hive_process import Hive, check, run_test  # noqa: E402


def agents(count, prefix="a", **spec):
    return [{"name": f"{prefix}{i}", "spec": {"behaviour": "echo", **spec}} for i in range(count)]


def error_of(answer):
    status, body = answer
    return status, body["error"].get("code"), body["error"].get("field", "")


# -- before it runs

def exit_codes(hive, options):
    def ends(*arguments):
        return subprocess.run([os.path.join(options.bin, "hived"), *arguments], capture_output=True, text=True, timeout=30, check=False)

    check(ends("--no-such-option").returncode == 2, "an unknown option")
    check(ends("--data").returncode == 2, "an option without its value")
    check(ends().returncode == 2, "no --data")
    check(ends("--help").returncode == 0, "help")
    done = ends("--check-config", "--set", "files.read_roots=/usr,/tmp")
    check(done.returncode == 2 and "files.read_roots" in done.stderr, f"a comma in a path: {done.stderr}")
    check(ends("--check-config", "--set", "files.read_roots=/usr:/tmp").returncode == 0, "paths that are there")
    empty = os.path.join(hive.folder, "empty")
    for wrong in ("files.read_roots=/no/such", "embedding.url=ftp://x", "embedding.key_file=/no/such"):
        more = ["--set", wrong] + (["--set", "embedding.url=http://127.0.0.1:1"] if "key_file" in wrong else [])
        for how in (["--check-config"], ["--data", empty]):
            done = ends(*how, *more)
            check(done.returncode == 2 and wrong.split("=")[0] in done.stderr, f"{how} {wrong}: {done.returncode} {done.stderr}")
    check(not os.path.exists(empty), "and nothing was made")
    taken = ends("--data", os.path.join(hive.folder, "second"), "--http", f"127.0.0.1:{hive.port}")
    check(taken.returncode == 1 and "api.http" in taken.stderr, f"an address in use: {taken.returncode} {taken.stderr}")


# -- manifests

def manifests(hive, _):
    bad = {"tenant": "brandnew", "agents": [{"name": "a", "spec": {"behaviour": "nope"}}]}
    for more in ({}, {"tenant_spec": {"weight": 3}}):
        check(error_of(hive.request("POST", "/v1/apply", {**bad, **more})) == (400, "invalid_argument", "agents[0].spec.behaviour"), "it is refused")
        check(hive.request("GET", "/v1/tenants/brandnew")[0] == 404, "and nothing of it is there")
    for wrong, field in (({"supervisors": [{"name": "s", "spec": {"supervisor": "t"}}, {"name": "t", "spec": {"supervisor": "s"}}]}, "supervisors[0].spec.supervisor"),
                         ({"agents": [{"name": "a", "spec": {"behaviour": "echo", "supervisor": "nobody"}}]}, "agents[0].spec.supervisor"),
                         ({"agents": agents(2, "x") + agents(1, "x")}, "agents[2].name")):
        check(error_of(hive.request("POST", "/v1/apply", {"tenant": "brandnew", **wrong})) == (400, "invalid_argument", field), field)
        check(hive.request("GET", "/v1/tenants/brandnew")[0] == 404, "nothing of it is there")
    good = {"tenant": "brandnew", "tenant_spec": {"weight": 3}, "agents": agents(2)}
    check(hive.request("POST", "/v1/apply", good)[1].get("created") == 2, "a good one makes the tenant")
    heavier = {"tenant": "brandnew", "tenant_spec": {"weight": 9}, "agents": bad["agents"]}
    check(hive.request("POST", "/v1/apply", heavier)[0] == 400, "a bad one")
    check(hive.request("GET", "/v1/tenants/brandnew")[1]["spec"]["weight"] == 3, "leaves the tenant as it is")


def large_manifests(hive, _):
    """More than entity.payload_bytes, and more changes than entity.outbox_messages."""
    big = {"tenant": "big", "agents": agents(20_000, "agent-with-a-rather-long-name-")}
    answer = hive.request("POST", "/v1/apply", big, timeout=120)
    check(answer[0] == 200 and answer[1]["created"] == 20_000 and not answer[1].get("entities"), f"{answer[0]} {str(answer[1])[:200]}")
    for agent in big["agents"]:
        agent["spec"]["weight"] = 2
    answer = hive.request("POST", "/v1/apply", big, timeout=120)
    check(answer[0] == 200 and answer[1]["updated"] == 20_000, f"{answer[0]} {str(answer[1])[:200]}")
    answer = hive.request("POST", "/v1/apply", {"tenant": "big", "agents": agents(10, "y", config={"filler": "x" * 900_000})}, timeout=120)
    check(answer[0] == 413, f"more than the API takes: {answer[0]} {str(answer[1])[:200]}")


# -- asks

def deadlines(hive, _):
    hive.request("POST", "/v1/apply", {"tenant": "demo", "agents": [{"name": "slow", "spec": {"behaviour": "stepper"}}, {"name": "ledger", "spec": {"behaviour": "ledger"}}]})
    first = threading.Thread(target=lambda: hive.ask("demo", "slow", "work", {"op": "first", "ms": 1500}))
    first.start()
    time.sleep(0.3)
    waited = hive.request("POST", "/v1/tenants/demo/agents/slow:ask", {"type": "work", "payload": {"op": "late", "ms": 1}, "deadline_ms": 300})
    check(error_of(waited)[:2] == (503, "rejected"), f"it never began: {waited}")
    begun = hive.request("POST", "/v1/tenants/demo/agents/ledger:ask", {"type": "append", "payload": {"op": "x"}, "deadline_ms": 300})
    check(begun[0] == 200, f"{begun}")
    first.join()
    check(hive.ask("demo", "slow", "list") == {"ops": ["first"]}, "and it never ran")
    cut = hive.request("POST", "/v1/tenants/demo/agents/slow:ask", {"type": "work", "payload": {"op": "second", "ms": 800}, "deadline_ms": 200})
    check(error_of(cut)[:2] == (504, "unknown"), f"it had begun: {cut}")


def waiting_asks(hive, _):
    """node.asks_waiting of this hive is 3, node.asks_under_way 1: the flood of one tenant is told so."""
    for tenant in ("flood", "calm"):
        hive.request("POST", "/v1/apply", {"tenant": tenant, "agents": [{"name": "ledger", "spec": {"behaviour": "ledger"}}]})
    refused, stop = [], time.monotonic() + 20

    def ask_on(tenant):
        while not refused and time.monotonic() < stop:
            status, body = hive.request("POST", f"/v1/tenants/{tenant}/agents/ledger:ask", {"type": "append", "payload": {"op": "x"}})
            if status == 429 and "tenant_overloaded" in json.dumps(body):
                refused.append(tenant)
            else:
                check(status in (200, 429), f"{status} {body}")

    threads = [threading.Thread(target=ask_on, args=(tenant,)) for tenant in ["flood"] * 16 + ["calm"]]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("flood" in refused, "nobody was refused")


def bad_input(hive, _):
    path = "/v1/tenants/demo/agents/ledger:ask"

    def raw(body):
        with socket.create_connection(("127.0.0.1", hive.port), timeout=10) as s:
            s.sendall(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + hive.key().encode() +
                      b"\r\nConnection: close\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
            answer = b""
            while block := s.recv(65536):
                answer += block
        return int(answer.split(b" ")[1])

    before = hive.ask("demo", "ledger", "list")
    for body in (b'{"type":"append","payload":{"op":"x"}', b"\xff\xfe", b"[" * 5000, b'{"type":"append","payload":{"op":"\xc3\x28"}}',
                 b'{"type":"append","payload":{"op":"x"},"colour":1}', b'{"type":7}', b'{"type":"append","type":"append"}', b"\0" * 100):
        check(raw(body) == 400, f"{body[:40]}")
    check(raw(b'{"type":"append","payload":"' + b"x" * 2_000_000 + b'"}') == 400, "a payload beyond entity.payload_bytes")
    check(raw(b'{"type":"append","payload":"' + b"x" * 9_000_000 + b'"}') == 413, "a body beyond api.body_bytes")
    for name in ("..%2fledger", "%00", "a%20b", "x" * 200):
        check(hive.request("POST", f"/v1/tenants/demo/agents/{name}:ask", {"type": "append"})[0] in (400, 404), name)
    check(hive.ask("demo", "ledger", "list") == before, "nothing of it was stored")


def explain(hive, _):
    for name, status in (("tenant/demo", 200), ("tenant/flood", 404), ("queue/default", 200), ("queue/NOPE", 404), ("collection/none", 404), ("context/none", 400)):
        check(hive.request("GET", "/v1/explain/demo/" + name)[0] == status, name)


# -- hivectl

def interrupted(hive, options):
    environment = {**os.environ, "HIVE_SERVER": f"http://127.0.0.1:{hive.port}", "HIVE_DATA": hive.data, "HIVE_TENANT": "demo"}
    hivectl = os.path.join(options.bin, "hivectl")
    ask = subprocess.Popen([hivectl, "ask", "slow", "work", '{"op": "third", "ms": 1000}', "--key", "mine"], env=environment, stderr=subprocess.PIPE, text=True)
    time.sleep(0.4)
    ask.send_signal(signal.SIGINT)
    said = ask.communicate(timeout=10)[1]
    check(ask.returncode == 5 and "--key mine" in said, f"{ask.returncode} {said}")
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([hivectl, "tree"], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    check(done.returncode == 1 and "standard output" in done.stderr, f"{done.returncode} {done.stderr}")
    done = subprocess.run([hivectl, "apply", "-f", "/dev/zero"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 2 and "larger than" in done.stderr, f"{done.returncode} {done.stderr}")


# -- the audit

def promised_audits():
    names = set()
    for file in glob.glob(os.path.join(SOURCE, "runtime/api/hive/v1/*.proto")):
        with open(file, encoding="utf-8") as f:
            for rpc in re.finditer(r"rpc (\w+)\(.*?\n  \}", f.read(), re.S):
                if "audited: true" in rpc.group(0):
                    names.add(rpc.group(1))
    return names


def audit(hive, _):
    """Calls every RPC that promises an audit row. What each leaves is read when the hive has stopped."""
    at = "/v1/tenants/watched"

    def letter():
        hive.ask("watched", "relay", "forward", {"to": "slow", "op": "x"})
        end = time.monotonic() + 10
        while time.monotonic() < end:
            letters = hive.request("GET", at + "/dead-letters")[1].get("dead_letters", [])
            if letters:
                return letters[0]["id"]
            time.sleep(0.05)
        raise AssertionError("no dead letter")

    def call(method, path, body=None):
        status, answer = hive.request(method, path, body)
        check(status == 200, f"{method} {path}: {status} {answer}")
        return answer

    wanted = {}
    done = wanted.setdefault
    call("PUT", at, {"weight": 2}), done("PutTenant", ("tenant.create", "tenant/watched"))
    call("POST", "/v1/apply", {"tenant": "watched", "agents": [{"name": "relay", "spec": {"behaviour": "relay"}}, {"name": "slow", "spec": {"behaviour": "stepper"}}]})
    done("Apply", ("agent.created", "agent/relay"))
    for kind, spec in (("agent", {"behaviour": "echo"}), ("supervisor", {})):
        path, title = f"{at}/{kind}s/one", kind.capitalize()
        call("PUT", path, spec), done(f"Put{title}", (f"{kind}.created", f"{kind}/one"))
        for verb in ("stop", "start", "restart"):
            call("POST", f"{path}:{verb}", {}), done(f"{verb.capitalize()}{title}", (f"{kind}.{verb}", f"{kind}/one"))
        call("DELETE", path), done(f"Delete{title}", (f"{kind}.delete", f"{kind}/one"))
    call("PUT", at + "/collections/notes", {}), done("PutCollection", ("context.created", "context/notes"))
    call("DELETE", at + "/collections/notes"), done("DeleteCollection", ("context.delete", "context/notes"))
    key = call("POST", at + "/keys", {"role": "viewer"})["id"]
    done("CreateKey", ("key.create", f"key/{key}"))
    call("DELETE", f"{at}/keys/{key}"), done("DeleteKey", ("key.delete", f"key/{key}"))
    call("PUT", at + "/schedules/hourly", {"every_ms": 3_600_000, "task": {"agent": "slow", "type": "work"}})
    done("PutSchedule", ("schedule.create", "schedule/hourly"))
    call("DELETE", at + "/schedules/hourly"), done("DeleteSchedule", ("schedule.delete", "schedule/hourly"))
    call("POST", at + "/queues/default:pause", {}), done("PauseQueue", ("queue.pause", None))
    call("POST", at + "/queues/default:resume", {}), done("ResumeQueue", ("queue.resume", None))
    call("POST", at + "/queues/default:limit", {"agent": "slow", "concurrency": 2}), done("LimitQueue", ("queue.limit", None))
    one = letter()
    call("POST", f"{at}/dead-letters/{one}:drop", {}), done("DropDeadLetter", ("dead_letter.drop", None))
    two = letter()
    call("POST", f"{at}/dead-letters/{two}:redrive", {}), done("RedriveDeadLetter", ("dead_letter.redrive", None))
    call("DELETE", at), done("DeleteTenant", ("tenant.delete", "tenant/watched"))
    check(set(wanted) == promised_audits(), f"not the RPCs that say audited: {set(wanted) ^ promised_audits()}")
    return wanted


def audit_is_there(hive, wanted):
    with sqlite3.connect(f"file:{hive.data}/hive.db?mode=ro", uri=True) as store:
        rows = store.execute("select principal, action, target from audit").fetchall()
    mine = "key:" + hive.key().split("_")[1]
    for rpc, (action, target) in wanted.items():
        found = [r for r in rows if r[1] == action and (target is None or r[2] == target)]
        check(found, f"{rpc} left no row {action} {target}")
        check(any(who == mine for who, _, _ in found), f"{rpc}: by {found} and not by {mine}")
        check(all(what for _, _, what in found), f"{rpc} names nothing")


# -- keys

def keys(hive, _):
    """Of a hive that is stopped: its store goes, or the key's file does."""
    def log():
        with open(hive.log, encoding="utf-8", errors="replace") as f:
            return f.read().rsplit("=== start", 1)[1]

    for file in glob.glob(os.path.join(hive.data, "hive.db*")):
        os.remove(file)
    hive.start()
    hive.wait_ready()
    check(hive.request("GET", "/v1/tenants")[0] == 200, "the file holds a key of the new store")
    hive.stop()
    file = os.path.join(hive.data, "admin.key")
    good = hive.key()
    for text in ("hive_" + "0" * 16 + "_" + "0" * 64, "", "garbage"):
        with open(file, "w", encoding="ascii") as f:
            f.write(text)
        hive.start()
        hive.wait_ready()
        check("delete the file and start again" in log(), f"a key that is not the store's is told: {text!r}")
        hive.stop()
    os.remove(file)
    hive.start()
    hive.wait_ready()
    check(hive.key() != good and hive.request("GET", "/v1/tenants")[0] == 200, "it was made anew")


def a_real_node(options, folder, ends):
    hive = Hive(os.path.join(options.bin, "hived"), folder, ["node.workers=2", "node.asks_under_way=1", "node.asks_waiting=3"])
    ends.callback(hive.end)
    hive.start()
    hive.wait_ready()
    for section in (exit_codes, manifests, large_manifests, deadlines, waiting_asks, bad_input, explain, interrupted):
        begun = time.monotonic()
        section(hive, options)
        print(f"{section.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
    wanted = audit(hive, options)
    check(hive.stop() == 0, "hived stops cleanly")
    audit_is_there(hive, wanted)
    print("audit: every RPC that promises it", flush=True)
    keys(hive, options)
    check(hive.stop() == 0, "hived stops cleanly")
    print("ok")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    return run_test("real-node", lambda folder, ends: a_real_node(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
