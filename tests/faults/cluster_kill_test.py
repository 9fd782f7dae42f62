#!/usr/bin/env python3
"""The kill test on several nodes: clients at all of them, repeating with the same key at another node what one did not answer,
while nodes are killed, frozen, asked to leave and cut off, and PostgreSQL crashes. Nothing acknowledged may be lost, done twice, half done or
out of order. Also measured: how long until an agent that the node held answers again.

usage: cluster_kill_test.py [--minutes M] [--seed S] [--bin DIR] [--faults kill,pause,...]
"""
import argparse
import contextlib
import json
import os
import random
import shutil
import signal
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
import cluster_watch  # noqa: E402

# What happens; how often; within how many seconds 99 of 100 asks are wanted to be answered again; in words.
FAULTS = {
    "kill": (6, 2, "SIGKILL, start again"),
    "kill_two": (1, None, "SIGKILL of two nodes at once, start again"),
    "pause": (3, 5, "SIGSTOP for 5 to 8 s, longer than the lease, then SIGCONT"),
    "blink": (1, None, "SIGSTOP for 0.5 to 2.5 s, then SIGCONT"),
    "leave": (2, None, "SIGTERM, start again"),
    "rolling": (1, None, "drain, SIGTERM and start of each node in turn; callers that repeat with the same key see no failure"),
    "cut": (2, 5, "packets to and from peers and store dropped for 5 to 8 s"),
    "cut_store": (1, 10, "packets to the store dropped for 5 to 8 s"),
    "cut_peers": (1, 10, "packets to and from peers dropped for 7 to 12 s"),
    "one_way": (2, 10, "packets from peers, or those to peers, dropped for 7 to 12 s"),
    "flapping": (1, 10, "the same for --flap-minutes: shards move once, not to and fro"),
    "unknown_commit": (2, None, "commit connections of one node break when a commit was sent, at chance, for 4 s"),
    "postgres": (2, 5, "PostgreSQL ends at once (SIGQUIT), starts again within 2 s; time is counted from when it is there again"),
    "postgres_away": (1, 5, "PostgreSQL is away for --away-seconds; time as above; no shard changes its owner"),
    "disk_full": (1, 5, "no file of PostgreSQL grows for 3 to 6 s; time is counted from when they may again and it runs"),
    "disk_slow": (1, None, "each sync of PostgreSQL lasts 50 to 400 ms longer for 3 to 6 s"),
    "disk_failing": (1, 5, "no sync of PostgreSQL succeeds until it has ended (or 5 s); time is counted from when it runs again"),
    "promote_sync": (2, 5, "the primary is killed, its synchronous standby promoted; time is counted from the promotion"),
    "promote_async": (2, None, "the same with a standby that has fallen behind: the loss must be named; not beside promote_sync"),
}
TENANT = "kill"
PROBES = 60
# By how much a process may grow a minute, once it has warmed up (K8).
GROWTH = {"rss_mib": 24, "fds": 16, "threads": 4}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=0.7, help="of faults; start and audit come on top")
    parser.add_argument("--seed", type=int, default=None, help="default: by chance; printed")
    parser.add_argument("--bin", default=os.environ.get("HIVE_BIN_DIR", os.path.join(ROOT, "build/release/bin")))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--faults", help="only these, separated by commas: " + ", ".join(FAULTS) + "; default: all but promote_async")
    parser.add_argument("--away-seconds", type=float, default=30, help="of postgres_away")
    parser.add_argument("--flap-minutes", type=float, default=2, help="of flapping")
    parser.add_argument("--drain", type=float, default=60, help="seconds until acknowledged work must have taken effect")
    parser.add_argument("--dir", help="work below this directory (default: a temporary one)")
    parser.add_argument("--json", help="also write the result to this file")
    parser.add_argument("--keep", action="store_true", help="keep the work directory on success too")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all nodes")
    parser.add_argument("--set-postgres", action="append", default=[], metavar="NAME=VALUE", help="a setting of PostgreSQL")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1_000_000)
    options.faults = options.faults.split(",") if options.faults else [name for name in FAULTS if name != "promote_async"]
    for name in options.faults:
        if name not in FAULTS:
            parser.error(f"no fault '{name}'; there are: {', '.join(FAULTS)}")
    if {"promote_sync", "promote_async"} <= set(options.faults):
        parser.error("promote_sync and promote_async need different standbys: one of them in a run")
    if not cluster_process.can_cut():
        left_out = [name for name in options.faults if name.startswith("cut") or name in ("one_way", "flapping")]
        options.faults = [name for name in options.faults if name not in left_out]
        if left_out:
            print(f"left out, needs root and iptables: {', '.join(left_out)}", flush=True)
    return options


