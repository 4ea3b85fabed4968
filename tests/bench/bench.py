"""make bench: Penstock beside what a user would take instead, on this machine, in one run.

Each row is measured in interleaved rounds (ours, peer, ours, peer, ...), five of them; what is shown is
the median, the spread, and a ratio that is above 1 when ours is better, whatever the unit.

    bench.py [--rows a,b] [--rounds 5] [--secs 2] [--out build/bench] [--doc docs/performance.md]

Writes results.json ([{row, ours, peer, peerName, unit, ratio, goal}]), results.md and results.svg.
"""
import argparse
import contextlib
import json
import pathlib
import re
import statistics
import sys

import datagrams
import growth
import ingress
import links
import many
import netns
from measures import Behind, h2load, iperf, paced, THREADS, wrk
import peers
from peers import SOURCE, penstock
import plot
import tunnels

ROWS = {}
ON_DEMAND = set()  # the rows that only ROWS= runs: they take long, or need what not every machine has
CLIENTS_MAX = 100000  # all of them come from one address
REQUESTS_MAX = 100000000  # of a connection, the peers' as well: h2load opens no other when one is over
HALF_LOAD_TRIES = 3
HUB_TRANSPORT = {"tcpTls": "tls", "quic": "quic"}
INGRESS_GOALS = {"haproxy": 1.0, "nginx": 1.2}
HOST = "localhost"  # wrk takes the SNI from the address it is given


def row(name, on_demand=False):
    def add(function):
        ROWS[name] = function
        if on_demand:
            ON_DEMAND.add(name)
        return function
    return add


def ratio_of(ours, peer, better):
    """The median of the rounds' ratios.  Within a round both met the same machine; of rounds that differ, as on a
    machine that others use as well, the medians may come from a good one here and a bad one there."""
    if len(ours) != len(peer):  # of a load that was not borne each time
        ours, peer = [statistics.median(ours)], [statistics.median(peer)]
    pairs = zip(ours, peer) if better == "more" else zip(peer, ours)
    return statistics.median(a / b if a and b else 0 for a, b in pairs)


