"""Decides from a client's journals and the ledgers' contents whether a hive kept its promises.

Pure functions of data; knows neither HTTP nor processes. What is promised, and the word for each breach:

  lost            an acknowledged operation is not there
  doubled         an operation is there more than once
  foreign         something is there that nobody sent, or in a ledger it was not sent to
  refused_applied the caller was told "not executed", and yet it is there
  forbidden       a key was used again for another request: it was accepted, or it is there
  repeat_differs  a repeat with the same key got another answer
  wrong_count     an append or work was answered with a position where another operation stands
  reordered       operations that one client sent one after the other are there in another order
  half_applied    what a sender says it did and what its receiver has are not the same; or a count is not its list's length
  changed         the ledgers differ before and after a last kill and restart with nothing in between
  unexpected      an answer that cannot be (wrong error, malformed)
  unnamed_loss    the store forgot what was acknowledged, and no node said so
  old_owner       a turn was committed in the name of a node that does not own the shard (K3)
  old_epoch       epochs of a shard decrease along the positions of its turns (K3)
  two_owners      two nodes committed under one epoch of a shard (K3)
  grows           a process holds more memory, descriptors or threads the longer it lives (K8)
"""
import statistics
from collections import Counter, namedtuple

Violation = namedtuple("Violation", "kind op text")
# What a promoted standby did not have: what was acknowledged between two moments. `named`: a node said that commits are lost.
Forgotten = namedtuple("Forgotten", "since until named")
# A turn as PostgreSQL saw it: `writer` committed it when `owner` had the shard under `epoch`.
Turn = namedtuple("Turn", "shard position writer owner epoch")

# How one attempt ended, as the client journals it.
OK = "ok"                      # acknowledged, `answer` holds the payload
NOT_EXECUTED = "not_executed"  # refused before it ran; it never will
UNKNOWN = "unknown"            # no answer, or the hive says that it does not know
APPLICATION = "application"    # the agent said no: nothing of it may remain
KEY_TAKEN = "key_taken"        # the key belongs to another request
UNEXPECTED = "unexpected"


class Operation:
    """One thing that a client wanted done once: all its attempts, in the order of the journal."""

    def __init__(self, record):
        self.op = record["op"]
        self.kind = record["kind"]          # append, forward, work, tell, forbidden, crash
        self.ledger = record["ledger"]      # where it should end up
        self.via = record.get("via")        # relay or stepper
        self.client = record["client"]
        self.sent_at = record["line"]
        self.acked_at = None
        self.outcomes = []                  # (outcome, answer) of every finished attempt
        self.attempts = 0
        self.sent_times, self.end_times = [], []

    def answers(self):
        return [answer for outcome, answer in self.outcomes if outcome == OK]

    def acked(self):
        return self.acked_at is not None

    def acked_spans(self):
        """(sent, acknowledged) of each acknowledged attempt. Attempts that overlap are twins, told apart by their order alone."""
        return [(sent, end) for sent, end, (outcome, _) in zip(self.sent_times, self.end_times, self.outcomes) if outcome == OK]

    def surely_absent(self):
        """Every attempt was answered, and every answer says that nothing was done."""
        never = (NOT_EXECUTED, APPLICATION, KEY_TAKEN)
        return len(self.outcomes) == self.attempts and all(outcome in never for outcome, _ in self.outcomes)


def read_history(journals):
    """Operations from the clients' journals: lists of records, each in the order it was written.

    {"do": "send", "op", "kind", "ledger", "via", "client"} before each attempt,
    {"do": "end", "op", "outcome", "answer"} after it, if there was an after. Both with "at", a time.
    """
    operations = {}
    for journal in journals:
        for line, record in enumerate(journal):
            if record["do"] == "send":
                operation = operations.get(record["op"])
                if operation is None:
                    operation = operations[record["op"]] = Operation({**record, "line": line})
                operation.attempts += 1
                operation.sent_times.append(record.get("at", 0))
            else:
                operation = operations[record["op"]]
                operation.end_times.append(record.get("at", 0))
                operation.outcomes.append((record["outcome"], record.get("answer")))
                if record["outcome"] == OK and operation.acked_at is None:
                    operation.acked_at = line
    return operations


