#!/usr/bin/env python3
"""Runs the commands of the root README's tour, all of them, in order, as they are printed."""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests/faults"))
from hive_process import free_port  # noqa: E402


def tour_commands():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        section = f.read().split("## A five-minute tour", 1)[1].split("\n## ", 1)[0]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S))


def main():
    commands = tour_commands()
    assert "deploy/quickstart" in commands and "kill -9" in commands, "the README's tour was not found"
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HIVE_HOME": home, "HIVE_PORT": str(free_port())}
        for name in ("HIVE_SERVER", "HIVE_DATA", "HIVE_KEY", "HIVE_TENANT"):
            environment.pop(name, None)
        try:
            done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", commands], cwd=ROOT, env=environment, check=False,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        finally:
            subprocess.run([os.path.join(ROOT, "deploy/quickstart"), "--stop"], env=environment, check=False,
                           stdout=subprocess.DEVNULL)
    print(done.stdout)
    expected = ["refused, as it should be", "the agent crashed", "a viewer may not", '"slow"', '{"count":3}']
    missing = [text for text in expected if text not in done.stdout]
    if done.returncode or missing:
        print(f"the tour ended with {done.returncode}; not seen: {missing}")
        return 1
    doubled = re.findall(r'"first",?\s*"first"', done.stdout)
    return 1 if doubled else 0


if __name__ == "__main__":
    sys.exit(main())
