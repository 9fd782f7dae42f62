"""The load of the kill test on several nodes: the same clients, each at one node until that one fails it, then at another
with the same key. And probes: how long until an agent answers again."""
import http.client
import json
import random
import socket
import threading
import time

import checker
import client

AWAY = (OSError, http.client.HTTPException)


class ClusterClient(client.Client):
    """Goes to another node when one does not answer, or says that it cannot; in between it stays where it is."""

    TIMEOUT = 8  # of one request: shorter than its deadline, so that a frozen node is left behind
    DEADLINE_MS = 90_000  # longer than any outage: a turn whose time is over between two steps fails, and its first step stays done

    def __init__(self, number, cluster, swarm, seed, journal):
        up = threading.Event()
        up.set()
        super().__init__(number, None, cluster.key(), swarm, seed, journal, up)
        self.cluster = cluster
        self.node = cluster.nodes[number % len(cluster.nodes)]
        self.way = random.Random(f"{seed}/way/{number}")
        self.answered = []  # (begin, seconds) of each acknowledged attempt
        self.slowest = 0.0

    def new_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=self.TIMEOUT)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def attempt(self, request, twin=False):
        begin = time.monotonic()
        outcome = super().attempt(request, twin)
        if outcome in (checker.UNKNOWN, checker.NOT_EXECUTED):
            self.disconnect()
            others = [node for node in list(self.cluster.nodes) if node is not self.node]
            self.node = self.way.choice(others) if others else self.node
        elif outcome == checker.OK:
            self.answered.append((begin, time.monotonic() - begin))
        return outcome


class Steady(threading.Thread):
    """One caller that only appends, and repeats each append with its key until it is acknowledged or `patience` is over.
    That is the API's own retry; what is not acknowledged in the end is a failed request."""

    def __init__(self, number, cluster, tenant, ledgers, patience=10.0):
        super().__init__(name=f"steady-{number}", daemon=True)
        self.label, self.cluster, self.tenant, self.ledgers, self.patience = f"s{number}", cluster, tenant, ledgers, patience
        self.chance, self.stopping = random.Random(f"steady/{number}"), threading.Event()
        self.acked, self.failed, self.retried, self.took, self.problem = {name: [] for name in ledgers}, [], 0, [], None
        self.connection, self.node, self.next = None, cluster.nodes[number % len(cluster.nodes)], 0

    def run(self):
        try:
            while not self.stopping.is_set():
                self.next += 1
                self.append(f"{self.label}-{self.next}", self.chance.choice(self.ledgers))
        except Exception as e:  # pylint: disable=broad-except # reported by the test
            self.problem = e

    def append(self, op, ledger):
        begin, last = time.monotonic(), None
        while time.monotonic() - begin < self.patience:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=5)
                self.connection.request("POST", f"/v1/tenants/{self.tenant}/agents/{ledger}:ask",
                                        json.dumps({"type": "append", "payload": {"op": op}, "idempotency_key": op, "deadline_ms": 5000}),
                                        {"Authorization": "Bearer " + self.cluster.key(), "Content-Type": "application/json"})
                response = self.connection.getresponse()
                last = (response.status, response.read())
                if response.status == 200:
                    self.acked[ledger].append(op)
                    self.took.append((begin, time.monotonic() - begin))
                    return
                if response.status not in (429, 503, 504):
                    break
                time.sleep(0.01)
            except AWAY as e:
                last = (0, repr(e))
                self.connection.close()
                self.connection = None
                live = [n for n in self.cluster.live() if n is not self.node]
                self.node = self.chance.choice(live or self.cluster.nodes)
            self.retried += 1
        self.failed.append((op, ledger, last))


def probe(cluster, tenant, agents, through, seconds=60):
    """Starts asking each agent, at nodes of `through` in turn; `join()` of the result gives the seconds until each answered."""
    begin, took = time.monotonic(), {}

    def until_answered(number, agent):
        turn = number
        while time.monotonic() - begin < seconds:
            node = through[turn % len(through)]
            turn += 1
            try:
                status, _ = node.request("POST", f"/v1/tenants/{tenant}/agents/{agent}:ask",
                                         {"type": "list", "payload": {"from": 0, "limit": 1}, "deadline_ms": 2000}, timeout=3)
                if status == 200:
                    took[agent] = time.monotonic() - begin
                    return
            except AWAY:
                pass
            time.sleep(0.01)

    threads = [threading.Thread(target=until_answered, args=(i, agent), daemon=True) for i, agent in enumerate(agents)]
    for thread in threads:
        thread.start()

    class Result:
        @staticmethod
        def join():
            for one in threads:
                one.join()
            return took
    return Result


def shard_of(cluster, tenant, agent):
    return cluster.insist("GET", f"/v1/explain/{tenant}/agent/{agent}")["shard"]


def read_list(cluster, tenant, agent, page=20_000):
    ops = []
    while True:
        answer = cluster.insist("POST", f"/v1/tenants/{tenant}/agents/{agent}:ask", {"type": "list", "payload": {"from": len(ops), "limit": page}})
        ops += answer["payload"]["ops"]
        if not answer["payload"]["ops"]:
            return ops
