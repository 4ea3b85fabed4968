"""UDP through the tunnel, with real programs: sizes, PROXY headers, targets that fail, ports that change,
lanes that die under a flow, limits."""
import time
import unittest

import e2e
import tunnel_stand as t
import udp_stand as u
from e2e import penstock


class Echo(u.Case):
    def test_every_size(self):
        target = self.target()
        self.udp_tunnel([target.port])
        self.assert_sizes(self.client(self.ports[0]))
        for service in (self.hub, self.edge):
            self.assertEqual(sum(service.metric(f"penstock_{service.name}_udp_dropped_total", reason=r)
                                 for r in ("queue_full", "too_old", "too_big", "truncated")), 0)
        e2e.wait_for("the counters", lambda: self.edge.metric(
            "penstock_edge_udp_datagrams_total", direction="out") == 2 * len(u.SIZES))
        e2e.wait_for("the hub's view", lambda: self.hub.status()["connectedEdges"][0]["udpSessions"] == 1)
        self.assertEqual(self.edge.status()["udpSessions"], 1)
        self.assertEqual(self.hub.status()["connectedEdges"][0]["listenPortsUdp"], self.ports)

    def test_the_answer_leaves_from_the_address_that_was_asked(self):
        target = self.target()
        self.udp_tunnel([target.port], mode="each", edge={"bindAddress": ""})
        for address in ("127.0.0.1", "127.0.0.2", "127.9.8.7"):
            s = self.client(self.ports[0], address)  # connected: takes nothing from elsewhere
            u.ask(s, b"who")
            header, _ = u.split_header(target.wait(1)[-1][0])
            self.assertEqual(header, (s.getsockname(), (address, self.ports[0])))

    def test_many_clients_get_their_own_answers(self):
        target = self.target()
        self.udp_tunnel([target.port])
        clients = [self.client(self.ports[0]) for _ in range(200)]
        for i, s in enumerate(clients):
            s.send(b"%d" % i)
        for i, s in enumerate(clients):
            self.assertEqual(s.recv(100), b"%d" % i)
        self.assertEqual(len({peer for _, peer in target.seen}), 200)

    def is_quiet(self):
        """Nothing went over the tunnel for as many readings as take longer than the gauges to be shown."""
        seen = []

        def reading():
            seen.append(self.hub.metric("penstock_hub_quic_datagrams_total", direction="out"))
            return len(seen) >= 60 and len(set(seen[-60:])) == 1
        return reading

    def test_a_long_answer_after_a_pause(self):
        """The first one that no DATAGRAM frame takes: it needs a stream first, and goes at once all the same, when
        no other packet is due."""
        target = self.target(answer=lambda data, peer: [])
        self.udp_tunnel([target.port], edge={"transportMode": "quic"})
        took = []
        for i in range(3):
            s = self.client(self.ports[0])
            s.send(b"question")
            _, peer = target.wait(i + 1)[i]
            e2e.wait_for("quiet", self.is_quiet())
            begun = time.monotonic()
            target.socket.sendto(b"a" * 65507, peer)
            self.assertEqual(len(s.recv(65536)), 65507)
            took.append(time.monotonic() - begun)
        self.assertLess(min(took), 0.5, took)  # the next keep-alive is up to 2 s away

    def test_tcp_and_udp_on_one_number(self):
        tcp, udp = e2e.Target(e2e.echo, proxy=None), self.target()
        self.addCleanup(tcp.close)
        port = penstock.free_port()
        hub = self.stack.hub({port: {"port": tcp.port, "proxyProtocol": "off"}},
                             target={"portsUdp": {str(port): udp.port}, "proxyProtocolUdp": "off"})
        edge = self.stack.edge(self.stack.register(hub, "e1", [port], listenPortsUdp=[port]))
        self.wait_ports(edge, [port])
        self.wait_udp_ports(edge, [port])
        u.ask(self.client(port), b"datagram", tries=3)
        with e2e.connect(port) as s:
            s.sendall(b"stream")
            self.assertEqual(e2e.receive(s, 6), b"stream")


