#!/usr/bin/env python3
"""The survey swarm on a real hived: its counts equal those of find, wc and grep, and however often the node is killed in
the middle, the report comes out the same, byte for byte.

usage: survey_test.py --bin DIR [--kills N] [--seed S] [--files N] [--keep]
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))
from hive_process import Hive, check, run_test  # noqa: E402

MARKERS = ["TODO", "FIXME", "XXX", "HACK"]
HUGE = 1_000_000


# -- trees

def write(root, path, content):
    full = os.path.join(os.fsencode(root), path if isinstance(path, bytes) else path.encode())
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as f:
        f.write(content)


def make_tree(root, files, chance):
    """Every kind of file that a survey may meet."""
    words = [b"mailbox", b"TODO", b"FIXME:", b"XXX", b"XXXX", b"HACK", b"TODO_later", b"int main() {", b"}", b"def f():", b"# Title",
             b"\n", b"\n", b"\n", b"\r\n", b"\t", b" ", b" ", "é".encode(), b"\xff", b"class ring {"]
    endings = ["c", "cpp", "h", "py", "js", "go", "rs", "java", "sh", "md", "rst", "html", "txt", "json", "unknown", ""]
    for i in range(files):
        depth = chance.randrange(4)
        folder = "/".join(f"d{chance.randrange(6)}" for _ in range(depth))
        ending = chance.choice(endings)
        name = f"{folder}/f{i}" + (f".{ending}" if ending else "")
        write(root, name.lstrip("/"), b" ".join(chance.choice(words) for _ in range(chance.randrange(300))))
    write(root, "empty", b"")
    write(root, "no-end-of-line.txt", b"TODO one")
    write(root, "binary.bin", b"\x7fELF" + bytes(range(256)) * 40 + b"TODO\n")
    write(root, "late-nul.txt", b"a" * 9000 + b"\0\nTODO\n")
    write(root, "huge.py", b"def f(): pass # TODO\n" * 100_000)
    write(root, "long-line.js", b"x" * 500_000 + b" TODO")
    write(root, "odd names/a b|c`d\ne.txt", b"TODO\n")
    write(root, b"odd names/caf\xe9.txt", b"latin\nTODO\n")
    write(root, "odd names/*?[x].md", b"# One\n\n## Two\n")
    write(root, "/".join(["deep"] * 60) + "/end.txt", b"here\n")
    os.makedirs(os.path.join(root, "empty folder"))
    os.symlink(".", os.path.join(root, "loop-here"))
    os.symlink("loop-b", os.path.join(root, "loop-a"))
    os.symlink("loop-a", os.path.join(root, "loop-b"))
    os.symlink("nothing", os.path.join(root, "dangling"))
    os.symlink("/etc", os.path.join(root, "outside"))
    os.symlink("empty", os.path.join(root, "to-file"))
    os.mkfifo(os.path.join(root, "pipe"))


def copy_of_sources(root):
    """This repository's own tree as it is now; others may be at work in it."""
    shutil.copytree(SOURCE, root, symlinks=True, ignore=shutil.ignore_patterns(".git", "build", ".hive", "__pycache__"))


# -- the independent count

def tool(command, root):
    return subprocess.run(["sh", "-c", command], cwd=root, env={**os.environ, "LC_ALL": "C"}, check=True, stdout=subprocess.PIPE).stdout


def count_by_tools(root):
    """What find, wc and grep say: {path: {"bytes", "lines", "binary", markers}} and totals."""
    files = {}
    for path in tool("find . -type f -print0", root).split(b"\0")[:-1]:
        full = os.path.join(os.fsencode(root), path)
        with open(full, "rb") as f:
            binary = b"\0" in f.read(8000)
        files[path[2:]] = {"binary": binary, "bytes": os.path.getsize(full)}
    for line in tool("find . -type f -exec sh -c 'for f; do printf \"%s \" $(wc -l < \"$f\"); printf \"%s\\0\" \"$f\"; done' sh {} +", root).split(b"\0")[:-1]:
        lines, path = line.split(b" ", 1)
        files[path[2:]]["lines"] = int(lines)
    for word in MARKERS:
        counts = tool(f"find . -type f -exec grep -acwZH {word} {{}} + || true", root)
        for path, count in re.findall(rb"(.*?)\0(\d+)\n", counts, re.DOTALL):
            files[path[2:]][word] = int(count)
    totals = {"files": int(tool("find . -type f -printf . | wc -c", root)),
              "folders": int(tool("find . -type d -printf . | wc -c", root)),
              "bytes": sum(f["bytes"] for f in files.values()),
              "lines": int(tool("find . -type f -exec cat {} + | wc -l", root))}
    return files, totals


