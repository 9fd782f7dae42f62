"""What must hold for tasks, schedules and cancellations after any number of kills. Pure: journals in, violations out."""


def check(journal, tasks, ledger, beats=None):
    """
    journal: what the client knows, one dict a task: {"op", "id" (None: it heard no answer), "cancelled_at": the ledger's
             ops when the hive had said that the task is cancelled, or None}
    tasks:   id -> {"state", "op"} as the hive tells at the end
    ledger:  the ops that took effect, in order
    beats:   of a schedule, (slot, time) in milliseconds as its tasks say
    Returns the violations as sentences.
    """
    wrong = []
    times = {}
    for op in ledger:
        times[op] = times.get(op, 0) + 1
    wrong += [f"{op} took effect {n} times" for op, n in times.items() if n > 1]
    by_op = {t["op"]: t for t in tasks.values()}
    for entry in journal:
        op, known = entry["op"], entry["id"]
        task = tasks.get(known) if known else by_op.get(op)
        if known and task is None:
            wrong.append(f"task {known} ({op}) was acknowledged and is lost")
            continue
        if task is None:
            if op in times:
                wrong.append(f"{op} took effect without a task")
            continue
        state = task["state"]
        if state not in ("succeeded", "cancelled"):
            wrong.append(f"task {op} did not end well: {state}")
        if state == "succeeded" and op not in times:
            wrong.append(f"task {op} says it succeeded and had no effect")
        if state == "cancelled" and entry["cancelled_at"] is None and not entry.get("cancel_sent"):
            wrong.append(f"task {op} is cancelled and nobody asked for that")
        if entry["cancelled_at"] is not None:
            if state != "cancelled":
                wrong.append(f"task {op} was acknowledged as cancelled and is {state}")
            if op in times and op not in entry["cancelled_at"]:
                wrong.append(f"task {op} took effect after its cancellation was acknowledged")
    if beats is not None:
        slots = [slot for slot, _ in beats]
        wrong += [f"slot {slot} of the schedule ran {slots.count(slot)} times" for slot in sorted(set(slots)) if slots.count(slot) > 1]
        wrong += [f"slot {slot} ran {slot - at} ms early" for slot, at in beats if at < slot]
        ordered = sorted(set(slots))
        if len(ordered) > 1:
            step = min(b - a for a, b in zip(ordered, ordered[1:]))
            wrong += [f"no task for the slots between {a} and {b}" for a, b in zip(ordered, ordered[1:]) if b - a != step]
    return wrong
