"""What is looked at while a cluster runs, besides its answers: who committed each turn, and what its processes hold."""
import os
import threading
import time

import checker

# Written by PostgreSQL itself, for each turn of the agents in `place`: who committed it, and who owned its shard at that moment.
# The writer holds the shard's row, so the owner that a new statement sees is the one under whom the turn commits.
AUDIT = """
create schema audit;
create table audit.place(tenant_id integer, entity bigint, shard integer, primary key(tenant_id, entity));
create table audit.turn(shard integer, position bigint, writer bigint, owner bigint, epoch bigint);
create function audit.note() returns trigger language plpgsql security definer set search_path = pg_catalog as $$ begin
  insert into audit.turn select p.shard, f.position, split_part(current_setting('application_name'), ' ', 3)::bigint, s.owner, s.epoch
    from fresh f join audit.place p using (tenant_id, entity) join hive.shard s on s.id = p.shard;
  return null;
end $$;
create trigger audit after insert on hive.journal referencing new table as fresh for each statement execute function audit.note();
"""


def begin_audit(postgres, places):
    """`places`: {agent: shard}; names are one tenant's alone."""
    postgres.sql(AUDIT, "hive")
    rows = ", ".join(f"('{name}', {shard})" for name, shard in places.items())
    postgres.sql(f"insert into audit.place select d.tenant_id, d.entity, p.shard from hive.directory d join (values {rows}) as p(name, shard) using (name)", "hive")


def audited_turns(postgres):
    text = postgres.sql("copy audit.turn to stdout with (format csv)", "hive")
    return [checker.Turn(*map(int, line.split(","))) for line in text.splitlines()]


def owners_in_store(postgres):
    """{shard: (owner's generation, epoch)}: what the nodes agree on in the end."""
    text = postgres.sql("copy hive.shard(id, owner, epoch) to stdout with (format csv)", "hive")
    return {shard: (owner, epoch) for shard, owner, epoch in (map(int, line.split(",")) for line in text.splitlines())}


class Resources(threading.Thread):
    """Samples each life of each node once a second."""

    def __init__(self, nodes):
        super().__init__(name="resources", daemon=True)
        self.nodes, self.lives, self.stopping = nodes, {}, threading.Event()

    def run(self):
        while not self.stopping.wait(1):
            for node in list(self.nodes):
                try:
                    self.sample(node)
                except OSError:
                    pass  # it ended meanwhile

    def sample(self, node):
        if not node.runs():
            return
        folder = f"/proc/{node.process.pid}"
        with open(f"{folder}/status", encoding="ascii", errors="replace") as f:
            status = dict(line.split(":", 1) for line in f if ":" in line)
        begin, samples = self.lives.setdefault(f"{node.name}.{node.starts}", (time.monotonic(), []))
        samples.append((time.monotonic() - begin, {"rss_mib": int(status["VmRSS"].split()[0]) / 1024, "fds": len(os.listdir(f"{folder}/fd")),
                                                   "threads": int(status["Threads"])}))

    def samples(self):
        return {name: samples for name, (_, samples) in self.lives.items()}