def check_presence(operations, ledgers):
    there = {name: Counter(ops) for name, ops in ledgers.items()}
    for name, counts in there.items():
        for op, times in counts.items():
            operation = operations.get(op)
            if operation is None:
                yield Violation("foreign", op, f"{name} holds it, nobody sent it")
            elif operation.ledger != name:
                yield Violation("foreign", op, f"{name} holds it, it was sent to {operation.ledger}")
            if times > 1:
                yield Violation("doubled", op, f"{times} times in {name}")
    for operation in operations.values():
        present = there.get(operation.ledger, {}).get(operation.op, 0) > 0
        if operation.kind == "forbidden":
            if present:
                yield Violation("forbidden", operation.op, f"a request whose key was taken is in {operation.ledger}")
        elif operation.kind in ("append", "forward", "work") and operation.acked() and not present:
            yield Violation("lost", operation.op, f"acknowledged {operation.kind}, not in {operation.ledger}")
        elif operation.surely_absent() and present:
            yield Violation("refused_applied", operation.op, f"{operation.outcomes}, yet in {operation.ledger}")


def check_answers(operations):
    for operation in operations.values():
        for outcome, answer in operation.outcomes:
            if outcome == UNEXPECTED:
                yield Violation("unexpected", operation.op, f"{operation.kind}: {answer}")
        if operation.kind == "forbidden" and operation.acked():
            yield Violation("forbidden", operation.op, "a taken key was accepted for another request")
        elif operation.kind != "forbidden" and any(o == KEY_TAKEN for o, _ in operation.outcomes):
            yield Violation("unexpected", operation.op, "its own key was refused as taken by another request")
        answers = operation.answers()
        if any(answer != answers[0] for answer in answers):
            yield Violation("repeat_differs", operation.op, f"answers {answers}")


def check_counts(operations, ledgers, senders):
    """An append answers its position in the ledger, counted from one, and so does work in its stepper's own list."""
    for operation in operations.values():
        if operation.kind == "append":
            name, ops = operation.ledger, ledgers.get(operation.ledger, [])
        elif operation.kind == "work" and operation.via in senders:
            name, ops = operation.via, senders[operation.via]
        else:
            continue
        if not operation.acked():
            continue
        answer = operation.answers()[0]
        count = answer.get("count") if isinstance(answer, dict) else None
        stands_there = isinstance(count, int) and 1 <= count <= len(ops) and ops[count - 1] == operation.op
        if not stands_there and (operation.op in ops or not isinstance(count, int)):
            yield Violation("wrong_count", operation.op, f"answered {answer}, {name} says otherwise")


def check_order(operations, ledgers):
    """What a client sent after an acknowledgement comes after what was acknowledged, on the same path."""
    position = {}
    for name, ops in ledgers.items():
        for index, op in enumerate(ops):
            position.setdefault((name, op), index)
    paths = {}
    for operation in operations.values():
        # Through a relay the acknowledgement is the relay's commit, and its sends arrive in the order of its commits.
        if operation.kind in ("append", "forward") and (operation.ledger, operation.op) in position:
            paths.setdefault((operation.client, operation.via, operation.ledger), []).append(operation)
    for path in paths.values():
        path.sort(key=lambda o: o.sent_at)
        acked = []  # (acked_at, position, op), waiting to be before a later send
        highest, highest_op = -1, None
        for operation in path:
            here = position[operation.ledger, operation.op]
            for entry in [a for a in acked if a[0] < operation.sent_at]:
                acked.remove(entry)
                if entry[1] > highest:
                    highest, highest_op = entry[1], entry[2]
            if here < highest:
                yield Violation("reordered", operation.op, f"before {highest_op} in {operation.ledger}, sent after it")
            if operation.acked():
                acked.append((operation.acked_at, here, operation.op))


def check_senders(operations, ledgers, senders):
    """`senders`: what each relay or stepper says it has sent, as operation ids. Sent and received are the same sets."""
    received = {}
    for name, ops in ledgers.items():
        for op in ops:
            operation = operations.get(op)
            if operation is not None and operation.via in senders:
                received.setdefault(operation.via, set()).add(op)
    for name, ops in senders.items():
        if len(ops) != len(set(ops)):
            for op, times in Counter(ops).items():
                if times > 1:
                    yield Violation("doubled", op, f"{name} did it {times} times")
        for op in sorted(set(ops) - received.get(name, set())):
            yield Violation("half_applied", op, f"{name} sent it, no ledger has it")
        for op in sorted(received.get(name, set()) - set(ops)):
            yield Violation("half_applied", op, f"a ledger has it, {name} knows nothing of it")


def check_owners(turns):
    """Along the positions of a shard its epochs rise, each is one node's, and that node is the owner."""
    writers = {}  # of each shard's epochs
    highest = {}
    for t in sorted(turns, key=lambda turn: (turn.shard, turn.position)):
        where = f"shard {t.shard}, position {t.position}, epoch {t.epoch}"
        if t.writer != t.owner:
            yield Violation("old_owner", "", f"{where}: committed by {t.writer}, owned by {t.owner}")
        elif writers.setdefault((t.shard, t.epoch), t.writer) != t.writer:
            yield Violation("two_owners", "", f"{where}: committed by {t.writer}, and before by {writers[t.shard, t.epoch]}")
        if t.epoch < highest.get(t.shard, t.epoch):
            yield Violation("old_epoch", "", f"{where}: after epoch {highest[t.shard]}")
        highest[t.shard] = max(t.epoch, highest.get(t.shard, t.epoch))


