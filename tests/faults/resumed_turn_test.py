#!/usr/bin/env python3
"""A key is known after a kill even when a turn that the kill interrupted is finished first.

A is answered; the hive is killed while the same agent waits in B; after the restart A is asked again with its key. It is
handled right behind B, whose own commit may still be under way when the agent's keys are loaded.
"""
import os
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import hive_process  # noqa: E402

BIN = os.environ.get("HIVE_BIN_DIR", os.path.join(HERE, "../../build/release/bin"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        hive = hive_process.Hive(os.path.join(BIN, "hived"), folder)

        def work(op, ms):
            return hive.request("POST", "/v1/tenants/kill/agents/stepper:ask", {
                "type": "work", "payload": {"op": op, "ms": ms, "to": "ledger"}, "idempotency_key": "key-" + op, "deadline_ms": 10_000})

        def interrupted():
            try:
                work("B", 1000)
            except OSError:
                pass  # the kill

        try:
            hive.start()
            hive.wait_ready()
            hive.request("POST", "/v1/apply", {"tenant": "kill", "agents": [
                {"name": "stepper", "spec": {"behaviour": "stepper"}}, {"name": "ledger", "spec": {"behaviour": "ledger"}}]})
            first = work("A", 0)
            waiting = threading.Thread(target=interrupted)
            waiting.start()
            time.sleep(0.4)
            hive.kill()
            waiting.join()
            hive.start()
            hive.wait_ready()
            again = work("A", 0)
            ledger = hive.ask("kill", "ledger", "list", {})["ops"]
        finally:
            if hive.process.poll() is None:
                hive.process.kill()
                hive.process.wait()
    print(f"first {first}\nagain {again}\nledger {ledger}")
    good = again[0] == 200 and again[1]["payload"] == first[1]["payload"] and ledger == ["A", "B"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
