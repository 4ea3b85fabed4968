"""SIGTERM under load: whoever has a connection is served to the end of what it asked for, by HTTP/1.1, by HTTP/2 and
on a WebSocket over either, and no connection ends but in order.

Clients ask without a pause.  Those of HTTP/1.1 have their request at the origin when the signal comes: one that
crosses the end of a connection on which nothing was asked is lost by design (RFC 9112, 9.5).  Over HTTP/2 nothing is
(RFC 9113, 6.8): these ask right through it.
"""
import base64
import hashlib
import signal
import struct
import threading
import unittest

from h2_client import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING, RST_STREAM, SETTINGS, Frames
from traffic_stand import HOST, SECS, Stand, ok, stack

H = f"Host: {HOST}\r\n"
H1_CLIENTS = H2_CLIENTS = WEBSOCKETS = 4
STREAMS = 8  # at once, of each client of HTTP/2
KEY = base64.b64encode(b"0123456789abcdef").decode()


def echo(s, request):
    accept = hashlib.sha1((request.one("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n")
    while data := s.recv(65536):
        s.sendall(data)


class Load:
    """What all clients share.  `rounds`: how often each has been served."""

    def __init__(self, stand):
        self.stand, self.failures, self.rounds = stand, [], {}
        self.over = threading.Event()  # for those that go on through all of it
        self.threads = []

    def start(self, count, run):
        for i in range(count):
            name = f"{run.__name__} {i}"
            self.rounds[name] = 0
            self.threads.append(threading.Thread(target=self.guarded, args=(run, name), daemon=True))
            self.threads[-1].start()

    def guarded(self, run, name):
        try:
            run(name)
        except Exception as error:  # noqa: BLE001: shown by the assertion
            self.failures.append(f"{name}, round {self.rounds[name]}: {error!r}")

    def all_served(self, more, but=()):
        """Each so many times more, or one of them failed."""
        aim = {name: count + more for name, count in self.rounds.items() if name.split()[0] not in but}
        stack.wait_for("all are served", lambda: self.failures or all(self.rounds[name] >= n for name, n in aim.items()))

    def end(self):
        """What went wrong."""
        self.over.set()
        for thread in self.threads:
            thread.join(SECS)
        return self.failures + ["it goes on"] * sum(thread.is_alive() for thread in self.threads)

    def http1(self, name):
        with self.stand.client() as c:
            while True:
                a = c.get("/h1")
                assert (a.status, a.body) == (200, b"h1"), a.line
                self.rounds[name] += 1
                if a.one("connection") == "close":
                    assert c.is_closed()
                    return

    def websocket1(self, name):
        with self.stand.client() as c:
            c.send(f"GET /ws HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade: websocket\r\n"
                   f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n")
            head = c.reader.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head
            while not self.over.is_set():
                c.send(b"hello")
                assert c.reader.exactly(5) == b"hello"
                self.rounds[name] += 1
            c.s = c.s.unwrap()

    def http2(self, name):
        """Requests, some at once, and a WebSocket beside them that stays when no more of them are asked."""
        with Frames(self.stand.https) as c:
            head = c.encoder.encode([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"),
                                     (":authority", HOST), (":path", "/ws"), ("sec-websocket-version", "13")])
            c.send(c.frame(HEADERS, END_HEADERS, 1, head))
            streams = Streams(c)
            streams.asked[1] = b""
            next_stream = 3
            while not self.over.is_set():
                if c.goaway_code is None:
                    for _ in range(STREAMS):
                        c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, next_stream, c.head(path="/h2")))
                        streams.asked[next_stream] = b""
                        next_stream += 2
                said = len(streams.asked[1])
                c.send(c.frame(DATA, 0, 1, b"hello"))
                streams.until(lambda: len(streams.asked) == 1 and len(streams.asked[1]) == said + 5)
                self.rounds[name] += 1
            c.send(c.frame(DATA, END_STREAM, 1))
            streams.until(lambda: not streams.asked)
            assert c.goaway() == NO_ERROR


class Streams:
    """`asked`: those without their end, and what came of each."""

    def __init__(self, c):
        self.c, self.asked = c, {}

    def until(self, condition):
        while not condition():
            kind, flags, stream, payload = self.c.read() or (None, 0, 0, b"")
            assert kind not in (None, RST_STREAM), f"{kind}, {len(self.asked)} streams open"
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.c.send(self.c.frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == GOAWAY:
                code = struct.unpack(">I", payload[4:8])[0]
                assert code == NO_ERROR, code
            elif kind == HEADERS:
                assert dict(self.c.decoder.decode(payload))[":status"] == "200"
            elif kind == DATA:
                self.asked[stream] += payload
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                body = self.asked.pop(stream)
                assert stream == 1 or body == b"h2", body


class Drain(unittest.TestCase):
    def test_under_load(self):
        go, held = threading.Event(), threading.Semaphore(0)

        def h1(s, request):
            if not go.is_set():
                held.release()
                go.wait(SECS)
            return ok(b"h1")

        with Stand(drainSecs=60, workers=2, log={"access": False}, limits={"requestsPerConnection": 1000000}) as stand:
            stand.origin.answers.update({"/h1": h1, "/h2": ok(b"h2"), "/ws": echo})
            load = Load(stand)
            go.set()
            load.start(H1_CLIENTS, load.http1)
            load.start(H2_CLIENTS, load.http2)
            load.start(WEBSOCKETS, load.websocket1)
            load.all_served(10)
            go.clear()
            for _ in range(H1_CLIENTS):
                self.assertTrue(held.acquire(timeout=SECS), load.failures)
            stand.traffic.process.send_signal(signal.SIGTERM)
            stand.traffic.wait_event("drain", state="closing")
            go.set()
            stack.wait_for("all but relays are over", lambda: load.failures or
                           stand.traffic.metric("penstock_traffic_exchanges_open") == H2_CLIENTS + WEBSOCKETS)
            load.all_served(10, but=["http1"])
            self.assertEqual(load.end(), [])
            stand.traffic.process.wait(SECS)
            stand.traffic.stop()  # with status 0
            self.assertEqual(stand.origin.garbage, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
