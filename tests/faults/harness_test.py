#!/usr/bin/env python3
"""The whole kill test, load and kills and checker, against a toy hive: silent when it is good, not when it is defective."""
import json
import os
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class HarnessTest(unittest.TestCase):
    def run_with(self, defect):
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(os.path.join(HERE, "toy_hive.py"), os.path.join(folder, "hived"))
            result = os.path.join(folder, "result.json")
            done = subprocess.run([os.path.join(HERE, "run"), "--kills", "6", "--seed", "5", "--drain", "2", "--bin", folder,
                                   "--dir", folder, "--json", result], env={**os.environ, "TOY_DEFECT": defect}, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
            self.assertTrue(os.path.exists(result), done.stdout)
            with open(result, encoding="utf-8") as f:
                return done.returncode, set(json.load(f)["violation_kinds"])

    def test_good_hive_passes(self):
        self.assertEqual(self.run_with(""), (0, set()))

    def test_lost_writes_are_found(self):
        code, kinds = self.run_with("lost")
        self.assertEqual(code, 1)
        self.assertIn("lost", kinds)

    def test_forgotten_keys_are_found(self):
        code, kinds = self.run_with("doubled")
        self.assertEqual(code, 1)
        self.assertLessEqual({"doubled", "forbidden"}, kinds)

    def test_work_done_by_half_is_found(self):
        code, kinds = self.run_with("torn")
        self.assertEqual(code, 1)
        self.assertTrue({"half_applied", "doubled"} & kinds, kinds)


if __name__ == "__main__":
    unittest.main()
