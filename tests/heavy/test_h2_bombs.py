"""A thousand connections over HTTP/2, each with a bomb of another kind (CVE-2026-49975), none of which takes a
byte of an answer: what traffic grows by stays under 64 MiB, the connections themselves included, and others are
served.  With sanitizers every allocation is larger; the bound is, too."""
import os
import socket
import struct
import unittest

import heavy
from h2_client import END_HEADERS, END_STREAM, H2, HEADERS, Frames
from traffic_stand import FILES, HOST, Stand, stack

COUNT = 1000
STREAMS = 100
SOURCES = 20  # addresses that they come from: none is lent all
FILES_NEEDED = 8000  # the clients' and traffic's, each has as many
GROWTH_BYTES = (112 if heavy.IS_SANITIZED else 64) << 20
LENT_BYTES = 12 << 20  # limits.h2SharedBytes
NEWEST = bytes([0x80 | 62])  # of HPACK's table


def requests(c, first, count, behind=b"", **head):
    return b"".join(c.frame(HEADERS, END_STREAM | END_HEADERS, i, c.head(**head) + behind)
                    for i in range(first, first + 2 * count, 2))


def large(c, times):
    """One large field, named again `times` times in each request."""
    begin = c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.head(("x-bomb", "v" * 3900)))
    return begin + requests(c, 3, STREAMS - 1, NEWEST * times)


def small_entries(c):
    """A table of entries that are nothing but overhead."""
    block = c.head() + b"".join(b"\x40\1" + bytes([ord("a") + i % 26]) + b"\0" for i in range(90))
    return c.frame(HEADERS, END_STREAM | END_HEADERS, 1, block) + requests(c, 3, STREAMS - 1, NEWEST * 90)


def refused(c):
    """Answers of our own, which nobody takes."""
    return requests(c, 1, STREAMS, authority="other.test")


def unfinished(c):
    """And one head that has no end."""
    return large(c, 1) + c.frame(HEADERS, 0, 2 * STREAMS + 1, c.head() + NEWEST * 3)


BOMBS = [lambda c: large(c, 3), lambda c: large(c, 1), small_entries, refused, unfinished,
         lambda c: requests(c, 1, STREAMS)]


class Bombs(unittest.TestCase):
    def setUp(self):
        # What was freed must not wait in AddressSanitizer's quarantine: the test is about memory.
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=16"
        self.addCleanup(os.environ.pop, "ASAN_OPTIONS")

    @staticmethod
    def resident_bytes(stand):
        with open(f"/proc/{stand.traffic.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def test_a_thousand(self):
        self.assertGreaterEqual(FILES, FILES_NEEDED, "descriptors that a process may have here")
        # Nobody answers: the kernel takes the connections, and no program is behind them.
        silent = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.addCleanup(silent.close)
        with Stand(log={"access": False}, timeouts={"headerSecs": 600, "bodyIdleSecs": 600},
                   limits={"connectionsPerAddress": 2 * COUNT}) as stand:
            stand.routes([stand.route(HOST, [silent.getsockname()[1]]), stand.route("good.test")])
            with H2(stand.https, sni="good.test") as c:
                self.assertEqual(c.get(authority="good.test").status, 200)
            before = self.resident_bytes(stand)
            clients, sent, expected = [], 0, 1
            for i in range(COUNT):
                c = Frames(stand.https, settings=struct.pack(">HI", 4, 0), source=f"127.0.1.{1 + i % SOURCES}")
                self.addCleanup(c.s.close)
                clients.append(c)
                data = BOMBS[i % len(BOMBS)](c)
                sent += len(data)
                expected += STREAMS
                c.send(data)
            stack.wait_for("all was read", lambda: stand.traffic.metric("penstock_traffic_requests_total") == expected, 60)
            grown = self.resident_bytes(stand) - before
            lent = stand.traffic.metric("penstock_traffic_h2_lent_bytes")
            print(f"{COUNT} connections sent {sent >> 10} KiB; grown by {grown / (1 << 20):.1f} MiB, "
                  f"{lent / (1 << 20):.1f} MiB of it lent", flush=True)
            self.assertGreater(lent, LENT_BYTES / 2)
            self.assertLessEqual(lent, LENT_BYTES)
            self.assertGreater(stand.reason("h2_unlent"), COUNT)
            self.assertEqual(stand.traffic.metric("penstock_traffic_clients_open"), COUNT)
            with H2(stand.https, sni="good.test") as c:
                streams = [c.request(authority="good.test") for _ in range(3)]
                self.assertEqual([c.wait(s).status for s in streams], [200] * 3)
            self.assertLessEqual(grown, GROWTH_BYTES)
            for c in clients:
                c.s.close()
            stack.wait_for("what was lent is back", lambda: stand.traffic.metric("penstock_traffic_h2_lent_bytes") == 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
