"""Clients that don't take what they asked for: given up on when they take nothing, or less than
limits.readRate; who is slow but fast enough gets everything."""
import os
import socket
import time
import unittest

from traffic_stand import HOST, SECS, Stand, ok, stack

BODY = b"x" * (24 << 20)
REQUEST = f"GET /large HTTP/1.1\r\nHost: {HOST}\r\n"


class SlowRead(unittest.TestCase):
    def stand(self, **limits):
        stand = self.enterContext(Stand(timeouts={"bodyIdleSecs": 2}, limits=limits))
        stand.origin.answers["/large"] = ok(BODY)
        return stand

    def take_slowly(self, client, stand, reason, piece=65536):
        """Takes a piece at each look at the counter, which is the clock, until that counts."""
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
            self.take_slowly(c, stand, "slow_read", 16384)
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
        """For longer than any patience lasts."""
        for rate in (0, 1000):
            stand = self.stand(readRate=rate)
            stand.origin.answers["/large"] = ok(b"x" * (96 << 20))
            with stand.client(receive_buffer=8192) as c:
                c.send(REQUEST + "\r\n")
                c.reader.until(b"\r\n\r\n")
                left, begun = (96 << 20) - len(c.reader.take(len(c.reader.held))), time.monotonic()

                def look():
                    nonlocal left
                    left -= len(c.reader.exactly(min(left, 192 << 10)))
                    stand.traffic.status()  # the clock
                    return time.monotonic() - begun > 5 or not left
                stack.wait_for("five seconds", look, 60)
                c.reader.exactly(left)
            self.assertEqual(stand.reason("slow_read") + stand.reason("write_timeout"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