class Bench:
    """What all rows share; `measured` collects."""

    def __init__(self, options, stacks):
        self.rounds, self.secs, self.stacks = options.rounds, options.secs, stacks
        self.folder = stacks.enter_context(penstock.Stack()).folder
        self.results = []
        self.certificate = penstock.Certificate(self.folder, HOST)
        self.ended = []

    def keep(self, found, stacks=None):
        """The port of what was started; it ends with `stacks`, or with the row."""
        port, processes = found
        if stacks:
            for process in processes:
                stacks.callback(process.end)
        else:
            self.ended += processes
        return port

    def end(self):
        for process in reversed(self.ended):
            process.end()

    # --- contestants

    def tunnel(self, target, **conf):
        """Edge and hub in front of a target, without a PROXY header as the pair has none."""
        (port,), hub, (edge,) = self.tunnels(1, target, **conf)
        return port, hub, edge

    def tunnels(self, count, target, stacks=None, transport="tcpTls", place=peers.LOOPBACK, **conf):
        """One hub with `count` edges, each with a port: (ports, hub, edges); they end with `stacks`."""
        stacks = stacks or self.stacks
        ports = sorted(penstock.free_port() for _ in range(count))
        stack = stacks.enter_context(penstock.Stack())
        ours = {"tunnel": conf.pop("tunnel", {}), **conf}
        at_hub = {**ours, "tunnel": {"listen": f"{place.far_address}:0", "transports": [HUB_TRANSPORT[transport]],
                                     **ours["tunnel"]}}
        with place.far:
            hub = stack.hub({p: {"host": "127.0.0.1", "port": target, "proxyProtocol": "off"} for p in ports}, **at_hub)
            tokens = [stack.register(hub, f"bench-{port}", [port]) for port in ports]
        with place.near:
            edges = [stacks.enter_context(penstock.Stack()).edge(
                         token, transportMode=transport, **{**ours, "limits": {"connectionsPerAddress": CLIENTS_MAX}})
                     for token in tokens]
            for edge, port in zip(edges, ports):
                penstock.wait_for("the edge's port", lambda: edge.status()["listenPorts"] == [port], secs=60)
                self.note_cipher(edge)
        return ports, hub, edges

    def note_cipher(self, edge):
        cipher = edge.wait_event("lane_open")["cipher"]
        if cipher != "AES-128-GCM":
            raise penstock.Failure(f"the tunnel negotiated {cipher}, not AES-128-GCM")

    def traffic(self, target, certificate=None, **conf):
        certificate = certificate or self.certificate
        limits = {"requestsPerConnection": REQUESTS_MAX, **conf.pop("limits", {})}
        traffic = self.stacks.enter_context(penstock.Stack()).traffic(
            proxyProtocol={"trusted": []}, log={"access": False}, limits=limits, **conf)
        traffic.api("PUT", "/v1/routes", {"routes": [{
            "hostName": HOST, "destinationIps": ["127.0.0.1"], "destinationPorts": [target],
            "publicKey": certificate.chain, "privateKey": certificate.key}]}, expect=200)
        return traffic.address("https")[1], traffic

    # --- rounds

    def record(self, name, unit, ours, peer, peer_name, goal, better="more"):
        """Samples of both, one a round; the newest result, shown."""
        a, b = statistics.median(ours), statistics.median(peer)
        ratio = ratio_of(ours, peer, better)
        self.results.append({
            "row": name, "ours": a, "peer": b, "peerName": peer_name, "unit": unit,
            "ratio": round(ratio, 3), "goal": goal, "oursSamples": ours, "peerSamples": peer})
        print(line(self.results[-1]), flush=True)

    def attempt(self, name, who, measure):
        try:
            return measure()
        except penstock.Failure as failure:
            raise penstock.Failure(f"{name}, {who}: {failure}") from failure

    def take(self, name, contestants, rounds=None):
        """contestants: name -> function that measures once.  The samples of each, one a round."""
        samples = {who: [] for who in contestants}
        for _ in range(rounds or self.rounds):
            for who, measure in contestants.items():
                samples[who].append(self.attempt(name, who, measure))
        return samples

    def compare(self, name, unit, samples, goals, better="more"):
        """The first one's samples, ours, with those of each other."""
        ours, *others = samples
        for who in others:
            self.record(name, unit, samples[ours], samples[who], who, goals.get(who), better)

    def interleave(self, name, unit, contestants, goals, better="more", rounds=None):
        """contestants: name -> function that measures once; the first is ours."""
        self.compare(name, unit, self.take(name, contestants, rounds), goals, better)

    def interleave_requests(self, name, contestants):
        """contestants: name -> (function that loads once, pid).  A row of the rate, in which the client
        and the origin have their share of the machine, and one of what a request costs the contestant itself."""
        rates, costs = ({who: [] for who in contestants} for _ in range(2))
        for _ in range(self.rounds):
            for who, (measure, pid) in contestants.items():
                before = peers.cpu_seconds(pid)
                found = self.attempt(name, who, measure)
                rates[who].append(found.rate)
                costs[who].append((peers.cpu_seconds(pid) - before) / found.requests * 1e6)
        ours_name = next(iter(contestants))
        for who in list(contestants)[1:]:
            self.record(name, "req/s", rates[ours_name], rates[who], who, INGRESS_GOALS.get(who))
            self.record(f"{name}: CPU", "us/req", costs[ours_name], costs[who], who, INGRESS_GOALS.get(who), "less")


def line(r):
    goal = "" if r["goal"] is None else f"  goal {r['goal']:.2f} {'ok' if r['ratio'] >= r['goal'] else 'MISSED'}"
    spread = f"{min(r['oursSamples']):,.4g}..{max(r['oursSamples']):,.4g}"
    return (f"{r['row']:32} {r['ours']:12,.4g} ({spread}) {r['unit']:6} {r['peerName']:14} {r['peer']:12,.4g}"
            f"  ratio {r['ratio']:.2f}{goal}")


# --- rows

@row("tunnel-bulk")
def tunnel_bulk(b):
    target = b.keep(peers.iperf_server())
    ours, _, _ = b.tunnel(target)
    bbr, _, _ = b.tunnel(target, tunnel={"tlsCongestion": "bbr"})  # what loopback is spared
    pair = b.keep(peers.haproxy_pair(b.folder, b.certificate, target))
    for streams, goal in ((1, 1.5), (8, 1.1)):
        for down in (False, True):
            b.interleave(f"tunnel bulk {'down' if down else 'up'} x{streams}", "GB/s", {
                "penstock": lambda: iperf(ours, b.secs, streams, down),
                "haproxy pair": lambda: iperf(pair, b.secs, streams, down),
                "ours, bbr": lambda: iperf(bbr, b.secs, streams, down)}, {"haproxy pair": goal})


