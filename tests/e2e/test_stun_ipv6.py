"""STUN over IPv6: the public address of an edge whose STUN server has no other.  A file of its own, since
it is not run where loopback has no IPv6."""

import e2e
from stun_stand import Case, Coturn


class StunByIpv6(Case):
    def test_coturn(self):
        coturn = Coturn(self.stack.folder, "::1")
        self.addCleanup(coturn.close)
        hub, edge = self.edge_of(coturn.address)
        self.wait_ip(hub, edge, "::1")
        self.assertEqual(edge.metric("penstock_edge_stun_requests_total", result="ok"), 1)


if __name__ == "__main__":
    e2e.main_where_loopback_has_ipv6()
