"""What 1,000 port changes and 1,000 re-logins leave behind: descriptors and memory of hub and edge.

Release build.  After the first 100 of each and after all of them both processes are looked at while
nothing is under way.  Fails when a process has more descriptors than then, or more than 1 MiB more
resident memory.

A re-login is PUT /v1/tunnel: the edge closes its lanes and logs in anew at once, a new session on a new
TLS connection for each worker.  (After a kick it would wait longer each time, as the protocol asks.)

    PENSTOCK_BUILD=build/release python3 tests/bench/leaks.py [--count 1000] [--first 100]
"""
import argparse
import contextlib
import pathlib
import socket
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "scripts"))
sys.path.insert(0, str(SOURCE / "tests" / "e2e"))

import e2e  # noqa: E402
import stack as penstock  # noqa: E402

GROWTH_MAX = 1 << 20


class Pair:
    """A hub and an edge with a kept port and one that comes and goes."""

    def __init__(self, stack, target):
        self.kept, self.changing = penstock.free_port(), penstock.free_port()
        self.hub = stack.hub({self.kept: target, self.changing: target})
        self.token = stack.register(self.hub, "e1", [self.kept])
        self.edge = stack.edge()
        self.logins = 0
        self.log_in()

    def log_in(self):
        self.edge.api("PUT", "/v1/tunnel", {"token": self.token}, expect=200)
        self.logins += 1
        penstock.wait_for(f"login {self.logins}", lambda: self.is_up())

    def is_up(self):
        status = self.edge.status()
        return status["connects"] == self.logins and status["listenPorts"] == [self.kept]

    def change_ports(self, number):
        ports = sorted([self.kept, self.changing]) if number % 2 == 0 else [self.kept]
        self.hub.api("PATCH", "/v1/edges/e1", {"listenPorts": ports}, expect=200)
        penstock.wait_for("the ports", lambda: self.acknowledged(ports))

    def acknowledged(self, ports):
        edges = self.hub.status()["connectedEdges"]
        return len(edges) == 1 and edges[0]["listenPorts"] == ports

    def ask(self):
        """One client, so that a change that serves nobody is noticed."""
        with e2e.connect(self.kept) as s:
            s.sendall(b"x")
            e2e.receive(s, 1)

    def wait_quiet(self):
        """All lanes of the newest session are up, nothing else is open."""
        penstock.wait_for("the lanes", lambda: self.edge.status()["lanes"] == self.hub.metric("penstock_hub_lanes")
                          == self.edge.metric("penstock_edge_lanes"))
        for service, metric in ((self.edge, "penstock_edge_streams_open"), (self.hub, "penstock_hub_forwards_open")):
            penstock.wait_for("no stream", lambda s=service, m=metric: s.metric(m) == 0)

    def look(self):
        self.wait_quiet()
        return {s.name: (s.open_files(), s.resident_bytes()) for s in (self.hub, self.edge)}


def check(what, pair, early):
    """Prints, and says whether it is well."""
    is_good = True
    with contextlib.suppress(penstock.Failure):  # a descriptor may take a moment to close
        penstock.wait_for("descriptors", lambda: all(
            s.open_files() <= early[s.name][0] for s in (pair.hub, pair.edge)), 5)
    for name, (files, memory) in pair.look().items():
        files_then, memory_then = early[name]
        grown = memory - memory_then
        print(f"{what}: {name}: descriptors {files_then} -> {files}, resident {memory_then / 1024:.0f} -> "
              f"{memory / 1024:.0f} KiB ({grown / 1024:+.0f})", flush=True)
        is_good = is_good and files <= files_then and grown <= GROWTH_MAX
    return is_good


def run(what, pair, options, action):
    for number in range(options.first):
        action(number)
    pair.ask()
    early = pair.look()
    for number in range(options.first, options.count):
        action(number)
    pair.ask()
    return check(what, pair, early)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=100)
    options = parser.parse_args()
    target = e2e.Target(e2e.echo)
    with penstock.Stack() as stack:
        pair = Pair(stack, target.port)
        is_good = run("port changes", pair, options, pair.change_ports)
        pair.change_ports(1)
        is_good = run("re-logins", pair, options, lambda _: pair.log_in()) and is_good
    target.close()
    print("nothing is left behind" if is_good else "something is left behind")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
