"""The rows of many routes: how long until 5,000 hosts are served, each with a certificate of its own (by itself, and
with an intermediate one), and the memory that they take.  The peers read files at their start, ours takes one PUT;
both are over when a handshake shows the certificate of the last host.  And how long a change of them takes, under
load, beside what is promised (swaps.py)."""
import json
import socket
import ssl
import time

from ingress import resident
import peers
from peers import penstock
import swaps

ROUTES = 5_000
SUFFIX = "example.test"
SECS = 120
SWAPS_A_SEC = 10  # of those that a round has: not in that time, but at 100 a minute


def wait_served(port, host, chain):
    expected = peers.leaf(chain)
    end = time.monotonic() + SECS
    while True:
        try:
            if show(port, host) == expected:
                return
        except OSError:
            pass  # it is not listening yet
        if time.monotonic() > end:
            raise penstock.Failure(f"port {port} does not serve {host}")
        time.sleep(0.01)


def show(port, host):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=host) as s:
        return s.getpeercert(True)


def rows(b):
    target = b.keep(peers.nginx_origin(b.folder))
    for chains, title in ((False, ""), (True, " with chains")):
        served(b, target, f"{ROUTES} routes{title}", peers.certificates(ROUTES, SUFFIX, chains))


def served(b, target, title, certs):
    hosts = [f"h{i}.{SUFFIX}" for i in range(ROUTES)]
    last = certs[-1][0]

    def ours():
        with penstock.Stack() as stack:
            traffic = stack.traffic(proxyProtocol={"trusted": []}, log={"access": False})
            before = resident(traffic.pid)
            body = json.dumps({"routes": [
                {"hostName": host, "destinationIps": ["127.0.0.1"], "destinationPorts": [target],
                 "publicKey": chain, "privateKey": key} for host, (chain, key) in zip(hosts, certs)]})
            begun = time.monotonic()
            traffic.api("PUT", "/v1/routes", body, expect=200, timeout=SECS)
            wait_served(traffic.address("https")[1], hosts[-1], last)
            return time.monotonic() - begun, (resident(traffic.pid) - before) / 1e6

    def peer(start):
        def measure():
            begun = time.monotonic()
            port, (process,) = start(b.folder, hosts, certs, target)
            try:
                wait_served(port, hosts[-1], last)
                return time.monotonic() - begun, resident(process.child.pid) / 1e6
            finally:
                process.end()
        return measure

    peers.many_files(b.folder, hosts, certs)
    contestants = {"penstock": ours, "haproxy": peer(peers.haproxy_many), "nginx": peer(peers.nginx_many)}
    taken = b.take(title, contestants, min(b.rounds, 3))
    for at, (what, unit) in enumerate((("until served", "s"), ("memory", "MB"))):
        b.compare(f"{title} {what}", unit, {who: [s[at] for s in samples] for who, samples in taken.items()}, {}, "less")


def swapped(b):
    """100 sets a minute; a round's p99 is that of few, which is the slowest of them."""
    rounds = [swaps.measure(ROUTES, SWAPS_A_SEC * b.secs, SWAPS_A_SEC * b.secs * 0.6) for _ in range(min(b.rounds, 3))]
    for what, key, limit in ((f"{ROUTES} routes", "served_ms", swaps.FULL_MS), ("one route", "edited_ms", swaps.ONE_MS)):
        b.record(f"swap of {what}: p99 until served", "ms", [swaps.percentile(r[key], 0.99) for r in rounds], [limit],
                 "what is promised", 1.0, "less")