def compare(root, report_dir):
    files, totals = count_by_tools(root)
    with open(os.path.join(report_dir, "report.json"), encoding="utf-8") as f:
        report = json.load(f)
    for name, count in totals.items():
        check(report["totals"][name] == count, f"{name}: the survey says {report['totals'][name]}, the tools say {count}")
    check(len(report["files"]) == totals["files"], "every file is in the report")
    markers = dict.fromkeys(MARKERS, 0)
    for entry in report["files"]:
        path = bytes.fromhex(entry["path_bytes"]["hex"]) if "path_bytes" in entry else None
        if path is None:
            path = entry["path"].replace("\\x0a", "\n").encode()
        path = path[len(os.fsencode(root)) + 1:]
        own = files.pop(path, None)
        check(own is not None, f"{path}: not there, or reported twice")
        check(entry["bytes"] == own["bytes"] and entry["lines"] == own["lines"], f"{path}: {entry} but wc says {own}")
        check((entry["status"] == "binary") == own["binary"], f"{path}: {entry['status']}")
        if entry["status"] == "ok":
            for word in MARKERS:
                check(entry["markers"].get(word, 0) == own[word], f"{path}: {word} {entry['markers']} but grep says {own[word]}")
                markers[word] += own[word]
        elif entry["status"] == "huge":
            check(own["bytes"] > HUGE, f"{path} is not huge")
    check(not files, f"not in the report: {list(files)[:5]}")
    check(report["markers"] == {w: n for w, n in markers.items() if n}, f"markers: {report['markers']} but grep says {markers}")
    for folder in report["folders"]:
        if folder["depth"] == 0:
            check(folder["files"] == totals["files"] and folder["lines"] == totals["lines"], "the root folder adds up")
    return report


# -- the survey

def submit(hive, root, report_dir):
    body = {"agent": "coordinator", "type": "survey.run",
            "payload": {"roots": [root], "report_dir": report_dir, "exclude": [], "max_file_bytes": HUGE}}
    status, task = hive.request("POST", "/v1/tenants/demo/tasks", body)
    check(status == 200, f"submit: {status} {task}")
    return task["id"]


def task_of(hive, task_id, wait_ms=0):
    status, task = hive.request("GET", f"/v1/tenants/demo/tasks/{task_id}?wait_ms={wait_ms}")
    check(status == 200, f"task {task_id}: {status} {task}")
    return task


def ended(task):
    return task["state"].lower().rsplit("_", 1)[-1] in ("succeeded", "failed", "cancelled")


def wait_for(hive, task_id, seconds=240):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        task = task_of(hive, task_id, 2000)
        if ended(task):
            check(task["state"].lower().endswith("succeeded"), f"the task failed: {task}")
            return task["result"]
    check(False, f"the survey did not end within {seconds} s: {task_of(hive, task_id)}; {hive.ask('demo', 'coordinator', 'survey.status')}")


def same(one, other):
    for name in ("report.md", "report.json"):
        with open(os.path.join(one, name), "rb") as a, open(os.path.join(other, name), "rb") as b:
            check(a.read() == b.read(), f"{one}/{name} and {other}/{name} differ")


def tree_is_whole(hive):
    """Everybody that the manifest names lives again, under its supervisor."""
    status, tree = hive.request("GET", "/v1/tenants/demo/tree")
    check(status == 200, f"tree: {status} {tree}")
    text = json.dumps(tree)
    for name in ["coordinator", "clock", "survey", "readers"] + [f"reader-{i}" for i in range(1, 9)]:
        check(f'"{name}"' in text, f"{name} is in the tree")
    for word in ("quarantined", "crashed", "stopped"):
        check(f'"{word}"' not in text, f"nobody is {word}: {text}")


def disturb(hive, chance):
    """Ends the life of an agent, of a group, or of a supervisor with all below it."""
    what = chance.choice(["agents/coordinator", "agents/clock", "supervisors/readers", "supervisors/survey"] + [f"agents/reader-{i}" for i in range(1, 9)])
    status, answer = hive.request("POST", f"/v1/tenants/demo/{what}:restart", {})
    check(status in (200, 409, 503), f"restart of {what}: {status} {answer}")
    return what.split("/")[1]


