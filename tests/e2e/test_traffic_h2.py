"""HTTP/2 through traffic: what a client and an origin see of each other, on the real program.

curl and h2load where a program of others is the better witness, python3-h2 where every frame counts.
"""
import base64
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
import unittest

from h2_client import ACK, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, H2, HEADERS, PING, Frames
from traffic_stand import HOST, SECS, Stand, early, ok, stack

VERSION = "servezone_coretraffic_version"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def program(name):
    path = shutil.which(name)
    if not path:
        raise AssertionError(f"{name} is not installed: scripts/deps.sh run test")
    return path


def curl(stand, *options, secs=120, body=None):
    """`body`: what it reads of its own input."""
    port = stand.https[1]
    return subprocess.run([program("curl"), "-sSk", "--http2", "--resolve", f"{HOST}:{port}:127.0.0.1", "--max-time", str(secs),
                           *options], input=body, capture_output=True, timeout=secs + 30)


def url(stand, path):
    return f"https://{HOST}:{stand.https[1]}{path}"


class Http2(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand())
        cls.origin = cls.stand.origin

    def client(self, **options):
        return H2(self.stand.https, **options)

    # --- other programs

    def test_curl(self):
        done = curl(self.stand, "-w", "%{http_version} %{http_code}", url(self.stand, "/curl?a=b"))
        self.assertEqual(done.stdout, b"GET /curl?a=b2 200", done.stderr)
        line = self.stand.traffic.wait_event("request", path="/curl?a=b")
        self.assertEqual((line["protocol"], line["method"], line["status"], line["reason"]), ("HTTP/2.0", "GET", 200, "none"))
        done = curl(self.stand, "--http1.1", "-w", "%{http_version}", url(self.stand, "/curl11"))
        self.assertTrue(done.stdout.endswith(b"1.1"), done.stdout)
        self.assertEqual(self.stand.traffic.wait_event("request", path="/curl11")["protocol"], "HTTP/1.1")

    def test_large_bodies(self):
        """100 MB each way, with checksums."""
        size = 100 << 20
        block = os.urandom(1 << 20)
        digest = hashlib.sha256(block * 100).hexdigest()

        def answer(s, request):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(100):
                s.sendall(block)
            return b""

        self.origin.answers["/down"] = answer
        self.origin.answers["/up"] = lambda s, r: ok(hashlib.sha256(r.body).hexdigest().encode())
        done = curl(self.stand, url(self.stand, "/down"))
        self.assertEqual((len(done.stdout), hashlib.sha256(done.stdout).hexdigest()), (size, digest), done.stderr)
        path = self.stand.stack.folder / "upload"
        path.write_bytes(block * 100)
        done = curl(self.stand, "-T", str(path), "-H", "Expect:", url(self.stand, "/up"))
        self.assertEqual(done.stdout.decode(), digest, done.stderr)
        done = curl(self.stand, "-T", str(path), "-H", "Expect:", "-H", "Transfer-Encoding: chunked", url(self.stand, "/up"))
        self.assertEqual(done.stdout.decode(), digest, done.stderr)
        path.unlink()

    def test_many_at_once(self):
        done = subprocess.run([program("h2load"), "-n5000", "-c4", "-m100", "-H", f":authority: {HOST}", "--connect-to",
                               f"{self.stand.https[0]}:{self.stand.https[1]}", f"https://{HOST}:{self.stand.https[1]}/many"],
                              capture_output=True, text=True, timeout=120)
        self.assertIn("5000 succeeded, 0 failed, 0 errored", done.stdout, done.stdout + done.stderr)

    # --- fields

    def test_forwarded_fields(self):
        with self.client() as c:
            a = c.get("/h2-fields?a=b", ("x-forwarded-for", "1.2.3.4"), ("x_forwarded_for", "1.2.3.4"), ("forwarded", "for=1.2.3.4"),
                      ("cookie", "a=1"), ("x-stays", b"a b \xe9"), ("cookie", "b=2"), ("te", "trailers"), ("cookie", "c=3"))
            self.assertEqual(a.status, 200)
        r = self.origin.seen("/h2-fields")[0]
        self.assertEqual(r.line, "GET /h2-fields?a=b HTTP/1.1")
        self.assertEqual(r.one("cookie"), "a=1; b=2; c=3")
        self.assertEqual((r.one("x-forwarded-for"), r.one("x-forwarded-proto"), r.one("host")), ("127.0.0.1", "https", HOST))
        self.assertEqual((r.one("te"), r.one("connection"), r.one("x-stays")), ("trailers", "TE", "a b \xe9"))
        self.assertEqual(sorted({k.lower() for k, _ in r.fields}),
                         ["connection", "cookie", "forwarded", "host", "te", "x-forwarded-for", "x-forwarded-host",
                          "x-forwarded-proto", "x-request-id", "x-stays"])

    def test_answer_fields(self):
        self.origin.answers["/h2-answer"] = (
            b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nConnection: keep-alive, X-Named\r\nX-Named: gone\r\n"
            b"Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nServeZone_coretraffic_version: forged\r\nX-Upper: Case\r\n"
            b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nok")
        with self.client() as c:
            a = c.get("/h2-answer")
        self.assertEqual((a.status, a.body, a.one("content-length")), (200, b"ok", "2"))
        self.assertEqual((a.all("set-cookie"), a.one("x-upper")), (["a=b", "c=d"], "Case"))
        self.assertNotEqual(a.one(VERSION), "forged")
        self.assertIsNotNone(a.one(VERSION))
        self.assertIsNotNone(a.one("date"))
        for gone in ("x-named", "keep-alive", "upgrade", "connection"):
            self.assertEqual(a.all(gone), [], gone)

    def test_bodiless(self):
        self.origin.answers["/h2-none"] = b"HTTP/1.1 204 No\r\n\r\n"
        self.origin.answers["/h2-same"] = b"HTTP/1.1 304 Same\r\nContent-Length: 77\r\n\r\n"
        self.origin.answers["/h2-sized"] = b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"
        with self.client() as c:
            a = c.get("/h2-none")
            self.assertEqual((a.status, a.body, a.fields if a.status != 204 else None), (204, b"", None))
            a = c.get("/h2-same")
            self.assertEqual((a.status, a.one("content-length"), a.body), (304, "77", b""))
            a = c.get("/h2-sized", method="HEAD")
            self.assertEqual((a.status, a.one("content-length"), a.body), (200, "12345", b""))
        self.assertEqual(len({r.connection for r in self.origin.seen("/h2-sized")}), 1)

    def test_trailers_both_ways(self):
        self.origin.answers["/h2-trailers"] = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + chunk(b"hello") +
            b"0\r\nX-Sum: 5\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\n")
        with self.client() as c:
            s = c.request("/h2-trailers", ("trailer", "x-in"), method="POST", end=False)
            c.send(s, b"a" * 5000)
            c.c.send_headers(s, [("x-in", "yes"), ("set-cookie", "a=b"), ("x-forwarded-for", "1.1.1.1")], end_stream=True)
            c.flush()
            a = c.wait(s)
        self.assertEqual((a.body, [tuple(t) for t in a.trailers]), (b"hello", [("x-sum", "5")]))
        r = self.origin.seen("/h2-trailers")[0]
        self.assertEqual((r.body, r.trailers, r.one("transfer-encoding")), (b"a" * 5000, [("x-in", "yes")], "chunked"))

    def test_interims_and_expect(self):
        self.origin.answers["/h2-hints"] = (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"late"))
        with self.client() as c:
            a = c.get("/h2-hints")
            self.assertEqual((a.interims, a.status, a.body), (["103"], 200, b"late"))
            s = c.request("/h2-expect", ("expect", "100-continue"), ("content-length", "4"), method="POST", end=False)
            c.until(lambda: c.answers[s].interims == ["100"])
            c.send(s, b"body", end=True)
            self.assertEqual(c.wait(s).status, 200)
        self.assertEqual(self.origin.seen("/h2-expect")[0].body, b"body")

    def test_streaming(self):
        """Each piece arrives when it is sent, before there is an end, in both directions."""
        @early
        def answer(s, request, reader):
            s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                piece = reader.exactly(int(reader.until(b"\r\n")[:-2], 16) + 2)[:-2]
                s.sendall(chunk(piece.upper()))
            reader.until(b"0\r\n\r\n")
            return b"0\r\n\r\n"
        self.origin.answers["/h2-stream"] = answer
        with self.client() as c:
            s = c.request("/h2-stream", method="POST", end=False)
            for i, word in enumerate((b"one", b"two", b"three")):
                c.send(s, word)
                c.until(lambda: c.answers[s].body.endswith(word.upper()))
            c.send(s, b"", end=True)
            self.assertEqual(c.wait(s).body, b"ONETWOTHREE")

    # --- our own answers

    def test_own_answers(self):
        with self.client() as c:
            a = c.get("/h2-421", authority="other.test")
            self.assertEqual((a.status, a.body), (421, b"421 misdirected\n"))
            a = c.get("/h2-405", method="TRACE")
            self.assertEqual((a.status, a.body), (405, b"405 method_refused\n"))
            self.assertIsNotNone(a.one("allow"))
            a = c.get("/h2-501", method="WHAT")
            self.assertEqual((a.status, a.body), (501, b"501 method_unknown\n"))
            a = c.get("/h2-host", ("host", "other.test"))
            self.assertEqual((a.status, a.body), (400, b"400 host_mismatch\n"))
            a = c.get("/h2-431", *[(f"x-{i}", "v") for i in range(101)])
            self.assertEqual((a.status, a.body), (431, b"431 too_many_fields\n"))
            a = c.get("/h2-431b", ("x", "v" * 17000))
            self.assertEqual((a.status, a.body), (431, b"431 header_too_large\n"))
            a = c.get("/h2-421", method="HEAD", authority="other.test")
            self.assertEqual((a.status, a.body, a.one("content-length")), (421, b"", "16"))
            self.assertEqual(c.get("/h2-after").status, 200, "the connection stays")
        for path in ("/h2-421", "/h2-405", "/h2-501", "/h2-host", "/h2-431", "/h2-431b"):
            self.assertEqual(self.origin.seen(path), [], path)
        self.assertEqual(self.stand.traffic.wait_event("request", path="/h2-421")["reason"], "misdirected")

    def test_refused_upload_is_stopped(self):
        with self.client() as c:
            s = c.request("/h2-refused", method="POST", authority="other.test", end=False)
            a = c.answers[s]
            c.until(lambda: a.error is not None)
            self.assertEqual((a.status, a.body, a.has_ended, a.error), (421, b"421 misdirected\n", True, 0))
            self.assertEqual(c.get("/h2-go-on").status, 200)

    def test_early_answer(self):
        @early
        def answer(s, request, reader):
            s.sendall(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            return None
        self.origin.answers["/h2-early"] = answer
        with self.client() as c:
            s = c.request("/h2-early", method="POST", end=False)
            a = c.answers[s]
            c.until(lambda: a.error is not None)
            self.assertEqual((a.status, a.body, a.error), (413, b"no", 0))

    def test_failing_origin(self):
        def cut(s, request):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return None
        self.origin.answers["/h2-cut"] = cut
        self.origin.answers["/h2-bad"] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"
        with self.client() as c:
            a = c.get("/h2-cut")
            self.assertEqual((a.status, a.has_ended, a.error), (200, False, 2))
            a = c.get("/h2-bad")
            self.assertEqual((a.status, a.body), (502, b"502 upstream_invalid\n"))
        self.assertEqual(self.stand.traffic.wait_event("request", path="/h2-cut")["reason"], "upstream_closed")

    # --- flow control

    def test_small_windows(self):
        self.origin.answers["/h2-small"] = ok(b"x" * 50000)
        with self.client(window=100) as c:
            a = c.get("/h2-small")
            self.assertEqual((a.status, len(a.body)), (200, 50000))

    def test_upload_waits_for_the_origin(self):
        """An origin that doesn't read stops the client of that stream, and no other."""
        go = threading.Event()

        @early
        def answer(s, request, reader):
            go.wait(SECS)
            reader.chunks()
            return ok()
        self.origin.answers["/h2-slow"] = answer
        with self.client() as c:
            s = c.request("/h2-slow", method="POST", end=False)
            window = c.c.local_flow_control_window(s)
            c.until(lambda: c.settings)
            window = c.c.local_flow_control_window(s)
            self.assertEqual(window, 65536)
            for _ in range(4):
                c.c.send_data(s, b"x" * 16384)
            c.flush()
            # what the kernel's buffers take is credited; then the window stays shut
            sent = 65536
            while sent < 64 << 20:
                a = c.get("/h2-meanwhile")
                self.assertEqual(a.status, 200)
                room = c.c.local_flow_control_window(s)
                if room == 0:
                    break
                while room > 0:
                    part = min(room, 16384)
                    c.c.send_data(s, b"x" * part)
                    sent += part
                    room -= part
                c.flush()
            self.assertLess(sent, 64 << 20)
            go.set()
            c.send(s, b"", end=True)
            self.assertEqual(c.wait(s).status, 200)

    def test_answer_waits_for_the_client(self):
        """What a client does not take is not read from the origin, beyond what the kernel holds."""
        def answer(s, request):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
            sent = 0
            s.settimeout(1)
            try:
                while sent < 64 << 20:
                    sent += s.send(b"x" * 65536)
            except TimeoutError:
                stuck.append(sent)
            return None
        stuck = []
        self.origin.answers["/h2-unread"] = answer
        with self.client(credits=False, window=65535) as c:
            s = c.request("/h2-unread")
            c.until(lambda: len(c.answers[s].body) == 65535)
            self.assertEqual(self.client().get("/h2-others").status, 200)
            stack.wait_for("the origin is stuck", lambda: stuck)
            self.assertLess(stuck[0], 16 << 20)

    # --- WebSocket (RFC 8441)

    @staticmethod
    def websocket(s, request):
        accept = request.one("sec-websocket-key")
        digest = hashlib.sha1((accept + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        s.sendall(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
                  base64.b64encode(digest) + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
        while True:
            data = s.recv(65536)
            if not data:
                return None
            s.sendall(data.upper())

    def connect(self, c, path, protocol="websocket", *fields, end=False):
        return c.request(path, ("sec-websocket-version", "13"), *fields, method="CONNECT", pseudo=[(":protocol", protocol)], end=end)

    def test_websocket(self):
        self.origin.answers["/h2-ws"] = self.websocket
        with self.client() as c:
            c.until(lambda: c.settings)
            self.assertEqual(c.settings.get(8), 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL")
            s = self.connect(c, "/h2-ws", "websocket", ("sec-websocket-protocol", "chat"), ("sec-websocket-key", "evil"))
            a = c.answers[s]
            c.until(lambda: a.fields)
            self.assertEqual((a.status, a.one("sec-websocket-protocol")), (200, "chat"))
            self.assertEqual((a.all("sec-websocket-accept"), a.all("upgrade"), a.all("content-length")), ([], [], []))
            c.send(s, b"hello")
            c.until(lambda: a.body == b"HELLO")
            self.assertEqual(c.get("/h2-beside").status, 200, "others go on beside it")
            c.send(s, b"x" * 200000)
            c.until(lambda: len(a.body) == 200005)
            c.send(s, b"", end=True)
            self.assertTrue(c.wait(s).has_ended)
            self.assertIsNone(a.error)
        r = self.origin.seen("/h2-ws")[0]
        self.assertEqual((r.method, r.one("upgrade"), r.one("connection"), r.one("sec-websocket-version")),
                         ("GET", "websocket", "Upgrade", "13"))
        self.assertNotEqual(r.one("sec-websocket-key"), "evil")
        self.assertEqual(len(r.one("sec-websocket-key")), 24)
        stack.wait_for("the relay is over", lambda: self.stand.traffic.metric("penstock_traffic_upgrades_open") == 0)

    def test_websocket_early(self):
        """What the client says before the origin has agreed is held, and goes when that agrees: not with the next
        that it says."""
        agrees = threading.Event()

        def answer(s, request):
            agrees.wait(SECS)
            return self.websocket(s, request)
        self.origin.answers["/h2-ws-early"] = answer
        with self.client() as c:
            s = self.connect(c, "/h2-ws-early")
            c.c.send_data(s, b"early")
            c.flush()
            self.assertEqual(c.get("/h2-ws-beside").status, 200)  # it is there by now
            agrees.set()
            c.until(lambda: c.answers[s].body == b"EARLY")
            c.send(s, b"", end=True)
            self.assertTrue(c.wait(s).has_ended)

    def test_websocket_refused(self):
        """What the client said behind its request is never sent to an origin that did not agree."""
        self.origin.answers["/h2-ws-no"] = ok(b"no")
        self.origin.answers["/h2-ws-lie"] = (b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                             b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
        with self.client() as c:
            for path, status in (("/h2-ws-no", 200), ("/h2-ws-lie", 502)):
                s = self.connect(c, path)
                c.c.send_data(s, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
                c.flush()
                a = c.answers[s]
                c.until(lambda: a.error is not None)
                self.assertEqual((a.status, a.error), (status, 0), path)
            a = c.wait(self.connect(c, "/h2-ws-other", "connect-udp", end=True))
            self.assertEqual((a.status, a.body), (501, b"501 upgrade_unknown\n"))
            self.assertEqual(c.get("/h2-ws-after").status, 200)
        self.assertEqual(self.origin.seen("/smuggled"), [])
        self.assertEqual(self.origin.garbage, [])
        self.assertEqual(self.origin.seen("/h2-ws-other"), [])

    def test_websocket_ended_by_either(self):
        def bye(s, request):
            digest = hashlib.sha1((request.one("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            s.sendall(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
                      base64.b64encode(digest) + b"\r\n\r\nbye")
            return None
        self.origin.answers["/h2-ws-bye"] = bye
        self.origin.answers["/h2-ws-reset"] = self.websocket
        with self.client() as c:
            s = self.connect(c, "/h2-ws-bye")
            a = c.wait(s)
            self.assertEqual((a.status, a.body, a.has_ended), (200, b"bye", True))
            s = self.connect(c, "/h2-ws-reset")
            c.until(lambda: c.answers[s].fields)
            c.c.reset_stream(s, 8)
            c.flush()
            self.assertEqual(self.stand.traffic.wait_event("request", path="/h2-ws-reset")["reason"], "client_gone")

    def test_websocket_last_words(self):
        """The origin has said all it has; what the client still says reaches it to the last byte."""
        heard = []

        def listen(s, request):
            digest = hashlib.sha1((request.one("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            s.sendall(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
                      base64.b64encode(digest) + b"\r\n\r\nbye")
            s.shutdown(socket.SHUT_WR)
            words = b""
            while data := s.recv(65536):
                words += data
            heard.append(words)
            return None
        self.origin.answers["/h2-ws-last"] = listen
        with self.client() as c:
            s = self.connect(c, "/h2-ws-last")
            c.until(lambda: c.answers[s].has_ended)
            c.send(s, b"w" * 300000, end=True)
            stack.wait_for("the origin heard it", lambda: heard)
            self.assertEqual(len(heard[0]), 300000)
            self.assertEqual(c.get("/h2-ws-still").status, 200)
        self.assertEqual(self.stand.traffic.wait_event("request", path="/h2-ws-last")["reason"], "none")

    # --- life of a connection

    def test_client_gone(self):
        go = threading.Event()
        self.origin.answers["/h2-gone"] = lambda s, r: (go.wait(SECS), ok())[1]
        c = self.client()
        streams = [c.request("/h2-gone") for _ in range(3)]
        self.origin.wait_seen("/h2-gone", 3)
        c.c.reset_stream(streams[0], 8)
        c.flush()
        self.assertEqual(self.stand.traffic.wait_event("request", path="/h2-gone")["reason"], "client_gone")
        c.s.close()
        self.stand.traffic.wait_event("request", path="/h2-gone", count=3)
        go.set()
        stack.wait_for("nothing is in flight", lambda: self.stand.traffic.metric("penstock_traffic_exchanges_open") == 0)

    def test_settings(self):
        with self.client() as c:
            c.until(lambda: c.settings)
            self.assertEqual({k: c.settings.get(k) for k in (3, 4, 6, 8, 9)}, {3: 100, 4: 65536, 6: 16384, 8: 1, 9: 1})
            self.assertEqual(c.get("/h2-settings").status, 200)
            self.assertEqual(c.c.outbound_flow_control_window, 1 << 20)


class Auth(unittest.TestCase):
    def test_refused_before_the_origin(self):
        with Stand() as stand:
            stand.routes([stand.route(HOST, authentication={"type": "Basic", "user": "a", "pass": "b"})])
            with H2(stand.https) as c:
                a = c.get("/h2-401")
                self.assertEqual((a.status, a.body), (401, b"401 auth_required\n"))
                self.assertEqual(a.one("www-authenticate"), f'Basic realm="{HOST}", charset="UTF-8"')
                self.assertIsNotNone(a.one(VERSION))
                self.assertEqual(c.get("/h2-401", ("authorization", "Basic YTpi")).status, 200)
                self.assertEqual(c.get("/h2-401", ("authorization", "Basic YTpj")).status, 401)
            self.assertEqual(len(stand.origin.seen("/h2-401")), 1)


class Ends(unittest.TestCase):
    def test_requests_per_connection(self):
        """The last request is served, and one that was on its way; a second GOAWAY names the last of them."""
        with Stand(limits={"requestsPerConnection": 3}) as stand, Frames(stand.https) as c:
            for i in range(3):
                c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, c.head(path=f"/age{i}")))
            answered, goaways, ping, late = set(), [], None, False
            while (f := c.read()):
                kind, flags, stream, payload = f
                if kind == GOAWAY:
                    goaways.append(struct.unpack(">II", payload[:8]))
                elif kind == HEADERS:
                    answered.add(stream)
                elif kind == PING and not flags & ACK:
                    ping = payload
                if ping is not None and not late:
                    c.send(c.frame(HEADERS, END_STREAM | END_HEADERS, 7, c.head(path="/age-late")))
                    c.send(c.frame(PING, ACK, 0, ping))
                    late = True
            self.assertEqual(answered, {1, 3, 5, 7})
            self.assertEqual(goaways, [(2**31 - 1, 0), (7, 0)])

    def test_idle(self):
        begun = time.monotonic()
        with Stand(timeouts={"idleSecs": 1}) as stand, Frames(stand.https) as c:
            self.assertEqual(c.goaway(), 0)
            self.assertGreater(time.monotonic() - begun, 0.9)

    def test_timeouts(self):
        with Stand(timeouts={"bodyIdleSecs": 4, "headerSecs": 4}) as stand:  # a test may be held up
            with H2(stand.https) as c:
                s = c.request("/body", method="POST", end=False)
                a = c.answers[s]
                c.until(lambda: a.error is not None)
                self.assertEqual((a.status, a.body), (408, b"408 body_timeout\n"))
                self.assertEqual(c.get("/on").status, 200)
            with Frames(stand.https) as c:
                c.send(c.frame(HEADERS, 0, 1, c.head()))
                self.assertEqual(c.goaway(), ENHANCE_YOUR_CALM)
            self.assertGreaterEqual(stand.reason("header_timeout"), 1)
            silent = threading.Event()
            stand.origin.answers["/silent"] = lambda s, r: (silent.wait(SECS), ok())[1]
            with H2(stand.https) as c:
                a = c.get("/silent")
                self.assertEqual((a.status, a.body), (504, b"504 upstream_timeout\n"))
            silent.set()


if __name__ == "__main__":
    unittest.main(verbosity=2)
