#!/usr/bin/env python3
"""A hived that starts on a full disk is alive, says why it is not ready, and goes on by itself when there is room.

usage: full_disk_test.py --bin DIR [--keep]
"""
import argparse
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hive_process import Hive, check, run_test  # noqa: E402


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, what)
        time.sleep(0.05)


def waits_for_room(hive):
    """Alive, not ready, and no request is anything but refused with the reason."""
    def readiness():
        try:
            return hive.request("GET", "/readyz", key=False)
        except OSError:
            return None
    until(readiness, 20, "it listens")
    status, body = readiness()
    check((status, body["error"]["details"]["reason"]) == (503, "no_space"), f"readiness: {status} {body}")
    check("goes on by itself" in body["error"]["message"], body)
    check(hive.request("GET", "/healthz", key=False)[0] == 200, "it is alive")
    status, body = hive.request("GET", "/v1/tenants", key="hive_" + "0" * 16 + "_" + "0" * 64)
    check((status, body["error"]["details"]["reason"]) == (503, "no_space"), f"a request: {status} {body}")
    check(hive.process.poll() is None, "it runs")


def a_full_disk(options, folder, ends):
    full = os.path.join(folder, "full")
    os.environ["LD_PRELOAD"] = os.path.abspath(os.path.join(options.bin, "faulty_disk.so"))
    os.environ["FAULTY_DISK"] = folder
    hive = Hive(os.path.join(options.bin, "hived"), folder)
    ends.callback(hive.end)

    def fill():
        with open(full, "w", encoding="ascii"):
            pass

    def append(op):
        return hive.request("POST", "/v1/tenants/t/agents/l:ask", {"type": "append", "payload": {"op": op}})

    fill()
    hive.start()
    waits_for_room(hive)
    os.unlink(full)
    hive.wait_ready(20)
    check(hive.request("POST", "/v1/apply", {"tenant": "t", "agents": [{"name": "l", "spec": {"behaviour": "ledger"}}]})[0] == 200, "a first start goes on")
    check(append("before")[0] == 200, "an ask")
    print("a first start on a full disk waits, and goes on: ok")

    hive.kill()
    fill()
    hive.start()
    waits_for_room(hive)
    hive.process.send_signal(signal.SIGTERM)
    check(hive.process.wait(10) == 0, "one that waits ends when it is told to")
    hive.start()
    waits_for_room(hive)
    os.unlink(full)
    hive.wait_ready(20)
    status, body = hive.request("POST", "/v1/tenants/t/agents/l:ask", {"type": "list"})
    check(status == 200 and "before" in str(body), f"what was acknowledged is there: {status} {body}")
    check(append("after")[0] == 200, "and it goes on")
    print("a start after a kill on a full disk waits, ends when told to, and loses nothing: ok")

    fill()
    until(lambda: append("x")[0] == 503, 20, "a disk that fills while it runs")
    os.unlink(full)
    until(lambda: append("y")[0] == 200, 20, "and has room again")
    print("a disk that fills while it runs: ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    return run_test("full", lambda folder, ends: a_full_disk(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
