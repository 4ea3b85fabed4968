"""UDP at an edge that has fewer lanes than workers: the hub allows no more, or they are not up yet."""
import unittest

import e2e
import tunnel_stand as t
import udp_stand as u
from e2e import penstock

CLIENTS = 40  # the kernel deals them to two sockets by their ports: all to one of them is 1 in 2^39


class FewerLanes(u.Case):
    def tunnel(self, at=None, max_lanes=1, **edge):
        self.target_ = self.target()
        self.ports = [penstock.free_port()]
        self.hub = self.stack.hub({}, target={"portsUdp": {str(self.ports[0]): self.target_.port},
                                              "proxyProtocolUdp": "off"},
                                  tunnel={"maxLanes": max_lanes})
        token = self.stack.register(self.hub, "e1", [], at=at and at(self.hub), listenPortsUdp=self.ports)
        self.edge = self.stack.edge(token, workers=2, **edge)
        self.wait_udp_ports(self.edge, self.ports)

    def dropped(self):
        return {r: n for r in ("no_tunnel", "queue_full", "closed", "too_old")
                if (n := self.edge.metric("penstock_edge_udp_dropped_total", reason=r))}

    def assert_each_has_one_session(self, clients):
        """Each datagram is answered, and a client's come from one address to the target."""
        for _ in range(3):
            for i, s in enumerate(clients):
                s.send(b"%d" % i)
            for i, s in enumerate(clients):
                self.assertEqual(s.recv(100), b"%d" % i)
        self.assertEqual(len({peer for _, peer in self.target_.wait(3 * len(clients))}), len(clients))
        e2e.wait_for("the counters", lambda: self.edge.metric(
            "penstock_edge_udp_datagrams_total", direction="out") == 3 * len(clients))
        self.assertEqual(self.dropped(), {})

    def handed_over(self):
        return self.edge.metric("penstock_edge_udp_handed_over_total")

    def assert_the_other_worker_takes_them(self, mode):
        self.tunnel(transportMode=mode)
        self.assert_each_has_one_session([self.client(self.ports[0]) for _ in range(CLIENTS)])
        e2e.wait_for("those of the other worker", self.handed_over)
        self.assertLess(self.handed_over(), 3 * CLIENTS)  # the worker with the lane has clients of its own
        self.assertEqual(self.edge.status()["lanes"], 1)

    def test_the_other_worker_takes_them_over_tls(self):
        self.assert_the_other_worker_takes_them("tcpTls")

    def test_the_other_worker_takes_them_over_quic(self):
        self.assert_the_other_worker_takes_them("quic")

    def test_the_largest(self):
        self.tunnel()
        data = bytes(range(256)) * 255
        for _ in range(CLIENTS):
            u.ask(self.client(self.ports[0]), data)
        e2e.wait_for("those of the other worker", self.handed_over)

    def test_a_lane_that_comes_later_takes_its_clients_back(self):
        """None of them gets another address at the target.  A datagram that is under way on the lane that its flow
        leaves may come too late at the hub; nothing else is lost."""
        relay = []

        def relayed(hub):
            relay.append(t.Relay(hub.address("tunnel")))
            self.addCleanup(relay[0].close)
            relay[0].most = 1
            return relay[0].address

        self.tunnel(relayed, max_lanes=16, transportMode="tcpTls")
        clients = [self.client(self.ports[0]) for _ in range(CLIENTS)]
        for i, s in enumerate(clients):
            u.ask(s, b"%d" % i)
        e2e.wait_for("those of the other worker", self.handed_over)
        relay[0].most = None

        repeated = []

        def ask_until_two_lanes():
            for i, s in enumerate(clients):
                if u.ask(s, b"%d" % i, tries=10) > 1:
                    repeated.append(i)
            return self.edge.status()["lanes"] == 2
        e2e.wait_for("two lanes", ask_until_two_lanes, 30)
        self.assertEqual(len(set(self.target_.seen)), CLIENTS)  # what a client sent, and its address there
        e2e.wait_for("the hub has moved them", lambda: self.hub.metric("penstock_hub_udp_moved_total"))
        if not repeated:
            self.assertEqual(self.dropped(), {})


if __name__ == "__main__":
    unittest.main()
