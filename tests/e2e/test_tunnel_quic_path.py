"""The tunnel by QUIC when the path below it changes: an address, a firewall.  In a network namespace of its
own; not run (exit status 77) where the machine allows none.
"""
import time

import e2e
import tunnel_stand as t
from e2e import wait_for
from quic_stand import BACK_SECS, PathCase


class Path(PathCase):
    def test_address_changes(self):
        self.ip("route", "add", "local", f"{self.HUB}/32", "dev", "lo", "table", "local", "src", "127.0.0.5")
        self.addCleanup(self.ip, "route", "del", f"{self.HUB}/32", "table", "local")
        self.start_there("quic")
        clients = t.echo_clients(self.port, 10)
        self.ip("route", "replace", "local", f"{self.HUB}/32", "dev", "lo", "table", "local", "src", "127.0.0.6")
        since = time.monotonic()
        self.wait_echo(since, BACK_SECS)
        rounds = [c.rounds for c in clients]
        wait_for("the streams go on", lambda: all(c.rounds > n + 20 or c.outcome for c, n in zip(clients, rounds)))
        self.finish(clients)
        wait_for("the moves are counted",
                 lambda: self.hub.metric("penstock_hub_quic_migrations_total") >= self.edge.status()["lanes"])
        self.assertEqual(self.edge.status()["connects"], 1)

    def test_firewall_drops_udp(self):
        self.start_there("quicWithFallback", quicRetrySecs=2)
        self.wait_transport("quic", "preferred")
        self.nft("table inet f {\n chain in {\n type filter hook input priority 0;\n"
                 f" udp dport {self.tunnel_port} drop\n udp sport {self.tunnel_port} drop\n }}\n}}\n")
        since = time.monotonic()
        self.wait_echo(since, BACK_SECS)
        # six seconds of silence, and the sixth second without an acknowledgement: a busy machine sees both at once
        self.wait_transport("tcpTls", "quicLost", "quicCollapsed")
        clients = t.echo_clients(self.port, 10)
        self.nft("delete table inet f")
        self.wait_transport("quic", "preferred")
        self.finish(clients)


if __name__ == "__main__":
    e2e.main_in_namespace()
