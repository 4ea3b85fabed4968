"""Attacks over HTTP/2: each ends in GOAWAY within a second (stalls: within their timeout) while others are
served, and nothing that was refused reaches the origin.  Frames are made by hand.  What others wait meanwhile,
tests/heavy/test_h2_others.py says."""
import contextlib
import itertools
import struct
import threading
import time
import unittest

import hpack

from h2_client import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, H2, HEADERS, PING, PRIORITY,
                       PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, Frames)
from traffic_stand import FILES, HOST, SECS, Stand, ok, stack

GOAWAY_SECS = 1
TRIES = 5  # a machine that was held up is asked again: in time is in time once
IDLE_SECS = 5
TIMES = 20000
RESET = "RST_STREAM with PROTOCOL_ERROR"
NEWEST = bytes([0x80 | 62])  # of HPACK's table


# --- attacks: what is pressed into a connection, piece by piece

def rapid_reset(c):
    """CVE-2023-44487"""
    batch = 100
    head = c.head(path="/reset")
    for first in range(1, 2 * TIMES, 2 * batch):
        yield b"".join(c.frame(HEADERS, END_STREAM | END_HEADERS, i, head) + c.frame(RST_STREAM, 0, i, struct.pack(">I", 8))
                       for i in range(first, first + 2 * batch, 2))
        head = c.head(path="/reset")


def made_you_reset(increment):
    """CVE-2025-8671: the server is made to reset, by a WINDOW_UPDATE that goes over the top; one of 0 is the end at
    once."""
    def send(c):
        for i in range(1, 2 * TIMES, 2):
            yield (c.frame(HEADERS, END_HEADERS, i, c.head(path="/made", method="POST")) +
                   c.frame(WINDOW_UPDATE, 0, i, struct.pack(">I", increment)))
    return send


def made_you_reset_by_bodies(c):
    """More than the length says; each is reset by us."""
    for i in range(1, 2 * TIMES, 2):
        yield (c.frame(HEADERS, END_HEADERS, i, c.head(("content-length", "1"), path="/made-by-bodies", method="POST")) +
               c.frame(DATA, 0, i, b"xx"))


def flood(*frame):
    return lambda c: itertools.repeat(c.frame(*frame) * 100, TIMES // 100)


def empty_data(c):
    yield c.frame(HEADERS, END_HEADERS, 1, c.head(method="POST"))
    yield from itertools.repeat(c.frame(DATA, 0, 1) * 100, TIMES // 100)


def continuations(c):
    """VU#421644"""
    yield c.frame(HEADERS, 0, 1, c.head())
    yield from itertools.repeat(c.frame(CONTINUATION, 0, 1, hpack.Encoder().encode([("x", "y")])), TIMES)


def endless_head(c):
    """Few and large CONTINUATION frames: four times the limit ends it."""
    block = c.head(*[(f"x-{i}", "v" * 4000) for i in range(20)])
    parts = [block[i:i + 16000] for i in range(0, len(block), 16000)]
    yield c.frame(HEADERS, 0, 1, parts[0])
    for i, part in enumerate(parts[1:]):
        yield c.frame(CONTINUATION, END_HEADERS if i == len(parts) - 2 else 0, 1, part)


def interrupted_head(c):
    yield c.frame(HEADERS, 0, 1, c.head()) + c.frame(SETTINGS, 0, 0)


def hpack_bomb(c):
    """One large field in the table, then named again and again for a byte each (CVE-2026-49975)."""
    yield c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.head(("x-bomb", "v" * 3900), path="/bomb"))
    yield c.frame(HEADERS, END_STREAM | END_HEADERS, 3, c.head(path="/bomb") + NEWEST * 16000)


def small_bombs(c):
    """Just above the limit, each answered with 431: too many of them are an attack as well."""
    yield c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.head(("x-bomb", "v" * 3900), path="/bomb"))
    for i in range(3, 2 * TIMES, 2):
        yield c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path="/bomb") + NEWEST * 6)


