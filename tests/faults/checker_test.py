#!/usr/bin/env python3
"""The checker finds every kind of planted violation, and nothing in a history as it should be."""
import copy
import unittest

from checker import Forgotten, Turn, check, check_owners, check_resources, missing, read_history


def send(op, kind="append", ledger="l0", via=None, client="c0", at=0):
    return {"do": "send", "op": op, "kind": kind, "ledger": ledger, "via": via, "client": client, "at": at}


def end(op, outcome="ok", answer=None, at=0):
    return {"do": "end", "op": op, "outcome": outcome, "answer": answer, "at": at}


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

    # -- a store that forgot what was acknowledged from 10 to 20

    def assert_found_after_loss(self, *kinds, named=True):
        self.assert_found(*kinds, forgotten=[Forgotten(10, 20, named)])

    def test_named_loss_is_allowed(self):
        self.journals[0] += [send("a8", at=9), end("a8", answer={"count": 6}, at=11), send("a9", at=19), end("a9", answer={"count": 7}, at=22)]
        self.assert_found_after_loss()
        self.assertEqual(missing(read_history(self.journals), self.ledgers, [Forgotten(10, 20, True)]), [])

    def test_loss_that_nobody_names(self):
        self.journals[0] += [send("a8", at=11), end("a8", answer={"count": 6}, at=12)]
        self.assert_found_after_loss("unnamed_loss", named=False)

    def test_nothing_lost_needs_no_name(self):
        self.journals[0] += [send("a8", at=11), end("a8", answer={"count": 6}, at=12)]
        self.ledgers["l0"].append("a8")
        self.assert_found_after_loss(named=False)

    def test_loss_before_and_after_the_time_of_a_loss(self):
        self.journals[0] += [send("a8", at=8), end("a8", answer={"count": 6}, at=9), send("a9", at=21), end("a9", answer={"count": 6}, at=22)]
        self.assert_found_after_loss("lost")
        self.assertEqual(len(self.found(forgotten=[Forgotten(10, 20, True)])), 2)

    def test_acknowledged_again_after_a_loss_and_not_there(self):
        self.journals[0] += [send("a8", at=11), end("a8", answer={"count": 6}, at=12), send("a8", at=25), end("a8", answer={"count": 6}, at=26)]
        self.assert_found_after_loss("lost")

    def test_acknowledged_before_a_loss_and_not_there(self):
        self.journals[0] += [send("a8", at=8), end("a8", answer={"count": 6}, at=9), send("a8", at=11), end("a8", answer={"count": 6}, at=12)]
        self.assert_found_after_loss("lost")

    def test_lost_twice(self):
        self.journals[0] += [send("a8", at=11), end("a8", answer={"count": 6}, at=12), send("a8", at=31), end("a8", answer={"count": 6}, at=32)]
        self.assert_found(forgotten=[Forgotten(10, 20, True), Forgotten(30, 40, True)])
        self.assert_found("unnamed_loss", forgotten=[Forgotten(10, 20, True), Forgotten(30, 40, False)])

    def test_done_again_after_a_loss_at_another_place(self):
        self.journals[0] += [send("a8", at=11), end("a8", answer={"count": 6}, at=12), send("a9", at=23), end("a9", answer={"count": 6}, at=24),
                             send("a8", at=25), end("a8", answer={"count": 7}, at=26),
                             send("a8-other-9", "forbidden", at=27), end("a8-other-9", answer={"count": 8}, at=28)]
        self.ledgers["l0"] += ["a9", "a8", "a8-other-9"]
        self.assert_found_after_loss()

    def test_done_twice_after_a_loss(self):
        self.journals[0] += [send("a8", at=11), end("a8", answer={"count": 6}, at=12)]
        self.ledgers["l0"] += ["a8", "a8"]
        self.assert_found_after_loss("doubled")

    def test_second_history_after_a_loss(self):
        """A node kept what the store forgot, and counts on from there."""
        self.journals[0] += [send("a8", at=11), end("a8", answer={"count": 6}, at=12), send("a9", at=23), end("a9", answer={"count": 7}, at=24)]
        self.ledgers["l0"].append("a9")
        self.assert_found_after_loss("wrong_count")

    def test_sender_and_receiver_forgot_different_things(self):
        self.journals[0] += [send("r8", "forward", via="relay", at=11), end("r8", answer={"sent": 6}, at=12)]
        self.senders["relay"].append("r8")
        self.assert_found_after_loss("half_applied")


class OwnersTest(unittest.TestCase):
    def assert_found(self, *kinds, turns):
        self.assertEqual([v.kind for v in check_owners([Turn(*t) for t in turns])], list(kinds))

    def test_one_owner_after_the_other(self):
        self.assert_found(turns=[(1, 30, 12, 12, 3), (1, 10, 11, 11, 2), (1, 11, 11, 11, 2), (2, 5, 12, 12, 9), (1, 20, 12, 12, 3)])

    def test_committed_by_a_former_owner(self):
        self.assert_found("old_owner", turns=[(1, 10, 11, 11, 2), (1, 11, 11, 12, 3), (1, 20, 12, 12, 3)])

    def test_an_older_epoch_at_a_later_position(self):
        self.assert_found("old_epoch", turns=[(1, 10, 11, 11, 2), (1, 20, 12, 12, 3), (1, 21, 11, 11, 2)])

    def test_one_epoch_of_two(self):
        self.assert_found("two_owners", turns=[(1, 10, 11, 11, 2), (1, 11, 12, 12, 2)])


class ResourcesTest(unittest.TestCase):
    BOUNDS = {"rss": 10, "threads": 2}

    def found(self, rss, threads=lambda at: 20, until=200):
        return [v.text for v in check_resources({"node-1": [(at, {"rss": rss(at), "threads": threads(at)}) for at in range(until)]}, self.BOUNDS)]

    def test_growth_that_ends_is_none(self):
        self.assertEqual(self.found(lambda at: min(at * 4, 200)), [])

    def test_memory_that_grows_on(self):
        self.assertRegex(self.found(lambda at: 100 + at)[0], "node-1: rss from")

    def test_threads_that_are_left_behind(self):
        self.assertRegex(self.found(lambda at: 100, lambda at: at // 10)[0], "node-1: threads from")

    def test_a_short_life_says_nothing(self):
        self.assertEqual(self.found(lambda at: 100 + at * 10, until=50), [])

    def test_one_peak_is_not_growth(self):
        self.assertEqual(self.found(lambda at: 900 if at == 190 else 100), [])


if __name__ == "__main__":
    unittest.main()
