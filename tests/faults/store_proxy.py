"""Stands between one node and PostgreSQL. While armed it breaks commit connections at chance, around the moment when a
transaction's end was sent: the server's answer is dropped, comes too late to be heard, or the transaction arrives only half."""
import multiprocessing
import random
import select
import socket
import struct
import threading
import time

from hive_process import free_port

SYNC = b"S\0\0\0\4"  # the message that ends a transaction
TURNS = b"\0turns\0"  # the statement that every batch of turns has


def there(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class StoreProxy:
    """A process of its own, so that the test's threads do not slow it down. One port for each of the server's."""

    def __init__(self, targets, seed):
        self.ports = {target: free_port() for target in targets}
        self.chance = multiprocessing.Value("d", 0.0)  # of each transaction to lose its answer
        self.cuts = multiprocessing.Value("i", 0)
        self.process = multiprocessing.Process(target=self.serve, args=(seed,), daemon=True)

    def start(self):
        self.process.start()

    def wait(self):
        """Until a server can be reached through it."""
        while not any(there(port) for port in self.ports.values()):
            time.sleep(0.02)

    def stop(self):
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def serve(self, seed):
        way, listeners = random.Random(f"{seed}/proxy"), {}
        while True:
            for target, port in self.ports.items():
                # Of a server that is away the port must be closed: libpq goes on to the next host only when one refuses.
                if target in listeners and not there(target):
                    listeners.pop(target).close()
                elif target not in listeners and there(target):
                    listeners[target] = socket.create_server(("127.0.0.1", port), backlog=64)
            ready = select.select(list(listeners.values()), [], [], 0.05)[0]
            for target, listener in listeners.items():
                if listener in ready:
                    threading.Thread(target=self.carry, args=(listener.accept()[0], target, way), daemon=True).start()

    def carry(self, client, target, way):
        with client:
            try:
                with socket.create_connection(("127.0.0.1", target)) as server:
                    for end in (client, server):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.pump(client, server, way)
            except OSError:
                pass

    def pump(self, client, server, way):
        while True:
            for end in select.select([client, server], [], [])[0]:
                data = end.recv(1 << 16)
                if not data:
                    return
                if end is server:
                    client.sendall(data)
                elif TURNS in data and data.endswith(SYNC) and way.random() < self.chance.value:
                    return self.cut(client, server, data, way)
                else:
                    server.sendall(data)

    def cut(self, client, server, data, way):
        with self.cuts.get_lock():
            self.cuts.value += 1
        how = way.choice(["unheard", "at once", "half"])
        if how == "half":
            server.sendall(data[:len(data) // 2])
        else:
            server.sendall(data)
        if how == "unheard":  # surely carried out before the node knows that it will not hear of it
            select.select([server], [], [], 5)
        # A reset, not an end in good order.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