ATTACKS = {  # what is pressed, the reason that is counted, GOAWAY's code
    "rapid reset": (rapid_reset, "h2_resets", ENHANCE_YOUR_CALM),
    "made you reset": (made_you_reset(2**31 - 1), "h2_resets", ENHANCE_YOUR_CALM),
    "made you reset, at once": (made_you_reset(0), "h2_protocol", PROTOCOL_ERROR),
    "made you reset by bodies": (made_you_reset_by_bodies, "h2_resets", ENHANCE_YOUR_CALM),
    # frames that cost nothing
    "ping": (flood(PING, 0, 0, b"12345678"), "h2_control_frames", ENHANCE_YOUR_CALM),
    "settings": (flood(SETTINGS, 0, 0), "h2_control_frames", ENHANCE_YOUR_CALM),
    "priority": (flood(PRIORITY, 0, 1, b"\0\0\0\3\1"), "h2_control_frames", ENHANCE_YOUR_CALM),
    "window": (flood(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), "h2_control_frames", ENHANCE_YOUR_CALM),
    "unknown": (flood(0x77, 0, 0, b"x"), "h2_control_frames", ENHANCE_YOUR_CALM),
    "empty DATA": (empty_data, "h2_control_frames", ENHANCE_YOUR_CALM),
    # heads
    "continuations": (continuations, "h2_continuations", ENHANCE_YOUR_CALM),
    "endless head": (endless_head, "h2_head_flood", ENHANCE_YOUR_CALM),
    "head that is interrupted": (interrupted_head, "h2_protocol", PROTOCOL_ERROR),
    "HPACK bomb": (hpack_bomb, "h2_head_flood", ENHANCE_YOUR_CALM),
    "small bombs": (small_bombs, "h2_resets", ENHANCE_YOUR_CALM),
}


