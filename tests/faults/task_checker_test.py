#!/usr/bin/env python3
"""The checker of the task kill test on planted violations: each must be found, and nothing in a clean history."""
import copy
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import task_checker  # noqa: E402

JOURNAL = [
    {"op": "a", "id": "t1", "cancelled_at": None},
    {"op": "b", "id": "t2", "cancelled_at": ["a"], "cancel_sent": True},
    {"op": "c", "id": None, "cancelled_at": None},                          # no answer, and it is there
    {"op": "d", "id": None, "cancelled_at": None},                          # no answer, and it is not
    {"op": "e", "id": "t5", "cancelled_at": None, "cancel_sent": True},     # the cancel came too late
    {"op": "f", "id": "t6", "cancelled_at": ["a", "f"], "cancel_sent": True},  # half done when it was acknowledged
]
TASKS = {"t1": {"state": "succeeded", "op": "a"}, "t2": {"state": "cancelled", "op": "b"}, "t3": {"state": "succeeded", "op": "c"},
         "t5": {"state": "succeeded", "op": "e"}, "t6": {"state": "cancelled", "op": "f"}}
LEDGER = ["a", "f", "c", "e"]
BEATS = [(1000, 1003), (2000, 2000), (3000, 3900)]


class TaskChecker(unittest.TestCase):
    def found(self, text, change):
        history = {"journal": copy.deepcopy(JOURNAL), "tasks": copy.deepcopy(TASKS), "ledger": list(LEDGER), "beats": list(BEATS)}
        change(history)
        wrong = task_checker.check(**history)
        self.assertTrue(any(text in w for w in wrong), f"{text!r} not in {wrong}")

    def test_clean_history(self):
        self.assertEqual(task_checker.check(JOURNAL, TASKS, LEDGER, BEATS), [])

    def test_planted(self):
        self.found("is lost", lambda h: h["tasks"].pop("t1"))
        self.found("took effect 2 times", lambda h: h["ledger"].append("a"))
        self.found("had no effect", lambda h: h["ledger"].remove("a"))
        self.found("after its cancellation", lambda h: h["ledger"].append("b"))
        self.found("acknowledged as cancelled and is succeeded", lambda h: h["tasks"]["t2"].update(state="succeeded"))
        self.found("nobody asked", lambda h: h["tasks"]["t1"].update(state="cancelled"))
        self.found("did not end well: running", lambda h: h["tasks"]["t3"].update(state="running"))
        self.found("without a task", lambda h: h["ledger"].append("d"))
        self.found("early", lambda h: h["beats"].append((4000, 3999)))
        self.found("ran 2 times", lambda h: h["beats"].append((3000, 3950)))
        self.found("no task for the slots", lambda h: h["beats"].append((6000, 6000)))


if __name__ == "__main__":
    unittest.main()
