#!/usr/bin/env python3
"""A node that cannot be one of the hive says why, soon, and has changed nothing: wrong certificates, a taken port, a taken name.
One that is not linked with most of the others is not ready.

usage: node_start_test.py --bin DIR [--keep]
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "faults"))
import cluster_process  # noqa: E402
from hive_process import check, passed, run_test  # noqa: E402


def start(node, *changed, only_check=False):
    """As `node` starts, with other settings; (exit code, what it said last). One that does not end within 20 s has failed the test."""
    settings = {s.split("=", 1)[0]: s.split("=", 1)[1] for s in [*node.settings, *changed]}
    words = ["--check-config"] if only_check else ["--data", node.data, "--http", f"127.0.0.1:{node.port}"]
    done = subprocess.run([node.binary, *words, *(w for name, value in settings.items() for w in ("--set", f"{name}={value}"))],
                          capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, done.stderr.strip().split("\n")[-1]


def names_of(cluster):
    return sorted(n["name"] for n in cluster.insist("GET", "/v1/nodes")["nodes"])


def certificates(cluster, third, folder):
    other = cluster.make_certificate("stranger")
    cluster.hivectl_quietly("certs", "ca", "--out", os.path.join(folder, "other-ca"))
    cluster.hivectl_quietly("certs", "node", third.name, "--ca", os.path.join(folder, "other-ca"), "--hive", cluster.name, "--address", "127.0.0.1",
                            "--out", os.path.join(folder, "foreign"))
    certificate, key = "cluster.link.certificate_file", "cluster.link.key_file"
    for what, field, changed in (
            ("another node's certificate", certificate, [f"{certificate}={other}/stranger.pem", f"{key}={other}/stranger.key"]),
            ("the key of another certificate", key, [f"{key}={other}/stranger.key"]),
            ("a file that is not there", "cluster.link.ca_file", ["cluster.link.ca_file=/nowhere.pem"]),
            ("a certificate of another authority", certificate, [f"{certificate}={folder}/foreign/{third.name}.pem", f"{key}={folder}/foreign/{third.name}.key"])):
        for only_check in (True, False):
            code, said = start(third, *changed, only_check=only_check)
            check(code == 2 and f"[{field}]" in said, f"{what}: {code} {said}")
    check(names_of(cluster) == ["node-1", "node-2"], f"nobody has joined: {names_of(cluster)}")
    passed("wrong certificates end the start with exit code 2 and the setting, before anything is joined; --check-config says the same")


def taken(cluster, third):
    code, said = start(third, f"cluster.listen=127.0.0.1:{cluster.nodes[0].link_port}")
    check(code == 1 and "[cluster.listen]" in said and "cannot listen" in said, f"a taken port: {code} {said}")
    code, said = start(third, "cluster.node=node-1", *(s for s in cluster.nodes[0].settings if s.startswith("cluster.link.")))
    check(code == 1 and "another node runs under the name node-1" in said, f"a taken name: {code} {said}")
    check(cluster.nodes[0].request("GET", "/readyz", key=False)[0] == 200, "whoever has the name is not disturbed")
    passed("a taken port and a taken name end the start with the reason")


def copied(cluster, folder):
    """The file in a data directory that says which life is over says nothing of the life of the directory it was copied from."""
    original = cluster.nodes[1]
    before = {n["name"]: n["generation"] for n in cluster.insist("GET", "/v1/nodes")["nodes"]}
    data = os.path.join(folder, "copy")
    shutil.copytree(original.data, data)
    here = original.data
    original.data, original.port, port = data, cluster_process.free_port(), original.port
    try:
        code, said = start(original, f"cluster.listen=127.0.0.1:{cluster_process.free_port()}")
    finally:
        original.data, original.port = here, port
    check(code == 1 and f"another node runs under the name {original.name}" in said, f"a copy: {code} {said}")
    check(original.request("GET", "/readyz", key=False)[0] == 200, "the original is not disturbed")
    check({n["name"]: n["generation"] for n in cluster.insist("GET", "/v1/nodes")["nodes"]} == before, "and lives on in its generation")
    with open(original.log, encoding="utf-8", errors="replace") as log:
        check("node_name_wanted" in log.read(), "the original's log says that its name is wanted")
    passed("a copy of a data directory, started elsewhere, ends with the reason; the original lives, and says so in its log")


def not_linked(cluster, third):
    """Nobody can dial it: its links are up one way only."""
    third.settings.append("cluster.advertise=127.0.0.1:1")
    third.start()
    cluster.wait_for("the node is a member", lambda: third.name in names_of(cluster), 30)
    time.sleep(1)
    check(third.process.poll() is None, "it runs")
    try:
        ready = third.request("GET", "/readyz", key=False, timeout=5)[0]
    except cluster_process.AWAY:
        ready = None
    check(ready != 200, "one that is not linked both ways says that it is ready")
    check(cluster.counts().get(third.name, 0) == 0, "and has shards")
    begin = time.monotonic()
    third.process.send_signal(signal.SIGTERM)
    check(third.process.wait(20) == 0 and time.monotonic() - begin < 5, "it ends when it is told to, while it joins")
    third.settings.pop()
    third.start()
    third.wait_ready()
    passed("a node that the others do not reach is not ready, and ends when it is told to")


def all_of_it(options, folder, ends):
    cluster = cluster_process.Cluster(options.bin, folder, 3)
    ends.callback(cluster.destroy)
    third = cluster.nodes.pop()
    cluster.start()
    certificates(cluster, third, folder)
    taken(cluster, third)
    copied(cluster, folder)
    cluster.nodes.append(third)
    not_linked(cluster, third)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    return run_test("node-start", lambda folder, ends: all_of_it(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