class Proxy(u.Case):
    def test_first_until_the_target_has_answered(self):
        silent = []

        def answer(data, peer):
            header, rest = u.split_header(data)
            return [] if header or silent else [rest]

        target = self.target(answer=answer)
        self.udp_tunnel([target.port], mode="first")
        s = self.client(self.ports[0])
        silent.append(True)
        s.send(b"one")
        s.send(b"two")
        seen = [data for data, _ in target.wait(4)]
        self.assertEqual([u.split_header(d)[0] is not None for d in seen], [True, False, True, False])
        self.assertEqual(u.split_header(seen[0])[0], (s.getsockname(), ("127.0.0.1", self.ports[0])))
        silent.clear()
        u.ask(s, b"three")
        u.ask(s, b"four")
        self.assertEqual([d for d, _ in target.wait(7)][4:], [seen[0], b"three", b"four"])

    def test_each_and_what_is_too_big_for_it(self):
        target = self.target()
        self.udp_tunnel([target.port, {"port": target.port, "proxyProtocol": "off"}], mode="each")
        s = self.client(self.ports[0])
        u.ask(s, b"a")
        u.ask(s, b"x" * (65507 - 28))
        s.send(b"y" * (65507 - 27))
        e2e.wait_for("the drop", lambda: self.hub.metric("penstock_hub_udp_dropped_total", reason="too_big") == 1)
        u.ask(s, b"b")
        for data, _ in target.seen:
            self.assertEqual(u.split_header(data)[0], (s.getsockname(), ("127.0.0.1", self.ports[0])))
        before = len(target.seen)
        u.ask(self.client(self.ports[1]), b"plain")  # per port
        self.assertEqual(target.seen[before][0], b"plain")


class Targets(u.Case):
    def test_a_target_that_is_away_and_comes_back(self):
        port = penstock.free_port()  # nobody takes it while the target is away
        target = self.target(port=port)
        self.udp_tunnel([port])
        s = self.client(self.ports[0])
        u.ask(s, b"there")
        target.close()
        s.send(b"lost")
        e2e.wait_for("ECONNREFUSED", lambda: s.send(b"lost") and
                     self.hub.metric("penstock_hub_udp_target_errors_total") > 0)
        other = self.client(self.ports[0])  # one that begins meanwhile
        other.send(b"lost too")
        self.target(port=port)
        u.ask(s, b"back", tries=5)
        u.ask(other, b"back", tries=5)

    def test_a_name_as_target(self):
        target = self.target()
        self.udp_tunnel([{"host": "localhost", "port": target.port}, {"host": "no-such.invalid", "port": 9}])
        u.ask(self.client(self.ports[0]), b"by name", tries=5)
        s = self.client(self.ports[1])
        s.send(b"nowhere")
        e2e.wait_for("the failure", lambda: self.hub.metric("penstock_hub_connect_failures_total",
                                                            reason="resolve") == 1)
        u.ask(self.client(self.ports[0]), b"harms nobody", tries=5)  # ::1 may refuse first, on each worker

    def test_a_target_that_is_the_hub_itself(self):
        target = self.target()
        self.udp_tunnel([target.port])
        port = self.hub.address("tunnel")[1]
        answer = self.hub.api("PATCH", "/v1/edges/e1", {"listenPortsUdp": [port]}, expect=422)
        self.assertEqual(answer.json["errors"][0]["pointer"], "/listenPortsUdp/0")


class Ports(u.Case):
    def test_ports_are_hot(self):
        target = self.target()
        self.udp_tunnel([target.port, target.port])
        stays, goes = (self.client(p) for p in self.ports)
        u.ask(stays, b"a")
        u.ask(goes, b"a")
        source = target.seen[0][1]
        self.hub.api("PATCH", "/v1/edges/e1", {"listenPortsUdp": self.ports[:1]}, expect=200)
        self.wait_udp_ports(self.edge, self.ports[:1])
        e2e.wait_for("the session's end", lambda: self.hub.status()["totals"]["udpSessions"] == 1)

        def is_closed():
            try:
                goes.send(b"x")
                goes.settimeout(0.2)
                goes.recv(10)
            except ConnectionRefusedError:
                return True
            except TimeoutError:
                pass
            return False

        e2e.wait_for("the closed port", is_closed)
        u.ask(stays, b"b")
        self.assertEqual(target.seen[-1][1], source)  # the port that stays was not touched
        self.hub.api("PATCH", "/v1/edges/e1", {"listenPortsUdp": self.ports}, expect=200)
        self.wait_udp_ports(self.edge, self.ports)
        u.ask(self.client(self.ports[1]), b"again", tries=3)

    def test_a_port_that_is_taken(self):
        taken = self.target()
        target = self.target()
        self.udp_tunnel([target.port])
        self.hub.api("PATCH", "/v1/edges/e1", {"listenPortsUdp": sorted(self.ports + [taken.port])}, expect=200)
        e2e.wait_for("the report", lambda: self.hub.status()["connectedEdges"][0]["portErrors"])
        for errors in (self.hub.status()["connectedEdges"][0]["portErrors"], self.edge.status()["portErrors"]):
            self.assertEqual([(e["port"], e["protocol"]) for e in errors], [(taken.port, "udp")])
        reason = self.edge.api("GET", "/readyz", expect=503).json["reason"]
        self.assertTrue(reason.startswith(f"port {taken.port}/udp: "), reason)
        u.ask(self.client(self.ports[0]), b"the others open")
        taken.close()
        self.wait_udp_ports(self.edge, self.ports + [taken.port])
        e2e.wait_for("no error", lambda: not self.edge.status()["portErrors"])

    def test_what_an_edge_was_not_given_is_refused(self):
        target = self.target()
        self.udp_tunnel([target.port])
        probe = t.Probe(self.hub.address("tunnel"), "e1", t.secret_of(self.token), instance="other")
        self.addCleanup(probe.close)
        # maxInstances is 1: the probe replaces the edge
        probe.wait_open()
        probe.send(t.udp_open_frame(1, self.ports[0]), t.frame(1, t.UDP_DATA, b"mine"),
                   t.udp_open_frame(2, target.port), t.frame(2, t.UDP_DATA, b"not mine"))
        self.assertEqual(probe.wait_frame(t.UDP_CLOSE, 2).payload, b"\3")
        self.assertEqual(probe.wait_frame(t.UDP_DATA_BACK, 1).payload, b"mine")
        self.assertEqual([d for d, _ in target.seen], [b"mine"])
        probe.send(t.frame(1, t.UDP_CLOSE))
        e2e.wait_for("the end", lambda: self.hub.metric("penstock_hub_udp_flows") == 0)


