"""A path that dies without a word because its packets go nowhere: both ends see it in bounded time, and come
back when the path does.  In a network namespace of its own; not run (exit status 77) where the machine
allows none.
"""
import subprocess
import time

import e2e
import tunnel_stand as t
from e2e import penstock

DEAD_SECS = 18  # some 7, and a busy machine's share; what finds out next takes 25


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=e2e.SECS)


class BlackHole(e2e.Case):
    """The hub's address is taken out of the routing table: packets to it vanish, as behind a dead router."""

    HUB = "127.9.9.9"

    def start(self):
        self.target = e2e.Target(e2e.echo)
        self.addCleanup(self.target.close)
        self.port, tunnel = penstock.free_port(), penstock.free_port()
        self.hub = self.stack.hub({self.port: self.target.port}, tunnel={"listen": f"{self.HUB}:{tunnel}"}, edges=[
            {"id": "e1", "listenPorts": [self.port], "secret": "s" * 43}])
        self.edge = self.stack.edge(hubHost=self.HUB, hubPort=tunnel, edgeId="e1", secret="s" * 43, workers=1)
        self.wait_ports(self.edge, [self.port])

    def kill_path(self):
        """127.0.0.0/8 is local as a whole; the hub's address becomes a hole in it."""
        ip("route", "add", "blackhole", f"{self.HUB}/32", "table", "local")
        self.addCleanup(subprocess.run, ["ip", "route", "del", "blackhole", f"{self.HUB}/32", "table", "local"],
                        capture_output=True)

    def revive_path(self):
        ip("route", "del", "blackhole", f"{self.HUB}/32", "table", "local")

    def check_dead(self):
        started = time.monotonic()
        self.kill_path()
        self.edge.wait_event("lane_closed", 60)
        edge = time.monotonic() - started
        self.hub.wait_event("lane_closed", 60)
        hub = time.monotonic() - started
        self.assertLess(max(edge, hub), DEAD_SECS, (edge, hub))
        self.assertGreater(min(edge, hub), 2, (edge, hub))  # it was not told by anybody
        e2e.wait_for("the status to say so", lambda: not self.edge.status()["connected"])  # another thread's
        return edge, hub

    def check_back(self):
        self.revive_path()
        e2e.wait_for("the tunnel", lambda: self.edge.status()["connects"] == 2, 40)
        with e2e.connect(self.port) as s:
            s.sendall(b"back")
            self.assertEqual(e2e.receive(s, 4), b"back")

    def test_idle(self):
        """Keep-alive finds out: nobody has anything to send."""
        self.start()
        self.check_dead()
        self.check_back()

    def test_under_load(self):
        self.start()
        clients = t.echo_clients(self.port, 10)
        self.check_dead()
        for client in clients:
            client.join(e2e.SECS)
        self.assertEqual([c.outcome for c in clients], ["reset"] * 10)
        self.check_back()


if __name__ == "__main__":
    e2e.main_in_namespace()
