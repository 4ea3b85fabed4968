"""Rows of datagrams through the tunnel, small and nearly as large as Ethernet takes, beside a relay that
does nothing else (udp_relay.c), nginx, and other people's tunnels.
"""
import json
import subprocess

import elsewhere
import peers
from peers import penstock

SIZES = (64, 1200)
TIMES_OTHERS = 10.0  # what is wanted beside other people's tunnels


class Samples:
    def __init__(self):
        self.rate, self.arrived = [], []


def load(front, sink, size, secs, into):
    done = subprocess.run([peers.tool("udp_load"), *map(str, (front, sink, size, secs))], capture_output=True,
                          text=True, timeout=secs + 30)
    if done.returncode:
        raise penstock.Failure(f"udp_load to {front}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    into.rate.append(found["came"] / found["secs"])
    into.arrived.append(100 * found["came"] / max(found["came"] + found["lost"], 1))


def ours(transport):
    def start(b, sink):
        port = penstock.free_port()
        stack = b.stacks.enter_context(penstock.Stack())
        hub = stack.hub({}, tunnel={"transports": ["tls" if transport == "tcpTls" else "quic"]},
                        target={"portsUdp": {str(port): sink}, "proxyProtocolUdp": "off"})
        edge = stack.edge(stack.register(hub, "bench", [], listenPortsUdp=[port]), transportMode=transport)
        penstock.wait_for("the edge's port", lambda: edge.status()["listenPortsUdp"] == [port], secs=60)
        return port
    return start


def relay(b, sink):
    port = penstock.free_port()
    return b.keep((port, [peers.Process([peers.tool("udp_relay"), str(port), str(sink)], [])]))


def nginx(b, sink):
    return b.keep(peers.nginx_datagrams(b.folder, sink))


def other(start):
    return lambda b, sink: b.keep(start(b.folder, b.certificate, sink))


OURS = {"penstock QUIC": ours("quic"), "penstock TLS": ours("tcpTls")}
CONTESTANTS = {**OURS, "bare relay": relay, "nginx": nginx, **{name: other(start) for name, start in elsewhere.UDP.items()}}


def rows(b):
    """Each has a sink of its own.  Without ours the peers are beside the bare relay."""
    found = {}
    for name, start in CONTESTANTS.items():
        sink = penstock.free_port()
        try:
            found[name] = (start(b, sink), sink)
        except peers.Missing as missing:
            print(f"udp, {name}: not run: {missing}", flush=True)
    for size in SIZES:
        samples = {name: Samples() for name in found}
        for _ in range(b.rounds):
            for name, (front, sink) in found.items():
                load(front, sink, size, b.secs, samples[name])
        firsts = [name for name in found if name in OURS] or ["bare relay"]
        for first in firsts:
            for name in [n for n in found if n not in firsts]:
                title = f"udp {size} B {first}"
                b.record(title, "dg/s", samples[first].rate, samples[name].rate, name,
                         TIMES_OTHERS if first in OURS and name in elsewhere.UDP else None)
                b.record(f"{title}: arrived", "%", samples[first].arrived, samples[name].arrived, name, None)
