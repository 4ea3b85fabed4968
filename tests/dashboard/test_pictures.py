"""The dashboard's pictures: a hub with edges that work, in a network of its own (so that they have public
addresses and the ports that people know), and what it looks like.  They are made in each run and thrown away;
with PENSTOCK_PICTURES=1 they are what docs/dashboard.md shows, with a history of two minutes.

Not run (exit status 77) where Chromium, its driver, Selenium or network namespaces cannot be had.
"""
import math
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import dashboard_stand as stand
from dashboard_stand import chromium, e2e

FOR_DOCS = os.environ.get("PENSTOCK_PICTURES") == "1"
SAMPLES = 60 if FOR_DOCS else 4
BYTES_MAX = 150_000
EDGES = {  # its address, and where it reaches the hub
    "ams-1": ("203.0.113.24", "10.0.0.11"), "fra-1": ("203.0.113.10", "10.0.0.12"), "fra-2": ("203.0.113.11", "10.0.0.13"),
    "nyc-1": ("198.51.100.61", "10.0.0.14"), "sin-1": ("192.0.2.180", "10.0.0.15")}


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def answer(s):
    """As many bytes as each request wants; it brings a third of that."""
    while True:
        wanted, = struct.unpack("!I", e2e.receive(s, 4))
        e2e.receive(s, wanted // 3)
        s.sendall(b"x" * wanted)


class Client(threading.Thread):
    """Asks an edge's port 443 again and again, for more and less: `mean` bytes a turn."""

    def __init__(self, address, mean, phase, period):
        super().__init__(daemon=True)
        self.socket = socket.create_connection((address, 443), stand.SECS)
        self.mean, self.phase, self.period = mean, phase, period
        self.must_stop = threading.Event()
        self.start()

    def run(self):
        try:
            while not self.must_stop.wait(0.1):
                turn = 2 * math.pi * (time.monotonic() / self.period + self.phase)
                wanted = int(self.mean * (1 + 0.55 * math.sin(turn) + 0.25 * math.sin(2.7 * turn)))
                self.socket.sendall(struct.pack("!I", wanted) + b"x" * (wanted // 3))
                e2e.receive(self.socket, wanted)
        except (OSError, e2e.Failure):
            pass
        finally:
            self.socket.close()


class Questioner(threading.Thread):
    """Sends a datagram to an edge's port 53 each second: its session stays."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.must_stop = threading.Event()
        self.start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not self.must_stop.wait(1):
                s.sendto(b"x" * 40, (self.address, 53))


class Pictures(stand.Case):
    def setUp(self):
        super().setUp()
        for address, reached in EDGES.values():
            ip("address", "add", address, "dev", "lo")
            ip("address", "add", reached, "dev", "lo")
            ip("route", "del", "local", reached, "dev", "lo", "table", "local")
            ip("route", "add", "local", reached, "dev", "lo", "table", "local", "src", address)
        self.clients = []

    def load(self, address, mean, count=1, period=37):
        self.clients += [Client(address, mean / count, n / 7, period + 5 * n) for n in range(count)]

    def start(self):
        target = e2e.Target(answer)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        for thing in (target, udp):
            self.addCleanup(thing.close)
        self.start_hub({80: target.port, 443: target.port}, tunnel={"listen": "0.0.0.0:8443"},
                       target={"portsUdp": {"53": udp.getsockname()[1]}, "proxyProtocolUdp": "off"})
        taken = socket.create_server((EDGES["nyc-1"][0], 8080))
        self.addCleanup(taken.close)
        fields = {"nyc-1": {"listenPorts": [80, 443, 8080]}, "sin-1": {"listenPortsUdp": [53]}, "fra-1": {"listenPortsUdp": [53]}}
        edges = {}
        for name, (address, reached) in EDGES.items():
            token = self.stack.register(self.hub, name, fields.get(name, {}).get("listenPorts", [80, 443]), at=(reached, 8443),
                                        listenPortsUdp=fields.get(name, {}).get("listenPortsUdp", []))
            edges[name] = self.stack.edge(token, bindAddress=address, instance=f"{name}-a", workers=2,
                                          transportMode="tcpTls" if name == "sin-1" else "quicWithFallback")
        self.stack.register(self.hub, "lab", [8000, 8001, 8002, 8003], enabled=False)
        self.stack.register(self.hub, "par-1", [80, 443])
        for name, edge in edges.items():
            self.wait_ports(edge, [80, 443])
        for name, mean, count in (("fra-1", 90_000, 5), ("ams-1", 55_000, 3), ("sin-1", 12_000, 1), ("nyc-1", 25_000, 2)):
            self.load(EDGES[name][0], mean, count)
        self.clients += [Questioner(EDGES[name][0]) for name in ("sin-1", "fra-1")]
        edges["fra-2"].stop()

    def picture(self, name, **clip):
        """Of the window, or of a part of it."""
        self.settle()
        path = self.stack.folder / f"dashboard-{name}.png"
        self.browser.picture(path, **clip)
        self.assertGreater(path.stat().st_size, 10_000)
        self.assertLess(path.stat().st_size, BYTES_MAX)
        if FOR_DOCS:
            shutil.copy(path, e2e.SOURCE / "docs" / "images" / path.name)

    def wait_history(self, samples):
        self.browser.wait_js(f"{samples} samples", """
            const path = document.querySelector('#tile-spark .line-in').getAttribute('d') ?? '';
            return path.split('L').length >= arguments[0];""", samples, secs=200)

    def test_pictures(self):
        b = self.browser
        self.start()
        self.open()
        b.size(1280, 800)
        self.wait_row("sin-1", State="Connected", Transport="TLS", Public_address="192.0.2.180", Streams="1 + 1 UDP")
        self.wait_row("fra-1", State="Connected", Transport="QUIC", Public_address="203.0.113.10", Streams="5 + 1 UDP")
        self.wait_state("nyc-1", "Port trouble")
        self.wait_state("fra-2", "Not connected")
        self.wait_history(SAMPLES)
        b.js("document.activeElement.blur()")
        b.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=640, y=4)  # over no row
        self.picture("light")
        b.scheme("dark")
        self.picture("dark")
        b.scheme("light")
        self.sheet("fra-1")
        b.wait("#streams")
        self.picture("edge", x=640, y=0, width=640, height=800)
        b.click("Close")
        b.size(390, 844, mobile=True, scale=1.5)
        b.js("scrollTo(0, 0)")
        self.picture("phone")
        for client in self.clients:
            client.must_stop.set()
            client.join(stand.SECS)


if __name__ == "__main__":
    why = chromium.why_not()
    if why:
        e2e.not_run(why)
    e2e.main_in_namespace()
