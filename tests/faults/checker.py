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
"""
from collections import Counter, namedtuple

Violation = namedtuple("Violation", "kind op text")

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

    def answers(self):
        return [answer for outcome, answer in self.outcomes if outcome == OK]

    def acked(self):
        return self.acked_at is not None

    def surely_absent(self):
        """Every attempt was answered, and every answer says that nothing was done."""
        never = (NOT_EXECUTED, APPLICATION, KEY_TAKEN)
        return len(self.outcomes) == self.attempts and all(outcome in never for outcome, _ in self.outcomes)


def read_history(journals):
    """Operations from the clients' journals: lists of records, each in the order it was written.

    {"do": "send", "op", "kind", "ledger", "via", "client"} before each attempt,
    {"do": "end", "op", "outcome", "answer"} after it, if there was an after.
    """
    operations = {}
    for journal in journals:
        for line, record in enumerate(journal):
            if record["do"] == "send":
                operation = operations.get(record["op"])
                if operation is None:
                    operation = operations[record["op"]] = Operation({**record, "line": line})
                operation.attempts += 1
            else:
                operation = operations[record["op"]]
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


def check(operations, ledgers, senders=None, counts=None, after_restart=None):
    """All violations. `counts`: what each ledger says its length is; `after_restart`: the ledgers read again."""
    found = list(check_presence(operations, ledgers))
    found += check_answers(operations)
    found += check_counts(operations, ledgers, senders or {})
    found += check_order(operations, ledgers)
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


def missing(operations, ledgers):
    """Acknowledged operations that are not there yet: what a drain waits for."""
    there = {name: set(ops) for name, ops in ledgers.items()}
    return [o.op for o in operations.values()
            if o.kind in ("append", "forward", "work") and o.acked() and o.op not in there.get(o.ledger, ())]
