#!/usr/bin/env python3
"""Three hiveds that are one hive: every node answers for all of it, and losing, draining and adding nodes costs nobody anything,
neither agents nor a queue in partitions.

usage: several_nodes_test.py --bin DIR [--seed S] [--keep]
"""
import argparse
import http.client
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))
import checker  # noqa: E402
import client  # noqa: E402
import cluster_client  # noqa: E402
import cluster_process  # noqa: E402
from hive_process import check, passed, run_test  # noqa: E402

LEDGERS = [f"ledger-{i}" for i in range(24)]


def ask(node, agent, kind, payload=None, **more):
    return node.request("POST", f"/v1/tenants/demo/agents/{agent}:ask", {"type": kind, "payload": payload or {}, **more})


def every_agent_through_every_node(cluster):
    for i, name in enumerate(LEDGERS):
        for n, node in enumerate(cluster.nodes):
            status, answer = ask(node, name, "append", {"op": f"{node.name}/{name}"}, idempotency_key=f"{node.name}/{name}")
            check(status == 200 and answer["payload"] == {"count": n + 1}, f"append to {name} at {node.name}: {status} {answer}")
        # The key of one node's request is known at every other: a repeat there is the same answer.
        first = cluster.nodes[0].name
        status, answer = ask(cluster.nodes[i % 3], name, "append", {"op": f"{first}/{name}"}, idempotency_key=f"{first}/{name}")
        check(status == 200 and answer["payload"] == {"count": 1} and answer["repeated"], f"repeat at another node: {status} {answer}")
    owners = cluster.owners()
    spread = Counter(owners[cluster_client.shard_of(cluster, "demo", name)] for name in LEDGERS)
    check(len(spread) == 3, f"agents live on all nodes: {spread}")
    status, answer = ask(cluster.nodes[1], "nobody", "list")
    check(status == 404, f"no such agent: {status} {answer}")
    passed(f"asks: {len(LEDGERS)} agents ({dict(spread)}) through each of 3 nodes, repeats across nodes")


def a_collection_through_every_node(cluster):
    items = [{"id": f"i{i}", "text": f"note {i} about {'leases' if i % 2 else 'shards'} and epoch {i}"} for i in range(60)]
    for part, node in enumerate(cluster.nodes):
        status, answer = node.request("POST", "/v1/tenants/demo/collections/notes/items:put", {"items": items[part * 20:part * 20 + 20]})
        check(status == 200, f"put at {node.name}: {status} {answer}")
    seen = []
    for node in cluster.nodes:
        status, answer = node.request("POST", "/v1/tenants/demo/collections/notes:search", {"text": "epoch 41 leases", "k": 10})
        check(status == 200 and len(answer["hits"]) == 10, f"search at {node.name}: {status} {answer}")
        seen.append([(hit["item"]["id"], round(hit["score"], 6)) for hit in answer["hits"]])
        status, answer = node.request("GET", "/v1/tenants/demo/collections/notes/items/i7")
        check(status == 200 and answer["text"] == items[7]["text"], f"item at {node.name}: {status} {answer}")
        status, answer = node.request("GET", "/v1/tenants/demo/collections/notes/items?page_size=100")
        check(status == 200 and len(answer["items"]) == 60, f"items at {node.name}: {status} {str(answer)[:200]}")
    check(seen[0] == seen[1] == seen[2], f"the same answer everywhere: {seen}")
    passed("collection: put, found, read and listed through each node")


def tasks_through_every_node(cluster):
    ids = {}
    for i in range(12):
        node = cluster.nodes[i % 3]
        status, task = node.request("POST", "/v1/tenants/demo/tasks", {"agent": f"stepper-{i % 4}", "type": "work", "idempotency_key": f"task-{i}",
                                                                        "payload": {"op": f"task-{i}", "ms": 5, "to": "task-ledger"}})
        check(status == 200, f"submit at {node.name}: {status} {task}")
        ids[task["id"]] = node

    def all_ended():
        states = []
        for number, task in enumerate(ids):
            status, whole = cluster.nodes[(number + 1) % 3].request("GET", f"/v1/tenants/demo/tasks/{task}")
            check(status == 200, f"get of a task: {status} {whole}")
            states.append(whole["state"])
        return states == ["succeeded"] * len(ids)
    cluster.wait_for("tasks succeed", all_ended, 20)
    for node in cluster.nodes:
        status, listed = node.request("GET", "/v1/tenants/demo/tasks?page_size=100")
        check(status == 200 and {t["id"] for t in listed["tasks"]} == set(ids), f"tasks at {node.name}: {status} {str(listed)[:200]}")
    done = cluster_client.read_list(cluster, "demo", "task-ledger")
    check(sorted(done) == sorted(f"task-{i}" for i in range(12)), f"each task once: {done}")
    passed("tasks: submitted, watched and listed through each node, each done once")


