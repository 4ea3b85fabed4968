"""What 1,000 port changes and 1,000 re-logins leave behind in hub and edge: no descriptor, and less than 1 MiB of
memory (with sanitizers, 4 MiB).  After the first 100 of each and after all of them both are looked at while nothing
is under way.  Run by `make heavy`.

A re-login is PUT /v1/tunnel: the edge closes its lanes and logs in anew at once, a new session on a new TLS
connection for each worker.  (After a kick it would wait longer each time, as the protocol asks.)"""
import os

from heavy import IS_SANITIZED, Case, e2e, penstock

FIRST, COUNT = 100, 1000
GROWTH_BYTES = (4 if IS_SANITIZED else 1) << 20  # sanitizers keep more beside each allocation
CHANGES = {"managementChanges": 0}  # as many a second as can be


class Leaks(Case):
    def setUp(self):
        super().setUp()
        # What was freed must not wait in AddressSanitizer's quarantine: the test is about memory.
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
        self.addCleanup(os.environ.pop, "ASAN_OPTIONS")
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.kept, self.changing = penstock.free_port(), penstock.free_port()
        self.hub = self.stack.hub({self.kept: target.port, self.changing: target.port}, limits=CHANGES)
        self.token = self.stack.register(self.hub, "e1", [self.kept])
        self.edge = self.stack.edge(limits=CHANGES)
        self.logins = 0
        self.log_in()

    def log_in(self):
        self.edge.api("PUT", "/v1/tunnel", {"token": self.token}, expect=200)
        self.logins += 1
        e2e.wait_for(f"login {self.logins}", self.is_up)

    def is_up(self):
        status = self.edge.status()
        return status["connects"] == self.logins and status["listenPorts"] == [self.kept]

    def change_ports(self, ports):
        self.hub.api("PATCH", "/v1/edges/e1", {"listenPorts": ports}, expect=200)
        e2e.wait_for(f"the ports {ports}", lambda: self.are_acknowledged(ports))

    def are_acknowledged(self, ports):
        edges = self.hub.status()["connectedEdges"]
        return len(edges) == 1 and edges[0]["listenPorts"] == ports

    def ask(self):
        """One client, so that a change that serves nobody is noticed."""
        with e2e.connect(self.kept) as s:
            s.sendall(b"x")
            self.assertEqual(e2e.receive(s, 1), b"x")

    def wait_quiet(self):
        """All lanes of the newest session are up, nothing else is open."""
        workers = self.workers_of(self.edge)
        e2e.wait_for("the lanes", lambda: self.edge.status()["lanes"] == self.hub.metric("penstock_hub_lanes")
                     == self.edge.metric("penstock_edge_lanes") == workers)
        for service, metric in ((self.edge, "penstock_edge_streams_open"), (self.hub, "penstock_hub_forwards_open")):
            e2e.wait_for(f"no {metric}", lambda s=service, m=metric: s.metric(m) == 0)

    def repeat(self, action):
        """`action` is called with 0 to COUNT - 1."""
        for number in range(FIRST):
            action(number)
        self.ask()
        self.wait_quiet()
        early = {s: (s.open_files(), s.resident_bytes()) for s in (self.hub, self.edge)}
        for number in range(FIRST, COUNT):
            action(number)
        self.ask()
        self.wait_quiet()
        for service, (files, memory) in early.items():
            # A descriptor may take a moment to close.
            e2e.wait_for(f"{files} descriptors of {service.name}", lambda s=service, n=files: s.open_files() <= n)
            grown = service.resident_bytes() - memory
            print(f"{self.id()}: {service.name}: {memory >> 10} KiB resident, {grown / 1024:+.0f}")
            self.assertLessEqual(grown, GROWTH_BYTES, service.name)

    def test_port_changes(self):
        both = sorted([self.kept, self.changing])
        self.repeat(lambda number: self.change_ports([self.kept] if number % 2 else both))

    def test_relogins(self):
        self.repeat(lambda _: self.log_in())


if __name__ == "__main__":
    e2e.main()
