"""Several hiveds that are one hive, over a PostgreSQL of their own, and what can happen to them: killed, stopped in their
tracks, asked to leave, joined by another, their database restarted. Knows only hived's settings, hivectl and the public API."""
import http.client
import os
import shutil
import signal
import subprocess
import time

from hive_process import Hive, HiveDied, free_port
from postgres_process import FaultyDisk, Pair, Postgres
from store_proxy import StoreProxy

RELEASE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build/release/bin")
AWAY = (OSError, http.client.HTTPException)


def can_cut():
    """Whether packets can be dropped here: needs root and iptables."""
    return os.geteuid() == 0 and shutil.which("iptables") is not None and subprocess.run(
        ["iptables", "-w", "10", "-S", "OUTPUT"], check=False, capture_output=True).returncode == 0


class Node(Hive):
    """One hived of a cluster."""

    def __init__(self, cluster, name, proxy=None):
        folder = os.path.join(cluster.folder, name)
        os.makedirs(folder)
        super().__init__(os.path.join(cluster.bin, "hived"), folder)
        self.cluster, self.name, self.link_port, self.paused, self.proxy = cluster, name, free_port(), False, proxy
        self.rules, self.group = [], 1_000_000 + self.link_port
        if can_cut():
            self.prefix = ["setpriv", f"--regid={self.group}", "--clear-groups", "--"]
        certificates = cluster.make_certificate(name)
        self.settings = [f"cluster.node={name}", f"cluster.hive={cluster.name}", f"cluster.listen=127.0.0.1:{self.link_port}",
                         f"cluster.link.ca_file={certificates}/ca.pem", f"cluster.link.certificate_file={certificates}/{name}.pem",
                         f"cluster.link.key_file={certificates}/{name}.key", "store.kind=postgres",
                         f"store.postgres.url={cluster.postgres.url('hive_app', self.proxy and self.proxy.ports.values())}",
                         f"store.postgres.admin={cluster.postgres.url('hive_owner')}", f"store.postgres.durability={cluster.durability}", *cluster.settings]

    def key(self):
        """The administrator's key of any node is valid at all of them."""
        return self.cluster.key()

    # -- the network

    def rule(self, table, *words):
        rule = ["-t", table, "{}", "OUTPUT", "-o", "lo", "-p", "tcp", "-m", "comment", "--comment", f"hive-test {self.link_port}", *words]
        subprocess.run(["iptables", "-w", "10", *[word.format("-A") for word in rule]], check=True, capture_output=True)
        self.rules.append(rule)

    def drop(self, *conditions):
        self.rule("filter", *conditions, "-j", "DROP")

    def cut(self, peers=True, store=True, ways=("in", "out")):
        """Its packets from ("in") and to ("out") the other nodes, and the store, go nowhere. HTTP stays."""
        # Connections that it opened are known by a mark: the group alone would let through what the kernel sends on for a
        # socket that was closed.
        mark = ["-m", "connmark", "--mark", str(self.group)]
        self.rule("mangle", "-m", "owner", "--gid-owner", str(self.group), "-j", "CONNMARK", "--set-mark", str(self.group))
        ports = [other.link_port for other in self.cluster.nodes if other is not self] if peers else []
        if store:
            ports += [*self.cluster.postgres.ports(), *(self.proxy.ports.values() if self.proxy else [])]
        ends = [("--dport", "--sport", self.link_port, [])] if peers else []    # of connections that it accepts
        ends += [("--sport", "--dport", port, mark) for port in ports]          # and of those it opens
        for coming, going, port, which in ends:
            if "in" in ways:
                self.drop(*which, coming, str(port))
            if "out" in ways:
                self.drop(*which, going, str(port))

    def heal(self):
        while self.rules:
            rule = self.rules.pop()
            subprocess.run(["iptables", "-w", "10", *[word.format("-D") for word in rule]], check=False, capture_output=True)

    # -- the process

    def start(self):
        if self.proxy:
            self.proxy.wait()  # it listens a moment after the server
        super().start()

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def cont(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def kill(self):
        super().kill()
        self.paused = False


class Cluster:
    """`nodes` hiveds below `folder`. A request goes to the node it names, or to any that answers.

    `standby`: None, "synchronous" or "asynchronous". `proxied`: the first node reaches PostgreSQL through a `StoreProxy`.
    `faulty_disk`: PostgreSQL's is `disk`.
    """

    def __init__(self, binaries, folder, nodes=3, settings=(), postgres_settings=(), standby=None, proxied=False, faulty_disk=False):
        self.bin, self.folder, self.settings, self.name = os.path.abspath(binaries), folder, list(settings), "tested"
        os.chmod(folder, 0o711)  # for the user postgres
        data = os.path.join(folder, "postgres")
        self.disk = FaultyDisk(self.bin, os.path.join(folder, "disk")) if faulty_disk else None
        environment = self.disk and self.disk.environment
        self.postgres = Pair(data, postgres_settings, standby == "synchronous", environment) if standby else Postgres(data, postgres_settings, environment=environment)
        self.durability = "replicated" if standby == "synchronous" else "local"
        self.proxy = StoreProxy(self.postgres.ports(), folder) if proxied else None
        self.hivectl_quietly("certs", "ca", "--out", os.path.join(folder, "ca"))
        self.nodes = [Node(self, f"node-{i + 1}", None if i else self.proxy) for i in range(nodes)]
        self.known_key = None

    # -- life

    def start(self, seconds=60):
        """Until every node is ready and every shard has an owner."""
        if self.proxy:
            self.proxy.start()
        self.postgres.start()
        self.postgres.sql("create role hive_owner login")
        self.postgres.sql("create role hive_app login")
        self.postgres.sql("create database hive owner hive_owner")
        if isinstance(self.postgres, Pair):
            self.postgres.follow()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready(seconds)
        self.wait_owned(seconds=seconds)

    def add_node(self):
        node = Node(self, f"node-{len(self.nodes) + 1}")
        self.nodes.append(node)
        node.start()
        return node

    def end(self):
        """Ends whatever still runs; the names of nodes that did not leave in good order."""
        for node in self.nodes:
            node.heal()
            if node.runs() and node.paused:
                node.cont()
        for node in self.nodes:
            if node.runs():
                node.process.terminate()
        bad = [node.name for node in self.nodes if node.process is not None and node.stop(30) not in (0, -signal.SIGKILL)]
        self.postgres.end(signal.SIGINT)
        return bad

    def destroy(self):
        """For a `finally`: nothing is left running."""
        for node in self.nodes:
            node.heal()
            if node.runs():
                node.process.kill()
                node.process.wait()
        self.postgres.end()
        if self.proxy:
            self.proxy.stop()

    # -- what it says

    def key(self):
        if self.known_key is None:
            with open(os.path.join(self.nodes[0].data, "admin.key"), encoding="ascii") as f:
                self.known_key = f.read().strip()
        return self.known_key

    def live(self):
        return [node for node in self.nodes if node.runs() and not node.paused]

    def request(self, method, path, body=None, timeout=60):
        """Of the first node that answers something else than "not now"."""
        last = None
        for node in self.live():
            try:
                last = node.request(method, path, body, timeout=timeout)
                if last[0] != 503:
                    return last
            except AWAY as e:
                last = (0, f"{node.name}: {e!r}")
        return last or (0, "no node runs")

    def insist(self, method, path, body=None, seconds=30, node=None):
        """The answer of a 200, within `seconds`; RuntimeError when it is refused for good."""
        until = time.monotonic() + seconds
        while True:
            try:
                status, answer = (node or self).request(method, path, body)
            except AWAY as e:
                status, answer = 0, repr(e)
            if status == 200:
                return answer
            if status not in (0, 429, 503, 504) or time.monotonic() > until:
                raise RuntimeError(f"{method} {path}: {status} {answer}")
            time.sleep(0.05)

    def owners(self, node=None, timeout=5):
        """{shard: name of the node} as a node sees it; those that nobody has are left out."""
        status, answer = (node or self).request("GET", "/v1/shards", timeout=timeout)
        if status != 200:
            raise RuntimeError(f"shards: {status} {answer}")
        return {s.get("number", 0): s["node"] for s in answer["shards"] if s.get("node")}

    def counts(self, node=None):
        counts = {}
        for name in self.owners(node).values():
            counts[name] = counts.get(name, 0) + 1
        return counts

    def wait_for(self, what, look, seconds=30):
        """What `look` says as soon as it is true; how a node that does not answer looks is not an answer."""
        until, seen = time.monotonic() + seconds, None
        while True:
            try:
                seen = look()
                if seen:
                    return seen
            except (*AWAY, RuntimeError) as e:
                seen = repr(e)
            if time.monotonic() > until:
                raise HiveDied(f"not within {seconds} s: {what}; at last: {seen}; logs below {self.folder}")
            time.sleep(0.05)

    def wait_owned(self, seconds=30, among=None):
        """Until each running node says that every shard belongs to one of the running nodes (or of the names `among`)."""
        begin = time.monotonic()
        names = set(among or (node.name for node in self.live()))

        def owned():
            for node in self.live():
                owners = self.owners(node)
                if len(owners) < 256 or not set(owners.values()) <= names:
                    return False
            return True
        self.wait_for(f"all shards belong to {sorted(names)}", owned, seconds)
        return time.monotonic() - begin

    def wait_even(self, nodes, seconds=60, off=0.2):
        """Until so many nodes own shards, each within `off` of its even part."""
        begin, even = time.monotonic(), 256 / nodes
        self.wait_for(f"the shards are spread evenly on {nodes} nodes", lambda: (c := self.counts()) and len(c) == nodes and sum(c.values()) == 256 and
                      all(abs(v - even) <= off * even for v in c.values()), seconds)
        return time.monotonic() - begin

    def drain(self, name, seconds=60):
        """Until the node owns nothing."""
        begin = time.monotonic()
        self.insist("POST", f"/v1/nodes/{name}:drain", {}, seconds)
        self.wait_for(f"{name} is drained", lambda: name not in self.counts(), seconds)
        return time.monotonic() - begin

    # -- hivectl

    def hivectl_quietly(self, *words):
        own = os.path.join(self.bin, "hivectl")  # builds with a planted defect have none
        done = subprocess.run([own if os.path.exists(own) else os.path.join(RELEASE, "hivectl"), *words], capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"hivectl {words}: {done.returncode} {done.stdout}{done.stderr}")
        return done.stdout

    def hivectl(self, node, *words, tenant="demo"):
        return self.hivectl_quietly("--server", f"http://127.0.0.1:{node.port}", "--data", self.nodes[0].data, "-t", tenant, *words)

    def make_certificate(self, name):
        folder = os.path.join(self.folder, "certificates", name)
        self.hivectl_quietly("certs", "node", name, "--ca", os.path.join(self.folder, "ca"), "--hive", self.name, "--address", "127.0.0.1", "--out", folder)
        return folder
