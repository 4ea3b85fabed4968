"""What the end-to-end tests of UDP share: targets and clients of datagrams."""
import contextlib
import ipaddress
import random
import socket
import struct
import threading

import e2e
from e2e import penstock

SIZES = (0, 1, 512, 1200, 1472, 1473, 9000, 16375, 40000, 65507)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def split_header(data):
    """A PROXY v2 header in front of a datagram: ((source, port), (destination, port)), the rest; (None, data)
    without one."""
    if not data.startswith(SIGNATURE):
        return None, data
    command, family, length = struct.unpack("!BBH", data[12:16])
    if command != 0x21 or family not in (0x12, 0x22):
        raise e2e.Failure(f"a header of {command:#x} {family:#x}")
    size = 4 if family == 0x12 else 16
    source, destination = (str(ipaddress.ip_address(data[16 + i * size:16 + (i + 1) * size])) for i in range(2))
    ports = struct.unpack("!HH", data[16 + 2 * size:16 + 2 * size + 4])
    return ((source, ports[0]), (destination, ports[1])), data[16 + length:]


class UdpTarget:
    """A UDP server: `answer(data, peer)` gives a list of datagrams to send back; the default is an echo of
    what is no bare PROXY header.  .seen: (data, peer) of each that came."""

    def __init__(self, host="127.0.0.1", port=0, answer=None):
        self.answer = answer or self.echo
        self.seen, self.changed = [], threading.Condition()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((host, port))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @staticmethod
    def echo(data, peer):
        header, rest = split_header(data)
        return [] if header and not rest else [rest]

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(65536)
                if data == b"\0end\0" and self.is_closing:
                    return
                with self.changed:
                    self.seen.append((data, peer))
                    self.changed.notify_all()
                for one in self.answer(data, peer):
                    with contextlib.suppress(OSError):
                        self.socket.sendto(one, peer)

    is_closing = False

    def wait(self, count, secs=e2e.SECS):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.seen) >= count, secs):
                raise e2e.Failure(f"{len(self.seen)} of {count} datagrams came")
            return list(self.seen)

    def close(self):
        if self.is_closing:
            return
        self.is_closing = True
        with contextlib.suppress(OSError):  # close() alone does not wake recvfrom()
            self.socket.sendto(b"\0end\0", self.socket.getsockname())
        self.thread.join(e2e.SECS)
        self.socket.close()


def client(port, host="127.0.0.1", bind=None, secs=e2e.SECS):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(secs)
    if bind:
        s.bind((bind, 0))
    s.connect((host, port))
    return s


def ask(s, data, tries=1, secs=e2e.SECS):
    """Sends, waits for the same back; answers to earlier tries are passed over.  How many tries it took."""
    for left in range(tries - 1, -1, -1):
        s.send(data)
        s.settimeout(secs if left == 0 else 1)
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            while True:
                if s.recv(65536) == data:
                    return tries - left
    raise e2e.Failure(f"no echo of {len(data)} bytes")


class Case(e2e.Case):
    def target(self, *args, **kwargs):
        target = UdpTarget(*args, **kwargs)
        self.addCleanup(target.close)
        return target

    def client(self, *args, **kwargs):
        s = client(*args, **kwargs)
        self.addCleanup(s.close)
        return s

    def assert_sizes(self, s):
        rng = random.Random(7)
        for size in SIZES + SIZES[::-1]:
            data = rng.randbytes(size)
            s.send(data)
            self.assertEqual(s.recv(65536), data, f"{size} bytes")

    def wait_udp_ports(self, edge, ports, secs=e2e.SECS):
        e2e.wait_for(f"the edge's UDP ports {sorted(ports)}",
                     lambda: edge.status()["listenPortsUdp"] == sorted(ports), secs)

    def udp_tunnel(self, targets, mode="off", edge=None, hub=None, fields=None, at=None):
        """A hub and an edge with a UDP port for each target; sets self.hub, self.edge, self.ports."""
        self.ports = [penstock.free_port() for _ in targets]
        conf = {"target": {"portsUdp": dict(zip(map(str, self.ports), targets)), "proxyProtocolUdp": mode}}
        penstock.merge(conf, hub or {})
        self.hub = self.stack.hub({}, **conf)
        self.token = self.stack.register(self.hub, "e1", [], at=at, listenPortsUdp=self.ports, **(fields or {}))
        self.edge = self.stack.edge(self.token, **(edge or {}))
        self.wait_udp_ports(self.edge, self.ports)
        self.wait_lanes(self.edge)
