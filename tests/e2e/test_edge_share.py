"""A stolen or runaway edge and one beside it: what all edges share has a share for each (limits.edgeShare)."""
import socket

import e2e
import tunnel_stand as t
import udp_stand as u
from e2e import penstock

LIMIT, SHARE = 100, 90  # of each kind; the default of limits.edgeShare is that many percent
FLOOD = 2 * LIMIT


class Shares(u.Case):
    def two_edges(self, tcp=None, **limits):
        """A hub, a real edge "quiet" with a port of TCP and one of UDP, and "loud", which speaks the protocol itself
        and keeps to nothing."""
        self.echo = e2e.Target(e2e.echo, proxy=None)
        self.addCleanup(self.echo.close)
        self.datagrams = self.target()
        self.tcp, self.udp, self.flooded = penstock.free_port(), penstock.free_port(), penstock.free_port()
        self.hub = self.stack.hub({self.tcp: self.echo.port, self.flooded: tcp or self.echo.port},
                                  target={"proxyProtocol": "off", "proxyProtocolUdp": "off",
                                          "portsUdp": {str(self.udp): self.datagrams.port}},
                                  limits=limits)
        self.edge = self.stack.edge(self.stack.register(self.hub, "quiet", [self.tcp], listenPortsUdp=[self.udp]))
        self.wait_ports(self.edge, [self.tcp])
        self.wait_udp_ports(self.edge, [self.udp])
        self.wait_lanes(self.edge)
        token = self.stack.register(self.hub, "loud", [self.flooded], listenPortsUdp=[self.udp])
        self.loud = t.Probe(self.hub.address("tunnel"), "loud", t.secret_of(token)).wait_open()
        self.addCleanup(self.loud.close)

    def share(self, edge_id):
        [edge] = [e for e in self.hub.status()["connectedEdges"] if e["edgeId"] == edge_id]
        return edge["share"]

    def refused(self, limit):
        return self.hub.metric("penstock_hub_edge_share_refused_total", limit=limit)

    def flood(self):
        for stream in range(1, FLOOD + 1):
            self.loud.send(t.open_frame(stream, self.flooded))

    def connect(self):
        s = e2e.connect(self.tcp)
        self.addCleanup(s.close)
        s.sendall(b"hello")
        self.assertEqual(e2e.receive(s, 5), b"hello")
        return s

    def test_streams(self):
        self.two_edges(streams=LIMIT)
        first = self.connect()
        self.flood()
        e2e.wait_for("the refusals", lambda: self.refused("streams") >= FLOOD - SHARE)
        for _ in range(5):
            self.connect()
        first.sendall(b"still here")
        self.assertEqual(e2e.receive(first, 10), b"still here")
        share = self.share("loud")
        self.assertIn(share["streams"], range(SHARE - 2, SHARE + 1))
        self.assertEqual(share["refused"], FLOOD - share["streams"])
        self.assertEqual(self.share("quiet")["refused"], 0)
        self.assertEqual(self.share("quiet")["streams"], 6)
        self.assertEqual(self.hub.metric("penstock_hub_streams_refused_total", reason="edge_share"), share["refused"])
        self.assertEqual(self.hub.metric("penstock_hub_streams_refused_total", reason="limit_streams"), 0)
        self.assertEqual(self.hub.status()["limits"]["edgeShare"], SHARE)
        self.hub.wait_event("edge_past_share", edge="loud", limit="streams")
        self.loud.close()
        e2e.wait_for("room", lambda: self.hub.metric("penstock_hub_forwards_open") == 6)

    def test_connects(self):
        """A target that takes nobody; its backlog is full."""
        deaf = socket.socket()
        self.addCleanup(deaf.close)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            s = socket.socket()
            self.addCleanup(s.close)
            s.setblocking(False)
            s.connect_ex(deaf.getsockname())
        self.two_edges(tcp=deaf.getsockname()[1], connects=LIMIT, connectSecs=60)
        self.flood()
        e2e.wait_for("the refusals", lambda: self.refused("connects") >= FLOOD - SHARE)
        self.assertEqual(self.share("loud")["connects"], SHARE)
        for _ in range(3):
            self.connect()

    def test_datagrams(self):
        """Those that are there stay, with their sockets; new ones come."""
        self.two_edges(udpSessions=LIMIT)
        before = [self.client(self.udp) for _ in range(3)]
        for s in before:
            u.ask(s, b"before")
        sources = [peer for _, peer in self.datagrams.seen]
        for session in range(1, FLOOD + 1):
            self.loud.send(t.udp_open_frame(session, self.udp, client_port=20000 + session),
                           t.frame(session, t.UDP_DATA, b"flood"))
        e2e.wait_for("the refusals", lambda: self.refused("udp_sessions") >= FLOOD - SHARE)
        for s in before:
            u.ask(s, b"after")
        self.assertEqual([peer for data, peer in self.datagrams.seen if data == b"after"], sources)
        for _ in range(5):
            u.ask(self.client(self.udp), b"anew")
        self.assertEqual(self.share("quiet")["udpSessions"], 8)
        self.assertIn(self.share("loud")["udpSessions"], range(SHARE - 4, SHARE + 1))
        # its own least recently used ones went, so its newest clients are served
        self.assertEqual(self.hub.metric("penstock_hub_udp_evicted_total"), self.refused("udp_sessions"))
        newest = self.loud.wait_frame(t.UDP_DATA_BACK, FLOOD)
        self.assertEqual(newest.payload, b"flood")

    def test_no_shares(self):
        self.two_edges(streams=LIMIT, edgeShare=100)
        self.flood()
        e2e.wait_for("the refusals", lambda: self.hub.metric("penstock_hub_streams_refused_total",
                                                             reason="limit_streams") == FLOOD - LIMIT)
        self.assertEqual(self.share("loud")["streams"], LIMIT)
        self.assertEqual(self.refused("streams"), 0)


if __name__ == "__main__":
    e2e.main()
