#!/usr/bin/env python3
"""hivectl against a real hived: lifecycle, dead letters, tasks, queue, schedules, runs, top and tenants, each as table and
as JSON, with its exit codes, its refusals and what it really does.

usage: HIVE_BIN_DIR=DIR hivectl_test.py [--keep]
"""
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))
from hive_process import Hive, check, run_test  # noqa: E402

BIN = os.environ.get("HIVE_BIN_DIR", os.path.join(SOURCE, "build", "release", "bin"))
DONE, REFUSED, USAGE, NOT_FOUND, DENIED = 0, 1, 2, 3, 4
NOBODY = "t0000000000000001"  # the id of no task

MANIFEST = {
    "tenant": "demo",
    "supervisors": [{"name": "shelf", "spec": {"strategy": "one_for_all"}}],
    "agents": [
        {"name": "ledger", "spec": {"behaviour": "ledger"}},
        {"name": "upper", "spec": {"behaviour": "ledger", "supervisor": "shelf"}},
        {"name": "lower", "spec": {"behaviour": "ledger", "supervisor": "shelf"}},
        {"name": "relay", "spec": {"behaviour": "relay"}},
        {"name": "stepper", "spec": {"behaviour": "stepper"}},
        {"name": "hasty", "spec": {"behaviour": "stepper", "shutdown_ms": 200}},
        {"name": "flaky", "spec": {"behaviour": "stepper"}},
        {"name": "weak", "spec": {"behaviour": "stepper", "capabilities": ["sort:2"]}},
        {"name": "strong", "spec": {"behaviour": "stepper", "capabilities": ["sort"]}},
    ],
}


def until(what, look, seconds=10):
    """What `look` says as soon as it is not false."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        check(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Cli:
    """hivectl with one key; tenant demo when none is named."""

    def __init__(self, hive, key_file=None):
        self.server, self.key_file = f"http://127.0.0.1:{hive.port}", key_file
        self.data = None if key_file else hive.data

    def run(self, *words, tenant="demo", stdin=""):
        environment = {"PATH": os.environ["PATH"], "HIVE_SERVER": self.server}
        if self.data:
            environment["HIVE_DATA"] = self.data
        command = [os.path.join(BIN, "hivectl"), *words]
        command += ["-t", tenant] if tenant else []
        command += ["--key-file", self.key_file] if self.key_file else []
        return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def text(self, *words, code=DONE, **more):
        done = self.run(*words, **more)
        check(done.returncode == code, f"hivectl {words}: {done.returncode} and not {code}\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *words, **more):
        out = self.text(*words, "-o", "json", **more)
        try:
            return json.loads(out)
        except ValueError:
            raise AssertionError(f"hivectl {words} -o json: not JSON: {out}") from None

    def fails(self, code, *words, says="", **more):
        """Refused alike with both outputs: the exit code, words on standard error, nothing on standard output."""
        for output in ("table", "json"):
            done = self.run(*words, "-o", output, **more)
            what = f"hivectl {words} -o {output}"
            check(done.returncode == code, f"{what}: {done.returncode} and not {code}\n{done.stdout}{done.stderr}")
            named = says in done.stderr or says.replace(": ", " ", 1) in done.stderr  # "FIELD: why", or a sentence that begins with it
            check(named and done.stderr, f"{what}: said {done.stderr!r}, expected {says!r}")
            check(done.stdout == "", f"{what}: failed, but printed {done.stdout!r}")

    # -- what most sections need

    def ops(self, agent):
        return self.json("ask", agent, "list")["payload"]["ops"]

    def status(self, kind, name):
        return self.json("get", f"{kind}/{name}")["status"]

    def submit(self, *words, **more):
        """The new task's id."""
        made = self.text("task", "submit", *words, **more).strip()
        check(re.fullmatch("t[0-9a-f]{16}", made), f"an id and nothing else: {made!r}")
        return made

    def task(self, task_id):
        return self.json("task", "get", task_id)

    def ended(self, task_id, seconds=15):
        states = ("succeeded", "failed", "cancelled", "dead")
        return until(f"task {task_id} ends", lambda: next((t for t in [self.task(task_id)] if t["state"] in states), None), seconds)


def table(text, *columns):
    """Rows of a table as {column: text}. Cells may be empty: they are cut where the columns begin."""
    lines = text.splitlines()
    starts = []
    for name in columns:
        found = re.search(r"(?:^|  )" + re.escape(name) + r"(?=  |\s*$)", lines[0])
        check(found, f"column {name} in {lines[0]!r}")
        starts.append(found.end() - len(name))
    check(starts == sorted(starts), f"columns in order: {lines[0]!r}")
    ends = starts[1:] + [None]
    return [{name: line[a:b].strip() for name, a, b in zip(columns, starts, ends)} for line in lines[1:]]


def work(op, **more):
    return json.dumps({"op": op, **more})


# -- stop, start, restart

