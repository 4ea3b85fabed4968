"""The main job: a browser's request crosses edge, tunnel, hub and traffic and comes back."""
import asyncio
import hashlib
import json
import ssl
import subprocess
import unittest

import e2e
from e2e import penstock

MB = 1 << 20


class MainJob(e2e.Case):
    def test_request_carries_the_clients_address(self):
        self.whole_path()
        seen = json.loads(self.curl("/hello?x=1"))
        headers = {k.lower(): v for k, v in seen["headers"]}
        self.assertEqual(seen["target"], "/hello?x=1")
        self.assertEqual(headers["x-forwarded-for"], "127.0.0.9")
        self.assertEqual(headers["x-forwarded-proto"], "https")
        self.assertEqual(headers["x-forwarded-host"], f"app.example.test:{self.https_port}")
        self.assertIn("for=127.0.0.9", headers["forwarded"])
        answer = self.curl("/", "-D", "-", "-o", "/dev/null").decode().lower()
        self.assertIn("servezone_coretraffic_version: ", answer)

    def test_spoofed_address_is_removed(self):
        self.whole_path()
        seen = json.loads(self.curl("/", "-H", "X-Forwarded-For: 6.6.6.6", "-H", "Forwarded: for=6.6.6.6",
                                    "-H", "X-Real-IP: 6.6.6.6", "-H", "X_Forwarded_For: 6.6.6.6"))
        self.assertNotIn("6.6.6.6", json.dumps(seen))

    def test_http_is_redirected(self):
        self.whole_path(traffic={"http": {"redirectPort": 8443}})
        done = subprocess.run(
            ["curl", "-sS", "-D", "-", "-o", "/dev/null", "--max-time", "20", "--resolve",
             f"app.example.test:{self.http_port}:127.0.0.1", f"http://app.example.test:{self.http_port}/a/b?c=d"],
            capture_output=True, check=True)
        head = done.stdout.decode()
        self.assertIn(" 301 ", head.splitlines()[0])
        self.assertIn("\nlocation: https://app.example.test:8443/a/b?c=d\r", head.lower())
        self.assertNotIn("servezone_coretraffic_version", head.lower())

    def test_basic_auth_before_the_origin(self):
        self.whole_path(authentication={"type": "Basic", "user": "ann", "pass": "top:secret"})
        before = int(self.curl("/count", "-u", "ann:top:secret"))
        for options in ([], ["-u", "ann:wrong"], ["-u", "bob:top:secret"]):
            head = self.curl("/", *options, "-D", "-", "-o", "/dev/null").decode()
            self.assertIn(" 401 ", head.splitlines()[0])
            self.assertIn('realm="app.example.test"', head)
        self.assertEqual(int(self.curl("/count", "-u", "ann:top:secret")), before + 1)
        seen = json.loads(self.curl("/", "-u", "ann:top:secret"))
        self.assertNotIn("authorization", [k.lower() for k, _ in seen["headers"]])

    def test_version_header_switched_off(self):
        self.whole_path(traffic={"versionHeader": ""},
                        authentication={"type": "Basic", "user": "ann", "pass": "secret"})
        for protocol in ("--http1.1", "--http2"):
            for options, status in (([], " 401"), (["-u", "ann:secret"], " 200")):
                head = self.curl("/", protocol, *options, "-D", "-", "-o", "/dev/null").decode().lower()
                self.assertIn(status, head.splitlines()[0])
                self.assertNotIn("version", head)

    def test_100_mb_down_and_up_keep_their_checksum(self):
        self.whole_path()
        n = 100 * MB
        file = self.stack.folder / "down"
        self.curl(f"/bytes/{n}", "-o", str(file), secs=240)
        data = file.read_bytes()
        pattern = bytes(range(251)) * 261
        expected = (pattern * (n // len(pattern) + 1))[:n]
        self.assertEqual(hashlib.sha256(data).hexdigest(), hashlib.sha256(expected).hexdigest())
        seen = json.loads(self.curl("/up", "--data-binary", f"@{file}", "-H", "Expect:", secs=240))
        self.assertEqual(seen["bodyBytes"], n)
        self.assertEqual(seen["bodySha256"], hashlib.sha256(expected).hexdigest())

    def test_unknown_name_is_refused_in_the_handshake(self):
        self.whole_path()
        context = penstock.tls_context()
        with e2e.connect(self.https_port) as s:
            with self.assertRaises(ssl.SSLError) as refused:
                context.wrap_socket(s, server_hostname="other.example.test")
        self.assertIn("UNRECOGNIZED_NAME", str(refused.exception).upper().replace(" ", "_"))

    def test_websocket_echoes(self):
        self.whole_path()
        context = penstock.tls_context(self.certificate)
        with e2e.connect(self.https_port) as plain, \
                context.wrap_socket(plain, server_hostname="app.example.test") as s:
            s.sendall(f"GET /ws HTTP/1.1\r\nHost: app.example.test:{self.https_port}\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                      "Sec-WebSocket-Version: 13\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += e2e.receive(s, 1)
            self.assertIn(b" 101 ", head.split(b"\r\n")[0])
            self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", head)
            s.sendall(b"\x81\x85\x01\x02\x03\x04" + bytes(a ^ b for a, b in zip(b"hello", b"\1\2\3\4\1")))
            self.assertEqual(e2e.receive(s, 7), b"\x81\x05hello")

    def test_2000_clients_at_once(self):
        self.whole_path()
        context = penstock.tls_context(self.certificate)
        n, opened, may_ask = 2000, 0, None

        async def one(gate):
            nonlocal opened
            async with gate:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.https_port, ssl=context, server_hostname="app.example.test",
                    ssl_handshake_timeout=120)
            opened += 1
            if opened == n:
                may_ask.set()
            await may_ask.wait()  # all of them are open now
            writer.write(f"GET /c HTTP/1.1\r\nHost: app.example.test:{self.https_port}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            return answer

        async def all_of_them():
            nonlocal may_ask
            may_ask = asyncio.Event()
            gate = asyncio.Semaphore(200)
            return await asyncio.gather(*(one(gate) for _ in range(n)))

        answers = e2e.run_async(all_of_them(), 240)
        self.assertEqual(sum(a.startswith(b"HTTP/1.1 200 ") for a in answers), n)
        self.assertEqual(self.edge.metric("penstock_edge_streams_opened_total"), n)


if __name__ == "__main__":
    unittest.main(verbosity=2)
