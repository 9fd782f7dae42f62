#!/usr/bin/env python3
"""A message that kills the process does so twice and never a third time; a turn that loops ends by exit and quarantine; an
agent that eats memory ends quarantined, and the process lives.

The messages are tasks: the queue sends them again after each start, until their agent has answered.
"""
import http.client
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import hive_process  # noqa: E402

BIN = os.environ.get("HIVE_BIN_DIR", os.path.join(HERE, "../../build/release/bin"))
STUCK = 86
LIMITS = ["node.workers=2", "entity.turn_limit=300"]


class Failure(Exception):
    pass


def expect(what, got, wanted):
    print(f"  {what}: {got}")
    if got != wanted:
        raise Failure(f"{what}: got {got}, expected {wanted}")


def submit(hive, agent, kind):
    try:
        hive.request("POST", "/v1/tenants/t/tasks", {"agent": agent, "type": kind, "payload": None})
    except (OSError, http.client.HTTPException):
        pass  # the process died of it before it could answer: the task is there all the same


def ends_with(hive, code, seconds=30):
    try:
        expect("hived ends with", hive.process.wait(seconds), code)
    except subprocess.TimeoutExpired:
        raise Failure(f"hived lives after {seconds} s") from None


def outcome(hive, agent, seconds=10):
    """How the agent's one task ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tasks = [t for t in hive.request("GET", "/v1/tenants/t/tasks")[1]["tasks"] if t["agent"] == agent]
        if len(tasks) == 1 and tasks[0]["state"] not in ("queued", "running"):
            return tasks[0]["state"], tasks[0].get("error", {}).get("reason")
        time.sleep(0.05)
    return "not ended", None


def start(hive):
    hive.start()
    try:
        hive.wait_ready()
    except hive_process.HiveDied:
        pass  # of the poison, before anybody could see it ready


def scenario(name, kinds, code, settings, neighbour_during=False):
    """`kinds`: one poisonous task for each of as many agents."""
    print(name)
    with tempfile.TemporaryDirectory() as folder:
        hive = hive_process.Hive(os.path.join(BIN, "hived_faulty"), folder, LIMITS + settings)
        try:
            start(hive)
            agents = [{"name": f"bad{i}", "spec": {"behaviour": "saboteur"}} for i in range(len(kinds))]
            status, _ = hive.request("POST", "/v1/apply", {"tenant": "t", "agents": agents + [
                {"name": f"good{i}", "spec": {"behaviour": "ledger"}} for i in range(8)]})
            expect("apply", status, 200)
            for i in range(8):
                hive.ask("t", f"good{i}", "append", {"op": "before"})
            for i, kind in enumerate(kinds):
                submit(hive, f"bad{i}", kind)
            if neighbour_during:  # one worker loops; agents of other shards go on
                time.sleep(0.6)
                answered = sum(hive.request("POST", f"/v1/tenants/t/agents/good{i}:ask", {
                    "type": "list", "payload": {}, "deadline_ms": 300})[0] == 200 for i in range(8))
                print(f"  neighbours that answered meanwhile: {answered} of 8")
                if answered < 7:  # one of them may live in the shard that is held
                    raise Failure("the neighbours stand still")
                metrics = hive.request("GET", "/metrics")[1]
                expect("turns over the limit", 'hive_turns_over_limit_total' in metrics and any(
                    line.startswith("hive_turns_over_limit_total") and line.rstrip().endswith(" 1") for line in metrics.splitlines()), True)
            ends_with(hive, code)
            start(hive)
            ends_with(hive, code)
            hive.start()
            hive.wait_ready()
            for i in range(len(kinds)):
                expect("the task in the third life", outcome(hive, f"bad{i}"), ("failed", "poison"))
                expect("the agent itself", hive.ask("t", f"bad{i}", "work"), {"did": "work"})
            for i in range(8):
                hive.ask("t", f"good{i}", "append", {"op": "after"})
                expect(f"good{i}", hive.ask("t", f"good{i}", "list", {})["ops"], ["before", "after"])
            expect("stops in order", hive.stop(), 0)
            hive.start()
            hive.wait_ready()
            expect("and once more", hive.stop(), 0)
        except Failure:
            with open(hive.log, encoding="utf-8", errors="replace") as log:
                print("".join(log.readlines()[-25:]))
            raise
        finally:
            if hive.process.poll() is None:
                hive.process.kill()
                hive.process.wait()


def glutton():
    print("an agent that eats memory")
    with tempfile.TemporaryDirectory() as folder:
        hive = hive_process.Hive(os.path.join(BIN, "hived_faulty"), folder, ["node.workers=2", "node.memory_percent=4", "supervisor.root_intensity=2", "supervisor.period=60000"])
        try:
            hive.start()
            hive.wait_ready()
            status, _ = hive.request("POST", "/v1/apply", {
                "tenant": "t", "agents": [{"name": "bad", "spec": {"behaviour": "saboteur"}}, {"name": "good", "spec": {"behaviour": "ledger"}}]})
            expect("apply", status, 200)
            for i in range(3):
                status, answer = hive.request("POST", "/v1/tenants/t/agents/bad:ask", {"type": "eat", "payload": None})
                expect("the glutton's asker hears", answer["error"]["details"]["reason"] if status != 200 else status, "agent_crashed")
                hive.ask("t", "good", "append", {"op": str(i)})
                time.sleep(0.2)
            status, answer = hive.request("POST", "/v1/tenants/t/agents/bad:ask", {"type": "work", "payload": None})
            expect("and then", answer["error"]["details"]["reason"] if status != 200 else status, "quarantined")
            expect("its neighbour", hive.ask("t", "good", "list", {})["ops"], ["0", "1", "2"])
            expect("the process lives and stops in order", hive.stop(), 0)
        finally:
            if hive.process.poll() is None:
                hive.process.kill()
                hive.process.wait()


def main():
    try:
        glutton()
        scenario("a segmentation fault", ["segfault"], -11, [])
        scenario("an abort", ["abort"], -6, [])
        scenario("a loop in one worker of two", ["loop"], STUCK, ["node.turn_end=3000"], neighbour_during=True)
        scenario("loops in all workers", ["loop", "loop"], STUCK, ["node.turn_end=3600000"])
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