def lifecycle(hive, cli):
    cli.text("ask", "ledger", "append", work("a"))
    check(cli.text("stop", "agent/ledger") == "agent/ledger stopping\n", "stop says what it did")
    until("the ledger is stopped", lambda: cli.status("agent", "ledger")["status"] == "stopped")
    cli.fails(REFUSED, "ask", "ledger", "append", work("b"), says="`hivectl start agent/ledger` starts it again")
    check(cli.json("stop", "agent/ledger")["change"] == "stopping", "stopping again is no error")
    change = cli.json("start", "agent/ledger")
    check(change == {"kind": "agent", "name": "ledger", "revision": 1, "change": "starting"}, f"start: {change}")
    until("the ledger runs", lambda: cli.run("ask", "ledger", "list").returncode == 0)
    check(cli.ops("ledger") == ["a"], "its state is there, and what was refused is not")

    # A restart keeps what was committed; with --reset the new life begins with nothing.
    before = cli.status("agent", "ledger")["incarnation"]
    check(cli.text("restart", "agents", "ledger") == "agent/ledger restarting\n", "restart, as KIND NAME")
    until("a new life", lambda: cli.status("agent", "ledger")["incarnation"] == before + 1)
    check(cli.ops("ledger") == ["a"], "a restart keeps the state")
    check(cli.json("restart", "agent/ledger", "--reset")["change"] == "restarting", "restart --reset")
    until("one more life", lambda: cli.status("agent", "ledger")["incarnation"] == before + 2)
    check(cli.json("ask", "ledger", "append", work("first"))["payload"] == {"count": 1}, "the count begins anew")
    check(cli.ops("ledger") == ["first"], "the ledger has nothing of its old life")

    # Several at once; what was done before a failure stays done.
    check(cli.text("stop", "agent/relay", "agent/flaky") == "agent/relay stopping\nagent/flaky stopping\n", "stop of two")
    check(cli.text("restart", "agent/relay") == "agent/relay restarting\n", "restart of a stopped one")
    until("the relay is back", lambda: cli.status("agent", "relay")["status"] != "stopped")
    check(cli.text("start", "agent/flaky", "agent/nobody", code=NOT_FOUND) == "agent/flaky starting\n", "the first of two")

    # The shutdown time of a turn that waits: its task goes on in the next life.
    task = cli.submit("hasty", "work", work("waits", ms=1000))
    until("its turn waits", lambda: cli.status("agent", "hasty")["status"] == "waiting")
    cli.text("stop", "agent/hasty")
    until("stopped in the middle of a turn", lambda: cli.status("agent", "hasty")["status"] == "stopped")
    check(cli.task(task)["state"] == "running", "its task is not over")
    cli.text("start", "agent/hasty")
    check(cli.ended(task)["state"] == "succeeded" and cli.ops("hasty") == ["waits"], "done once, in the next life")
    task = cli.submit("hasty", "work", work("lost", ms=60_000))
    until("its turn waits", lambda: cli.status("agent", "hasty")["status"] == "waiting")
    cli.text("restart", "agent/hasty", "--reset")
    ended = cli.ended(task)
    check((ended["state"], ended["error"]["reason"]) == ("failed", "reset"), f"a reset ends its task: {ended}")

    # A supervisor stops and starts what is below it.
    for child in ("upper", "lower"):
        cli.text("ask", child, "append", work("kept"))
    check(cli.text("stop", "supervisor/shelf") == "supervisor/shelf stopping\n", "stop of a supervisor")
    until("all below it is stopped", lambda: all(cli.status("agent", a)["status"] == "stopped" for a in ("upper", "lower")))
    until("it is stopped itself", lambda: cli.status("supervisor", "shelf")["status"] == "stopped")
    cli.fails(REFUSED, "ask", "lower", "list", "--deadline", "5s", says="because supervisor/shelf above it is stopped; `hivectl start supervisor/shelf`")
    for when in ("in memory", "after a start of hived, when nothing is in memory"):
        check(cli.status("agent", "upper")["stopped_by"] == cli.status("agent", "lower")["stopped_by"] == "supervisor/shelf", when)
        check(cli.status("supervisor", "shelf")["stopped_by"] == "", when)
        check(cli.text("tree").count("stopped (supervisor/shelf)") == 2, f"{when}: {cli.text('tree')}")
        check("stopped (supervisor/shelf)" in cli.text("get", "agents", "--supervisor", "shelf"), when)
        if when == "in memory":
            check(hive.stop() == 0, "hived stops")
            hive.start()
            hive.wait_ready()
    check(cli.json("start", "supervisor/shelf")["change"] == "starting", "start of a supervisor")
    until("its children are back", lambda: cli.run("ask", "lower", "list", "--deadline", "5s").returncode == 0)
    lives = {a: cli.status("agent", a)["incarnation"] for a in ("upper", "lower")}
    change = cli.json("restart", "supervisor/shelf")
    check((change["kind"], change["change"]) == ("supervisor", "restarting"), f"restart of a supervisor: {change}")
    until("new lives for all", lambda: all(cli.status("agent", a)["incarnation"] > lives[a] for a in lives))
    check(cli.ops("upper") == cli.ops("lower") == ["kept"], "nothing of theirs is lost")

    for verb in ("stop", "start", "restart"):
        cli.fails(NOT_FOUND, verb, "agent/nobody", says="agent nobody")
        cli.fails(NOT_FOUND, verb, "supervisor/nobody", says="supervisor nobody")
        cli.fails(REFUSED, verb, "agent/a b", says="agent: ")
        for words in (["agent"], ["task/" + NOBODY], ["nonsense"], []):
            cli.fails(USAGE, verb, *words)
    cli.fails(USAGE, "stop", "agent/ledger", "--reset", says="--reset")
    life = cli.status("agent", "ledger")["incarnation"]
    cli.fails(USAGE, "restart", "agent/ledger", "supervisor/shelf", "--reset", says="hivectl get agents --supervisor shelf")
    time.sleep(0.1)
    check(cli.status("agent", "ledger")["incarnation"] == life, "nothing is done when one of them cannot be")


# -- dead letters

def dead_letters(hive, cli):
    def letters():
        return cli.json("dead-letters", "list")["dead_letters"]

    def refused(op):
        """Makes a dead letter: a stepper takes no append. Its id."""
        count = len(letters())
        cli.text("ask", "relay", "forward", json.dumps({"to": "stepper", "op": op}))
        return until("a dead letter", lambda: len(letters()) > count and letters()[0])["id"]

    if letters():
        cli.text("dead-letters", "drop", "--all")
    check(cli.text("dead-letters", "list") == "no dead-letters\n", "an empty list says so")
    one = refused("one")
    row = table(cli.text("dead-letters", "list"), "ID", "RECEIVER", "TYPE", "REASON", "FROM", "AT")[0]
    check((row["ID"], row["RECEIVER"], row["TYPE"], row["REASON"], row["FROM"]) == (one, "agent/stepper", "append", "invalid_argument", "agent/relay"), row)
    check(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["AT"]), row)
    letter = cli.json("dead-letters", "show", one)
    check(letter["payload"] == {"op": "one"} and "append" in letter["detail"]["error"] and letter["principal"].startswith("key:"), letter)
    shown = cli.text("dead-letters", "show", one)
    check(f"id: {one}\n" in shown and "  op: one\n" in shown and "receiver: agent/stepper\n" in shown, shown)
    check("payload" not in letters()[0], "the list is without payloads")

    # Sent again it is refused again: a new one, and the old one is no more.
    check(cli.text("dead-letters", "redrive", one) == f"dead letter {one} sent again\n", "redrive")
    two = until("a new dead letter", lambda: letters() and letters()[0]["id"] != one and letters()[0])["id"]
    check(len(letters()) == 1 and cli.json("dead-letters", "show", two)["payload"] == {"op": "one"}, "one for one, with its payload")
    for verb in ("redrive", "drop", "show"):
        cli.fails(NOT_FOUND, "dead-letters", verb, one, says="id: ")
    check(cli.json("dead-letters", "drop", two) == {"dead_letters": [{"id": two}]}, "drop")
    check(letters() == [], "it is gone")
    for verb in ("redrive", "drop"):
        cli.fails(NOT_FOUND, "dead-letters", verb, two, says="id: ")

    # What was stopped when a message came gets it when it is sent again, once.
    cli.text("stop", "agent/ledger")
    until("the ledger is stopped", lambda: cli.status("agent", "ledger")["status"] == "stopped")
    cli.text("ask", "relay", "forward", json.dumps({"to": "ledger", "op": "late"}))
    late = until("a dead letter", letters)[0]
    check(late["reason"] == "receiver_stopped", late)
    cli.text("start", "agent/ledger")
    until("the ledger runs", lambda: cli.run("ask", "ledger", "list").returncode == 0)
    check("late" not in cli.ops("ledger"), "nothing comes by itself")
    check(cli.json("dead-letters", "redrive", late["id"]) == {"dead_letters": [{"id": late["id"]}]}, "redrive as JSON")
    until("it arrived", lambda: "late" in cli.ops("ledger"))
    cli.fails(NOT_FOUND, "dead-letters", "redrive", late["id"], says="id: ")
    check(cli.ops("ledger").count("late") == 1 and letters() == [], "once, and no letter is left")

    # All of them, and what was done before a failure.
    kept, gone = refused("kept"), refused("gone")
    check([entry["id"] for entry in letters()] == [gone, kept], "newest first")
    check(len(cli.json("dead-letters", "list", "--limit", "1")["dead_letters"]) == 1, "--limit")
    done = cli.run("dead-letters", "drop", gone, "999999")
    check((done.returncode, done.stdout) == (NOT_FOUND, f"dead letter {gone} dropped\n"), f"two, of which one is there: {done}")
    check(cli.text("dead-letters", "drop", "--all") == f"dead letter {kept} dropped\n", "drop --all")
    check(cli.json("dead-letters", "redrive", "--all") == {"dead_letters": []}, "all of none")

    for words in (["redrive"], ["drop"], ["show"], [], ["list", "--limit", "x"], ["bogus"]):
        cli.fails(USAGE, "dead-letters", *words)
    cli.fails(NOT_FOUND, "dead-letters", "show", "nonsense", says="id: ")


