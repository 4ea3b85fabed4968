"""Buffers that run short (limits.poolChunks): new work is turned away first, then all of it gets slower, and
nothing that has begun is cut."""
import contextlib
import select
import threading
import unittest

from traffic_stand import HOST, SECS, WOULD_BLOCK, Stand, ok, stack

BODY = b"x" * (8 << 20)  # more than the kernel takes of an answer that nobody reads
CHUNKS = 256
READERS = 100  # more than there are buffers for
AT_ONCE = 150  # with a record each they would need more than there is


class Memory(unittest.TestCase):
    def stand(self, **limits):
        stand = self.enterContext(Stand(limits={"poolChunks": CHUNKS, **limits}))
        stand.origin.answers["/large"] = ok(BODY)
        return stand

    def client(self, stand, **options):
        return self.enterContext(stand.client(**options))

    def fill(self, stand):
        """Clients that ask and don't read, until one is turned away: those that were not."""
        readers = []
        for i in range(READERS):
            with contextlib.suppress(OSError, EOFError):
                c = self.client(stand, receive_buffer=4096)
                c.send(f"GET /large?{i} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
                if b" 200 " not in c.reader.until(b"\r\n\r\n"):
                    return readers
                readers.append(c)
                continue
            return readers
        return self.fail(f"{READERS} clients that don't read, and nobody was turned away")

    def is_served(self, stand):
        with contextlib.suppress(OSError, EOFError), stand.client() as c:
            return c.get("/new").status == 200
        return False

    def test_new_work_is_turned_away_and_none_is_cut(self):
        stand = self.stand()
        kept, under_way = self.client(stand), self.client(stand)
        self.assertEqual(kept.get("/kept").status, 200)
        under_way.send(f"GET /large HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        self.assertIn(b" 200 ", under_way.reader.until(b"\r\n\r\n"))
        readers = self.fill(stand)
        self.assertGreater(len(readers), CHUNKS // 16)
        self.assertEqual(kept.get("/kept").status, 503)
        self.assertFalse(self.is_served(stand))
        self.assertEqual(under_way.reader.exactly(len(BODY)), BODY)
        for c in readers[:3]:
            self.assertEqual(c.reader.exactly(len(BODY)), BODY)
        refused = stand.reasons()
        self.assertGreaterEqual(refused["no_memory"], 3)
        self.assertEqual([word for word, n in refused.items() if n and word != "no_memory"], [])
        for c in readers:
            c.close()
        stack.wait_for("it serves again", lambda: self.is_served(stand), SECS)
        self.assertEqual(kept.get("/kept").status, 200)

    def ask_at_once(self, stand, body):
        """Clients that are all admitted while there is plenty, and answered at once."""
        go = threading.Event()

        def answer(_, __):
            go.wait(SECS)
            return ok(body)

        stand.origin.answers["/held"] = answer
        clients = [self.client(stand, receive_buffer=4096) for _ in range(AT_ONCE)]
        for i, c in enumerate(clients):
            c.send(f"GET /held?{i} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        stack.wait_for("all are asked for", lambda: len(stand.origin.seen("/held")) == AT_ONCE, SECS)
        go.set()
        stack.wait_for("buffers are short", lambda: stand.traffic.metric("penstock_traffic_memory_stalls_total") > 0, SECS)
        return clients

    def read_side_by_side(self, clients, body):
        """All of them whole, none kept waiting by another."""
        left = dict.fromkeys(clients, None)  # bytes; not known before the head came
        for c in clients:
            c.s.settimeout(0)
        while left:
            select.select([c.s for c in left], [], [], SECS)
            for c in list(left):
                with contextlib.suppress(*WOULD_BLOCK):
                    while piece := c.s.recv(65536):
                        if left[c] is None:
                            head, _, piece = piece.partition(b"\r\n\r\n")
                            self.assertIn(b" 200 ", head)
                            left[c] = len(body)
                        left[c] -= len(piece)
                        if left[c] == 0:
                            break
                    self.assertEqual(left[c], 0, "an answer was cut")
                    del left[c]

    def test_what_has_begun_waits_for_buffers(self):
        stand, body = self.stand(), BODY[:1 << 20]
        self.read_side_by_side(self.ask_at_once(stand, body), body)
        self.assertEqual([word for word, n in stand.reasons().items() if n], [])

    def test_those_who_read_do_not_wait_for_those_who_do_not(self):
        stand = self.stand()
        clients = self.ask_at_once(stand, BODY)
        self.read_side_by_side(clients[:10], BODY)
        self.assertEqual([word for word, n in stand.reasons().items() if n], ["slow_read"])

    def test_a_body_is_held_a_record_at_a_time(self):
        """Of uploads to an origin that does not read, as of answers to clients that don't."""
        stand, go = self.stand(), threading.Event()

        def answer(_, request, reader):
            go.wait(SECS)
            request.body, request.trailers = reader.body(request)
            return ok(b"%d" % len(request.body))

        answer.is_early = True
        stand.origin.answers["/up"] = answer
        upload = self.client(stand)
        sender = threading.Thread(target=lambda: upload.exchange(
            f"POST /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY, 1))
        sender.start()
        stand.origin.wait_seen("/up")
        self.fill(stand)
        go.set()
        sender.join(SECS)
        self.assertFalse(sender.is_alive())


if __name__ == "__main__":
    unittest.main()
