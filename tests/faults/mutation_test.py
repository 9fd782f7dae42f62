#!/usr/bin/env python3
"""A checker is believed when it fails on a planted defect: a hived that skips the dedup must be caught."""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
EXPECTED = {"skip_dedup": {"doubled"}}  # at least one of these kinds must be found


def main(mutation):
    with tempfile.TemporaryDirectory() as folder:
        result_file = os.path.join(folder, "result.json")
        done = subprocess.run([os.path.join(HERE, "run"), "--mutation", mutation, "--kills", "4", "--seed", "7",
                               "--drain", "10", "--dir", folder, "--json", result_file], check=False)
        if done.returncode == 3 or not os.path.exists(result_file):
            print("the run itself broke off")
            return 1
        with open(result_file, encoding="utf-8") as f:
            found = set(json.load(f)["violation_kinds"])
    caught = bool(found & EXPECTED[mutation])
    print(f"{mutation}: {'caught' if caught else 'NOT CAUGHT'}, found {sorted(found) or 'nothing'}")
    return 0 if caught else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
