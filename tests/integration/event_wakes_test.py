#!/usr/bin/env python3
"""Two hiveds and a Redis: what is committed at one node is seen by the watchers of the other at once, with Redis, without it,
after it was emptied, frozen, killed, started again. Nothing is lost or repeated; only latency changes.

usage: event_wakes_test.py --bin DIR [--keep]
"""
import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))
import cluster_process  # noqa: E402
from hive_process import check, passed, run_test  # noqa: E402

POLL = 20  # seconds: what is seen sooner was not found by looking


class Redis:
    """On a unix socket, nothing on disk."""

    def __init__(self, folder):
        self.folder, self.socket, self.process = folder, os.path.join(folder, "redis.sock"), None
        os.makedirs(folder)

    def start(self):
        self.process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "777", "--dir", self.folder,
                                         "--save", "", "--appendonly", "no", "--logfile", os.path.join(self.folder, "log")], start_new_session=True)
        until = time.monotonic() + 10
        while self.say("PING") != "PONG":
            check(time.monotonic() < until, "redis-server does not start")
            time.sleep(0.02)

    def say(self, *words):
        return subprocess.run(["redis-cli", "-s", self.socket, *words], capture_output=True, text=True, check=False).stdout.strip()

    def stop(self, how=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(10)


class Watcher(threading.Thread):
    """Every event that one node shows, with the time at which it was seen."""

    def __init__(self, cluster, node):
        super().__init__(daemon=True)
        self.node, self.ids, self.queued, self.begun = node, [], {}, threading.Event()
        self.connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
        self.connection.request("GET", "/v1/tenants/demo/events", headers={"Authorization": "Bearer " + cluster.key()})
        self.start()
        check(self.begun.wait(10), "an event stream begins")

    def run(self):
        try:
            cursor = None
            for line in self.connection.getresponse():
                self.begun.set()
                if line.startswith(b"id:"):
                    cursor = line[3:].strip()
                elif line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    self.ids.append(cursor)
                    if event["type"] == "task.queued":
                        self.queued[event["data"]["id"]] = time.monotonic()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass  # closed by the test


class Tester:
    def __init__(self, cluster, redis):
        self.cluster, self.redis = cluster, redis
        self.watchers = [Watcher(cluster, node) for node in cluster.nodes]
        self.submitted = []

    def counter(self, node, series):
        status, text = node.request("GET", "/metrics")
        check(status == 200, f"metrics: {status}")
        found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.M)
        return float(found.group(1)) if found else 0.0

    def carried(self, by):
        return sum(self.counter(node, f'hive_wake_ups_total{{by="{by}"}}') for node in self.cluster.nodes)

    def latencies(self, count, meanwhile=None):
        """Seconds from the acknowledgement of a commit to its event; a sorted list for each node."""
        acknowledged = {}
        for i in range(count):
            node = self.cluster.nodes[i % len(self.cluster.nodes)]
            status, task = node.request("POST", "/v1/tenants/demo/tasks", {"agent": f"stepper-{i % 4}", "type": "work", "payload": {"op": f"o{len(self.submitted)}", "ms": 1, "to": "ledger"}})
            check(status == 200, f"submit: {status} {task}")
            acknowledged[task["id"]] = time.monotonic()
            self.submitted.append(task["id"])
            if meanwhile and i == count // 2:
                meanwhile()
            time.sleep(0.01)
        took = []
        for watcher in self.watchers:
            self.cluster.wait_for(f"all is seen at {watcher.node.name}", lambda w=watcher: all(t in w.queued for t in acknowledged), POLL * 2)
            took.append(sorted(max(0.0, watcher.queued[task] - at) for task, at in acknowledged.items()))
        return took

    def quick(self, what, count=20, meanwhile=None):
        """Half of the events within tens of milliseconds, at the node that does not have the queue as well; none waited for
        the look that comes each POLL seconds."""
        took = self.latencies(count, meanwhile)
        half, last = max(t[len(t) // 2] for t in took), max(t[-1] for t in took)
        check(half < 0.05 and last < 3, f"{what}: half within {half * 1000:.1f} ms, last {last * 1000:.1f} ms")
        passed(f"{what}: events {half * 1000:.1f} ms after the acknowledgement (p50 of the slower node), {last * 1000:.1f} ms (slowest)")

    def same_everywhere(self):
        """No event lost, repeated or in another order anywhere."""
        def ended():
            return all(self.cluster.nodes[0].request("GET", f"/v1/tenants/demo/tasks/{t}")[1]["state"] == "succeeded" for t in self.submitted)
        self.cluster.wait_for("all tasks end", ended, 30)
        self.cluster.wait_for("both nodes show the same", lambda: len({len(w.ids) for w in self.watchers}) == 1, POLL * 2)
        one, other = (w.ids for w in self.watchers)
        check(one == other and len(set(one)) == len(one), f"{len(one)} events here, {len(other)} there")
        check(all(len(w.queued) == len(self.submitted) for w in self.watchers), "each task is queued once")
        return len(one)

    def results_are_shared(self):
        """A task that has ended is read once from the store; whoever asks elsewhere finds it in Redis, and then in process."""
        first, second = self.cluster.nodes

        def read(node, hits=None):
            before = self.counter(node, f'hive_cache_hits_total{{tier="{hits}"}}')
            answers = [node.request("GET", f"/v1/tenants/demo/tasks/{t}") for t in self.submitted]
            check(all(status == 200 and task["state"] == "succeeded" for status, task in answers), f"tasks at {node.name}")
            return answers, self.counter(node, f'hive_cache_hits_total{{tier="{hits}"}}') - before
        said, _ = read(first)
        shared, from_redis = read(second, "redis")
        again, from_memory = read(second, "memory")
        self.redis.say("FLUSHALL")
        emptied, _ = read(second)
        check(said == shared == again == emptied, "a cached task is the task")
        return from_redis, from_memory


def two_nodes_and_redis(options, folder, ends):
    redis = Redis(os.path.join(folder, "redis"))
    ends.callback(redis.stop)
    os.chmod(folder, 0o711)
    redis.start()
    cluster = cluster_process.Cluster(options.bin, folder, nodes=2, settings=[
        f"cache.redis.address=unix:{redis.socket}", f"cluster.event_poll={POLL}s", "cache.redis.backoff_max=500ms", "cluster.moves_per_second=100"])
    ends.callback(cluster.destroy)
    cluster.start()
    cluster.wait_even(2)
    cluster.insist("POST", "/v1/apply", {"tenant": "demo", "agents": [{"name": "ledger", "spec": {"behaviour": "ledger"}}] +
                                         [{"name": f"stepper-{i}", "spec": {"behaviour": "stepper"}} for i in range(4)]})
    test = Tester(cluster, redis)
    passed(f"2 nodes and a Redis are up: {cluster.counts()}")

    test.quick("with Redis")
    check(test.carried("redis") > 0 and test.carried("links") <= 5, f"Redis carries: {test.carried('redis')}, links {test.carried('links')}")
    test.quick("emptied in the middle", meanwhile=lambda: redis.say("FLUSHALL"))
    by_links = test.carried("links")
    test.quick("killed in the middle", meanwhile=redis.stop)
    check(test.carried("links") > by_links, "without Redis the links carry")
    test.same_everywhere()
    by_redis = test.carried("redis")
    redis.start()
    cluster.wait_for("Redis carries again", lambda: (test.latencies(1), test.carried("redis") > by_redis)[1], 10)
    test.quick("started again")
    test.quick("frozen in the middle", meanwhile=lambda: redis.process.send_signal(signal.SIGSTOP))
    redis.process.send_signal(signal.SIGCONT)
    events = test.same_everywhere()
    passed(f"{len(test.submitted)} tasks, {events} events, the same at both nodes, each once")

    cluster.wait_for("both nodes reach Redis", lambda: all(test.counter(n, 'hive_cache_up{tier="redis"}') == 1 for n in cluster.nodes), 10)
    test.submitted.clear()
    test.latencies(20)
    cluster.wait_for("they end", lambda: all(cluster.nodes[0].request("GET", f"/v1/tenants/demo/tasks/{t}")[1]["state"] == "succeeded" for t in test.submitted), 30)
    from_redis, from_memory = test.results_are_shared()
    check(from_redis >= 20 and from_memory >= 20, f"read from Redis: {from_redis}, in process: {from_memory}")
    passed(f"results of 20 tasks at the other node: {from_redis:.0f} from Redis, the second time {from_memory:.0f} in process; the same after FLUSHALL")
    bad = cluster.end()
    check(not bad, f"asked to end, these did not end well: {bad}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    return run_test("wakes", lambda folder, ends: two_nodes_and_redis(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
