"""Clients that don't take what they asked for: given up on when they take nothing, or less than
limits.readRate; who is slow but fast enough gets everything."""
import base64
import contextlib
import hashlib
import os
import socket
import struct
import time
import unittest

from h2_client import DATA, END_HEADERS, END_STREAM, HEADERS, PING, WINDOW_UPDATE, Frames
from traffic_stand import HOST, SECS, Stand, ok, stack

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BODY = b"x" * (24 << 20)
PATIENCE = 4  # bodyIdleSecs: a client that is held up for less is no slow one
MUCH = 9      # for one that must not be taken for one: what it takes leaves in bursts, too
REQUEST = f"GET /large HTTP/1.1\r\nHost: {HOST}\r\n"


class SlowRead(unittest.TestCase):
    def stand(self, secs=PATIENCE, **limits):
        stand = self.enterContext(Stand(timeouts={"bodyIdleSecs": secs}, limits=limits))
        stand.origin.answers["/large"] = ok(BODY)
        return stand

    def take_slowly(self, client, stand, reason, piece=4096):
        """Takes a piece at each look at the counter, which is the clock, until that counts: long before all is
        taken, however quick the looks are."""
        def look():
            try:
                client.s.recv(piece)
            except OSError:
                pass
            return stand.reason(reason) > 0
        stack.wait_for(f"{reason} counts", look, 60)

    def test_who_takes_less_than_the_rate_is_ended(self):
        stand = self.stand(readRate=10 ** 9)
        with stand.client(receive_buffer=8192) as c:
            c.send(REQUEST + "\r\n")
            self.take_slowly(c, stand, "slow_read")
        stack.wait_for("it is gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0, SECS)
        self.assertEqual(stand.reason("write_timeout"), 0)
        self.assertEqual(stand.traffic.wait_event("request", reason="slow_read")["path"], "/large")

    def test_so_is_one_whose_connection_ends_with_the_answer(self):
        """The answer is whole with us, and waits for the client alone."""
        stand = self.stand(readRate=10 ** 9, bufferBytes=16 << 20)
        stand.origin.answers["/large"] = ok(b"x" * (7 << 20))
        with stand.client(receive_buffer=8192) as c:
            c.send(REQUEST + "Connection: close\r\n\r\n")
            self.take_slowly(c, stand, "slow_read", 1024)
        stack.wait_for("it is gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0, SECS)

    def test_whose_last_answer_waits_costs_no_time(self):
        """Neither what the client says meanwhile nor its end makes anything run."""
        stand = self.enterContext(Stand(limits={"readRate": 0, "bufferBytes": 16 << 20}))
        body = b"x" * (7 << 20)
        stand.origin.answers["/large"] = ok(body)
        with stand.client(receive_buffer=8192) as c:
            c.send(REQUEST + "Connection: close\r\n\r\n")
            stack.wait_for("the answer is whole with us",
                           lambda: stand.traffic.metric("penstock_traffic_exchanges_open") == 0 and stand.origin.seen("/large"))
            c.send("GET / HTTP/1.1\r\n")
            raw = socket.socket(fileno=os.dup(c.s.fileno()))  # its FIN, without a close_notify
            raw.shutdown(socket.SHUT_WR)
            raw.close()
            begun, used = time.monotonic(), stand.cpu_secs()
            stack.wait_for("a second", lambda: time.monotonic() - begun > 1)
            self.assertLess(stand.cpu_secs() - used, 0.3 * (time.monotonic() - begun))
            self.assertEqual(stand.traffic.metric("penstock_traffic_clients_open"), 1)
            c.reader.until(b"\r\n\r\n")
            self.assertEqual(c.reader.exactly(len(body)), body)
            self.assertTrue(c.is_closed())
        self.assertEqual(stand.reason("slow_read") + stand.reason("write_timeout"), 0)

    def test_who_takes_nothing_is_ended(self):
        stand = self.stand()
        with stand.client(receive_buffer=8192) as c:
            c.send(REQUEST + "\r\n")
            stack.wait_for("write_timeout counts", lambda: stand.reason("write_timeout") == 1, 60)
        self.assertEqual(stand.reason("slow_read"), 0)

    def test_who_is_fast_enough_gets_everything(self):
        """For longer than any patience lasts; both rates at once."""
        size = 128 << 20
        stands = [self.stand(MUCH, readRate=rate) for rate in (0, 1000)]
        clients, left = [], []
        for stand in stands:
            stand.origin.answers["/large"] = ok(b"x" * size)
            c = self.enterContext(stand.client(receive_buffer=8192))
            c.send(REQUEST + "\r\n")
            c.reader.until(b"\r\n\r\n")
            clients.append(c)
            left.append(size - len(c.reader.take(len(c.reader.held))))
        begun = time.monotonic()

        def take():
            for i, c in enumerate(clients):
                left[i] -= len(c.reader.exactly(min(left[i], 192 << 10)))

        def look():
            take()
            for stand in stands:
                stand.traffic.status()  # the clock
            return time.monotonic() - begun > MUCH + 2 or not all(left)
        stack.wait_for("more than that", look, 60)
        while any(left):
            take()
        for stand in stands:
            self.assertEqual(stand.reason("slow_read") + stand.reason("write_timeout"), 0)

    # --- HTTP/2

    def h2(self, stand, streams=1, path="/large"):
        """A client whose windows are wide open, that has asked for so many answers."""
        c = self.enterContext(Frames(stand.https, settings=struct.pack(">HI", 4, 1 << 30), receive_buffer=8192))
        c.send(c.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
        for i in range(1, 2 * streams, 2):
            c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(path=path)))
        return c

    def test_h2_less_than_the_rate(self):
        stand = self.stand(readRate=10 ** 9)
        self.take_slowly(self.h2(stand, 20), stand, "slow_read")
        stack.wait_for("it is gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0, SECS)
        self.assertEqual(stand.reason("write_timeout"), 0)
        self.assertEqual(stand.traffic.wait_event("request", reason="slow_read")["path"], "/large")

    def test_h2_nothing_but_small_frames(self):
        """What it says is read, since there is room; that it takes nothing counts all the same."""
        stand = self.stand(bufferBytes=16 << 20)
        stand.origin.answers["/large"] = ok(b"x" * (7 << 20))
        c = self.h2(stand)
        stack.wait_for("the answer is with us", lambda: stand.origin.seen("/large"))

        def look():
            with contextlib.suppress(OSError):
                c.send(c.frame(PING, 0, 0, b"stillher"))
            return stand.reason("write_timeout") + stand.reason("slow_read") > 0
        stack.wait_for("it is cut off", look, SECS)
        stack.wait_for("it is gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0, SECS)

    def test_h2_fast_enough(self):
        stands = [self.stand(MUCH, readRate=rate) for rate in (0, 1000)]
        for stand in stands:
            stand.origin.answers["/large"] = ok(b"x" * (256 << 20))
        clients = [self.h2(stand) for stand in stands]
        begun = time.monotonic()

        def look():
            for c, stand in zip(clients, stands):
                for _ in range(12):
                    self.assertIsNotNone(c.read())
                stand.traffic.status()  # the clock
            return time.monotonic() - begun > MUCH + 2
        stack.wait_for("more than that", look, 60)
        for stand in stands:
            self.assertEqual(stand.reason("slow_read") + stand.reason("write_timeout"), 0)

    def test_h2_a_relay_has_a_time_of_its_own(self):
        stand = self.stand(readRate=10 ** 9, bufferBytes=16 << 20)

        def websocket(s, request):
            accept = base64.b64encode(hashlib.sha1((request.one("sec-websocket-key") + GUID).encode()).digest())
            s.sendall(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept +
                      b"\r\n\r\n" + b"x" * (7 << 20))
            return s.recv(1) and None
        stand.origin.answers["/ws"] = websocket
        c = self.h2(stand, 0)
        fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", HOST), (":path", "/ws"),
                  ("sec-websocket-version", "13")]
        c.send(c.frame(HEADERS, END_HEADERS, 1, c.encoder.encode(fields)))
        begun = time.monotonic()
        stack.wait_for("more than that", lambda: stand.traffic.status() and time.monotonic() - begun > PATIENCE + 2)
        self.assertEqual(stand.reason("slow_read") + stand.reason("write_timeout"), 0)
        size = 0
        while size < 7 << 20:
            frame = c.read()
            self.assertIsNotNone(frame, f"ended behind {size} bytes")
            size += len(frame[3]) if frame[0] == DATA else 0


if __name__ == "__main__":
    unittest.main(verbosity=2)