class Lanes(u.Case):
    def test_a_flow_keeps_its_source_port_when_its_lane_dies(self):
        """Each new lane is dealt to the hub's next worker: the flows move with it."""
        target = self.target()
        relay = []

        def relayed(hub):
            relay.append(t.Relay(hub.address("tunnel")))
            self.addCleanup(relay[0].close)
            return relay[0].address

        self.ports = [penstock.free_port()]
        self.hub = self.stack.hub({}, workers=3, target={"portsUdp": {str(self.ports[0]): target.port},
                                                         "proxyProtocolUdp": "off"})
        token = self.stack.register(self.hub, "e1", [], at=relayed(self.hub), listenPortsUdp=self.ports)
        self.edge = self.stack.edge(token, workers=2, transportMode="tcpTls")
        self.wait_udp_ports(self.edge, self.ports)
        self.wait_lanes(self.edge)
        clients = [self.client(self.ports[0]) for _ in range(20)]
        for s in clients:
            u.ask(s, s.getsockname()[1].to_bytes(2, "big"))
        before = {data: peer for data, peer in target.seen}
        for round_ in range(4):
            relay[0].cut([relay[0].pairs[round_ % 2]])
            e2e.wait_for("the lane's successor", lambda: len(relay[0].pairs) == 2)
            self.wait_lanes(self.edge)
            for s in clients:
                u.ask(s, s.getsockname()[1].to_bytes(2, "big"), tries=20)
        for data, peer in target.seen:
            self.assertEqual(peer, before[data])
        self.assertGreater(self.hub.metric("penstock_hub_udp_moved_total"), 20)
        self.assertEqual(self.hub.metric("penstock_hub_udp_flows"), 20)

    def test_a_flow_moves_between_lanes_of_a_session(self):
        """Two probes of one session, dealt to two workers: to and fro, and the old lane is told."""
        target = self.target()
        self.udp_tunnel([target.port], hub={"workers": 2})
        self.edge.stop()
        secret, address = t.secret_of(self.token), self.hub.address("tunnel")
        one = t.Probe(address, "e1", secret).wait_open()
        self.addCleanup(one.close)
        two = t.Probe(address, "e1", secret, session=one.session, lane=1).wait_open()
        self.addCleanup(two.close)
        port = self.ports[0]
        one.send(t.udp_open_frame(1, port), t.frame(1, t.UDP_DATA, b"a"))
        self.assertEqual(one.wait_frame(t.UDP_DATA_BACK, 1).payload, b"a")
        two.send(t.udp_open_frame(1, port), t.frame(1, t.UDP_DATA, b"b"))
        self.assertEqual(two.wait_frame(t.UDP_DATA_BACK, 1).payload, b"b")
        self.assertEqual(one.wait_frame(t.UDP_CLOSE, 1).payload, b"")
        for n in range(2, 30):  # as fast as it goes
            for lane in (one, two):
                lane.send(t.udp_open_frame(n, port), t.frame(n, t.UDP_DATA, b"%d" % n))
        two.wait_frame(t.UDP_CLOSE, 1)

        def settled():
            return len(one.seen(t.UDP_CLOSE)) + len(two.seen(t.UDP_CLOSE)) == 2 * 29 - 1

        e2e.wait_for("all but one session closed", settled)
        self.assertEqual(self.hub.metric("penstock_hub_udp_flows"), 1)
        self.assertEqual({peer for _, peer in target.seen}, {target.seen[0][1]})

    def test_an_edge_shows_what_its_lanes_dropped(self):
        """Those that are gone, too."""
        target = self.target()
        self.udp_tunnel([target.port])
        self.edge.stop()
        secret, address = t.secret_of(self.token), self.hub.address("tunnel")
        one = t.Probe(address, "e1", secret).wait_open()
        self.addCleanup(one.close)
        two = t.Probe(address, "e1", secret, session=one.session, lane=1).wait_open()
        self.addCleanup(two.close)

        def shown(lanes):
            [edge] = self.hub.status()["connectedEdges"]
            return edge["udpDropped"] if edge["lanes"] == lanes else None

        e2e.wait_for("two lanes, no drop", lambda: shown(2) == 0)
        for lane, datagrams in ((one, 1), (two, 2)):
            lane.send(t.udp_open_frame(1, target.port), t.frame(1, t.UDP_DATA, b"not given") * datagrams)
            lane.wait_frame(t.UDP_CLOSE, 1)
        e2e.wait_for("three drops", lambda: shown(2) == 3)
        two.close()
        e2e.wait_for("three drops of one lane and one that was", lambda: shown(1) == 3)