# -- tasks

def tasks(hive, cli):
    task = cli.submit("ledger", "append", work("t1"), "--key", "same", "--label", "for=test", "--label", "by=me", "--priority", "2", "--deadline", "1h")
    check(cli.submit("ledger", "append", work("t1"), "--key", "same", "--label", "for=test", "--label", "by=me", "--priority", "2", "--deadline", "1h") == task,
          "a repeat with the same key is the same task")
    ended = cli.ended(task)
    check(ended["state"] == "succeeded" and ended["labels"] == {"for": "test", "by": "me"} and ended["priority"] == 2 and ended["attempts"] == 1, ended)
    check(abs(ended["deadline"] - ended["submitted_at"] - 3_600_000) < 5 and ended["result"]["count"] >= 1, ended)
    check(cli.ops("ledger").count("t1") == 1, "done once")
    watched = cli.run("task", "submit", "ledger", "append", work("t2"), "--watch")
    check(watched.returncode == DONE and re.match(r"task t[0-9a-f]{16} succeeded after ", watched.stdout), watched)
    check(cli.json("task", "watch", task)["state"] == "succeeded", "watch of one that has ended")
    check(cli.json("task", "submit", "ledger", "append", work("t3"))["priority"] == 3, "submit as JSON shows the task")
    listed = table(cli.text("task", "list"), "ID", "AGENT", "TYPE", "STATE", "PROGRESS", "ATTEMPTS", "SUBMITTED", "TOOK")
    mine = next(row for row in listed if row["ID"] == task)
    check((mine["AGENT"], mine["TYPE"], mine["STATE"], mine["ATTEMPTS"]) == ("ledger", "append", "succeeded", "1"), mine)

    # What waits for others, and what belongs to another.
    first = cli.submit("stepper", "work", work("d1", ms=800))
    then = cli.submit("stepper", "work", work("d2"), "--depends-on", first)
    last = cli.submit("ledger", "append", work("d3"), "--depends-on", first, "--depends-on", then, "--parent", first)
    waiting = {t["id"] for t in cli.json("task", "list", "--state", "waiting")["tasks"]}
    check(waiting == {then, last}, f"they wait: {waiting}")
    ended = cli.ended(last)
    check(ended["state"] == "succeeded" and ended["depends_on"] == [first, then] and ended["parent"] == first, ended)
    check(ended["started_at"] >= cli.task(then)["ended_at"] >= cli.task(first)["ended_at"], "one after the other")
    doomed = cli.submit("stepper", "work", work("doomed", ms=60_000), "--deadline", "300ms")
    hopeless = cli.submit("ledger", "append", work("never"), "--depends-on", doomed)
    ended = cli.ended(hopeless)
    check((ended["state"], ended["error"]["reason"], ended["attempts"]) == ("failed", "dependency_failed", 0), ended)
    cli.fails(REFUSED, "task", "submit", "ledger", "append", "--depends-on", doomed, says="depends_on: ")

    # A deadline that passes; a request that is wrong is not tried again; attempts are counted.
    done = cli.run("task", "submit", "stepper", "work", work("late", ms=60_000), "--deadline", "300ms", "--watch", "-o", "json")
    ended = json.loads(done.stdout)
    check((done.returncode, ended["state"], ended["error"]["reason"]) == (REFUSED, "failed", "deadline_passed"), done)
    check(280 <= ended["ended_at"] - ended["submitted_at"] < 3000, ended)
    done = cli.run("task", "submit", "ledger", "append", "{}", "--attempts", "3", "--watch")
    check(done.returncode == REFUSED and "invalid_argument: " in done.stdout and "attempt" not in done.stdout, done)
    wrong = cli.task(re.match(r"task (t[0-9a-f]{16})", done.stdout).group(1))["error"]
    check((wrong["reason"], wrong["field"]) == ("invalid_argument", "payload.op") and f"invalid_argument: payload.op: {wrong['message']}" in done.stdout, f"the field at fault: {wrong}")
    cli.text("stop", "agent/lower")
    until("it is stopped", lambda: cli.status("agent", "lower")["status"] == "stopped")
    done = cli.run("task", "submit", "flaky", "work", work("r", to="lower"), "--attempts", "3", "--backoff", "20ms", "--watch")
    check(done.returncode == REFUSED and re.match(r"task t[0-9a-f]{16} dead after .*, at attempt 3\n", done.stdout), done)
    check([t["attempts"] for t in cli.json("task", "list", "--state", "dead")["tasks"]] == [3], "dead after three")
    check("lower: agent/lower is stopped; `hivectl start agent/lower` starts it again" in done.stdout, f"and says what to do: {done.stdout}")
    again = cli.submit("flaky", "work", work("again", to="lower"), "--attempts", "50", "--backoff", "400ms")
    tried = until("it failed once", lambda: next((t for t in [cli.task(again)] if t["state"] == "waiting"), None))
    check(tried["attempts"] >= 1 and tried["next_attempt"] > tried["submitted_at"] and tried["error"]["reason"] == "step_failed", tried)
    cli.text("start", "agent/lower")
    ended = cli.ended(again)
    check(ended["state"] == "succeeded" and ended["attempts"] >= 2 and cli.ops("flaky") == ["again"], ended)
    cli.text("dead-letters", "drop", "--all")  # of the steps that met a stopped agent

    # Cancelled with everything under it, before anything of it takes effect.
    task = cli.submit("stepper", "work", work("never", ms=60_000))
    under = cli.submit("ledger", "append", work("never"), "--parent", task, "--depends-on", task)
    check(cli.text("task", "cancel", task) == f"task {task} cancelled\n", "cancel")
    check(cli.task(under)["state"] == "cancelled" and cli.task(under)["error"]["reason"] == "parent_ended", cli.task(under))
    check("never" not in cli.ops("stepper") + cli.ops("ledger"), "no effect")
    cli.fails(REFUSED, "task", "cancel", task, says="id: the task has ended: cancelled")
    done = cli.run("task", "watch", task)
    check(done.returncode == REFUSED and "cancelled" in done.stdout, done)
    other = cli.submit("stepper", "work", work("never", ms=60_000))
    check(cli.json("task", "cancel", other)["state"] == "cancelled", "cancel as JSON")

    # The queue chooses by capability and complexity.
    for _ in range(3):
        task = cli.json("task", "submit", "-", "work", work("hard"), "--capability", "sort", "--complexity", "5", "--watch")
        check((task["agent"], task["capability"], task["complexity"]) == ("strong", "sort", 5), task)
    easy = [cli.submit("-", "work", work("easy", ms=500), "--capability", "sort", "--complexity", "1") for _ in range(3)]
    check({cli.ended(t)["agent"] for t in easy} == {"weak", "strong"}, "both take what both can do")
    new = cli.submit("-", "append", work("found"), "--capability", "count")
    time.sleep(0.2)
    check(cli.task(new)["state"] == "queued", "nobody can do it yet")
    cli.text("apply", "-f", "-", stdin=json.dumps({"agents": [{"name": "counter", "spec": {"behaviour": "ledger", "capabilities": ["count"]}}]}))
    check(cli.ended(new)["agent"] == "counter", "an agent that can was added")

    # Refusals: on the command line, by the hive, and what is not there.
    submit = ["task", "submit", "ledger", "append", work("no")]
    for words in (["--priority", "6"], ["--priority", "0"], ["--complexity", "10"], ["--attempts", "0"], ["--attempts", "101"], ["--deadline", "soon"],
                  ["--backoff", "x"], ["--label", "word"], ["--bogus"]):
        cli.fails(USAGE, *submit, *words, says=words[0])
    cli.fails(USAGE, "task", "submit", "ledger", "append", "no json", says="not JSON")
    cli.fails(USAGE, "task", "submit", "ledger", says="TYPE")
    cli.fails(USAGE, "task", "list", "--state", "odd", says="--state")
    cli.fails(REFUSED, *submit, "--capability", "sort", says="agent: ")
    cli.fails(REFUSED, "task", "submit", "-", "append", says="agent: ")
    cli.fails(REFUSED, "task", "submit", "a b", "append", says="agent: ")
    cli.fails(REFUSED, *submit, "--depends-on", "word", says="depends_on: ")
    cli.fails(REFUSED, *submit, "--parent", "word", says="parent: ")
    cli.fails(REFUSED, *submit, "--attempts", "2", "--backoff", "0ms", says="retry.backoff_ms: ")
    cli.fails(REFUSED, *submit, "--deadline", "1000h", says="deadline_ms: ")
    cli.fails(REFUSED, *submit, "--capability", "x" * 65, says="capability: ")
    cli.fails(NOT_FOUND, "task", "submit", "nobody", "append", says="agent: ")
    cli.fails(NOT_FOUND, *submit, "--depends-on", NOBODY, says="depends_on: ")
    for verb in (["task", "get"], ["task", "watch"], ["task", "cancel"], ["run", "show"]):
        cli.fails(NOT_FOUND, *verb, NOBODY, says="id: ")
        cli.fails(NOT_FOUND, *verb, "word", says="id: ")
        cli.fails(USAGE, *verb, says="ID")
    check("no" not in cli.ops("ledger"), "nothing of what was refused")