@row("tunnel-ceiling")
def tunnel_ceiling(b):
    """Beside hop.c: a hop with no flow control, authority, timers or log, with and without TLS.  What
    ours costs more is what those cost; 10 to 15 % was planned."""
    bulk, web = b.keep(peers.iperf_server()), b.keep(peers.lean_origin())
    ports = {"penstock": (b.tunnel(bulk)[0], None)}
    ports["penstock"] = (ports["penstock"][0], b.tunnel(web)[0])
    for name, flags in (("hop, TLS", ()), ("hop, plain", ("--plain",))):
        ports[name] = tuple(b.keep(peers.hop_pair(target, *flags)) for target in (bulk, web))
    goals, rounds = {"hop, TLS": 0.85}, min(b.rounds, 3)
    for streams, down in ((1, False), (8, True)):
        b.interleave(f"ceiling bulk {'down' if down else 'up'} x{streams}", "GB/s", {
            name: (lambda port=port: iperf(port, b.secs, streams, down)) for name, (port, _) in ports.items()}, goals, rounds=rounds)
    for what, headers in (("keep-alive c64", ()), ("new connection", ("Connection: close",))):
        b.interleave(f"ceiling requests {what}", "req/s", {
            name: (lambda port=port: wrk(f"http://127.0.0.1:{port}/", b.secs, 64, *headers).rate)
            for name, (_, port) in ports.items()}, goals, rounds=rounds)


@row("tunnel-requests")
def tunnel_requests(b):
    """Beside the bare hop without TLS, too: what of a ratio the machine has to give."""
    target = b.keep(peers.lean_origin())
    ports = {"penstock": b.tunnel(target)[0], "haproxy pair": b.keep(peers.haproxy_pair(b.folder, b.certificate, target)),
             "hop, plain": b.keep(peers.hop_pair(target, "--plain"))}
    for what, headers, goal in (("keep-alive c64", (), 1.5), ("new connection", ("Connection: close",), 6.0)):
        b.interleave(f"tunnel requests {what}", "req/s", {
            name: (lambda port=port: wrk(f"http://127.0.0.1:{port}/", b.secs, 64, *headers).rate)
            for name, port in ports.items()}, {"haproxy pair": goal})


def half_load(b, name, urls, goals, threads=1):
    """p99 at half of the slowest one's best rate.  On a machine that others use as well this may be more than what it
    bears a second later: then all of it once more, and at last not at all."""
    for tries_left in reversed(range(HALF_LOAD_TRIES)):
        best = min(wrk(url, b.secs, 64).rate for url in urls.values())
        try:
            return b.interleave(name, "ms", {
                who: (lambda url=url: paced(url, best / 2, b.secs, b.folder / "paced.log", threads=threads))
                for who, url in urls.items()}, goals, better="less")
        except Behind as behind:
            if not tries_left:
                raise peers.Missing(f"half load was not borne {HALF_LOAD_TRIES} times: {behind}") from behind


@row("tunnel-latency")
def tunnel_latency(b):
    target = b.keep(peers.lean_origin())
    ours, _, _ = b.tunnel(target)
    pair = b.keep(peers.haproxy_pair(b.folder, b.certificate, target))
    half_load(b, "tunnel p99 at half load", {
        "penstock": f"http://127.0.0.1:{ours}/", "haproxy pair": f"http://127.0.0.1:{pair}/"}, {"haproxy pair": 1.0})


def ingresses(b, target=None, **more):
    """name -> (port, pid)"""
    target = target or b.keep(peers.lean_origin())
    port, traffic = b.traffic(target)
    found = {"penstock": (port, traffic.pid)}
    for name, start in (("haproxy", peers.haproxy_https), ("nginx", peers.nginx_https)):
        port, (process,) = start(b.folder, b.certificate, target, **more.get(name, {}))
        found[name] = (b.keep((port, [process])), process.child.pid)
    return found


@row("https")
def https(b):
    """Beside the bare relay, too: what of a rate the machine has to give."""
    target = b.keep(peers.lean_origin())
    found = ingresses(b, target)
    port, (process,) = peers.tls_relay(b.certificate, target)
    found["bare relay"] = (b.keep((port, [process])), process.child.pid)
    for path, size in (("/", "128 B"), ("/1k", "1 KiB")):
        b.interleave_requests(f"https keep-alive c64 {size}", {
            name: ((lambda port=port: wrk(f"https://{HOST}:{port}{path}", b.secs, 64)), pid)
            for name, (port, pid) in found.items()})


