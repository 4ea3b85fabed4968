"""Paths that die without a word: packets that go nowhere, peers that take nothing, peers that acknowledge
and do not work.  Both ends see it in bounded time, say so, and come back when the path does.
"""
import contextlib
import os
import subprocess
import sys
import threading
import time
import unittest

import e2e
import tunnel_stand as t
from e2e import penstock

INSIDE = "TEST_IN_NETWORK_NAMESPACE"
DEAD_SECS = 10


def can_unshare():
    done = subprocess.run(["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True)
    return done.returncode == 0


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=e2e.SECS)


def pour(s):
    """A target that sends without an end and takes all; what comes first in one piece is sent back."""
    def take():
        with contextlib.suppress(OSError):
            while s.recv(65536):
                pass

    s.sendall(s.recv(65536))
    threading.Thread(target=take, daemon=True).start()
    with contextlib.suppress(OSError):
        while True:
            s.sendall(bytes(65536))


class Pouring:
    """A client that sends and receives without an end."""

    def __init__(self, port):
        self.socket = e2e.connect(port)
        self.sent = self.received = 0
        self.outcomes = []
        for work in (self._send, self._receive):
            threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work):
        try:
            work()
            self.outcomes.append("ended")
        except (ConnectionResetError, BrokenPipeError):
            self.outcomes.append("reset")
        except OSError as failure:
            self.outcomes.append(repr(failure))

    def _send(self):
        while True:
            self.socket.sendall(bytes(65536))
            self.sent += 65536

    def _receive(self):
        while data := self.socket.recv(65536):
            self.received += len(data)


class Relayed(e2e.Case):
    """A relay in the test stops forwarding; the kernels of both ends still get their acknowledgements."""

    def start(self, handle=e2e.echo):
        target = e2e.Target(handle)
        self.addCleanup(target.close)
        self.port = penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port})
        self.relay = t.Relay(self.hub.address("tunnel"))
        self.addCleanup(self.relay.close)
        self.edge = self.stack.edge(self.stack.register(self.hub, "e1", [self.port], at=self.relay.address), workers=1,
                                    transportMode="tcpTls")
        self.wait_ports(self.edge, [self.port])

    def wait_closed(self, secs):
        """How long both took, and that they say why."""
        started = time.monotonic()
        why = self.edge.wait_event("lane_closed", secs), self.hub.wait_event("lane_closed", secs)
        return time.monotonic() - started, [w.get("error") or w.get("reason") for w in why]

    def come_back(self):
        self.relay.cut()
        self.relay.set_mode("pass")
        e2e.wait_for("the tunnel", lambda: self.edge.status()["connects"] == 2, 40)
        with e2e.connect(self.port) as s:
            s.sendall(b"back")
            self.assertEqual(e2e.receive(s, 4), b"back")

    def test_nothing_is_taken(self):
        """Under load the senders' windows close: TCP_USER_TIMEOUT, 6 s."""
        self.start(pour)
        clients = [Pouring(self.port) for _ in range(6)]
        e2e.wait_for("some load", lambda: all(c.sent > 1_000_000 and c.received > 2_000_000 for c in clients))
        self.relay.set_mode("stop")
        clients += [Pouring(self.port) for _ in range(12)]  # fresh credit: the edge has more to send
        took, why = self.wait_closed(20)
        self.assertLess(took, DEAD_SECS)
        self.assertGreater(took, 4)
        for word in why:
            self.assertIn(word, ("timeout", "reset", "closed", "io"))
        for client in clients:
            e2e.wait_for("both directions' ends", lambda c=client: len(c.outcomes) == 2)
            self.assertIn("reset", client.outcomes)  # the kernel tells an error once
            client.socket.close()
        self.come_back()

    def test_nothing_is_said(self):
        """All bytes are acknowledged and lead nowhere: PING without PONG, and no PING, 25 s each."""
        self.start()
        with e2e.connect(self.port) as s:
            s.sendall(b"x")
            self.assertEqual(e2e.receive(s, 1), b"x")
            self.relay.set_mode("drop")
            took, why = self.wait_closed(45)
            self.assertLess(took, 42)  # 15 s to the next PING, 10 s for its PONG; 25 s from the last PING
            self.assertEqual(why, ["timeout", "timeout"])
            self.assertTrue(e2e.is_reset(s))
        self.come_back()


@unittest.skipUnless(os.environ.get(INSIDE), "runs in a network namespace of its own: class Alone starts it")
class BlackHole(e2e.Case):
    """The hub's address is taken out of the routing table: packets to it vanish, as behind a dead router."""

    HUB = "127.9.9.9"

    def start(self):
        self.target = e2e.Target(e2e.echo)
        self.addCleanup(self.target.close)
        self.port, tunnel = penstock.free_port(), penstock.free_port()
        self.hub = self.stack.hub({self.port: self.target.port}, tunnel={"listen": f"{self.HUB}:{tunnel}"}, edges=[
            {"id": "e1", "listenPorts": [self.port], "secret": "s" * 43}])
        self.edge = self.stack.edge(hubHost=self.HUB, hubPort=tunnel, edgeId="e1", secret="s" * 43, workers=1)
        self.wait_ports(self.edge, [self.port])

    def kill_path(self):
        """127.0.0.0/8 is local as a whole; the hub's address becomes a hole in it."""
        ip("route", "add", "blackhole", f"{self.HUB}/32", "table", "local")
        self.addCleanup(subprocess.run, ["ip", "route", "del", "blackhole", f"{self.HUB}/32", "table", "local"],
                        capture_output=True)

    def revive_path(self):
        ip("route", "del", "blackhole", f"{self.HUB}/32", "table", "local")

    def check_dead(self):
        started = time.monotonic()
        self.kill_path()
        self.edge.wait_event("lane_closed", 20)
        edge = time.monotonic() - started
        self.hub.wait_event("lane_closed", 20)
        hub = time.monotonic() - started
        self.assertLess(max(edge, hub), DEAD_SECS, (edge, hub))
        self.assertGreater(min(edge, hub), 2, (edge, hub))  # it was not told by anybody
        self.assertFalse(self.edge.status()["connected"])
        return edge, hub

    def check_back(self):
        self.revive_path()
        e2e.wait_for("the tunnel", lambda: self.edge.status()["connects"] == 2, 40)
        with e2e.connect(self.port) as s:
            s.sendall(b"back")
            self.assertEqual(e2e.receive(s, 4), b"back")

    def test_idle(self):
        """Keep-alive finds out: nobody has anything to send."""
        self.start()
        self.check_dead()
        self.check_back()

    def test_under_load(self):
        self.start()
        clients = t.echo_clients(self.port, 10)
        self.check_dead()
        for client in clients:
            client.join(e2e.SECS)
        self.assertEqual([c.outcome for c in clients], ["reset"] * 10)
        self.check_back()


class Alone(unittest.TestCase):
    @unittest.skipIf(os.environ.get(INSIDE), "is inside already")
    @unittest.skipUnless(can_unshare(), "this machine allows no network namespaces")
    def test_black_hole(self):
        done = subprocess.run(
            ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-B", __file__, "-v", "BlackHole"],
            env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Ran 2 tests", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
