"""The tunnel by QUIC, and the choice between QUIC and TLS: what is dialled, when it falls back, how it
returns, and that no stream notices.  (Everything else about streams: the other test_tunnel_*.py, which
run on QUIC as well.)
"""
import socket
import time

import e2e
import tunnel_stand as t
from e2e import penstock, wait_for
from quic_stand import BACK_SECS, BOTH, Case
from stopwatch import Stopwatch


class Modes(Case):
    def test_quic(self):
        self.start("quic")
        self.wait_transport("quic", "configured")
        self.assertEqual(self.edge.status()["hubVerified"], "pin")
        self.check_echo()

    def test_fallback_prefers_quic(self):
        self.start("quicWithFallback")
        self.wait_transport("quic", "preferred")
        self.check_echo()

    def test_hub_without_quic(self):
        """Nobody is there on UDP, and the kernel says so: TLS, without waiting for the 5 s."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port = penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port}, tunnel={"transports": ["tls"]})
        token = self.stack.register(self.hub, "e1", [self.port])
        with Stopwatch() as took:
            self.edge = self.stack.edge(token, transportMode="quicWithFallback")
            self.wait_ports(self.edge, [self.port])
        print(f"TLS after {took.secs:.2f} s", flush=True)
        self.assertLess(took.secs, 4.5)
        wait_for("its counter", lambda: self.edge.metric("penstock_edge_quic_refusals_total", meant="attempt") > 0)
        self.wait_transport("tcpTls", "quicNotUp")
        self.check_echo()

    def test_hub_without_tls(self):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port = penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port}, tunnel={"transports": ["quic"]})
        self.edge = self.stack.edge(self.stack.register(self.hub, "e1", [self.port]), transportMode="quic")
        self.wait_ports(self.edge, [self.port])
        self.check_echo()

    def test_udp_port_is_taken_for_a_while(self):
        """The hub begins with TLS, as one does that another hub still drains beside, and has QUIC later."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port, tunnel = penstock.free_port(), penstock.free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", tunnel))
            self.hub = self.stack.hub({self.port: target.port}, tunnel_port=tunnel)
            self.hub.wait_event("quic_waits")
            token = self.stack.register(self.hub, "e1", [self.port])
            self.edge = self.stack.edge(token, transportMode="tcpTls")
            self.wait_ports(self.edge, [self.port])
        self.hub.wait_event("listening", name="tunnel-quic")
        self.edge.stop(0)
        self.edge.conf["transportMode"] = "quic"
        self.edge.start()
        self.wait_ports(self.edge, [self.port])
        self.check_echo()

    def test_wrong_secret(self):
        """The same answer as on TLS, and no port is bound."""
        self.hub = self.stack.hub({}, **BOTH)
        token = t.token_with(self.stack.register(self.hub, "e1", [penstock.free_port()]), secret="x" * 43)
        edge = self.stack.edge(token, transportMode="quic")
        wait_for("the refusal", lambda: "unauthorized" in (edge.status()["lastError"] or ""))
        self.assertEqual(edge.status()["listenPorts"], [])
        self.assertGreater(self.hub.metric("penstock_hub_handshake_failures_total", reason="unauthorized"), 0)

    def test_wrong_pin(self):
        self.hub = self.stack.hub({}, **BOTH)
        token = t.token_with(self.stack.register(self.hub, "e1", [penstock.free_port()]), pin="A" * 43)
        edge = self.stack.edge(token, transportMode="quic")
        wait_for("the refusal", lambda: "pinned" in (edge.status()["lastError"] or ""))
        self.assertEqual(edge.status()["listenPorts"], [])

    def test_kicked_by_the_api_comes_back(self):
        self.start("quic")
        self.hub.api("DELETE", "/v1/edges/e1/connection", expect=(200, 202, 204))
        wait_for("the next tunnel", lambda: self.edge.status()["connects"] == 2)
        self.wait_ports(self.edge, [self.port])
        self.check_echo()


