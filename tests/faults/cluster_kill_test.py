#!/usr/bin/env python3
"""The kill test on several nodes: clients at all of them, repeating with the same key at another node what one did not answer,
while nodes are killed, frozen, asked to leave and cut off, and PostgreSQL crashes. Nothing acknowledged may be lost, done twice, half done or
out of order. Also measured: how long until an agent that the node held answers again.

usage: cluster_kill_test.py [--minutes M] [--seed S] [--bin DIR] [--faults kill,pause,...]
"""
import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import checker  # noqa: E402
import client  # noqa: E402
import cluster_client  # noqa: E402
import cluster_process  # noqa: E402

# What happens, how often, and in words.
FAULTS = {
    "kill": (6, "SIGKILL, start again"),
    "kill_two": (1, "SIGKILL of two nodes at once, start again"),
    "pause": (3, "SIGSTOP for 5 to 8 s, longer than the lease, then SIGCONT"),
    "blink": (1, "SIGSTOP for 0.5 to 2.5 s, then SIGCONT"),
    "leave": (2, "SIGTERM, start again"),
    "postgres": (2, "PostgreSQL ends at once (SIGQUIT), starts again within 2 s; time is counted from when it is there again"),
    "cut": (2, "packets to and from peers and store dropped for 5 to 8 s"),
    "cut_store": (1, "packets to the store dropped for 5 to 8 s"),
    "cut_peers": (1, "packets to and from peers dropped for 7 to 12 s"),
}
TENANT = "kill"
PROBES = 60


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=0.7, help="of faults; start and audit come on top")
    parser.add_argument("--seed", type=int, default=None, help="default: by chance; printed")
    parser.add_argument("--bin", default=os.environ.get("HIVE_BIN_DIR", os.path.join(ROOT, "build/release/bin")))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--faults", help="only these, separated by commas: " + ", ".join(FAULTS))
    parser.add_argument("--drain", type=float, default=60, help="seconds until acknowledged work must have taken effect")
    parser.add_argument("--dir", help="work below this directory (default: a temporary one)")
    parser.add_argument("--json", help="also write the result to this file")
    parser.add_argument("--keep", action="store_true", help="keep the work directory on success too")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all nodes")
    parser.add_argument("--set-postgres", action="append", default=[], metavar="NAME=VALUE", help="a setting of PostgreSQL")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1_000_000)
    options.faults = options.faults.split(",") if options.faults else list(FAULTS)
    for name in options.faults:
        if name not in FAULTS:
            parser.error(f"no fault '{name}'; there are: {', '.join(FAULTS)}")
    if not cluster_process.can_cut():
        left_out = [name for name in options.faults if name.startswith("cut")]
        options.faults = [name for name in options.faults if name not in left_out]
        if left_out:
            print(f"left out, needs root and iptables: {', '.join(left_out)}", flush=True)
    return options