@row("h2")
def h2(b):
    found = ingresses(b, haproxy={"alpn": "h2"}, nginx={"http2": "http2"})
    for connections, streams in ((64, 1), (16, 8)):  # as many as the kept connections to the origin
        b.interleave_requests(f"h2 keep-alive c{connections} x{streams} 1 KiB", {
            name: ((lambda port=port: h2load(f"https://{HOST}:{port}/1k", b.secs, connections, streams)), pid)
            for name, (port, pid) in found.items()})


@row("https-large")
def https_large(b):
    ingress.large(b, HOST)


@row("https-latency")
def https_latency(b):
    half_load(b, "https p99 at half load", {
        name: f"https://{HOST}:{port}/" for name, (port, _) in ingresses(b).items()}, {"haproxy": 1.0, "nginx": 1.0}, THREADS)


@row("handshakes")
def handshakes(b):
    ingress.handshakes(b, HOST)


@row("idle-tls")
def idle_tls(b):
    ingress.idle(b, HOST)


@row("many-routes")
def many_routes(b):
    many.rows(b)


@row("swaps")
def swaps(b):
    many.swapped(b)


@row("growth-streams")
def growth_streams(b):
    growth.streams(b)


@row("growth-edges")
def growth_edges(b):
    growth.edges(b)


@row("quic-bulk", on_demand=True)
def quic_bulk(b):
    tunnels.quic_bulk(b)


@row("quic-requests", on_demand=True)
def quic_requests(b):
    tunnels.quic_requests(b)


@row("tunnels", on_demand=True)
def others(b):
    tunnels.others(b)


@row("udp", on_demand=True)
def udp(b):
    datagrams.rows(b)


@row("link", on_demand=True)
def link(b):
    links.rows(b)


def machine():
    with contextlib.suppress(OSError):
        model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text()).group(1)
        kernel = re.match(r"[\d.]*\d", pathlib.Path("/proc/sys/kernel/osrelease").read_text()).group()
        cores = len(re.findall(r"^processor", pathlib.Path("/proc/cpuinfo").read_text(), re.M))
        congestion = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
        return f"{model}, {cores} cores, Linux {kernel}, TCP {congestion}, loopback"
    return "unknown"


def write(folder, results):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = [f"Machine: {machine()}. Median of {len(results[0]['oursSamples']) if results else 0} interleaved rounds; in brackets the spread.\n",
             "| row | ours | peer | | ratio | goal |", "| --- | --- | --- | --- | --- | --- |"]
    for r in results:
        lines.append(f"| {r['row']} | {r['ours']:,.4g} {r['unit']} ({min(r['oursSamples']):,.3g}..{max(r['oursSamples']):,.3g}) "
                     f"| {r['peer']:,.4g} ({min(r['peerSamples']):,.3g}..{max(r['peerSamples']):,.3g}) | {r['peerName']} "
                     f"| **{r['ratio']:.2f}** | {'' if r['goal'] is None else r['goal']} |")
    (folder / "results.md").write_text("\n".join(lines) + "\n")
    (folder / "results.svg").write_text(plot.bars(results))


def paste(document, table):
    """The table into its marked place of a document."""
    text = document.read_text()
    begin, end = text.index("-->\n", text.index("<!-- results:")) + 4, text.index("<!-- results end -->")
    document.write_text(f"{text[:begin]}\n{table}\n{text[end:]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default=",".join(r for r in ROWS if r not in ON_DEMAND))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=SOURCE / "build" / "bench")
    parser.add_argument("--doc", type=pathlib.Path, help="also paste the table there: docs/performance.md")
    options = parser.parse_args()
    wanted = [r for r in options.rows.split(",") if r]
    unknown = [r for r in wanted if r not in ROWS]
    if unknown:
        sys.exit(f"bench: no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if not netns.stand_alone():
        print("bench: no network namespace of our own (it takes root): the machine's firewall is measured, too")
    results = []
    for name in wanted:
        with contextlib.ExitStack() as stacks:
            b = Bench(options, stacks)
            try:
                ROWS[name](b)
            except peers.Missing as missing:
                print(f"{name}: not run: {missing}")
            finally:
                b.end()
            results += b.results
    write(options.out, results)
    if options.doc:
        paste(options.doc, (options.out / "results.md").read_text())
    print(f"\n{options.out}/results.json, .md, .svg")


if __name__ == "__main__":
    main()