class Limits(u.Case):
    def test_the_least_recently_used_goes(self):
        target = self.target()
        self.udp_tunnel([target.port], edge={"limits": {"udpSessions": 10}, "workers": 1}, hub={"workers": 1})
        clients = [self.client(self.ports[0]) for _ in range(10)]
        for s in clients:
            u.ask(s, b"x")
        u.ask(clients[0], b"y")  # no longer the oldest
        sources = [peer for _, peer in target.seen[:10]]
        u.ask(self.client(self.ports[0]), b"z")
        e2e.wait_for("the counter", lambda: self.edge.metric("penstock_edge_udp_evicted_total",
                                                       reason="least_recent") == 1)
        e2e.wait_for("ten", lambda: self.hub.metric("penstock_hub_udp_flows") == 10)
        u.ask(clients[0], b"still me")
        self.assertEqual(target.seen[-1][1], sources[0])
        u.ask(clients[1], b"anew")
        self.assertNotEqual(target.seen[-1][1], sources[1])

    def test_an_address_with_many_ports_ends_nobody_elses_flow(self):
        target = self.target()
        self.udp_tunnel([target.port], edge={"limits": {"udpSessions": 10}, "workers": 1}, hub={"workers": 1})
        others = [self.client(self.ports[0], bind=f"127.0.0.{i}") for i in (2, 3)]
        for s in others:
            u.ask(s, b"x")
        sources = [peer for _, peer in target.seen]
        for _ in range(50):
            with u.client(self.ports[0]) as s:
                u.ask(s, b"flood")
        e2e.wait_for("the counter", lambda: self.edge.metric("penstock_edge_udp_evicted_total",
                                                             reason="address_share") == 50 - 8)
        self.assertEqual(self.edge.metric("penstock_edge_udp_evicted_total", reason="least_recent"), 0)
        for s, source in zip(others, sources):
            u.ask(s, b"still me")
            self.assertEqual(target.seen[-1][1], source)

    def test_the_hubs_limit(self):
        target = self.target()
        self.udp_tunnel([target.port], hub={"limits": {"udpSessions": 5}, "workers": 1}, edge={"workers": 1})
        clients = [self.client(self.ports[0]) for _ in range(8)]
        for s in clients:
            u.ask(s, b"x")
        self.assertEqual(self.hub.metric("penstock_hub_udp_evicted_total"), 3)
        self.assertEqual(self.hub.metric("penstock_hub_udp_flows"), 5)
        self.assertEqual(self.hub.status()["limits"]["udpSessions"], 5)
        u.ask(clients[0], b"again", tries=5)

    def test_idle_sessions_go_on_both_sides(self):
        target = self.target()
        self.udp_tunnel([target.port], edge={"limits": {"udpIdleSecs": 5}})
        u.ask(self.client(self.ports[0]), b"x")
        e2e.wait_for("idle", lambda: self.edge.metric("penstock_edge_udp_idle_total") == 1)
        e2e.wait_for("gone", lambda: self.hub.metric("penstock_hub_udp_flows") == 0)
        e2e.wait_for("none", lambda: self.edge.metric("penstock_edge_udp_flows") == 0)

    def test_without_a_tunnel_datagrams_are_counted(self):
        target = self.target()
        self.udp_tunnel([target.port])
        s = self.client(self.ports[0])
        u.ask(s, b"x")
        self.hub.kill()
        e2e.wait_for("the loss", lambda: not self.edge.status()["connected"])
        s.send(b"lost")
        e2e.wait_for("the drop", lambda: self.edge.metric("penstock_edge_udp_dropped_total",
                                                          reason="no_tunnel") >= 1)


if __name__ == "__main__":
    unittest.main()
