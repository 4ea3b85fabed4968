"""Clients and origins that leave a request unfinished where no deadline was looked for, and clients that send
more than their window allows: each is ended in time, and nobody else is."""
import contextlib
import select
import struct
import threading
import unittest

from h2_client import (DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, RST_STREAM, WINDOW_UPDATE, Frames)
from traffic_stand import HOST, SECS, Stand, early, ok, stack

FLOW_CONTROL_ERROR = 3
SETTINGS_INITIAL_WINDOW_SIZE = 4
SECS_OF_ALL = 2  # idleSecs, bodyIdleSecs, headerSecs
EXTENDED_CONNECT = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", HOST),
                    (":path", "/x"), ("sec-websocket-version", "13")]


def window(n):
    return struct.pack(">HI", SETTINGS_INITIAL_WINDOW_SIZE, n)


class Windows(unittest.TestCase):
    """A client that sends more than it may (RFC 9113 6.9.1)."""

    def test_of_an_upgrade(self):
        """Whose bytes wait until the origin agrees.  Frames that add up to more than the window, and not to the
        window and frames of their own; then some that do."""
        with Stand() as stand:
            held = threading.Event()
            stand.origin.answers["/x"] = lambda *_: held.wait(SECS) and None
            for frames in ([16000] * 5, [1000] * 70, [16000] * 4 + [1537], [16384] * 5):
                with stand.client() as other, Frames(stand.https) as c:
                    c.send(c.frame(HEADERS, END_HEADERS, 1, c.encoder.encode(EXTENDED_CONNECT)) +
                           b"".join(c.frame(DATA, 0, 1, b"x" * n) for n in frames))
                    self.assertEqual(struct.unpack(">I", c.find(RST_STREAM, 1)[3]), (FLOW_CONTROL_ERROR,))
                    c.send(c.frame(HEADERS, END_HEADERS | END_STREAM, 3, c.head(path="/after")))
                    self.assertIsNotNone(c.find(HEADERS, 3), "the connection goes on")
                    self.assertEqual(other.get("/others").status, 200)
            self.assertEqual(stand.reason("h2_protocol"), 4)
            held.set()

    def test_of_a_request(self):
        """Whose bytes may leave for the origin while others come: then it is no overrun."""
        with Stand() as stand, stand.client() as other:
            for _ in range(20):
                with Frames(stand.https) as c:
                    c.send(c.frame(HEADERS, END_HEADERS, 1, c.head(path="/up", method="POST")) +
                           b"".join(c.frame(DATA, END_STREAM * (i == 7), 1, b"x" * 16000) for i in range(8)))
                    while (f := c.read()) and f[0] not in (HEADERS, RST_STREAM):
                        pass
                    self.assertIsNotNone(f)
                self.assertEqual(other.get("/others").status, 200)


