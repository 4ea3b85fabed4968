"""Rows of the tunnel on a link that is far and loses packets: one stream's goodput by each transport and each
congestion control, beside raw TCP on the same link.

The link is a veth pair between two namespaces: 200 Mbit/s by tbf with room for one delay-bandwidth product,
half of the round trip each way and the loss by slow_link.c.  The data goes up, from the edge.
"""
import collections
import contextlib

from measures import iperf
import netns
import peers

MBIT = 200
MTU = 1500
ROUND_TRIPS_MS = (20, 100)
LOSSES_PPM = (0, 1_000, 10_000)
SECS, OMIT_SECS = 6, 3  # the second: slow start, and the windows' growth, are not what is measured
ROUNDS_MAX = 3
BURST = 65536
QUEUE = 1


class Link(netns.Pair):
    def __init__(self, round_trip_ms, loss_ppm=0, reorder_ppm=0, reorder_us=0, mbit=MBIT):
        super().__init__(MTU)
        room = max(mbit * round_trip_ms * 1000 // 8, 4 * BURST)
        self.delays = []
        try:
            for seed, (namespace, device) in enumerate(((self.near, "v-near"), (self.far, "v-far"))):
                namespace.run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbit}mbit",
                              "burst", str(BURST), "limit", str(room))
                namespace.run("iptables", "-A", "INPUT", "-i", device, "-j", "NFQUEUE", "--queue-num", str(QUEUE))
                with namespace:
                    self.delays.append(peers.Process(
                        [peers.tool("slow_link"), *map(str, (QUEUE, round_trip_ms * 500, loss_ppm, reorder_ppm,
                                                             reorder_us, seed))], [], says="ready"))
        except BaseException:
            self.end()
            raise

    def end(self):
        for delay in self.delays:
            delay.end()
        super().end()


def contestants(b, link, stacks):
    """name -> a function that measures once; what they need ends with `stacks`."""
    with link.far:
        target = b.keep(peers.iperf_server(link.far_address), stacks)
        behind = b.keep(peers.iperf_server(), stacks)
    found = {}
    for transport, name, key in (("tcpTls", "TLS", "tlsCongestion"), ("quic", "QUIC", "quicCongestion")):
        for control in ("cubic", "bbr"):
            port, _, _ = b.tunnel(behind, stacks=stacks, transport=transport, place=link, tunnel={key: control})
            found[f"{name} {control}"] = lambda port=port: measure(link, port)
    for control in ("cubic", "bbr"):
        found[f"TCP {control}"] = lambda control=control: measure(
            link, target, "-C", control, host=link.far_address)
    return found


def measure(link, port, *options, host="127.0.0.1"):
    with link.near:
        return 8000 * iperf(port, SECS, 1, False, "-O", str(OMIT_SECS), *options, host=host)


def one(b, round_trip_ms, loss_ppm):
    samples = collections.defaultdict(list)
    with contextlib.ExitStack() as stacks:
        link = Link(round_trip_ms, loss_ppm)
        stacks.callback(link.end)
        who = contestants(b, link, stacks)
        for _ in range(min(b.rounds, ROUNDS_MAX)):
            for name, once in who.items():
                samples[name].append(once())
    goal = 0.9 if loss_ppm == 0 and round_trip_ms == 100 else None
    title = f"link {round_trip_ms} ms {loss_ppm / 10_000:g} %"
    for name in ("TLS cubic", "TLS bbr", "QUIC cubic", "QUIC bbr"):
        peer = "TCP " + name.split()[1]
        b.record(f"{title}: {name}", "Mbit/s", samples[name], samples[peer], peer, goal)
    b.record(f"{title}: QUIC bbr", "Mbit/s", samples["QUIC bbr"], samples["TLS cubic"], "ours, TLS cubic",
             3.0 if loss_ppm == 10_000 else None)


def rows(b):
    for round_trip_ms in ROUND_TRIPS_MS:
        for loss_ppm in LOSSES_PPM:
            one(b, round_trip_ms, loss_ppm)
