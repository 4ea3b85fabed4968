"""A STUN server (coturn), and an edge that asks one: for tests of the public address."""
import os
import shutil
import socket
import struct
import subprocess

import e2e
from e2e import penstock, wait_for

COOKIE = 0x2112A442


def turnserver_ports():
    """Two neighbours that are free: coturn wants the second one for itself."""
    while True:
        port = penstock.free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, socket.socket() as b:
            try:
                a.bind(("127.0.0.1", port))
                b.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                continue


class Coturn:
    """A turnserver that does STUN only, without any privilege, all its files in a folder of the test."""

    def __init__(self, folder, address="127.0.0.1"):
        port = turnserver_ports()
        self.address = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.log = open(folder / "turnserver.log", "w+")
        self.process = subprocess.Popen(
            [shutil.which("turnserver", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"),
             "-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", f"--listening-ip={address}",
             f"--relay-ip={address}", f"--listening-port={port}", "--log-file=stdout", "--simple-log",
             f"--pidfile={folder}/turnserver.pid", f"--userdb={folder}/turndb"],
            stdout=self.log, stderr=subprocess.STDOUT, cwd=folder)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            s.connect((address, port))
            wait_for("turnserver", lambda: self._answers(s))

    @staticmethod
    def _answers(s):
        request = struct.pack("!HHI12s", 1, 0, COOKIE, b"0123456789ab")
        try:
            s.send(request)
            return s.recv(1500)[8:20] == b"0123456789ab"
        except OSError:
            return False

    def close(self):
        self.process.kill()
        self.process.wait(e2e.SECS)
        self.log.close()


class Case(e2e.Case):
    def edge_of(self, address, interval=300, **stun):
        """Hub and edge that ask this server."""
        port = penstock.free_port()
        hub = self.stack.hub({port: 9})
        token = self.stack.register(hub, "e1", [port], stunIntervalSecs=interval)
        edge = self.stack.edge(token, stun={"server": address, **stun})
        self.wait_ports(edge, [port])
        return hub, edge

    def wait_ip(self, hub, edge, ip):
        """Both statuses tell it."""
        wait_for(f"{ip} at the edge", lambda: edge.status()["publicIp"] == ip)
        wait_for(f"{ip} at the hub", lambda: [e["publicIp"] for e in hub.status()["connectedEdges"]] == [ip])
