"""An edge that knows its secret and means harm: frames of every malformed kind against a real hub.

Each is answered as api/tunnel.md says (GOODBYE protocol_error, or the close byte), is counted, and
disturbs nobody: a normal edge with running streams is on the same hub all the time.
"""
import contextlib
import json
import socket
import time
import unittest

import e2e
import tunnel_stand as t
from e2e import penstock

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def ack(**changes):
    fields = {"revision": 1, "listenPorts": [], "listenPortsUdp": [], "errors": [], "publicIp": None, **changes}
    return t.frame(0, t.CONFIG_ACK, json.dumps({k: v for k, v in fields.items() if v != "missing"}).encode())


def malformed(port):
    """name -> bytes, for an edge that may open `port`, whose target never accepts."""
    one = t.open_frame(1, port)
    line = t.proxy_line(port)
    rows = {}
    for type_ in (0x00, 0x12, 0x7f, 0xff):
        rows[f"unknown type {type_:#x}"] = t.frame(0, type_)
    for name, type_, stream, payload in (
            ("DATA_BACK", t.DATA_BACK, 1, b"x"), ("CLOSE_BACK", t.CLOSE_BACK, 1, b""),
            ("CONFIG", t.CONFIG, 0, b'{"revision":1,"listenPorts":[],"listenPortsUdp":[],"stunIntervalSecs":0}'),
            ("PING", t.PING, 0, b"12345678"), ("WINDOW_UPDATE_BACK", t.WINDOW_UPDATE_BACK, 1, b"\0\0\0\1"),
            ("UDP_DATA_BACK", t.UDP_DATA_BACK, 1, b"x")):
        rows[f"{name} from the edge"] = one + t.frame(stream, type_, payload)
    rows["DATA of 65,537 bytes"] = one + t.frame(1, t.DATA, b"", 65537)
    rows["DATA of 4 GiB"] = one + t.frame(1, t.DATA, b"", 0xffffffff)
    rows["CONFIG_ACK of 65,537 bytes"] = t.frame(0, t.CONFIG_ACK, b"", 65537)
    rows["OPEN of 108 bytes"] = t.frame(1, t.OPEN, b"", 108)
    for name, type_, payload in (
            ("OPEN", t.OPEN, line), ("DATA", t.DATA, b"x"), ("CLOSE", t.CLOSE, b""),
            ("WINDOW_UPDATE", t.WINDOW_UPDATE, b"\0\0\0\1"), ("UDP_OPEN", t.UDP_OPEN, t.udp_open_frame(1, port)[9:]),
            ("UDP_DATA", t.UDP_DATA, b"x"), ("UDP_CLOSE", t.UDP_CLOSE, b"")):
        rows[f"{name} on id 0"] = t.frame(0, type_, payload)
    for name, type_, payload in (("PONG", t.PONG, b"12345678"), ("CONFIG_ACK", t.CONFIG_ACK, ack()[9:]),
                                 ("DRAIN", t.DRAIN, b'{"deadlineSecs":5}'),
                                 ("GOODBYE", t.GOODBYE, b'{"code":"kicked","message":""}')):
        rows[f"{name} on a stream"] = one + t.frame(1, type_, payload)
    rows["the same id twice"] = t.open_frame(5, port) + t.open_frame(5, port)
    rows["a lower id"] = t.open_frame(5, port) + t.open_frame(4, port)
    rows["UDP_OPEN of a lower id"] = t.open_frame(5, port) + t.udp_open_frame(3, port)
    rows["OPEN of a refused UDP session's id"] = t.udp_open_frame(5, port) + t.open_frame(5, port)
    for name, type_, payload in (("DATA", t.DATA, b"x"), ("CLOSE", t.CLOSE, b""),
                                 ("WINDOW_UPDATE", t.WINDOW_UPDATE, b"\0\0\0\1"), ("UDP_DATA", t.UDP_DATA, b"x"),
                                 ("UDP_CLOSE", t.UDP_CLOSE, b"")):
        rows[f"{name} for a stream that never was"] = one + t.frame(2, type_, payload)
    full = t.frame(1, t.DATA, bytes(t.INITIAL_WINDOW))
    rows["one byte past the credit"] = one + full + t.frame(1, t.DATA, b"x")
    rows["a frame that begins within the credit"] = (
        one + t.frame(1, t.DATA, bytes(60000)) + t.frame(1, t.DATA, bytes(5537)))
    rows["DATA after FIN"] = one + t.frame(1, t.CLOSE) + t.frame(1, t.DATA, b"x")
    rows["a second FIN"] = one + t.frame(1, t.CLOSE) + t.frame(1, t.CLOSE)
    for byte in (0x00, 0x02, 0x03, 0xff):
        rows[f"CLOSE with {byte:#x}"] = one + t.frame(1, t.CLOSE, bytes([byte]))
    rows["CLOSE of two bytes"] = one + t.frame(1, t.CLOSE, b"\1\1")
    rows["UDP_CLOSE with 0x02"] = t.udp_open_frame(1, port) + t.frame(1, t.UDP_CLOSE, b"\2")
    rows["WINDOW_UPDATE of 0"] = one + t.frame(1, t.WINDOW_UPDATE, bytes(4))
    rows["WINDOW_UPDATE of 3 bytes"] = one + t.frame(1, t.WINDOW_UPDATE, b"\0\0\1")
    rows["WINDOW_UPDATE of 5 bytes"] = one + t.frame(1, t.WINDOW_UPDATE, b"\0\0\0\0\1")
    rows["WINDOW_UPDATE of 2^31"] = one + t.frame(1, t.WINDOW_UPDATE, b"\x80\0\0\0")
    rows["credit past 2^31 - 1"] = one + t.frame(1, t.WINDOW_UPDATE, b"\x7f\xff\xff\xff")
    rows["PONG without a PING"] = t.frame(0, t.PONG, b"12345678")
    rows["PONG of 7 bytes"] = t.frame(0, t.PONG, b"1234567")
    rows["UDP_DATA on a TCP stream"] = one + t.frame(1, t.UDP_DATA, b"x")
    rows["UDP_CLOSE on a TCP stream"] = one + t.frame(1, t.UDP_CLOSE)
    for name, payload in (
            ("nothing", b""), ("no PROXY line", b"hello\r\n"), ("LF only", line[:-2] + b"\n"),
            ("no end", line[:-2]), ("UNKNOWN", b"PROXY UNKNOWN\r\n"), ("two lines", line + line[:20]),
            ("bytes behind it", line + b"x"), ("two blanks", line.replace(b" ", b"  ", 1)),
            ("a leading zero", b"PROXY TCP4 192.0.2.7 127.0.0.1 040000 80\r\n"),
            ("port 65536", b"PROXY TCP4 192.0.2.7 127.0.0.1 65536 80\r\n"),
            ("port 0x50", b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 0x50\r\n"),
            ("UDP4", b"PROXY UDP4 192.0.2.7 127.0.0.1 40000 80\r\n"),
            ("mixed families", b"PROXY TCP4 192.0.2.7 ::1 40000 80\r\n"),
            ("a NUL", b"PROXY TCP4 192.0.2.7\0 127.0.0.1 40000 80\r\n"),
            ("v2", V2 + b"\x21\x11\0\x0c" + bytes(12))):
        rows[f"OPEN: {name}"] = t.frame(1, t.OPEN, payload)
    for name, payload in (
            ("a v1 line", line), ("STREAM", V2 + b"\x21\x11\0\x0c" + bytes(12)),
            ("LOCAL", V2 + b"\x20\x12\0\x0c" + bytes(12)), ("UNIX", V2 + b"\x21\x32\0\xd8" + bytes(216)),
            ("UNSPEC", V2 + b"\x21\x02\0\x0c" + bytes(12)), ("version 1", V2 + b"\x11\x12\0\x0c" + bytes(12)),
            ("a length that lies", V2 + b"\x21\x12\0\x0d" + bytes(12))):
        rows[f"UDP_OPEN: {name}"] = t.frame(1, t.UDP_OPEN, payload)
    for name, payload in (("garbage", b"\xff\xfe"), ("no object", b"[]"), ("cut", b'{"revision":1'),
                          ("deep nesting", b"[" * 30000), ("a duplicate key", b'{"revision":1,' + ack()[10:])):
        rows[f"CONFIG_ACK: {name}"] = t.frame(0, t.CONFIG_ACK, payload)
    for name, changes in (("a revision never sent", {"revision": 99}), ("no revision", {"revision": "missing"}),
                          ("a negative revision", {"revision": -1}), ("a port twice", {"listenPorts": [80, 80]}),
                          ("unsorted ports", {"listenPorts": [443, 80]}), ("port 0", {"listenPorts": [0]}),
                          ("a port as text", {"listenPorts": ["80"]}), ("1,025 ports", {"listenPorts": list(range(1, 1026))}),
                          ("no list of errors", {"errors": "missing"}), ("an address that is none", {"publicIp": "x.y"}),
                          ("sctp", {"errors": [{"port": 80, "protocol": "sctp", "error": "x"}]})):
        rows[f"CONFIG_ACK: {name}"] = ack(**changes)
    for name, type_, payload in (
            ("DRAIN: garbage", t.DRAIN, b"{]"), ("DRAIN: empty", t.DRAIN, b"{}"),
            ("DRAIN: negative", t.DRAIN, b'{"deadlineSecs":-1}'), ("GOODBYE: garbage", t.GOODBYE, b"bye"),
            ("GOODBYE: no code", t.GOODBYE, b'{"message":"x"}')):
        rows[name] = t.frame(0, type_, payload)
    rows["OPEN after DRAIN"] = t.frame(0, t.DRAIN, b'{"deadlineSecs":30}') + one
    return rows


class FullListener:
    """A port whose backlog is full: whoever connects waits."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.fillers = []
        while True:
            s = socket.socket()
            s.settimeout(0.3)
            self.fillers.append(s)
            try:
                s.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return

    def close(self):
        for s in [self.listener, *self.fillers]:
            s.close()


class Attack(e2e.Case):
    """Edge e1 is normal, its clients talk all the time; evil is the probe's."""

    def setUp(self):
        super().setUp()
        target, self.full = e2e.Target(e2e.echo), FullListener()
        self.addCleanup(target.close)
        self.addCleanup(self.full.close)
        good, self.echo_port, self.full_port, self.other_port = (penstock.free_port() for _ in range(4))
        self.hub = self.stack.hub(
            {good: target.port, self.echo_port: target.port, self.full_port: self.full.port,
             self.other_port: target.port}, limits={"connectSecs": 120})
        self.edge = self.stack.edge(self.stack.register(self.hub, "e1", [good]))
        self.secret = t.secret_of(self.stack.register(self.hub, "evil", [self.echo_port, self.full_port],
                                                      maxInstances=64))
        self.wait_ports(self.edge, [good])
        self.good, self.clients = good, t.echo_clients(good, 5)
        self.connects = self.edge.status()["connects"]
        self.count = 0

    def probe(self, instance=None, **options):
        self.count += 1
        probe = t.Probe(self.hub.address("tunnel"), "evil", self.secret,
                        instance=instance or f"i{self.count}", **options)
        self.addCleanup(probe.close)
        return probe.wait_open()

    def check_undisturbed(self):
        """The normal edge's streams go on, it was never reconnected, and a new client is served."""
        rounds = [c.rounds for c in self.clients]
        e2e.wait_for("five more echoes of each client",
                     lambda: all(c.rounds >= n + 5 for c, n in zip(self.clients, rounds)))
        with e2e.connect(self.good) as s:
            s.sendall(b"new")
            self.assertEqual(e2e.receive(s, 3), b"new")
        self.assertEqual(self.edge.status()["connects"], self.connects)
        self.assertEqual([c.finish() for c in self.clients], ["stopped"] * 5)

    def goodbyes(self):
        return self.hub.metric("penstock_hub_goodbyes_total", code="protocol_error")

    def test_malformed_frames(self):
        rows = malformed(self.full_port)
        for name, data in rows.items():
            with self.subTest(name):
                before = self.goodbyes()
                probe = self.probe()
                probe.send(data)
                goodbye = probe.goodbye()
                self.assertEqual(goodbye["code"], "protocol_error", goodbye)
                e2e.wait_for("the count", lambda n=before: self.goodbyes() == n + 1)
                probe.close()
        self.assertGreater(len(rows), 90)
        e2e.wait_for("the lanes to be forgotten", lambda: self.hub.metric("penstock_hub_lanes") ==
                     self.edge.metric("penstock_edge_lanes"))
        closed = self.hub.events("lane_closed", edge="evil")
        self.assertEqual(len(closed), len(rows))
        self.assertLessEqual({e["reason"] for e in closed}, {"proto", "protocol_error"})
        self.check_undisturbed()

    def test_the_same_byte_by_byte(self):
        """A frame may be split anywhere."""
        probe = self.probe()
        for byte in t.open_frame(1, self.echo_port) + t.frame(1, t.DATA, b"in small pieces") + t.frame(1, t.CLOSE):
            probe.send(bytes([byte]))
        self.assertEqual(probe.wait_back(1, 15), b"in small pieces")
        self.assertEqual(probe.wait_frame(t.CLOSE_BACK, 1).payload, b"")
        self.check_undisturbed()

    def test_ports_that_are_not_its_own(self):
        probe = self.probe()
        for stream, port in enumerate((self.good, self.other_port, self.hub.address("tunnel")[1], 22, 1, 65535), 1):
            with self.subTest(port=port):
                probe.send(t.open_frame(stream, port), t.frame(stream, t.DATA, b"is dropped"))
                self.assertEqual(probe.wait_frame(t.CLOSE_BACK, stream).payload, b"\3")
        self.assertEqual(self.hub.metric("penstock_hub_streams_refused_total", reason="port_not_allowed"), 6)
        probe.send(t.udp_open_frame(10, self.echo_port), t.frame(10, t.UDP_DATA, b"is dropped"))
        self.assertEqual(probe.wait_frame(t.UDP_CLOSE, 10).payload, b"\3")
        probe.send(t.open_frame(11, self.echo_port), t.frame(11, t.DATA, b"goes on"))
        self.assertEqual(probe.wait_back(11, 7), b"goes on")
        self.check_undisturbed()

    def test_port_that_was_taken_away(self):
        """Still good for 10 s after the CONFIG_ACK that it is gone; its open streams go on."""
        probe = self.probe()
        probe.send(t.open_frame(1, self.echo_port), t.frame(1, t.DATA, b"one"))
        probe.wait_back(1, 3)
        self.hub.api("PATCH", "/v1/edges/evil", {"listenPorts": [self.full_port]}, expect=200)
        config = probe.wait_frame(t.CONFIG, 0).json
        self.assertEqual(config["listenPorts"], [self.full_port])
        started = time.monotonic()
        probe.acknowledge(config["revision"], [self.full_port])
        stream = 1

        def is_refused():
            nonlocal stream
            stream += 1
            probe.send(t.open_frame(stream, self.echo_port), t.frame(stream, t.DATA, b"x"))
            e2e.wait_for("an answer", lambda: probe.seen(t.CLOSE_BACK, stream) or probe.bytes_back(stream))
            closed = probe.seen(t.CLOSE_BACK, stream)
            if closed:
                self.assertEqual(closed[0].payload, b"\3")
            else:
                probe.send(t.frame(stream, t.CLOSE, b"\1"))
            return closed

        e2e.wait_for("the port to be refused", is_refused, 40)
        took = time.monotonic() - started
        self.assertGreater(took, 9.5)
        self.assertLess(took, 30)
        probe.send(t.frame(1, t.DATA, b"two"))
        self.assertEqual(probe.wait_back(1, 6), b"onetwo")
        self.check_undisturbed()

    def test_frames_of_streams_that_ended_are_dropped(self):
        probe = self.probe()
        for stream, end in ((1, t.frame(1, t.CLOSE, b"\1")), (2, b"")):
            port = self.echo_port if end else 9  # 9 is not its own: refused
            probe.send(t.open_frame(stream, port), end)
            if not end:
                probe.wait_frame(t.CLOSE_BACK, stream)
            probe.send(t.frame(stream, t.DATA, bytes(70000 - 65536)) * 20, t.frame(stream, t.WINDOW_UPDATE, b"\0\0\1\0"),
                       t.frame(stream, t.CLOSE), t.frame(stream, t.CLOSE, b"\1"))
        probe.send(t.open_frame(9, self.echo_port), t.frame(9, t.DATA), t.frame(9, t.DATA, b"still here"))
        self.assertEqual(probe.wait_back(9, 10), b"still here")
        self.check_undisturbed()

    def test_drain_and_goodbye(self):
        """What is open may finish until the deadline; a GOODBYE is not answered."""
        probe = self.probe()
        started = time.monotonic()
        probe.send(t.open_frame(1, self.echo_port), t.open_frame(2, self.full_port),
                   t.frame(0, t.DRAIN, b'{"deadlineSecs":6}'), t.frame(1, t.DATA, b"x"))
        self.assertEqual(probe.wait_back(1, 1), b"x")
        probe.send(t.frame(1, t.CLOSE))
        self.assertEqual(probe.wait_frame(t.CLOSE_BACK, 1).payload, b"")
        self.assertEqual(probe.wait_frame(t.CLOSE_BACK, 2).payload, b"\1")
        self.assertGreater(time.monotonic() - started, 5.5)
        probe.send(t.frame(0, t.GOODBYE, b'{"code":"draining","message":"done"}'))
        probe.wait_end()
        self.assertEqual(probe.seen(t.GOODBYE), [])
        self.assertEqual(self.hub.wait_event("lane_closed", edge="evil")["reason"], "draining")
        self.check_undisturbed()

    def test_credit_is_the_limit_not_a_goal(self):
        """Exactly the credit is taken, whole, though the target does not answer."""
        probe = self.probe()
        probe.send(t.open_frame(1, self.full_port), t.frame(1, t.DATA, bytes(t.INITIAL_WINDOW)),
                   t.open_frame(2, self.echo_port), t.frame(2, t.DATA, b"next"))
        self.assertEqual(probe.wait_back(2, 4), b"next")
        self.assertEqual(probe.seen(t.WINDOW_UPDATE_BACK, 1), [])
        self.check_undisturbed()

    def test_hub_sends_no_more_than_the_credit(self):
        probe = self.probe()
        probe.send(t.open_frame(1, self.echo_port))
        sent = 0
        while sent < 200_000:  # as its credit comes; none of ours goes back
            credit = t.INITIAL_WINDOW + sum(int.from_bytes(f.payload, "big")
                                            for f in probe.seen(t.WINDOW_UPDATE_BACK, 1))
            n = min(16384, 200_000 - sent, credit - sent)
            if n == 0:
                e2e.wait_for("more credit", lambda c=credit: t.INITIAL_WINDOW + sum(
                    int.from_bytes(f.payload, "big") for f in probe.seen(t.WINDOW_UPDATE_BACK, 1)) > c)
                continue
            probe.send(t.frame(1, t.DATA, bytes(n)))
            sent += n
        probe.wait_back(1, t.INITIAL_WINDOW)
        probe.send(t.open_frame(2, self.echo_port), t.frame(2, t.DATA, b"other"))
        self.assertEqual(probe.wait_back(2, 5), b"other")
        self.assertEqual(len(probe.bytes_back(1)), t.INITIAL_WINDOW)
        probe.send(t.frame(1, t.WINDOW_UPDATE, (200_000 - t.INITIAL_WINDOW).to_bytes(4, "big")))
        self.assertEqual(len(probe.wait_back(1, 200_000)), 200_000)
        self.check_undisturbed()

    def test_config_goes_on_the_lowest_live_lane(self):
        """And again on the next one when that dies before it was acknowledged."""
        first = self.probe("lanes")
        second = self.probe("lanes", session=first.session, lane=1)
        self.assertEqual(second.session, first.session)
        self.hub.api("PATCH", "/v1/edges/evil", {"listenPorts": [self.echo_port]}, expect=200)
        revision = first.wait_frame(t.CONFIG, 0).json["revision"]
        self.assertEqual(second.seen(t.CONFIG), [])
        first.close()
        self.assertEqual(second.wait_frame(t.CONFIG, 0).json["revision"], revision)
        second.acknowledge(revision, [self.echo_port])

        def acknowledged():
            return [e["acknowledgedRevision"] for e in self.hub.status()["connectedEdges"]
                    if e["instance"] == "lanes"] == [revision]

        e2e.wait_for("the hub to know", acknowledged)
        self.check_undisturbed()

    def test_lanes_are_numbered_once_and_capped(self):
        first = self.probe("lanes")
        address = self.hub.address("tunnel")

        def refused(**options):
            probe = t.Probe(address, "evil", self.secret, **{"instance": "lanes", **options})
            self.addCleanup(probe.close)
            code = probe.wait_error()
            self.assertEqual(probe.answer.keys(), {"error"})
            probe.wait_end()
            return code

        self.assertEqual(refused(session=first.session, lane=0), "lane_in_use")
        self.assertEqual(refused(session="A" * 22, lane=1), "unknown_session")
        self.assertEqual(refused(session=first.session, lane=1, instance="another"), "unknown_session")
        self.assertEqual(refused(lane=1), "bad_request")
        lanes = [self.probe("lanes", session=first.session, lane=n) for n in range(1, 16)]
        self.assertEqual(refused(session=first.session, lane=16), "too_many_lanes")
        lanes[0].send(t.frame(0, t.DRAIN, b'{"deadlineSecs":30}'))  # counts no more

        def joins():
            probe = t.Probe(address, "evil", self.secret, instance="lanes", session=first.session, lane=17)
            self.addCleanup(probe.close)
            return "session" in probe.wait_answer()

        e2e.wait_for("room for one more", joins)
        self.assertEqual(refused(session=first.session, lane=17), "lane_in_use")
        for code in ("lane_in_use", "unknown_session", "too_many_lanes", "bad_request"):
            self.assertGreaterEqual(self.hub.metric("penstock_hub_handshake_failures_total", reason=code), 1)
        self.check_undisturbed()


class Limits(e2e.Case):
    def test_streams_past_the_limit_are_reset_and_counted(self):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        port = penstock.free_port()
        hub = self.stack.hub({port: target.port}, limits={"streams": 10, "edgeShare": 100})
        probe = t.Probe(hub.address("tunnel"), "e1", t.secret_of(self.stack.register(hub, "e1", [port])))
        self.addCleanup(probe.close)
        probe.wait_open()
        for stream in range(1, 21):
            probe.send(t.open_frame(stream, port), t.frame(stream, t.DATA, b"x"))
        for stream in range(11, 21):
            self.assertEqual(probe.wait_frame(t.CLOSE_BACK, stream).payload, b"\1")
        for stream in range(1, 11):
            self.assertEqual(probe.wait_back(stream, 1), b"x")
        self.assertEqual(hub.metric("penstock_hub_streams_refused_total", reason="limit_streams"), 10)
        for stream in range(1, 11):
            probe.send(t.frame(stream, t.CLOSE, b"\1"))
        e2e.wait_for("room", lambda: hub.metric("penstock_hub_forwards_open") == 0)
        probe.send(t.open_frame(21, port), t.frame(21, t.DATA, b"again"))
        self.assertEqual(probe.wait_back(21, 5), b"again")

    def test_pings_must_be_answered(self):
        """An edge that acknowledges bytes and does not work is left after 25 s."""
        port = penstock.free_port()
        hub = self.stack.hub({port: 9})
        secret, started = t.secret_of(self.stack.register(hub, "e1", [port])), time.monotonic()
        probe = t.Probe(hub.address("tunnel"), "e1", secret)
        self.addCleanup(probe.close)
        probe.wait_open()
        ping = probe.wait_frame(t.PING, 0, secs=60)
        self.assertEqual(len(ping.payload), 8)
        self.assertGreater(time.monotonic() - started, 13)
        probe.send(t.frame(0, t.PONG, b"\xff" * 8))  # other bytes: ignored
        with contextlib.suppress(e2e.Failure):
            probe.goodbye(40)
        self.assertIsNotNone(probe.ended)
        self.assertGreater(probe.ended_at - started, 23)
        self.assertEqual(hub.wait_event("lane_closed", edge="e1")["reason"], "timeout")


if __name__ == "__main__":
    unittest.main(verbosity=2)