def growth(samples, warm_up):
    """By how much the last third of a life's samples lies above the second, each by its median: {what: (before, after, minutes)}.
    `samples`: (seconds, {what: number}) since the process began. None when the life is too short to tell."""
    samples = [s for s in samples if s[0] >= warm_up]
    if not samples or samples[-1][0] < 3 * warm_up:
        return None
    first, last = samples[0][0], samples[-1][0]
    third = (last - first) / 3
    middle = [values for at, values in samples if first + third <= at < first + 2 * third]
    end = [values for at, values in samples if at >= first + 2 * third]
    if not middle:
        return None
    return {what: (statistics.median(v[what] for v in middle), statistics.median(v[what] for v in end), third / 60) for what in end[0]}


def check_resources(lives, bounds, warm_up=20):
    """`lives`: {name: samples}; `bounds`: {what: most by which it may grow a minute}."""
    for name, samples in lives.items():
        for what, (before, after, minutes) in (growth(samples, warm_up) or {}).items():
            if (after - before) / minutes > bounds[what] and after - before > bounds[what]:
                yield Violation("grows", "", f"{name}: {what} from {before} to {after} in {minutes:.1f} minutes")


def losses_of(operation, forgotten):
    """For each acknowledged attempt the loss that may have taken it (sent before its end, answered after its beginning), or None."""
    return [next((loss for loss in forgotten if sent <= loss.until and end >= loss.since), None) for sent, end in operation.acked_spans()]


def may_be_gone(operation, forgotten):
    """No acknowledgement of it was given outside of a loss."""
    return None not in losses_of(operation, forgotten)


def check_forgotten(operations, ledgers, forgotten):
    """(operations that a loss may have taken, violations): what was acknowledged at another time is there, and a loss is named."""
    there = {(name, op) for name, ops in ledgers.items() for op in ops}
    touched, found, unnamed = set(), [], set()
    for operation in operations.values():
        losses = [loss for loss in losses_of(operation, forgotten) if loss]
        if not losses:
            continue
        touched.add(operation.op)
        if (operation.ledger, operation.op) in there or operation.kind not in ("append", "forward", "work"):
            continue
        if not may_be_gone(operation, forgotten):
            found.append(Violation("lost", operation.op, "acknowledged before or after a loss too, and not there"))
        elif not losses[-1].named and losses[-1] not in unnamed:
            unnamed.add(losses[-1])
            found.append(Violation("unnamed_loss", operation.op, "acknowledged, not there, and no node said that the store lost commits"))
    # A key that was forgotten is free for another request.
    touched |= {o.op for o in operations.values() if o.kind == "forbidden" and o.op.rsplit("-other-")[0] in touched}
    return touched, found


def check(operations, ledgers, senders=None, counts=None, after_restart=None, forgotten=()):
    """All violations. `counts`: what each ledger says its length is; `after_restart`: the ledgers read again. `forgotten`: losses of the
    store; what they may have taken is there once or not at all, by its sender's word as by its receiver's."""
    touched, found = check_forgotten(operations, ledgers, forgotten)
    sure = {op: operation for op, operation in operations.items() if op not in touched}
    found += [v for v in check_presence(operations, ledgers) if v.op not in touched or v.kind in ("doubled", "foreign")]
    found += check_answers(sure)
    found += check_counts(sure, ledgers, senders or {})
    found += check_order(sure, ledgers)
    found += check_senders(operations, ledgers, senders or {})
    for name, count in (counts or {}).items():
        if count != len(ledgers.get(name, [])):
            found.append(Violation("half_applied", "", f"{name} says {count}, its list has {len(ledgers.get(name, []))}"))
    if after_restart is not None:
        for name in sorted(set(ledgers) | set(after_restart)):
            before, after = ledgers.get(name, []), after_restart.get(name, [])
            if before != after:
                found.append(Violation("changed", "", f"{name}: {len(before)} operations before a kill, {len(after)} after"))
    return found


def missing(operations, ledgers, forgotten=()):
    """Acknowledged operations that are not there yet: what a drain waits for."""
    there = {name: set(ops) for name, ops in ledgers.items()}
    return [o.op for o in operations.values()
            if o.kind in ("append", "forward", "work") and o.acked() and o.op not in there.get(o.ledger, ()) and not may_be_gone(o, forgotten)]