class Listener(threading.Thread):
    """Types and sources of the events that one node shows."""

    def __init__(self, cluster, node):
        super().__init__(daemon=True)
        self.node = node.name
        self.seen, self.listening = [], threading.Event()
        self.connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
        self.connection.request("GET", "/v1/tenants/demo/events", headers={"Authorization": "Bearer " + cluster.key()})
        self.socket = self.connection.sock

    def run(self):
        try:
            response = self.connection.getresponse()
            self.listening.set()
            for line in response:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    self.seen.append((event["type"], event["source"]))
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass  # closed by the test


def views_from_every_node(cluster):
    listeners = [Listener(cluster, node) for node in cluster.nodes]
    for one in listeners:
        one.start()
        check(one.listening.wait(10), "an event stream begins")
    explained, trees = [], []
    for node in cluster.nodes:
        status, answer = node.request("GET", "/v1/explain/demo/agent/ledger-3")
        check(status == 200 and answer["logs"] == {"ops": 3}, f"explain at {node.name}: {status} {answer}")
        explained.append((answer["id"], answer["shard"], answer["epoch"], answer["owner"]))
        status, tree = node.request("GET", "/v1/tenants/demo/tree")
        check(status == 200, f"tree at {node.name}: {status} {tree}")
        trees.append(sorted((c["name"], c["status"]["status"] if c["kind"] == "supervisor" else "") for c in tree["root"]["children"]))
        names = json.dumps(tree)
        check(all(f'"{name}"' in names for name in LEDGERS), f"all agents are in the tree of {node.name}")
        check("running" in names or "idle" in names, f"the tree of {node.name} says how they are")
    check(explained[0] == explained[1] == explained[2], f"explained alike: {explained}")
    check(trees[0] == trees[1] == trees[2], f"the same tree: {trees}")
    said = [cluster.hivectl(node, "nodes", tenant="demo") for node in cluster.nodes]
    check(all(f"node-{i}" in text for i in (1, 2, 3) for text in said), f"hivectl nodes: {said}")
    for i, node in enumerate(cluster.nodes):
        ask(node, f"ledger-{10 + i}", "crash")
    cluster.wait_for("crashes are seen from every node",
                     lambda: all({("agent.restarted", f"agent/ledger-{10 + i}") for i in range(3)} <= set(one.seen) for one in listeners), 15)
    for one in listeners:
        one.socket.shutdown(socket.SHUT_RDWR)
    passed("explain, tree, nodes and events: the same from each node")


def under_load(cluster, folder, name, seed, harm):
    """`harm` while clients send through relays and steppers from node to node; then everything is there exactly once."""
    swarm = client.Swarm(tenant=name, ledgers=12, relays=6, steppers=6)
    cluster.insist("POST", "/v1/apply", swarm.manifest())
    clients = [cluster_client.ClusterClient(n, cluster, swarm, seed, client.Journal(os.path.join(folder, f"{name}-{n}.journal"))) for n in range(9)]
    for one in clients:
        one.start()
    time.sleep(0.7)
    said = harm(swarm)
    time.sleep(0.7)
    for one in clients:
        one.stopping.set()
    for one in clients:
        one.join(60)
        check(not one.is_alive() and one.problem is None, f"{one.name}: {one.problem}")
    operations = checker.read_history([one.journal.records for one in clients])

    def contents():
        ledgers = {n: cluster_client.read_list(cluster, name, n) for n in swarm.ledgers}
        return ledgers, {n: cluster_client.read_list(cluster, name, n) for n in swarm.steppers}
    cluster.wait_for("what was acknowledged has taken effect", lambda: not checker.missing(operations, contents()[0]), 30)
    time.sleep(0.5)
    ledgers, senders = contents()
    violations = checker.check(operations, ledgers, senders)
    check(not violations, f"{name}: {len(violations)} violations: {violations[:10]}")
    acked = sum(1 for o in operations.values() if o.acked())
    check(acked > 100, f"there was load: {acked}")
    return f"{said}; {len(operations)} operations, {acked} acknowledged, each there exactly once"