class Choice(Case):
    """quicWithFallback: relays between edge and hub, of which the UDP one may drop everything."""

    def test_blocked_from_the_start_and_back(self):
        started = time.monotonic()
        self.start("quicWithFallback", relayed=True, udp="drop", quicRetrySecs=2)
        self.assertLess(time.monotonic() - started, BACK_SECS)
        self.wait_transport("tcpTls", "quicNotUp")
        clients = t.echo_clients(self.port, 20)
        self.udp.mode = "pass"
        self.wait_transport("quic", "preferred")
        self.check_echo()
        rounds = [c.rounds for c in clients]
        wait_for("the old streams go on", lambda: all(c.rounds > n for c, n in zip(clients, rounds)))
        self.finish(clients)
        workers = self.workers_of(self.edge)
        wait_for("only lanes by QUIC are left", lambda: (
            self.edge.status()["lanes"], self.hub.status()["connectedEdges"][0]["lanes"]) == (workers, workers))
        self.assertGreater(self.edge.metric("penstock_edge_transport_switches_total", reason="preferred"), 0)

    def test_path_dies_while_it_runs(self):
        self.start("quicWithFallback", relayed=True, quicRetrySecs=2)
        self.wait_transport("quic", "preferred")
        since = time.monotonic()
        self.udp.mode = "drop"
        self.wait_echo(since, BACK_SECS)
        self.wait_transport("tcpTls", "quicLost")
        self.udp.mode = "pass"
        self.wait_transport("quic", "preferred")
        self.check_echo()

    def idle(self):
        """A hub and an edge that carry nothing but QUIC's own PINGs."""
        self.port, tunnel = penstock.free_port(), penstock.free_port()
        self.hub = self.stack.hub({self.port: 9}, tunnel_port=tunnel, **BOTH, edges=[
            {"id": "e1", "listenPorts": [self.port], "secret": "s" * 43}])
        self.edge = self.stack.edge(hubHost="127.0.0.1", hubPort=tunnel, edgeId="e1", secret="s" * 43,
                                    transportMode="quicWithFallback", quicRetrySecs=2)
        self.wait_ports(self.edge, [self.port])
        self.wait_transport("quic", "preferred")
        self.wait_lanes(self.edge)
        pings = self.hub.metric("penstock_hub_quic_datagrams_total", direction="in")
        wait_for("a PING or two", lambda: self.hub.metric("penstock_hub_quic_datagrams_total",
                                                          direction="in") > pings + 2)

    def test_idle_edge_is_told_of_a_restart(self):
        """By the stateless reset that answers its next PING, 2 s from the last one at the most."""
        self.idle()
        self.hub.kill()
        with Stopwatch() as took:
            self.hub.start()
            self.edge.wait_event("lane_closed", 20, error="reset")
        self.assertLess(took.secs, 5.5)
        wait_for("the tunnel", lambda: self.hub.status()["connectedEdges"])

    def test_idle_edge_sees_that_its_hub_is_gone(self):
        """The port is nobody's, the network says, and nothing comes from it: 2 s and 1 s, and not the 6 s of a path
        that swallows all."""
        self.idle()
        self.hub.kill()
        with Stopwatch() as took:
            self.edge.wait_event("lane_closed", 20, error="connect")
        self.assertLess(took.secs, 5.5)
        wait_for("the edge knows", lambda: not self.edge.status()["connected"])
        wait_for("the counter", lambda: self.edge.metric("penstock_edge_quic_refusals_total", meant="attempt") > 0)

    def test_hub_killed_and_restarted(self):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port, tunnel = penstock.free_port(), penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port}, tunnel_port=tunnel, **BOTH, edges=[
            {"id": "e1", "listenPorts": [self.port], "secret": "s" * 43}])
        self.edge = self.stack.edge(hubHost="127.0.0.1", hubPort=tunnel, edgeId="e1", secret="s" * 43,
                                    transportMode="quicWithFallback", quicRetrySecs=2)
        self.wait_ports(self.edge, [self.port])
        self.wait_transport("quic", "preferred")
        clients = t.echo_clients(self.port, 5)
        self.hub.kill()
        since = time.monotonic()
        self.hub.start()
        self.wait_echo(since, BACK_SECS)
        for client in clients:
            client.join(e2e.SECS)
        self.assertEqual({c.outcome for c in clients}, {"reset"})
        self.wait_transport("quic", "preferred")


class Moves(Case):
    def test_nat_is_restarted(self):
        """The hub sees another address: it validates it, and no stream notices."""
        self.start("quic", relayed=True)
        clients = t.echo_clients(self.port, 10)
        self.udp.rebind()
        rounds = [c.rounds for c in clients]
        wait_for("the streams go on", lambda: all(c.rounds > n + 20 or c.outcome for c, n in zip(clients, rounds)))
        self.finish(clients)
        wait_for("the moves are counted",
                 lambda: self.hub.metric("penstock_hub_quic_migrations_total") >= self.edge.status()["lanes"])
        self.assertEqual(self.edge.status()["connects"], 1)


if __name__ == "__main__":
    e2e.main()
