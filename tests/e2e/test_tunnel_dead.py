"""Paths that die without a word: peers that take nothing, peers that acknowledge and do not work.  Both ends
see it in bounded time, say so, and come back when the path does.  (Packets that go nowhere:
test_tunnel_black_hole.py)
"""
import contextlib
import threading

import e2e
import tunnel_stand as t
from e2e import penstock
from stopwatch import Stopwatch

DEAD_SECS = 18  # some 6, and a busy machine's share; what finds out next takes 25


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
        """Why both say that it is closed."""
        why = self.edge.wait_event("lane_closed", secs), self.hub.wait_event("lane_closed", secs)
        return [w.get("error") or w.get("reason") for w in why]

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
        with Stopwatch() as took:
            self.relay.set_mode("stop")
            clients += [Pouring(self.port) for _ in range(12)]  # fresh credit: the edge has more to send
            why = self.wait_closed(60)
        self.assertLess(took.secs, DEAD_SECS)
        self.assertGreater(took.ended - took.begun, 4)
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
            with Stopwatch() as took:
                self.relay.set_mode("drop")
                why = self.wait_closed(90)
            self.assertLess(took.secs, 60)  # 15 s to the next PING, 10 s for its PONG; 25 s from the last PING
            self.assertEqual(why, ["timeout", "timeout"])
            self.assertTrue(e2e.is_reset(s))
        self.come_back()


if __name__ == "__main__":
    e2e.main()
