"""What the tests of the tunnel by QUIC share: a tunnel with relays between its ends, and what is asked of it."""
import subprocess
import time

import e2e
import tunnel_stand as t
from e2e import penstock, wait_for

BACK_SECS = 30  # after any fault the tunnel serves again within so long: 5 to 6 s, and a busy machine's share
BOTH = {"tunnel": {"transports": ["tls", "quic"]}}


class Case(e2e.Case):
    def start(self, mode, relayed=False, udp="pass", **edge):
        """A hub that takes both transports, an edge, an echo; with relays of both kinds between them."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.port = penstock.free_port()
        self.hub = self.stack.hub({self.port: target.port}, **BOTH)
        at = self.hub.address("tunnel")
        if relayed:
            self.relay = t.Relay(at, penstock.free_port())
            self.addCleanup(self.relay.close)
            self.udp = t.UdpRelay(at, self.relay.address[1])
            self.addCleanup(self.udp.close)
            self.udp.mode = udp
            at = self.relay.address
        token = self.stack.register(self.hub, "e1", [self.port], at=at)
        self.edge = self.stack.edge(token, transportMode=mode, **edge)
        self.wait_ports(self.edge, [self.port])
        self.wait_lanes(self.edge)

    def wait_transport(self, transport, *reasons, secs=e2e.SECS):
        """By one of these reasons."""
        def is_there():
            status = self.edge.status()
            return status["transport"] == transport and status["transportReason"] in reasons

        wait_for(f"{transport} because {' or '.join(reasons)} (is {self.edge.status()['transport']}, "
                 f"{self.edge.status()['transportReason']})", is_there, secs)
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


class PathCase(Case):
    """127.9.9.9 is the hub's; what the kernel does with packets to it is ours to say."""

    HUB = "127.9.9.9"

    def start_there(self, mode, target=e2e.echo, **edge):
        target = e2e.Target(target)
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
