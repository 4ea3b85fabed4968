"""The row of many routes: how long until 5,000 hosts are served, each with a certificate of its own, and the
memory that they take.  The peers read files at their start, ours takes one PUT; both are over when a handshake
shows the certificate of the last host."""
import json
import socket
import ssl
import subprocess
import time

from ingress import resident
import peers
from peers import penstock

ROUTES = 5_000
SUFFIX = "example.test"
SECS = 120


def wait_served(port, host, chain):
    expected = ssl.PEM_cert_to_DER_cert(chain)
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
    lines = subprocess.run([peers.tool("certs"), str(ROUTES), SUFFIX], check=True, capture_output=True)
    certs = [json.loads(line) for line in lines.stdout.splitlines()]
    hosts = [f"h{i}.{SUFFIX}" for i in range(ROUTES)]
    target = b.keep(peers.nginx_origin(b.folder))

    def ours():
        with penstock.Stack() as stack:
            traffic = stack.traffic(proxyProtocol={"trusted": []}, log={"access": False})
            before = resident(traffic.pid)
            body = json.dumps({"routes": [
                {"hostName": host, "destinationIps": ["127.0.0.1"], "destinationPorts": [target],
                 "publicKey": chain, "privateKey": key} for host, (chain, key) in zip(hosts, certs)]})
            begun = time.monotonic()
            traffic.api("PUT", "/v1/routes", body, expect=200, timeout=SECS)
            wait_served(traffic.address("https")[1], hosts[-1], certs[-1][0])
            return time.monotonic() - begun, (resident(traffic.pid) - before) / 1e6

    def peer(start):
        def measure():
            begun = time.monotonic()
            port, (process,) = start(b.folder, hosts, certs, target)
            try:
                wait_served(port, hosts[-1], certs[-1][0])
                return time.monotonic() - begun, resident(process.child.pid) / 1e6
            finally:
                process.end()
        return measure

    peers.many_files(b.folder, hosts, certs)
    contestants = {"penstock": ours, "haproxy": peer(peers.haproxy_many), "nginx": peer(peers.nginx_many)}
    samples = {name: [measure() for _ in range(min(b.rounds, 3))] for name, measure in contestants.items()}
    for at, (what, unit) in enumerate((("until served", "s"), ("memory", "MB"))):
        for name in ("haproxy", "nginx"):
            b.record(f"{ROUTES} routes {what}", unit, [s[at] for s in samples["penstock"]],
                     [s[at] for s in samples[name]], name, None, "less")
