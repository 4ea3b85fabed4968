"""What the end-to-end tests share: a Stack a test, logs shown when it fails, small servers and clients.

Every helper here has a time limit; nothing sleeps to let something happen (stack.wait_for).
"""
import asyncio
import contextlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import unittest

SOURCE = pathlib.Path(os.environ.get("PENSTOCK_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "scripts"))

import stack as penstock  # noqa: E402
from stack import Failure, wait_for  # noqa: E402,F401

SECS = 30
NOT_RUN = 77  # ctest's SKIP_RETURN_CODE
INSIDE = "TEST_IN_NETWORK_NAMESPACE"


def not_run(why):
    """For a whole file whose tests this machine does not allow: one test among others may not be skipped
    in silence."""
    print(f"not run: {why}", flush=True)
    sys.exit(NOT_RUN)


class Case(unittest.TestCase):
    """A test with a Stack of its own in self.stack."""

    def setUp(self):
        self.stack = penstock.Stack()
        self.addCleanup(self._end)

    def _end(self):
        outcome = getattr(self, "_outcome", None)
        errors = getattr(outcome, "errors", None)
        if errors is None:  # Python 3.11 on: the result has them
            result = outcome.result
            failed = any(test is self for test, _ in result.failures + result.errors)
        else:
            failed = any(error for _, error in errors)
        if failed:
            self.stack.__exit__(AssertionError, None, None)
        else:
            self.stack.__exit__(None, None, None)

    # --- stacks that several tests want

    def tunnel(self, targets, edge_id="e1", edge=None, hub=None, fields=None):
        """A hub and an edge; `targets`: list of targets.  Sets self.hub, self.edge, self.ports."""
        self.ports = [penstock.free_port() for _ in targets]
        self.hub = self.stack.hub(dict(zip(self.ports, targets)), **(hub or {}))
        self.token = self.stack.register(self.hub, edge_id, self.ports, **(fields or {}))
        self.edge = self.stack.edge(self.token, **(edge or {}))
        self.wait_ports(self.edge, self.ports)

    def wait_ports(self, edge, ports, secs=SECS):
        wait_for(f"the edge's ports {sorted(ports)}",
                 lambda: edge.status()["listenPorts"] == sorted(ports), secs)

    @staticmethod
    def workers_of(edge):
        """How many the edge has, as the kernel counts its threads."""
        names = [(task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{edge.pid}/task").iterdir()]
        return sum(re.fullmatch(r"edge-\d+", name) is not None for name in names)

    def wait_lanes(self, edge, secs=SECS):
        """Every worker of the edge has its lane: from then on its descriptors and the hub's stay."""
        workers = self.workers_of(edge)
        wait_for(f"{workers} lanes", lambda: edge.status()["lanes"] == workers, secs)

    def origin(self):
        """scripts/origin.py; its port."""
        process = subprocess.Popen([sys.executable, SOURCE / "scripts" / "origin.py"],
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return int(process.stdout.readline().split()[2])

    def whole_path(self, host="app.example.test", edge=None, hub=None, traffic=None, **route):
        """Origin, traffic, hub, edge.  Sets self.https_port, self.http_port, self.certificate ..."""
        self.certificate = penstock.Certificate(self.stack.folder, host)
        self.origin_port = self.origin()
        self.traffic = self.stack.traffic(**(traffic or {}))
        self.route = {"hostName": host, "destinationIps": ["127.0.0.1"],
                      "destinationPorts": [self.origin_port], "publicKey": self.certificate.chain,
                      "privateKey": self.certificate.key, **route}
        self.traffic.api("PUT", "/v1/routes", {"routes": [self.route]}, expect=200)
        self.tunnel([self.traffic.address("http")[1], self.traffic.address("https")[1]],
                    edge=edge, hub=hub)
        self.http_port, self.https_port = self.ports

    def curl(self, path="/", *options, host="app.example.test", port=None, source="127.0.0.9", secs=60):
        """curl through the edge; what it printed.  A failure shows curl's own words."""
        port = port or self.https_port
        done = subprocess.run(
            ["curl", "-sS", "--max-time", str(secs), "--interface", source,
             "--cacert", self.certificate.chain_file, "--resolve", f"{host}:{port}:127.0.0.1",
             *options, f"https://{host}:{port}{path}"], capture_output=True, timeout=secs + 10)
        if done.returncode:
            raise Failure(f"curl ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout


def connect(port, source=None, secs=SECS):
    s = socket.create_connection(("127.0.0.1", port), secs, (source, 0) if source else None)
    s.settimeout(secs)
    return s


def receive_all(s):
    """Until the other side ends."""
    pieces = []
    while True:
        piece = s.recv(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def receive(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            raise Failure(f"ended after {len(data)} of {n} bytes")
        data += piece
    return data


def reset(s):
    """Closes with RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def is_reset(s):
    """True: the other side reset; False: it ended in order.  What comes before is dropped."""
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


class Target:
    """A TCP server behind the hub, a thread a connection: reads the PROXY v1 line (unless proxy is
    None), notes it in .headers, then calls handle(socket)."""

    def __init__(self, handle, proxy="v1"):
        self.handle, self.proxy = handle, proxy
        self.headers, self.sockets, self.failures = [], [], []
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            s.settimeout(SECS)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        try:
            header = self._read_header(s)
            with self.changed:
                self.headers.append(header)
                self.sockets.append(s)
                self.changed.notify_all()
            self.handle(s)
        except Exception as failure:  # told to whoever waits
            with self.changed:
                self.failures.append(failure)
                self.changed.notify_all()
        finally:
            with contextlib.suppress(OSError):
                s.close()

    def _read_header(self, s):
        if self.proxy is None:
            return None
        if self.proxy == "v2":
            head = receive(s, 16)
            return head + receive(s, struct.unpack("!H", head[14:])[0])
        line = b""
        while not line.endswith(b"\r\n"):
            line += receive(s, 1)
        return line

    def wait_header(self, count=1, secs=SECS):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.headers) >= count, secs):
                raise Failure(f"{len(self.headers)} of {count} connections reached the target")
            return self.headers[count - 1]

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def echo(s):
    while True:
        piece = s.recv(65536)
        if not piece:
            s.shutdown(socket.SHUT_WR)
            return
        s.sendall(piece)


class AsyncTarget:
    """A TCP server behind the hub for thousands of connections: an asyncio loop in a thread of its own.
    handle(reader, writer) is called behind the PROXY v1 line."""

    def __init__(self, handle):
        self.handle = handle
        self.loop = asyncio.new_event_loop()
        self.port = None
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        if not started.wait(SECS):
            raise Failure("the target did not start")

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n")
            await self.handle(reader, writer)
        writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(SECS)


async def echo_async(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def run_async(coroutine, secs=120):
    return asyncio.run(asyncio.wait_for(coroutine, secs))


def main():
    unittest.main(verbosity=2)


def main_where_loopback_has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::1", 0))
    except OSError as why:
        not_run(f"loopback has no IPv6: {why}")
    main()


def main_in_namespace():
    """main() in a network namespace of its own, of which the test is root."""
    if os.environ.get(INSIDE) != "1":
        alone = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        tried = subprocess.run([*alone, "true"], capture_output=True, text=True)
        if tried.returncode:
            not_run(f"this machine allows no network namespaces: {tried.stderr.strip()}")
        os.environ[INSIDE] = "1"
        os.execvp(alone[0], [*alone, sys.executable, "-B", *sys.argv])
    main()