# -- runs

def runs(hive, cli):
    def submit_group(policy, *specs, **more):
        status, answer = hive.request("POST", "/v1/tenants/demo/queues/default:submit", {"policy": policy, "tasks": list(specs), **more})
        return answer if status != 200 else answer["group"]

    def spec(name, agent, kind, payload, **more):
        return {"name": name, "agent": agent, "type": kind, "payload": payload, **more}

    time_of = r"(?:\d+ (?:ms|s|min)|\d+\.\d+ s)"

    def line(lead, words, task_id):
        return rf"{re.escape(lead)}{words} \+{time_of}(?: took {time_of})?(?: \(\w+\))?  {task_id}"

    # A task, what was submitted on its behalf, and what was on behalf of that.
    root = cli.submit("stepper", "work", work("root", ms=1500))
    one = cli.submit("hasty", "work", work("one", ms=1500), "--parent", root)
    below = cli.submit("ledger", "append", work("below"), "--parent", one)
    two = cli.submit("ledger", "append", "{}", "--parent", root)
    for task in (root, one, below, two):
        cli.ended(task)
    drawn = cli.text("run", "show", root).splitlines()
    expected = [line("", "work succeeded by stepper", root), line("|- ", "work succeeded by hasty", one), line("|  `- ", "append succeeded by ledger", below),
                line("`- ", "append failed by ledger", two)]
    check(len(drawn) == len(expected), "\n".join(drawn))
    for got, wanted in zip(drawn, expected):
        check(re.fullmatch(wanted, got), f"{got!r} is not {wanted}")
    check(" +0 ms took " in drawn[0] and all(" took " in one for one in drawn) and drawn[3].endswith(f"(invalid_argument)  {two}"), "\n".join(drawn))
    everything = cli.json("run", "show", root)["tasks"]
    check([t["id"] for t in everything] == [root, one, below, two], everything)
    check([t["id"] for t in cli.json("run", "show", one)["tasks"]] == [one, below], "a part of it")

    # A group that fails: what succeeded is undone.
    group = submit_group("all", spec("book", "ledger", "append", {"op": "book"}, undo={"type": "append", "payload": {"op": "unbook"}}),
                         spec("pay", "stepper", "work", {}, depends_on=["book"]))
    ended = cli.ended(group)
    check((ended["state"], ended["error"]["reason"], ended["policy"]) == ("failed", "group_failed", "all"), ended)
    book, pay, undo = ended["children"]
    drawn = cli.text("run", "show", group).splitlines()
    expected = [line("", "group failed", group), line("|- ", "book succeeded by ledger", book["id"]), line("|- ", "pay failed by stepper", pay["id"]),
                line("`- ", rf"undo of {book['id']}: append succeeded by ledger", undo["id"])]
    check(len(drawn) == len(expected), "\n".join(drawn))
    for got, wanted in zip(drawn, expected):
        check(re.fullmatch(wanted, got), f"{got!r} is not {wanted}")
    check(cli.ops("ledger")[-2:] == ["book", "unbook"], "done, and undone")

    # The first that succeeds ends the others; a group is cancelled like a task; a wrong one is refused by name.
    group = submit_group("first", spec("slow", "stepper", "work", {"op": "slow", "ms": 60_000}), spec("fast", "ledger", "append", {"op": "fast"}))
    ended = cli.ended(group)
    check(ended["state"] == "succeeded" and [c["state"] for c in ended["children"]] == ["cancelled", "succeeded"], ended)
    group = submit_group("all", spec("a", "stepper", "work", {"op": "slow", "ms": 60_000}), spec("b", "ledger", "append", {"op": "never"}, depends_on=["a"]))
    check(cli.json("task", "cancel", group)["state"] == "cancelled", "a group is cancelled")
    check([t["state"] for t in cli.json("run", "show", group)["tasks"]] == ["cancelled"] * 3, "with its tasks")
    check("slow" not in cli.ops("stepper") and "never" not in cli.ops("ledger"), "without effect")
    wrong = submit_group("all", spec("a", "ledger", "append", {}, depends_on=["b"]), spec("b", "ledger", "append", {}, depends_on=["a"]))
    check(wrong["error"]["field"] in ("tasks[0].depends_on", "tasks[1].depends_on"), wrong)
    wrong = submit_group("quorum", spec("a", "ledger", "append", {}), quorum=2)
    check(wrong["error"]["field"] == "quorum", wrong)


