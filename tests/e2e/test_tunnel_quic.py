"""The tunnel by QUIC, and the choice between QUIC and TLS: what is dialled, when it falls back, how it
returns, and that no stream notices.  (Everything else about streams: the other test_tunnel_*.py, which
run on QUIC as well.)
"""
import os
import socket
import subprocess
import sys
import time
import unittest

import e2e
import tunnel_stand as t
from e2e import penstock, wait_for

INSIDE = "TEST_IN_NETWORK_NAMESPACE"
BACK_SECS = 30  # after any fault the tunnel serves again within so long: 5 to 6 s, and a busy machine's share
BOTH = {"tunnel": {"transports": ["tls", "quic"]}}


def can_unshare():
    done = subprocess.run(["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True)
    return done.returncode == 0


class Case(e2e.Case):
    def start(self, mode, relayed=False, udp="pass", **edge):
        """A hub that takes both transports, an edge, an echo; with relays of both kinds between them."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port = penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port}, **BOTH)
        at = self.hub.address("tunnel")
        if relayed:
            self.relay = t.Relay(at)
            self.addCleanup(self.relay.close)
            self.udp = t.UdpRelay(at, self.relay.address[1])
            self.addCleanup(self.udp.close)
            self.udp.mode = udp
            at = self.relay.address
        token = self.stack.register(self.hub, "e1", [self.port], at=at)
        self.edge = self.stack.edge(token, transportMode=mode, **edge)
        self.wait_ports(self.edge, [self.port])
        self.wait_lanes(self.edge)

    def wait_transport(self, transport, reason, secs=e2e.SECS):
        wait_for(f"{transport} because {reason} (is {self.edge.status()['transport']}, "
                 f"{self.edge.status()['transportReason']})",
                 lambda: (self.edge.status()["transport"], self.edge.status()["transportReason"]) ==
                 (transport, reason), secs)
        wait_for("the hub's view", lambda: {e["transport"] for e in self.hub.status()["connectedEdges"]} == {transport})

    def check_echo(self, secs=e2e.SECS):
        with e2e.connect(self.port, secs=secs) as s:
            s.sendall(b"hello")
            self.assertEqual(e2e.receive(s, 5), b"hello")

    def wait_echo(self, since, secs):
        """A new connection is served, `secs` after `since` at the latest."""
        def is_served():
            try:
                self.check_echo(2)
                return True
            except (OSError, e2e.Failure):
                return False

        wait_for("an echo", is_served, secs + 5)
        took = time.monotonic() - since
        self.assertLess(took, secs)
        return took

    def finish(self, clients):
        self.assertEqual({c.finish() for c in clients}, {"stopped"})


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
        """Nobody answers on UDP: TLS, after 5 s."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port = penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port}, tunnel={"transports": ["tls"]})
        token = self.stack.register(self.hub, "e1", [self.port])
        started = time.monotonic()
        self.edge = self.stack.edge(token, transportMode="quicWithFallback")
        self.wait_ports(self.edge, [self.port])
        self.assertLess(time.monotonic() - started, BACK_SECS)
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


@unittest.skipUnless(os.environ.get(INSIDE), "runs in a network namespace of its own: class Alone starts it")
class Inside(Case):
    """127.9.9.9 is the hub's; what the kernel does with packets to it is ours to say."""

    HUB = "127.9.9.9"

    def start_there(self, mode, **edge):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port, self.tunnel_port = penstock.free_port(), penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port}, tunnel={
            "listen": f"{self.HUB}:{self.tunnel_port}", "transports": ["tls", "quic"]})
        token = self.stack.register(self.hub, "e1", [self.port])
        self.edge = self.stack.edge(token, transportMode=mode, **edge)
        self.wait_ports(self.edge, [self.port])
        self.wait_lanes(self.edge)

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True, timeout=e2e.SECS)

    @staticmethod
    def nft(text):
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True, timeout=e2e.SECS)

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
        self.wait_transport("tcpTls", "quicLost")
        clients = t.echo_clients(self.port, 10)
        self.nft("delete table inet f")
        self.wait_transport("quic", "preferred")
        self.finish(clients)


class Alone(unittest.TestCase):
    @unittest.skipIf(os.environ.get(INSIDE), "is inside already")
    @unittest.skipUnless(can_unshare(), "this machine allows no network namespaces")
    def test_in_a_namespace(self):
        done = subprocess.run(
            ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-B",
             __file__, "-v", "Inside"],
            env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Ran 2 tests", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
