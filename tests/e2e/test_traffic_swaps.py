"""Swaps of all routes under load that nobody notices: tests/bench/swaps.py in small, with sanitizers."""
import pathlib
import sys
import unittest

import e2e

sys.path.insert(0, str(e2e.SOURCE / "tests" / "bench"))

import swaps  # noqa: E402

ROUTES, SWAPS, SECS, SOCKETS = 60, 30, 6, 5


class Swaps(e2e.Case):
    def test_swaps(self):
        traffic = self.stack.traffic(proxyProtocol={"trusted": []}, workers=2, log={"access": False})
        certs = []
        for n in range(6):
            folder = pathlib.Path(self.stack.folder) / str(n)
            folder.mkdir()
            certificate = e2e.penstock.Certificate(folder, f"*.{swaps.SUFFIX}")
            certs.append([certificate.chain, certificate.key])
        result = swaps.run(traffic, certs, ROUTES, SWAPS, SECS, SOCKETS)
        self.assertEqual(len(result["served_ms"]), SWAPS)
        self.assertGreater(min(result["kept"], result["new"], result["echoes"]), SWAPS, result)
        self.assertEqual(traffic.status()["revision"], SWAPS + 1)
        # What did not change is taken over as it is, and it is half of the routes.
        kept = [event["kept"] for event in traffic.events("update", fate="applied")]
        self.assertEqual((len(kept), kept[0]), (SWAPS + 1, 0))
        self.assertGreater(min(kept[1:]), ROUTES // 3)
        for reason in "upstream_closed", "no_route", "misdirected":
            self.assertEqual(traffic.metric("penstock_traffic_refused_total", reason=reason), 0, reason)


if __name__ == "__main__":
    e2e.main()
