"""STUN: what an edge learns of its address from a real server (coturn) and from servers that do not answer
as they should, and who is told."""
import os
import shutil
import socket
import struct
import subprocess
import threading
import unittest
import zlib

import e2e
from e2e import penstock, wait_for

COOKIE = 0x2112A442
MUTE, GARBAGE, WRONG_ID, LATE = "mute", "garbage", "wrong id", "late"
FAST = {"rtoMs": 20, "tries": 3}  # silent after 20 + 40 + 320 ms


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


class Server(threading.Thread):
    """A server of ours: .says is an address, or how it fails."""

    def __init__(self, says):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "%s:%d" % self.socket.getsockname()
        self.says, self.requests, self.faults = says, [], []
        self.start()

    def answer(self, request):
        """The right answer to it."""
        xored = struct.unpack("!I", socket.inet_aton(self.says if self.says[0].isdigit() else "192.0.2.99"))[0]
        body = struct.pack("!HHBBHI", 0x20, 8, 0, 1, 1234 ^ COOKIE >> 16, xored ^ COOKIE)
        head = struct.pack("!HHI12s", 0x101, len(body) + 8, COOKIE, request[8:20])
        return head + body + struct.pack("!HHI", 0x8028, 4, zlib.crc32(head + body) ^ 0x5354554E)

    def check(self, request):
        type_, length, cookie = struct.unpack("!HHI", request[:8])
        crc = struct.unpack("!I", request[-4:])[0]
        if (type_, length, cookie) != (1, len(request) - 20, COOKIE) or crc != zlib.crc32(request[:-8]) ^ 0x5354554E:
            self.faults.append(request.hex())

    def run(self):
        while True:
            try:
                request, peer = self.socket.recvfrom(2048)
            except OSError:
                return
            if not request:
                return
            self.check(request)
            self.requests.append((request, peer))
            answer, says = self.answer(request), self.says
            if says == WRONG_ID:
                answer = answer[:8] + bytes(12) + answer[20:]
            elif says == GARBAGE:
                answer = b"\xff" * 64
            elif says == LATE:  # the first transaction's answer, when the second one is asked
                first = self.requests[0][0]
                answer = self.answer(first) if request[8:20] != first[8:20] else b""
            if says != MUTE and answer:
                self.socket.sendto(answer, peer)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.socket.getsockname())
        self.join(e2e.SECS)
        self.socket.close()


class Stun(e2e.Case):
    def server(self, says):
        server = Server(says)
        self.addCleanup(server.close)
        return server

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

    def result(self, edge, result):
        return edge.metric("penstock_edge_stun_requests_total", result=result)

    def test_coturn(self):
        coturn = Coturn(self.stack.folder)
        self.addCleanup(coturn.close)
        hub, edge = self.edge_of(coturn.address)
        self.wait_ip(hub, edge, "127.0.0.1")
        self.assertEqual(self.result(edge, "ok"), 1)
        self.assertEqual(len(edge.events("public_ip", address="127.0.0.1")), 1)

    def test_coturn_by_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
                s.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 here")
        coturn = Coturn(self.stack.folder, "::1")
        self.addCleanup(coturn.close)
        hub, edge = self.edge_of(coturn.address)
        self.wait_ip(hub, edge, "::1")

    def test_a_change_is_seen_at_the_next_interval(self):
        server = self.server("127.0.0.1")
        hub, edge = self.edge_of(server.address, interval=1)
        self.wait_ip(hub, edge, "127.0.0.1")
        server.says = "127.0.0.2"
        self.wait_ip(hub, edge, "127.0.0.2")
        self.assertEqual(server.faults, [])
        self.assertGreater(len({r[8:20] for r, _ in server.requests}), 1)

    def test_the_hub_ends_and_begins_it(self):
        server = self.server("127.0.0.1")
        hub, edge = self.edge_of(server.address, interval=0)
        self.wait_ip(hub, edge, "127.0.0.1")  # the edge's own first question
        server.says = "127.0.0.2"
        hub.api("PATCH", "/v1/edges/e1", {"stunIntervalSecs": 1}, expect=200)
        self.wait_ip(hub, edge, "127.0.0.2")

    def test_the_event(self):
        server = self.server(MUTE)
        hub, edge = self.edge_of(server.address, interval=1, **FAST)
        host, port = edge.address("management")
        with socket.create_connection((host, port), e2e.SECS) as s:
            s.sendall(f"GET /v1/events?types=publicIpDiscovered HTTP/1.1\r\nHost: {host}\r\n"
                      f"Authorization: Bearer {edge.token(read=True)}\r\n\r\n".encode())
            data = s.recv(4096)
            self.assertIn(b" 200 ", data)
            server.says = "127.0.0.3"
            while b'"publicIp":"127.0.0.3"' not in data.replace(b" ", b""):
                piece = s.recv(4096)
                self.assertTrue(piece, data)
                data += piece
        self.assertIn(b"publicIpDiscovered", data)
        self.wait_ip(hub, edge, "127.0.0.3")

    def fails(self, says):
        """The tunnel does not mind, it is said once, and the next good answer counts."""
        server = self.server(says)
        hub, edge = self.edge_of(server.address, interval=1, **FAST)
        wait_for("two failures", lambda: self.result(edge, "timeout") >= 2)
        self.assertTrue(edge.status()["connected"])
        self.assertIsNone(edge.status()["publicIp"])
        self.assertIsNone(hub.status()["connectedEdges"][0]["publicIp"])
        self.assertEqual(len(edge.events("stun_failed", why="timeout")), 1)
        self.assertEqual(edge.metric("penstock_edge_stun_ignored_total") > 0, says != MUTE)
        server.says = "127.0.0.4"
        self.wait_ip(hub, edge, "127.0.0.4")

    def test_never(self):
        self.fails(MUTE)

    def test_garbage(self):
        self.fails(GARBAGE)

    def test_the_wrong_transaction_id(self):
        self.fails(WRONG_ID)

    def test_an_answer_to_the_question_before(self):
        self.fails(LATE)

    def cannot(self, address, result):
        _, edge = self.edge_of(address)
        wait_for(result, lambda: self.result(edge, result) == 1)
        self.assertTrue(edge.status()["connected"])

    def test_a_name_that_is_none(self):
        self.cannot("no-such-host.invalid", "unresolved")

    def test_a_port_that_nobody_has(self):
        self.cannot("127.0.0.1:1", "unreachable")

    def test_a_question_has_the_only_socket(self):
        server = self.server(MUTE)
        hub, edge = self.edge_of(server.address, rtoMs=60000)
        wait_for("a request", lambda: server.requests)
        self.wait_lanes(edge)
        before = edge.open_files()
        server.says = "127.0.0.5"
        request, peer = server.requests[0]
        server.socket.sendto(server.answer(request), peer)
        self.wait_ip(hub, edge, "127.0.0.5")
        wait_for("its end", lambda: edge.open_files() < before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