class Attack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand(timeouts={"bodyIdleSecs": IDLE_SECS}, log={"access": False}))
        cls.origin = cls.stand.origin

    def attack(self, pieces, reason, code, settings=b""):
        """`pieces` of a connection are pressed into it, and someone else is served meanwhile: asked as soon as the
        first piece is out, before a word came back, and while all the others press on.  The seconds until GOAWAY came,
        and until the other had an answer."""
        before = self.stand.reasons()
        answers = []
        with H2(self.stand.https) as other, Frames(self.stand.https, settings=settings) as c:
            waiting = threading.Thread(target=lambda: answers.append((other.wait(asked[0]).status, time.monotonic())))
            asked = []

            def asking_behind_the_first():
                for piece in pieces(c):
                    yield piece
                    if not asked:
                        asked.append(other.request("/others"))
                        waiting.start()
            begun = time.monotonic()
            c.press(asking_behind_the_first())
            goaway = c.goaway()
            waiting.join(SECS)
        self.assertEqual([status for status, _ in answers], [200], "someone else is served")
        after = self.stand.reasons()
        risen = {word: count - before.get(word, 0) for word, count in after.items() if count > before.get(word, 0)}
        self.assertEqual(goaway, code, f"counted meanwhile: {risen}")
        self.assertIn(reason, risen)
        stack.wait_for("nothing is in flight", lambda: self.stand.traffic.metric("penstock_traffic_exchanges_open") == 0)
        return c.goaway_at - begun, answers[0][1] - begun

    def within(self, secs, *args, **options):
        """GOAWAY comes in time, at one of the tries; so does the other's answer.  The seconds of each try."""
        took = []
        while len(took) < TRIES and (not took or took[-1][0] >= secs or took[-1][1] >= GOAWAY_SECS):
            took.append(self.attack(*args, **options))
        self.assertLess(took[-1][0], secs, took)
        self.assertLess(took[-1][1], GOAWAY_SECS, f"someone else waited: {took}")
        return took

    def test_goaway_in_time(self):
        for name, attack in ATTACKS.items():
            with self.subTest(name):
                self.within(GOAWAY_SECS, *attack)
        for path in "/made", "/made-by-bodies":
            self.assertEqual(self.origin.seen(path), [], "none of them was whole")

    def test_pings_in_good_faith(self):
        with Frames(self.stand.https) as c:
            for _ in range(500):
                c.send(c.frame(PING, 0, 0, b"12345678"))
            for _ in range(500):
                f = c.find(PING)
                self.assertEqual((f[1], f[3]), (ACK, b"12345678"))

    # --- heads

    def test_held_heads(self):
        """A bomb within the limits, when nothing is left to be lent: what is held of all heads together follows what
        was sent; the rest is refused."""
        go = threading.Event()
        with Stand(log={"access": False}, limits={"h2SharedBytes": 0}) as stand, Frames(stand.https) as c:
            stand.origin.answers["/held"] = lambda s, r: (go.wait(SECS), ok())[1]
            c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.head(("x-bomb", "v" * 3900), path="/first")))
            c.find(HEADERS, 1)
            for i in range(3, 103, 2):
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path="/held") + bytes([0x80 | 63]) * 4))
            refused = 0
            while refused < 50 - 5:  # twice what it has sent is no such head: one is always taken
                f = c.find(RST_STREAM)
                self.assertEqual(struct.unpack(">I", f[3])[0], REFUSED_STREAM)
                refused += 1
            self.assertGreater(stand.reason("h2_unlent"), 0)
            go.set()
            self.assertIsNotNone(c.find(HEADERS, 3))

    def test_loans_of_one_address(self):
        """A dozen connections of one address, each of which holds all that it is lent: a tenth of what there is
        to be lent is left for clients from elsewhere."""
        go, met = threading.Event(), threading.Barrier(20, timeout=SECS)
        limits = {"h2SharedBytes": 3 << 20, "h2HeadsBytes": 512 << 10}
        with Stand(log={"access": False}, limits=limits) as stand, contextlib.ExitStack() as opened:
            opened.callback(go.set)
            stand.origin.answers["/held"] = lambda s, r: (go.wait(SECS), ok())[1]
            stand.origin.answers["/met"] = lambda s, r: (met.wait(), ok())[1]  # all at once
            for _ in range(12):
                c = opened.enter_context(Frames(stand.https))
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.head(("x-bomb", "v" * 3900), path="/held")))
                c.send(b"".join(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path="/held") + NEWEST * 3)
                                for i in range(3, 83, 2)))
            stack.wait_for("all was read", lambda: stand.traffic.metric("penstock_traffic_requests_total") == 12 * 41)
            lent = stand.traffic.metric("penstock_traffic_h2_lent_bytes")
            self.assertGreater(stand.reason("h2_unlent"), 0)
            self.assertGreater(lent, limits["h2SharedBytes"] / 4)
            with Frames(stand.https, source="127.0.0.2") as c:
                c.send(b"".join(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(("cookie", "c" * 4000), path="/met"))
                                for i in range(1, 41, 2)))
                answers = [c.find(HEADERS) for _ in range(20)]
                self.assertEqual({dict(c.decoder.decode(f[3]))[":status"] for f in answers}, {"200"})
            self.assertLessEqual(lent, limits["h2SharedBytes"] * 9 / 10)

    def test_a_hundred_in_good_faith(self):
        """A browser's first bytes: a hundred requests, each with a cookie of 4 KB that is one byte in all but the
        first.  All are served, and what was lent for them comes back."""
        met = threading.Barrier(100, timeout=SECS)
        with Stand(log={"access": False}) as stand, Frames(stand.https) as c:
            stand.origin.answers["/met"] = lambda s, r: (met.wait(), ok())[1]  # all at once
            c.send(b"".join(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(("cookie", "c" * 4000), path="/met"))
                            for i in range(1, 201, 2)))
            answered = set()
            while len(answered) < 100:
                f = c.find(HEADERS)
                self.assertIsNotNone(f, f"closed, {c.goaway_code}; {stand.reasons()}")
                self.assertEqual(dict(c.decoder.decode(f[3]))[":status"], "200")
                answered.add(f[2])
            self.assertEqual(stand.reason("h2_heads") + stand.reason("h2_unlent"), 0)
            self.assertEqual({len(r.one("cookie")) for r in stand.origin.seen("/met")}, {4000})
            c.s.close()
            stack.wait_for("what was lent is back", lambda: stand.traffic.metric("penstock_traffic_h2_lent_bytes") == 0)

    def test_streams(self):
        """More than 100 at once: refused, or the end of a client that has acknowledged the setting."""
        go = threading.Event()
        self.origin.answers["/many"] = lambda s, r: (go.wait(SECS), ok())[1]
        for acknowledges in (False, True):
            with Frames(self.stand.https) as c:
                self.assertIsNotNone(c.find(SETTINGS))
                if acknowledges:
                    c.send(c.frame(SETTINGS, ACK, 0))
                for i in range(1, 203, 2):
                    c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path="/many")))
                f = c.find(GOAWAY if acknowledges else RST_STREAM)
                self.assertEqual(struct.unpack(">I", f[3][-4:] if not acknowledges else f[3][4:8])[0],
                                 PROTOCOL_ERROR if acknowledges else REFUSED_STREAM)
        go.set()

    # --- stalls

    def test_zero_window(self):
        """Answers that the client never takes: the connection ends when nothing has moved for bodyIdleSecs."""
        self.origin.answers["/zero"] = ok(b"x" * 1000000)

        def send(c):
            for i in range(1, 201, 2):
                yield c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path="/zero"))
        took = self.within(IDLE_SECS + GOAWAY_SECS, send, "write_timeout", ENHANCE_YOUR_CALM, settings=struct.pack(">HI", 4, 0))
        self.assertGreater(min(took)[0], IDLE_SECS - 0.5)

    def test_zero_window_holds_little(self):
        self.origin.answers["/zero"] = ok(b"x" * 1000000)
        with Stand(log={"access": False}) as stand:
            stand.origin.answers["/zero"] = ok(b"x" * 1000000)
            count = min(50, (FILES - 200) // 100)  # each client has a hundred connections to the origin here
            self.assertGreaterEqual(count, 5, f"a process may have {FILES} descriptors here")
            clients = [Frames(stand.https, settings=struct.pack(">HI", 4, 0)) for _ in range(count)]
            for c in clients:
                for i in range(1, 201, 2):
                    c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path="/zero")))
            stack.wait_for("all are in flight", lambda: stand.traffic.metric("penstock_traffic_exchanges_open") == count * 100)
            for c in clients:
                c.find(HEADERS)
            stack.wait_for("little is held", lambda: stand.traffic.metric("penstock_traffic_chunks_out") < count * 8)
            for c in clients:
                c.s.close()
            stack.wait_for("all are gone", lambda: stand.traffic.metric("penstock_traffic_exchanges_open") == 0)
            stack.wait_for("nothing is held", lambda: stand.traffic.metric("penstock_traffic_chunks_out") == 0)

    def test_refusals_that_nobody_takes_hold_nothing(self):
        """Answers of our own to a client without a window: not a buffer each."""
        with Stand(log={"access": False}) as stand:
            before = stand.reason("misdirected")
            with Frames(stand.https, settings=struct.pack(">HI", 4, 0)) as c:
                for i in range(1, 201, 2):
                    c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(authority="other.test")))
                for _ in range(100):
                    self.assertIsNotNone(c.find(HEADERS))
                stack.wait_for("little is held", lambda: stand.traffic.metric("penstock_traffic_chunks_out") <= 4)
                c.send(b"".join(c.frame(WINDOW_UPDATE, 0, i, struct.pack(">I", 100)) for i in range(1, 201, 2)))
                for _ in range(100):
                    self.assertEqual(c.find(DATA)[3], b"421 misdirected\n")
            self.assertEqual(stand.reason("misdirected") - before, 100)

    def test_one_stalled_stream(self):
        """One stream of several is not taken: it alone is reset."""
        self.origin.answers["/stalled"] = ok(b"x" * 1000000)
        with Frames(self.stand.https, settings=struct.pack(">HI", 4, 0)) as c:
            c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.head(path="/stalled")))
            frame, stream = None, 1
            while frame is None or frame[0] != RST_STREAM:  # one answer after the other is the clock
                stream += 2
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, stream, c.head(path="/moves")) +
                       c.frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1000)))
                frame = c.read()
                while frame and frame[0] != RST_STREAM and not (frame[0] == DATA and frame[2] == stream and frame[1] & END_STREAM):
                    frame = c.read()
                self.assertIsNotNone(frame, f"ended, {c.goaway_code}")
            self.assertEqual((frame[2], struct.unpack(">I", frame[3])[0]), (1, 8))
            self.assertGreater(stream, 3)
            stream += 2  # the answer to the one before may have been read already
            c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, stream, c.head(path="/moves")))
            self.assertIsNotNone(c.find(HEADERS, stream), "the others go on")

    def test_reads_nothing(self):
        """Not a byte is taken from the socket."""
        self.origin.answers["/unread"] = ok(b"x" * 1000000)
        before = self.stand.reason("write_timeout")
        with Frames(self.stand.https, settings=struct.pack(">HI", 4, 1 << 30), receive_buffer=4096) as c:
            c.send(c.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
            for i in range(1, 101, 2):
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path="/unread")))
            stack.wait_for("it is cut off", lambda: self.stand.reason("write_timeout") > before)

    # --- smuggling

    def test_smuggling(self):
        """What would be another request in HTTP/1 is refused, and the origin sees nothing of it: RESET is the
        stream's end by PROTOCOL_ERROR, the others are answers of ours."""
        rows = {
            "H2.TE": (RESET, [("transfer-encoding", "chunked")]),
            "connection": (RESET, [("connection", "close")]),
            "connection names": (RESET, [("connection", "x-a"), ("x-a", "b")]),
            "keep-alive": (RESET, [("keep-alive", "timeout=5")]),
            "proxy-connection": (RESET, [("proxy-connection", "close")]),
            "upgrade": (RESET, [("upgrade", "h2c")]),
            "te": (RESET, [("te", "gzip")]),
            "lf in value": ("400 bad_field_value", [("x-a", "b\nGET /smuggled HTTP/1.1")]),
            "crlf in value": ("400 bad_field_value", [("x-a", "b\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")]),
            "cr in value": ("400 bad_field_value", [("x-a", "b\rc")]),
            "nul in value": ("400 bad_field_value", [("x-a", "b\0c")]),
            "crlf in name": ("400 bad_field_name", [("x-a: b\r\nx-c", "d")]),
            "colon in name": ("400 bad_field_name", [("x-a:b", "c")]),
            "blank in name": ("400 bad_field_name", [("x a", "b")]),
            "empty name": ("400 bad_field_name", [("", "b")]),
            "uppercase": (RESET, [("X-A", "b")]),
            "two lengths": (RESET, [("content-length", "0"), ("content-length", "5")]),
            "length with sign": (RESET, [("content-length", "+5")]),
            "lengths in one": (RESET, [("content-length", "0, 5")]),
            "H2.CL": (RESET, [("content-length", "5")]),
            "unknown pseudo": (RESET, [(":evil", "x")]),
            "answer's pseudo": (RESET, [(":status", "200")]),
            "pseudo behind fields": (RESET, [("x-a", "b"), (":path", "/smuggled")]),
            "second path": (RESET, [(":path", "/smuggled")]),
            "second host": (RESET, [("host", HOST), ("host", "evil.test")]),
            "host differs": ("400 host_mismatch", [("host", "evil.test")]),
        }
        self.refused(rows, lambda c, fields: c.head(*fields, path="/evil"))

    def test_request_lines(self):
        base = {":method": "GET", ":scheme": "https", ":authority": HOST, ":path": "/evil"}
        rows = {
            "blank in path": (RESET, {":path": "/evil HTTP/1.1"}),
            "crlf in path": (RESET, {":path": "/evil HTTP/1.1\r\nhost: a\r\n\r\nGET /smuggled"}),
            "nul in path": (RESET, {":path": "/evil\0"}),
            "fragment": ("400 bad_target", {":path": "/evil#x"}),
            "no path": (RESET, {":path": None}),
            "empty path": (RESET, {":path": ""}),
            "no slash": (RESET, {":path": "evil"}),
            "absolute": (RESET, {":path": "https://evil.test/"}),
            "star": (RESET, {":path": "*"}),
            "no method": (RESET, {":method": None}),
            "method with blank": (RESET, {":method": "GET /smuggled HTTP/1.1"}),
            "method with crlf": (RESET, {":method": "GET / HTTP/1.1\r\nx: y\r\n\r\nGET"}),
            "lower method": ("501 method_unknown", {":method": "get"}),
            "connect": ("405 method_refused", {":method": "CONNECT", ":scheme": None, ":path": None}),
            "no scheme": (RESET, {":scheme": None}),
            "http": ("400 bad_target", {":scheme": "http"}),
            "scheme with crlf": (RESET, {":scheme": "https\r\nx: y"}),
            "no authority": (RESET, {":authority": None}),
            "empty authority": (RESET, {":authority": ""}),
            "userinfo": ("400 host_invalid", {":authority": f"a@{HOST}"}),
            "authority with blank": (RESET, {":authority": f"{HOST} evil"}),
            "authority with crlf": (RESET, {":authority": f"{HOST}\r\nx: y"}),
            "another": ("421 misdirected", {":authority": "evil.test"}),
        }
        self.refused(rows, lambda c, change: c.encoder.encode([(k, v) for k, v in {**base, **change}.items() if v is not None]))

    def refused(self, rows, make):
        for name, (expected, row) in rows.items():
            with self.subTest(name), Frames(self.stand.https) as c:
                before = self.stand.reasons()
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 1, make(c, row)))
                self.assertEqual(self.outcome(c), expected)
                risen = {word for word, count in self.stand.reasons().items() if count > before.get(word, 0)}
                self.assertEqual(risen, {"h2_protocol" if expected == RESET else expected.split(" ")[1]})
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 3, c.head(path="/next")))
                self.assertIsNotNone(c.find(HEADERS, 3), "the connection is not to blame")
        self.assertEqual([r.line for r in self.origin.seen() if "evil" in r.line or "smuggled" in r.line], [])
        self.assertEqual(self.origin.garbage, [])

    def outcome(self, c):
        """What became of stream 1: RESET, or the body of our answer, which its status agrees with."""
        status = None
        while True:
            kind, _, stream, payload = c.read() or self.fail(f"closed, {c.goaway_code}")
            self.assertNotEqual(kind, GOAWAY)
            if kind == RST_STREAM:
                self.assertEqual((stream, struct.unpack(">I", payload)[0]), (1, PROTOCOL_ERROR))
                return RESET
            if kind == HEADERS:
                status = dict(c.decoder.decode(payload))[":status"]
            if kind == DATA:
                self.assertEqual(payload[:4].decode(), f"{status} ")
                return payload.decode().strip()

    def test_bodies_that_lie(self):
        """H2.CL with DATA: less or more than the length; the origin's connection is not used again."""
        for i, (body, end) in enumerate(((b"abc", True), (b"abcdefgh", True), (b"abcdefgh", False))):
            with self.subTest(body), Frames(self.stand.https) as c:
                c.send(c.frame(HEADERS, END_HEADERS, 1, c.head(("content-length", "5"), path="/lies", method="POST")))
                self.origin.wait_begun("/lies", i + 1)
                c.send(c.frame(DATA, END_STREAM if end else 0, 1, body))
                f = c.find(RST_STREAM)
                self.assertEqual(struct.unpack(">I", f[3])[0], PROTOCOL_ERROR)
            with H2(self.stand.https) as c:  # not a GET: that would be sent again on a new connection
                stream = c.request("/honest", method="POST", end=False)
                c.send(stream, b"honest", end=True)
                self.assertEqual(c.wait(stream).body, b"POST /honest")
        self.assertEqual([r.body for r in self.origin.seen("/honest")], [b"honest"] * 3)
        self.assertEqual(self.origin.seen("/lies"), [], "a request without its end is none")
        self.assertEqual(self.origin.garbage, [])

    def test_framed_anew(self):
        """Bytes that look like the framing of HTTP/1 stay bytes."""
        evil = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        with H2(self.stand.https) as c:
            s = c.request("/framed", method="POST", end=False)
            c.send(s, evil, end=True)
            self.assertEqual(c.wait(s).status, 200)
        self.assertEqual(self.origin.seen("/framed")[0].body, evil)
        self.assertEqual(self.origin.seen("/smuggled"), [])

    def test_bad_trailers(self):
        for fields in ([(":path", "/smuggled")], [("x-a", "b\r\nc")], [("connection", "close")]):
            with self.subTest(fields), Frames(self.stand.https) as c:
                c.send(c.frame(HEADERS, END_HEADERS, 1, c.head(path="/trailers", method="POST")))
                c.send(c.frame(DATA, 0, 1, b"abc"))
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.encoder.encode(fields)))
                while True:
                    f = c.read()
                    self.assertIsNotNone(f)
                    if f[0] == RST_STREAM or (f[0] == HEADERS and dict(c.decoder.decode(f[3]))[":status"] == "400"):
                        break
        self.assertEqual(self.origin.seen("/trailers"), [])

    # --- no HTTP/2 at all

    def test_garbage(self):
        for data in (b"GET / HTTP/1.1\r\n\r\n" * 10, b"\0" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
            with Frames.bare(self.stand.https) as c:
                c.press([data])
                self.assertIn(c.goaway(), (PROTOCOL_ERROR, 6, None))
        with H2(self.stand.https) as c:
            self.assertEqual(c.get("/after-garbage").status, 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