class Run:
    def __init__(self, options):
        self.options, self.chance = options, random.Random(f"{options.seed}/faults")
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="hive-cluster-kills-", dir=options.dir))
        self.cluster = cluster_process.Cluster(options.bin, self.folder, options.nodes, [f"files.programs={client.PROGRAM}", *options.set],
                                               options.set_postgres)
        self.swarm = client.Swarm(TENANT, ledgers=12, relays=6, steppers=9)
        self.probes = [f"probe-{i}" for i in range(PROBES)]
        self.shards, self.bag = {}, []
        self.counts = {name: 0 for name in options.faults}
        self.answers = {name: [] for name in options.faults}  # seconds until an agent answered again
        self.back = {name: [] for name in options.faults}     # seconds until the node took part again
        self.quiet = []                                       # seconds between two answers to any client

    def prepare(self):
        self.cluster.start()
        self.cluster.insist("POST", "/v1/apply", self.swarm.manifest())
        self.cluster.insist("POST", "/v1/apply", {"tenant": "probe", "agents": [{"name": name, "spec": {"behaviour": "ledger"}} for name in self.probes]})
        self.shards = {name: cluster_client.shard_of(self.cluster, "probe", name) for name in self.probes}
        self.cluster.wait_even(self.options.nodes)

    def pick(self):
        """By chance, but each of them comes soon: drawn from a bag that is filled by weight."""
        if not self.bag:
            weights = [FAULTS[name][0] for name in self.options.faults]
            first = list(self.options.faults)
            self.chance.shuffle(first)
            rest = self.chance.choices(self.options.faults, weights, k=max(0, sum(weights) - len(first)))
            self.bag = first + rest
            if self.options.minutes > 2:
                self.chance.shuffle(self.bag)
        return self.bag.pop(0)

    def held_by(self, names, most=8):
        owners = self.cluster.owners()
        held = [probe for probe in self.probes if owners.get(self.shards[probe]) in names]
        self.chance.shuffle(held)
        return held[:most]

    def probe(self, agents, through):
        return cluster_client.probe(self.cluster, "probe", agents, through)

    def record(self, fault, agents, probed):
        took = probed.join()
        silent = [agent for agent in agents if agent not in took]
        if silent:
            raise cluster_process.HiveDied(f"{fault}: no answer from {silent} (shards {[self.shards[a] for a in silent]}) in 60 s; logs below {self.folder}")
        self.answers[fault] += took.values()
        for agent, seconds in took.items():
            if seconds > 5:
                print(f"          {agent} (shard {self.shards[agent]}) answered again after {seconds:.1f} s", flush=True)

    def one_fault(self):
        fault = self.pick()
        self.counts[fault] += 1
        count = 2 if fault == "kill_two" else 1
        if fault == "postgres":
            self.postgres()
            return fault
        victims = self.chance.sample(self.cluster.nodes, count)
        others = [node for node in self.cluster.nodes if node not in victims]
        agents = self.held_by([node.name for node in victims])
        if fault in ("kill", "kill_two", "leave"):
            for victim in victims:
                if fault == "leave":
                    victim.process.terminate()
                else:
                    victim.kill()
            probed = self.probe(agents, others)
            if fault == "leave":
                exit_code = victims[0].stop()
                if exit_code != 0:
                    raise cluster_process.HiveDied(f"asked to end, {victims[0].name} ended with {exit_code}; see {victims[0].log}")
            if self.chance.random() < 0.5:  # half of the time it is there again at once, and wants its shards
                probed.join()
            time.sleep(self.chance.uniform(0, 1))
            for victim in victims:
                victim.start()
            for victim in victims:
                victim.wait_ready()
        elif fault in ("pause", "blink"):
            victims[0].pause()
            probed = self.probe(agents, others)
            time.sleep(self.chance.uniform(5, 8) if fault == "pause" else self.chance.uniform(0.5, 2.5))
            victims[0].cont()
        else:
            victims[0].cut(peers=fault != "cut_store", store=fault != "cut_peers")
            probed = self.probe(agents, others)
            time.sleep(self.chance.uniform(7, 12) if fault == "cut_peers" else self.chance.uniform(5, 8))
            victims[0].heal()
        begin = time.monotonic()
        self.record(fault, agents, probed)
        self.wait_part(victims)
        self.back[fault].append(time.monotonic() - begin)
        return fault

    def wait_part(self, nodes):
        for node in nodes:
            self.cluster.wait_for(f"{node.name} takes part again", lambda n=node: self.cluster.counts().get(n.name, 0) > 0, 60)

    def postgres(self):
        agents = self.chance.sample(self.probes, 8)
        self.cluster.postgres.stop()
        time.sleep(self.chance.uniform(0, 2))
        self.cluster.postgres.start()
        begin = time.monotonic()
        self.record("postgres", agents, self.probe(agents, self.cluster.nodes))
        self.cluster.wait_owned(60)
        self.back["postgres"].append(time.monotonic() - begin)

    def contents(self):
        return ({name: cluster_client.read_list(self.cluster, TENANT, name) for name in self.swarm.ledgers},
                {name: cluster_client.read_list(self.cluster, TENANT, name) for name in self.swarm.steppers})

    def run(self):
        begin = time.monotonic()
        self.prepare()
        clients = [cluster_client.ClusterClient(n, self.cluster, self.swarm, self.options.seed,
                                                client.Journal(os.path.join(self.folder, f"client-{n}.journal"))) for n in range(self.options.clients)]
        for one in clients:
            one.start()
        time.sleep(1)
        until = time.monotonic() + self.options.minutes * 60
        while time.monotonic() < until:
            at = time.monotonic() - begin
            fault = self.one_fault()
            print(f"{at:6.1f} s  {fault:9}  {sum(self.counts.values())} faults, {sum(one.next for one in clients)} operations", flush=True)
            time.sleep(self.chance.choice([0, 0.2, 1]))
        time.sleep(1)
        for one in clients:
            one.stopping.set()
        for one in clients:
            one.join(120)
            if one.problem or one.is_alive():
                raise RuntimeError(f"{one.name}: {one.problem or 'did not end'}")
        answered = sorted(at + took for one in clients for at, took in one.answered)
        self.quiet = [b - a for a, b in zip(answered, answered[1:])]
        if os.environ.get("HIVE_TRACE"):
            per_second = [0] * (int(answered[-1] - answered[0]) + 1)
            for at in answered:
                per_second[int(at - answered[0])] += 1
            print(f"answers in each second from {answered[0] - begin:.1f} s on: {per_second}", flush=True)
        operations = checker.read_history([one.journal.records for one in clients])
        self.cluster.wait_owned(60)
        ledgers, senders = self.drain(operations)
        # A last crash of everything, with nothing in between.
        for node in self.cluster.nodes:
            node.kill()
        self.cluster.postgres.stop()
        self.cluster.postgres.start()
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        self.cluster.wait_owned(60)
        again, _ = self.contents()
        with open(os.path.join(self.folder, "ledgers.json"), "w", encoding="utf-8") as f:
            json.dump({"ledgers": ledgers, "after_restart": again, "senders": senders}, f)
        violations = checker.check(operations, ledgers, senders, after_restart=again)
        for name in self.cluster.end():
            violations.append(checker.Violation("unexpected", "", f"asked to end, {name} did not end well"))
        return self.result(operations, ledgers, violations, time.monotonic() - begin)

    def drain(self, operations):
        until, before = time.monotonic() + self.options.drain, None
        while True:
            now = self.contents()
            if now == before and not checker.missing(operations, now[0]) or time.monotonic() > until:
                return now
            before = now
            time.sleep(1)

    def result(self, operations, ledgers, violations, seconds):
        outcomes, acked = {}, 0
        for operation in operations.values():
            acked += operation.acked()
            for outcome, _ in operation.outcomes:
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
        kinds = {}
        for v in violations:
            kinds[v.kind] = kinds.get(v.kind, 0) + 1
        return {"test": "cluster_kills", "seed": self.options.seed, "nodes": self.options.nodes, "seconds": round(seconds, 1),
                "operations": len(operations), "acknowledged": acked, "attempts": sum(o.attempts for o in operations.values()), "outcomes": outcomes,
                "in_ledgers": sum(map(len, ledgers.values())), "longest_silence_s": round(max(self.quiet, default=0), 2),
                "repeats_answered": sum(len(o.answers()) - 1 for o in operations.values() if o.acked()),
                "faults": {name: {"count": self.counts[name], "asks": len(self.answers[name]), **spread(self.answers[name]), "back": spread(self.back[name])}
                           for name in self.options.faults},
                "violations": len(violations), "violation_kinds": kinds, "examples": [v._asdict() for v in violations[:50]]}