class Run:
    def __init__(self, options):
        self.options, self.chance = options, random.Random(f"{options.seed}/faults")
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="hive-cluster-kills-", dir=options.dir))
        standby = "synchronous" if "promote_sync" in options.faults else "asynchronous" if "promote_async" in options.faults else None
        self.cluster = cluster_process.Cluster(options.bin, self.folder, options.nodes, [f"files.programs={client.PROGRAM}", *options.set],
                                               options.set_postgres, standby, proxied="unknown_commit" in options.faults, faulty_disk=any(name.startswith("disk_") for name in options.faults))
        self.swarm = client.Swarm(TENANT, ledgers=12, relays=6, steppers=9)
        self.probes = [f"probe-{i}" for i in range(PROBES)]
        self.shards, self.bag = {}, []
        self.counts = {name: 0 for name in options.faults}
        self.answers = {name: [] for name in options.faults}  # seconds until an agent answered again
        self.back = {name: [] for name in options.faults}     # seconds until the node took part again
        self.quiet = []                                       # seconds between two answers to any client
        self.notes, self.violations, self.forgotten = [], [], []
        self.resources = cluster_watch.Resources(self.cluster.nodes)

    def prepare(self):
        self.cluster.start()
        self.cluster.insist("POST", "/v1/apply", self.swarm.manifest())
        self.cluster.insist("POST", "/v1/apply", {"tenant": "probe", "agents": [{"name": name, "spec": {"behaviour": "ledger"}} for name in self.probes]})
        self.shards = {name: cluster_client.shard_of(self.cluster, "probe", name) for name in self.probes}
        under_load = self.swarm.ledgers + self.swarm.relays + self.swarm.steppers
        cluster_watch.begin_audit(self.cluster.postgres, {**self.shards, **{name: cluster_client.shard_of(self.cluster, TENANT, name) for name in under_load}})
        self.cluster.wait_even(self.options.nodes)
        self.resources.start()

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
        getattr(self, fault)()
        return fault

    def note(self, text):
        self.notes.append(text)
        print(f"          {text}", flush=True)

    def violate(self, kind, text):
        self.violations.append(checker.Violation(kind, "", text))

    def victims(self, count=1):
        """(nodes, agents that they hold, the other nodes)"""
        chosen = self.chance.sample(self.cluster.nodes, count)
        return chosen, self.held_by([node.name for node in chosen]), [node for node in self.cluster.nodes if node not in chosen]

    def all_well(self, fault, agents, probed, nodes):
        """The fault is over: the agents answer, the nodes take part."""
        begin = time.monotonic()
        self.record(fault, agents, probed)
        for node in nodes:
            self.cluster.wait_for(f"{node.name} takes part again", lambda n=node: self.cluster.counts().get(n.name, 0) > 0, 60)
        self.back[fault].append(time.monotonic() - begin)

    # -- nodes end

    def kill(self, fault="kill", count=1):
        victims, agents, others = self.victims(count)
        for victim in victims:
            victim.kill()
        self.start_again(fault, victims, agents, self.probe(agents, others))

    def kill_two(self):
        self.kill("kill_two", 2)

    def leave(self):
        victims, agents, others = self.victims()
        victims[0].process.terminate()
        probed = self.probe(agents, others)
        self.end_well(victims[0])
        self.start_again("leave", victims, agents, probed)

    def start_again(self, fault, victims, agents, probed):
        if self.chance.random() < 0.5:  # half of the time it is there again at once, and wants its shards
            probed.join()
        time.sleep(self.chance.uniform(0, 1))
        for victim in victims:
            victim.start()
        for victim in victims:
            victim.wait_ready()
        self.all_well(fault, agents, probed, victims)

    @staticmethod
    def end_well(node):
        exit_code = node.stop()
        if exit_code != 0:
            raise cluster_process.HiveDied(f"asked to end, {node.name} ended with {exit_code}; see {node.log}")

    def rolling(self):
        callers = [cluster_client.Steady(10 * self.counts["rolling"] + n, self.cluster, "probe", self.probes) for n in range(4)]
        for one in callers:
            one.start()
        time.sleep(8)
        begin = time.monotonic()
        for node in self.cluster.nodes:
            self.cluster.drain(node.name)
            self.end_well(node)
            node.start()
            node.wait_ready()
            self.cluster.wait_even(self.options.nodes)
        took = time.monotonic() - begin
        for one in callers:
            one.stopping.set()
        for one in callers:
            one.join(30)
        steady = spread([seconds for one in callers for at, seconds in one.took if at + seconds < begin])
        rolled = spread([seconds for one in callers for at, seconds in one.took if at + seconds >= begin])
        failed = [f for one in callers for f in one.failed] + [one.problem for one in callers if one.problem]
        if failed:
            self.violate("failed", f"rolling restart: {len(failed)} requests failed: {failed[:3]}")
        for name in self.probes:
            there = cluster_client.read_list(self.cluster, "probe", name)
            lost = [op for one in callers for op in one.acked[name] if op not in there]
            if lost or len(there) != len(set(there)):
                self.violate("lost" if lost else "doubled", f"rolling restart: {name}: lost {lost[:3]}")
        self.note(f"rolling restart: {took:.1f} s, {sum(len(one.took) for one in callers)} requests, {len(failed)} failed, {sum(one.retried for one in callers)} "
                  f"repeated; p50 {rolled['p50'] * 1000:.0f} ms, p99 {rolled['p99'] * 1000:.0f} ms; before it {steady['p50'] * 1000:.0f} and {steady['p99'] * 1000:.0f} ms")

    # -- nodes freeze, or are not heard

    def pause(self, fault="pause", least=5.0, most=8.0):
        victims, agents, others = self.victims()
        victims[0].pause()
        probed = self.probe(agents, others)
        time.sleep(self.chance.uniform(least, most))
        victims[0].cont()
        self.all_well(fault, agents, probed, victims)

    def blink(self):
        self.pause("blink", 0.5, 2.5)

    def cut(self, fault="cut", seconds=(5, 8), **what):
        victims, agents, others = self.victims()
        victims[0].cut(**what)
        probed = self.probe(agents, others)
        time.sleep(self.chance.uniform(*seconds))
        victims[0].heal()
        self.all_well(fault, agents, probed, victims)

    def cut_store(self):
        self.cut("cut_store", peers=False)

    def cut_peers(self):
        self.cut("cut_peers", (7, 12), store=False)

    def one_way(self):
        self.cut("one_way", (7, 12), store=False, ways=[self.chance.choice(["in", "out"])])

    def flapping(self):
        before = self.settled_owners()
        victims, agents, others = self.victims()
        way = self.chance.choice(["in", "out"])
        victims[0].cut(store=False, ways=[way])
        begin, probed, moves, last = time.monotonic(), self.probe(agents, others), 0, 0.0
        while time.monotonic() - begin < self.options.flap_minutes * 60:
            time.sleep(0.5)
            now = cluster_watch.owners_in_store(self.cluster.postgres)
            moved = sum(now[shard][1] - epoch for shard, (_, epoch) in before.items())
            if moved != moves:
                moves, last = moved, time.monotonic() - begin
        victims[0].heal()
        self.note(f"flapping: {victims[0].name} cut one way ({way}) for {self.options.flap_minutes} minutes: {moves} moves of 256 shards, the last after {last:.0f} s")
        if moves > 256 or last > 30:
            self.violate("flapping", self.notes[-1])
        self.all_well("flapping", agents, probed, victims)

    def settled_owners(self):
        """Owners and epochs, when they have been the same for 2 s."""
        known = []

        def settled():
            known.append(cluster_watch.owners_in_store(self.cluster.postgres))
            return len(known) > 40 and known[-40] == known[-1] and known[-1]
        return self.cluster.wait_for("no shard moves for 2 s", settled, 60)

    # -- the store

    def unknown_commit(self):
        victim = self.cluster.nodes[0]
        agents, before = self.held_by([victim.name]), self.cluster.proxy.cuts.value
        self.cluster.proxy.chance.value = 0.1
        probed = self.probe(agents, self.cluster.nodes)
        time.sleep(4)
        self.cluster.proxy.chance.value = 0
        self.note(f"unknown commits: {self.cluster.proxy.cuts.value - before} commit connections broken")
        self.all_well("unknown_commit", agents, probed, [victim])

    def store_is_back(self, fault):
        agents = self.chance.sample(self.probes, 8)
        begin = time.monotonic()
        self.record(fault, agents, self.probe(agents, self.cluster.nodes))
        self.cluster.wait_owned(60)
        self.back[fault].append(time.monotonic() - begin)

    def postgres(self):
        self.cluster.postgres.stop()
        time.sleep(self.chance.uniform(0, 2))
        self.cluster.postgres.start()
        self.store_is_back("postgres")

    def postgres_away(self):
        before = self.settled_owners()
        self.cluster.postgres.stop(self.chance.choice([signal.SIGQUIT, signal.SIGINT]))
        time.sleep(self.options.away_seconds)
        self.cluster.postgres.start()
        self.store_is_back("postgres_away")
        after = self.settled_owners()
        moved = [shard for shard in before if before[shard] != after[shard]]
        if moved:
            self.violate("moved", f"PostgreSQL was away for {self.options.away_seconds} s, and {len(moved)} shards have changed owners: {moved[:8]}")

    def disk_full(self):
        fill = "create table if not exists ballast (b text); insert into ballast select md5(g::text) from generate_series(1, 20000) g"
        with self.cluster.disk.being("full"):
            until = time.monotonic() + self.chance.uniform(3, 6)
            while time.monotonic() < until:  # what the hive writes may fit into its files for a while
                with contextlib.suppress(RuntimeError):
                    self.cluster.postgres.sql(fill)
                time.sleep(0.2)
        self.cluster.postgres.recover()
        self.store_is_back("disk_full")
        self.cluster.postgres.sql("drop table if exists ballast")

    def disk_slow(self):
        agents = self.chance.sample(self.probes, 8)
        with self.cluster.disk.being("slow", self.chance.randint(50, 400)):
            probed = self.probe(agents, self.cluster.nodes)
            time.sleep(self.chance.uniform(3, 6))
        self.record("disk_slow", agents, probed)

    def disk_failing(self):
        ended = self.cluster.postgres.crashes()
        with self.cluster.disk.being("failing"):
            until = time.monotonic() + 5
            while self.cluster.postgres.crashes() == ended and time.monotonic() < until:
                time.sleep(0.05)
        if self.cluster.postgres.crashes() == ended:
            raise cluster_process.HiveDied("PostgreSQL did not notice that syncs fail")
        self.cluster.postgres.recover()
        self.store_is_back("disk_failing")

    def promote_sync(self):
        self.cluster.postgres.promote(crash=self.chance.random() < 0.5)
        self.store_is_back("promote_sync")
        self.cluster.postgres.follow()

    def promote_async(self):
        self.cluster.wait_owned(60)
        named = self.losses_named()
        since = self.cluster.postgres.fall_behind()
        time.sleep(self.chance.uniform(1, 4))
        self.cluster.postgres.promote(crash=self.chance.random() < 0.5)
        until = time.monotonic()
        self.store_is_back("promote_async")
        self.cluster.postgres.follow()
        self.forgotten.append(checker.Forgotten(since, until, self.losses_named() > named))

    def losses_named(self):
        """How often a node has said that its store lost commits."""
        count = 0
        for node in self.cluster.nodes:
            with open(node.log, encoding="utf-8", errors="replace") as f:
                count += f.read().count("store_lost_commits")
        return count

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
            print(f"{at:6.1f} s  {fault:14}  {sum(self.counts.values())} faults, {sum(one.next for one in clients)} operations", flush=True)
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
        self.resources.stopping.set()
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
        turns = cluster_watch.audited_turns(self.cluster.postgres)
        self.note(f"{len(turns)} turns audited for their owner, {len({(t.shard, t.epoch) for t in turns})} epochs")
        violations = self.violations + checker.check(operations, ledgers, senders, after_restart=again, forgotten=self.forgotten)
        violations += checker.check_owners(turns)
        violations += checker.check_resources(self.resources.samples(), GROWTH)
        for name in self.cluster.end():
            violations.append(checker.Violation("unexpected", "", f"asked to end, {name} did not end well"))
        return self.result(operations, ledgers, violations, time.monotonic() - begin)

    def drain(self, operations):
        until, before = time.monotonic() + self.options.drain, None
        while True:
            now = self.contents()
            if now == before and not checker.missing(operations, now[0], self.forgotten) or time.monotonic() > until:
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
                "notes": self.notes, "resources": held(self.resources.samples()),
                "forgotten": len(checker.missing(operations, ledgers)) - len(checker.missing(operations, ledgers, self.forgotten)), "violations": len(violations), "violation_kinds": kinds, "examples": [v._asdict() for v in violations[:50]]}


