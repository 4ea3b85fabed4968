"""STUN: what an edge learns of its address from a real server (coturn) and from servers that do not answer
as they should, and who is told."""
import socket
import struct
import threading
import unittest
import zlib

import e2e
from e2e import wait_for
from stun_stand import COOKIE, Case, Coturn

MUTE, GARBAGE, WRONG_ID, LATE = "mute", "garbage", "wrong id", "late"
FAST = {"rtoMs": 20, "tries": 3}  # silent after 20 + 40 + 320 ms


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


class Stun(Case):
    def server(self, says):
        server = Server(says)
        self.addCleanup(server.close)
        return server

    def result(self, edge, result):
        return edge.metric("penstock_edge_stun_requests_total", result=result)

    def test_coturn(self):
        coturn = Coturn(self.stack.folder)
        self.addCleanup(coturn.close)
        hub, edge = self.edge_of(coturn.address)
        self.wait_ip(hub, edge, "127.0.0.1")
        self.assertEqual(self.result(edge, "ok"), 1)
        self.assertEqual(len(edge.events("public_ip", address="127.0.0.1")), 1)

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
        if says == MUTE:
            self.assertEqual(edge.metric("penstock_edge_stun_ignored_total"), 0)
        else:
            wait_for("what was ignored", lambda: edge.metric("penstock_edge_stun_ignored_total") > 0)
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
