#!/usr/bin/env python3
"""hived killed again and again while it hands out tasks, fires a schedule and cancels, and while partitions are added to the
queue: no task lost, none with two effects, no slot lost, doubled or early, and cancelled means cancelled.

    task_kill_test.py [--kills N] [--seed N]
"""
import argparse
import http.client
import os
import random
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import hive_process  # noqa: E402
import task_checker  # noqa: E402

BIN = os.environ.get("HIVE_BIN_DIR", os.path.join(HERE, "../../build/release/bin"))
AWAY = (OSError, http.client.HTTPException)


class Client(threading.Thread):
    """Submits tasks, each with a key of its own, and cancels some; asks again until it has an answer or is told to stop."""

    def __init__(self, hive, number, seed):
        super().__init__()
        self.hive, self.number, self.chance = hive, number, random.Random(seed * 1000 + number)
        self.journal, self.stopping = [], False

    def until_answered(self, *request):
        while not self.stopping:
            try:
                status, body = self.hive.request(*request, timeout=40)
                if status not in (429, 503, 504):
                    return status, body
            except AWAY:
                pass
            time.sleep(0.02)
        return None, None

    def run(self):
        count = 0
        while not self.stopping:
            count += 1
            op = f"c{self.number}-{count}"
            entry = {"op": op, "id": None, "cancelled_at": None}
            self.journal.append(entry)
            who = {"capability": "step"} if self.chance.random() < 0.3 else {"agent": f"s{self.chance.randrange(4)}"}
            status, task = self.until_answered("POST", "/v1/tenants/kill/tasks", {
                **who, "type": "work", "payload": {"op": op, "ms": self.chance.choice([0, 0, 20, 200]), "to": "ledger"},
                "retry": {"attempts": 20, "backoff_ms": 20, "backoff_max_ms": 200}, "idempotency_key": op})
            if status != 200:
                continue
            entry["id"] = task["id"]
            if self.chance.random() < 0.4:
                time.sleep(self.chance.random() * 0.2)
                entry["cancel_sent"] = True
                status, task = self.until_answered("POST", f"/v1/tenants/kill/tasks/{entry['id']}:cancel", {})
                if status == 200 and task["state"] == "cancelled":
                    status, answer = self.until_answered("POST", "/v1/tenants/kill/agents/ledger:ask", {"type": "list"})
                    if status == 200:
                        entry["cancelled_at"] = answer["payload"]["ops"]


def all_tasks(hive):
    tasks, page = [], ""
    while True:
        status, body = hive.request("GET", "/v1/tenants/kill/tasks?page_size=1000" + (f"&page_token={page}" if page else ""))
        if status != 200:
            raise RuntimeError(f"list: {status} {body}")
        tasks += body.get("tasks", [])
        page = body.get("next_page_token", "")
        if not page:
            return tasks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("HIVE_SEED", "1")))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        hive = hive_process.Hive(os.path.join(BIN, "hived"), folder)
        try:
            hive.start()
            hive.wait_ready()
            status, body = hive.request("POST", "/v1/apply", {"tenant": "kill", "agents": [
                {"name": f"s{i}", "spec": {"behaviour": "stepper", "capabilities": ["step"]}} for i in range(4)] + [
                {"name": "ledger", "spec": {"behaviour": "ledger"}}, {"name": "beats", "spec": {"behaviour": "ledger"}}]})
            if status != 200:
                raise RuntimeError(f"apply: {status} {body}")
            status, body = hive.request("PUT", "/v1/tenants/kill/schedules/beat", {
                "every_ms": 200, "catch_up": "all", "catch_up_max": 1000,
                "task": {"agent": "beats", "type": "append", "payload": {"op": "beat"}}})
            if status != 200:
                raise RuntimeError(f"schedule: {status} {body}")
            clients = [Client(hive, i, options.seed) for i in range(6)]
            for client in clients:
                client.start()
            for kill in range(options.kills):
                if kill in (options.kills // 3, options.kills // 2):
                    partitions = 2 if kill == options.kills // 3 else 4
                    status, body = hive.request("PUT", "/v1/tenants/kill", {"queue_partitions": partitions})
                    if status != 200:
                        raise RuntimeError(f"partitions: {status} {body}")
                time.sleep(chance.uniform(0.1, 1.2))
                hive.kill()
                time.sleep(chance.uniform(0, 0.5))
                hive.start()
                hive.wait_ready()
            time.sleep(1)
            for client in clients:
                client.stopping = True
            for client in clients:
                client.join()
            hive.request("DELETE", "/v1/tenants/kill/schedules/beat")
            end = time.monotonic() + 60
            while time.monotonic() < end:
                tasks = all_tasks(hive)
                if all(t["state"] in ("succeeded", "failed", "cancelled", "dead") for t in tasks):
                    break
                time.sleep(0.2)
            journal = [entry for client in clients for entry in client.journal]
            ledger = hive.ask("kill", "ledger", "list", None)["ops"]
            found, beats = {}, []
            for task in tasks:
                if task.get("labels", {}).get("schedule"):
                    beats.append((int(task["labels"]["due"]), task["submitted_at"]))
                    continue
                whole = hive.request("GET", f"/v1/tenants/kill/tasks/{task['id']}")[1]
                found[task["id"]] = {"state": task["state"], "op": whole["payload"]["op"]}
            stopped = hive.stop()
        finally:
            if hive.process.poll() is None:
                hive.process.kill()
                hive.process.wait()
    wrong = task_checker.check(journal, found, ledger, beats)
    cancelled = sum(1 for e in journal if e["cancelled_at"] is not None)
    print(f"{len(journal)} tasks, {cancelled} cancelled, {len(beats)} slots, {options.kills} kills")
    for sentence in wrong:
        print("VIOLATION:", sentence)
    if stopped != 0:
        print(f"hived did not stop cleanly: {stopped}")
    enough = len(journal) > 20 and cancelled > 0 and len(beats) > 5
    return 0 if not wrong and stopped == 0 and enough else 1


if __name__ == "__main__":
    sys.exit(main())