# -- the queue

def queue(hive, cli):
    check(cli.text("queue", "show") == "queue default open\n", "an open queue")
    check(cli.text("queue", "pause") == "queue default paused\n", "pause")
    late = cli.submit("upper", "append", work("low"), "--priority", "5")
    early = cli.submit("upper", "append", work("high"), "--priority", "1")
    check(hive.stop() == 0, "hived stops")
    hive.start()
    hive.wait_ready()
    shown = cli.json("queue", "show")
    check(shown["name"] == "default" and shown["paused"] and shown["agents"] == [], f"still paused in the next life: {shown}")
    time.sleep(0.3)
    check([cli.task(t)["state"] for t in (late, early)] == ["queued", "queued"], "a paused queue hands out nothing")
    check(cli.json("queue", "resume")["paused"] is False, "resume")
    check([cli.ended(t)["state"] for t in (late, early)] == ["succeeded", "succeeded"], "it goes on")
    check(cli.ops("upper")[-2:] == ["high", "low"], "in order of priority")

    # One agent only.
    check(cli.json("queue", "pause", "upper")["agents"] == [{"agent": "upper", "paused": True, "concurrency": 0}], "pause of one agent")
    held, free = cli.submit("upper", "append", work("held")), cli.submit("lower", "append", work("free"))
    check(cli.ended(free)["state"] == "succeeded" and cli.task(held)["state"] == "queued", "the others go on")
    rows = table("\n".join(cli.text("queue", "show").splitlines()[1:]), "AGENT", "STATE", "TASKS AT A TIME")
    check(rows == [{"AGENT": "upper", "STATE": "paused", "TASKS AT A TIME": "default"}], rows)
    check(cli.text("queue", "resume", "upper") == "queue default open\n" and cli.ended(held)["state"] == "succeeded", "resume of one agent")

    # So many at a time.
    def running():
        return len(cli.json("task", "list", "--state", "running")["tasks"])

    three = [cli.submit("stepper", "work", work("many", ms=60_000)) for _ in range(3)]
    check(running() == 1, "one at a time")
    rows = table("\n".join(cli.text("queue", "limit", "stepper", "2").splitlines()[1:]), "AGENT", "STATE", "TASKS AT A TIME")
    check(rows == [{"AGENT": "stepper", "STATE": "open", "TASKS AT A TIME": "2"}], rows)
    until("two at a time", lambda: running() == 2)
    check(cli.json("queue", "limit", "stepper", "0")["agents"] == [], "0: as the setting says")
    for task in three:
        cli.text("task", "cancel", task)

    for verb in (["pause", "nobody"], ["resume", "nobody"], ["limit", "nobody", "2"]):
        cli.fails(NOT_FOUND, "queue", *verb, says="agent: ")
    cli.fails(REFUSED, "queue", "pause", "a b", says="agent: ")
    for words in (["limit", "stepper"], ["limit", "stepper", "many"], ["limit", "stepper", "10001"], ["pause", "a", "b"], [], ["bogus"]):
        cli.fails(USAGE, "queue", *words)


# -- schedules