def spread(seconds):
    if not seconds:
        return {}
    ordered = sorted(seconds)
    at = lambda share: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)  # noqa: E731
    return {"p50": at(0.5), "p99": at(0.99), "max": at(1)}


def held(lives):
    """What the longest life of each node held in its middle and at its end: {life: {what: [before, after, minutes]}}"""
    longest = {}
    for name, samples in lives.items():
        node = name.split(".")[0]
        if len(samples) > len(lives.get(longest.get(node), ())):
            longest[node] = name
    return {name: checker.growth(lives[name], 20) for name in longest.values()}


def show(result):
    print(f"\n{'fault':15}{'count':>6}{'asks':>6}   first successful ask, s                      part again, s\n{'':30}{'p50':>7}{'p99':>8}{'max':>8}{'wanted':>8}   {'p50':>8}{'max':>8}")
    for name, row in result["faults"].items():
        if row["count"] and row["asks"]:
            back = row["back"] or {"p50": 0, "max": 0}
            wanted = FAULTS[name][1] or ""
            print(f"{name:15}{row['count']:6}{row['asks']:6}   {row['p50']:7.2f}{row['p99']:8.2f}{row['max']:8.2f}{wanted:>8}   {back['p50']:8.2f}{back['max']:8.2f}")
    print()
    for life, grown in sorted(result["resources"].items()):
        if grown:
            print(f"{life:15}" + "; ".join(f"{what} {before:.0f} -> {after:.0f} in {minutes:.1f} min" for what, (before, after, minutes) in grown.items()))
    for text in result["notes"]:
        print(text)
    for name in ("seed", "operations", "acknowledged", "attempts", "repeats_answered", "in_ledgers", "forgotten", "longest_silence_s", "seconds", "violations"):
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
        enough = result["acknowledged"] > 50 and sum(row["count"] for row in result["faults"].values()) > 0
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
