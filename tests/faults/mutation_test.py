#!/usr/bin/env python3
"""A checker is believed when it fails on a planted defect: a hived that skips the dedup, the fence or the sync must be caught.

usage: mutation_test.py DEFECT [options of tests/faults/run]
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# At least one of these kinds must be found.
EXPECTED = {"skip_dedup": {"doubled"}, "skip_fence": {"doubled", "lost", "old_owner"}, "skip_sync": {"lost"}}


def main(defect, options):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # PostgreSQL runs as another user
        result_file = os.path.join(folder, "result.json")
        done = subprocess.run([os.path.join(HERE, "run"), *options, "--dir", folder, "--json", result_file], check=False)
        if done.returncode == 3 or not os.path.exists(result_file):
            print("the run itself broke off")
            return 1
        with open(result_file, encoding="utf-8") as f:
            found = set(json.load(f)["violation_kinds"])
    caught = bool(found & EXPECTED[defect])
    print(f"{defect}: {'caught' if caught else 'NOT CAUGHT'}, found {sorted(found) or 'nothing'}")
    return 0 if caught else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