def killed_and_disturbed(options, folder, ends):
    chance = random.Random(options.seed)
    tree, sources, out = (os.path.join(folder, n) for n in ("tree", "sources", "out"))
    os.makedirs(out)
    make_tree(tree, options.files, chance)
    copy_of_sources(sources)

    hive = Hive(os.path.join(options.bin, "hived"), folder, [f"files.read_roots={tree}:{sources}", f"files.write_roots={out}"])
    ends.callback(hive.end)
    hive.start()
    hive.wait_ready()
    subprocess.run([os.path.join(options.bin, "hivectl"), "--server", f"http://127.0.0.1:{hive.port}", "--data", hive.data, "apply", "-f",
                    os.path.join(SOURCE, "config", "swarms", "survey.yaml")], check=True, stdout=subprocess.DEVNULL)

    # Undisturbed: the counts are those of the tools, and what is odd is named.
    begin = time.monotonic()
    first = os.path.join(out, "first")
    answer = wait_for(hive, submit(hive, tree, first))
    took = time.monotonic() - begin
    report = compare(tree, first)
    check(answer["files"] == report["totals"]["files"] and answer["report"] == os.path.join(first, "report.md"), f"the answer: {answer}")
    check(report["findings"] == {**report["findings"], "link loop": 3, "link dangling": 1, "link outside": 1, "link": 1, "special": 1, "huge": 1, "binary": 1},
          f"findings: {report['findings']}")
    with open(os.path.join(first, "report.md"), encoding="utf-8") as f:
        text = f.read()
    for name in ("loop-here", "loop-a", "dangling", "outside", "pipe", "huge.py", "binary.bin"):
        check(f"- `{name}" in text, f"report.md names {name}")
    print(f"{answer['files']} files in {took:.2f} s ({answer['files'] / took:.0f} files/s), counts equal", flush=True)

    # This repository.
    answer = wait_for(hive, submit(hive, sources, os.path.join(out, "sources")))
    compare(sources, os.path.join(out, "sources"))
    print(f"{answer['files']} files of this repository, counts equal", flush=True)

    # Asked again while one is running: the second task waits for its turn, and is taken back. Then killed at random instants: the same report.
    second = os.path.join(out, "second")
    task_id = submit(hive, tree, second)
    time.sleep(0.05)
    if not ended(task_of(hive, task_id)):
        third = submit(hive, tree, os.path.join(out, "third"))
        waits = task_of(hive, third)
        check(waits["state"] in ("queued", "running"), f"a second survey at the same time: {waits}")
        if waits["state"] == "queued":
            cancelled = hive.request("POST", f"/v1/tenants/demo/tasks/{third}:cancel", {})
            check(cancelled[1].get("state") == "cancelled", f"taken back before it began: {cancelled}")
        else:
            wait_for(hive, third)
    kills = 0
    while kills < options.kills:
        time.sleep(chance.uniform(0, max(0.2, took / 2)))
        if ended(task_of(hive, task_id)):
            wait_for(hive, task_id)
            same(first, second)
            task_id = submit(hive, tree, second)
            continue
        if kills % 3 == 2:  # a clean stop: what it cuts short is done again, not recorded as failed
            check(hive.stop() == 0, "hived ends with 0 when asked to")
        else:
            hive.kill()
        kills += 1
        hive.start()
        hive.wait_ready()
    wait_for(hive, task_id)
    same(first, second)
    compare(tree, second)
    print(f"killed {kills} times: the same report", flush=True)

    # Agents, groups and supervisors that end in the middle of it are healed: the same report, and a whole tree.
    healed = []
    task_id = submit(hive, tree, second)
    while len(healed) < 12:
        time.sleep(chance.uniform(0, max(0.1, took / 6)))
        if ended(task_of(hive, task_id)):
            wait_for(hive, task_id)
            same(first, second)
            task_id = submit(hive, tree, second)
        healed.append(disturb(hive, chance))
    wait_for(hive, task_id)
    same(first, second)
    tree_is_whole(hive)
    print(f"restarted {', '.join(healed)}: the same report, and the tree is whole", flush=True)

    # What is not allowed is refused by name, and the coordinator is free again.
    refused = task_of(hive, submit(hive, "/etc", out), 10_000)
    check(refused.get("error", {}).get("reason") == "outside_roots", f"a survey of /etc: {refused}")
    refused = task_of(hive, submit(hive, tree, "/tmp/not-allowed"), 10_000)
    check(refused.get("error", {}).get("reason") == "outside_roots", f"a report in /tmp: {refused}")
    check(hive.ask("demo", "coordinator", "survey.status")["state"] == "idle", "the coordinator is idle again")
    check(hive.stop() == 0, "hived stops cleanly")
    print("ok", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--files", type=int, default=1500)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    return run_test("survey", lambda folder, ends: killed_and_disturbed(options, folder, ends), options.keep)


if __name__ == "__main__":
    sys.exit(main())
