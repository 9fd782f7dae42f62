#!/usr/bin/env python3
"""The checker finds every kind of planted violation, and nothing in a history as it should be."""
import copy
import unittest

from checker import check, missing, read_history


def send(op, kind="append", ledger="l0", via=None, client="c0"):
    return {"do": "send", "op": op, "kind": kind, "ledger": ledger, "via": via, "client": client}


def end(op, outcome="ok", answer=None):
    return {"do": "end", "op": op, "outcome": outcome, "answer": answer}


class CheckerTest(unittest.TestCase):
    def setUp(self):
        self.journals = [
            [send("a1"), end("a1", answer={"count": 1}),
             send("a1"), end("a1", answer={"count": 1}),                                  # a repeat
             send("r1", "forward", via="relay"), end("r1", answer={"sent": 1}),
             send("r2", "forward", via="relay"), end("r2", "unknown"),                    # came through
             send("x1", "forbidden"), end("x1", "key_taken"),
             send("r3", "forward", via="relay"), end("r3", answer={"sent": 3}),
             send("n1"), end("n1", "not_executed")],
            [send("b1", client="c1"), end("b1", "unknown"), send("b1", client="c1"), end("b1", answer={"count": 2}),
             send("w1", "work", "l1", "stepper", "c1"), end("w1", answer={"count": 1}),
             send("t1", "tell", "l1", client="c1"), end("t1", answer={}),                 # lost, and allowed to be
             send("b2", client="c1")],                                                    # no end: killed; not there
        ]
        self.ledgers = {"l0": ["a1", "b1", "r1", "r2", "r3"], "l1": ["w1"]}
        self.senders = {"relay": ["r1", "r2", "r3"], "stepper": ["w1"]}

    def found(self, **options):
        options.setdefault("senders", self.senders)
        return check(read_history(self.journals), self.ledgers, **options)

    def assert_found(self, *kinds, **options):
        found = self.found(**options)
        self.assertEqual(sorted({v.kind for v in found}), sorted(kinds), found)

    def test_good_history_has_none(self):
        self.assert_found(counts={"l0": 5, "l1": 1}, after_restart=copy.deepcopy(self.ledgers))

    def test_lost_append(self):
        self.ledgers["l0"] = ["x", "b1", "r1", "r2", "r3"]
        self.assert_found("lost", "foreign")

    def test_lost_last_append(self):
        self.journals[0] += [send("a9"), end("a9", answer={"count": 6})]
        self.assert_found("lost")

    def test_lost_work(self):
        self.ledgers["l1"] = []
        self.assert_found("lost", senders={})

    def test_lost_forward(self):
        self.ledgers["l0"].remove("r3")
        self.assert_found("lost", senders={})

    def test_doubled_append(self):
        self.ledgers["l0"].append("a1")
        self.assert_found("doubled")

    def test_doubled_unknown(self):
        self.ledgers["l0"].append("r2")
        self.assert_found("doubled")

    def test_doubled_tell(self):
        self.ledgers["l1"] += ["t1", "t1"]
        self.assert_found("doubled")

    def test_sender_did_it_twice(self):
        self.senders["stepper"].append("w1")
        self.assert_found("doubled")

    def test_foreign_operation(self):
        self.ledgers["l1"].append("z")
        self.assert_found("foreign")

    def test_operation_in_the_wrong_ledger(self):
        self.ledgers["l1"].append("b2")
        self.assert_found("foreign")

    def test_refused_and_yet_there(self):
        self.ledgers["l0"].append("n1")
        self.assert_found("refused_applied")

    def test_application_error_and_yet_there(self):
        self.journals[0] += [send("e1"), end("e1", "application")]
        self.ledgers["l0"].append("e1")
        self.assert_found("refused_applied")

    def test_refused_after_unknown_may_be_there(self):
        self.journals[0] += [send("u1"), end("u1", "unknown"), send("u1"), end("u1", "not_executed")]
        self.ledgers["l0"].append("u1")
        self.assert_found()

    def test_taken_key_applied(self):
        self.ledgers["l0"].append("x1")
        self.assert_found("forbidden")

    def test_taken_key_accepted(self):
        self.journals[0] += [send("x2", "forbidden"), end("x2", answer={"count": 6})]
        self.assert_found("forbidden")

    def test_own_key_refused(self):
        self.journals[0] += [send("a1"), end("a1", "key_taken")]
        self.assert_found("unexpected")

    def test_repeat_with_another_answer(self):
        self.journals[0] += [send("a1"), end("a1", answer={"count": 7})]
        self.assert_found("repeat_differs")

    def test_count_of_another_position(self):
        self.journals[1][3]["answer"] = {"count": 4}
        self.assert_found("wrong_count")

    def test_count_of_another_position_in_a_stepper(self):
        self.journals[1] += [send("w2", "work", "l1", "stepper", "c1"), end("w2", answer={"count": 1})]
        self.ledgers["l1"].append("w2")
        self.senders["stepper"].append("w2")
        self.assert_found("wrong_count")

    def test_count_missing(self):
        self.journals[0][1]["answer"] = self.journals[0][3]["answer"] = {}
        self.assert_found("wrong_count")

    def test_reordered_sends(self):
        self.ledgers["l0"] = ["a1", "b1", "r3", "r1", "r2"]
        self.assert_found("reordered")

    def test_reordered_appends(self):
        self.journals[0] += [send("a2"), end("a2", answer={"count": 1})]
        self.ledgers["l0"].insert(0, "a2")
        self.assert_found("reordered", "wrong_count")

    def test_concurrent_operations_have_no_order(self):
        self.journals[0] += [send("r4", "forward", via="relay"), send("r5", "forward", via="relay"),
                             end("r4", answer={}), end("r5", answer={})]
        self.ledgers["l0"] += ["r5", "r4"]
        self.senders["relay"] += ["r4", "r5"]
        self.assert_found()

    def test_sent_and_never_received(self):
        self.senders["relay"].append("r9")
        self.assert_found("half_applied")

    def test_received_and_never_sent(self):
        self.senders["relay"].remove("r2")
        self.assert_found("half_applied")

    def test_count_is_not_the_length(self):
        self.assert_found("half_applied", counts={"l0": 6})

    def test_changed_by_a_restart(self):
        after = copy.deepcopy(self.ledgers)
        after["l1"] = []
        self.assert_found("changed", after_restart=after)

    def test_unexpected_answer(self):
        self.journals[0] += [send("a8"), end("a8", "unexpected", "404")]
        self.assert_found("unexpected")

    def test_missing_names_what_a_drain_waits_for(self):
        self.ledgers["l1"] = []
        self.assertEqual(missing(read_history(self.journals), self.ledgers), ["w1"])


if __name__ == "__main__":
    unittest.main()
