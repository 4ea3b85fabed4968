"""A path that lets UDP through and moves next to nothing of it, while TCP on the same way is well: a policer,
heavy loss.  New connections leave QUIC, and come back when it is well again.  In a network namespace of its
own; not run (exit status 77) where the machine allows none.
"""
import contextlib
import threading
import time

import e2e
from e2e import wait_for
from quic_stand import PathCase

SECS = 60  # for a collapse to be seen: some five, and a busy machine's share


class Flood(threading.Thread):
    """Sends as much as is taken and reads what comes; .got and .sent count; until told to stop, or it ends."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.socket = e2e.connect(port)
        self.got = self.sent = 0
        self.must_stop, self.failure = False, None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.start()

    def run(self):
        data = bytes(65536)
        try:
            while not self.must_stop:
                self.sent += self.socket.send(data)
        except OSError as failure:
            self.failure = failure

    def _read(self):
        with contextlib.suppress(OSError):
            while piece := self.socket.recv(1 << 20):
                self.got += len(piece)

    def finish(self):
        self.must_stop = True
        with contextlib.suppress(OSError):
            e2e.reset(self.socket)
        self.join(e2e.SECS)
        self.reader.join(e2e.SECS)


class Sink:
    """A target that takes all; .got counts for each connection, in their order.  What a client could send says
    little: megabytes of it wait in buffers on the way."""

    def __init__(self):
        self.got = []

    def __call__(self, s):
        s.settimeout(None)
        at = len(self.got)
        self.got.append(0)
        while piece := s.recv(1 << 20):
            self.got[at] += len(piece)


def source(s):
    s.settimeout(None)
    while True:
        s.sendall(bytes(65536))


class Collapse(PathCase):
    def setUp(self):
        super().setUp()
        self.ip("link", "set", "lo", "mtu", "1500")
        self.floods = []

    def spoil(self, rule):
        """What the kernel does with datagrams of the tunnel, in both directions; TCP is not touched."""
        self.nft("table inet f {\n chain in {\n type filter hook input priority 0;\n"
                 f" udp dport {self.tunnel_port} {rule}\n udp sport {self.tunnel_port} {rule}\n }}\n}}\n")

    def heal(self):
        self.nft("delete table inet f")

    def flood(self):
        flood = Flood(self.port)
        self.addCleanup(flood.finish)
        self.floods.append(flood)
        return flood

    def came(self, sink):
        """Of a flood, at the target."""
        def moved(flood):
            at = self.floods.index(flood)
            return sink.got[at] if at < len(sink.got) else 0
        return moved

    def collapses(self, handle, moved, rule, lives=True):
        """`lives`: what was open before is still there when the path is well again.  Under heavy loss it need not
        be: QUIC waits twice as long after each probe that is lost, or whose answer is, so that a lane may be
        silent for longer than either end has patience."""
        self.start_there("quicWithFallback", target=handle, quicRetrySecs=6)
        self.wait_transport("quic", "preferred")
        flood = self.flood()
        wait_for("a good rate", lambda: moved(flood) > 20_000_000)
        self.spoil(rule)
        since = time.monotonic()
        wait_for("TLS", lambda: self.edge.status()["transport"] == "tcpTls", SECS)
        print(f"{self.id()}: {rule}: seen after {time.monotonic() - since:.1f} s", flush=True)
        if lives or self.edge.status()["transportReason"] != "quicLost":
            self.assertEqual(self.edge.status()["transportReason"], "quicCollapsed")
            self.assertEqual(self.edge.metric("penstock_edge_transport_switches_total", reason="quicCollapsed"), 1)
            self.assertTrue(self.edge.events("path_collapsed"))
        before = moved(flood)
        after = self.flood()
        wait_for("a good rate by TLS", lambda: moved(after) > 20_000_000)
        if lives:
            wait_for("the old stream goes on", lambda: moved(flood) > before or flood.failure, SECS)
        self.heal()
        wait_for("QUIC again", lambda: (self.edge.status()["transport"], self.edge.status()["transportReason"]) ==
                 ("quic", "preferred"), SECS)
        if lives:
            before = moved(flood)
            wait_for("the old stream is well", lambda: moved(flood) > before + 5_000_000 or flood.failure, SECS)
            self.assertIsNone(flood.failure)
        self.assertEqual(self.edge.status()["connects"], 1)

    def test_an_upload_meets_a_policer(self):
        sink = Sink()
        self.collapses(sink, self.came(sink), "limit rate over 125 kbytes/second burst 16 kbytes drop")

    def test_an_upload_meets_loss(self):
        sink = Sink()
        self.collapses(sink, self.came(sink), "numgen random mod 100 < 30 drop", lives=False)

    def test_a_download_meets_a_policer(self):
        """The hub sees it, and tells the edge over the very lane, where its messages, PINGs too, wait behind
        megabytes that are sent again."""
        self.collapses(source, lambda f: f.got, "limit rate over 125 kbytes/second burst 16 kbytes drop")
        self.assertGreater(self.hub.metric("penstock_hub_paths_collapsed_total"), 0)

    def test_a_packet_in_a_hundred_is_no_collapse(self):
        self.start_there("quicWithFallback", target=Sink())
        self.wait_transport("quic", "preferred")
        self.spoil("numgen random mod 100 < 1 drop")
        flood, since = self.flood(), time.monotonic()
        wait_for("ten seconds of it", lambda: time.monotonic() - since > 10 or flood.failure)
        self.assertGreater(flood.sent, 10_000_000)
        self.assertEqual((self.edge.status()["transport"], self.edge.status()["transportReason"]),
                         ("quic", "preferred"))
        self.assertFalse(self.edge.events("path_collapsed"))


if __name__ == "__main__":
    e2e.main_in_namespace()