def schedules(hive, cli):
    columns = ("NAME", "WHEN", "TASK", "NEXT", "FIRED", "LAST", "FAILED", "ERROR")
    made = table(cli.text("schedule", "put", "beat", "counter", "append", work("beat"), "--every", "1s"), *columns)[0]
    check((made["NAME"], made["WHEN"], made["TASK"], made["FIRED"], made["LAST"], made["FAILED"], made["ERROR"]) == ("beat", "every 1 s", "counter append", "0", "-", "0", "-"), made)
    begun = time.monotonic()
    still = cli.json("schedule", "put", "still", "counter", "append", work("still"), "--every", "100ms", "--paused")
    check(still["spec"]["paused"] is True, still)
    night = cli.json("schedule", "put", "night", "-", "work", work("night"), "--cron", "30 2 * * *", "--zone", "Europe/Zurich", "--capability", "sort",
                     "--attempts", "3", "--catch-up", "all", "--catch-up-max", "5", "--jitter", "10s")
    spec = night["spec"]
    check((spec["cron"], spec["zone"], spec["catch_up"], spec["catch_up_max"], spec["jitter_ms"]) == ("30 2 * * *", "Europe/Zurich", "all", 5, 10_000), night)
    check((spec["task"]["capability"], spec["task"]["retry"]["attempts"]) == ("sort", 3), night)
    utc = time.gmtime(night["next"] / 1000)
    check(utc.tm_hour in (0, 1) and utc.tm_min == 30 and utc.tm_sec <= 10, f"02:30 in Zurich, and up to 10 s: {utc}")

    fired = until("it fired twice", lambda: next((s for s in [cli.json("schedule", "get", "beat")] if s["fired"] >= 2), None))
    check(1.7 < time.monotonic() - begun < 6, "each second")
    task = cli.ended(fired["last_task"])
    check(task["state"] == "succeeded" and task["labels"]["schedule"] == "beat" and task["principal"] == fired["principal"], task)
    rows = {row["NAME"]: row for row in table(cli.text("schedule", "list"), *columns)}
    check(list(rows) == ["beat", "night", "still"], rows)
    check(rows["still"]["NEXT"] == "paused" and rows["still"]["FIRED"] == "0" and rows["night"]["WHEN"] == "30 2 * * * Europe/Zurich", rows)
    check([s["name"] for s in cli.json("schedule", "list")["schedules"]] == ["beat", "night", "still"], "by name")
    check("name: beat\n" in cli.text("schedule", "get", "beat"), "get as text")
    check(cli.json("top", "--rounds", "1", "--every", "20ms")["timers"] >= 1, "the timer that wakes the queue is set, and counted")
    changed = cli.json("schedule", "put", "night", "ledger", "append", work("night"), "--cron", "@yearly")
    check(changed["spec"]["task"]["agent"] == "ledger" and changed["spec"]["zone"] == "UTC", changed)

    check(cli.text("schedule", "delete", "beat") == "schedule beat deleted\n", "delete")
    count = len([op for op in cli.ops("counter") if op == "beat"])
    check(count >= 2, f"it ran: {cli.ops('counter')}")
    for verb in ("get", "delete"):
        cli.fails(NOT_FOUND, "schedule", verb, "beat", says="schedule: ")
    time.sleep(1.3)
    ops = cli.ops("counter")
    check(len([op for op in ops if op == "beat"]) == count and "still" not in ops, "a deleted one stops, a paused one never ran")
    check(cli.task(fired["last_task"])["state"] == "succeeded", "its tasks stay")
    for name in ("still", "night"):
        check(cli.json("schedule", "delete", name) == {"deleted": True}, "delete as JSON")
    check(cli.json("schedule", "list") == {"schedules": []}, "none is left")
    cli.text("schedule", "put", "lost", "nobody", "append", work("lost"), "--every", "100ms")
    lost = until("it failed", lambda: next((s for s in [cli.json("schedule", "get", "lost")] if s["failed"] >= 2), None))
    check((lost.get("fired", 0), lost["last_error"]["reason"]) == (0, "not_found"), lost)
    row = table(cli.text("schedule", "list"), *columns)[0]
    check(row["FIRED"] == "0" and row["FAILED"] != "0" and "nobody" in row["ERROR"], row)
    check([s["schedule"] for s in cli.json("explain", "queue/default")["queue"]["schedules_failing"]] == ["lost"], "explain names it")
    cli.text("schedule", "delete", "lost")

    put = ["schedule", "put", "bad", "ledger", "append", work("bad")]
    cli.fails(REFUSED, *put, "--cron", "0 3 * * *", "--zone", "Mars/Olympus", says="zone: ")
    cli.fails(REFUSED, *put, "--cron", "61 * * * *", says="cron: ")
    cli.fails(REFUSED, *put, "--cron", "* * *", says="cron: ")
    cli.fails(REFUSED, *put, "--cron", "* * * * *", "--every", "1s", says="cron: ")
    cli.fails(REFUSED, *put, says="cron: ")
    cli.fails(REFUSED, *put, "--every", "10ms", says="every_ms: ")
    cli.fails(REFUSED, *put, "--cron", "0 0 30 2 *", says="cron: ")
    cli.fails(REFUSED, *put, "--every", "1s", "--jitter", "2s", says="jitter_ms: ")
    cli.fails(REFUSED, "schedule", "put", "bad", "-", "append", "--every", "1s", says="task.agent: ")
    cli.fails(REFUSED, "schedule", "put", "a b", "ledger", "append", "--every", "1s", says="schedule: ")
    for words in (["--every", "often"], ["--every", "1s", "--jitter", "x"], ["--every", "1s", "--catch-up", "never"], ["--every", "1s", "--attempts", "0"],
                  ["--every", "1s", "--catch-up-max", "1001"]):
        cli.fails(USAGE, *put, *words, says=words[-2])
    for words in ([], ["put", "bad"], ["get"], ["delete"], ["bogus"]):
        cli.fails(USAGE, "schedule", *words)
    check(cli.json("schedule", "list") == {"schedules": []}, "nothing of what was refused")


# -- explain

def explain(hive, cli):
    """For any address or task: owner, epoch, incarnation, desired state, lanes, what it waits for, last errors, last turns."""
    task = cli.submit("stepper", "work", work("slow", ms=60_000, to="ledger"))
    until("its turn waits", lambda: cli.status("agent", "stepper")["status"] == "waiting")
    agent = cli.json("explain", "agent/stepper")
    for member in ("id", "shard", "epoch", "incarnation", "version", "logs", "last_turns"):
        check(member in agent, f"{member}: {agent}")
    check(agent["owner"]["generation"] >= 1 and agent["desired"] == "running" and agent["active"] is True, agent)
    check(set(agent["lanes"]) == {"system", "urgent", "user", "bytes"}, agent)
    check(agent["waits"]["for"] == "the time to come" and agent["waits"]["message"] == "work", agent)
    supervisor = cli.json("explain", "supervisor", "shelf")
    check(supervisor["supervises"]["strategy"] == "one_for_all" and supervisor["desired"] == "running", supervisor)

    behind = cli.submit("stepper", "work", work("behind"))
    after = cli.submit("ledger", "append", work("after"), "--depends-on", behind)
    told = cli.json("explain", "task/" + task)
    check((told["state"], told["agent"], told["waits"]["for"]) == ("running", "stepper", "the answer of agent/stepper"), told)
    check(told["agent_now"]["address"] == "agent/stepper" and told["agent_now"]["waits"]["for"] == "the time to come", told)
    check(told["queue"]["epoch"] >= 1 and told["queue"]["owner"] == agent["owner"] and "payload" not in told, told)
    told = cli.json("explain", "task/" + behind)
    check(told["state"] == "queued" and told["position"] == 1 and "has 1 of the 1 tasks" in told["waits"]["for"], told)
    told = cli.json("explain", "task/" + after)
    check(told["waits"] == {"for": "tasks that must succeed first", "tasks": [behind]}, told)
    queue_now = cli.json("explain", "queue/default")["queue"]
    check(queue_now["agents"][0] == {"agent": "stepper", "tasks": 1, "concurrency": 1, "queued": 1}, queue_now)
    check("waits: \n" not in cli.text("explain", "task/" + behind) and "position: 1\n" in cli.text("explain", "task/" + behind), "as text")
    cli.text("task", "cancel", task)
    check(cli.ended(after)["state"] == "succeeded", "the others go on")
    told = cli.json("explain", "task/" + task)
    check(told["state"] == "cancelled" and "waits" not in told, f"an ended one waits for nothing: {told}")

    # What is not in memory is told from the store.
    cli.text("stop", "supervisor/shelf")
    until("it is stopped", lambda: cli.status("supervisor", "shelf")["status"] == "stopped")
    check(hive.stop() == 0, "hived stops")
    hive.start()
    hive.wait_ready()
    agent = cli.json("explain", "agent/upper")
    check((agent["active"], agent["status"], agent["desired"]) == (False, "stopped", "running"), agent)
    check(agent["waits"]["for"] == "supervisor/shelf, which does not run" and agent["version"] > 0 and agent["incarnation"] > 0, agent)
    cli.text("start", "supervisor/shelf")
    until("its children are back", lambda: cli.run("ask", "lower", "list", "--deadline", "5s").returncode == 0)

    cli.fails(NOT_FOUND, "explain", "task/" + NOBODY, says="name: there is no task")
    cli.fails(NOT_FOUND, "explain", "task/word", says="name: there is no task")
    cli.fails(NOT_FOUND, "explain", "agent/nobody", says="agent/nobody")
    cli.fails(REFUSED, "explain", "thing/x", says="kind: ")
    for words in ([], ["agent"], ["agent/"]):
        cli.fails(USAGE, "explain", *words)


