"""A PostgreSQL of a test's own, alone or with a streaming standby that can take its place."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

from hive_process import HiveDied, free_port

PROGRAMS = "/usr/lib/postgresql/15/bin"


class FaultyDisk:
    """A disk that is full, slow or failing while a process that has `environment` is told so (faulty_disk.cpp)."""

    def __init__(self, binaries, folder):
        self.folder, self.library = folder, os.path.join(folder, "faulty_disk.so")
        os.makedirs(folder)
        shutil.copy(os.path.join(binaries, "faulty_disk.so"), self.library)  # where any user may read it
        self.environment = {"LD_PRELOAD": self.library, "FAULTY_DISK": folder}

    @contextlib.contextmanager
    def being(self, what, value=""):
        sign = os.path.join(self.folder, what)
        with open(sign + ".new", "w", encoding="ascii") as f:
            f.write(str(value))
        os.rename(sign + ".new", sign)
        try:
            yield
        finally:
            os.unlink(sign)


class Postgres:
    """A private PostgreSQL on a port of its own. Acknowledged means written: fsync and synchronous_commit stay on."""

    def __init__(self, folder, settings=(), empty=False, environment=None):
        """`empty`: a copy of another server will be its data."""
        self.environment = dict(os.environ, **(environment or {}))
        self.folder, self.data, self.log = folder, os.path.join(folder, "data"), os.path.join(folder, "log")
        self.port, self.process = free_port(), None
        os.makedirs(folder)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        if empty:
            return
        self.run_quietly("initdb", "-D", self.data, "-A", "trust", "-U", "super", "-E", "UTF8", "--no-locale", "-N")
        # A standby that lost its primary looks for it often: commits wait for it.
        self.configure("listen_addresses = '127.0.0.1'", "max_connections = 200", "shared_buffers = 128MB", "max_wal_size = 1GB", "dynamic_shared_memory_type = mmap",
                       "wal_keep_size = 512MB", "wal_retrieve_retry_interval = 200ms", *settings)

    def configure(self, *settings):
        """What stands later holds: a copy of another server gets its own address this way."""
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="ascii") as f:
            f.write("\n".join(["", f"port = {self.port}", f"unix_socket_directories = '{self.folder}'", *settings, ""]))

    def run_quietly(self, program, *words):
        done = subprocess.run(self.as_postgres([f"{PROGRAMS}/{program}", *words]), capture_output=True, text=True, check=False, cwd="/", timeout=120)
        if done.returncode != 0:
            raise HiveDied(f"{program}: {done.stderr}")

    @staticmethod
    def as_postgres(command):
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return command
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "QUIT", "--", *command]

    def start(self, seconds=60):
        # To be called by the main thread: PostgreSQL ends with the thread that started it.
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.as_postgres([f"{PROGRAMS}/postgres", "-D", self.data]), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd="/", start_new_session=True, env=self.environment)
        begin = time.monotonic()
        while subprocess.run([f"{PROGRAMS}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() - begin > seconds:
                raise HiveDied(f"PostgreSQL did not start; see {self.log}")
            time.sleep(0.02)
        return time.monotonic() - begin

    def stop(self, how=signal.SIGQUIT):
        """SIGQUIT: at once, as in a crash; what was committed is recovered at the next start. SIGINT: in good order."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def recover(self):
        """It may be well, recovering by itself from what it met, or over: it is well afterwards."""
        until = time.monotonic() + 60
        while subprocess.run([f"{PROGRAMS}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode != 0:
            if self.process.poll() is not None:
                return self.start()
            if time.monotonic() > until:
                raise HiveDied(f"PostgreSQL did not recover; see {self.log}")
            time.sleep(0.02)

    def crashes(self):
        """How often one of its processes has ended all of them."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read().count("PANIC:")

    end = stop  # for the end of a test: nothing is left running

    def kill(self):
        """SIGKILL of all its processes: none of them says another word, and none removes its shared memory."""
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as f:
            segment = f.read().split("\n")[6].split()[1]
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            children = [int(pid) for pid in f.read().split()]
        for pid in (self.process.pid, *children):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(60)
        subprocess.run(["ipcrm", "-m", segment], check=False, capture_output=True)

    def sql(self, text, database="postgres"):
        done = subprocess.run([f"{PROGRAMS}/psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "super",
                               "-d", database, "-c", text], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{text}: {done.stderr}")
        return done.stdout.strip()

    def set(self, name, value):
        """While it runs."""
        self.sql(f"alter system set {name} = '{value}'")
        self.sql("select pg_reload_conf()")

    def wait_sql(self, text, seconds=30):
        """Until it says t."""
        until = time.monotonic() + seconds
        while self.sql(text) != "t":
            if time.monotonic() > until:
                raise HiveDied(f"not within {seconds} s: {text}; see {self.log}")
            time.sleep(0.02)

    def ports(self):
        return [self.port]

    def url(self, role, ports=None):
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or self.ports())
        return f"postgres://{role}@{hosts}/hive?target_session_attrs=read-write"


class Pair:
    """A primary and a streaming standby, synchronous or not. `promote` kills the one and makes a primary of the other."""

    def __init__(self, folder, settings=(), synchronous=True, environment=None):
        self.synchronous = synchronous
        self.primary = Postgres(folder + "-a", settings, environment=environment)
        self.standby = Postgres(folder + "-b", empty=True, environment=environment)

    # -- as one server: that is the primary

    def start(self, seconds=60):
        return self.primary.start(seconds)

    def stop(self, how=signal.SIGQUIT):
        self.primary.stop(how)

    def recover(self):
        self.standby.recover()
        self.primary.recover()

    def crashes(self):
        return self.primary.crashes()

    def end(self, how=signal.SIGQUIT):
        self.standby.stop()
        self.primary.stop(how)

    def sql(self, text, database="postgres"):
        return self.primary.sql(text, database)

    def ports(self):
        return sorted((self.primary.port, self.standby.port))

    def url(self, role, ports=None):
        return self.primary.url(role, ports or self.ports())

    # -- as two

    def follow(self):
        """The standby begins anew, as a copy of the primary. Only when it streams do commits wait for it."""
        self.standby.stop()
        shutil.rmtree(self.standby.data, ignore_errors=True)
        self.standby.run_quietly("pg_basebackup", "-D", self.standby.data, "-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "super", "-c", "fast", "-R", "-N")
        self.standby.configure()
        self.standby.start()
        self.standby.set("synchronous_standby_names", "")  # of what it will be
        self.primary.wait_sql("select count(*) = 1 from pg_stat_replication where state = 'streaming' and application_name <> 'pg_basebackup'")
        if self.synchronous:
            self.primary.set("synchronous_standby_names", "*")
            self.primary.wait_sql("select count(*) = 1 from pg_stat_replication where sync_state = 'sync'")

    def fall_behind(self):
        """From here on the standby receives nothing; what the primary had before, it has. Returns the moment up to which that is so."""
        moment, position = time.monotonic(), self.primary.sql("select pg_current_wal_flush_lsn()")
        self.standby.wait_sql(f"select pg_last_wal_receive_lsn() >= '{position}'")
        self.standby.set("primary_conninfo", "")
        self.primary.wait_sql("select count(*) = 0 from pg_stat_replication")
        return moment

    def promote(self, crash):
        """`crash`: SIGKILL rather than SIGQUIT. The primary is over before the standby is asked."""
        if crash:
            self.primary.kill()
        else:
            self.primary.stop()
        self.standby.sql("select pg_promote(true, 60)")
        self.primary, self.standby = self.standby, self.primary