class Stalls(unittest.TestCase):
    def stand(self, **limits):
        return self.enterContext(Stand(timeouts={name: SECS_OF_ALL for name in ("bodyIdleSecs", "idleSecs", "headerSecs")},
                                       limits=limits))

    def is_let_go(self, stand):
        stack.wait_for("nothing is in flight", lambda: stand.traffic.metric("penstock_traffic_exchanges_open") == 0, SECS)

    def end_of(self, c, stream=1):
        """The reset of the stream, or the end of the connection."""
        while True:
            f = c.read()
            if f is None or f[0] == GOAWAY or f[0] == RST_STREAM and f[2] == stream:
                return f

    def test_nothing_left_but_the_end_of_a_stream(self):
        """END_STREAM takes no window, but nghttp2 holds it back with the window shut."""
        stand = self.stand()
        late = threading.Event()

        def two_pieces(s, _):
            s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            late.wait(SECS)
            return b"0\r\n\r\n"

        stand.origin.answers["/empty"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        stand.origin.answers["/late"] = two_pieces
        for path, size in (("/empty", 0), ("/late", 5)):
            with self.subTest(path), Frames(stand.https, settings=window(size)) as c:
                c.send(c.frame(HEADERS, END_HEADERS | END_STREAM, 1, c.head(path=path)))
                self.assertIsNotNone(c.find(HEADERS, 1))
                if size:
                    self.assertEqual(c.find(DATA, 1)[3], b"hello")
                    late.set()
                self.end_of(c)
                self.is_let_go(stand)
        self.assertGreaterEqual(stand.reason("write_timeout"), 2)

    def test_an_upgrade_that_is_refused(self):
        """It is a request like any other then: of its answer the origin's silence counts."""
        stand, over = self.stand(), threading.Event()
        self.addCleanup(over.set)

        def stall(s, _):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            over.wait(SECS)

        stand.origin.answers["/x"] = stall
        with stand.client() as c:
            c.send(f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n")
            c.reader.until(b"\r\n\r\nabc")
            self.assertTrue(c.is_closed())
        with Frames(stand.https) as c:
            c.send(c.frame(HEADERS, END_HEADERS, 1, c.encoder.encode(EXTENDED_CONNECT)))
            self.end_of(c)
        self.assertGreaterEqual(stand.reason("upstream_timeout"), 2)

    def test_a_body_behind_an_expectation(self):
        """The origin sends no 100, the client sends its body all the same, a byte now and then."""
        stand = self.stand()
        field = ("expect", "100-continue")

        @early
        def quiet(_, request, reader):
            reader.body(request)

        stand.origin.answers["/q"] = quiet

        def drip(c, byte, answered):
            """Until `answered`; who waits for the answer is the clock."""
            drips = 0
            while not answered():
                with contextlib.suppress(OSError):
                    c.send(byte)
                    drips += 1
                select.select([c.s], [], [], 0.3)
            return drips

        with stand.client() as c:
            c.send(f"POST /q HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")

            def came():
                c.s.settimeout(0.01)
                with contextlib.suppress(OSError):
                    c.reader.more()
                c.s.settimeout(SECS)
                return b"HTTP/1.1 " in c.reader.held
            self.assertGreater(drip(c, "x", came), 2)
            self.assertEqual(c.answer().status, 408)
        with Frames(stand.https) as c:
            c.send(c.frame(HEADERS, END_HEADERS, 1, c.head(field, path="/q", method="POST")))

            def answered():
                c.s.settimeout(0.01)
                with contextlib.suppress(OSError):
                    c.take_in(c.s.recv(65536))
                c.s.settimeout(SECS)
                return any(f[0] in (HEADERS, RST_STREAM, GOAWAY) for f in c.came)
            self.assertGreater(drip(c, c.frame(DATA, 0, 1, b"x"), answered), 2)
        self.assertEqual(stand.reason("body_timeout"), 2)

    def test_a_window_that_opens_byte_by_byte(self):
        """limits.readRate holds for what HTTP/2 lets a client do as well."""
        stand = self.stand(readRate=1000)
        stand.origin.answers["/large"] = ok(b"x" * (8 << 20))
        taken = 0
        with Frames(stand.https, settings=window(1)) as c:
            c.send(c.frame(HEADERS, END_HEADERS | END_STREAM, 1, c.head(path="/large")))
            while (f := c.read()) and f[0] not in (RST_STREAM, GOAWAY):
                if f[0] == DATA:
                    taken += len(f[3])
                    select.select([c.s], [], [], 0.3)  # long enough to lose time, short enough to move
                    c.send(c.frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)))
        self.assertGreater(taken, 3)
        self.assertLess(taken, 100)
        self.assertEqual(stand.reason("slow_read"), 1)
        self.is_let_go(stand)

    def test_a_small_window_that_is_kept_open(self):
        """Bytes buy time."""
        stand = self.stand(readRate=1000)
        body = b"x" * (64 << 10)
        stand.origin.answers["/some"] = ok(body)
        with H2(stand.https, window=256) as c:
            self.assertEqual(c.get("/some").body, body)

    def test_data_that_is_late(self):
        """For a stream that we have reset long ago, by the number of others that closed since."""
        stand = self.stand()

        @early
        def refuse(_, __, ___):
            return b"HTTP/1.1 403 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"

        stand.origin.answers["/early"] = refuse
        with Frames(stand.https) as c:
            c.send(c.frame(HEADERS, END_HEADERS, 1, c.head(path="/early", method="POST")) + c.frame(DATA, 0, 1, b"x" * 100))
            self.assertIsNotNone(c.find(RST_STREAM, 1))
            for i in range(3, 603, 2):
                c.send(c.frame(HEADERS, END_HEADERS | END_STREAM, i, c.head(path="/g")))
                while (f := c.read()) and not (f[2] == i and f[1] & END_STREAM):
                    pass
            c.send(c.frame(DATA, 0, 1, b"y" * 100) + c.frame(HEADERS, END_HEADERS | END_STREAM, 1001, c.head(path="/after")))
            self.assertIsNotNone(c.find(HEADERS, 1001), f"GOAWAY {c.goaway_code}")


class Heads(unittest.TestCase):
    def test_as_large_as_can_be(self):
        """limits.headerBytes at its most, and all that we add to it."""
        with Stand(limits={"headerBytes": 65535, "headerFields": 256}) as stand:
            more = {f"X-{i:02d}": "r" * 880 for i in range(9)}
            stand.routes([stand.route(HOST, headers={"response": {"set": more}}, hsts={"maxAgeSecs": 60})])
            head = b"HTTP/1.1 200\r\nContent-Length:0\r\n" + b"".join(
                b"%c%c:b\r\n" % (97 + i % 26, 97 + i // 26) for i in range(200)) + b"z:"
            stand.origin.answers["/large"] = head + b"v" * (65535 - len(head) - 4) + b"\r\n\r\n"
            with stand.client() as c:
                a = c.get("/large")
                self.assertEqual((a.status, len(a.one("z")), a.one("x-08")), (200, 65535 - len(head) - 4, "r" * 880))

    def test_interim_ones_that_nobody_reads(self):
        """Hints (103) behind those that wait are dropped: what a client does not read is not gathered."""
        with Stand() as stand:
            hint = b"HTTP/1.1 103 Early Hints\r\n" + b"".join(b"l%d: %s\r\n" % (i, b"h" * 1000) for i in range(15)) + b"\r\n"
            stand.origin.answers["/hints"] = hint * 10 + ok(b"done")
            streams = range(1, 200, 2)
            with Frames(stand.https, receive_buffer=4096) as c:
                c.send(b"".join(c.frame(HEADERS, END_HEADERS | END_STREAM, i, c.head(path="/hints")) for i in streams))
                stand.origin.wait_seen("/hints", len(streams))
                interims, ended = 0, set()
                while len(ended) < len(streams):
                    kind, flags, stream, payload = c.read()
                    if kind == HEADERS and not flags & END_STREAM:
                        interims += dict(c.decoder.decode(payload)).get(":status") == "103"
                    if flags & END_STREAM and kind in (HEADERS, DATA):
                        ended.add(stream)
            self.assertLess(interims, 10 * len(streams) // 2)


if __name__ == "__main__":
    unittest.main()