# -- top

def top(hive, cli):
    page = cli.text("top", "--rounds", "1", "--every", "50ms")
    head, _, rest = page.partition("\n\nbusiest agents\n")
    totals = table(head, "TURNS/S", "ASKS/S", "TELLS/S", "COMMITS/S", "CRASHES/S", "REJECTED/S", "DEAD LETTERS/S", "ACTIVE", "QUEUED", "WAITING", "OUTBOX",
                   "TIMERS")
    check(int(totals[0]["ACTIVE"]) > 0 and all(re.fullmatch(r"\d+(\.\d)?", cell) for cell in totals[0].values()), page)
    rows = table(rest.rstrip("\n"), "AGENT", "BEHAVIOUR", "STATUS", "MAILBOX", "RESTARTS", "LAST ERROR")
    names = {a["name"] for a in MANIFEST["agents"]} | {"counter"}
    check({row["AGENT"] for row in rows} == names, page)
    task = cli.submit("stepper", "work", work("busy", ms=60_000))
    until("it waits", lambda: cli.status("agent", "stepper")["status"] == "waiting")
    shown = cli.json("top", "--rounds", "1", "--every", "50ms", "--rows", "1")
    check([a["name"] for a in shown["agents"]] == ["stepper"] and shown["waiting_turns"] == 1, f"the busiest first: {shown}")
    cli.text("task", "cancel", task)
    lines = cli.text("top", "--rounds", "2", "--every", "50ms", "-o", "json").splitlines()
    check(len(lines) == 2 and all("turns_per_second" in json.loads(one) for one in lines), "a line a round")
    cli.fails(USAGE, "top", "--rounds", "1", "--every", "x", says="--every")
    cli.fails(USAGE, "top", "--rounds", "1", tenant=None, says="which tenant")
    cli.fails(NOT_FOUND, "top", "--rounds", "1", "--every", "50ms", tenant="nowhere", says="tenant: ")


# -- tenants

def tenants(hive, cli):
    def put(spec):
        return hive.request("PUT", "/v1/tenants/heavy", spec)

    status, made = put({"description": "much", "weight": 5})
    check(status == 200 and made["created"] is True and made["spec"].items() >= {"description": "much", "weight": 5}.items(), made)
    check(cli.json("get", "tenant/heavy")["spec"].items() >= {"description": "much", "weight": 5}.items(), "its weight is there")
    check("  weight: 5\n" in cli.text("get", "tenant/heavy"), "and shown")
    listed = {row["NAME"]: row for row in table(cli.text("get", "tenants", tenant=None), "NAME", "ID", "WEIGHT", "QUEUE", "DESCRIPTION")}
    check((listed["heavy"]["WEIGHT"], listed["demo"]["WEIGHT"]) == ("5", "1"), f"and listed: {listed}")
    check("  weight: 1\n" in cli.text("get", "tenant/demo"), "who has none has 1")
    for bad in (101, -1, "x"):
        status, wrong = put({"weight": bad})
        check(status == 400 and wrong["error"]["field"] == "weight", wrong)
    cli.fails(REFUSED, "apply", "-f", "-", tenant="heavy", stdin=json.dumps({"tenant_spec": {"weight": 101}}), says="tenant_spec.weight: ")
    cli.text("apply", "-f", "-", tenant="heavy", stdin=json.dumps({"tenant_spec": {"weight": 7}}))
    check(cli.json("get", "tenant/heavy")["spec"]["weight"] == 7, "applied")
    cli.text("apply", "-f", "-", tenant="heavy", stdin=json.dumps({"agents": []}))
    check(cli.json("get", "tenant/heavy")["spec"]["weight"] == 7, "and left alone when it is not named")


def partitions(hive, cli):
    """A queue in several partitions is one queue to people, also when they are added while tasks wait."""
    names = [f"part-{i}" for i in range(8)]
    tenant = "parts"
    hive.request("PUT", "/v1/tenants/parts", {})
    cli.text("apply", "-f", "-", tenant=tenant, stdin=json.dumps({"agents": [{"name": n, "spec": {"behaviour": "ledger", "capabilities": ["append"]}} for n in names]}))
    cli.text("queue", "pause", tenant=tenant)

    def submit(name, key):
        status, task = hive.request("POST", f"/v1/tenants/{tenant}/tasks", {"agent": name, "type": "append", "payload": {"op": key}, "idempotency_key": key})
        check(status == 200, task)
        return task["id"]

    before = {key: submit(name, key) for name, key in ((n, "before-" + n) for n in names)}
    cli.text("apply", "-f", "-", tenant=tenant, stdin=json.dumps({"tenant_spec": {"queue_partitions": 4}}))
    check("  queue_partitions: 4\n" in cli.text("get", "tenant/parts"), "shown")
    check("4 partitions" in cli.text("queue", "show", tenant=tenant), "and by the queue")
    cli.fails(REFUSED, "apply", "-f", "-", tenant=tenant, stdin=json.dumps({"tenant_spec": {"queue_partitions": 2}}), says="none taken away")
    cli.fails(REFUSED, "apply", "-f", "-", tenant=tenant, stdin=json.dumps({"tenant_spec": {"queue_partitions": 15}}), says="queue_partitions")
    after = {key: submit(name, key) for name, key in ((n, "after-" + n) for n in names)}
    check({key: submit(key.split("-", 1)[1], key) for key in before | after} == before | after, "the same key meets the same task")
    shown = cli.json("queue", "show", tenant=tenant)
    check((shown["paused"], shown["partitions"]) == (True, 4), f"paused as before: {shown}")
    ids = [t["id"] for t in cli.json("task", "list", "--limit", "100", tenant=tenant)["tasks"]]
    check(ids == sorted(ids) and set(ids) == set((before | after).values()), f"one list, in order: {ids}")
    paged, token = [], ""
    while True:
        _, page = hive.request("GET", f"/v1/tenants/{tenant}/tasks?page_size=3&page_token={token}")
        paged += [t["id"] for t in page.get("tasks", [])]
        token = page.get("next_page_token", "")
        if not token:
            break
    check(paged == ids, f"in pages too: {paged}")
    check(all(t["state"] == "queued" for t in cli.json("task", "list", "--limit", "100", tenant=tenant)["tasks"]), "nothing runs while it is paused")
    cancelled = after["after-part-0"]
    cli.text("task", "cancel", cancelled, tenant=tenant)
    explained = cli.json("explain", "queue/default", tenant=tenant)
    check([p["address"] for p in explained["partitions"]] == ["queue/default", "queue/default/1", "queue/default/2", "queue/default/3"], explained)
    check(cli.json("explain", "queue/default/3", tenant=tenant)["queue"]["partition"] == 3, "each by itself too")
    cli.fails(NOT_FOUND, "explain", "queue/default/99", tenant=tenant)
    cli.text("queue", "resume", tenant=tenant)
    for key, task in (before | after).items():
        want = "cancelled" if task == cancelled else "succeeded"
        until(f"{key} is over", lambda t=task, w=want: cli.json("task", "get", t, tenant=tenant)["state"] == w)
    cli.text("queue", "limit", "part-3", "4", tenant=tenant)
    shown = cli.json("queue", "show", tenant=tenant)["agents"]
    check([(a["agent"], a["concurrency"]) for a in shown] == [("part-3", 4)], f"of one agent, wherever it is: {shown}")