def killed_under_load(cluster, folder, seed):
    """kill -9 of the node of a relay, then of the node of a ledger it sends to."""
    def both_sides(swarm):
        said = []
        for victim_agent in (swarm.relays[0], swarm.ledgers[0]):
            owners = cluster.owners()
            victim = next(n for n in cluster.nodes if n.name == owners[cluster_client.shard_of(cluster, swarm.tenant, victim_agent)])
            others = [n for n in cluster.nodes if n is not victim]
            held = [name for name in swarm.ledgers + swarm.relays
                    if victim_agent == name or owners[cluster_client.shard_of(cluster, swarm.tenant, name)] == victim.name]
            held = [name for name in held if name in swarm.ledgers] or swarm.ledgers[:1]
            victim.kill()
            took = cluster_client.probe(cluster, swarm.tenant, held, others, 20).join()
            check(len(took) == len(held), f"agents of {victim.name} answer again: {took}")
            said.append(f"{victim.name} (of {victim_agent}): answers again after {max(took.values()):.2f} s at most")
            cluster.wait_owned(20)
            time.sleep(0.3)
            victim.start()
            victim.wait_ready()
            cluster.wait_for(f"{victim.name} takes part again", lambda v=victim: cluster.counts().get(v.name, 0) > 0, 20)
        return ", ".join(said)
    passed("kill -9: " + under_load(cluster, folder, "killed", seed, both_sides))


def partitioned_queue_through_a_kill(cluster, seed):
    """A queue of four partitions spread over the nodes; kill -9 of a node that has one, with tasks under way everywhere."""
    chance = random.Random(f"{seed}/partitions")
    workers = [f"s{i}" for i in range(6)]
    cluster.insist("POST", "/v1/apply", {"tenant": "parts", "agents": [{"name": "ledger", "spec": {"behaviour": "ledger"}}] + [
        {"name": name, "spec": {"behaviour": "stepper", "capabilities": ["step"]}} for name in workers]})
    deaf = cluster.nodes[2]
    if cluster_process.can_cut():
        deaf.cut(store=False)
        time.sleep(3)  # its links are closed, and it is not voted out yet
    cluster.insist("PUT", "/v1/tenants/parts", {"queue_partitions": 4})
    deaf.heal()
    cluster.wait_owned(30)  # on a slow machine it was voted out
    for node in cluster.nodes:
        cluster.wait_for(f"{node.name} knows of the partitions", lambda n=node: "partitions" in n.request("GET", "/v1/explain/parts/queue/default")[1], 10)
    ids = {}

    def submit(first, last, nodes):
        for i in range(first, last):
            who = {"capability": "step"} if i % 3 == 0 else {"agent": chance.choice(workers)}
            # Of short and long ones, so that some are with their agents when the node dies.
            task = cluster.insist("POST", "/v1/tenants/parts/tasks", {
                **who, "type": "work", "payload": {"op": f"op-{i}", "ms": chance.choice([0, 5, 150]), "to": "ledger"}, "idempotency_key": f"op-{i}",
                "retry": {"attempts": 20, "backoff_ms": 20, "backoff_max_ms": 200}}, node=nodes[i % len(nodes)])
            ids[f"op-{i}"] = task["id"]

    def explained(node):
        status, whole = node.request("GET", "/v1/explain/parts/queue/default")
        check(status == 200 and len(whole.get("partitions", [])) == 4, f"explain of the queue at {node.name}: {status} {whole}")
        check(all("shard" in one for one in whole["partitions"]), f"explain at {node.name} says where each partition is: {whole}")
        return whole["partitions"]

    submit(0, 60, cluster.nodes)
    places = [[one["shard"] for one in explained(node)] for node in cluster.nodes]
    check(places[0] == places[1] == places[2], f"the partitions are where they are: {places}")
    check(len({int(t[1:], 16) >> 16 & 15 for t in ids.values()}) > 1, f"tasks are in several partitions: {ids}")
    owners = cluster.owners()
    victim = next(n for n in cluster.nodes if n.name == owners[chance.choice(places[0])])
    others = [n for n in cluster.nodes if n is not victim]
    victim.kill()
    for node in others:  # its partitions have no owner yet: nobody waits for an answer for that
        check([one["shard"] for one in explained(node)] == places[0], f"explain at {node.name} beside the dead {victim.name}")
    submit(60, 120, others)
    cluster.wait_owned(20)
    submit(120, 150, others)
    victim.start()
    victim.wait_ready()
    cluster.wait_for(f"{victim.name} takes part again", lambda: cluster.counts().get(victim.name, 0) > 0, 20)
    submit(150, 180, cluster.nodes)

    def ended(node):
        states = Counter(node.request("GET", f"/v1/tenants/parts/tasks/{t}")[1]["state"] for t in ids.values())
        check(not set(states) & {"failed", "dead", "cancelled"}, f"at {node.name}: {states}")
        return states == {"succeeded": len(ids)}
    for node in cluster.nodes:
        cluster.wait_for(f"all tasks have succeeded as {node.name} sees it", lambda n=node: ended(n), 40)
        check([one["shard"] for one in explained(node)] == places[0], f"explain at {node.name} when all is over")
    done = Counter(cluster_client.read_list(cluster, "parts", "ledger"))
    check(done == Counter(ids.keys()), f"each task once: twice {[o for o, n in done.items() if n > 1]}, never {sorted(set(ids) - set(done))}")
    passed(f"partitions: {len(ids)} tasks at 4 partitions through each node and kill -9 of {victim.name}, each done once")


