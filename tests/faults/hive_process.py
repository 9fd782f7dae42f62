"""A hived as a child process, and the few HTTP requests that the tests of real processes make. Knows only the public API."""
import contextlib
import glob
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

begun = time.monotonic()


class HiveDied(Exception):
    pass


def free_port():
    """Below the range the kernel takes ports of outgoing connections from: one of those could take it before its server."""
    for port in random.SystemRandom().sample(range(15_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def passed(what):
    print(f"{time.monotonic() - begun:5.1f} s  {what}", flush=True)


def run_test(prefix, test, keep=False):
    """Runs test(folder, ends) in a folder of its own. What it pushes on `ends` (a contextlib.ExitStack) is called at the end,
    whatever the end is. The folder stays when it failed, or on demand. @returns the exit code."""
    folder = os.path.realpath(tempfile.mkdtemp(prefix=f"hive-{prefix}-"))
    failed = True
    try:
        with contextlib.ExitStack() as ends:
            test(folder, ends)
            failed = False
    except (AssertionError, RuntimeError, OSError, HiveDied) as e:
        at = e.__traceback__
        while at.tb_next is not None and at.tb_next.tb_frame.f_code is not check.__code__:
            at = at.tb_next
        print(f"FAILED: {e or type(e).__name__} (line {at.tb_lineno} of {os.path.basename(at.tb_frame.f_code.co_filename)})", flush=True)
        for name in sorted(glob.glob(os.path.join(folder, "*.log"))):
            with open(name, encoding="utf-8", errors="replace") as log:
                print(f"-- the end of {name}\n" + "".join(log.readlines()[-10:]), flush=True)
    if failed or keep:
        print(f"kept: {folder}", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


class Hive:
    """hived on a data directory of its own; killed and started again as often as asked."""

    def __init__(self, binary, folder, settings=()):
        self.binary, self.folder, self.settings = binary, folder, list(settings)
        self.data = os.path.join(folder, "data")
        self.log = os.path.join(folder, "hived.log")
        self.port = free_port()
        self.process, self.starts = None, 0
        self.prefix = []  # words before hived: another group, another priority

    def start(self):
        self.starts += 1
        arguments = [*self.prefix, self.binary, "--data", self.data, "--http", f"127.0.0.1:{self.port}"]
        for setting in self.settings:
            arguments += ["--set", setting]
        with open(self.log, "ab") as log:
            log.write(f"=== start {self.starts}\n".encode())
            log.flush()
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)

    def wait_ready(self, seconds=60):
        """Seconds that it took. Raises HiveDied when the process ends or is not ready in time."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            if self.process.poll() is not None:
                raise HiveDied(f"hived ended with {self.process.returncode} while starting; see {self.log}")
            try:
                if self.request("GET", "/readyz", key=False, timeout=5)[0] == 200:
                    return time.monotonic() - begin
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.01)
        raise HiveDied(f"hived was not ready within {seconds} s; see {self.log}")

    def kill(self):
        """SIGKILL. Raises HiveDied when it had already ended by itself."""
        ended = self.process.poll()
        if ended is not None:
            raise HiveDied(f"hived ended by itself with {ended}; see {self.log}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        """For the end of a test: nothing is left running."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds=30):
        """Asks it to end; its exit code. None: it did not, and was killed."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def key(self):
        with open(os.path.join(self.data, "admin.key"), encoding="ascii") as f:
            return f.read().strip()

    def request(self, method, path, body=None, key=True, timeout=60):
        """(status, JSON or text). `key`: the administrator's, a text of its own, or none. Raises OSError or HTTPException when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = {"Authorization": "Bearer " + (self.key() if key is True else key)} if key else {}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            try:
                return response.status, json.loads(text)
            except ValueError:
                return response.status, text.decode(errors="replace")
        finally:
            connection.close()

    def ask(self, tenant, agent, message, payload=None, deadline_ms=30_000):
        """The answer's payload. Asks again while the hive says "not executed". Raises RuntimeError on anything else."""
        until = time.monotonic() + deadline_ms / 1000
        while True:
            status, body = self.request("POST", f"/v1/tenants/{tenant}/agents/{agent}:ask",
                                        {"type": message, "payload": payload, "deadline_ms": deadline_ms})
            if status == 200:
                return body.get("payload")
            if status not in (429, 503) or time.monotonic() > until:
                raise RuntimeError(f"ask {agent} {message}: {status} {body}")
            time.sleep(0.05)