def spread(seconds):
    if not seconds:
        return {}
    ordered = sorted(seconds)
    at = lambda share: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)  # noqa: E731
    return {"p50": at(0.5), "p99": at(0.99), "max": at(1)}


def show(result):
    print(f"\n{'fault':10}{'count':>6}{'asks':>6}   first successful ask, s              part again, s\n{'':25}{'p50':>7}{'p99':>8}{'max':>8}   {'p50':>8}{'max':>8}")
    for name, row in result["faults"].items():
        if row["count"] and row["asks"]:
            back = row["back"] or {"p50": 0, "max": 0}
            print(f"{name:10}{row['count']:6}{row['asks']:6}   {row['p50']:7.2f}{row['p99']:8.2f}{row['max']:8.2f}   {back['p50']:8.2f}{back['max']:8.2f}")
    print()
    for name in ("seed", "operations", "acknowledged", "attempts", "repeats_answered", "in_ledgers", "longest_silence_s", "seconds", "violations"):
        print(f"{name:20}{result[name]}")
    for name, count in sorted(result["outcomes"].items()):
        print(f"  answered {name:20}{count}")
    print(f"lost {result['violation_kinds'].get('lost', 0)}, applied twice {result['violation_kinds'].get('doubled', 0)}")
    for violation in result["examples"][:20]:
        print(f"  {violation['kind']}: {violation['op']} {violation['text']}")


def main():
    options = arguments()
    print(f"cluster kill test: {options.nodes} nodes, {options.minutes} minutes, seed {options.seed}, {options.bin}/hived", flush=True)
    run, keep = None, True
    try:
        run = Run(options)
        result = run.run()
        if options.json:
            with open(options.json, "w", encoding="utf-8") as f:
                json.dump(result, f, indent=1)
        show(result)
        print(json.dumps({k: v for k, v in result.items() if k != "examples"}))
        enough = result["acknowledged"] > 50 and sum(row["count"] for row in result["faults"].values()) > 1
        keep = options.keep or result["violations"] > 0 or not enough
        return 0 if result["violations"] == 0 and enough else 1
    except (cluster_process.HiveDied, RuntimeError, OSError) as e:
        print(f"cluster kill test broke off: {e}", file=sys.stderr)
        return 3
    finally:
        if run is not None:
            run.cluster.destroy()
            if keep:
                print(f"kept: {run.folder} (repeat with --seed {options.seed})", file=sys.stderr)
            else:
                shutil.rmtree(run.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