# -- who may

def permissions(hive, cli, folder):
    """A viewer reads and changes nothing; another tenant's key does not even hear that there is something."""
    keys = {name: os.path.join(folder, name + ".key") for name in ("viewer", "tenant", "other")}
    cli.text("keys", "create", "--role", "viewer", "--out", keys["viewer"])
    cli.text("keys", "create", "--out", keys["tenant"])
    cli.text("keys", "create", "--out", keys["other"], tenant="heavy")
    viewer, own, other = (Cli(hive, keys[name]) for name in ("viewer", "tenant", "other"))

    cli.text("ask", "relay", "forward", json.dumps({"to": "stepper", "op": "guarded"}))
    letter = until("a dead letter", lambda: cli.json("dead-letters", "list")["dead_letters"])[0]["id"]
    cli.text("schedule", "put", "guarded", "ledger", "append", "--every", "1h")
    task = cli.submit("stepper", "work", work("guarded", ms=60_000))
    reads = (["dead-letters", "list"], ["dead-letters", "show", letter], ["queue", "show"], ["schedule", "list"], ["schedule", "get", "guarded"],
             ["task", "list"], ["task", "get", task], ["run", "show", task], ["top", "--rounds", "1", "--every", "20ms"])
    writes = (("agents.write", ["stop", "agent/ledger"]), ("agents.write", ["start", "agent/ledger"]), ("agents.write", ["restart", "agent/ledger", "--reset"]),
              ("supervisors.write", ["stop", "supervisor/shelf"]), ("supervisors.write", ["start", "supervisor/shelf"]),
              ("supervisors.write", ["restart", "supervisor/shelf"]), ("dead_letters.write", ["dead-letters", "redrive", letter]),
              ("dead_letters.write", ["dead-letters", "drop", letter]), ("dead_letters.write", ["dead-letters", "drop", "--all"]),
              ("queues.write", ["queue", "pause"]), ("queues.write", ["queue", "resume", "ledger"]), ("queues.write", ["queue", "limit", "ledger", "3"]),
              ("schedules.write", ["schedule", "put", "guarded", "ledger", "append", "--every", "2h"]), ("schedules.write", ["schedule", "delete", "guarded"]),
              ("tasks.write", ["task", "submit", "ledger", "append", work("no")]), ("tasks.write", ["task", "cancel", task]))
    for words in reads:
        check(viewer.text(*words) and viewer.json(*words), f"a viewer reads: {words}")
        other.fails(NOT_FOUND, *words, says='tenant: there is no tenant "demo"')
    for permission, words in writes:
        viewer.fails(DENIED, *words, says=f"permission {permission}")
        other.fails(NOT_FOUND, *words, says='tenant: there is no tenant "demo"')
    nobody = Cli(hive, keys["other"])
    nobody.key_file = None
    nobody.fails(DENIED, "dead-letters", "list", says="key")
    own.fails(DENIED, "apply", "-f", "-", stdin=json.dumps({"tenant_spec": {"weight": 9}}), says="tenant_spec: ")
    own.fails(DENIED, "tenants", "create", "demo", says="permission tenants.write")

    # In its own tenant, ids of the other mean nothing.
    heavy = {"tenant": "heavy"}
    check(other.json("dead-letters", "list", **heavy) == {"dead_letters": []} and other.json("task", "list", **heavy) == {"tasks": []}, "it sees its own")
    check(other.json("schedule", "list", **heavy) == {"schedules": []}, "it sees its own")
    other.text("apply", "-f", "-", stdin=json.dumps({"agents": [{"name": "ledger", "spec": {"behaviour": "ledger"}}]}), **heavy)
    for words in (["dead-letters", "show", letter], ["dead-letters", "redrive", letter], ["dead-letters", "drop", letter], ["task", "get", task],
                  ["task", "cancel", task], ["run", "show", task]):
        other.fails(NOT_FOUND, *words, says="id: ", **heavy)
    for verb in ("get", "delete"):
        other.fails(NOT_FOUND, "schedule", verb, "guarded", says="schedule: ", **heavy)
    other.fails(NOT_FOUND, "task", "submit", "ledger", "append", "--depends-on", task, says="depends_on: ", **heavy)
    other.json("queue", "pause", **heavy)
    check(cli.json("queue", "show")["paused"] is False, "its queue is its own")

    # Nothing of all this had an effect, and the tenant's own key may do what the viewer's may not.
    check(cli.json("schedule", "get", "guarded")["spec"]["every_ms"] == 3_600_000 and cli.task(task)["state"] == "running", "as it was")
    check(own.json("queue", "limit", "ledger", "3")["agents"][0]["concurrency"] == 3, "a tenant's key sets its queue")
    check(own.json("task", "cancel", task)["state"] == "cancelled", "and cancels")
    check(own.text("dead-letters", "drop", letter) == f"dead letter {letter} dropped\n", "and drops")
    check(own.text("schedule", "delete", "guarded") == "schedule guarded deleted\n", "and deletes")
    check(own.text("restart", "agent/ledger") == "agent/ledger restarting\n", "and restarts")


def commands(folder, ends):
    hive = Hive(os.path.join(BIN, "hived"), folder, ["node.workers=2"])
    ends.callback(hive.end)
    hive.start()
    hive.wait_ready()
    cli = Cli(hive)
    cli.text("apply", "-f", "-", tenant=None, stdin=json.dumps(MANIFEST))
    sections = (lifecycle, dead_letters, tasks, runs, queue, schedules, explain, top, tenants, partitions)
    for section in (*sections, lambda h, c: permissions(h, c, folder)):
        begun = time.monotonic()
        section(hive, cli)
        print(f"{section.__name__.replace('<lambda>', 'permissions')}: {time.monotonic() - begun:.1f} s", flush=True)
    check(hive.stop() == 0, "hived stops cleanly")
    print("ok")


def main():
    return run_test("hivectl", commands, "--keep" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
