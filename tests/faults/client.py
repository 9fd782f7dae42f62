"""The load of the kill test: clients that write down every operation before they send it and every answer after it came."""
import http.client
import json
import os
import random
import socket
import threading
import time

import checker

PROGRAM = "/usr/bin/true"  # what every other stepper runs as a process step

# What is sent, and how often.
MIX = {"append": 46, "forward": 26, "work": 20, "tell": 5, "crash": 1}


class Journal:
    """One client's records, one JSON object a line, on the disk before `write` returns."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.records = []

    def write(self, record):
        record = {**record, "at": time.monotonic()}
        os.write(self.fd, json.dumps(record).encode() + b"\n")
        os.fdatasync(self.fd)
        self.records.append(record)

    def close(self):
        os.close(self.fd)


class Swarm:
    """Names of the agents under load, and the manifest that makes them."""

    def __init__(self, tenant="kill", ledgers=8, relays=4, steppers=6):
        self.tenant = tenant
        self.ledgers = [f"ledger-{i}" for i in range(ledgers)]
        self.relays = [f"relay-{i}" for i in range(relays)]
        self.steppers = [f"stepper-{i}" for i in range(steppers)]

    def manifest(self):
        agents = [(name, {"behaviour": "ledger"}) for name in self.ledgers]
        agents += [(name, {"behaviour": "relay"}) for name in self.relays]
        agents += [(name, {"behaviour": "stepper", "config": {"program": PROGRAM} if i % 2 else {}})
                   for i, name in enumerate(self.steppers)]
        return {"tenant": self.tenant,
                "supervisors": [{"name": "load", "spec": {"intensity": 1000, "period_ms": 1000}}],
                "agents": [{"name": name, "spec": {**spec, "supervisor": "load"}} for name, spec in agents]}


def outcome_of(status, body):
    """What an HTTP answer means for the operation: (outcome, answer)."""
    if status == 200:
        return checker.OK, body.get("payload") if isinstance(body, dict) else body
    error = body.get("error", {}) if isinstance(body, dict) else {}
    code = error.get("code") if isinstance(error, dict) else None
    if code in ("resource_exhausted", "unavailable", "rejected"):
        return checker.NOT_EXECUTED, code
    if code == "unknown":
        return checker.UNKNOWN, code
    if code == "application":
        return checker.APPLICATION, error.get("message")
    if code == "already_exists":
        return checker.KEY_TAKEN, error.get("message")
    return checker.UNEXPECTED, f"{status} {str(body)[:300]}"


class Client(threading.Thread):
    """One sequential caller with its own connection, random source and journal."""

    DEADLINE_MS = 10_000

    def __init__(self, number, hive, key, swarm, seed, journal, up):
        super().__init__(name=f"client-{number}", daemon=True)
        self.label = f"c{number}"
        self.hive, self.key, self.swarm, self.up = hive, key, swarm, up
        self.random = random.Random(f"{seed}/client/{number}")
        self.journal = journal
        self.stopping = threading.Event()
        self.connection, self.next, self.acked, self.problem = None, 0, [], None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.one_operation()
        except Exception as e:  # pylint: disable=broad-except # reported by the run
            self.problem = e
        self.disconnect()

    # -- operations

    def one_operation(self):
        kind = self.random.choices(list(MIX), list(MIX.values()))[0]
        self.next += 1
        op = f"{self.label}-{self.next}"
        ledger = self.random.choice(self.swarm.ledgers)
        request = {"op": op, "kind": kind, "ledger": ledger, "key": f"key-{op}", "path": "ask"}
        if kind == "append":
            request.update(agent=ledger, type="append", payload={"op": op})
        elif kind == "forward":
            # One relay for each client and ledger now and then, so that there are long runs whose order can be checked.
            relay = self.random.choice(self.swarm.relays)
            request.update(agent=relay, via=relay, type="forward", payload={"to": ledger, "op": op})
        elif kind == "work":
            stepper = self.random.choice(self.swarm.steppers)
            request.update(agent=stepper, via=stepper, type="work",
                           payload={"op": op, "ms": self.random.choice([0, 1, 5, 20, 60]), "to": ledger})
        elif kind == "tell":
            request.update(agent=ledger, type="append", payload={"op": op}, path="tell")
        else:
            request.update(agent=ledger, type="crash", payload={"op": op})
        self.carry_through(request)

    def carry_through(self, request):
        """Sends until the outcome is known, or gives up: both are cases that the checker knows."""
        while True:
            twin = request["path"] == "ask" and self.random.random() < 0.03
            outcome = self.attempt(request, twin)
            if request["path"] == "tell":
                return
            if outcome == checker.OK:
                break
            if outcome not in (checker.UNKNOWN, checker.NOT_EXECUTED) or self.random.random() < 0.15:
                return
            if outcome == checker.NOT_EXECUTED:
                time.sleep(self.random.uniform(0, 0.05))
        self.acked = self.acked[-200:] + [request]
        chance = self.random.random()
        if chance < 0.10:
            self.attempt(request)
        elif chance < 0.20:
            self.attempt(self.random.choice(self.acked))  # perhaps of before a kill
        elif chance < 0.24:
            self.reuse_key(self.random.choice(self.acked))

    def reuse_key(self, request):
        """The key of an acknowledged operation for another request: must be refused."""
        op = f"{request['op']}-other-{self.next}"
        self.attempt({**request, "op": op, "kind": "forbidden", "payload": {**request["payload"], "op": op}})

    # -- one attempt

    def attempt(self, request, twin=False):
        self.up.wait()
        self.write("send", request)
        if twin:
            self.write("send", request)
        connections = []
        try:
            for _ in range(2 if twin else 1):
                connections.append(self.connect() if not connections else self.new_connection())
                self.send(connections[-1], request)
            outcomes = [self.receive(connection) for connection in connections]
        except (OSError, http.client.HTTPException) as e:
            self.disconnect()
            outcomes = [(checker.UNKNOWN, type(e).__name__)] * (2 if twin else 1)
            time.sleep(0.01)
        for extra in connections[1:]:
            extra.close()
        for outcome, answer in outcomes:
            if request["kind"] == "crash" and outcome == checker.OK:
                outcome, answer = checker.UNEXPECTED, f"a crash was answered with {answer}"
            self.write("end", request, outcome=outcome, answer=answer)
        return outcomes[0][0]

    def write(self, do, request, **more):
        record = {"do": do, "op": request["op"]}
        if do == "send":
            record.update(kind=request["kind"], ledger=request["ledger"], via=request.get("via"), client=self.label)
        self.journal.write({**record, **more})

    def send(self, connection, request):
        body = {"type": request["type"], "payload": request["payload"]}
        if request["path"] == "ask":
            body.update(idempotency_key=request["key"], deadline_ms=self.DEADLINE_MS)
        connection.request("POST", f"/v1/tenants/{self.swarm.tenant}/agents/{request['agent']}:{request['path']}",
                           json.dumps(body), {"Authorization": "Bearer " + self.key, "Content-Type": "application/json"})

    @staticmethod
    def receive(connection):
        response = connection.getresponse()
        text = response.read()
        try:
            return outcome_of(response.status, json.loads(text))
        except ValueError:
            return checker.UNEXPECTED, f"{response.status} not JSON: {text[:200]!r}"

    def new_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.hive.port, timeout=30)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def connect(self):
        if self.connection is None:
            self.connection = self.new_connection()
        return self.connection

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None
