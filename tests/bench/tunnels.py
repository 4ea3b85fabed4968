"""Rows of the tunnel by QUIC: beside our own TLS and the HAProxy pair, with the packets of an Ethernet and
with those that loopback takes; and other people's tunnels.
"""
import collections
import contextlib

import elsewhere
from measures import iperf, wrk
import netns
import peers

ETHERNET = 1480  # the MTU at which a QUIC packet over IPv4 has 1,452 bytes of UDP payload
CLOSE = "Connection: close"
URL = "http://127.0.0.1:{}/"


@contextlib.contextmanager
def place_of(mtu):
    """Loopback, or a pair of namespaces with this MTU between them."""
    if mtu is None:
        yield peers.LOOPBACK
        return
    pair = netns.Pair(mtu)
    try:
        yield pair
    finally:
        pair.end()


class Contestant:
    def __init__(self, port, pids):
        self.port, self.pids = port, pids

    def cpu_seconds(self):
        return sum(peers.cpu_seconds(pid) for pid in self.pids)


def ours(b, target, transport, place):
    port, hub, edge = b.tunnel(target, transport=transport, place=place)
    return Contestant(port, [hub.pid, edge.pid])


def kept(b, found):
    port, processes = found
    return Contestant(b.keep(found), [p.child.pid for p in processes])


def contestants(b, target, place):
    """By name: ours by both transports, and what a user would take instead."""
    return {"penstock": ours(b, target, "quic", place), "ours, TLS": ours(b, target, "tcpTls", place),
            "haproxy pair": kept(b, peers.haproxy_pair(b.folder, b.certificate, target, place=place))}


def bulk(b, title, who, streams, down, goals):
    """Rows of the rate, and of what a megabyte costs: on a machine that others use too, that is the steadier."""
    rates, costs = collections.defaultdict(list), collections.defaultdict(list)
    for _ in range(b.rounds):
        for name, each in who.items():
            before = each.cpu_seconds()
            rate = iperf(each.port, b.secs, streams, down)
            rates[name].append(rate)
            costs[name].append((each.cpu_seconds() - before) / (rate * b.secs))  # s/GB is ms/MB
    title += f" {'down' if down else 'up'} x{streams}"
    first = next(iter(who))
    for name in list(who)[1:]:
        b.record(title, "GB/s", rates[first], rates[name], name, goals.get(name))
        b.record(f"{title}: CPU", "ms/MB", costs[first], costs[name], name, None, "less")


def quic_bulk(b):
    for what, mtu, goals in (("1,452 B", ETHERNET, {1: 1.3, 8: 0.9}), ("PMTUD", None, {1: 1.9, 8: 1.3})):
        place = b.stacks.enter_context(place_of(mtu))
        with place.far:
            target = b.keep(peers.iperf_server())
        who = contestants(b, target, place)
        with place.near:
            for streams, down in ((1, False), (1, True), (8, False), (8, True)):
                bulk(b, f"quic bulk {what}", who, streams, down, {"haproxy pair": goals[streams]})


def requests(b, title, who, goals):
    for what, headers in (("keep-alive c64", ()), ("new connection", (CLOSE,))):
        b.interleave(f"{title} requests {what}", "req/s", {
            name: (lambda port=each.port: wrk(URL.format(port), b.secs, 64, *headers).rate)
            for name, each in who.items()}, goals.get(what, {}))


def quic_requests(b):
    target = b.keep(peers.lean_origin())
    requests(b, "quic", contestants(b, target, peers.LOOPBACK), {
        "keep-alive c64": {"haproxy pair": 1.3}, "new connection": {"haproxy pair": 6.0}})


def others(b):
    """Ours by both transports beside each of theirs, in each mode that it has."""
    to_bulk, to_web = b.keep(peers.iperf_server()), b.keep(peers.lean_origin())
    bulks, webs = ({"penstock": ours(b, target, "tcpTls", peers.LOOPBACK),
                    "ours, QUIC": ours(b, target, "quic", peers.LOOPBACK)} for target in (to_bulk, to_web))
    for name, start in elsewhere.TUNNELS.items():
        try:
            bulks[name], webs[name] = (kept(b, start(b.folder, b.certificate, t)) for t in (to_bulk, to_web))
        except peers.Missing as missing:
            print(f"tunnels, {name}: not run: {missing}", flush=True)
    for streams, down in ((1, False), (8, True)):
        bulk(b, "tunnels bulk", bulks, streams, down, {})
    requests(b, "tunnels", webs, {})