def steady_load(cluster, count=6):
    cluster.insist("POST", "/v1/apply", {"tenant": "steady", "agents": [{"name": name, "spec": {"behaviour": "ledger"}} for name in LEDGERS]})
    callers = [cluster_client.Steady(n, cluster, "steady", LEDGERS) for n in range(count)]
    for one in callers:
        one.start()
    time.sleep(0.5)
    return callers


def drained_and_joined(cluster):
    callers = steady_load(cluster)
    leaving = cluster.nodes[1]
    plan = cluster.insist("POST", f"/v1/nodes/{leaving.name}:drain", {"dry_run": True})
    check(plan["shards_left"] > 0 and len(plan.get("plan", [])) == plan["shards_left"] and leaving.name in cluster.counts(), f"a dry run shows the plan: {plan}")
    took = cluster.drain(leaving.name)
    for node in cluster.nodes:
        cluster.wait_for(f"{node.name} sees the drain", lambda n=node: leaving.name not in cluster.counts(n), 5)
    passed(f"drain of {leaving.name}: all {plan['shards_left']} shards in {took:.1f} s")
    cluster.insist("POST", f"/v1/nodes/{leaving.name}:undrain", {})
    cluster.wait_for("it takes shards again", lambda: cluster.counts().get(leaving.name, 0) > 0, 20)
    begin = time.monotonic()
    fourth = cluster.add_node()
    fourth.wait_ready()
    cluster.wait_even(4)
    passed(f"{fourth.name} joins: {dict(sorted(cluster.counts().items()))} after {time.monotonic() - begin:.1f} s")
    status, answer = ask(fourth, "ledger-0", "list")
    check(status == 200 and len(answer["payload"]["ops"]) == 3, f"the new node answers: {status} {answer}")
    # One leaves in good order, as at a rolling restart.
    left = cluster.nodes[2]
    check(left.stop() == 0, f"{left.name} ends well")
    cluster.wait_owned(20)
    time.sleep(0.3)
    for one in callers:
        one.stopping.set()
    for one in callers:
        one.join(30)
        check(not one.is_alive() and one.problem is None, f"{one.name}: {one.problem}")
    failed = [f for one in callers for f in one.failed]
    check(not failed, f"{len(failed)} requests failed: {failed[:5]}")
    for name in LEDGERS:
        there = Counter(cluster_client.read_list(cluster, "steady", name))
        check(max(there.values(), default=1) == 1, f"{name}: twice: {[op for op, n in there.items() if n > 1][:5]}")
        lost = [op for one in callers for op in one.acked[name] if op not in there]
        check(not lost, f"{name}: {len(lost)} lost: {lost[:5]}")
    took = sorted(t for one in callers for _, t in one.took)
    passed(f"{len(took)} appends meanwhile, 0 failed, {sum(one.retried for one in callers)} attempts repeated, "
           f"p50 {took[len(took) // 2] * 1000:.0f} ms, p99 {took[int(len(took) * 0.99)] * 1000:.0f} ms, slowest {took[-1] * 1000:.0f} ms")
    left.start()
    left.wait_ready()


def three_nodes(options, folder, ends):
    cluster = cluster_process.Cluster(options.bin, folder, settings=[f"files.programs={client.PROGRAM}", "cluster.moves_per_second=100"])
    ends.callback(cluster.destroy)
    cluster.start()
    cluster.wait_even(3)
    cluster.insist("POST", "/v1/apply", {
        "tenant": "demo", "supervisors": [{"name": "shelf", "spec": {"intensity": 100, "period_ms": 1000}}],
        "collections": [{"name": "notes", "spec": {"dimension": 64, "embedder": "hashing-1"}}],
        "agents": [{"name": name, "spec": {"behaviour": "ledger", "supervisor": "shelf"}} for name in [*LEDGERS, "task-ledger"]] +
                  [{"name": f"stepper-{i}", "spec": {"behaviour": "stepper"}} for i in range(4)]})
    passed(f"3 nodes are up: {cluster.counts()}")
    every_agent_through_every_node(cluster)
    a_collection_through_every_node(cluster)
    tasks_through_every_node(cluster)
    views_from_every_node(cluster)
    killed_under_load(cluster, folder, options.seed)
    partitioned_queue_through_a_kill(cluster, options.seed)
    drained_and_joined(cluster)
    bad = cluster.end()
    check(not bad, f"asked to end, these did not end well: {bad}")
    passed("all ended in good order")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    return run_test("cluster", lambda folder, ends: three_nodes(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
