"""Attacks over HTTP/2, one after the other without a pause, and what others wait meanwhile."""
import contextlib
import multiprocessing
import time
import unittest

import heavy  # noqa: F401: finds tests/e2e
from h2_client import ENHANCE_YOUR_CALM, H2, Frames
from test_traffic_h2_attack import ATTACKS, TRIES
from traffic_stand import HOST, SECS, Origin, Stand, p99


def attack_for_ever(address, pipe):
    """In a process of its own, with the origin that gets what passes: one attack after the other, each by a new
    connection."""
    with Origin() as origin:
        pipe.send(origin.port)
        pipe.recv()  # it has its route
        while True:
            for pieces, _, _ in ATTACKS.values():
                with contextlib.suppress(OSError), Frames(address) as c:
                    c.press(pieces(c))
                    c.goaway()


class Others(unittest.TestCase):
    """While one attack follows the other, those who ask something else wait next to no longer: their p99 is held
    against that of a second traffic which nobody attacks, asked in turn with the first, request by request, for all of
    them share this machine.  One worker: they cannot be elsewhere.  FLOOR_SECS of difference is nobody's wait."""

    NAME = "others.example.test"
    ASKED = 2000
    WORST, FLOOR_SECS = 2.0, 0.02  # what one connection makes of a turn of the loop, with sanitizers

    def ask(self, c):
        begun = time.monotonic()
        self.assertEqual(c.get("/others", authority=self.NAME).status, 200)
        return time.monotonic() - begun

    def begin_attack(self, stand):
        processes = multiprocessing.get_context("spawn")
        ours, theirs = processes.Pipe()
        attacker = processes.Process(target=attack_for_ever, args=(stand.https, theirs), daemon=True)
        attacker.start()
        self.addCleanup(attacker.join)
        self.addCleanup(attacker.kill)
        self.assertTrue(ours.poll(SECS))
        stand.routes([stand.route(HOST, [ours.recv()]), stand.route(self.NAME)])
        ours.send("begin")

    def test_p99_under_attack(self):
        conf = {"workers": 1, "log": {"access": False}, "limits": {"requestsPerConnection": 1000000}}
        with Stand(**conf) as stand, Stand(**conf) as idle:
            idle.routes([idle.route(self.NAME)])
            self.begin_attack(stand)
            ends = {reason for _, reason, code in ATTACKS.values() if code == ENHANCE_YOUR_CALM}  # counted once each
            with H2(stand.https, sni=self.NAME) as c, H2(idle.https, sni=self.NAME) as twin:
                for _ in range(TRIES):
                    before = sum(map(stand.reason, ends))
                    attacked, usual = map(p99, zip(*[(self.ask(c), self.ask(twin)) for _ in range(self.ASKED)]))
                    self.assertGreater(sum(map(stand.reason, ends)) - before, 10, "that was no attack")
                    print(f"p99 {attacked * 1000:.1f} ms, {usual * 1000:.1f} ms at the idle one", flush=True)
                    limit = max(self.WORST * usual, usual + self.FLOOR_SECS)
                    if attacked <= limit:
                        break
            self.assertLessEqual(attacked, limit, f"the idle one's is {usual}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
